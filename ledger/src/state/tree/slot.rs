//! What stands at one position of the tree, and how two neighbours become what stands above them.

use crate::hash::{Hash, Key};

use super::node::{leaf_hash, node_hash};

/// What stands at one position of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// No key is below.
    Empty,
    /// Exactly one key is below, and its leaf stands here.
    Leaf {
        /// The key.
        key: Key,
        /// `H("val", value)`.
        value_hash: Hash,
    },
    /// Two or more keys are below.
    Inner(Hash),
}

impl Slot {
    /// What the node above hashes for this position.
    pub fn hash(&self) -> Hash {
        match self {
            Self::Empty => Hash::ZERO,
            Self::Leaf { key, value_hash } => leaf_hash(key, value_hash),
            Self::Inner(hash) => *hash,
        }
    }

    /// What stands above two neighbours: nothing, a lone leaf that floats up, or a node.
    pub(super) fn join(left: &Self, right: &Self) -> Self {
        match (left, right) {
            (Self::Empty, Self::Empty) => Self::Empty,
            (leaf @ Self::Leaf { .. }, Self::Empty) | (Self::Empty, leaf @ Self::Leaf { .. }) => *leaf,
            _ => Self::Inner(node_hash(&left.hash(), &right.hash())),
        }
    }
}

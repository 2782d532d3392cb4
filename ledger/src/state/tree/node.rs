//! Hashes of the tree's nodes, and bits of keys (protocol §5.2).

use crate::hash::{Hash, Key, Tag, hash};

/// Bits of a key, and so the greatest depth a leaf can stand at.
pub const KEY_BITS: usize = 256;

/// `H("val", value)`: what a leaf commits to, and all the tree knows of a value.
pub fn value_hash(value: &[u8]) -> Hash {
    hash(Tag::Value, &[value])
}

/// `H("leaf", key ‖ value_hash)`.
pub fn leaf_hash(key: &Key, value_hash: &Hash) -> Hash {
    hash(Tag::Leaf, &[key.as_ref(), value_hash.as_ref()])
}

/// `H("node", left ‖ right)`.
pub(super) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    hash(Tag::Node, &[left.as_ref(), right.as_ref()])
}

/// Bit `depth` of `key`, most significant first: 0 is left, 1 is right.
pub(super) fn bit(key: &Key, depth: usize) -> usize {
    usize::from(key.0[depth / 8] >> (7 - depth % 8) & 1)
}

/// How many leading bits two keys share.
pub(super) fn common_bits(a: &Key, b: &Key) -> usize {
    match a.0.iter().zip(&b.0).position(|(x, y)| x != y) {
        Some(byte) => byte * 8 + (a.0[byte] ^ b.0[byte]).leading_zeros() as usize,
        None => KEY_BITS,
    }
}

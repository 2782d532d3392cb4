//! Proofs that a key has a value, or that it has none, under a state root (protocol §5.2).
//!
//! ```text
//! depth:u16(≤256) ‖ bitmap[⌈depth/8⌉] ‖ siblings[32]×popcount (leaf→root) ‖ kind:u8 ‖ payload
//! kind 0 = empty · 1 = another leaf (key[32] value_hash[32]) · 2 = this leaf (value:B16)
//! ```
//!
//! For: making them ([`prove`]) and checking them ([`Proof::verify`]) with nothing but the root. Not for: the meaning of
//! a value; that a name's state carries this very name is checked by whoever decodes it.
//!
//! Guarantees: for a root made by the rules and a key there is exactly one sequence of bytes that parses and verifies.
//! The path of a key from a root is fixed, because every node hash has one preimage and the three ends are told apart
//! by their tags (zeros have no preimage at all); the bytes of a path are fixed, because an empty sibling is only ever
//! an unset bit. A proof's lowest sibling is never empty, whatever its kind: a leaf with an empty neighbour would have
//! floated up, and two empty neighbours would be an empty parent.

use crate::{
    codec::{self, Decode, DecodeError, Encode, Reader, Writer},
    hash::{Hash, Key},
};

use super::{
    PagePath, Slot,
    node::{KEY_BITS, bit, common_bits, leaf_hash, node_hash, value_hash},
    page::{LOWEST, TOP},
    source::{PageSource, TreeError, load, open},
};

/// The way from the root to where a key stands or would stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The hash beside the path at each depth, root first, zeros where nothing is.
    pub siblings: Vec<Hash>,
    /// What the path ends at.
    pub end: PathEnd,
}

/// What a [`Path`] ends at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathEnd {
    /// Nothing: the key is absent.
    Empty,
    /// Another key's leaf, alone down here: the key is absent.
    OtherLeaf {
        /// That other key.
        key: Key,
        /// Its `H("val", value)`.
        value_hash: Hash,
    },
    /// The key's own leaf.
    ThisLeaf {
        /// Its `H("val", value)`.
        value_hash: Hash,
    },
}

/// Finds `key` in the tree with this `root`.
pub fn prove<S: PageSource>(source: &S, root: Hash, key: &Key) -> Result<Path, TreeError<S::Error>> {
    let (mut here, mut page) = open(source, &root)?;
    let (mut path, mut at, mut siblings) = (PagePath::ROOT, TOP, Vec::with_capacity(32));
    while let (Slot::Inner(hash), Some(current)) = (here, &mut page) {
        if at >= LOWEST {
            path = path.child(at - LOWEST);
            *current = load(source, &path, &hash)?;
            at = TOP;
        }
        at = 2 * at + bit(key, siblings.len());
        siblings.push(current.get(at ^ 1).hash());
        here = current.get(at);
    }
    let end = match here {
        Slot::Leaf { key: found, value_hash } if found == *key => PathEnd::ThisLeaf { value_hash },
        Slot::Leaf { key, value_hash } => PathEnd::OtherLeaf { key, value_hash },
        Slot::Empty | Slot::Inner(_) => PathEnd::Empty,
    };
    Ok(Path { siblings, end })
}

impl Path {
    /// Makes the proof. `value` is the key's value as kept beside the tree, `None` if there is none; it has to be the
    /// one the tree was told of, or the two stores have come apart.
    pub fn into_proof(self, value: Option<&[u8]>) -> Result<Proof, ValueMismatch> {
        let end = match (self.end, value) {
            (PathEnd::Empty, None) => ProofEnd::Empty,
            (PathEnd::OtherLeaf { key, value_hash }, None) => ProofEnd::OtherLeaf { key, value_hash },
            (PathEnd::ThisLeaf { value_hash: expected }, Some(value)) if value_hash(value) == expected => {
                ProofEnd::ThisLeaf { value: value.to_vec() }
            }
            (PathEnd::Empty | PathEnd::OtherLeaf { .. } | PathEnd::ThisLeaf { .. }, _) => return Err(ValueMismatch),
        };
        Ok(Proof { siblings: self.siblings, end })
    }
}

/// The value kept beside the tree is not the one the tree commits to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value kept beside the state tree is not the one the tree commits to")]
pub struct ValueMismatch;

/// A proof in canonical form. Says nothing until [`verify`](Self::verify) has been called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The hash beside the path at each depth, root first, zeros where nothing is. At most [`KEY_BITS`]; the last one
    /// is not zero.
    siblings: Vec<Hash>,
    end: ProofEnd,
}

/// What a [`Proof`] ends at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProofEnd {
    /// Kind 0: nothing.
    Empty,
    /// Kind 1: the leaf of another key that shares the path.
    OtherLeaf {
        /// That other key.
        key: Key,
        /// Its `H("val", value)`.
        value_hash: Hash,
    },
    /// Kind 2: the leaf of the key asked for.
    ThisLeaf {
        /// The whole value.
        value: Vec<u8>,
    },
}

/// Why a proof proves nothing about a key under a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// "Another leaf" is the leaf of the key itself.
    #[error("absence is claimed with the key's own leaf")]
    SameKey,
    /// The other leaf stands on another path.
    #[error("the other leaf shares {shared} bits with the key, the proof is {depth} deep")]
    OffPath {
        /// Leading bits that the two keys have in common.
        shared: usize,
        /// Levels of the proof.
        depth: usize,
    },
    /// The proof leads to another root.
    #[error("the proof leads to {got}, expected {expected}")]
    WrongRoot {
        /// The root it leads to.
        got: Hash,
        /// The root it should lead to.
        expected: Hash,
    },
}

impl Proof {
    /// Reads the bytes of §5.2, canonical or not at all.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes)
    }

    /// The bytes of §5.2.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// What it ends at.
    pub fn end(&self) -> &ProofEnd {
        &self.end
    }

    /// The value that `key` has in the tree with this `root`; `None` is a proof that it has none.
    pub fn verify(&self, root: Hash, key: &Key) -> Result<Option<&[u8]>, ProofError> {
        let (end, value) = match &self.end {
            ProofEnd::Empty => (Hash::ZERO, None),
            ProofEnd::OtherLeaf { key: other, value_hash } => {
                self.other_leaf_is_on_the_path(key, other)?;
                (leaf_hash(other, value_hash), None)
            }
            ProofEnd::ThisLeaf { value } => (leaf_hash(key, &value_hash(value)), Some(&value[..])),
        };
        let got = self.siblings.iter().enumerate().rev().fold(end, |below, (depth, beside)| match bit(key, depth) {
            0 => node_hash(&below, beside),
            _ => node_hash(beside, &below),
        });
        if got == root { Ok(value) } else { Err(ProofError::WrongRoot { got, expected: root }) }
    }

    fn other_leaf_is_on_the_path(&self, key: &Key, other: &Key) -> Result<(), ProofError> {
        let (shared, depth) = (common_bits(key, other), self.siblings.len());
        match shared {
            KEY_BITS => Err(ProofError::SameKey),
            _ if shared < depth => Err(ProofError::OffPath { shared, depth }),
            _ => Ok(()),
        }
    }
}

impl Encode for Proof {
    fn encode(&self, w: &mut Writer) {
        let mut bitmap = [0u8; KEY_BITS / 8];
        for (depth, _) in self.siblings.iter().enumerate().filter(|(_, sibling)| !sibling.is_zero()) {
            bitmap[depth / 8] |= 0x80 >> (depth % 8);
        }
        w.u16(u16::try_from(self.siblings.len()).expect("a proof is at most 256 deep by its constructors"));
        w.raw(&bitmap[..self.siblings.len().div_ceil(8)]);
        for sibling in self.siblings.iter().rev().filter(|sibling| !sibling.is_zero()) {
            w.raw(sibling.as_ref());
        }
        match &self.end {
            ProofEnd::Empty => w.u8(0),
            ProofEnd::OtherLeaf { key, value_hash } => w.u8(1).raw(key.as_ref()).raw(value_hash.as_ref()),
            ProofEnd::ThisLeaf { value } => w.u8(2).b16(value),
        };
    }
}

impl Decode for Proof {
    const MAX_BYTES: usize = 2 + KEY_BITS / 8 + KEY_BITS * 32 + 1 + 2 + u16::MAX as usize;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { siblings: decode_siblings(r)?, end: decode_end(r)? })
    }
}

fn decode_siblings(r: &mut Reader<'_>) -> Result<Vec<Hash>, DecodeError> {
    let depth = usize::from(r.u16("depth")?);
    if depth > KEY_BITS {
        return Err(DecodeError::Invalid("depth"));
    }
    let bitmap = r.raw(depth.div_ceil(8), "bitmap")?;
    let is_set = |d: usize| bitmap[d / 8] & 0x80 >> (d % 8) != 0;
    let unused_bits_are_zero = (depth..bitmap.len() * 8).all(|d| !is_set(d));
    let lowest_is_set = depth == 0 || is_set(depth - 1);
    if !unused_bits_are_zero || !lowest_is_set {
        return Err(DecodeError::Invalid("bitmap"));
    }
    let mut siblings = vec![Hash::ZERO; depth];
    for d in (0..depth).rev().filter(|&d| is_set(d)) {
        siblings[d] = r.hash("sibling")?;
        if siblings[d].is_zero() {
            return Err(DecodeError::Invalid("sibling"));
        }
    }
    Ok(siblings)
}

fn decode_end(r: &mut Reader<'_>) -> Result<ProofEnd, DecodeError> {
    match r.u8("kind")? {
        0 => Ok(ProofEnd::Empty),
        1 => Ok(ProofEnd::OtherLeaf { key: r.hash("key")?, value_hash: r.hash("value_hash")? }),
        2 => Ok(ProofEnd::ThisLeaf { value: r.b16(u16::MAX.into(), "value")?.to_vec() }),
        _ => Err(DecodeError::Invalid("kind")),
    }
}

//! A page: four levels of the tree, the unit of storage.
//!
//! For: holding every position of those levels, so that changing one leaf rehashes one path and nothing beside it.
//! Not for: deciding what to change (see `update`).
//!
//! ```text
//! bytes = leaves:u32 ‖ inner:u32 ‖ mark[8] ‖ for each occupied position: a leaf's (key[32] value_hash[32]) or a
//!         node's hash[32]
//! ```
//!
//! Positions are numbered level by level, left to right: 0–1, 2–5, 6–13, 14–29; bit n of a bitmap stands for position
//! n. The page's own top is not stored: it is `NODE` of positions 0 and 1, and its parent page has it already. The mark
//! is the first eight bytes of the top's hash: enough to tell a page from every older version of itself without
//! hashing anything, and the disk is no adversary.
//!
//! Guarantees: a [`Page`] always has the shape of a real tree (nothing below an empty or leaf position, no lone leaf
//! that should have floated up), whatever bytes it was read from. One content has one byte form, but for the mark, which
//! is compared when the page is used.

use std::sync::Arc;

use crate::{
    codec::{DecodeError, Reader},
    hash::{Hash, Key},
};

use super::{PagePath, Slot, node::bit};

/// Positions of a page: 2 + 4 + 8 + 16.
const POSITIONS: usize = 30;

/// Bytes before the first entry: two bitmaps and the mark.
const HEAD: usize = 16;

/// In heap numbering, where the children of `at` are `2 * at` and `2 * at + 1`: the page's top. Positions 0 to 29 are
/// the heap numbers 2 to 31.
pub(super) const TOP: usize = 1;

/// In heap numbering: the first position of the lowest level, below which other pages begin.
pub(super) const LOWEST: usize = 16;

/// Four levels of the tree, as stored: some 300 bytes on average. Cheap to clone, so that caches can hand it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page(Arc<[u8]>);

impl Page {
    /// No page is longer: sixteen leaves in the lowest level and the fourteen nodes above them.
    pub const MAX_BYTES: usize = HEAD + 16 * 64 + 14 * 32;

    /// The stored form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Checks the stored form; refuses everything that [`as_bytes`](Self::as_bytes) never returns.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let (leaves, inner) = (r.u32("leaves")?, r.u32("inner")?);
        if leaves & inner != 0 || !have_the_shape_of_a_tree(leaves, inner) {
            return Err(DecodeError::Invalid("bitmaps"));
        }
        r.raw(8, "mark")?;
        for n in occupied(leaves | inner) {
            let is_leaf = leaves >> n & 1 == 1;
            let entry = r.raw(if is_leaf { 64 } else { 32 }, "entry")?;
            if !is_leaf && entry == Hash::ZERO.as_bytes() {
                return Err(DecodeError::Invalid("inner hash"));
            }
        }
        r.finish()?;
        Ok(Self(bytes.into()))
    }

    /// The root page of a tree of one leaf. The leaf stands at the top, which no page stores, so it is kept on its own
    /// side of the first level.
    pub(super) fn lone(key: Key, value_hash: Hash) -> Self {
        let (mut draft, leaf) = (Draft::empty(), Slot::Leaf { key, value_hash });
        draft.set(2 * TOP + bit(&key, 0), leaf);
        draft.to_page(&leaf.hash())
    }

    /// What stands at the top of this page.
    pub fn top(&self) -> Slot {
        Slot::join(&self.get(2 * TOP), &self.get(2 * TOP + 1))
    }

    /// Whether the page was made with `top` as its top's hash.
    pub(super) fn is_marked(&self, top: &Hash) -> bool {
        self.0[8..HEAD] == top.0[..8]
    }

    /// What stands at heap number `at`, 2 to 31.
    pub(super) fn get(&self, at: usize) -> Slot {
        let (leaves, inner) = self.bitmaps();
        let before = (1u32 << (at - 2)) - 1;
        let start = HEAD + 64 * (leaves & before).count_ones() as usize + 32 * (inner & before).count_ones() as usize;
        self.read(at - 2, start).0
    }

    /// Whether every leaf's key leads to where the leaf stands in the page at `path`.
    pub(super) fn leaves_belong_to(&self, path: &PagePath) -> bool {
        let (leaves, _) = self.bitmaps();
        occupied(leaves).all(|n| match self.get(n + 2) {
            Slot::Leaf { key, .. } => path.contains(&key) && leads_to(&key, path.depth(), n + 2),
            Slot::Empty | Slot::Inner(_) => true,
        })
    }

    fn bitmaps(&self) -> (u32, u32) {
        let word = |start| u32::from_le_bytes(self.array(start));
        (word(0), word(4))
    }

    /// The entry of position `n` at byte `start`, and where the next one starts.
    fn read(&self, n: usize, start: usize) -> (Slot, usize) {
        let (leaves, inner) = self.bitmaps();
        match (leaves >> n & 1, inner >> n & 1) {
            (1, _) => {
                (Slot::Leaf { key: Key(self.array(start)), value_hash: Hash(self.array(start + 32)) }, start + 64)
            }
            (_, 1) => (Slot::Inner(Hash(self.array(start))), start + 32),
            _ => (Slot::Empty, start),
        }
    }

    fn array<const N: usize>(&self, start: usize) -> [u8; N] {
        self.0[start..start + N].try_into().expect("the slice is N bytes long")
    }
}

/// A page taken apart, to be changed.
pub(super) struct Draft([Slot; POSITIONS]);

impl Draft {
    /// Nothing anywhere. An empty page is never stored.
    pub(super) fn empty() -> Self {
        Self([Slot::Empty; POSITIONS])
    }

    /// What stands at heap number `at`, 2 to 31.
    pub(super) fn get(&self, at: usize) -> Slot {
        self.0[at - 2]
    }

    /// Writes heap number `at`, 2 to 31.
    pub(super) fn set(&mut self, at: usize, slot: Slot) {
        self.0[at - 2] = slot;
    }

    /// The stored form. `top` is the hash of what stands above the page.
    pub(super) fn to_page(&self, top: &Hash) -> Page {
        let mut bytes = [0; Page::MAX_BYTES];
        let (mut leaves, mut inner, mut end) = (0u32, 0u32, HEAD);
        let mut push = |hash: &[u8; 32]| {
            bytes[end..end + 32].copy_from_slice(hash);
            end += 32;
        };
        for (n, slot) in self.0.iter().enumerate() {
            match slot {
                Slot::Empty => {}
                Slot::Leaf { key, value_hash } => {
                    leaves |= 1 << n;
                    push(key.as_bytes());
                    push(value_hash.as_bytes());
                }
                Slot::Inner(hash) => {
                    inner |= 1 << n;
                    push(hash.as_bytes());
                }
            }
        }
        bytes[..4].copy_from_slice(&leaves.to_le_bytes());
        bytes[4..8].copy_from_slice(&inner.to_le_bytes());
        bytes[8..HEAD].copy_from_slice(&top.0[..8]);
        Page(bytes[..end].into())
    }
}

impl From<&Page> for Draft {
    fn from(page: &Page) -> Self {
        let mut draft = Self::empty();
        let (leaves, inner) = page.bitmaps();
        let mut start = HEAD;
        for n in occupied(leaves | inner) {
            (draft.0[n], start) = page.read(n, start);
        }
        draft
    }
}

/// The numbers of the set bits, ascending.
fn occupied(mut bitmap: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let n = (bitmap != 0).then(|| bitmap.trailing_zeros() as usize)?;
        bitmap &= bitmap - 1;
        Some(n)
    })
}

/// Below a node stand at least two keys, below anything else none. The top alone may be a lone leaf: that is the root
/// page of a tree of one.
fn have_the_shape_of_a_tree(leaves: u32, inner: u32) -> bool {
    if (leaves | inner) >> POSITIONS != 0 {
        return false;
    }
    let pair_below = |at: usize, bitmap: u32| bitmap >> (2 * at - 2) & 3;
    (2..LOWEST).all(|at| {
        let (leaves, inner_below) = (pair_below(at, leaves), pair_below(at, inner));
        match inner >> (at - 2) & 1 {
            1 => leaves == 3 || inner_below != 0,
            _ => leaves | inner_below == 0,
        }
    }) && pair_below(TOP, leaves | inner) != 0
}

/// Whether the bits of `key` from `depth` on lead from a page's top to heap number `at`.
fn leads_to(key: &Key, depth: usize, at: usize) -> bool {
    let nibble = usize::from(key.0[depth / 8] >> (4 - depth % 8) & 15);
    let levels = at.ilog2();
    at == 1 << levels | nibble >> (4 - levels)
}

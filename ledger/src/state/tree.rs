//! The state tree: a binary compact sparse Merkle tree over all names and commits (protocol §5.2).
//!
//! ```text
//! LEAF(k, value) = H("leaf", k ‖ H("val", value))          NODE(l, r) = H("node", l ‖ r)
//! root(S, depth) = zeros if S is empty · LEAF if it has one element · NODE(by bit `depth`, MSB first) otherwise
//! ```
//!
//! For: the `state_root` after a batch of changes ([`update`]), and proofs that a key has a value or has none
//! ([`prove`], [`Proof`]). Not for: the values themselves, which the shell keeps elsewhere and which this module only
//! ever sees as hashes, and not for the meaning of keys or values.
//!
//! The tree is stored as [`Page`]s of four levels, latest version only. The shell provides them through
//! [`PageSource`] and writes back those of a [`TreeDelta`]; nothing is written from here.
//!
//! Guarantees: root *and* pages depend on the set of leaves only, never on the order in which it came about, so
//! writing old leaves back restores every byte. A page that is not the one its parent speaks of, missing, stale or
//! misplaced, is an error ([`TreeError`]), never a wrong root. One batch loads and rehashes each touched page once.

mod memory;
mod page;
mod page_path;
mod proof;
mod slot;
mod update;

#[cfg(test)]
mod tests;

pub use memory::MemoryPages;
pub use page::Page;
pub use page_path::PagePath;
pub use proof::{Path, PathEnd, Proof, ProofEnd, ProofError, ValueMismatch, prove};
pub use slot::Slot;
pub use update::{TreeDelta, update};

use crate::hash::{Hash, Key, Tag, hash};

/// Bits of a key, and so the greatest depth a leaf can stand at.
pub const KEY_BITS: usize = 256;

/// Where the pages of one version of the tree come from.
pub trait PageSource {
    /// Why a page could not be read. The tree passes it on unread.
    type Error: std::error::Error;

    /// The page at `path`, or `None` if there is none.
    fn page(&self, path: &PagePath) -> Result<Option<Page>, Self::Error>;
}

/// Why the tree could not be read or changed. None of these is ever a peer's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError<E: std::error::Error> {
    /// The source failed.
    #[error("cannot read a page of the state tree")]
    Source(#[source] E),
    /// A page's parent, or the root, says that it exists, but it does not.
    #[error("page {0} of the state tree is missing")]
    Missing(PagePath),
    /// A page is not the one that its parent, or the root, speaks of.
    #[error("page {path} of the state tree is not the one with hash {expected}")]
    Stale {
        /// The page.
        path: PagePath,
        /// What its parent holds, or the root asked for.
        expected: Hash,
    },
    /// A page holds a leaf whose key belongs elsewhere.
    #[error("page {0} of the state tree holds a leaf from elsewhere")]
    Misplaced(PagePath),
    /// The changes given are not strictly ascending by key: a mistake in the caller.
    #[error("changes must be strictly ascending by key")]
    Unsorted,
}

/// `H("val", value)`: what a leaf commits to, and all the tree knows of a value.
pub fn value_hash(value: &[u8]) -> Hash {
    hash(Tag::Value, &[value])
}

/// `H("leaf", key ‖ value_hash)`.
pub fn leaf_hash(key: &Key, value_hash: &Hash) -> Hash {
    hash(Tag::Leaf, &[key.as_ref(), value_hash.as_ref()])
}

/// `H("node", left ‖ right)`.
fn node_hash(left: &Hash, right: &Hash) -> Hash {
    hash(Tag::Node, &[left.as_ref(), right.as_ref()])
}

/// Bit `depth` of `key`, most significant first: 0 is left, 1 is right.
fn bit(key: &Key, depth: usize) -> usize {
    usize::from(key.0[depth / 8] >> (7 - depth % 8) & 1)
}

/// How many leading bits two keys share.
fn common_bits(a: &Key, b: &Key) -> usize {
    match a.0.iter().zip(&b.0).position(|(x, y)| x != y) {
        Some(byte) => byte * 8 + (a.0[byte] ^ b.0[byte]).leading_zeros() as usize,
        None => KEY_BITS,
    }
}

/// The top of the tree with this `root`, and the page below it if there is anything below.
fn open<S: PageSource>(source: &S, root: &Hash) -> Result<(Slot, Option<Page>), TreeError<S::Error>> {
    let path = PagePath::ROOT;
    if root.is_zero() {
        return match source.page(&path).map_err(TreeError::Source)? {
            None => Ok((Slot::Empty, None)),
            Some(_) => Err(TreeError::Stale { path, expected: *root }),
        };
    }
    let page = load(source, &path, root)?;
    let top = page.top();
    if top.hash() != *root {
        return Err(TreeError::Stale { path, expected: *root });
    }
    match top {
        // A tree of one leaf: it stands above every page, the root page only keeps it for want of a better place.
        leaf @ Slot::Leaf { .. } => Ok((leaf, None)),
        top @ (Slot::Empty | Slot::Inner(_)) => Ok((top, Some(page))),
    }
}

/// Loads a page that must exist and be the one with this hash.
fn load<S: PageSource>(source: &S, path: &PagePath, expected: &Hash) -> Result<Page, TreeError<S::Error>> {
    let page = source.page(path).map_err(TreeError::Source)?.ok_or(TreeError::Missing(*path))?;
    if !page.is_marked(expected) {
        return Err(TreeError::Stale { path: *path, expected: *expected });
    }
    if !page.leaves_belong_to(path) {
        return Err(TreeError::Misplaced(*path));
    }
    Ok(page)
}

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

mod node;
mod slot;

mod page;
mod page_path;
mod source;

mod memory;
mod proof;
mod update;

#[cfg(test)]
mod tests;

pub use memory::MemoryPages;
pub use node::{KEY_BITS, leaf_hash, value_hash};
pub use page::Page;
pub use page_path::PagePath;
pub use proof::{Path, PathEnd, Proof, ProofEnd, ProofError, ValueMismatch, prove};
pub use slot::Slot;
pub use source::{PageSource, TreeError};
pub use update::{TreeDelta, update};

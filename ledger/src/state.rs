//! What the ledger knows after a block (protocol §5): entries of names and of commits, and the tree over them.
//!
//! - [`name_state`]: the two kinds of entry, and how heights alone decide an entry's status.
//! - [`delta`]: what a block does to the entries.
//! - [`undo`]: the entries as they were, to take a block back.
//! - [`tree`]: the compact sparse Merkle tree that commits to all entries, with proofs.

pub mod delta;
pub mod name_state;
pub mod tree;
pub mod undo;

pub use name_state::{Claim, CommitState, Leaf, NameState, Pending, PendingKind, Status, commit_key};

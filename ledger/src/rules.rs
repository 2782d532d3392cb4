//! The rules (protocol §3.4, §4, §6). One rule is one positively named function with one [`Violation`].
//!
//! Three levels of validity, in the types:
//! 1. *Structural*: a [`crate::transaction::Transaction`] or [`crate::block::Block`] exists only if its bytes decode.
//! 2. *Context-free*: [`transaction::check`] makes a [`transaction::CheckedTransaction`], [`header::link`] and
//!    [`header::Linked::prove`] a [`header::HeaderContext`]. Expensive work (signatures, proof of work) happens here, and
//!    can be spread over cores and remembered.
//! 3. *Contextual*: [`apply::apply`] judges against the entries that a block touches, through [`context`].

pub mod apply;
pub mod block;
pub mod context;
pub mod header;
pub mod transaction;
pub mod violation;

pub use violation::{Fault, Violation};

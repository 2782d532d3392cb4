//! The ledger's names as the resolver sees them: snapshots, what gives them, and the records in them.

pub mod records;
pub mod source;
pub mod table;
pub(crate) mod view;

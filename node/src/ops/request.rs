//! What can be asked of the operations.

use ledger::{hash::CommitHash, name::Name, transaction::Transaction};

/// A request for a new operation.
#[derive(Clone, Debug)]
pub enum Request {
    /// Register a name.
    Register {
        /// The name that the wallet means.
        name: Name,
        /// Price class that the wallet means.
        class: u8,
        /// The commit hash that the wallet computed.
        commit_hash: CommitHash,
        /// Where to anchor the commit at first.
        commit_anchor: u32,
        /// The signed REVEAL.
        reveal: Box<Transaction>,
    },
    /// Change a name.
    Change {
        /// Signed; its share means nothing.
        transaction: Box<Transaction>,
    },
    /// Renew a name, whoever owns it: that takes work and no signature.
    Renew {
        /// The name.
        name: Name,
    },
}

/// A request to go on with an operation.
#[derive(Clone, Debug, Default)]
pub struct ResumeRequest {
    /// The REVEAL or change, signed anew.
    pub transaction: Option<Box<Transaction>>,
}

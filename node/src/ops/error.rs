//! Why a request about operations is refused.

use super::limits::MAX_ACTIVE;
use crate::{failure::Failure, miner::MinerStopped, store::StoreError};

/// Why a request about operations was refused.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// What was sent cannot become an operation.
    #[error("{}", .0.message)]
    Invalid(Failure),
    /// The chain as it is forbids it.
    #[error("{}", .0.message)]
    Forbidden(Failure),
    /// The node must be synced first.
    #[error("the node is not synced yet")]
    NotSynced,
    /// Too many operations under way.
    #[error("{} operations are under way already", MAX_ACTIVE)]
    TooMany,
    /// No such operation.
    #[error("no operation has the id {0}")]
    NotFound(String),
    /// More than one operation begins with these characters.
    #[error("{0} is the beginning of more than one operation's id")]
    Ambiguous(String),
    /// The operation's state does not allow it.
    #[error("the operation is {0}")]
    WrongState(&'static str),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node is shutting down.
    #[error("the node is stopping")]
    Stopped,
}

impl From<MinerStopped> for OpsError {
    fn from(_: MinerStopped) -> Self {
        Self::Stopped
    }
}

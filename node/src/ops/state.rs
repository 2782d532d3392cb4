//! The words in which operations are stored and shown: how far one is, and which part a transaction has in it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How far an operation is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// Searching for the share.
    Working,
    /// Published (the commit, or the change), waiting for a block.
    Broadcast,
    /// The commit stands in a block and must grow old enough.
    Maturing,
    /// The reveal is published, waiting for a block.
    Revealing,
    /// The reveal stands in a block; an earlier commit could still win.
    Contest,
    /// Finished.
    Done,
    /// Cannot finish; `error` says why.
    Failed,
    /// Needs a new signature: resume it with one.
    NeedsSignature,
    /// Stopped by the user.
    Cancelled,
}

impl OperationState {
    /// Every state, for counting.
    pub const ALL: [Self; 9] = [
        Self::Working,
        Self::Broadcast,
        Self::Maturing,
        Self::Revealing,
        Self::Contest,
        Self::Done,
        Self::Failed,
        Self::NeedsSignature,
        Self::Cancelled,
    ];

    /// Whether nothing more is to be done, unless a reorganisation undoes the end.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// As in the interface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Broadcast => "broadcast",
            Self::Maturing => "maturing",
            Self::Revealing => "revealing",
            Self::Contest => "contest",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::NeedsSignature => "needs_signature",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The part of a transaction in an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TxRole {
    /// The COMMIT of a registration.
    Commit,
    /// The REVEAL of a registration.
    Reveal,
    /// The transaction of a change.
    Change,
}

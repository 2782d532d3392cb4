//! What can go wrong with a call.

use std::time::Duration;

use crate::failure::Failure;

/// What went wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No node answers there.
    #[error("no node answers at {endpoint}: {reason}")]
    Unreachable {
        /// Where it was sought.
        endpoint: String,
        /// The system's words.
        reason: String,
    },
    /// The node refused.
    #[error("{message}")]
    Api {
        /// HTTP status.
        status: u16,
        /// Stable, snake_case.
        code: String,
        /// What happened.
        message: String,
        /// Why; may be empty.
        why: String,
        /// What to do.
        fix: Vec<String>,
    },
    /// The answer is not what this version expects.
    #[error("the node's answer cannot be read: {0}")]
    Decode(String),
    /// Nothing came in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl ClientError {
    /// The code of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Api { code, .. } => Some(code),
            Self::Unreachable { .. } | Self::Decode(_) | Self::Timeout(_) => None,
        }
    }

    pub(super) fn of_refusal(status: u16, failure: Failure) -> Self {
        let Failure { code, message, why, fix } = failure;
        Self::Api { status, code, message, why, fix }
    }
}

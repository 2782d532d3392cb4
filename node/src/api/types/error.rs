//! Refusals: what, why, and what to do about it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// Stable, snake_case: programs match on this.
    pub code: String,
    /// What happened, one sentence.
    pub message: String,
    /// Why, one or two sentences; may be empty.
    #[serde(default)]
    pub why: String,
    /// Commands or acts that fix it, most likely first.
    #[serde(default)]
    pub fix: Vec<String>,
}

/// The body of every answer whose HTTP status is not 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorEnvelope {
    /// Version of the interface, 1.
    pub v: u8,
    /// The refusal.
    pub error: ErrorBody,
}

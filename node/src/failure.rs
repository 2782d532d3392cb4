//! What went wrong, in words that help: one shape for operations on disk, the HTTP interface and its clients.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What went wrong, why, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ErrorBody)]
pub struct Failure {
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

impl Failure {
    /// A failure with one remedy.
    pub fn new(code: &str, message: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) -> Self {
        let fix = Some(fix.into()).filter(|fix| !fix.is_empty()).into_iter().collect();
        Self { code: code.to_owned(), message: message.into(), why: why.into(), fix }
    }
}

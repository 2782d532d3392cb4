//! Refusals.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::failure::Failure;

/// The body of every answer whose HTTP status is not 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorEnvelope {
    /// Version of the interface, 1.
    pub v: u8,
    /// The refusal.
    pub error: Failure,
}

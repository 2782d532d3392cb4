//! `GET /v1/events`: server-sent events, one JSON object in each `data:` line.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Operation;

/// One event. The `event:` field of the stream repeats the tag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A new tip. The current one is sent first.
    Tip(TipEvent),
    /// An operation changed or made progress. Over TCP sent to readers with the token only.
    Operation(Box<Operation>),
    /// The reader was too slow and events are missing; the stream ends here. Read the status and connect again.
    Lagged(Lagged),
}

/// A new tip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TipEvent {
    /// Version of the interface, 1.
    pub v: u8,
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub hash: String,
    /// Its time, RFC 3339.
    pub time: String,
    /// Registered names.
    pub names: u64,
}

/// Events were dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lagged {
    /// Version of the interface, 1.
    pub v: u8,
    /// How many.
    pub missed: u64,
}

//! What the resolver is told to do.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Body of `POST /v1/resolver/flush`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FlushAnswers {
    /// Only answers about this name and what is below it; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlushedAnswers {
    /// Version of the interface, 1.
    pub v: u8,
    /// The name, lower-cased, in ASCII, with the final dot; absent if all were meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many cached answers went.
    pub answers: u64,
}

/// Answer of `POST /v1/resolver/reload`: the configuration was read again, and with it HOSTS files and certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReloadedConfiguration {
    /// Version of the interface, 1.
    pub v: u8,
    /// Keys whose new values hold now.
    pub changed: Vec<String>,
    /// Keys that have changed and need a restart.
    pub needs_restart: Vec<String>,
    /// Names that are answered from HOSTS files now; absent without such files.
    #[serde(default)]
    pub hosts_names: Option<u64>,
}

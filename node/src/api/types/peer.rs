//! `GET /v1/peers`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Connected peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PeerList {
    /// Version of the interface, 1.
    pub v: u8,
    /// This node's own id; absent if it has no network.
    #[serde(default)]
    pub local_id: Option<String>,
    /// Addresses that this node listens on, with its id: what another node takes as a peer.
    pub listen: Vec<String>,
    /// The peers.
    pub peers: Vec<PeerView>,
    /// What became of the peers of the configuration, in its order.
    #[serde(default)]
    pub configured: Vec<ConfiguredPeerView>,
}

/// A peer of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfiguredPeerView {
    /// Its address, as configured.
    pub address: String,
    /// `connected`, `trying` (for the first time) or `failing`.
    pub state: String,
    /// Why it is not reached, as a short name.
    #[serde(default)]
    pub code: Option<String>,
    /// Why it is not reached, in words.
    #[serde(default)]
    pub reason: Option<String>,
    /// Failures in a row.
    #[serde(default)]
    pub failures: u32,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PeerView {
    /// Peer id.
    pub id: String,
    /// Address in use.
    pub address: String,
    /// `inbound` or `outbound`.
    pub direction: String,
    /// `direct`; `punched`: directly, after the two had met through a relay; or `relayed`: through a relay, until a direct
    /// connection comes of it or none.
    #[serde(default)]
    pub route: String,
    /// Program and version that it names.
    #[serde(default)]
    pub agent: Option<String>,
    /// Height of the tip that it reported.
    #[serde(default)]
    pub height: Option<u32>,
    /// Round-trip time, in milliseconds.
    #[serde(default)]
    pub rtt_ms: Option<f64>,
    /// Seconds since it connected.
    #[serde(default)]
    pub connected_seconds: Option<u64>,
}

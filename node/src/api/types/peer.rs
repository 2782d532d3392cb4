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

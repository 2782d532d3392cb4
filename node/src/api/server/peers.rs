//! `GET /v1/peers`.

use axum::{Json, extract::State};

use super::state::ApiState;
use crate::{
    api::types::{PeerList, PeerView, VERSION},
    p2p::PeerInfo,
    sync::Direction,
};

/// Connected peers, and where this node listens.
#[utoipa::path(get, path = "/v1/peers", tag = "node", responses((status = 200, body = PeerList)))]
pub(super) async fn peers(State(state): State<ApiState>) -> Json<PeerList> {
    let p2p = &state.parts().p2p;
    Json(PeerList {
        v: VERSION,
        local_id: Some(p2p.local_peer().to_string()),
        listen: p2p.listen_addresses().await.iter().map(ToString::to_string).collect(),
        peers: p2p.peers().await.iter().map(view).collect(),
    })
}

fn view(peer: &PeerInfo) -> PeerView {
    PeerView {
        id: peer.peer.to_string(),
        address: peer.address.to_string(),
        direction: match peer.direction {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        }
        .to_owned(),
        agent: Some(peer.agent.clone()).filter(|agent| !agent.is_empty()),
        height: peer.height,
        rtt_ms: peer.ping.map(|ping| ping.as_secs_f64() * 1e3),
        connected_seconds: Some(peer.connected_for.as_secs()),
    }
}

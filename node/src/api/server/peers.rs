//! `GET /v1/peers`.

use axum::{Json, extract::State};

use super::state::ApiState;
use crate::{
    api::types::{ConfiguredPeerView, PeerList, PeerView, VERSION},
    p2p::{ConfiguredPeer, ConfiguredState, PeerInfo, Route, Surroundings},
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
        configured: p2p.surroundings().await.configured.iter().map(configured_view).collect(),
    })
}

fn configured_view(peer: &ConfiguredPeer) -> ConfiguredPeerView {
    let state = match peer.state {
        ConfiguredState::Connected => "connected",
        ConfiguredState::Trying => "trying",
        ConfiguredState::Failing => "failing",
    };
    ConfiguredPeerView {
        address: peer.address.to_string(),
        state: state.to_owned(),
        code: peer.failure.as_ref().map(|failure| failure.code().to_owned()),
        reason: peer.failure.as_ref().map(ToString::to_string),
        failures: peer.failures,
    }
}

/// What is wrong with this node's place in the network, a sentence each.
pub(super) fn problems(surroundings: &Surroundings) -> Vec<String> {
    let failing = surroundings.configured.iter().filter(|peer| peer.state == ConfiguredState::Failing);
    let failing = failing.filter_map(|peer| {
        let why = peer.failure.as_ref()?;
        Some(format!("configured peer {} is not reached: {why}", peer.address))
    });
    let copy = surroundings.identity_copy.iter().map(|address| {
        format!(
            "another node runs with this node's identity (seen at {address}): stop one of them and delete its p2p.key"
        )
    });
    failing.chain(copy).collect()
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
        route: match peer.route {
            Route::Direct => "direct",
            Route::Punched => "punched",
            Route::Relayed => "relayed",
        }
        .to_owned(),
        agent: Some(peer.agent.clone()).filter(|agent| !agent.is_empty()),
        height: peer.height,
        rtt_ms: peer.ping.map(|ping| ping.as_secs_f64() * 1e3),
        connected_seconds: Some(peer.connected_for.as_secs()),
    }
}

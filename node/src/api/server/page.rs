//! `/`: the node at a glance, for a browser. Readable without scripts, and nothing is loaded from elsewhere.

use axum::{
    Router,
    extract::State,
    http::header,
    response::{Html, IntoResponse},
    routing::get,
};

use super::state::ApiState;
use crate::{api::types::rfc3339, health::unix_s};

/// Styles inline, nothing else; frames forbidden.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";

pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/", get(page))
}

async fn page(State(state): State<ApiState>) -> impl IntoResponse {
    let parts = state.parts();
    let (tip, health, miner, now) = (parts.chain.tip(), state.health(), parts.miner.status(), unix_s());
    let sync = match health.unsynced_because(now) {
        None => format!("synced ({})", health.state.as_str()),
        Some(why) => format!("not synced ({}): {why}", health.state.as_str()),
    };
    let minutes = health.age_s(tip.time, now) / 60;
    let rows = [
        ("Network", state.params().network.to_string()),
        ("State", sync),
        ("Height", tip.height.to_string()),
        ("Block", tip.hash.to_string()),
        ("Time", format!("{}, {minutes} min ago", rfc3339(tip.time))),
        ("Peers", health.peers.to_string()),
        ("Others can reach this node", parts.p2p.surroundings().await.reachable.as_str().to_owned()),
        ("Names", tip.name_count.to_string()),
        ("Waiting transactions", parts.chain.mempool().count().to_string()),
        ("Evaluations per second", format!("{:.0}", miner.hashrate)),
        ("Version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let table: String = rows.iter().map(|(key, value)| format!("<tr><th>{key}<td>{value}")).collect();
    let html = include_str!("page.html").replace("{table}", &table);
    ([(header::CONTENT_SECURITY_POLICY, POLICY), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")], Html(html))
}

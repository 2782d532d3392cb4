//! `/livez` and `/readyz`, for service managers and monitoring.

use axum::{Router, extract::State, http::StatusCode, routing::get};

use super::state::ApiState;
use crate::health::unix_s;

pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/livez", get(livez)).route("/readyz", get(readyz))
}

/// Answers as long as the event loop runs.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// 200 when the node can be relied on, else 503 and why.
pub(super) async fn readyz(State(state): State<ApiState>) -> (StatusCode, String) {
    match not_ready_because(&state).await {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn not_ready_because(state: &ApiState) -> Option<String> {
    if let Some(reason) = state.health().unsynced_because(unix_s()) {
        return Some(format!("not synced: {reason}"));
    }
    if state.parts().chain.stats().disk_full != 0 {
        return Some("the disk is full".to_owned());
    }
    match state.read(|reader| reader.tip()).await {
        Ok(_) => None,
        Err(_) => Some("the database cannot be read".to_owned()),
    }
}

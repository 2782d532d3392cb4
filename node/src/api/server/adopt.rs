//! `POST /v1/chain/adopt`, for the node's user only: the operator's word in a fork that is too deep to be followed alone.

use axum::{Json, extract::State, http::StatusCode};
use ledger::hash::BlockHash;

use super::{
    error::{Body, Refusal, from_json},
    state::ApiState,
};
use crate::{
    api::types::{AdoptFork, AdoptedFork, VERSION},
    chain::AdoptRefusal,
};

/// Follows the chain that ends in this block, however deep it forks off (protocol §7). It must have more work than the
/// active one, and all of its blocks must be here.
#[utoipa::path(post, path = "/v1/chain/adopt", tag = "blocks", request_body = AdoptFork,
    responses((status = 200, body = AdoptedFork), (status = 400, body = crate::api::types::ErrorEnvelope),
    (status = 404, body = crate::api::types::ErrorEnvelope), (status = 409, body = crate::api::types::ErrorEnvelope)),
    security(("token" = [])))]
pub(super) async fn adopt(State(state): State<ApiState>, body: Body) -> Result<Json<AdoptedFork>, Refusal> {
    let AdoptFork { hash } = from_json(&body?)?;
    let hash: BlockHash = hash.parse().map_err(|error| Refusal::bad_request(format!("hash: {error}")))?;
    let chain = &state.parts().chain;
    let disconnected = chain.adopt_fork(hash).await??;
    let tip = chain.tip();
    Ok(Json(AdoptedFork { v: VERSION, hash: tip.hash.to_string(), height: tip.height, disconnected }))
}

impl From<AdoptRefusal> for Refusal {
    fn from(refusal: AdoptRefusal) -> Self {
        let (status, why) = match refusal {
            AdoptRefusal::Unknown => (StatusCode::NOT_FOUND, ""),
            AdoptRefusal::Active | AdoptRefusal::Invalid => (StatusCode::CONFLICT, ""),
            AdoptRefusal::NotHeavier => (StatusCode::CONFLICT, "Every node would go back to the chain with more work."),
            AdoptRefusal::Incomplete => (StatusCode::CONFLICT, "They are asked of peers that follow it."),
            AdoptRefusal::BelowUndo => {
                (StatusCode::CONFLICT, "A node with a new data directory follows the heaviest chain from the start.")
            }
        };
        Self::new(status, refusal.code(), refusal.to_string()).why(why)
    }
}

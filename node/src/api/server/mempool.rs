//! `GET /v1/mempool`.

use axum::{Json, extract::State};

use super::{present::transaction_summary, state::ApiState};
use crate::api::types::{MempoolItem, MempoolList, VERSION};

/// Most transactions listed; the count tells how many there are.
const MAX_LISTED: usize = 1_000;

/// The transactions that wait for a block.
#[utoipa::path(get, path = "/v1/mempool", tag = "transactions", responses((status = 200, body = MempoolList)))]
pub(super) async fn mempool(State(state): State<ApiState>) -> Json<MempoolList> {
    let pool = state.parts().chain.mempool();
    let mut all = pool.all();
    all.sort_by_key(|entry| entry.txid());
    let listed = all.iter().take(MAX_LISTED);
    Json(MempoolList {
        v: VERSION,
        count: all.len() as u64,
        bytes: pool.bytes() as u64,
        transactions: listed.map(|e| MempoolItem { summary: transaction_summary(e.transaction()) }).collect(),
    })
}

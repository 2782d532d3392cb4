//! `/v1/operations…`, for the node's user only.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
};
use ledger::hash::CommitHash;

use super::{
    error::{Body, Refusal, from_json},
    names::{parse_name, parse_transaction},
    present::hex_of,
    state::ApiState,
};
use crate::{
    api::types::{
        NewOperation, Operation, OperationKind, OperationList, OperationTx, Progress, ResumeOperation, VERSION, rfc3339,
    },
    miner::WorkProgress,
    ops::{Plan, Request, ResumeRequest, View},
};

/// Starts an operation. It is stored durably when this answers.
#[utoipa::path(post, path = "/v1/operations", tag = "operations", request_body = NewOperation,
    responses((status = 202, body = Operation), (status = 400, body = crate::api::types::ErrorEnvelope),
    (status = 409, body = crate::api::types::ErrorEnvelope), (status = 503, body = crate::api::types::ErrorEnvelope)),
    security(("token" = [])))]
pub(super) async fn start(State(state): State<ApiState>, body: Body) -> Result<(StatusCode, Json<Operation>), Refusal> {
    let request = parse_request(from_json(&body?)?)?;
    let view = state.parts().ops.start(request).await?;
    Ok((StatusCode::ACCEPTED, Json(operation_of(&state, &view))))
}

fn parse_request(request: NewOperation) -> Result<Request, Refusal> {
    Ok(match request {
        NewOperation::Register { name, commit, reveal_hex } => Request::Register {
            name: parse_name(&name)?,
            class: commit.class,
            commit_hash: commit
                .commit_hash
                .parse::<CommitHash>()
                .map_err(|error| Refusal::bad_request(format!("commit.commit_hash: {error}")))?,
            commit_anchor: commit.anchor_height,
            reveal: Box::new(parse_transaction(&reveal_hex)?),
        },
        NewOperation::Change { transaction_hex } => {
            Request::Change { transaction: Box::new(parse_transaction(&transaction_hex)?) }
        }
        NewOperation::Renew { name } => Request::Renew { name: parse_name(&name)? },
    })
}

/// Operations in a list: each is up to some 6 KiB.
const MAX_LISTED: usize = 1_000;

/// Operations kept, newest first, a thousand at most.
#[utoipa::path(get, path = "/v1/operations", tag = "operations", security(("token" = [])),
    responses((status = 200, body = OperationList), (status = 401, body = crate::api::types::ErrorEnvelope)))]
pub(super) async fn list(State(state): State<ApiState>) -> Json<OperationList> {
    let views = state.parts().ops.list();
    let operations = views.iter().take(MAX_LISTED).map(|view| operation_of(&state, view)).collect();
    Json(OperationList { v: VERSION, operations })
}

/// One operation. A prefix of its id that fits no other is enough.
#[utoipa::path(get, path = "/v1/operations/{id}", tag = "operations", params(("id" = String, Path)),
    security(("token" = [])), responses((status = 200, body = Operation),
    (status = 401, body = crate::api::types::ErrorEnvelope), (status = 404, body = crate::api::types::ErrorEnvelope)))]
pub(super) async fn operation(
    State(state): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Operation>, Refusal> {
    let view = state.parts().ops.find(&path?.0)?;
    Ok(Json(operation_of(&state, &view)))
}

/// Stops an operation. What is published already cannot be taken back.
#[utoipa::path(post, path = "/v1/operations/{id}/cancel", tag = "operations", params(("id" = String, Path)),
    responses((status = 200, body = Operation)), security(("token" = [])))]
pub(super) async fn cancel(
    State(state): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Operation>, Refusal> {
    let ops = &state.parts().ops;
    let view = ops.cancel(ops.find(&path?.0)?.record.id).await?;
    Ok(Json(operation_of(&state, &view)))
}

/// Goes on with an operation, with a new signature if it needs one.
#[utoipa::path(post, path = "/v1/operations/{id}/resume", tag = "operations", params(("id" = String, Path)),
    request_body = ResumeOperation, responses((status = 200, body = Operation)), security(("token" = [])))]
pub(super) async fn resume(
    State(state): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
    body: Body,
) -> Result<Json<Operation>, Refusal> {
    let request: ResumeOperation = match body? {
        empty if empty.is_empty() => ResumeOperation::default(),
        bytes => from_json(&bytes)?,
    };
    let transaction = request.transaction_hex.as_deref().map(parse_transaction).transpose()?.map(Box::new);
    let ops = &state.parts().ops;
    let view = ops.resume(ops.find(&path?.0)?.record.id, ResumeRequest { transaction }).await?;
    Ok(Json(operation_of(&state, &view)))
}

/// An operation as shown.
pub(super) fn operation_of(state: &ApiState, view: &View) -> Operation {
    let record = &view.record;
    let milestones = record.milestones;
    let window = state.params().anchor_window;
    Operation {
        v: VERSION,
        id: record.id.to_string(),
        kind: match record.plan {
            Plan::Register(_) => OperationKind::Register,
            Plan::Change(_) | Plan::Renew(_) => OperationKind::Change,
        },
        action: record.action(),
        name: record.name().to_string(),
        state: record.state,
        txids: record.txids().into_iter().map(|(role, txid)| OperationTx { role, txid: txid.to_string() }).collect(),
        commit_height: milestones.commit_height,
        reveal_height: milestones.reveal_height,
        active_from: milestones.active_from,
        next_height: milestones.next_height,
        signature_valid_until: record
            .signed_change()
            .filter(|_| !record.state.is_over())
            .map(|change| change.anchor.height.saturating_add(window)),
        transaction_hex: record.signed().map(hex_of),
        progress: view.progress.map(|progress| progress_of(progress, view.expected_hashes)),
        created_at: rfc3339(record.created_at),
        updated_at: rfc3339(record.updated_at),
        error: record.failure.clone(),
        height: view.height,
    }
}

fn progress_of(progress: WorkProgress, expected_hashes: u64) -> Progress {
    // The search has no memory: whatever was done, the mean that remains is the whole.
    let eta_seconds = (progress.rate >= 1.0).then(|| (expected_hashes as f64 / progress.rate).ceil() as u64);
    Progress { hashes_done: progress.hashes, expected_hashes, rate_hps: progress.rate, eta_seconds }
}

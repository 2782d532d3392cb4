//! `POST /v1/commits`, for the node's user only: a wallet that was restored from its words finds its registrations.

use axum::{Json, extract::State};
use ledger::{
    hash::CommitHash,
    state::{Leaf, commit_key},
};

use super::{
    error::{Body, Refusal, from_json},
    state::ApiState,
};
use crate::api::types::{CommitList, CommitQuery, StandingCommit, VERSION};

/// Commits in one question: a wallet asks for some 64 per key, and half the largest body holds so many.
const MAX_ASKED: usize = 512;

/// Which commits stand on the chain. It changes nothing; it is a POST because the question is long.
#[utoipa::path(post, path = "/v1/commits", tag = "operations", request_body = CommitQuery,
    responses((status = 200, body = CommitList), (status = 400, body = crate::api::types::ErrorEnvelope)),
    security(("token" = [])))]
pub(super) async fn commits(State(state): State<ApiState>, body: Body) -> Result<Json<CommitList>, Refusal> {
    let CommitQuery { class, commit_hashes } = from_json(&body?)?;
    if commit_hashes.len() > MAX_ASKED {
        return Err(Refusal::bad_request(format!("commit_hashes: at most {MAX_ASKED} at once")));
    }
    let wanted = commit_hashes
        .iter()
        .map(|text| text.parse::<CommitHash>())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Refusal::bad_request(format!("commit_hashes: {error}")))?;
    let (height, commits) = state
        .read(move |reader| {
            let view = reader.view();
            let mut commits = Vec::new();
            for commit_hash in &wanted {
                if let Some(Leaf::Commit(commit)) = view.leaf(&commit_key(class, commit_hash))? {
                    let (commit_height, spent) = (commit.height, commit.spent);
                    commits.push(StandingCommit { commit_hash: commit_hash.to_string(), commit_height, spent });
                }
            }
            Ok((view.tip()?.height, commits))
        })
        .await?;
    Ok(Json(CommitList { v: VERSION, commits, height }))
}

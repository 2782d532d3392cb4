//! `POST /v1/resolver/…`, for the node's user only: reading the configuration again, and emptying the cache of upstreams'
//! answers.

use axum::{Json, extract::State, http::StatusCode};
use tracing::info;

use super::{
    error::{Body, Refusal, from_json},
    state::ApiState,
};
use crate::{
    api::types::{FlushAnswers, FlushedAnswers, ReloadedConfiguration, VERSION},
    reload::{ReloadError, Reloaded},
    zone::{NotAName, read_pasted},
};

/// Reads the configuration file, the HOSTS files and the certificate of encrypted DNS again, as SIGHUP does. A mistake
/// changes nothing of what it is in.
#[utoipa::path(post, path = "/v1/resolver/reload", tag = "resolver",
    responses((status = 200, body = ReloadedConfiguration), (status = 422, body = crate::api::types::ErrorEnvelope),
    (status = 503, body = crate::api::types::ErrorEnvelope)),
    security(("token" = [])))]
pub(super) async fn reload(State(state): State<ApiState>) -> Result<Json<ReloadedConfiguration>, Refusal> {
    let reloaded = state.parts().reload.reload().await?;
    if !reloaded.problems.is_empty() {
        return Err(half_done(&reloaded));
    }
    let Reloaded { changed, needs_restart, hosts_names, .. } = reloaded;
    let hosts_names = hosts_names.and_then(|count| u64::try_from(count).ok());
    Ok(Json(ReloadedConfiguration { v: VERSION, changed, needs_restart, hosts_names }))
}

/// Drops cached answers of upstreams and of servers that names are delegated to, about one name and what is below it, or
/// all. With all of them goes what was learnt of upstreams: which are dead or slow, and what they cannot take.
#[utoipa::path(post, path = "/v1/resolver/flush", tag = "resolver", request_body = FlushAnswers,
    responses((status = 200, body = FlushedAnswers), (status = 400, body = crate::api::types::ErrorEnvelope)),
    security(("token" = [])))]
pub(super) async fn flush(State(state): State<ApiState>, body: Body) -> Result<Json<FlushedAnswers>, Refusal> {
    let FlushAnswers { name } = from_json(&body?)?;
    let name = name.as_deref().map(read_pasted).transpose()?;
    let forwarder = state.parts().forwarder.clone();
    let flushed = name.clone();
    // A large cache takes a while to look through.
    let answers = tokio::task::spawn_blocking(move || forwarder.flush(flushed.as_ref())).await;
    let answers = answers.map_err(|_| Refusal::internal("flushing failed"))?;
    let name = name.map(|name| name.to_string());
    info!(name = name.as_deref().unwrap_or("all"), answers, "cached answers of upstreams flushed");
    Ok(Json(FlushedAnswers { v: VERSION, name, answers: u64::try_from(answers).unwrap_or(u64::MAX) }))
}

/// The configuration holds, and something that it points to does not.
fn half_done(reloaded: &Reloaded) -> Refusal {
    let taken = match &reloaded.changed[..] {
        [] => "Nothing in the configuration had to be taken over".to_owned(),
        changed => format!("Of the configuration was taken over: {}", changed.join(" ")),
    };
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "not_reloaded", reloaded.problems.join("; "))
        .why(format!("{taken}; what was read before holds for the rest."))
}

impl From<ReloadError> for Refusal {
    fn from(error: ReloadError) -> Self {
        match error {
            ReloadError::Configuration(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_configuration", error.to_string())
                    .why("The configuration before holds: nothing was changed.")
                    .fix("namestead check-config --config FILE")
            }
            ReloadError::Unavailable => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "reload_unavailable", error.to_string())
            }
        }
    }
}

impl From<NotAName> for Refusal {
    fn from(error: NotAName) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_name", format!("name: {error}"))
    }
}

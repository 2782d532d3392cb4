//! Refusals as JSON: `{"v":1,"error":{code,message,why,fix}}` with the HTTP status that fits.

use axum::{
    Json,
    body::Bytes,
    extract::rejection::{BytesRejection, PathRejection, QueryRejection},
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};

use crate::{
    api::types::{ErrorEnvelope, VERSION},
    chain::{ChainError, TxRejection},
    failure::Failure,
    ops::OpsError,
    store::StoreError,
};

/// A request that was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    failure: Failure,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, failure: Failure::new(code, message, "", "") }
    }

    pub(super) fn why(mut self, why: impl Into<String>) -> Self {
        self.failure.why = why.into();
        self
    }

    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.failure.fix.push(fix.into());
        self
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(super) fn not_found(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    fn of_failure(status: StatusCode, failure: Failure) -> Self {
        Self { status, failure }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(ErrorEnvelope { v: VERSION, error: self.failure })).into_response()
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.code(), error.to_string())
    }
}

impl From<ChainError> for Refusal {
    fn from(error: ChainError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.code(), error.to_string())
    }
}

impl From<TxRejection> for Refusal {
    fn from(rejection: TxRejection) -> Self {
        let status = match &rejection {
            TxRejection::UnknownAnchor { .. } | TxRejection::Violation(_) => StatusCode::UNPROCESSABLE_ENTITY,
            TxRejection::Pool(_) | TxRejection::Mined { .. } => StatusCode::CONFLICT,
            TxRejection::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, rejection.code(), rejection.to_string())
    }
}

impl From<OpsError> for Refusal {
    fn from(error: OpsError) -> Self {
        let message = error.to_string();
        match error {
            OpsError::Invalid(failure) => Self::of_failure(StatusCode::BAD_REQUEST, failure),
            OpsError::Forbidden(failure) => Self::of_failure(StatusCode::CONFLICT, failure),
            OpsError::NotSynced => Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_synced", message)
                .why("Until it knows the end of the chain it cannot tell whether this is possible.")
                .fix("namectl status --watch"),
            OpsError::TooMany => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_operations", message).fix("namectl ops list")
            }
            OpsError::NotFound(_) => Self::not_found("operation_not_found", message).fix("namectl ops list"),
            OpsError::Ambiguous(_) => {
                Self::new(StatusCode::BAD_REQUEST, "operation_ambiguous", message).fix("namectl ops list")
            }
            OpsError::WrongState(_) => Self::new(StatusCode::CONFLICT, "operation_state", message),
            OpsError::Store(error) => error.into(),
            OpsError::Stopped => Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", message),
        }
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

/// A body as it was received, or not: too long, or broken off.
pub(super) type Body = Result<Bytes, BytesRejection>;

impl From<BytesRejection> for Refusal {
    fn from(rejection: BytesRejection) -> Self {
        let status = rejection.status();
        let code = if status == StatusCode::PAYLOAD_TOO_LARGE { "body_too_large" } else { "bad_request" };
        Self::new(status, code, rejection.body_text())
    }
}

/// Reads a JSON body.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| Refusal::bad_request(format!("the body cannot be read: {error}")))
}

pub(super) async fn no_such_path(uri: Uri) -> Refusal {
    Refusal::not_found("no_such_path", format!("there is nothing at {}", uri.path())).fix("GET /v1/openapi.json")
}

pub(super) async fn no_such_method() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "no_such_method", "this path does not take this method")
        .fix("GET /v1/openapi.json")
}

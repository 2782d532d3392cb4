//! The OpenAPI document, made from the handlers.

use axum::Json;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Document,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{adopt, blocks, commits, events, mempool, names, operations, peers, resolver, status, transactions};
use crate::api::types::{ErrorEnvelope, Event};

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(title = "Namestead node", description = "REST and JSON over the node's unix socket and loopback TCP."),
    paths(
        status::status,
        names::list,
        names::name,
        names::history,
        names::proof,
        blocks::list,
        blocks::block,
        transactions::submit,
        transactions::transaction,
        mempool::mempool,
        peers::peers,
        operations::list,
        operations::start,
        operations::operation,
        operations::cancel,
        operations::resume,
        commits::commits,
        adopt::adopt,
        resolver::reload,
        resolver::flush,
        events::events,
    ),
    components(schemas(ErrorEnvelope, Event)),
    modifiers(&Token)
)]
struct Api;

/// Declares the token.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut Document) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        document.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// `GET /v1/openapi.json`.
pub(super) async fn document() -> Json<Document> {
    Json(Api::openapi())
}

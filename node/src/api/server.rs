//! The answering side of the HTTP interface: REST and JSON on a unix socket and on loopback TCP.
//!
//! The unix socket is mode 0600: whoever can open it is this user, so it needs no token. On TCP every program of this
//! machine, of any user, and every page in its browsers, can connect: writes need the token, and so do operations, which
//! tell of names before they are anybody's. `Host` and `Origin` must name this machine, or a page could reach the node
//! through a DNS name that it re-points here ("rebinding").
//!
//! Bounds: connections, bytes of a body, seconds per request, entries of a list, readers of events.

mod adopt;
mod blocks;
mod commits;
mod error;
mod events;
mod guard;
mod health;
mod listen;
mod mempool;
mod monitor;
mod names;
mod openapi;
mod operations;
mod page;
mod peers;
mod present;
mod resolver;
mod serving;
mod state;
mod status;
mod token;
mod transactions;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};

pub use monitor::MonitorServer;
pub use serving::ApiError;
pub use state::{ApiState, Parts};

use crate::config::ApiConfig;
use guard::Entrance;
use serving::Serving;

/// Largest request body, in bytes: two transactions in hexadecimal with room to spare.
const MAX_BODY_BYTES: usize = 64 << 10;

/// The interface, listening.
pub struct ApiServer {
    socket: PathBuf,
    local_addr: Option<SocketAddr>,
    token: String,
    state: ApiState,
    serving: Serving,
}

impl ApiServer {
    /// Listens on the socket and the address of `config`, each for at most `connections` at a time. When this returns,
    /// requests are answered.
    pub async fn bind(config: &ApiConfig, connections: usize, state: ApiState) -> Result<Self, ApiError> {
        let token_path = config.token_path();
        let token = token::load_or_make(&token_path).map_err(|error| ApiError::Token { path: token_path, error })?;
        let socket = config.socket_path();
        let unix = listen::unix(&socket).map_err(|error| ApiError::Socket { path: socket.clone(), error })?;
        let mut serving = Serving::new(connections);
        serving.add(unix, router(state.clone(), Entrance::Socket), state.stopped());
        let mut local_addr = None;
        if let Some(address) = config.listen.address() {
            let tcp =
                listen::tcp(address).await.map_err(|error| ApiError::Listen { what: "the API", address, error })?;
            local_addr = tcp.local_addr().ok();
            serving.add(tcp, router(state.clone(), Entrance::tcp(&token)), state.stopped());
        }
        Ok(Self { socket, local_addr, token, state, serving })
    }

    /// The TCP address listened on.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// The token for writes and operations over TCP.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Stops accepting, lets requests under way finish for as long as `deadline`, ends what is left, and removes the
    /// socket.
    pub async fn shutdown(self, deadline: Duration) {
        self.state.stop();
        self.serving.end(deadline).await;
        // Somebody else may have removed it already.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Every route, behind its guards.
fn router(state: ApiState, entrance: Entrance) -> Router {
    Router::new()
        .merge(page::routes())
        .merge(health::routes())
        .nest("/v1", v1())
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(middleware::from_fn_with_state(state.clone(), guard::time_and_count))
        .layer(middleware::from_fn_with_state(entrance, guard::admit))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(state)
}

/// What stands in the OpenAPI document.
fn v1() -> Router<ApiState> {
    open_to_all().merge(owners())
}

fn open_to_all() -> Router<ApiState> {
    Router::new()
        .route("/status", get(status::status))
        .route("/names", get(names::list))
        .route("/names/{name}", get(names::name))
        .route("/names/{name}/history", get(names::history))
        .route("/names/{name}/proof", get(names::proof))
        .route("/blocks", get(blocks::list))
        .route("/blocks/{height_or_hash}", get(blocks::block))
        .route("/transactions", post(transactions::submit))
        .route("/transactions/{txid}", get(transactions::transaction))
        .route("/mempool", get(mempool::mempool))
        .route("/peers", get(peers::peers))
        .route("/events", get(events::events))
        .route("/openapi.json", get(openapi::document))
}

/// What tells of its user's plans, or decides for the node.
fn owners() -> Router<ApiState> {
    Router::new()
        .route("/operations", get(operations::list).post(operations::start))
        .route("/operations/{id}", get(operations::operation))
        .route("/operations/{id}/cancel", post(operations::cancel))
        .route("/operations/{id}/resume", post(operations::resume))
        .route("/commits", post(commits::commits))
        .route("/chain/adopt", post(adopt::adopt))
        .route("/resolver/reload", post(resolver::reload))
        .route("/resolver/flush", post(resolver::flush))
        .route_layer(middleware::from_fn(guard::owner_only))
}

//! The answering side of the HTTP interface: REST and JSON on a unix socket and on loopback TCP.
//!
//! The unix socket is mode 0600: whoever can open it is this user, so it needs no token. On TCP every program of this
//! machine, of any user, and every page in its browsers, can connect: writes need the token, and so do operations, which
//! tell of names before they are anybody's. `Host` and `Origin` must name this machine, or a page could reach the node
//! through a DNS name that it re-points here ("rebinding").
//!
//! Bounds: connections, bytes of a body, seconds per request, entries of a list, readers of events.

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
mod state;
mod status;
mod token;
mod transactions;

use std::{io, net::SocketAddr, path::PathBuf, pin::pin, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use tokio::{sync::watch, task::JoinSet, time::timeout};

pub use monitor::MonitorServer;
pub use state::{ApiState, Parts};

use crate::config::ApiConfig;
use guard::Entrance;

/// Largest request body, in bytes: two transactions in hexadecimal with room to spare.
const MAX_BODY_BYTES: usize = 64 << 10;

/// Why the interface could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The unix socket.
    #[error("cannot listen on the socket {}: {error}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// The TCP address.
    #[error("cannot listen for {what} on {address}: {error}")]
    Listen {
        /// What is to be found there.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's words.
        error: io::Error,
    },
    /// The token file.
    #[error("cannot read or make the token file {}: {error}", path.display())]
    Token {
        /// Its path.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
}

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
        let token = token::load_or_make(&config.token_path())?;
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

/// Listeners that are served. When this is dropped, they are closed and their connections end.
struct Serving {
    connections: usize,
    cut: watch::Sender<bool>,
    tasks: JoinSet<io::Result<()>>,
}

impl Serving {
    /// At most `connections` of each listener.
    fn new(connections: usize) -> Self {
        Self { connections, cut: watch::Sender::new(false), tasks: JoinSet::new() }
    }

    /// Serves `listener` until `stopped`; from then on nobody new is let in.
    fn add(
        &mut self,
        listener: impl listen::Accept,
        router: Router,
        stopped: impl Future<Output = ()> + Send + 'static,
    ) {
        let listener = listen::limited(listener, self.connections, &self.cut);
        self.tasks.spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
    }

    /// Lets requests under way finish for as long as `deadline`, then ends their connections. To be called once all is
    /// `stopped`.
    async fn end(mut self, deadline: Duration) {
        let tasks = &mut self.tasks;
        let mut ended = pin!(async move { while tasks.join_next().await.is_some() {} });
        if timeout(deadline, &mut ended).await.is_err() {
            self.cut.send_replace(true);
            // A handler may still wait for the database; it ends by itself.
            let _ = timeout(deadline, ended).await;
        }
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

/// What tells of its user's plans.
fn owners() -> Router<ApiState> {
    Router::new()
        .route("/operations", get(operations::list).post(operations::start))
        .route("/operations/{id}", get(operations::operation))
        .route("/operations/{id}/cancel", post(operations::cancel))
        .route("/operations/{id}/resume", post(operations::resume))
        .route("/commits", post(commits::commits))
        .route_layer(middleware::from_fn(guard::owner_only))
}

//! Listeners that answer, and why there may be none.

use std::{io, net::SocketAddr, path::PathBuf, pin::pin, time::Duration};

use axum::Router;
use tokio::{sync::watch, task::JoinSet, time::timeout};

use super::listen;

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

/// Listeners that are served. When this is dropped, they are closed and their connections end.
pub(super) struct Serving {
    connections: usize,
    cut: watch::Sender<bool>,
    tasks: JoinSet<io::Result<()>>,
}

impl Serving {
    /// At most `connections` of each listener.
    pub(super) fn new(connections: usize) -> Self {
        Self { connections, cut: watch::Sender::new(false), tasks: JoinSet::new() }
    }

    /// Serves `listener` until `stopped`; from then on no connection is accepted.
    pub(super) fn add(
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
    pub(super) async fn end(mut self, deadline: Duration) {
        let tasks = &mut self.tasks;
        let mut ended = pin!(async move { while tasks.join_next().await.is_some() {} });
        if timeout(deadline, &mut ended).await.is_err() {
            self.cut.send_replace(true);
            // A handler may still wait for the database; it ends by itself.
            let _ = timeout(deadline, ended).await;
        }
    }
}

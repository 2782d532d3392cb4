//! Connections: accepts them, keeps to the caps, serves each, and stops in order.
//!
//! ```text
//! listener ─→ gate ─→ stream (TCP) ─→ Handler::message
//! ```
//!
//! A stopped server accepts nothing, reads no further queries, and gives what is in work [`DRAIN`] to finish.

mod frames;
mod gate;
mod stream;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};
use tracing::{debug, error, warn};

use crate::{
    config::ConnectionsConfig,
    handler::{Client, Handler, Via},
};

use gate::{Gate, Pass};
use stream::{Terms, converse};

/// How long queries in work may take when the server stops. A node gives each of its parts two seconds.
const DRAIN: Duration = Duration::from_secs(1);
/// How long to rest when the system has no file descriptor or no memory for another connection.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// All connections, and the sockets that they come from.
pub(crate) struct Connections {
    hall: Arc<Hall>,
    listeners: JoinSet<()>,
    stop: watch::Sender<bool>,
}

/// What all connections share.
struct Hall {
    handler: Arc<Handler>,
    gate: Arc<Gate>,
    stop: Stop,
}

/// Tells when to stop.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Waits until it is time to stop.
    pub(crate) async fn wait(&mut self) {
        // An error means that nobody is left who could ask for more.
        let _ = self.0.wait_for(|stops| *stops).await;
    }
}

impl Connections {
    pub(crate) fn new(handler: Arc<Handler>, limits: ConnectionsConfig) -> Self {
        let (stop, stops) = watch::channel(false);
        let hall = Hall { handler, gate: Gate::new(limits), stop: Stop(stops) };
        Self { hall: Arc::new(hall), listeners: JoinSet::new(), stop }
    }

    /// Serves DNS over TCP on a socket that listens.
    pub(crate) fn serve_tcp(&mut self, listener: TcpListener) {
        let hall = self.hall.clone();
        self.listeners.spawn(accept(listener, hall.stop.clone(), move |socket, addr| {
            hall.clone().admit(socket, Client { addr, via: Via::Tcp })
        }));
    }

    /// Waits until a listener ends, which it normally never does.
    pub(crate) async fn failed(&mut self) -> io::Error {
        match self.listeners.join_next().await {
            None => std::future::pending().await,
            Some(ended) => ended.map_or_else(io::Error::other, |()| io::Error::other("a DNS listener has ended")),
        }
    }

    /// Closes all sockets, and lets what is in work finish, for a while.
    pub(crate) async fn shutdown(&mut self) {
        // An error means that nobody listens.
        let _ = self.stop.send(true);
        while self.listeners.join_next().await.is_some() {}
    }
}

impl Hall {
    /// Serves one TCP connection if it is let in.
    fn admit(self: Arc<Self>, socket: TcpStream, client: Client) -> Option<impl Future<Output = ()> + use<>> {
        let pass = self.enter(client)?;
        Some(async move {
            // One answer, one packet: nothing is gained by waiting for more.
            if let Err(error) = socket.set_nodelay(true) {
                debug!(client = %client.addr, %error, "no TCP_NODELAY");
            }
            self.handler.metrics.connections.opened(client.via);
            let end = converse(socket, self.terms(client, pass)).await;
            self.handler.metrics.connections.closed(client.via, end);
        })
    }

    fn enter(&self, client: Client) -> Option<Pass> {
        let pass = self.gate.enter(client.addr.ip());
        if pass.is_none() {
            debug!(client = %client.addr, via = ?client.via, "connection refused: no room");
            self.handler.metrics.connections.refused(client.via);
        }
        pass
    }

    fn terms(&self, client: Client, pass: Pass) -> Terms {
        let limits = self.gate.limits().clone();
        Terms { handler: self.handler.clone(), limits, client, pass, stop: self.stop.clone() }
    }
}

/// Accepts connections and serves those that are admitted, until it is time to stop.
async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    mut stop: Stop,
    admit: impl Fn(TcpStream, SocketAddr) -> Option<F>,
) {
    // Bounded by the gate.
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.wait() => break,
            Some(ended) = open.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((socket, addr)) => {
                    if let Some(serving) = admit(socket, addr) {
                        open.spawn(serving);
                    }
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    warn!(%error, "connections cannot be accepted");
                    sleep(ACCEPT_REST).await;
                }
            },
        }
    }
    drop(listener);
    let drained = async {
        while let Some(ended) = open.join_next().await {
            report(ended);
        }
    };
    // What is left is aborted when `open` goes.
    let _ = timeout(DRAIN, drained).await;
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!(%error, "serving a connection failed");
    }
}

/// Whether only the connection that was about to be accepted has failed (accept(2)).
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | HostUnreachable | Interrupted | NetworkUnreachable)
}

//! Connections: accepts them, keeps to the caps, serves each, and stops in order.
//!
//! ```text
//! listener ─→ gate ─┬────────→ stream (TCP) ─→ Handler::message
//!                   ├─ TLS ─┬→ stream
//!                   │       └→ https
//!                   └───────→ quic
//! ```
//!
//! A connection that has to make room for another is not cut off in the middle: what has come of it by then is looked at
//! first.
//!
//! Connections of clients that may neither ask nor fetch zones are closed before anything is read from them.
//!
//! A stopped server accepts nothing, reads no further queries, and gives what is in work [`DRAIN`] to finish.

mod activity;
mod bodies;
mod frames;
mod gate;
mod hall;
mod https;
mod quic;
mod socket;
mod stream;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{debug, warn};

use crate::{
    metrics::End,
    policy::config::ConnectionsConfig,
    rarely::Rarely,
    serve::handler::Handler,
    zones::exchange::{Client, Via},
};

use gate::{Gate, Unread};
use hall::{Admission, DRAIN, HANDSHAKE, Hall, Stop, Terms, evicted, report, serve_until};
pub(crate) use quic::{Quic, endpoint as open_quic};
use socket::Socket;
use stream::converse;

/// How long to rest when the system has no file descriptor or no memory for another connection.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// How often that is said.
const ACCEPT_COMPLAINT: Duration = Duration::from_secs(60);

/// All connections, and the sockets that they come from.
pub(crate) struct Connections {
    hall: Arc<Hall>,
    listeners: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Connections {
    pub(crate) fn new(handler: Arc<Handler>, limits: ConnectionsConfig) -> Self {
        let (stop, stops) = watch::channel(false);
        let hall = Hall { handler, gate: Gate::new(limits), stop: Stop(stops) };
        Self { hall: Arc::new(hall), listeners: JoinSet::new(), stop }
    }

    /// Serves DNS over TCP on a socket that listens.
    pub(crate) fn serve_tcp(&mut self, listener: TcpListener) {
        self.serve(listener, Via::Tcp, converse);
    }

    /// Serves DNS over TLS on a socket that listens.
    pub(crate) fn serve_tls(&mut self, listener: TcpListener, tls: TlsAcceptor) {
        self.serve(listener, Via::Tls, move |socket, terms| {
            let tls = tls.clone();
            async move {
                match shake_hands(&tls, socket, &terms).await {
                    Ok(socket) => converse(socket, terms).await,
                    Err(end) => end,
                }
            }
        });
    }

    /// Serves DNS over HTTPS on a socket that listens, at `path`.
    pub(crate) fn serve_https(&mut self, listener: TcpListener, tls: TlsAcceptor, path: Arc<str>) {
        self.serve(listener, Via::Https, move |socket, terms| {
            let (tls, path) = (tls.clone(), path.clone());
            async move {
                match shake_hands(&tls, socket, &terms).await {
                    Ok(socket) => https::converse(socket, terms, path).await,
                    Err(end) => end,
                }
            }
        });
    }

    /// Serves DNS over QUIC on a socket of it.
    pub(crate) fn serve_quic(&mut self, quic: Quic) {
        self.listeners.spawn(quic::accept(quic, self.hall.clone()));
    }

    fn serve<F: Future<Output = End> + Send + 'static>(
        &mut self,
        listener: TcpListener,
        via: Via,
        converse: impl Fn(Socket, Terms) -> F + Send + 'static,
    ) {
        let hall = self.hall.clone();
        self.listeners.spawn(accept(listener, self.hall.clone(), move |socket, addr, unread| {
            let Admission::In(terms) = hall.admit(Client { addr, via }, unread) else { return None };
            // One answer, one packet: nothing is gained by waiting for more.
            if let Err(error) = socket.set_nodelay(true) {
                debug!(client = %addr, %error, "no TCP_NODELAY");
            }
            let socket = Socket::new(socket, terms.pass.clone());
            Some(hall.clone().counted(via, converse(socket, *terms)))
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

/// Makes a TLS connection, unless the client is slow or others need its place. Boxed, like its making: a future keeps
/// room for each place that a value passes through, and there are several.
async fn shake_hands(tls: &TlsAcceptor, socket: Socket, terms: &Terms) -> Result<Box<TlsStream<Socket>>, End> {
    let shaking = pin!(timeout(HANDSHAKE, Box::pin(tls.accept(socket))));
    match serve_until(shaking, evicted(&terms.pass)).await? {
        Ok(Ok(socket)) => Ok(Box::new(socket)),
        Ok(Err(error)) => {
            debug!(client = %terms.client.addr, %error, "no TLS handshake");
            Err(End::Handshake)
        }
        Err(_) => Err(End::Handshake),
    }
}

/// Accepts connections, no faster than they are read, and serves those that are admitted, until it is time to stop.
async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    hall: Arc<Hall>,
    admit: impl Fn(TcpStream, SocketAddr, Unread) -> Option<F>,
) {
    let mut stop = hall.stop.clone();
    // Bounded by the gate.
    let mut open = JoinSet::new();
    let mut complaint = Rarely::every(ACCEPT_COMPLAINT);
    loop {
        tokio::select! {
            () = stop.wait() => break,
            Some(ended) = open.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((socket, addr)) => {
                    let unread = hall.gate.unread().await;
                    if let Some(serving) = admit(socket, addr, unread) {
                        open.spawn(serving);
                    }
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    if let Some(times) = complaint.due(Instant::now()) {
                        warn!(%error, times_since_last_said = times, "connections cannot be accepted");
                    }
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

/// Whether only the connection that was about to be accepted has failed (accept(2)).
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | HostUnreachable | Interrupted | NetworkUnreachable)
}

//! What all connections share: who comes in, on what terms, and when it is over.

use std::{
    future::{Future, poll_fn},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{sync::watch, task::JoinError};
use tracing::{debug, error};

use super::gate::{Gate, Pass, Unread};
use crate::{
    metrics::End,
    policy::config::ConnectionsConfig,
    serve::handler::Handler,
    zones::exchange::{Client, Via},
};

/// How long queries in work may take when the server stops. A node gives each of its parts two seconds.
pub(super) const DRAIN: Duration = Duration::from_secs(1);
/// How long a handshake may take: a few round trips, whatever else is configured.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long the answers to what has come over HTTP/2 or QUIC may take when the connection has to make room. There are few
/// such connections at a time, for each has cost its client a handshake.
pub(super) const LAST_ANSWERS: Duration = Duration::from_millis(5);

/// What all connections share.
pub(super) struct Hall {
    pub(super) handler: Arc<Handler>,
    pub(super) gate: Arc<Gate>,
    pub(super) stop: Stop,
}

/// What becomes of a new connection.
pub(super) enum Admission {
    In(Box<Terms>),
    /// The client has to prove its address first.
    Unproven,
    Refused,
}

/// Tells when to stop.
#[derive(Clone, Debug)]
pub(super) struct Stop(pub(super) watch::Receiver<bool>);

impl Stop {
    /// Waits until it is time to stop.
    pub(crate) async fn wait(&mut self) {
        // An error means that nobody is left who could ask for more.
        let _ = self.0.wait_for(|stops| *stops).await;
    }
}

/// What a connection needs besides its socket.
pub(super) struct Terms {
    pub(super) handler: Arc<Handler>,
    pub(super) limits: ConnectionsConfig,
    pub(super) client: Client,
    pub(super) pass: Arc<Pass>,
    pub(super) stop: Stop,
}

#[cfg(test)]
impl Terms {
    /// Those of the only client of a server with an empty table.
    pub(super) async fn for_a_test(via: Via, stop: watch::Receiver<bool>) -> Self {
        use crate::{DnsConfig, DnsMetrics, SharedTable, serve::udp::Responder};

        let metrics = Arc::new(DnsMetrics::unregistered());
        let table = Arc::new(SharedTable::new(120));
        let responder = Responder::new(&DnsConfig::default(), table, metrics).expect("valid");
        let gate = Gate::new(ConnectionsConfig::default());
        let addr = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 1));
        Self {
            handler: responder.handler().clone(),
            limits: gate.limits().clone(),
            client: Client { addr, via },
            pass: Arc::new(gate.enter(addr.ip(), gate.unread().await).expect("room")),
            stop: Stop(stop),
        }
    }
}

impl Hall {
    /// Lets a connection in if there is room.
    pub(super) fn admit(&self, client: Client, unread: Unread) -> Admission {
        if !self.serves(client.addr.ip()) {
            return self.refuse(client, "may not ask");
        }
        self.gate
            .enter(client.addr.ip(), unread)
            .map_or_else(|| self.refuse(client, "no room"), |pass| self.terms(client, pass))
    }

    /// Lets a connection in whose client has not proved its address, if it need not.
    pub(super) fn admit_unproven(&self, client: Client, unread: Unread) -> Admission {
        if !self.serves(client.addr.ip()) {
            return self.refuse(client, "may not ask");
        }
        self.gate.enter_unproven(client.addr.ip(), unread).map_or(Admission::Unproven, |pass| self.terms(client, pass))
    }

    /// Whether there is anything for a client there: whoever gets only refusals gets neither a place nor a handshake.
    fn serves(&self, ip: IpAddr) -> bool {
        self.handler.guard.may_ask(ip) || self.handler.transfers.may_come_from(ip)
    }

    fn terms(&self, client: Client, pass: Pass) -> Admission {
        let limits = self.gate.limits().clone();
        let (handler, pass, stop) = (self.handler.clone(), Arc::new(pass), self.stop.clone());
        let terms = Terms { handler, limits, client, pass, stop };
        Admission::In(Box::new(terms))
    }

    fn refuse(&self, client: Client, reason: &str) -> Admission {
        debug!(client = %client.addr, via = ?client.via, reason, "connection refused");
        self.handler.metrics.connections.refused(client.via);
        Admission::Refused
    }

    pub(super) async fn counted(self: Arc<Self>, via: Via, serving: impl Future<Output = End>) {
        let mut open = self.handler.metrics.connections.open(via);
        open.end = serving.await;
    }
}

/// Serves until that is done, or `ended` says that it is over. Then whatever has come by then is looked at once more,
/// without waiting for anything.
pub(super) async fn serve_until<T>(
    mut serving: Pin<&mut impl Future<Output = T>>,
    ended: impl Future<Output = End>,
) -> Result<T, End> {
    let end = tokio::select! {
        done = &mut serving => return Ok(done),
        end = ended => end,
    };
    poll_fn(|cx| match serving.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => Poll::Ready(Err(end)),
    })
    .await
}

pub(super) async fn evicted(pass: &Pass) -> End {
    pass.evicted().await;
    End::Evicted
}

pub(super) fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!(%error, "serving a connection failed");
    }
}

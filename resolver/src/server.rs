//! Sockets: binds them, gives UDP to our [workers](crate::wire) and the rest to `connection`, and
//! stops in order.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::info;

use crate::{
    config::{ConfigError, DnsConfig},
    connection::Connections,
    metrics::DnsMetrics,
    sign::ZoneKey,
    source::NameSource,
    transfer::notify,
    wire::{Paths, Responder, Workers},
};

/// Connections that may wait to be accepted.
const TCP_BACKLOG: i32 = 128;
/// Bytes of datagrams that may wait on each UDP socket.
const UDP_BUFFER_BYTES: usize = 1 << 20;
/// Ports to try until one is free for both UDP and TCP.
const PORT_TRIES: usize = 16;
/// How often the gauges about the snapshot are refreshed.
const GAUGE_INTERVAL: Duration = Duration::from_secs(1);

/// A DNS server that is listening.
pub struct Resolver {
    connections: Connections,
    workers: Option<Workers>,
    local_addrs: Vec<SocketAddr>,
    gauges: JoinHandle<()>,
    // Aborted when the server goes.
    _notifiers: JoinSet<()>,
}

/// Why the server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The threads for UDP could not be started.
    #[error("cannot start the threads that serve DNS over UDP: {0}")]
    Threads(io::Error),
    /// An address is taken, not ours, or needs a privilege.
    #[error("cannot listen for DNS on {addr}: {error}")]
    Listen {
        /// The address as configured.
        addr: SocketAddr,
        /// What the operating system says.
        error: io::Error,
    },
}

/// Why the server stopped, or did not stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A socket failed for good.
    #[error("a DNS socket failed: {0}")]
    Socket(#[from] io::Error),
    /// Stopping took longer than allowed; what was left has been aborted.
    #[error("DNS did not stop within its deadline")]
    Deadline,
}

impl Resolver {
    /// Opens all sockets of `config` and serves `source` on them, unsigned. When this returns, queries are being
    /// answered.
    pub async fn bind(
        config: &DnsConfig,
        source: Arc<dyn NameSource>,
        metrics: Arc<DnsMetrics>,
    ) -> Result<Self, BindError> {
        Self::bind_with_key(config, source, metrics, None).await
    }

    /// Like [`Resolver::bind`]; with a key, answers are signed for clients that ask for it.
    pub async fn bind_with_key(
        config: &DnsConfig,
        source: Arc<dyn NameSource>,
        metrics: Arc<DnsMetrics>,
        key: Option<ZoneKey>,
    ) -> Result<Self, BindError> {
        config.validate()?;
        let gauges = tokio::spawn(keep_gauges(source.clone(), metrics.clone()));
        let responder = Responder::with_key(config, source, metrics, key)?;
        let mut resolver = Self {
            connections: Connections::new(responder.handler().clone(), config.connections.clone()),
            workers: None,
            local_addrs: Vec::with_capacity(config.listen.len()),
            gauges,
            _notifiers: notify::spawn(responder.handler(), &config.transfer).map_err(ConfigError::from)?,
        };
        let mut sockets: Vec<Vec<UdpSocket>> = std::iter::repeat_with(Vec::new).take(config.udp_workers).collect();
        for &addr in &config.listen {
            resolver.listen(addr, &mut sockets).map_err(|error| BindError::Listen { addr, error })?;
        }
        if !resolver.local_addrs.is_empty() {
            let paths = if config.fast_path { Paths::Both } else { Paths::FullOnly };
            resolver.workers = Some(Workers::start(&responder, paths, sockets).map_err(BindError::Threads)?);
        }
        Ok(resolver)
    }

    /// The addresses listened on, each for UDP and TCP, in the order of the configuration.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Waits until a socket fails, which it normally never does.
    pub async fn failed(&mut self) -> ServeError {
        let Some(workers) = &mut self.workers else { return std::future::pending().await };
        ServeError::Socket(tokio::select! {
            error = workers.failed() => error,
            error = self.connections.failed() => error,
        })
    }

    /// Closes all sockets. Queries that wait for upstreams get a second to finish on connections, and are dropped over
    /// UDP; their clients ask again.
    pub async fn shutdown(mut self, deadline: Duration) -> Result<(), ServeError> {
        let Some(workers) = self.workers.take() else { return Ok(()) };
        let both = async { tokio::join!(workers.shutdown(), self.connections.shutdown()) };
        timeout(deadline, both).await.map(|_| ()).map_err(|_| ServeError::Deadline)
    }

    /// Opens one TCP socket for `addr`, and one UDP socket for each worker.
    fn listen(&mut self, addr: SocketAddr, workers: &mut [Vec<UdpSocket>]) -> io::Result<()> {
        let (tcp, first_udp) = bind_pair(addr)?;
        let local = tcp.local_addr()?;
        let mut udp = Some(first_udp);
        for sockets in workers {
            sockets.push(match udp.take() {
                Some(first) => first,
                None => open(local, Type::DGRAM, Protocol::UDP)?.into(),
            });
        }
        self.connections.serve_tcp(tokio::net::TcpListener::from_std(tcp)?);
        self.local_addrs.push(local);
        info!(addr = %local, "dns listening");
        Ok(())
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.gauges.abort();
    }
}

/// A TCP and a UDP socket on one port. For port 0 the kernel chooses for TCP, and UDP follows if it can.
///
/// TCP comes first because it is exclusive: UDP sockets share their port (`SO_REUSEPORT`), even with another server of
/// the same user, and only the TCP socket notices that one is there.
fn bind_pair(addr: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    let mut tries = if addr.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let tcp: TcpListener = open(addr, Type::STREAM, Protocol::TCP)?.into();
        match open(tcp.local_addr()?, Type::DGRAM, Protocol::UDP) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            udp => return Ok((tcp, udp?.into())),
        }
    }
}

fn open(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    if addr.is_ipv6() {
        // So that 0.0.0.0 and [::] can be listened on side by side.
        socket.set_only_v6(true)?;
    }
    if protocol == Protocol::TCP {
        // A restart must not wait for old connections to time out.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
    } else {
        // Each worker has its own socket. These block when they send, so that a full send buffer slows us down.
        socket.set_reuse_port(true)?;
        // What the system does not grant is only missed in bursts.
        drop(socket.set_recv_buffer_size(UDP_BUFFER_BYTES));
    }
    socket.bind(&addr.into())?;
    if protocol == Protocol::TCP {
        socket.listen(TCP_BACKLOG)?;
    }
    Ok(socket)
}

async fn keep_gauges(source: Arc<dyn NameSource>, metrics: Arc<DnsMetrics>) {
    let mut ticks = interval(GAUGE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        metrics.snapshot(&source.view().facts());
    }
}

//! The server: opens its sockets, gives UDP to our [workers](crate::serve::udp) and the rest to `connection`, and stops in
//! order.

mod error;
mod given;
mod sockets;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::info;

use crate::{
    metrics::DnsMetrics,
    names::source::NameSource,
    out::forward::Forwarder,
    policy::{
        config::{ConfigError, DnsConfig},
        guard::exposure,
    },
    serve::{
        certificate::{self, Certificate, CertificateError},
        connection::{Connections, open_quic},
        discovery,
        handler::Handler,
        notify,
        udp::{Paths, Responder, Workers},
    },
    zones::{hosts::HostsError, sign::ZoneKey},
};
pub use error::{BindError, ServeError};
pub use given::{GivenError, GivenSockets};
use sockets::Sockets;

/// How often the gauges about the snapshot are refreshed.
const GAUGE_INTERVAL: Duration = Duration::from_secs(1);

/// A DNS server that is listening.
pub struct Resolver {
    handler: Arc<Handler>,
    connections: Connections,
    workers: Option<Workers>,
    addrs: Addrs,
    certificate: Option<mpsc::Sender<certificate::Wish>>,
    tasks: Vec<JoinHandle<()>>,
    // Aborted when the server goes.
    _notifiers: JoinSet<()>,
}

/// What a server is given besides its configuration.
#[derive(Debug, Default)]
pub struct Equipment {
    /// With a key, answers are signed for clients that ask for it.
    pub zone_key: Option<ZoneKey>,
    /// Needed by encrypted transports.
    pub certificate: Option<Certificate>,
    /// Sockets for plain DNS. Their addresses take the place of `dns.listen`.
    pub sockets: Option<GivenSockets>,
}

/// The addresses that a server listens on, in the order of the configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Addrs {
    /// Plain DNS, each for UDP and TCP.
    pub plain: Vec<SocketAddr>,
    /// DNS over TLS.
    pub tls: Vec<SocketAddr>,
    /// DNS over HTTPS.
    pub https: Vec<SocketAddr>,
    /// DNS over QUIC.
    pub quic: Vec<SocketAddr>,
}

/// What came of reading files again; `None` where there are none.
#[derive(Debug, Default)]
pub struct Reread {
    /// HOSTS files: the names that are answered from them now. After an error those from before are.
    pub hosts: Option<Result<usize, HostsError>>,
    /// The certificate of encrypted transports. After an error the one from before is used.
    pub certificate: Option<Result<(), CertificateError>>,
}

impl Resolver {
    /// Opens all sockets of `config` and serves `source` on them, unsigned. When this returns, queries are being
    /// answered.
    pub async fn bind(
        config: &DnsConfig,
        source: Arc<dyn NameSource>,
        metrics: Arc<DnsMetrics>,
    ) -> Result<Self, BindError> {
        Self::bind_with(config, source, metrics, Equipment::default()).await
    }

    /// Like [`Resolver::bind`]; with a key, answers are signed for clients that ask for it.
    pub async fn bind_with_key(
        config: &DnsConfig,
        source: Arc<dyn NameSource>,
        metrics: Arc<DnsMetrics>,
        zone_key: Option<ZoneKey>,
    ) -> Result<Self, BindError> {
        Self::bind_with(config, source, metrics, Equipment { zone_key, ..Equipment::default() }).await
    }

    /// Like [`Resolver::bind`], with all that a server can have.
    pub async fn bind_with(
        config: &DnsConfig,
        source: Arc<dyn NameSource>,
        metrics: Arc<DnsMetrics>,
        equipment: Equipment,
    ) -> Result<Self, BindError> {
        config.validate()?;
        let mut sockets = Sockets::open(config, equipment.sockets)?;
        let site = config.site()?.with_encrypted(discovery::records(
            &sockets.encrypted()?,
            &config.server_name()?,
            &config.announced(),
            &config.tls.https_path,
        ));
        let responder = Responder::with_site(config, site, source.clone(), metrics.clone(), equipment.zone_key)?;
        let mut resolver = Self {
            handler: responder.handler().clone(),
            connections: Connections::new(responder.handler().clone(), config.connections.clone()),
            workers: None,
            addrs: Addrs::default(),
            certificate: None,
            tasks: Vec::new(),
            _notifiers: notify::spawn(responder.handler(), &config.transfer, &sockets.plain_addrs()?)
                .map_err(ConfigError::from)?,
        };
        // From here on a failure ends it, with all the rest.
        resolver.tasks.push(tokio::spawn(keep_gauges(source, metrics)));
        resolver.serve_encrypted(&mut sockets, config, equipment.certificate)?;
        resolver.addrs.plain = sockets.plain_addrs()?;
        for socket in sockets.tcp {
            resolver.connections.serve_tcp(TcpListener::from_std(socket)?);
        }
        resolver.log_exposure(config);
        if !resolver.addrs.plain.is_empty() {
            let paths = if config.fast_path { Paths::Both } else { Paths::FullOnly };
            resolver.workers = Some(Workers::start(&responder, paths, sockets.udp).map_err(BindError::Threads)?);
        }
        resolver.announce();
        Ok(resolver)
    }

    /// The addresses of plain DNS, each for UDP and TCP, in the order of the configuration.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addrs.plain
    }

    /// All addresses.
    pub fn addrs(&self) -> &Addrs {
        &self.addrs
    }

    /// Takes the prefixes of `guard` over: who may ask, for whom questions are forwarded, who has no limits. The other
    /// values of the section stay as they are. Says in the log what is open to whom now.
    pub fn set_access(&self, config: &DnsConfig) {
        self.handler.guard.set_access(&config.guard);
        self.log_exposure(config);
    }

    /// Who asks upstreams.
    pub fn forwarder(&self) -> &Forwarder {
        &self.handler.forwarder
    }

    /// Reads HOSTS files and certificates now, which would be noticed by themselves a little later.
    pub async fn read_again(&self) -> Reread {
        let hosts = async { Some(self.handler.hosts.as_ref()?.look_now().await) };
        let certificate = async {
            let (wish, outcome) = oneshot::channel();
            self.certificate.as_ref()?.send(wish).await.ok()?;
            outcome.await.ok()
        };
        let (hosts, certificate) = tokio::join!(hosts, certificate);
        Reread { hosts, certificate }
    }

    fn log_exposure(&self, config: &DnsConfig) {
        let Addrs { plain, tls, https, quic } = &self.addrs;
        exposure::log(config, &[&plain[..], tls, https, quic].concat());
    }

    /// Waits until a socket fails, which it normally never does.
    pub async fn failed(&mut self) -> ServeError {
        let workers = async {
            match &mut self.workers {
                Some(workers) => workers.failed().await,
                None => std::future::pending().await,
            }
        };
        ServeError::Socket(tokio::select! {
            error = workers => error,
            error = self.connections.failed() => error,
        })
    }

    /// Closes all sockets. Queries that wait for upstreams get a second to finish on connections, and are dropped over
    /// UDP; their clients ask again.
    pub async fn shutdown(mut self, deadline: Duration) -> Result<(), ServeError> {
        let workers = self.workers.take();
        let workers = async {
            if let Some(workers) = workers {
                workers.shutdown().await;
            }
        };
        let both = async { tokio::join!(workers, self.connections.shutdown()) };
        timeout(deadline, both).await.map(|_| ()).map_err(|_| ServeError::Deadline)
    }

    fn serve_encrypted(
        &mut self,
        sockets: &mut Sockets,
        config: &DnsConfig,
        certificate: Option<Certificate>,
    ) -> Result<(), BindError> {
        if !config.tls.is_enabled() {
            return Ok(());
        }
        let certificate = certificate.ok_or(BindError::NoCertificate)?;
        let acceptor = |alpn: &[&[u8]]| -> Result<TlsAcceptor, BindError> {
            Ok(TlsAcceptor::from(Arc::new(certificate.server_config(alpn)?)))
        };
        // Whoever cannot speak HTTP/2 is told so in HTTP/1.1, which is clearer than a TLS alert.
        let (tls, https) = (acceptor(&[b"dot"])?, acceptor(&[b"h2", b"http/1.1"])?);
        for socket in sockets.tls.drain(..) {
            self.addrs.tls.push(socket.local_addr()?);
            self.connections.serve_tls(TcpListener::from_std(socket)?, tls.clone());
        }
        let path: Arc<str> = config.tls.https_path.as_str().into();
        for socket in sockets.https.drain(..) {
            self.addrs.https.push(socket.local_addr()?);
            self.connections.serve_https(TcpListener::from_std(socket)?, https.clone(), path.clone());
        }
        for socket in sockets.quic.drain(..) {
            self.addrs.quic.push(socket.local_addr()?);
            let tls = certificate.server_config(&[b"doq"])?;
            self.connections.serve_quic(open_quic(socket, tls, &config.connections)?);
        }
        let (sender, wishes) = mpsc::channel(1);
        self.certificate = Some(sender);
        self.tasks.push(tokio::spawn(certificate.keep_fresh(wishes)));
        Ok(())
    }

    fn announce(&self) {
        let Addrs { plain, tls, https, quic } = &self.addrs;
        for (via, addrs) in [("udp and tcp", plain), ("tls", tls), ("https", https), ("quic", quic)] {
            for addr in addrs {
                info!(%addr, via, "dns listening");
            }
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn keep_gauges(source: Arc<dyn NameSource>, metrics: Arc<DnsMetrics>) {
    let mut ticks = interval(GAUGE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        metrics.snapshot(&source.view().facts());
    }
}

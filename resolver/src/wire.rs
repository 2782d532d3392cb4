//! The UDP side: datagrams in, datagrams out, the plain ones without a detour.
//!
//! Two paths lead to an answer. The *fast path* reads a plain query straight from the datagram, takes the answer from
//! the snapshot and writes it into the send buffer: no allocation, no lock, no task. The *full path* (hickory's parser,
//! [`answer`](crate::answer), forwarding) takes everything else; [`FallThrough`] lists what that is. Both give the same
//! bytes to whatever both can answer, which tests/wire.rs demands of any datagram.
//!
//! ```text
//! socket ─batch─→ worker ─→ guard ─→ parse ─→ compose (answer::plain) ─→ guard ─batch─→ socket
//!                             └────→ Handler::datagram ─────────────────────┘
//! ```
//!
//! Each worker is a thread with a socket of its own for each address; the kernel spreads the clients over them
//! (`SO_REUSEPORT`).

mod batch;
mod compose;
mod parse;
mod route;
mod worker;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::{
    answer::NotPlain,
    config::{ConfigError, DnsConfig, guard::Switch},
    exchange::{Client, Responses, Via},
    forward::Forwarder,
    guard::Guard,
    handler::{Delegations, Handler},
    hosts::HostsFiles,
    metrics::DnsMetrics,
    query::MAX_UDP_BYTES,
    sign::{Signer, ZoneKey},
    site::Site,
    source::{NameSource, NameView},
    transfer::Transfers,
};

pub use crate::guard::Standing;
pub use compose::{Composed, Composer};
pub use parse::Unusual;
pub(crate) use worker::{Paths, Workers};

/// Room for any response to a datagram.
pub type SendBuffer = [u8; MAX_UDP_BYTES as usize];

/// Why a datagram is for the full path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FallThrough {
    /// It is no plain query.
    Unusual(Unusual),
    /// The name is in none of our zones.
    Elsewhere,
    /// The name is in a HOSTS file.
    Hosts,
    /// Its sender may not ask here.
    Refused,
    /// The snapshot is not fit to answer from.
    NotReady,
    /// More than one node of one entry decides.
    NotPlain(NotPlain),
    /// The answer does not fit, and something has to be left out.
    TooLong,
    /// Answers from the ledger are searched for local addresses.
    Guarded,
}

impl From<Unusual> for FallThrough {
    fn from(unusual: Unusual) -> Self {
        Self::Unusual(unusual)
    }
}

/// Answers datagrams, without sockets.
#[derive(Clone)]
pub struct Responder {
    handler: Arc<Handler>,
}

impl Responder {
    /// A responder for `config`, answering from `source`, unsigned.
    pub fn new(config: &DnsConfig, source: Arc<dyn NameSource>, metrics: Arc<DnsMetrics>) -> Result<Self, ConfigError> {
        Self::with_key(config, source, metrics, None)
    }

    /// Like [`Responder::new`]; with a key, answers are signed for clients that ask for it.
    pub fn with_key(
        config: &DnsConfig,
        source: Arc<dyn NameSource>,
        metrics: Arc<DnsMetrics>,
        key: Option<ZoneKey>,
    ) -> Result<Self, ConfigError> {
        Self::with_site(config, config.site()?, source, metrics, key)
    }

    pub(crate) fn with_site(
        config: &DnsConfig,
        mut site: Site,
        source: Arc<dyn NameSource>,
        metrics: Arc<DnsMetrics>,
        key: Option<ZoneKey>,
    ) -> Result<Self, ConfigError> {
        if let Some(key) = &key {
            site = site.signed_with(key.dnskey());
        }
        let signer = key.map(Signer::new);
        let hosts = match &config.hosts.0[..] {
            [] => None,
            paths => {
                let metrics = metrics.clone();
                let report = Box::new(move |names, skipped| metrics.hosts(names, skipped));
                Some(HostsFiles::open(paths.to_vec(), site.clone(), report)?)
            }
        };
        let snapshots = hosts.as_ref().map(HostsFiles::snapshots);
        let forwarder = Forwarder::with_hosts(config, metrics.clone(), snapshots)?;
        let guard = Guard::new(&config.guard).map_err(|_| ConfigError::Randomness)?;
        let transfers = Transfers::new(&config.transfer, metrics.clone())?;
        let ledger_guard = !config.forward.private_ledger_addresses;
        let keepalive = u16::try_from(config.connections.idle_timeout_ms / 100).unwrap_or(u16::MAX);
        let delegations = Delegations {
            is_on: config.resolve_delegated == Switch::On,
            port: config.delegated_port,
            listen: config.listen.clone(),
        };
        Ok(Self {
            handler: Arc::new(Handler {
                site,
                source,
                forwarder,
                transfers,
                metrics,
                signer,
                hosts,
                guard,
                delegations,
                ledger_guard,
                keepalive,
            }),
        })
    }

    /// Who asks upstreams.
    pub fn forwarder(&self) -> &Forwarder {
        &self.handler.forwarder
    }

    /// What is known of who sent `datagram` from `src`: whether it has proved its address, and the cookie for it. Both
    /// paths need this. Limits on the rate are not looked at.
    pub fn standing(&self, datagram: &[u8], src: IpAddr) -> Standing {
        self.handler.guard.standing(datagram, src, &self.handler.guard.now())
    }

    /// The fast path: writes the answer to `datagram` into `out`, or says why this is not for it.
    pub fn fast(
        &self,
        composer: &mut Composer,
        view: &dyn NameView,
        (datagram, standing): (&[u8], &Standing),
        out: &mut SendBuffer,
    ) -> Result<Composed, FallThrough> {
        if self.handler.ledger_guard {
            return Err(FallThrough::Guarded);
        }
        composer.compose(&self.handler, view, (datagram, standing), out)
    }

    /// The full path: the response to any datagram, if it deserves one.
    pub async fn full(self, datagram: Vec<u8>, src: SocketAddr, standing: Standing) -> Option<Vec<u8>> {
        let (response, sent) = self.handler.clone().datagram(datagram, src, standing).await?;
        self.handler.metrics.response(&sent);
        Some(response)
    }

    /// What goes back on a TCP connection for one message: mostly one message, for a zone transfer many, each made when
    /// it is taken.
    pub async fn messages(self, bytes: Vec<u8>, src: SocketAddr) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
        match self.handler.message(bytes, Client { addr: src, via: Via::Tcp }).await {
            Responses::None => Box::new(std::iter::empty()),
            Responses::One(message) => Box::new(std::iter::once(message)),
            Responses::Many(messages) => messages,
        }
    }

    pub(crate) fn handler(&self) -> &Arc<Handler> {
        &self.handler
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").finish_non_exhaustive()
    }
}

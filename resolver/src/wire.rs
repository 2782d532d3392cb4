//! The UDP side: datagrams in, datagrams out, the plain ones without a detour.
//!
//! Two paths lead to an answer. The *fast path* reads a plain query straight from the datagram, takes the answer from
//! the snapshot and writes it into the send buffer: no allocation, no lock, no task. The *full path* (hickory's parser,
//! [`answer`](crate::answer), forwarding) takes everything else; [`FallThrough`] lists what that is. Both give the same
//! bytes to whatever both can answer, which tests/wire.rs demands of any datagram.
//!
//! ```text
//! socket ─batch─→ worker ─→ parse ─→ compose (answer::plain) ─batch─→ socket
//!                    └────→ Handler::datagram ──────────────────────────┘
//! ```
//!
//! Each worker is a thread with a socket of its own for each address; the kernel spreads the clients over them
//! (`SO_REUSEPORT`).

mod batch;
mod compose;
mod parse;
mod worker;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::{
    answer::NotPlain,
    config::{ConfigError, DnsConfig},
    forward::Forwarder,
    handler::Handler,
    metrics::DnsMetrics,
    query::MAX_UDP_BYTES,
    sign::{Signer, ZoneKey},
    site::Site,
    source::{NameSource, NameView},
};

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
    /// The snapshot is not fit to answer from.
    NotReady,
    /// More than one node of one entry decides.
    NotPlain(NotPlain),
    /// The answer does not fit, and something has to be left out.
    TooLong,
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
        let forwarder = Forwarder::new(config.upstream_addrs()?, metrics.clone());
        if let Some(key) = &key {
            site = site.signed_with(key.dnskey());
        }
        let signer = key.map(Signer::new);
        let keepalive = u16::try_from(config.connections.idle_timeout_ms / 100).unwrap_or(u16::MAX);
        Ok(Self { handler: Arc::new(Handler { site, source, forwarder, metrics, signer, keepalive }) })
    }

    /// The fast path: writes the answer to `datagram` from `src` into `out`, or says why this is not for it.
    pub fn fast(
        &self,
        composer: &mut Composer,
        view: &dyn NameView,
        (datagram, src): (&[u8], IpAddr),
        out: &mut SendBuffer,
    ) -> Result<Composed, FallThrough> {
        composer.compose(&self.handler, view, (datagram, src), out)
    }

    /// The full path: the response to any datagram, if it deserves one.
    pub async fn full(self, datagram: Vec<u8>, src: SocketAddr) -> Option<Vec<u8>> {
        self.handler.datagram(datagram, src).await
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

//! Answers to datagrams and messages, without sockets.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{batch::SendBuffer, compose::Composer, fall_through::FallThrough};
use crate::{
    metrics::DnsMetrics,
    names::{source::NameSource, view::NameView},
    out::{forward::Forwarder, transfer::Transfers},
    policy::{
        config::{ConfigError, DnsConfig, guard::Switch},
        guard::{Guard, Standing},
    },
    serve::handler::{Delegations, Handler},
    zones::{
        exchange::{Client, Composed, Responses, Via},
        hosts::HostsFiles,
        sign::{Signer, ZoneKey},
        site::Site,
    },
};

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

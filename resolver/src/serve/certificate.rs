//! What encrypted transports prove themselves with: a certificate from files, or from a local authority.
//!
//! Files are looked at once a minute and taken when they have changed and fit together, so that whatever renews them
//! needs to tell nobody; until then the old ones are used. Of the local authority only its own two files exist; what it
//! signs stays in memory.

mod authority;
mod error;
mod given;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval_at},
};
use tracing::{info, warn};

use crate::policy::config::DnsConfig;
use authority::{Authority, Leaf, Subjects};
pub use error::CertificateError;
use given::Given;

/// How often files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// How often the clock is looked at, to see whether the local authority has to sign a new certificate. Timers would not
/// do: they stand still while the machine sleeps, and do not notice that the clock is set.
const CLOCK_INTERVAL: Duration = Duration::from_secs(600);

/// A certificate with its key, kept fresh for as long as the server runs.
pub struct Certificate {
    source: Source,
    current: Arc<Current>,
}

enum Source {
    Given(Given),
    Local(Box<Local>),
}

struct Local {
    authority: Authority,
    subjects: Subjects,
    /// What it signed last.
    leaf: Leaf,
}

/// Somebody who wants the files read now, and to know what came of it.
pub(crate) type Wish = oneshot::Sender<Result<(), CertificateError>>;

/// The certificate that handshakes take now.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl Certificate {
    /// The certificate that `config` asks for; a local authority lives in `folder`. `None` if no transport needs one.
    pub fn obtain(config: &DnsConfig, folder: &Path) -> Result<Option<Self>, CertificateError> {
        if !config.tls.is_enabled() {
            return Ok(None);
        }
        let (source, first) = match (&config.tls.certificate, &config.tls.key) {
            (Some(certificate), Some(key)) => {
                let (given, first) = Given::load(certificate, key)?;
                (Source::Given(given), first)
            }
            _ => {
                let subjects = subjects(config);
                let authority = Authority::load_or_create(folder, &subjects)?;
                let leaf = authority.issue(&subjects, SystemTime::now())?;
                info!(
                    ca = %authority.file.display(),
                    names = ?subjects.names,
                    addresses = ?subjects.addresses,
                    "dns certificate signed by this node's own authority, which clients have to trust"
                );
                let first = leaf.certified.clone();
                (Source::Local(Box::new(Local { authority, subjects, leaf })), first)
            }
        };
        Ok(Some(Self { source, current: Arc::new(Current(ArcSwap::from_pointee(first))) }))
    }

    /// What TLS needs to know for a transport with this name (RFC 7301).
    pub(crate) fn server_config(&self, alpn: &[&[u8]]) -> Result<ServerConfig, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(ring::default_provider().into());
        let mut config = builder
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.current.clone());
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }

    /// Keeps the certificate fresh, for ever, and at once for whoever wishes so.
    pub(crate) async fn keep_fresh(mut self, mut wishes: mpsc::Receiver<Wish>) {
        let period = match &self.source {
            Source::Given(_) => LOOK_INTERVAL,
            Source::Local(_) => CLOCK_INTERVAL,
        };
        let mut ticks = interval_at(tokio::time::Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    if let Err(error) = self.refresh(SystemTime::now()) {
                        warn!(%error, "dns certificate not renewed, the old one is used");
                    }
                }
                // Whoever asked may have gone.
                Some(wish) = wishes.recv() => drop(wish.send(self.refresh_anew(SystemTime::now()))),
            }
        }
    }

    fn refresh(&mut self, now: SystemTime) -> Result<(), CertificateError> {
        let fresh = match &mut self.source {
            Source::Given(given) => given.changed(),
            Source::Local(local) => local.renewed(now),
        };
        if let Some(fresh) = fresh?
            && fresh.cert != self.current.0.load().cert
        {
            self.current.0.store(Arc::new(fresh));
            info!("dns certificate renewed");
        }
        Ok(())
    }

    /// The same, whatever is known of the files.
    fn refresh_anew(&mut self, now: SystemTime) -> Result<(), CertificateError> {
        if let Source::Given(given) = &mut self.source {
            given.forget();
        }
        self.refresh(now)
    }
}

impl Local {
    /// Another certificate, if the last one is not for this time, or not for much longer.
    fn renewed(&mut self, now: SystemTime) -> Result<Option<CertifiedKey>, CertificateError> {
        if self.leaf.is_fresh(now) {
            return Ok(None);
        }
        self.leaf = self.authority.issue(&self.subjects, now)?;
        Ok(Some(self.leaf.certified.clone()))
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

/// What a certificate of the local authority is for: the names of this server, and every address that it listens on or
/// announces, of plain DNS as well, since that is where clients discover the encrypted ones (RFC 9462 §4.2).
fn subjects(config: &DnsConfig) -> Subjects {
    let suffixes = config.suffixes.iter().map(|suffix| suffix.trim_end_matches('.').to_ascii_lowercase());
    let mut names: Vec<String> = suffixes.map(|suffix| format!("ns.nic.{suffix}")).collect();
    names.extend(config.tls.server_name.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()));
    names.sort();
    names.dedup();
    let listened: Vec<IpAddr> = config.listen.iter().chain(config.tls.addresses()).map(|addr| addr.ip()).collect();
    let mut addresses: Vec<IpAddr> = listened.iter().chain(&config.announce).copied().collect();
    if listened.iter().any(IpAddr::is_unspecified) {
        addresses.extend([IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)]);
    }
    addresses.retain(|address| !address.is_unspecified());
    addresses.sort();
    addresses.dedup();
    Subjects { names, addresses }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::config::TlsConfig;

    fn config(tls: TlsConfig) -> DnsConfig {
        let listen = vec!["127.0.0.1:0".parse().expect("an address")];
        DnsConfig { tls: TlsConfig { listen: listen.clone(), ..tls }, listen, ..DnsConfig::default() }
    }

    #[test]
    fn nothing_is_made_before_it_is_needed() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(Certificate::obtain(&DnsConfig::default(), dir.path()).expect("nothing to do").is_none());
        assert_eq!(std::fs::read_dir(dir.path()).expect("reads").count(), 0);
    }

    #[test]
    fn what_is_in_use_is_in_the_certificate() {
        let mut config = config(TlsConfig { server_name: Some("DNS.Example.org.".to_owned()), ..TlsConfig::default() });
        config.announce = vec!["192.0.2.1".parse().expect("an address")];
        let text = |subjects: &Subjects| (subjects.names.join(" "), format!("{:?}", subjects.addresses));
        let names = "dns.example.org ns.nic.p2p ns.nic.p2p.alt".to_owned();
        assert_eq!(text(&subjects(&config)), (names.clone(), "[127.0.0.1, 192.0.2.1]".to_owned()));
        config.tls.quic_listen = vec!["0.0.0.0:0".parse().expect("an address"), "[2001:db8::1]:0".parse().expect("v6")];
        let addresses = "[127.0.0.1, 192.0.2.1, ::1, 2001:db8::1]".to_owned();
        assert_eq!(text(&subjects(&config)), (names, addresses));
    }

    #[test]
    fn renewal_reaches_handshakes_and_failure_keeps_what_there_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut local = Certificate::obtain(&config(TlsConfig::default()), dir.path()).expect("made").expect("needed");
        let first = local.current.0.load_full();
        let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
        let mut last = first;
        // It is valid from a day before it was made, and renewed after ten days. Clocks go backwards, too.
        for (days, is_renewed) in [(0, false), (9, false), (11, true), (20, false), (22, true), (21, false), (19, true)]
        {
            local.refresh(now + days * day).expect("signed");
            let current = local.current.0.load_full();
            assert_eq!(current.cert != last.cert, is_renewed, "after {days} days");
            last = current;
        }

        let pair = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).expect("made");
        let (crt, key) = (dir.path().join("crt"), dir.path().join("key"));
        let write = |pair: &rcgen::CertifiedKey| {
            std::fs::write(&crt, pair.cert.pem()).expect("writes");
            std::fs::write(&key, pair.key_pair.serialize_pem()).expect("writes");
        };
        write(&pair("a.example"));
        let tls = TlsConfig { certificate: Some(crt.clone()), key: Some(key.clone()), ..TlsConfig::default() };
        let mut given = Certificate::obtain(&config(tls), dir.path()).expect("read").expect("needed");
        let first = given.current.0.load_full();
        std::fs::write(&crt, "nonsense").expect("writes");
        assert!(given.refresh(now).is_err());
        // Not said again unless somebody asks.
        assert!(given.refresh(now).is_ok());
        assert!(given.refresh_anew(now).is_err() && given.refresh_anew(now).is_err());
        assert_eq!(given.current.0.load().cert, first.cert);
        let longer = pair("another.example");
        write(&longer);
        given.refresh(now).expect("they fit together");
        assert_eq!(given.current.0.load().cert[0], *longer.cert.der());
    }
}

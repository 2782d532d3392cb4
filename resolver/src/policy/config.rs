//! The `[dns]` section of the configuration file.

mod addresses;
mod authority;
mod connections;
mod error;
mod forward;
pub mod guard;
mod hosts;
mod tls;
mod transfer;

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};

use crate::{
    dns::name::Dname,
    policy::{
        config::guard::GuardConfig,
        target::{Target, would_reach},
    },
    zones::site::{Site, Zone},
};

pub use authority::{Authorities, AuthorityConfig};
pub use connections::{ConnectionsConfig, ConnectionsError};
pub use error::ConfigError;
use error::{MAX_LIST, MAX_SERVER_ID_BYTES, MAX_SUFFIX_BYTES, MAX_UDP_WORKERS};
pub use forward::{CaseRandomization, ForwardConfig, ForwardConfigError, Rule};
pub use hosts::HostsPaths;
pub use tls::{TlsConfig, TlsConfigError};
pub use transfer::{TransferConfig, TransferError};

/// What DNS is served, where, and what happens with other questions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DnsConfig {
    /// Addresses to listen on, each for UDP and TCP. Port 0 takes a free one. An empty list turns DNS off.
    #[serde(deserialize_with = "addresses::list")]
    pub listen: Vec<SocketAddr>,
    /// The suffixes below which ledger names appear.
    pub suffixes: Vec<String>,
    /// Servers that answer everything else: `address`, `address:port`, `tcp://…`, `tls://address#name`,
    /// `https://name/path#address`, `quic://…`, or `system`. An empty list means such questions are refused. Only clients
    /// in `guard.forward_allow` are forwarded for: by default those nearby.
    pub upstreams: Vec<String>,
    /// Addresses to announce for this name server, `ns.nic.<suffix>`. An empty list announces those listened on.
    #[serde(deserialize_with = "addresses::list")]
    pub announce: Vec<IpAddr>,
    /// Whether answers are signed for clients that ask for signatures (the DO bit). The key is made in the data directory
    /// at the first start.
    pub dnssec: Dnssec,
    /// Threads that serve UDP, each with a socket of its own per address; one for each core is plenty.
    pub udp_workers: usize,
    /// Whether plain queries over UDP are answered without the detour over the general code. The answers are the same.
    pub fast_path: bool,
    /// What `id.server` and NSID tell about this server. Absent by default.
    pub server_id: Option<String>,
    /// Limits of connections.
    pub connections: ConnectionsConfig,
    /// HOSTS files, a path or a list of paths: names in them are answered from there before anything else is asked.
    pub hosts: HostsPaths,
    /// For suffixes that are real domains: what their zones say about themselves.
    pub authority: Authorities,
    /// Whether names that their owners delegate with NS records are looked up at the delegated servers, for clients that
    /// want recursion and that questions are forwarded for. Clients that iterate get the referral.
    pub resolve_delegated: guard::Switch,
    /// Where delegated servers are asked. Only tests change it.
    #[serde(skip, default = "dns_port")]
    pub delegated_port: u16,
    /// Who is served, and how much strangers get.
    pub guard: GuardConfig,
    /// Secondaries.
    pub transfer: TransferConfig,
    /// How other questions are passed on.
    pub forward: ForwardConfig,
    /// Encrypted transports.
    pub tls: TlsConfig,
}

/// Whether answers are signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dnssec {
    /// For clients that set the DO bit.
    #[default]
    On,
    /// Never.
    Off,
}

impl Default for DnsConfig {
    fn default() -> Self {
        let loopback = |ip: IpAddr| SocketAddr::new(ip, 5354);
        Self {
            listen: vec![
                loopback(std::net::Ipv4Addr::LOCALHOST.into()),
                loopback(std::net::Ipv6Addr::LOCALHOST.into()),
            ],
            suffixes: vec!["p2p".to_owned(), "p2p.alt".to_owned()],
            upstreams: Vec::new(),
            announce: Vec::new(),
            dnssec: Dnssec::On,
            udp_workers: 2,
            fast_path: true,
            server_id: None,
            connections: ConnectionsConfig::default(),
            hosts: HostsPaths::default(),
            authority: Authorities::new(),
            resolve_delegated: guard::Switch::On,
            delegated_port: dns_port(),
            guard: GuardConfig::default(),
            transfer: TransferConfig::default(),
            forward: ForwardConfig::default(),
            tls: TlsConfig::default(),
        }
    }
}

impl DnsConfig {
    /// Checks everything that can be checked without listening.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.lists_are_short()?;
        if !(1..=MAX_UDP_WORKERS).contains(&self.udp_workers) {
            return Err(ConfigError::UdpWorkers(self.udp_workers));
        }
        self.guard.validate()?;
        self.site()?;
        self.connections.validate()?;
        self.hosts.validate()?;
        self.transfer.validate()?;
        self.transfer.validate_zones(&self.zones()?)?;
        self.forward.validate(&self.zones()?)?;
        self.no_circle()?;
        let listen = self.listen.iter().filter(|addr| addr.port() != 0).map(SocketAddr::to_string);
        no_repeats("listen", listen)?;
        self.tls.validate(&self.listen)?;
        no_repeats("upstreams", self.upstreams.iter().cloned())
    }

    /// The zones and the identity that this section describes.
    pub(crate) fn site(&self) -> Result<Site, ConfigError> {
        if self.suffixes.is_empty() {
            return Err(ConfigError::NoSuffix);
        }
        if self.server_id.as_ref().is_some_and(|id| id.is_empty() || id.len() > MAX_SERVER_ID_BYTES) {
            return Err(ConfigError::ServerId);
        }
        let suffixes = self.zones()?;
        no_repeats("suffixes", suffixes.iter().map(Dname::to_string))?;
        let zones = suffixes.into_iter().map(|suffix| {
            let written = suffix.to_string();
            Zone::new(suffix, self.announced()).map_err(|reason| ConfigError::Suffix { suffix: written, reason })
        });
        let zones = authority::apply(&self.authority, zones.collect::<Result<_, _>>()?)?;
        Ok(Site::new(zones, self.server_id.clone()))
    }

    /// A digest of what is in the zones besides names: for the same block, other zones have another one.
    pub fn zones_digest(&self) -> Result<u64, ConfigError> {
        Ok(self.site()?.digest())
    }

    /// The suffixes as names.
    pub fn zones(&self) -> Result<Vec<Dname>, ConfigError> {
        self.suffixes.iter().map(|text| suffix(text)).collect()
    }

    /// Whether any question is forwarded: to general upstreams, or to those of a rule.
    pub(crate) fn forwards(&self) -> bool {
        !self.upstreams.is_empty() || self.forward.rules.iter().any(|rule| !rule.upstreams.is_empty())
    }

    /// The upstreams, parsed.
    pub(crate) fn targets(&self) -> Result<Vec<Target>, ConfigError> {
        let target =
            |text: &String| text.parse().map_err(|reason| ConfigError::Upstream { text: text.clone(), reason });
        self.upstreams.iter().map(target).collect()
    }

    /// No upstream is one of the addresses listened on, or one of this machine's if all are.
    fn no_circle(&self) -> Result<(), ConfigError> {
        let mut targets = self.targets()?;
        for rule in &self.forward.rules {
            targets.extend(rule.targets()?);
        }
        let servers = targets.iter().filter_map(|target| match target {
            Target::Server(server) => Some(server),
            // Ourselves are left out there.
            Target::System => None,
        });
        match servers.flat_map(|server| server.addresses()).find(|address| would_reach(**address, &self.listen)) {
            Some(address) => Err(ConfigError::Circle(*address)),
            None => Ok(()),
        }
    }

    /// The name that clients find in the certificate.
    pub(crate) fn server_name(&self) -> Result<Dname, ConfigError> {
        let first = self.suffixes.first().ok_or(ConfigError::NoSuffix)?;
        let name = self.tls.server_name.clone().unwrap_or_else(|| format!("ns.nic.{first}"));
        name.parse().map_err(|reason| ConfigError::Suffix { suffix: first.clone(), reason })
    }

    /// The addresses to tell clients about.
    pub(crate) fn announced(&self) -> Vec<IpAddr> {
        if !self.announce.is_empty() {
            return self.announce.clone();
        }
        let mut addresses: Vec<IpAddr> =
            self.listen.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()).collect();
        addresses.sort();
        addresses.dedup();
        addresses
    }

    fn lists_are_short(&self) -> Result<(), ConfigError> {
        let lengths = [
            ("listen", self.listen.len()),
            ("suffixes", self.suffixes.len()),
            ("upstreams", self.upstreams.len()),
            ("announce", self.announce.len()),
            ("hosts", self.hosts.0.len()),
        ];
        match lengths.into_iter().find(|(_, got)| *got > MAX_LIST) {
            Some((key, got)) => Err(ConfigError::TooMany { key, got }),
            None => Ok(()),
        }
    }
}

fn dns_port() -> u16 {
    53
}

fn suffix(text: &str) -> Result<Dname, ConfigError> {
    let name: Dname = text.parse().map_err(|reason| ConfigError::Suffix { suffix: text.to_owned(), reason })?;
    if !(2..=MAX_SUFFIX_BYTES).contains(&name.as_wire().len()) {
        return Err(ConfigError::SuffixLength(text.to_owned()));
    }
    let is_usual = |byte: char| byte.is_ascii_alphanumeric() || matches!(byte, '-' | '_' | '.');
    match text.chars().all(is_usual) {
        true => Ok(name),
        false => Err(ConfigError::SuffixLetters(text.to_owned())),
    }
}

fn no_repeats(key: &'static str, values: impl Iterator<Item = String>) -> Result<(), ConfigError> {
    let mut seen = HashSet::new();
    for value in values {
        if !seen.insert(value.clone()) {
            return Err(ConfigError::Twice { key, value });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toml: &str, expected: Result<(), &str>) {
        let config: DnsConfig = toml::from_str(toml).expect("it parses");
        assert_eq!(config.validate().map_err(|e| e.to_string()), expected.map_err(str::to_owned), "{toml}");
    }

    #[test]
    fn the_default_is_valid_and_survives_toml() {
        let config = DnsConfig::default();
        assert_eq!(config.validate(), Ok(()));
        let text = toml::to_string(&config).expect("it can be written");
        assert_eq!(toml::from_str::<DnsConfig>(&text).expect("it can be read"), config);
        assert_eq!(toml::from_str::<DnsConfig>("").expect("empty"), config);
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = toml::from_str::<DnsConfig>("listne = []").expect_err("a typo").to_string();
        assert!(error.contains("listne") && error.contains("`listen`"), "{error}");
    }

    #[test]
    fn dnssec_is_on_or_off() {
        assert_eq!(toml::from_str::<DnsConfig>("dnssec = 'off'").map(|dns| dns.dnssec), Ok(Dnssec::Off));
        let error = toml::from_str::<DnsConfig>("dnssec = 'yes'").expect_err("neither").to_string();
        assert!(error.contains("`on` or `off`"), "{error}");
    }

    #[test]
    fn each_rule_has_its_sentence() {
        check("listen = []", Ok(()));
        check("listen = ['127.0.0.1:0', '127.0.0.1:0']", Ok(()));
        check("upstreams = ['9.9.9.9', '[2620:fe::fe]:53']", Ok(()));
        check("suffixes = ['names.example.org.']", Ok(()));
        check("suffixes = []", Err("dns.suffixes is empty: give at least one suffix such as \"p2p\""));
        check("suffixes = ['a..b']", Err("dns.suffixes: \"a..b\" is not a domain name: a label is empty"));
        check("suffixes = ['.']", Err("dns.suffixes: \".\" must have at least one label and at most 100 bytes"));
        check(
            "suffixes = ['p2p p2p.alt']",
            Err(
                "dns.suffixes: \"p2p p2p.alt\" may have letters a-z, digits, hyphens, underscores and dots only; write others \
                 as xn--…, and several suffixes as a list [\"p2p\", \"p2p.alt\"]",
            ),
        );
        check("suffixes = ['p2p', 'P2P.']", Err("dns.suffixes lists \"p2p.\" twice"));
        check("listen = ['[::1]:53', '[::1]:53']", Err("dns.listen lists \"[::1]:53\" twice"));
        check(
            "upstreams = ['dns.quad9.net']",
            Err(
                "dns.upstreams: \"dns.quad9.net\" has a host name, which needs a bootstrap address behind \"#\", such as \
                 \"tls://dns.quad9.net#9.9.9.9\"",
            ),
        );
        check(
            "listen = ['127.0.0.1:53']\nupstreams = ['127.0.0.1']",
            Err("dns.upstreams: 127.0.0.1:53 is also in dns.listen, so questions would be forwarded in a circle"),
        );
        check(
            "listen = ['0.0.0.0:53']\nupstreams = ['127.0.0.1']",
            Err("dns.upstreams: 127.0.0.1:53 is also in dns.listen, so questions would be forwarded in a circle"),
        );
        check("listen = ['0.0.0.0:53']\nupstreams = ['192.0.2.1', '127.0.0.1:5353']", Ok(()));
        check("upstreams = ['system', 'tls://9.9.9.9#dns.quad9.net']", Ok(()));
        check(
            "listen = ['127.0.0.1:53']\n[forward]\nrules = [{ suffix = 'lan', upstreams = ['tcp://127.0.0.1'] }]",
            Err("dns.upstreams: 127.0.0.1:53 is also in dns.listen, so questions would be forwarded in a circle"),
        );
        check(
            "[forward]\nmax_stale_s = 604801",
            Err("dns.forward.max_stale_s is 604801, at most 604800 (a week) is allowed; 0 turns stale answers off"),
        );
        check("dnssec = 'off'", Ok(()));
        check("udp_workers = 0", Err("dns.udp_workers is 0, it must be 1 to 64"));
        check("fast_path = false\nudp_workers = 64", Ok(()));
        check("[guard]\nslip = 16", Err("dns.guard.slip is 16, it must be at most 15"));
        check("suffixes = ['p2p.alt', 'alt']", Ok(()));
        check("suffixes = ['xp2p', 'p2p']\n[transfer]\nallow = ['::1']", Ok(()));
        check(
            "suffixes = ['p2p.alt', 'alt']\n[transfer]\nallow = ['::1']",
            Err(
                "dns.suffixes: \"p2p.alt.\" lies within \"alt.\", and secondaries would take it for a part of that zone: \
                 leave one of them out, or serve it from a node of its own",
            ),
        );
        check("server_id = ''", Err("dns.server_id must have 1 to 255 bytes"));
        check("hosts = '/etc/hosts'", Ok(()));
        check("hosts = ['/etc/hosts', '/srv/block']", Ok(()));
        check("hosts = 'hosts'", Err("dns.hosts: \"hosts\" is not an absolute path such as \"/etc/hosts\""));
    }

    #[test]
    fn each_rule_about_an_own_domain_has_its_sentence() {
        let check = |inside: &str, expected: Result<(), &str>| {
            let head = "suffixes = ['names.example.org', 'p2p']\n[authority.'names.example.org']\n";
            check(&format!("{head}{inside}"), expected);
        };
        check("", Ok(()));
        check("name_servers = ['ns1.example.org', 'ns.example.net.']\ncontact = 'jo.doe@example.org'", Ok(()));
        check("[authority.p2p]", Ok(()));
        check("[authority.example]", Err("dns.authority: \"example\" is not in dns.suffixes"));
        let here = |reason: &str| format!("dns.authority: \"names.example.org\": {reason}");
        for (inside, reason) in [
            ("name_servers = ['a..b']", "\"a..b\" is no domain name: a label is empty"),
            ("name_servers = ['192.0.2.1']", "\"192.0.2.1\" is no host name: name servers are given by name"),
            ("name_servers = ['a.b', 'A.B.']", "name_servers lists \"A.B.\" twice"),
            (
                "name_servers = ['ns1.names.example.org']",
                "the name server \"ns1.names.example.org\" is inside the zone, where names have owners; leave \
                 name_servers out, and set dns.announce: that makes ns.nic below the suffix",
            ),
            (
                "contact = 'somebody'",
                "the contact \"somebody\" is neither a mail address nor a domain name of two labels or more",
            ),
        ] {
            check(inside, Err(&here(reason)));
        }
        let error = toml::from_str::<DnsConfig>("[authority.p2p]\nname_server = []").expect_err("a typo").to_string();
        assert!(error.contains("`name_servers`"), "{error}");
    }
}

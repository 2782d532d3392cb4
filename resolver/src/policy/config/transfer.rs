//! `[dns.transfer]`: who may fetch the zones whole, and who is told when they change.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::addresses::Address as _;
use crate::{dns::name::Dname, names::table::HistoryLimits};

/// The most entries of each list.
const MAX_LIST: usize = 64;
/// The most transfers at a time that can be allowed: each holds a snapshot.
const MAX_TRANSFERS: usize = 1_024;
/// The most versions that can be remembered.
const MAX_VERSIONS: usize = 100_000;
/// The port of secondaries that are given without one.
const DNS_PORT: u16 = 53;

/// Zone transfers to secondaries. By default nobody may fetch a zone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransferConfig {
    /// Addresses or networks that may fetch the zones. If `allow_keys` is given too, both must fit.
    pub allow: Vec<String>,
    /// Names of the keys whose holders may fetch the zones. If `allow` is given too, both must fit.
    pub allow_keys: Vec<String>,
    /// Files with one TSIG key each: one line `algorithm:name:secret`, the secret in base64, and nobody but the owner may
    /// read the file.
    pub key_files: Vec<PathBuf>,
    /// Secondaries that are told of each new version, `address` or `address:port`.
    pub notify: Vec<String>,
    /// Name of the key that signs what they are told. Absent: unsigned.
    pub notify_key: Option<String>,
    /// Transfers at a time. Further ones get SERVFAIL, and the secondary tries again.
    pub max_transfers: usize,
    /// Versions of the zone (blocks) that secondaries can be led on from without fetching everything.
    pub history_versions: usize,
    /// Memory for that, in MiB.
    pub history_mib: usize,
}

/// Why the section cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TransferError {
    /// A list is longer than anybody needs.
    #[error("dns.transfer.{key} has {got} entries, at most {MAX_LIST} are allowed")]
    TooMany {
        /// The key.
        key: &'static str,
        /// Its length.
        got: usize,
    },
    /// A number is zero or beyond reason.
    #[error("dns.transfer.{key} is {got}, it must be 1 to {max}")]
    Number {
        /// The key.
        key: &'static str,
        /// Its value.
        got: usize,
        /// The largest allowed.
        max: usize,
    },
    /// A network is none.
    #[error("dns.transfer.allow: {0:?} is not an IP address or a network such as \"192.0.2.0/24\"")]
    Allow(String),
    /// A secondary is no address.
    #[error("dns.transfer.notify: {0:?} is not an IP address, or an IP address and a port such as \"192.0.2.53:53\"")]
    Notify(String),
    /// Somebody is told of versions that nobody may fetch.
    #[error(
        "dns.transfer.notify names secondaries, but nobody may fetch a zone: list them in dns.transfer.allow, or their \
         keys in dns.transfer.allow_keys"
    )]
    NotifyOnly,
    /// One zone lies within another, and a transfer of the outer one could not say so.
    #[error(
        "dns.suffixes: {inner:?} lies within {outer:?}, and secondaries would take it for a part of that zone: leave one \
         of them out, or serve it from a node of its own"
    )]
    Nested {
        /// The longer suffix.
        inner: String,
        /// The shorter one.
        outer: String,
    },
    /// A key's name is no domain name.
    #[error("dns.transfer.{key}: {name:?} is not a key name: write it like a domain name")]
    KeyName {
        /// The key of the section.
        key: &'static str,
        /// As written.
        name: String,
    },
    /// A key is named that no file holds.
    #[error("dns.transfer.{key} names {name:?}, but no file in dns.transfer.key_files holds a key of that name")]
    NoSuchKey {
        /// The key of the section.
        key: &'static str,
        /// As written.
        name: String,
    },
    /// A key file cannot be used.
    #[error("dns.transfer.key_files: {}: {reason}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, and how to mend it.
        reason: String,
    },
}

impl Default for TransferConfig {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            allow_keys: Vec::new(),
            key_files: Vec::new(),
            notify: Vec::new(),
            notify_key: None,
            max_transfers: 16,
            history_versions: 1_440,
            history_mib: 64,
        }
    }
}

impl TransferConfig {
    /// Checks everything that can be checked without reading key files.
    pub fn validate(&self) -> Result<(), TransferError> {
        let lists = [
            ("allow", self.allow.len()),
            ("allow_keys", self.allow_keys.len()),
            ("key_files", self.key_files.len()),
            ("notify", self.notify.len()),
        ];
        if let Some((key, got)) = lists.into_iter().find(|(_, got)| *got > MAX_LIST) {
            return Err(TransferError::TooMany { key, got });
        }
        let numbers = [
            ("max_transfers", self.max_transfers, MAX_TRANSFERS),
            ("history_versions", self.history_versions, MAX_VERSIONS),
            ("history_mib", self.history_mib, 1 << 16),
        ];
        if let Some((key, got, max)) = numbers.into_iter().find(|(_, got, max)| !(1..=*max).contains(got)) {
            return Err(TransferError::Number { key, got, max });
        }
        self.networks()?;
        self.secondaries()?;
        if !self.notify.is_empty() && !self.is_enabled() {
            return Err(TransferError::NotifyOnly);
        }
        self.key_names()?;
        self.notify_key_name().map(drop)
    }

    /// What is transferred is one zone each, without cuts between them: none may lie within another.
    pub(crate) fn validate_zones(&self, zones: &[Dname]) -> Result<(), TransferError> {
        let nested = |inner: &Dname| zones.iter().find(|outer| *outer != inner && inner.is_within(outer)).cloned();
        match zones.iter().find_map(|inner| Some((inner, nested(inner)?))) {
            Some((inner, outer)) if self.is_enabled() => {
                Err(TransferError::Nested { inner: inner.to_string(), outer: outer.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Whether anybody may fetch a zone.
    pub fn is_enabled(&self) -> bool {
        !self.allow.is_empty() || !self.allow_keys.is_empty()
    }

    /// How much is remembered of earlier versions; `None` if nobody could ask for it.
    pub fn history(&self) -> Option<HistoryLimits> {
        let limits = HistoryLimits { versions: self.history_versions, bytes: self.history_mib << 20 };
        self.is_enabled().then_some(limits)
    }

    pub(crate) fn networks(&self) -> Result<Vec<IpNet>, TransferError> {
        let network = |text: &String| IpNet::read(text).ok_or_else(|| TransferError::Allow(text.clone()));
        self.allow.iter().map(network).collect()
    }

    /// The secondaries to tell, with their ports.
    pub(crate) fn secondaries(&self) -> Result<Vec<SocketAddr>, TransferError> {
        let address = |text: &String| {
            let with_port = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT));
            with_port.or_else(|_| text.parse()).map_err(|_| TransferError::Notify(text.clone()))
        };
        self.notify.iter().map(address).collect()
    }

    pub(crate) fn key_names(&self) -> Result<Vec<Dname>, TransferError> {
        self.allow_keys.iter().map(|name| key_name("allow_keys", name)).collect()
    }

    pub(crate) fn notify_key_name(&self) -> Result<Option<Dname>, TransferError> {
        self.notify_key.as_ref().map(|name| key_name("notify_key", name)).transpose()
    }
}

fn key_name(key: &'static str, name: &str) -> Result<Dname, TransferError> {
    name.parse().map_err(|_| TransferError::KeyName { key, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toml: &str, expected: Result<(), &str>) {
        let config: TransferConfig = toml::from_str(toml).expect("it parses");
        assert_eq!(config.validate().map_err(|e| e.to_string()), expected.map_err(str::to_owned), "{toml}");
    }

    #[test]
    fn nobody_may_by_default() {
        assert_eq!(TransferConfig::default().validate(), Ok(()));
        assert!(!TransferConfig::default().is_enabled() && TransferConfig::default().history().is_none());
        let some: TransferConfig = toml::from_str("allow = ['192.0.2.0/24']").expect("it parses");
        assert_eq!(some.history(), Some(HistoryLimits { versions: 1_440, bytes: 64 << 20 }));
    }

    #[test]
    fn each_rule_has_its_sentence() {
        check("allow = ['192.0.2.0/24', '2001:db8::/32']\nallow_keys = ['fleet']", Ok(()));
        check("allow = ['::1']\nnotify = ['192.0.2.53', '[2001:db8::53]:5353']\nnotify_key = 'fleet.'", Ok(()));
        check(
            "notify = ['192.0.2.53']",
            Err(
                "dns.transfer.notify names secondaries, but nobody may fetch a zone: list them in dns.transfer.allow, \
                 or their keys in dns.transfer.allow_keys",
            ),
        );
        check(
            "notify = ['ns1.example']",
            Err("dns.transfer.notify: \"ns1.example\" is not an IP address, or an IP address and a port such as \
                 \"192.0.2.53:53\""),
        );
        check(
            "allow = ['ns1.example']",
            Err("dns.transfer.allow: \"ns1.example\" is not an IP address or a network such as \"192.0.2.0/24\""),
        );
        check(
            "allow_keys = ['a..b']",
            Err("dns.transfer.allow_keys: \"a..b\" is not a key name: write it like a domain name"),
        );
        check("max_transfers = 0", Err("dns.transfer.max_transfers is 0, it must be 1 to 1024"));
        check("history_mib = 0", Err("dns.transfer.history_mib is 0, it must be 1 to 65536"));
        let many = format!("notify = [{}]", "'::1',".repeat(65));
        check(&many, Err("dns.transfer.notify has 65 entries, at most 64 are allowed"));
    }
}

//! `[dns.tls]`: the encrypted transports, and what they prove themselves with.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::addresses;
use crate::dns::name::Dname;

/// The most addresses of each transport.
const MAX_LIST: usize = 16;
/// The longest path of DNS over HTTPS in bytes.
const MAX_PATH_BYTES: usize = 200;

/// DNS over TLS, HTTPS and QUIC. All are off until they have an address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// Addresses for DNS over TLS (RFC 7858), usually on port 853.
    #[serde(deserialize_with = "addresses::list")]
    pub listen: Vec<SocketAddr>,
    /// Addresses for DNS over HTTPS (RFC 8484), HTTP/2 only, usually on port 443.
    #[serde(deserialize_with = "addresses::list")]
    pub https_listen: Vec<SocketAddr>,
    /// Path at which DNS over HTTPS is found.
    pub https_path: String,
    /// Addresses for DNS over QUIC (RFC 9250), usually on port 853.
    #[serde(deserialize_with = "addresses::list")]
    pub quic_listen: Vec<SocketAddr>,
    /// File with the certificate and what leads to its root, in PEM. Without files, a local certificate authority is
    /// made in the data directory.
    pub certificate: Option<PathBuf>,
    /// File with the key of the certificate, in PEM.
    pub key: Option<PathBuf>,
    /// The name that clients find in the certificate. By default `ns.nic.<first suffix>`.
    pub server_name: Option<String>,
}

/// Why encrypted transports cannot be set up so.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TlsConfigError {
    /// A list is longer than anybody needs.
    #[error("dns.tls.{key} has {got} entries, at most {MAX_LIST} are allowed")]
    TooMany {
        /// The key.
        key: &'static str,
        /// Its length.
        got: usize,
    },
    /// Two listeners want the same port of the same protocol.
    #[error("dns.tls.{key} lists {addr}, which is also in {other}")]
    Twice {
        /// The key.
        key: &'static str,
        /// The key that has it already.
        other: &'static str,
        /// The address.
        addr: SocketAddr,
    },
    /// A certificate without a key, or the reverse.
    #[error("dns.tls.certificate and dns.tls.key belong together: give both files, or none for a local authority")]
    Half,
    /// The path is no path.
    #[error(
        "dns.tls.https_path is {0:?}, it must begin with a slash and have letters, digits and any of /-._~ after it"
    )]
    Path(String),
    /// The name cannot be in a certificate.
    #[error("dns.tls.server_name is {0:?}, it must be a host name such as \"dns.example.org\"")]
    ServerName(String),
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            https_listen: Vec::new(),
            https_path: "/dns-query".to_owned(),
            quic_listen: Vec::new(),
            certificate: None,
            key: None,
            server_name: None,
        }
    }
}

impl TlsConfig {
    /// Whether any encrypted transport is on.
    pub fn is_enabled(&self) -> bool {
        self.addresses().next().is_some()
    }

    /// All addresses of encrypted transports.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &SocketAddr> {
        self.listen.iter().chain(&self.https_listen).chain(&self.quic_listen)
    }

    /// Checks everything that can be checked without opening a socket or a file. `plain` are the addresses of plain DNS.
    pub(super) fn validate(&self, plain: &[SocketAddr]) -> Result<(), TlsConfigError> {
        let lists =
            [("listen", &self.listen), ("https_listen", &self.https_listen), ("quic_listen", &self.quic_listen)];
        if let Some((key, list)) = lists.into_iter().find(|(_, list)| list.len() > MAX_LIST) {
            return Err(TlsConfigError::TooMany { key, got: list.len() });
        }
        let tcp =
            [("dns.listen", plain), ("dns.tls.listen", &self.listen), ("dns.tls.https_listen", &self.https_listen)];
        differ(&tcp)?;
        differ(&[("dns.listen", plain), ("dns.tls.quic_listen", &self.quic_listen)])?;
        if self.certificate.is_some() != self.key.is_some() {
            return Err(TlsConfigError::Half);
        }
        if !is_path(&self.https_path) {
            return Err(TlsConfigError::Path(self.https_path.clone()));
        }
        match &self.server_name {
            Some(name) if !is_host_name(name) => Err(TlsConfigError::ServerName(name.clone())),
            _ => Ok(()),
        }
    }
}

/// No address is there twice, except port 0, which is another one each time.
fn differ(lists: &[(&'static str, &[SocketAddr])]) -> Result<(), TlsConfigError> {
    let mut seen: Vec<(&'static str, SocketAddr)> = Vec::new();
    for (key, list) in lists {
        for addr in list.iter().filter(|addr| addr.port() != 0) {
            if let Some((other, _)) = seen.iter().find(|(_, earlier)| earlier == addr) {
                let key = key.trim_start_matches("dns.tls.");
                return Err(TlsConfigError::Twice { key, other, addr: *addr });
            }
            seen.push((key, *addr));
        }
    }
    Ok(())
}

fn is_path(path: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    path.starts_with('/') && path.len() <= MAX_PATH_BYTES && path.bytes().all(fits)
}

fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.parse::<Dname>().is_ok_and(|name| name.as_wire().len() > 1)
        && name.trim_end_matches('.').split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toml: &str, expected: Result<(), &str>) {
        let config: TlsConfig = toml::from_str(toml).expect("it parses");
        let plain = ["127.0.0.1:53".parse().expect("an address")];
        let got = config.validate(&plain).map_err(|error| error.to_string());
        assert_eq!(got, expected.map_err(|error| format!("dns.tls.{error}")), "{toml}");
    }

    #[test]
    fn each_rule_has_its_sentence() {
        check("", Ok(()));
        check("listen = ['127.0.0.1:853']\nquic_listen = ['127.0.0.1:853']\nhttps_listen = ['[::]:443']", Ok(()));
        check("listen = ['127.0.0.1:0']\nhttps_listen = ['127.0.0.1:0']", Ok(()));
        check("listen = ['127.0.0.1:53']", Err("listen lists 127.0.0.1:53, which is also in dns.listen"));
        check("quic_listen = ['127.0.0.1:53']", Err("quic_listen lists 127.0.0.1:53, which is also in dns.listen"));
        check(
            "listen = ['127.0.0.1:443']\nhttps_listen = ['127.0.0.1:443']",
            Err("https_listen lists 127.0.0.1:443, which is also in dns.tls.listen"),
        );
        check("listen = ['[::1]:1', '[::1]:1']", Err("listen lists [::1]:1, which is also in dns.tls.listen"));
        let many = vec!["'127.0.0.1:0'"; 17].join(",");
        check(&format!("quic_listen = [{many}]"), Err("quic_listen has 17 entries, at most 16 are allowed"));
        check(
            "key = 'file'",
            Err("certificate and dns.tls.key belong together: give both files, or none for a local authority"),
        );
        check("certificate = 'a'\nkey = 'b'", Ok(()));
        for path in ["", "dns-query", "/a?b", "/ä"] {
            let expected = format!(
                "https_path is {path:?}, it must begin with a slash and have letters, digits and any of /-._~ after it"
            );
            check(&format!("https_path = '{path}'"), Err(&expected));
        }
        check("https_path = '/'\nserver_name = 'dns.example.org.'", Ok(()));
        for name in ["", ".", "a b", "*.p2p", "-a.p2p", "a..b"] {
            let expected = format!("server_name is {name:?}, it must be a host name such as \"dns.example.org\"");
            check(&format!("server_name = '{name}'"), Err(&expected));
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = toml::from_str::<TlsConfig>("cert = 'x'").expect_err("a typo").to_string();
        assert!(error.contains("`cert`") && error.contains("`certificate`"), "{error}");
    }
}

//! Why a configuration cannot be used, and the limits that say so.

use std::{net::SocketAddr, path::PathBuf};

use super::{
    connections::ConnectionsError, forward::ForwardConfigError, guard::GuardConfigError, tls::TlsConfigError,
    transfer::TransferError,
};
use crate::{dns::name::DnameError, policy::target::TargetError, zones::hosts::HostsError};

/// The most addresses to listen on, the most suffixes and the most upstreams.
pub(super) const MAX_LIST: usize = 16;
/// The most threads for UDP. More than cores do not help.
pub(super) const MAX_UDP_WORKERS: usize = 64;
/// The longest `server_id`, in bytes: it must fit one character string.
pub(super) const MAX_SERVER_ID_BYTES: usize = 255;
/// The longest suffix in wire bytes: an owner of 63 bytes below a name of 63 must still be a name.
pub(super) const MAX_SUFFIX_BYTES: usize = 100;

/// Why a configuration cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// A list is longer than anybody needs.
    #[error("dns.{key} has {got} entries, at most {MAX_LIST} are allowed")]
    TooMany {
        /// The key.
        key: &'static str,
        /// Its length.
        got: usize,
    },
    /// No suffix.
    #[error("dns.suffixes is empty: give at least one suffix such as \"p2p\"")]
    NoSuffix,
    /// A suffix is no domain name.
    #[error("dns.suffixes: {suffix:?} is not a domain name: {reason}")]
    Suffix {
        /// As written.
        suffix: String,
        /// What is wrong.
        reason: DnameError,
    },
    /// The root, or a suffix too long to put names below.
    #[error("dns.suffixes: {0:?} must have at least one label and at most {MAX_SUFFIX_BYTES} bytes")]
    SuffixLength(String),
    /// Letters that nobody can type into a browser.
    #[error(
        "dns.suffixes: {0:?} may have letters a-z, digits, hyphens, underscores and dots only; write others as xn--…, \
         and several suffixes as a list [\"p2p\", \"p2p.alt\"]"
    )]
    SuffixLetters(String),
    /// A value is there twice.
    #[error("dns.{key} lists {value:?} twice")]
    Twice {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
    },
    /// An upstream cannot be understood.
    #[error("dns.upstreams: {text:?} {reason}")]
    Upstream {
        /// As written.
        text: String,
        /// What is wrong.
        reason: TargetError,
    },
    /// Forwarding is not well described.
    #[error(transparent)]
    Forward(#[from] ForwardConfigError),
    /// An upstream is this server itself.
    #[error("dns.upstreams: {0} is also in dns.listen, so questions would be forwarded in a circle")]
    Circle(SocketAddr),
    /// No thread for UDP, or absurdly many.
    #[error("dns.udp_workers is {0}, it must be 1 to {MAX_UDP_WORKERS}")]
    UdpWorkers(usize),
    /// The identifier does not fit a TXT string.
    #[error("dns.server_id must have 1 to {MAX_SERVER_ID_BYTES} bytes")]
    ServerId,
    /// The section about secondaries makes no sense.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// A limit of connections makes no sense.
    #[error(transparent)]
    Connections(#[from] ConnectionsError),
    /// A path that means something else in each working directory.
    #[error("dns.hosts: {0:?} is not an absolute path such as \"/etc/hosts\"")]
    HostsPath(PathBuf),
    /// A HOSTS file cannot be used.
    #[error(transparent)]
    Hosts(#[from] HostsError),
    /// Words for a zone that is not served.
    #[error("dns.authority: {0:?} is not in dns.suffixes")]
    NoSuchZone(String),
    /// What a zone would say about itself is wrong.
    #[error("dns.authority: {suffix:?}: {reason}")]
    Authority {
        /// The suffix as written.
        suffix: String,
        /// What is wrong.
        reason: String,
    },
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes, which DNS cookies need")]
    Randomness,
    /// The section `[dns.guard]` is wrong.
    #[error(transparent)]
    Guard(#[from] GuardConfigError),
    /// Encrypted transports cannot be set up so.
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
}

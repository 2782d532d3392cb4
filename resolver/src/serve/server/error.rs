//! Why the server did not start, or did not stop.

use std::{io, net::SocketAddr};

use crate::policy::config::ConfigError;

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
    /// A socket that is open cannot be used.
    #[error("cannot serve a DNS socket: {0}")]
    Socket(#[from] io::Error),
    /// Encrypted transports are configured, and there is nothing to prove them with.
    #[error("encrypted DNS needs a certificate, and none was obtained")]
    NoCertificate,
    /// The certificate does not suit TLS.
    #[error("cannot set up TLS for DNS: {0}")]
    Tls(#[from] rustls::Error),
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

//! Why the network cannot start.

use std::io;

use libp2p::Multiaddr;

/// Why the network could not start.
#[derive(Debug, thiserror::Error)]
pub enum P2pError {
    /// The key file.
    #[error("cannot read or make the network key")]
    Identity(#[source] io::Error),
    /// TCP, QUIC or DNS could not be set up.
    #[error("cannot set up the network: {0}")]
    Transport(String),
    /// Multicast could not be set up.
    #[error("cannot search the local network (set p2p.mdns = false to do without)")]
    Mdns(#[source] io::Error),
    /// None of the addresses could be listened on.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// The first of them.
        address: Multiaddr,
        /// Why.
        why: String,
    },
}

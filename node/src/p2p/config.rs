//! The `[p2p]` section of the configuration.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::{Multiaddr, multiaddr::Protocol};
use serde::{Deserialize, Serialize};

/// The port of all networks, TCP and UDP.
pub const DEFAULT_PORT: u16 = 9353;

/// When this node does something that it can also find out by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// While it is of use.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// The `[p2p]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen, as multiaddrs. Port 0 means any free port. Empty: connect to others only.
    pub listen: Vec<Multiaddr>,
    /// Peers that are always dialled, as multiaddrs; with or without a final `/p2p/ID`.
    pub peers: Vec<Multiaddr>,
    /// Addresses under which others can reach this node, if it cannot see them itself (port forwarding).
    pub external: Vec<Multiaddr>,
    /// Places for peers that connect to this node. When all are taken, the newest of the largest address group gives way.
    /// Connections that this node opens itself come on top.
    pub max_peers: u32,
    /// Connections that this node opens by itself.
    pub outbound: u32,
    /// Whether to find out, with the help of peers, if others can reach this node, and to help them with the same. Never
    /// on the `local` network.
    pub autonat: bool,
    /// Whether to ask the router to forward the port. Never on the `local` network.
    pub upnp: bool,
    /// Whether to be a relay for nodes that nobody can reach, within narrow limits. Auto: while others can reach this node. Off by
    /// default: a hostile client could crash it.
    pub relay: When,
    /// Whether to have others led here by relays. Auto: while others cannot reach this node. Off by default: a hostile relay could
    /// crash it.
    pub relay_client: When,
    /// Whether to find peers on the local network by multicast. Default: on the `local` network only.
    pub mdns: Option<bool>,
    /// Resident memory in MiB above which no new connection is accepted.
    pub memory_limit_mib: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: listen_on(DEFAULT_PORT),
            peers: Vec::new(),
            external: Vec::new(),
            max_peers: 64,
            outbound: 10,
            autonat: true,
            upnp: false,
            // A reservation that runs out while it is renewed, or is granted after it was given up, panics in libp2p's
            // relay code: not by default before that is mended there.
            relay: When::Off,
            relay_client: When::Off,
            mdns: None,
            memory_limit_mib: 2_048,
        }
    }
}

/// TCP and QUIC on all addresses of both families.
pub fn listen_on(port: u16) -> Vec<Multiaddr> {
    let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    any.into_iter().flat_map(|ip| [tcp(ip, port), quic(ip, port)]).collect()
}

/// A TCP address.
pub fn tcp(ip: IpAddr, port: u16) -> Multiaddr {
    Multiaddr::from(ip).with(Protocol::Tcp(port))
}

/// A QUIC address.
pub fn quic(ip: IpAddr, port: u16) -> Multiaddr {
    Multiaddr::from(ip).with(Protocol::Udp(port)).with(Protocol::QuicV1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_reads_multiaddrs_and_refuses_unknown_keys() {
        let config: Config = toml::from_str("peers = ['/ip4/192.0.2.1/tcp/9353']\nmdns = true").expect("valid");
        assert_eq!(config.peers.len(), 1);
        assert_eq!(config.listen.len(), 4);
        assert!(toml::from_str::<Config>("prees = []").is_err());
        let config: Config = toml::from_str("relay = 'off'\nrelay_client = 'on'").expect("valid");
        assert_eq!((config.relay, config.relay_client), (When::Off, When::On));
        assert!(toml::from_str::<Config>("peers = ['192.0.2.1']").is_err());
    }
}

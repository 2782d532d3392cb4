//! Which addresses probably belong to one host or one operator, and which are at home.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

/// A block of addresses that one operator can easily have: /16 of IPv4, /32 of IPv6 (protocol §10).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Netgroup {
    /// The first two bytes.
    V4([u8; 2]),
    /// The first four bytes.
    V6([u8; 4]),
    /// Loopback and private addresses: one machine or one LAN, exempt from limits per group.
    Home,
    /// Whoever is at the other end of a relay: the address names the relay, and says nothing of the peer behind it.
    Relayed,
    /// A host name or anything else that shows no address.
    Unknown,
}

impl Netgroup {
    /// The group of an address.
    pub fn of(address: &Multiaddr) -> Self {
        if is_relayed(address) {
            return Self::Relayed;
        }
        match ip_of(address) {
            Some(ip) if is_home(ip) => Self::Home,
            Some(IpAddr::V4(ip)) => Self::V4([ip.octets()[0], ip.octets()[1]]),
            Some(IpAddr::V6(ip)) => {
                let o = ip.octets();
                Self::V6([o[0], o[1], o[2], o[3]])
            }
            None => Self::Unknown,
        }
    }

    /// The group as bytes, different for different groups: what is hashed to choose among them.
    pub fn to_bytes(self) -> [u8; 5] {
        match self {
            Self::V4([a, b]) => [4, a, b, 0, 0],
            Self::V6([a, b, c, d]) => [6, a, b, c, d],
            Self::Home => [1, 0, 0, 0, 0],
            Self::Relayed => [2, 0, 0, 0, 0],
            Self::Unknown => [0; 5],
        }
    }

    /// What [`to_bytes`](Self::to_bytes) made.
    pub fn from_bytes(bytes: [u8; 5]) -> Option<Self> {
        match bytes {
            [4, a, b, 0, 0] => Some(Self::V4([a, b])),
            [6, a, b, c, d] => Some(Self::V6([a, b, c, d])),
            [1, 0, 0, 0, 0] => Some(Self::Home),
            [2, 0, 0, 0, 0] => Some(Self::Relayed),
            [0, 0, 0, 0, 0] => Some(Self::Unknown),
            _ => None,
        }
    }

    /// Whether limits per group do not apply.
    pub fn is_exempt(self) -> bool {
        match self {
            Self::Home => true,
            Self::V4(_) | Self::V6(_) | Self::Relayed | Self::Unknown => false,
        }
    }
}

/// The addresses of one host, as far as anybody can tell: one of IPv4, and a whole /64 of IPv6, because that is what a
/// host is given, to pick addresses from as it likes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Site(IpAddr);

impl Site {
    /// The site of an address, if it begins with an IP.
    pub fn of(address: &Multiaddr) -> Option<Self> {
        Some(Self(match ip_of(address)? {
            IpAddr::V4(ip) => ip.into(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        }))
    }
}

/// Whether the address leads through a relay (`/p2p-circuit`), or is what a relay tells of who comes: a peer id alone.
pub fn is_relayed(address: &Multiaddr) -> bool {
    let is_bare_peer = matches!(address.iter().next(), Some(Protocol::P2p(_)));
    is_bare_peer || address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// The address's IP, if it begins with one. IPv4 mapped into IPv6 counts as IPv4. A relay's IP is not that of the peer.
fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    if is_relayed(address) {
        return None;
    }
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or(ip.into(), IpAddr::from)),
        _ => None,
    }
}

/// The peer id at the end, if there is one.
pub fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last()? {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    }
}

/// The address without a final peer id.
pub fn without_peer(address: &Multiaddr) -> Multiaddr {
    let mut address = address.clone();
    while matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        address.pop();
    }
    address
}

/// Whether the address is on this machine or a private network.
pub fn is_home(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_home_v4(ip),
        IpAddr::V6(ip) => is_home_v6(ip),
    }
}

fn is_home_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    // 100.64/10 is what carriers put behind their own translation.
    ip.is_loopback() || ip.is_private() || ip.is_link_local() || (a == 100 && (64..128).contains(&b))
}

fn is_home_v6(ip: Ipv6Addr) -> bool {
    let is_behind = |ip: Ipv4Addr| ip.is_unspecified() || is_home_v4(ip);
    ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || translated(ip).is_some_and(is_behind)
}

/// The IPv4 address that an address of NAT64 (RFC 6052, RFC 8215: with a prefix of 96 bits) or 6to4 (RFC 3056) leads to.
fn translated(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 1, _, _, _, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// Which addresses a node may be asked about, or to dial, by strangers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Scope {
    /// Public ones.
    #[default]
    Public,
    /// Any: the network is one machine or one LAN.
    Anywhere,
}

impl Scope {
    /// Whether the address is one that others could dial, and of this kind.
    pub fn includes(self, address: &Multiaddr) -> bool {
        is_dialable(address) && (self == Self::Anywhere || !Netgroup::of(address).is_exempt())
    }
}

/// Whether others could dial this: an IP that is a unicast address, and a transport that we speak.
pub fn is_dialable(address: &Multiaddr) -> bool {
    let Some(ip) = ip_of(address) else { return false };
    let bare = without_peer(address);
    let parts: Vec<_> = bare.iter().skip(1).collect();
    let known = match parts.as_slice() {
        [Protocol::Tcp(port)] => *port != 0,
        [Protocol::Udp(port), Protocol::QuicV1] => *port != 0,
        _ => false,
    };
    known && !ip.is_unspecified() && !ip.is_multicast() && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, expected: Netgroup) {
        assert_eq!(Netgroup::of(&address.parse().expect("an address")), expected, "{address}");
    }

    #[test]
    fn groups() {
        check("/ip4/198.51.100.7/tcp/1", Netgroup::V4([198, 51]));
        check("/ip6/2001:db8::1/udp/1/quic-v1", Netgroup::V6([0x20, 1, 0x0d, 0xb8]));
        check("/ip6/::ffff:198.51.100.7/tcp/1", Netgroup::V4([198, 51]));
        for home in ["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.1/tcp/1", "/ip4/100.64.0.1/tcp/1", "/ip6/fd00::1/tcp/1"] {
            check(home, Netgroup::Home);
        }
        check("/dns/example.org/tcp/1", Netgroup::Unknown);
    }

    /// A relay's address says nothing of the peer behind it.
    #[test]
    fn whoever_is_behind_a_relay_has_no_address() {
        let (relay, peer) = (PeerId::random(), PeerId::random());
        for ip in ["198.51.100.7", "127.0.0.1"] {
            let through = format!("/ip4/{ip}/tcp/1/p2p/{relay}/p2p-circuit/p2p/{peer}");
            check(&through, Netgroup::Relayed);
            let through: Multiaddr = through.parse().expect("an address");
            assert!(Site::of(&through).is_none() && !is_dialable(&through));
            assert_eq!(peer_of(&through), Some(peer));
            assert_eq!(without_peer(&through).to_string(), format!("/ip4/{ip}/tcp/1/p2p/{relay}/p2p-circuit"));
        }
        check(&format!("/p2p/{peer}"), Netgroup::Relayed);
        assert!(!Netgroup::Relayed.is_exempt());
    }

    #[test]
    fn bytes_tell_groups_apart_and_read_back() {
        let groups =
            [Netgroup::V4([4, 0]), Netgroup::V6([4, 0, 0, 0]), Netgroup::Home, Netgroup::Relayed, Netgroup::Unknown];
        let bytes: std::collections::BTreeSet<_> = groups.iter().map(|group| group.to_bytes()).collect();
        assert_eq!(bytes.len(), groups.len());
        assert!(groups.iter().all(|group| Netgroup::from_bytes(group.to_bytes()) == Some(*group)));
        assert_eq!(Netgroup::from_bytes([9, 0, 0, 0, 0]), None);
    }

    #[test]
    fn sites() {
        let site = |text: &str| Site::of(&text.parse().expect("an address"));
        assert_eq!(site("/ip6/2001:db8:1:2::1/tcp/1"), site("/ip6/2001:db8:1:2:ffff:ffff:ffff:ffff/udp/1/quic-v1"));
        assert_ne!(site("/ip6/2001:db8:1:2::1/tcp/1"), site("/ip6/2001:db8:1:3::1/tcp/1"));
        assert_eq!(site("/ip6/::ffff:198.51.100.7/tcp/1"), site("/ip4/198.51.100.7/tcp/2"));
        assert_ne!(site("/ip4/198.51.100.7/tcp/1"), site("/ip4/198.51.100.8/tcp/1"));
        assert_eq!(site("/dns/example.org/tcp/1"), None);
    }

    #[test]
    fn what_can_be_dialled() {
        let is = |text: &str| is_dialable(&text.parse().expect("an address"));
        assert!(is("/ip4/198.51.100.7/tcp/1") && is("/ip4/198.51.100.7/udp/1/quic-v1"));
        assert!(!is("/ip4/0.0.0.0/tcp/1") && !is("/ip4/198.51.100.7/tcp/0") && !is("/ip4/224.0.0.1/tcp/1"));
        assert!(!is("/dns/example.org/tcp/1") && !is("/ip4/198.51.100.7/udp/1"));
    }
}

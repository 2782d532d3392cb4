//! Addresses of the local network, in all forms that lead there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is in the local network, however it is written.
pub(crate) fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_inside_v4(v4),
        IpAddr::V6(v6) => is_inside_v6(v6),
    }
}

fn is_inside_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    // 0/8 reaches the machine itself (RFC 1122 §3.2.1.3), 100.64/10 the provider's network (RFC 6598), 192.0.0/24
    // is for protocols of the local network (RFC 6890).
    a == 0
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || (a == 100 && b & 0xc0 == 64)
        || [a, b, c] == [192, 0, 0]
        || address.is_broadcast()
}

fn is_inside_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // fec0::/10 was for sites (RFC 3879).
    let is_site_local = segments[0] & 0xffc0 == 0xfec0;
    address.is_unique_local()
        || address.is_unicast_link_local()
        || is_site_local
        || embedded_v4(address).into_iter().flatten().any(is_inside_v4)
        || is_behind_local_nat64(address)
}

/// Whether the address behind one of 64:ff9b:1::/48 is in the local network. Networks choose the length of the prefix
/// (RFC 8215 §3), so every place where it may stand is looked at. All of 0/8 is no host; short prefixes leave it behind
/// them in the addresses of long ones.
fn is_behind_local_nat64(address: Ipv6Addr) -> bool {
    if address.segments()[..3] != [0x64, 0xff9b, 1] {
        return false;
    }
    // The two shortest would be within the prefix.
    let [long, short @ .., _, _] = translated(address);
    is_inside_v4(long) || short.into_iter().any(|v4| v4.octets()[0] != 0 && is_inside_v4(v4))
}

/// The IPv4 addresses that stand behind prefixes of 96, 64, 56, 48, 40 and 32 bits (RFC 6052 §2.2).
pub(crate) fn translated(address: Ipv6Addr) -> [Ipv4Addr; 6] {
    let o = address.octets();
    [
        [o[12], o[13], o[14], o[15]],
        [o[9], o[10], o[11], o[12]],
        [o[7], o[9], o[10], o[11]],
        [o[6], o[7], o[9], o[10]],
        [o[5], o[6], o[7], o[9]],
        [o[4], o[5], o[6], o[7]],
    ]
    .map(Ipv4Addr::from)
}

/// IPv4 addresses that an IPv6 address stands for. `::` and `::1` count as wrapping 0.0.0.0 and 0.0.0.1.
fn embedded_v4(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let segments = address.segments();
    let v4 = |index: usize| {
        let [a, b] = segments[index].to_be_bytes();
        let [c, d] = segments[index + 1].to_be_bytes();
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // Compatible (RFC 4291 §2.5.5.1), mapped (§2.5.5.2), translated (RFC 2765), NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0, _, _]
        | [0, 0, 0, 0, 0, 0xffff, _, _]
        | [0, 0, 0, 0, 0xffff, 0, _, _]
        | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => [v4(6), None],
        // 6to4 (RFC 3056).
        [0x2002, ..] => [v4(1), None],
        // Teredo: the server, and the client's address inverted (RFC 4380 §4).
        [0x2001, 0, ..] => [v4(2), v4(6).map(|client| Ipv4Addr::from_bits(!client.to_bits()))],
        // ISATAP (RFC 5214 §6.1).
        [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => [v4(6), None],
        _ => [None, None],
    }
}

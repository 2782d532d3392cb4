//! DNS rebinding: a stranger's name whose address is in the local network, by which a stranger's web page gets to talk
//! to what is there.
//!
//! Addresses have many disguises: an IPv4 address can be written into IPv6 addresses in several ways, and HTTPS records
//! carry addresses as hints. What decides whether an address is allowed is the name that was *asked for*, because that
//! is what a browser takes for the origin; where an alias leads is up to the stranger.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::ResponseCode;

use crate::{
    answer::{Answer, EdeCode, RrSet},
    dname::Dname,
    rtype,
};

/// Parameter of SVCB and HTTPS records: IPv4 addresses (RFC 9460 §7.3).
const IPV4_HINT: u16 = 4;
/// Parameter of SVCB and HTTPS records: IPv6 addresses.
const IPV6_HINT: u16 = 6;

/// Empties the answer if any of its records leads into the local network, and says whether it did.
///
/// The whole answer goes, not only the local address: a set that mixes a public with a local one is how rebinding is
/// done. What is left is "no data" with extended error 15 (Blocked): REFUSED or SERVFAIL would make stub resolvers
/// look for another server, and NXDOMAIN would speak about other types. It has no SOA, so nobody caches it, and no
/// proof, so a validator behind us fails safely.
pub(crate) fn withhold(answer: &mut Answer) -> bool {
    let sets = [&answer.answer, &answer.authority, &answer.glue, &answer.additional];
    if !sets.into_iter().flatten().any(leads_inside) {
        return false;
    }
    let blocked = Answer::failure(
        ResponseCode::NoError,
        answer.origin,
        EdeCode::Blocked,
        "the answer leads into the local network (DNS rebinding)",
    );
    *answer = blocked;
    true
}

fn leads_inside(set: &RrSet) -> bool {
    set.class == rtype::CLASS_IN && set.data.iter().any(|data| data_leads_inside(set.rtype, data))
}

/// Whether record data holds an address of the local network. Data that cannot be read is not trusted.
fn data_leads_inside(rtype: u16, data: &[u8]) -> bool {
    match rtype {
        rtype::A => <[u8; 4]>::try_from(data).map_or(true, |octets| is_inside(Ipv4Addr::from(octets).into())),
        rtype::AAAA => <[u8; 16]>::try_from(data).map_or(true, |octets| is_inside(Ipv6Addr::from(octets).into())),
        rtype::SVCB | rtype::HTTPS => hints_lead_inside(data).unwrap_or(true),
        _ => false,
    }
}

/// `None` if the data has not the form of RFC 9460 §2.2.
fn hints_lead_inside(data: &[u8]) -> Option<bool> {
    let (_, mut rest) = Dname::split_wire(data.get(2..)?).ok()?;
    let mut inside = false;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at_checked(4)?;
        let (value, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes([head[2], head[3]])))?;
        inside |= match u16::from_be_bytes([head[0], head[1]]) {
            IPV4_HINT => hint_leads_inside(value, 4, rtype::A),
            IPV6_HINT => hint_leads_inside(value, 16, rtype::AAAA),
            _ => false,
        };
        rest = tail;
    }
    Some(inside)
}

fn hint_leads_inside(value: &[u8], size: usize, rtype: u16) -> bool {
    value.chunks(size).any(|address| data_leads_inside(rtype, address))
}

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
    // 64:ff9b:1::/48 is NAT64 within a network, with the IPv4 address in any of several places (RFC 8215).
    let is_local_nat64 = segments[..3] == [0x64, 0xff9b, 1];
    // fec0::/10 was for sites (RFC 3879).
    let is_site_local = segments[0] & 0xffc0 == 0xfec0;
    address.is_unique_local()
        || address.is_unicast_link_local()
        || is_site_local
        || is_local_nat64
        || embedded_v4(address).into_iter().flatten().any(is_inside_v4)
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
        _ => [None, None],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Origin;

    #[test]
    fn disguises() {
        for (address, inside) in [
            ("0.0.0.0", true),
            ("0.1.2.3", true),
            ("10.1.2.3", true),
            ("100.63.255.255", false),
            ("100.64.0.1", true),
            ("100.127.255.255", true),
            ("100.128.0.0", false),
            ("127.0.0.1", true),
            ("127.255.255.254", true),
            ("169.254.169.254", true),
            ("172.15.0.1", false),
            ("172.16.0.1", true),
            ("172.31.255.255", true),
            ("172.32.0.1", false),
            ("192.0.0.1", true),
            ("192.0.2.1", false),
            ("192.168.0.1", true),
            ("255.255.255.255", true),
            ("9.9.9.9", false),
            ("::", true),
            ("::1", true),
            ("::127.0.0.1", true),
            ("::9.9.9.9", false),
            ("::ffff:192.168.1.1", true),
            ("::ffff:9.9.9.9", false),
            ("::ffff:0:10.0.0.1", true),
            ("::ffff:0:9.9.9.9", false),
            ("64:ff9b::10.0.0.1", true),
            ("64:ff9b::9.9.9.9", false),
            ("64:ff9b:1::9.9.9.9", true),
            ("64:ff9b:1:aaaa::", true),
            ("64:ff9b:2::", false),
            ("2002:c0a8:101::1", true),
            ("2002:909:909::1", false),
            ("2001:0:a00:1::", true),
            // Teredo: server 9.9.9.9, client 192.168.1.1 and 9.9.9.9, inverted.
            ("2001:0:909:909:0:0:3f57:fefe", true),
            ("2001:0:909:909:0:0:f6f6:f6f6", false),
            ("fc00::1", true),
            ("fd12:3456::1", true),
            ("fe80::1", true),
            ("febf::1", true),
            ("fec0::1", true),
            ("2620:fe::fe", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_inside(address.parse().expect("an address")), inside, "{address}");
        }
    }

    fn parameters(list: &[(u16, &[u8])]) -> Vec<u8> {
        let mut data = b"\0\x01\0".to_vec();
        for (key, value) in list {
            data.extend([key.to_be_bytes(), (value.len() as u16).to_be_bytes()].concat());
            data.extend_from_slice(value);
        }
        data
    }

    #[test]
    fn records_that_carry_addresses() {
        let mapped = "::ffff:10.0.0.1".parse::<Ipv6Addr>().expect("valid").octets();
        for (rtype, data, inside) in [
            (rtype::A, vec![10, 0, 0, 1], true),
            (rtype::A, vec![9, 9, 9, 9], false),
            (rtype::A, vec![9, 9, 9], true),
            (rtype::AAAA, mapped.to_vec(), true),
            (rtype::TXT, vec![4, 10, 0, 0, 1], false),
            (rtype::SVCB, parameters(&[]), false),
            (rtype::HTTPS, parameters(&[(1, b"\x02h2"), (IPV4_HINT, &[9, 9, 9, 9])]), false),
            (rtype::HTTPS, parameters(&[(1, b"\x02h2"), (IPV4_HINT, &[9, 9, 9, 9, 192, 168, 0, 1])]), true),
            (rtype::SVCB, parameters(&[(IPV6_HINT, &mapped)]), true),
            (rtype::SVCB, parameters(&[(IPV6_HINT, &mapped[1..])]), true),
            // Other parameters may look like addresses.
            (rtype::SVCB, parameters(&[(667, &[10, 0, 0, 1])]), false),
            (rtype::SVCB, b"\0\x01".to_vec(), true),
            (rtype::SVCB, b"\0\x01\0\0\x04\0\x08\x0a\0\0\x01".to_vec(), true),
        ] {
            assert_eq!(data_leads_inside(rtype, &data), inside, "{rtype} {data:?}");
        }
    }

    #[test]
    fn one_local_address_empties_the_answer() {
        let name: Dname = "www.example.com".parse().expect("valid");
        let public = RrSet::one(name.clone(), rtype::A, 60, vec![9, 9, 9, 9]);
        let mut answer = Answer::empty(ResponseCode::NoError, Origin::Upstream);
        answer.answer.push(public.clone());
        assert!(!withhold(&mut answer));
        assert_eq!(answer.answer, [public]);
        answer.answer[0].data.push(vec![127, 0, 0, 1].into());
        assert!(withhold(&mut answer));
        assert_eq!((answer.rcode, answer.answer.len()), (ResponseCode::NoError, 0));
        assert_eq!(answer.ede.map(|ede| ede.code), Some(EdeCode::Blocked));
    }
}

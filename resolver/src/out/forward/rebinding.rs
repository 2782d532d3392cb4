//! DNS rebinding: a stranger's name whose address is in the local network, by which a stranger's web page gets to talk
//! to what is there.
//!
//! Addresses have many disguises: an IPv4 address can be written into IPv6 addresses in several ways, and HTTPS records
//! carry addresses as hints. A name is one as well: an alias or a service target that only this network knows (`localhost`,
//! a name of a HOSTS file, of a local rule) is completed by the next resolver. What decides whether an address is allowed
//! is the name that was *asked for*, because that is what a browser takes for the origin; where an alias leads is up to the
//! stranger.
//!
//! Not rebinding, and let through: the addresses by which NAT64 is found (RFC 7050), what DNS blocking lists answer (RFC
//! 5782), and addresses of NAT64 with a public one behind them (RFC 8215).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::ResponseCode;

use crate::{
    dns::{answer::Answer, ede::EdeCode, name::Dname, rrset::RrSet, rtype},
    zones::inside::{is_inside, translated},
};

/// Parameter of SVCB and HTTPS records: IPv4 addresses (RFC 9460 §7.3).
const IPV4_HINT: u16 = 4;
/// Parameter of SVCB and HTTPS records: IPv6 addresses.
const IPV6_HINT: u16 = 6;

/// The suffix of what NAT64 is found by (RFC 7050 §3), in wire form.
const IPV4_ONLY: &[u8] = b"\x08ipv4only\x04arpa\0";
/// Its addresses.
const WELL_KNOWN: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 0, 170), Ipv4Addr::new(192, 0, 0, 171)];
/// The least bytes in which a parameter can hold an address: key, length, IPv4 address.
const MIN_HINT_BYTES: usize = 8;

/// What is special about the question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Nothing,
    /// How NAT64 is found.
    Ipv4Only,
    /// An address, as one asks DNS blocking lists.
    ReverseShaped,
}

/// Empties the answer to `asked` if any of its records leads into the local network, and says whether it did. `is_inner`
/// tells which names mean something else here than for those who gave the answer. `asked` is absent for names that can be
/// no exceptions.
///
/// The whole answer goes, not only the local address: a set that mixes a public with a local one is how rebinding is
/// done. What is left is "no data" with extended error 15 (Blocked): REFUSED or SERVFAIL would make stub resolvers
/// look for another server, and NXDOMAIN would speak about other types. It has no SOA, so nobody caches it, and no
/// proof, so a validator behind us fails safely.
pub(crate) fn withhold(asked: Option<&Dname>, answer: &mut Answer, is_inner: impl Fn(&Dname) -> bool) -> bool {
    let asked = asked.map_or(Asked::Nothing, Asked::of);
    let leads_inside = |set: &RrSet| leads_inside(asked, set) || targets(set).any(|target| is_inner(&target));
    let sets = [&answer.answer, &answer.authority, &answer.glue, &answer.additional];
    if !sets.into_iter().flatten().any(leads_inside) {
        return false;
    }
    empty(answer);
    true
}

/// Empties the answer if an alias or a service target of it is such a name, and says whether it did.
pub(crate) fn withhold_targets(answer: &mut Answer, is_inner: impl Fn(&Dname) -> bool) -> bool {
    let is_held = answer.answer.iter().flat_map(targets).any(|target| is_inner(&target));
    if is_held {
        empty(answer);
    }
    is_held
}

/// Whose answer it is does not change: an empty one without AA and RA is a lame referral to stub resolvers.
fn empty(answer: &mut Answer) {
    let text = "the answer leads into the local network (DNS rebinding)";
    let empty = Answer::failure(ResponseCode::NoError, answer.origin, EdeCode::Blocked, text);
    *answer = Answer { authoritative: answer.authoritative, ..empty };
}

impl Asked {
    fn of(name: &Dname) -> Self {
        match name.as_wire() == IPV4_ONLY {
            true => Self::Ipv4Only,
            false if is_reverse_shaped(name) => Self::ReverseShaped,
            false => Self::Nothing,
        }
    }

    /// Whether an address means nothing local as an answer to this.
    fn excuses(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Ipv4Only, IpAddr::V4(v4)) => WELL_KNOWN.contains(&v4),
            // Behind any prefix of NAT64 (RFC 6052 §2.2).
            (Self::Ipv4Only, IpAddr::V6(v6)) => translated(v6).into_iter().any(|v4| WELL_KNOWN.contains(&v4)),
            (Self::ReverseShaped, IpAddr::V4(v4)) => v4.is_loopback() && v4 != Ipv4Addr::LOCALHOST,
            _ => false,
        }
    }
}

/// Whether a name begins with an address as one asks a blocking list: four bytes in decimal or 32 hexadecimal digits, and
/// a zone behind them (RFC 5782 §2.1, §2.4).
fn is_reverse_shaped(name: &Dname) -> bool {
    let is_byte = |label: &[u8]| std::str::from_utf8(label).is_ok_and(|text| text.parse::<u8>().is_ok());
    let is_digit = |label: &[u8]| label.len() == 1 && label[0].is_ascii_hexdigit();
    let begins = |count: usize, is_part: &dyn Fn(&[u8]) -> bool| {
        name.labels().count() > count && name.labels().take(count).all(is_part)
    };
    begins(4, &is_byte) || begins(32, &is_digit)
}

fn leads_inside(asked: Asked, set: &RrSet) -> bool {
    set.class == rtype::CLASS_IN && set.data.iter().any(|data| data_leads_inside(asked, set.rtype, data))
}

/// The names that resolvers and browsers go to from a set.
fn targets(set: &RrSet) -> impl Iterator<Item = Dname> {
    let skipped = match set.rtype {
        rtype::CNAME | rtype::DNAME => Some(0),
        // Behind the priority. The root stands for the owner, or for nothing (RFC 9460 §2.5).
        rtype::SVCB | rtype::HTTPS => Some(2),
        _ => None,
    };
    let names = skipped.into_iter().flat_map(|at| set.data.iter().filter_map(move |data| data.get(at..)));
    names.filter_map(|bytes| Dname::split_wire(bytes).ok()).map(|(name, _)| name).filter(|name| *name != Dname::root())
}

/// Whether record data holds an address of the local network. Data passes in any form, so whatever a lenient reader could
/// take for an address counts.
fn data_leads_inside(asked: Asked, rtype: u16, data: &[u8]) -> bool {
    let is_local = |address: IpAddr| is_inside(address) && !asked.excuses(address);
    match rtype {
        rtype::A => data.first_chunk::<4>().is_some_and(|octets| is_local(Ipv4Addr::from(*octets).into())),
        rtype::AAAA => data.first_chunk::<16>().is_some_and(|octets| is_local(Ipv6Addr::from(*octets).into())),
        rtype::SVCB | rtype::HTTPS => hints_lead_inside(data),
        _ => false,
    }
}

/// Whether a hint is in the local network. What has not the form of RFC 9460 §2.2 counts as such if it could hold one.
fn hints_lead_inside(data: &[u8]) -> bool {
    let Some(Ok((_, mut rest))) = data.get(2..).map(Dname::split_wire) else { return data.len() >= MIN_HINT_BYTES };
    loop {
        let Some((head, tail)) = rest.split_at_checked(4) else { return false };
        let size = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let Some((value, tail)) = tail.split_at_checked(size) else { return rest.len() >= MIN_HINT_BYTES };
        let (size, rtype) = match u16::from_be_bytes([head[0], head[1]]) {
            IPV4_HINT => (4, rtype::A),
            IPV6_HINT => (16, rtype::AAAA),
            _ => (usize::MAX, 0),
        };
        if value.chunks(size).any(|address| data_leads_inside(Asked::Nothing, rtype, address)) {
            return true;
        }
        rest = tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::answer::Origin;

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
            ("64:ff9b:1::9.9.9.9", false),
            ("64:ff9b:1::192.168.1.1", true),
            ("64:ff9b:1::127.0.0.1", true),
            // Behind prefixes of 48, 56 and 64 bits, with and without something behind the address.
            ("64:ff9b:1:c0a8:1:100::", true),
            ("64:ff9b:1:c0a8:1:100:0:1", true),
            ("64:ff9b:1:aac0:a8:101::", true),
            ("64:ff9b:1:aaaa:c0:a801:100:0", true),
            ("64:ff9b:1:aaaa:9:909:900:1", false),
            // ISATAP.
            ("2001:db8::5efe:192.168.1.1", true),
            ("2001:db8::200:5efe:10.0.0.1", true),
            ("2001:db8::5efe:9.9.9.9", false),
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
            (rtype::A, vec![9, 9, 9], false),
            (rtype::A, vec![10, 0, 0, 1, 9], true),
            (rtype::AAAA, mapped.to_vec(), true),
            (rtype::TXT, vec![4, 10, 0, 0, 1], false),
            (rtype::SVCB, parameters(&[]), false),
            (rtype::HTTPS, parameters(&[(1, b"\x02h2"), (IPV4_HINT, &[9, 9, 9, 9])]), false),
            (rtype::HTTPS, parameters(&[(1, b"\x02h2"), (IPV4_HINT, &[9, 9, 9, 9, 192, 168, 0, 1])]), true),
            (rtype::SVCB, parameters(&[(IPV6_HINT, &mapped)]), true),
            (rtype::SVCB, parameters(&[(IPV6_HINT, &mapped[1..])]), false),
            (rtype::SVCB, parameters(&[(IPV4_HINT, &[9, 9, 9, 9, 10])]), false),
            // Other parameters may look like addresses.
            (rtype::SVCB, parameters(&[(667, &[10, 0, 0, 1])]), false),
            (rtype::SVCB, b"\0\x01".to_vec(), false),
            (rtype::SVCB, b"\0\x01\xc0\x0c\0\x04\0\x04\x0a\0\0\x01".to_vec(), true),
            (rtype::SVCB, b"\0\x01\0\0\x04\0\x08\x0a\0\0\x01".to_vec(), true),
        ] {
            assert_eq!(data_leads_inside(Asked::Nothing, rtype, &data), inside, "{rtype} {data:?}");
        }
    }

    #[test]
    fn one_local_address_empties_the_answer() {
        let name: Dname = "www.example.com".parse().expect("valid");
        let public = RrSet::one(name.clone(), rtype::A, 60, vec![9, 9, 9, 9]);
        let mut answer = Answer::empty(ResponseCode::NoError, Origin::Upstream);
        answer.answer.push(public.clone());
        assert!(!withhold(Some(&name), &mut answer, |_| false));
        assert_eq!(answer.answer, [public]);
        answer.answer[0].data.push(vec![127, 0, 0, 1].into());
        assert!(withhold(Some(&name), &mut answer, |_| false));
        assert_eq!((answer.rcode, answer.answer.len()), (ResponseCode::NoError, 0));
        assert_eq!(answer.ede.map(|ede| ede.code), Some(EdeCode::Blocked));
    }

    #[test]
    fn false_alarms() {
        let reverse6 = "1.".repeat(32) + "list.example";
        for (asked, rtype, address, held) in [
            ("ipv4only.arpa", rtype::A, "192.0.0.170", false),
            ("ipv4only.arpa", rtype::A, "192.0.0.171", false),
            ("ipv4only.arpa", rtype::A, "192.0.0.172", true),
            ("ipv4only.arpa", rtype::A, "192.168.1.1", true),
            ("ipv4only.arpa", rtype::AAAA, "64:ff9b::192.0.0.170", false),
            ("ipv4only.arpa", rtype::AAAA, "64:ff9b:1::192.0.0.170", false),
            ("ipv4only.arpa", rtype::AAAA, "fd00:1:2:3::192.0.0.171", false),
            ("ipv4only.arpa", rtype::AAAA, "fd00::1", true),
            ("a.ipv4only.arpa", rtype::A, "192.0.0.170", true),
            ("2.0.0.127.list.example", rtype::A, "127.0.0.2", false),
            ("2.0.0.127.list.example", rtype::A, "127.0.1.9", false),
            ("2.0.0.127.list.example", rtype::A, "127.0.0.1", true),
            ("2.0.0.127.list.example", rtype::A, "192.168.1.1", true),
            ("2.0.0.127.list.example", rtype::AAAA, "::1", true),
            (reverse6.as_str(), rtype::A, "127.0.0.3", false),
            ("2.0.0.256.list.example", rtype::A, "127.0.0.2", true),
            ("x.0.0.127.list.example", rtype::A, "127.0.0.2", true),
            ("2.0.0.127", rtype::A, "127.0.0.2", true),
            ("list.example", rtype::A, "127.0.0.2", true),
        ] {
            let name: Dname = asked.parse().expect("a name");
            let data = match address.parse().expect("an address") {
                IpAddr::V4(v4) => v4.octets().to_vec(),
                IpAddr::V6(v6) => v6.octets().to_vec(),
            };
            let mut answer = Answer::empty(ResponseCode::NoError, Origin::Upstream);
            answer.answer.push(RrSet::one(name.clone(), rtype, 60, data));
            assert_eq!(withhold(Some(&name), &mut answer.clone(), |_| false), held, "{asked} {address}");
            // Nothing is excused for names of strangers.
            assert!(withhold(None, &mut answer, |_| false), "{asked} {address}");
        }
    }

    #[test]
    fn aliases_and_targets_that_mean_something_here() {
        let name: Dname = "www.example.com".parse().expect("valid");
        let localhost = b"\x09localhost\0".to_vec();
        let service = |target: &[u8]| [b"\0\x01", target].concat();
        for (rtype, data, held) in [
            (rtype::CNAME, localhost.clone(), true),
            (rtype::CNAME, b"\x01a\x09localhost\0".to_vec(), false),
            (rtype::DNAME, localhost.clone(), true),
            (rtype::HTTPS, service(&localhost), true),
            (rtype::SVCB, service(&localhost), true),
            (rtype::HTTPS, service(b"\0"), false),
            (rtype::MX, service(&localhost), false),
            (rtype::TXT, localhost.clone(), false),
        ] {
            let mut answer = Answer::empty(ResponseCode::NoError, Origin::Upstream);
            answer.answer.push(RrSet::one(name.clone(), rtype, 60, data));
            let is_inner = |name: &Dname| name.as_wire() == localhost;
            assert_eq!(withhold_targets(&mut answer.clone(), is_inner), held, "{rtype}");
            assert_eq!(withhold(Some(&name), &mut answer, is_inner), held, "{rtype}");
        }
    }
}

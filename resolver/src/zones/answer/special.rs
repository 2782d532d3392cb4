//! Names that are not forwarded unless a rule opens them: special-use names and the reverse zones of private addresses.
//!
//! Sources: RFC 6761 (localhost, invalid, test), RFC 6762 (local), RFC 7686 (onion), RFC 9476 (alt), RFC 8375
//! (home.arpa), RFC 9462 (resolver.arpa), ICANN's reservation of `internal`, and the reverse zones of RFC 6303 and
//! RFC 7793. `example` is deliberately absent: resolvers should not treat it specially (RFC 6761 §6.5).

use std::{collections::HashMap, sync::LazyLock};

use bytes::Bytes;
use hickory_proto::op::ResponseCode;

use crate::{
    dns::{
        answer::{Answer, Origin},
        name::{Dname, ancestors},
        rrset::RrSet,
        rtype,
    },
    zones::site::Site,
};

/// TTL of what is answered here, in seconds (RFC 6303 §3).
const TTL_S: u32 = 10_800;
/// TTL of what says how to reach this server encrypted, in seconds: a restart with other settings changes it.
const DISCOVERY_TTL_S: u32 = 300;
/// The name at which clients ask for that (RFC 9462 §4), without the root byte.
const DISCOVERY_NAME: &[u8] = b"\x04_dns\x08resolver\x04arpa";

/// How names of a special zone are answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// The loopback addresses, and nothing else.
    Loopback,
    /// The apex exists, nothing below it does.
    Empty,
    /// Every name exists without data.
    NoData,
}

/// Zones by their wire form without the root byte.
static ZONES: LazyLock<HashMap<Vec<u8>, Kind>> = LazyLock::new(|| {
    let names = ["invalid", "test", "local", "onion", "alt", "internal", "home.arpa"].map(str::to_owned);
    let empty = names.into_iter().chain(reverse_zones()).map(|name| (name, Kind::Empty));
    let others = [("localhost", Kind::Loopback), ("resolver.arpa", Kind::NoData), ("service.arpa", Kind::NoData)];
    let others = others.map(|(name, kind)| (name.to_owned(), kind));
    empty.chain(others).filter_map(|(name, kind)| Some((relative(&name.parse().ok()?).to_vec(), kind))).collect()
});

/// The two reverse names that do exist.
static LOOPBACK_POINTERS: LazyLock<Vec<Dname>> = LazyLock::new(|| {
    let v6 = "1.".to_owned() + &"0.".repeat(31) + "ip6.arpa";
    ["1.0.0.127.in-addr.arpa", &v6].iter().filter_map(|text| text.parse().ok()).collect()
});

/// Answers a query for a special-use name; `None` for all others.
pub(super) fn answer(name: &Dname, qtype: u16, site: &Site) -> Option<Answer> {
    let (apex, kind) = find(name)?;
    let mut answer = Answer { authoritative: true, ..Answer::empty(ResponseCode::NoError, Origin::Special) };
    answer.answer.extend(data(name, qtype, kind, &apex));
    answer.answer.extend(discovery(name, qtype, site.encrypted()));
    if answer.answer.is_empty() {
        if kind == Kind::Empty && *name != apex && !LOOPBACK_POINTERS.iter().any(|pointer| pointer.is_within(name)) {
            answer.rcode = ResponseCode::NXDomain;
        }
        answer.authority.push(soa(apex, TTL_S));
    }
    Some(answer)
}

/// The zone of a special-use name; `None` for all other names.
pub(crate) fn zone_of(name: &Dname) -> Option<Dname> {
    find(name).map(|(apex, _)| apex)
}

/// Whether a name is one that no configuration may send elsewhere: those that mean this machine, this resolver, or
/// nothing (RFC 6761 §6.3, §6.4, RFC 9462 §6.4, RFC 9665).
pub(crate) fn must_stay(name: &Dname) -> bool {
    find(name).is_some_and(|(apex, kind)| kind != Kind::Empty || apex.as_wire() == b"\x07invalid\0")
}

fn find(name: &Dname) -> Option<(Dname, Kind)> {
    let (zone, kind) = ancestors(relative(name)).find_map(|zone| Some((zone, *ZONES.get(zone)?)))?;
    Some((Dname::from_wire(&[zone, b"\0"].concat()).ok()?, kind))
}

fn data(name: &Dname, qtype: u16, kind: Kind, apex: &Dname) -> Option<RrSet> {
    let set = |rtype, data: &[u8]| Some(RrSet::one(name.clone(), rtype, TTL_S, data.to_vec()));
    match (kind, qtype) {
        (Kind::Loopback, rtype::A) => set(rtype::A, &[127, 0, 0, 1]),
        (Kind::Loopback, rtype::AAAA) => set(rtype::AAAA, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        (Kind::Empty, rtype::PTR) if LOOPBACK_POINTERS.contains(name) => set(rtype::PTR, b"\x09localhost\0"),
        (_, rtype::SOA | rtype::ANY) if name == apex => Some(soa(apex.clone(), TTL_S)),
        (_, rtype::NS) if name == apex => set(rtype::NS, b"\x09localhost\0"),
        _ => None,
    }
}

/// The encrypted transports of this server (RFC 9462 §4).
fn discovery(name: &Dname, qtype: u16, transports: &[Bytes]) -> Option<RrSet> {
    let is_asked = relative(name) == DISCOVERY_NAME && qtype == rtype::SVCB && !transports.is_empty();
    let set = RrSet { ttl_s: DISCOVERY_TTL_S, ..RrSet::one(name.clone(), rtype::SVCB, 0, Bytes::new()) };
    is_asked.then(|| RrSet { data: transports.to_vec(), ..set })
}

/// The SOA that RFC 6303 §3 suggests.
pub(super) fn soa(apex: Dname, negative_ttl_s: u32) -> RrSet {
    let mut data = b"\x09localhost\0\x06nobody\x07invalid\0".to_vec();
    for field in [1, 3_600, 1_200, 604_800, negative_ttl_s] {
        data.extend_from_slice(&u32::to_be_bytes(field));
    }
    RrSet::one(apex, rtype::SOA, negative_ttl_s, data)
}

fn relative(name: &Dname) -> &[u8] {
    let wire = name.as_wire();
    &wire[..wire.len() - 1]
}

fn reverse_zones() -> impl Iterator<Item = String> {
    let v4 = ["0", "10", "127", "254.169", "168.192", "2.0.192", "100.51.198", "113.0.203", "255.255.255.255"];
    let v4 = v4.map(str::to_owned).into_iter();
    let v4 = v4.chain((16..32).map(|b| format!("{b}.172"))).chain((64..128).map(|b| format!("{b}.100")));
    let v6 = ["d.f", "8.e.f", "9.e.f", "a.e.f", "b.e.f", "8.b.d.0.1.0.0.2"].map(str::to_owned).into_iter();
    let v6 = v6.chain(["0", "1"].map(|last| last.to_owned() + &".0".repeat(31)));
    v4.map(|zone| zone + ".in-addr.arpa").chain(v6.map(|zone| zone + ".ip6.arpa"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, qtype: u16, expected: Option<(ResponseCode, usize)>) {
        let answer = answer(&name.parse().expect("valid"), qtype, &Site::new(Vec::new(), None));
        assert_eq!(answer.map(|a| (a.rcode, a.answer.len())), expected, "{name} {qtype}");
    }

    #[test]
    fn special_names_are_answered_here() {
        use ResponseCode::{NXDomain, NoError};
        check("localhost", rtype::A, Some((NoError, 1)));
        check("a.b.localhost", rtype::AAAA, Some((NoError, 1)));
        check("localhost", rtype::MX, Some((NoError, 0)));
        check("x.invalid", rtype::A, Some((NXDomain, 0)));
        check("invalid", rtype::SOA, Some((NoError, 1)));
        check("invalid", rtype::A, Some((NoError, 0)));
        check("x.onion", rtype::A, Some((NXDomain, 0)));
        check("gns.alt", rtype::A, Some((NXDomain, 0)));
        check("printer.local", rtype::A, Some((NXDomain, 0)));
        check("nas.internal", rtype::A, Some((NXDomain, 0)));
        check("router.home.arpa", rtype::A, Some((NXDomain, 0)));
        check("_dns.resolver.arpa", rtype::SVCB, Some((NoError, 0)));
        check("1.1.168.192.in-addr.arpa", rtype::PTR, Some((NXDomain, 0)));
        check("1.0.31.172.in-addr.arpa", rtype::PTR, Some((NXDomain, 0)));
        check("1.0.32.172.in-addr.arpa", rtype::PTR, None);
        check("1.0.64.100.in-addr.arpa", rtype::PTR, Some((NXDomain, 0)));
        check("1.0.0.127.in-addr.arpa", rtype::PTR, Some((NoError, 1)));
        check("1.0.0.127.in-addr.arpa", rtype::A, Some((NoError, 0)));
        check("0.127.in-addr.arpa", rtype::A, Some((NoError, 0)));
        check("2.0.0.127.in-addr.arpa", rtype::PTR, Some((NXDomain, 0)));
        check(&("1.".to_owned() + &"0.".repeat(31) + "ip6.arpa"), rtype::PTR, Some((NoError, 1)));
        check("1.d.f.ip6.arpa", rtype::PTR, Some((NXDomain, 0)));
        check("example.com", rtype::A, None);
        check("xlocalhost", rtype::A, None);
        check("ipv4only.arpa", rtype::A, None);
        check("example", rtype::A, None);
        check(".", rtype::NS, None);
    }

    #[test]
    fn encrypted_transports_are_told_at_one_name_only() {
        let site =
            Site::new(Vec::new(), None).with_encrypted(vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")]);
        let ask = |name: &str, qtype| answer(&name.parse().expect("valid"), qtype, &site).expect("special");
        let told = ask("_DNS.resolver.arpa", rtype::SVCB);
        assert_eq!((told.answer.len(), told.answer[0].data.len(), told.answer[0].ttl_s), (1, 2, 300));
        assert!(told.authority.is_empty());
        for (name, qtype) in [
            ("_dns.resolver.arpa", rtype::A),
            ("_dns.resolver.arpa", rtype::HTTPS),
            ("resolver.arpa", rtype::SVCB),
            ("a._dns.resolver.arpa", rtype::SVCB),
            ("_dns.service.arpa", rtype::SVCB),
        ] {
            let none = ask(name, qtype);
            assert_eq!((none.rcode, none.answer.len()), (ResponseCode::NoError, 0), "{name}");
            assert_eq!(none.authority.len(), 1);
        }
    }
}

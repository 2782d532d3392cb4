//! Worlds of names written as text, and answers written as text, for tests.

#![allow(dead_code, missing_docs)] // Each test file uses its own part.

pub mod server;

use std::{net::IpAddr, str::FromStr};

use ledger::{
    name::Name,
    record::{Record, Records},
};
use resolver::{
    Entry, Life, Readiness, SharedTable,
    dns::{name::Dname, rtype},
    zones::{
        answer::{Answer, RrSet},
        query::{Query, Recursion, Transport},
        site::{Site, Zone},
    },
};

/// Height of the snapshot in all tests: names registered at 100 are settled.
pub const HEIGHT: u32 = 10_000;
/// Time of the snapshot's block.
pub const TIME: u64 = 1_800_000_000;

/// A life that is active and settled at [`HEIGHT`].
pub const ACTIVE: Life =
    Life { active_from: 100, expires_at: 200_000, grace_until: 221_600, revoked_until: None, last_change: 100 };

const TYPES: [(&str, u16); 24] = [
    ("A", rtype::A),
    ("NS", rtype::NS),
    ("CNAME", rtype::CNAME),
    ("SOA", rtype::SOA),
    ("PTR", rtype::PTR),
    ("MX", rtype::MX),
    ("TXT", rtype::TXT),
    ("AAAA", rtype::AAAA),
    ("SRV", rtype::SRV),
    ("DNAME", rtype::DNAME),
    ("OPT", rtype::OPT),
    ("DS", rtype::DS),
    ("SSHFP", rtype::SSHFP),
    ("TLSA", rtype::TLSA),
    ("RRSIG", rtype::RRSIG),
    ("NSEC", rtype::NSEC),
    ("DNSKEY", rtype::DNSKEY),
    ("SVCB", rtype::SVCB),
    ("HTTPS", rtype::HTTPS),
    ("NXNAME", rtype::NXNAME),
    ("AXFR", rtype::AXFR),
    ("IXFR", rtype::IXFR),
    ("ANY", rtype::ANY),
    ("CAA", rtype::CAA),
];

/// A ready table of `(name, life, records)`. A record is `owner TYPE data`, one per line; the owner `@` is the name,
/// and data after `#` is hexadecimal.
pub fn table(names: &[(&str, Life, &str)]) -> SharedTable {
    let table = SharedTable::new(120);
    let changes = names.iter().map(|(name, life, records)| {
        let records = records.lines().map(str::trim).filter(|line| !line.is_empty()).map(record).collect();
        let entry = Entry::new(*life, &Records::new(records).expect("canonical records"));
        (Name::new(name).expect("a name"), Some(entry))
    });
    table.publish(HEIGHT, TIME, changes);
    table.set_readiness(Readiness::Ready);
    table
}

pub fn site(suffixes: &[&str]) -> Site {
    let addresses: Vec<IpAddr> = vec!["127.0.0.1".parse().expect("v4"), "::1".parse().expect("v6")];
    let zones = suffixes.iter().map(|suffix| Zone::new(dname(suffix), addresses.clone()).expect("short"));
    Site::new(zones.collect(), Some("testbed".to_owned()))
}

/// A UDP query without EDNS, written `name TYPE`.
pub fn query(text: &str) -> Query {
    let (name, qtype) = text.split_once(' ').expect("name and type");
    Query {
        name: dname(name),
        qtype: type_number(qtype),
        qclass: rtype::CLASS_IN,
        transport: Transport::Datagram,
        recursion: Recursion::Desired,
        edns: None,
    }
}

pub fn dname(text: &str) -> Dname {
    text.parse().expect("a domain name")
}

pub fn type_number(text: &str) -> u16 {
    let named = TYPES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    named.or_else(|| text.strip_prefix("TYPE")?.parse().ok()).expect("a type")
}

/// `RCODE aa | answers | @authority | +glue | ~additional | >elsewhere | !extended error`, without TTLs.
pub fn show(answer: &Answer) -> String {
    let mut parts = vec![format!("{:?}{}", answer.rcode, if answer.authoritative { " aa" } else { "" })];
    let sections = [("", &answer.answer), ("@", &answer.authority), ("+", &answer.glue), ("~", &answer.additional)];
    for (mark, sets) in sections {
        parts.extend(sets.iter().map(|set| format!("{mark}{}", show_set(set))));
    }
    parts.extend(answer.elsewhere.iter().map(|name| format!(">{name}")));
    parts.extend(answer.ede.iter().map(|ede| format!("!{} {}", ede.code as u16, ede.text)));
    parts.join(" | ")
}

fn show_set(set: &RrSet) -> String {
    let rtype = TYPES.iter().find(|(_, number)| *number == set.rtype);
    let rtype = rtype.map_or(format!("TYPE{}", set.rtype), |(name, _)| (*name).to_owned());
    let data: Vec<String> = set.data.iter().map(|data| show_data(set.rtype, data)).collect();
    format!("{} {rtype} {}", set.owner, data.join(" ")).trim_end().to_owned()
}

fn show_data(rtype: u16, data: &[u8]) -> String {
    let name = |bytes: &[u8]| Dname::from_wire(bytes).expect("a name").to_string();
    match rtype {
        rtype::A => IpAddr::from(<[u8; 4]>::try_from(data).expect("4 bytes")).to_string(),
        rtype::AAAA => IpAddr::from(<[u8; 16]>::try_from(data).expect("16 bytes")).to_string(),
        rtype::NS | rtype::CNAME | rtype::DNAME | rtype::PTR => name(data),
        rtype::TXT => String::from_utf8_lossy(&data[1..]).into_owned(),
        rtype::SOA => String::new(),
        rtype::MX => name(&data[2..]),
        rtype::SRV => name(&data[6..]),
        _ => data.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn record(line: &str) -> Record {
    let mut fields = line.splitn(3, ' ');
    let mut field = || fields.next().unwrap_or_default();
    let (owner, rtype, data) = (field(), field(), field());
    let sub = if owner == "@" { Vec::new() } else { relative(owner) };
    Record { sub, rtype: type_number(rtype), ttl: 3_600, rdata: data_bytes(type_number(rtype), data) }
}

fn relative(text: &str) -> Vec<u8> {
    let wire = dname(text).as_wire().to_vec();
    wire[..wire.len() - 1].to_vec()
}

fn data_bytes(rtype: u16, text: &str) -> Vec<u8> {
    let name = |text: &str| dname(text).as_wire().to_vec();
    if let Some(raw) = text.strip_prefix('#') {
        return hex(raw);
    }
    match rtype {
        rtype::A | rtype::AAAA => match IpAddr::from_str(text).expect("an address") {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        },
        rtype::NS | rtype::CNAME | rtype::DNAME => name(text),
        rtype::TXT => [&[text.len() as u8], text.as_bytes()].concat(),
        rtype::MX => [vec![0, 10], name(text)].concat(),
        rtype::SRV => [vec![0, 0, 0, 0, 0x13, 0xc4], name(text)].concat(),
        _ => hex(text),
    }
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ascii"), 16).expect("hex"))
        .collect()
}

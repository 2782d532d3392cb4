//! Invariants of answering that hold for any records and any query.

mod support;

use hickory_proto::op::ResponseCode;
use ledger::{
    name::Name,
    record::{Record, Records},
};
use proptest::{collection::vec, prelude::*, sample::select};
use resolver::{
    Entry, Life, NameSource, Readiness, SharedTable,
    answer::{Answer, MAX_CHAIN, Origin, RrSet, Verdict, answer},
    dname::Dname,
    query::{ClientEdns, Query, Recursion, Transport},
    rtype,
};
use support::{ACTIVE, HEIGHT, site};

const NAMES: [&str; 4] = ["a", "b", "c", "nic"];
const LABELS: [&str; 6] = ["a", "b", "ns", "*", "x", "_tcp"];
const TYPES: [u16; 14] = [
    rtype::A,
    rtype::A,
    rtype::AAAA,
    rtype::NS,
    rtype::CNAME,
    rtype::CNAME,
    rtype::DNAME,
    rtype::MX,
    rtype::TXT,
    rtype::DS,
    rtype::SRV,
    rtype::SVCB,
    rtype::CAA,
    65_280,
];

/// A relative owner; `*` only in front.
fn sub() -> impl Strategy<Value = Vec<u8>> {
    vec(select(&LABELS[..]), 0..4).prop_map(|labels| {
        let labels = labels.into_iter().enumerate().map(|(i, label)| if i > 0 && label == "*" { "s" } else { label });
        labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect()
    })
}

fn full_name() -> impl Strategy<Value = Dname> {
    let zone = select(vec!["p2p", "p2p", "p2p", "p2p.alt", "com", "onion", "localhost"]);
    (sub(), select(&NAMES[..]), zone).prop_map(|(sub, name, zone)| {
        let base: Dname = format!("{name}.{zone}").parse().expect("a name");
        base.with_prefix(&sub).expect("short")
    })
}

/// Data of the right shape, or anything.
fn data(rtype: u16) -> BoxedStrategy<Vec<u8>> {
    let name = full_name().prop_map(|name| name.as_wire().to_vec());
    match rtype {
        rtype::A => vec(any::<u8>(), 4).boxed(),
        rtype::AAAA => vec(any::<u8>(), 16).boxed(),
        rtype::NS | rtype::CNAME | rtype::DNAME => prop_oneof![8 => name, 1 => vec(any::<u8>(), 0..20)].boxed(),
        rtype::MX => name.prop_map(|name| [vec![0, 1], name].concat()).boxed(),
        _ => vec(any::<u8>(), 0..40).boxed(),
    }
}

fn record() -> impl Strategy<Value = Record> {
    let parts = select(&TYPES[..]).prop_flat_map(|rtype| (Just(rtype), sub(), 60u32..604_800, data(rtype)));
    parts.prop_map(|(rtype, sub, ttl, rdata)| Record { sub, rtype, ttl, rdata })
}

fn life() -> impl Strategy<Value = Life> {
    let near = HEIGHT - 2..HEIGHT + 4;
    let odd = (near.clone(), near.clone(), near.clone(), proptest::option::of(near.clone()), near).prop_map(
        |(active_from, expires_at, grace_until, revoked_until, last_change)| Life {
            active_from,
            expires_at,
            grace_until,
            revoked_until,
            last_change,
        },
    );
    prop_oneof![4 => Just(ACTIVE), 1 => odd]
}

/// What the table holds.
type World = Vec<(Name, Entry)>;

fn world() -> impl Strategy<Value = World> {
    vec((select(&NAMES[..3]), life(), vec(record(), 0..10)), 1..4).prop_map(|names| {
        let entries = names.into_iter().filter_map(|(name, life, mut records)| {
            records.sort_by(|a, b| (&a.sub, a.rtype, &a.rdata).cmp(&(&b.sub, b.rtype, &b.rdata)));
            records.dedup_by(|a, b| (&a.sub, a.rtype, &a.rdata) == (&b.sub, b.rtype, &b.rdata));
            Some((Name::new(name).expect("a name"), Entry::new(life, &Records::new(records).ok()?)))
        });
        entries.collect()
    })
}

fn question() -> impl Strategy<Value = Query> {
    let qtype = prop_oneof![8 => select(&TYPES[..]), 1 => select(vec![rtype::SOA, rtype::ANY]), 1 => any::<u16>()];
    let transport = select(vec![Transport::Datagram, Transport::Stream]);
    (full_name(), qtype, transport, any::<bool>()).prop_map(|(name, qtype, transport, dnssec_ok)| Query {
        name,
        qtype,
        qclass: rtype::CLASS_IN,
        transport,
        recursion: Recursion::Desired,
        edns: Some(ClientEdns { version: 0, payload: 1232, dnssec_ok, wants_nsid: false }),
    })
}

fn ask(world: &World, query: &Query) -> Option<Answer> {
    let table = SharedTable::new(120);
    table.publish(HEIGHT, 0, world.iter().map(|(name, entry)| (name.clone(), Some(entry.clone()))));
    table.set_readiness(Readiness::Ready);
    match answer(query, &*table.view(), &site(&["p2p", "p2p.alt"])) {
        Verdict::Local(answer) => Some(answer),
        Verdict::Elsewhere => None,
    }
}

fn all_sets(answer: &Answer) -> impl Iterator<Item = &RrSet> {
    answer.answer.iter().chain(&answer.authority).chain(&answer.glue).chain(&answer.additional)
}

fn has(sets: &[RrSet], rtype: u16) -> bool {
    sets.iter().any(|set| set.rtype == rtype)
}

fn is_alias(set: &RrSet) -> bool {
    matches!(set.rtype, rtype::CNAME | rtype::DNAME)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4_000,
        max_global_rejects: 100_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn answers_are_sound(world in world(), query in question()) {
        let Some(answer) = ask(&world, &query) else { return Ok(()) };
        for set in all_sets(&answer) {
            prop_assert!(!set.data.is_empty() && (1..=604_800).contains(&set.ttl_s), "{set:?}");
        }
        // At most one DNAME and one CNAME for each alias, and then the data.
        prop_assert!(query.qtype == rtype::ANY || answer.answer.len() <= 2 * (MAX_CHAIN + 1) + 1);
        // A chain holds together: each alias but the first is what the one before pointed to.
        if let Some(first) = answer.answer.first() {
            prop_assert!(query.name.is_within(&first.owner), "{first:?}");
        }
        match answer.rcode {
            ResponseCode::NoError if answer.answer.is_empty() && answer.authoritative => {
                prop_assert!(has(&answer.authority, rtype::SOA), "NODATA without SOA");
            }
            ResponseCode::NoError if answer.answer.is_empty() => {
                prop_assert!(has(&answer.authority, rtype::NS), "a referral without NS");
            }
            ResponseCode::NXDomain => {
                prop_assert!(has(&answer.authority, rtype::SOA), "NXDOMAIN without SOA");
                prop_assert!(answer.answer.iter().all(is_alias), "NXDOMAIN with data");
            }
            _ => {}
        }
        if !answer.glue.is_empty() {
            prop_assert!(has(&answer.authority, rtype::NS), "glue without NS");
        }
    }

    /// RFC 8020: if a name does not exist, nothing below it does.
    #[test]
    fn nothing_is_below_what_does_not_exist(world in world(), query in question()) {
        let Some(answer) = ask(&world, &query) else { return Ok(()) };
        prop_assume!(answer.rcode == ResponseCode::NXDomain && answer.answer.is_empty());
        let below = Query { name: query.name.with_prefix(b"\x01x").expect("short"), ..query };
        prop_assert_eq!(ask(&world, &below).map(|answer| answer.rcode), Some(ResponseCode::NXDomain));
    }

    /// Whether a name exists does not depend on the type asked for.
    #[test]
    fn existence_does_not_depend_on_the_type(world in world(), query in question(), other in select(&TYPES[..])) {
        prop_assume!(query.qtype != rtype::DS && other != rtype::DS);
        let Some(answer) = ask(&world, &query) else { return Ok(()) };
        // A type that is refused is refused for any name, also for those that are not ours.
        prop_assume!(answer.origin == Origin::Ledger);
        let again = ask(&world, &Query { qtype: other, ..query }).expect("ours as well");
        prop_assume!(again.origin == Origin::Ledger);
        prop_assume!(!answer.answer.iter().chain(&again.answer).any(is_alias));
        prop_assert_eq!(answer.rcode, again.rcode);
    }

    /// Names arrive as any bytes, and as deep as 127 labels.
    #[test]
    fn any_name_is_answered(world in world(), labels in vec(vec(any::<u8>(), 1..4), 0..60), qtype in any::<u16>()) {
        let zone: &[&[u8]] = &[b"a", b"p2p"];
        let labels = labels.iter().map(Vec::as_slice).chain(zone.iter().copied());
        let name = Dname::from_labels(labels).expect("short");
        let query = Query { name, qtype, ..support::query("a.p2p A") };
        prop_assert!(ask(&world, &query).is_some());
    }

    /// What is read from records survives any bytes.
    #[test]
    fn any_data_is_judged(rtype in any::<u16>(), data in vec(any::<u8>(), 0..600)) {
        for rtype in [rtype].into_iter().chain(TYPES) {
            resolver::rdata::is_well_formed(rtype, &data);
        }
        if let Ok(name) = Dname::from_wire(&data) {
            prop_assert_eq!(name.as_wire().to_ascii_lowercase(), data.to_ascii_lowercase());
        }
    }
}

//! Invariants of answering that hold for any records and any query.

mod support;

use std::sync::LazyLock;

use hickory_proto::{
    dnssec::{
        Verifier as _,
        rdata::{DNSKEY, DNSSECRData, NSEC, RRSIG},
    },
    op::ResponseCode,
    rr::{DNSClass, Name as HickoryName, RData, Record as HickoryRecord, RecordType, rdata::NULL},
    serialize::binary::BinDecodable as _,
};
use ledger::{
    name::Name,
    record::{Record, Records},
};
use proptest::{collection::vec, prelude::*, sample::select};
use resolver::{
    Entry, Life, NameSource, Readiness, SharedTable,
    dns::{name::Dname, rtype},
    zones::{
        answer::{Answer, MAX_CHAIN, Origin, RrSet, Verdict, answer},
        query::{ClientEdns, Query, Recursion, Transport},
        sign::{Signer, ZoneKey},
    },
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
    let qtype = prop_oneof![8 => select(&TYPES[..]), 1 => select(vec![rtype::SOA, rtype::ANY, rtype::NSEC, rtype::RRSIG]), 1 => any::<u16>()];
    let transport = select(vec![Transport::Datagram, Transport::Stream]);
    (full_name(), qtype, transport, any::<bool>()).prop_map(|(name, qtype, transport, dnssec_ok)| Query {
        name,
        qtype,
        qclass: rtype::CLASS_IN,
        transport,
        recursion: Recursion::Desired,
        edns: Some(ClientEdns { version: 0, payload: 1232, dnssec_ok, compact_ok: false, wants_nsid: false }),
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
            resolver::dns::rdata::is_well_formed(rtype, &data);
        }
        if let Ok(name) = Dname::from_wire(&data) {
            prop_assert_eq!(name.as_wire().to_ascii_lowercase(), data.to_ascii_lowercase());
        }
    }
}

static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::new(ZoneKey::generate().expect("random")));

/// What a client gets that asks for signatures.
fn ask_signed(world: &World, query: &Query) -> Option<Answer> {
    let table = SharedTable::new(120);
    table.publish(HEIGHT, 0, world.iter().map(|(name, entry)| (name.clone(), Some(entry.clone()))));
    table.set_readiness(Readiness::Ready);
    let edns = ClientEdns { version: 0, payload: 1232, dnssec_ok: true, compact_ok: false, wants_nsid: false };
    let query = Query { edns: Some(edns), ..query.clone() };
    let site = site(&["p2p", "p2p.alt"]).signed_with(SIGNER.key().dnskey());
    match answer(&query, &*table.view(), &site) {
        Verdict::Local(mut answer) if answer.origin == Origin::Ledger => {
            SIGNER.sign_answer(&mut answer, &query, &site, 1_800_000_000);
            Some(answer)
        }
        _ => None,
    }
}

/// The record as another implementation reads it: its types know which names are compared without case.
fn foreign(set: &RrSet, data: &[u8]) -> HickoryRecord {
    let head = [set.rtype.to_be_bytes(), set.class.to_be_bytes()].concat();
    let len = (data.len() as u16).to_be_bytes();
    let wire = [set.owner.as_wire(), &head, &set.ttl_s.to_be_bytes(), &len, data].concat();
    let named =
        [rtype::NS, rtype::CNAME, rtype::DNAME, rtype::MX, rtype::SOA, rtype::RRSIG, rtype::NSEC, rtype::DNSKEY];
    match named.contains(&set.rtype) {
        true => HickoryRecord::from_bytes(&wire).expect("it reads"),
        false => {
            let data = RData::Unknown { code: RecordType::from(set.rtype), rdata: NULL::with(data.to_vec()) };
            HickoryRecord::from_rdata(foreign_name(&set.owner), set.ttl_s, data)
        }
    }
}

fn foreign_name(name: &Dname) -> HickoryName {
    HickoryName::from_bytes(name.as_wire()).expect("it reads")
}

fn rrsig(set: &RrSet) -> RRSIG {
    match foreign(set, &set.data[0]).data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => rrsig,
        other => panic!("no RRSIG: {other:?}"),
    }
}

fn nsec(set: &RrSet) -> NSEC {
    match foreign(set, &set.data[0]).data {
        RData::DNSSEC(DNSSECRData::NSEC(nsec)) => nsec,
        other => panic!("no NSEC: {other:?}"),
    }
}

fn dnskey() -> DNSKEY {
    let set = RrSet::one("p2p".parse().expect("a name"), rtype::DNSKEY, 1, SIGNER.key().dnskey().clone());
    match foreign(&set, &set.data[0]).data {
        RData::DNSSEC(DNSSECRData::DNSKEY(key)) => key,
        other => panic!("no DNSKEY: {other:?}"),
    }
}

fn verifies(set: &RrSet, signature: &RrSet) -> bool {
    let rrsig = rrsig(signature);
    let records: Vec<HickoryRecord> = set.data.iter().map(|data| foreign(set, data)).collect();
    let name = foreign_name(&set.owner);
    let input = rrsig.input();
    signature.owner == set.owner
        && signature.ttl_s == set.ttl_s
        && u16::from(input.type_covered) == set.rtype
        && input.signer_name.zone_of(&name)
        && dnskey().verify_rrsig(&name, DNSClass::IN, &rrsig, records.iter()).is_ok()
}

/// The sets of a section that a validator must find signed, and those it must not.
fn is_childs_or_made(set: &RrSet, section: &[RrSet], in_authority: bool) -> bool {
    let substitutes =
        |dname: &RrSet| dname.rtype == rtype::DNAME && dname.owner != set.owner && set.owner.is_within(&dname.owner);
    (in_authority && set.rtype == rtype::NS) || (set.rtype == rtype::CNAME && section.iter().any(substitutes))
}

fn check_signatures(section: &[RrSet], in_authority: bool) -> Result<(), TestCaseError> {
    for (index, set) in section.iter().enumerate().filter(|(_, set)| set.rtype != rtype::RRSIG) {
        let ours = ["p2p", "p2p.alt"].iter().any(|zone| set.owner.is_within(&zone.parse().expect("a name")));
        // A question for signatures has some in the answer whose records are not there.
        let belongs = |next: &&RrSet| next.owner == set.owner && next.data[0].starts_with(&set.rtype.to_be_bytes());
        let signature = section.get(index + 1).filter(|next| next.rtype == rtype::RRSIG).filter(belongs);
        match ours && !is_childs_or_made(set, section, in_authority) {
            true => prop_assert!(signature.is_some_and(|s| verifies(set, s)), "{set:?} {signature:?}"),
            false => prop_assert!(signature.is_none(), "{set:?}"),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Another implementation accepts every signature, and nothing is left unsigned that should be.
    #[test]
    fn every_answer_verifies(world in world(), query in question()) {
        let Some(answer) = ask_signed(&world, &query) else { return Ok(()) };
        check_signatures(&answer.answer, false)?;
        check_signatures(&answer.authority, true)?;
        for set in answer.glue.iter().chain(&answer.additional) {
            prop_assert!(set.rtype != rtype::RRSIG, "glue is not ours to sign: {set:?}");
        }
    }

    /// The bits of an NSEC record are exactly the types that questions are answered with.
    #[test]
    fn denials_tell_the_truth(world in world(), query in question()) {
        let Some(answer) = ask_signed(&world, &query) else { return Ok(()) };
        let Some(set) = answer.authority.iter().find(|set| set.rtype == rtype::NSEC) else { return Ok(()) };
        prop_assume!(answer.answer.is_empty());
        let nsec = nsec(set);
        let has = |rtype: u16| nsec.type_bit_maps().any(|there| u16::from(there) == rtype);
        prop_assert!(has(rtype::NSEC) && has(rtype::RRSIG));
        prop_assert!(foreign_name(&set.owner) < *nsec.next_domain_name(), "{nsec}");
        let is_absent = has(rtype::NXNAME);
        let plain = ask(&world, &query).expect("ours");
        prop_assert_eq!(is_absent, plain.rcode == ResponseCode::NXDomain);
        prop_assert_eq!(answer.rcode, ResponseCode::NoError);
        // Below and at a cut only DS is ours; its owner may stand above the name that was asked for.
        let is_cut = has(rtype::NS) && !has(rtype::SOA);
        let others: &[u16] = if is_cut { &[rtype::DS] } else { &TYPES };
        prop_assert!(is_cut || !has(query.qtype));
        for &rtype in others {
            let asked = Query { name: set.owner.clone(), qtype: rtype, ..query.clone() };
            let found = ask_signed(&world, &asked).expect("ours as well");
            let there = found.answer.iter().any(|set| set.rtype == rtype);
            prop_assert_eq!(has(rtype), there, "type {} at {}", rtype, set.owner);
        }
    }
}

//! Any records that consensus accepts and any question give an answer without a panic.

#![no_main]

use ledger::{name::Name, record::Records};
use libfuzzer_sys::fuzz_target;
use resolver::{zones::{answer::answer, query::{Query, Recursion, Transport}, site::{Site, Zone}}, dns::{name::Dname, rtype}, Entry, Life, NameSource, Readiness, SharedTable};

fuzz_target!(|input: (&[u8], &[u8], u16)| {
    let (records, question, qtype) = input;
    let Ok(records) = Records::from_bytes(records) else { return };
    let Ok(name) = Dname::from_wire(question) else { return };
    let life = Life { active_from: 0, expires_at: 9, grace_until: 9, revoked_until: None, last_change: 0 };
    let table = SharedTable::new(120);
    let alice = Name::new("alice").expect("a name");
    table.publish(1, 1, [(alice, Some(Entry::new(life, &records)))]);
    table.set_readiness(Readiness::Ready);
    let zone = Zone::new("p2p".parse().expect("a name"), Vec::new()).expect("short");
    let site = Site::new(vec![zone], None);
    let (transport, recursion) = (Transport::Stream, Recursion::Desired);
    let query = Query { name, qtype, qclass: rtype::CLASS_IN, transport, recursion, edns: None };
    answer(&query, &*table.view(), &site);
});

//! HOSTS files of any bytes are read without a panic, and what was read is looked up without one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resolver::{zones::{answer::answer_with_hosts, hosts::Reading, query::{Query, Recursion, Transport}, site::{Site, Zone}}, dns::{name::Dname, rtype}, NameSource, SharedTable};

fuzz_target!(|input: (&[u8], &[u8], u16)| {
    let (text, question, qtype) = input;
    let zone = Zone::new("p2p".parse().expect("a name"), Vec::new()).expect("short");
    let site = Site::new(vec![zone], None);
    let mut reading = Reading::default();
    let skipped = reading.add(text, &site);
    assert!(skipped.first.len() <= skipped.count);
    let hosts = reading.finish();
    let Ok(name) = Dname::from_wire(question) else { return };
    let (transport, recursion) = (Transport::Stream, Recursion::Desired);
    let query = Query { name, qtype, qclass: rtype::CLASS_IN, transport, recursion, edns: None };
    answer_with_hosts(&query, &*SharedTable::new(120).view(), &site, &hosts);
});

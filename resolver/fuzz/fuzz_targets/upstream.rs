//! Whatever an upstream, or a server that a name is delegated to, sends as a response is read without a panic, and what is
//! believed of it is about the question and small.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use prometheus::Registry;
use resolver::{zones::answer::Answer, dns::{name::Dname, rdata, rtype}, out::forward::{Authority, Forwarder, Question}, DnsConfig, DnsMetrics};

/// A message has no more bytes, so whatever is written out of it has few.
const MAX_MESSAGE_BYTES: usize = 65_535;
const HEADER_BYTES: usize = 12;

static FORWARDER: LazyLock<Forwarder> = LazyLock::new(|| {
    let metrics = Arc::new(DnsMetrics::new(&Registry::new()).expect("a fresh registry"));
    Forwarder::new(&DnsConfig::default(), metrics).expect("valid")
});

/// The question that the message repeats, or one of ours.
fn question(message: &[u8]) -> Question {
    let asked = message.get(HEADER_BYTES..).and_then(|rest| Dname::split_wire(rest).ok());
    let (name, rest) = asked.unwrap_or_else(|| ("www.example.org".parse().expect("a name"), &[]));
    let qtype = rest.first_chunk().map_or(rtype::A, |bytes| u16::from_be_bytes(*bytes));
    Question { name, qtype, dnssec_ok: true, checking_disabled: false, authority: None }
}

/// Nothing stands in the answer but the name asked for, and what aliases lead to.
fn check(question: &Question, answer: &Answer) {
    let mut known = vec![question.name.clone()];
    for set in &answer.answer {
        // A DNAME stands above the name that it renames.
        let is_above = set.rtype == rtype::DNAME || set.rtype == rtype::RRSIG;
        let is_known = known.iter().any(|name| *name == set.owner || (is_above && name.is_within(&set.owner)));
        assert!(is_known, "{question:?} {answer:?}");
        if set.rtype == rtype::CNAME {
            known.extend(set.data.iter().filter_map(|data| rdata::target(data).ok()));
        }
    }
    for set in answer.answer.iter().chain(&answer.authority) {
        assert!(i32::try_from(set.ttl_s).is_ok(), "RFC 2181 §8");
        assert!(set.data.iter().all(|data| data.len() <= MAX_MESSAGE_BYTES));
    }
    if let Some(end) = &answer.elsewhere {
        assert!(known.contains(end), "{question:?} {answer:?}");
    }
}

fuzz_target!(|message: &[u8]| {
    let question = question(message);
    if let Some(answer) = FORWARDER.judge(&question, message) {
        check(&question, &answer);
    }
    // The same from the server of the zone above.
    let labels: Vec<&[u8]> = question.name.labels().skip(1).collect();
    let cut = Dname::from_labels(labels).expect("shorter than a name");
    let delegated = Question { authority: Some(Arc::new(Authority::new(cut.clone(), Vec::new()))), ..question };
    if let Some(answer) = FORWARDER.judge(&delegated, message) {
        check(&delegated, &answer);
        assert!(answer.answer.iter().all(|set| set.owner.is_within(&cut)), "{delegated:?} {answer:?}");
    }
});

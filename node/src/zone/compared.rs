//! The same text read by `domain` (NLnet Labs) must give the same bytes, for every type that it knows.

use domain::{
    base::iana::Class,
    rdata::ZoneRecordData,
    zonefile::inplace::{Entry, Zonefile},
};
use ledger::name::Name;
use proptest::prelude::*;

use super::*;

const ORIGIN: &str = "alice.p2p.";

fn origin() -> Origin {
    Origin::new(Name::new("alice").expect("valid"), "p2p")
}

/// The data of the only record in `text`, as `domain` reads it; `None` if it does not.
fn theirs(text: &str) -> Option<Vec<u8>> {
    let mut zone = Zonefile::new();
    zone.extend_from_slice(text.as_bytes());
    zone.extend_from_slice(b"\n");
    zone.set_origin(ORIGIN.parse().expect("a name"));
    zone.set_default_class(Class::IN);
    match zone.next_entry().ok()?? {
        Entry::Record(record) => {
            let mut wire = Vec::new();
            let data: &ZoneRecordData<_, _> = record.data();
            domain::base::rdata::ComposeRecordData::compose_rdata(data, &mut wire).ok()?;
            Some(wire)
        }
        Entry::Include { .. } => None,
    }
}

fn ours(text: &str) -> Option<Vec<u8>> {
    Some(read(text, &origin()).ok()?.as_slice().first()?.rdata.clone())
}

#[test]
fn the_usual_records() {
    for text in [
        "@ 300 IN A 192.0.2.1",
        "@ 300 IN AAAA 2001:db8::1",
        "@ 300 IN NS ns1.example.org.",
        "@ 300 IN CNAME www",
        // Not `DNAME @`: they take the `@` for a label, against RFC 1035 §5.1.
        "sub 300 IN DNAME example.org.",
        "@ 300 IN MX 10 mail",
        "@ 300 IN TXT \"a \\\"b\\\" \\009\" second",
        "@ 300 IN SRV 0 5 443 host",
        "@ 300 IN DS 12345 13 2 abcdef",
        "@ 300 IN SSHFP 4 2 abcdef",
        "@ 300 IN TLSA 3 1 1 ( ab cd\n ef )",
        "@ 300 IN CAA 0 issue \"ca.example.org\"",
        "@ 300 IN NAPTR 100 10 \"u\" \"E2U+sip\" \"!^.*$!sip:i@example.org!\" .",
        "@ 300 IN OPENPGPKEY mQGN",
        "@ 300 IN HTTPS 1 . alpn=h2,h3 port=8443 ipv4hint=192.0.2.1",
        "@ 300 IN SVCB 0 www",
        "@ 300 IN TYPE65280 \\# 2 beef",
    ] {
        assert!(ours(text).is_some(), "{text}");
        assert_eq!(ours(text), theirs(text), "{text}");
    }
}

proptest! {
    /// What we print of any data, they read back to it.
    #[test]
    fn they_read_what_we_print(
        // Without LOC, URI and SMIMEA, which they do not know, and SVCB, whose keys with a 9 they refuse.
        rtype in prop::sample::select(vec![1u16, 2, 5, 15, 16, 28, 33, 35, 39, 43, 44, 52, 61, 257]),
        rdata in prop::collection::vec(any::<u8>(), 1..60),
    ) {
        let text = rdata_text(rtype, &rdata);
        if !text.starts_with("\\#") {
            let line = format!("@ 300 IN {} {text}", ledger::record::type_mnemonic(rtype));
            prop_assert_eq!(theirs(&line), Some(rdata), "{}", line);
        }
    }
}

//! Rules of the RFCs that need a world of their own: the RFCs' own examples, contradictions that owners can write, and
//! the edges of zones. One sentence a case; what most names need is in answer.rs, the wire in sockets.rs.

mod support;

use resolver::{
    Life, NameSource, SharedTable,
    dns::{name::Dname, rtype},
    zones::{
        answer::{Answer, MAX_CHAIN, Verdict, answer},
        query::{ClientEdns, Query, Transport},
        sign::{Signer, ZoneKey},
        site::{Authority, Site, Zone},
    },
};
use support::{ACTIVE, HEIGHT, dname, query, show, site, table};

const SUFFIXES: [&str; 2] = ["p2p", "p2p.alt"];
const NODATA: &str = "NoError aa | @p2p. SOA";
const NXDOMAIN: &str = "NXDomain aa | @p2p. SOA";

fn ask(table: &SharedTable, query: &Query, site: &Site) -> Option<Answer> {
    match answer(query, &*table.view(), site) {
        Verdict::Local(answer) => Some(answer),
        Verdict::Elsewhere => None,
    }
}

fn show_at(table: &SharedTable, query: &Query, site: &Site) -> String {
    ask(table, query, site).map_or("elsewhere".to_owned(), |answer| show(&answer))
}

/// One name `x.p2p` of these records; each case is `(query, expected)`.
fn check(records: &str, cases: &[(&str, &str)]) {
    check_names(&[("x", ACTIVE, records)], cases);
}

fn check_names(names: &[(&str, Life, &str)], cases: &[(&str, &str)]) {
    let (table, site) = (table(names), site(&SUFFIXES));
    for (text, expected) in cases {
        assert_eq!(show_at(&table, &query(text), &site), *expected, "{text}");
    }
}

fn with_do(query: Query) -> Query {
    let edns = ClientEdns { version: 0, payload: 1232, dnssec_ok: true, compact_ok: false, wants_nsid: false };
    Query { edns: Some(edns), ..query }
}

#[test]
fn rfc_4592_the_example_of_section_2_2_1() {
    // The example's zone as a ledger name, without `sub.*`, which the ledger does not take.
    check(
        "@ TXT apex
         * TXT wild
         * MX host1.x.p2p
         host1 A 192.0.2.1
         _ssh._tcp.host1 SRV s.x.p2p
         _ssh._tcp.host2 SRV s.x.p2p
         subdel NS ns.example.com
         subdel NS ns.example.net",
        &[
            // Synthesised: no name is closer than the wildcard's parent.
            ("host3.x.p2p MX", "NoError aa | host3.x.p2p. MX host1.x.p2p."),
            ("foo.bar.x.p2p TXT", "NoError aa | foo.bar.x.p2p. TXT wild"),
            // The wildcard matches, and has no such type.
            ("host3.x.p2p A", NODATA),
            // The name exists, so the wildcard does not stand for it.
            ("host1.x.p2p MX", NODATA),
            ("x.p2p MX", NODATA),
            // So do empty non-terminals, and nothing is below them.
            ("host2.x.p2p MX", NODATA),
            ("_tcp.host2.x.p2p MX", NODATA),
            ("_telnet._tcp.host1.x.p2p SRV", NXDOMAIN),
            ("_telnet._tcp.host2.x.p2p SRV", NXDOMAIN),
            // A cut is below the apex and above the wildcard's reach.
            ("host.subdel.x.p2p A", "NoError | @subdel.x.p2p. NS ns.example.com. ns.example.net."),
            // §2.2: asked for literally, the wildcard is a name like any other; it exists, so it is no match for what is
            // below it.
            ("*.x.p2p TXT", "NoError aa | *.x.p2p. TXT wild"),
            ("*.x.p2p A", NODATA),
            ("ghost.*.x.p2p MX", NXDOMAIN),
            // §2.1.1: an asterisk with more beside it is a label like any other.
            ("a*.x.p2p TXT", "NoError aa | a*.x.p2p. TXT wild"),
        ],
    );
}

#[test]
fn rfc_4592_wildcards_with_other_records() {
    check(
        "@ A 192.0.2.1
         * CNAME x.p2p
         *.loop CNAME q.loop.x.p2p
         *.out CNAME www.example.com
         *.ds DS #0001080203
         *.dn DNAME example.com
         *.deep.er TXT wild",
        &[
            // §3.3.1: an alias at a wildcard is followed like any other.
            ("a.x.p2p A", "NoError aa | a.x.p2p. CNAME x.p2p. | x.p2p. A 192.0.2.1"),
            ("a.x.p2p CNAME", "NoError aa | a.x.p2p. CNAME x.p2p."),
            ("a.x.p2p AAAA", "NoError aa | a.x.p2p. CNAME x.p2p. | @p2p. SOA"),
            ("a.out.x.p2p A", "NoError aa | a.out.x.p2p. CNAME www.example.com. | >www.example.com."),
            // A wildcard that points below itself ends at once.
            (
                "a.loop.x.p2p A",
                "NoError aa | a.loop.x.p2p. CNAME q.loop.x.p2p. | q.loop.x.p2p. CNAME q.loop.x.p2p. | \
                 !0 the aliases run in a circle",
            ),
            // §4.4, §4.6: DS and DNAME at a wildcard are not served: it is as if they had not been written.
            ("a.ds.x.p2p DS", "NoError aa | a.ds.x.p2p. CNAME x.p2p. | @p2p. SOA"),
            ("a.dn.x.p2p A", "NoError aa | a.dn.x.p2p. CNAME x.p2p. | x.p2p. A 192.0.2.1"),
            // An empty non-terminal above a wildcard keeps the outer wildcard away.
            ("a.er.x.p2p A", NXDOMAIN),
            ("er.x.p2p A", NODATA),
            ("deep.er.x.p2p A", NODATA),
            ("a.b.deep.er.x.p2p TXT", "NoError aa | a.b.deep.er.x.p2p. TXT wild"),
        ],
    );
}

#[test]
fn rfc_6672_substitution() {
    check(
        "@ A 192.0.2.1
         b DNAME target.example
         www.t A 192.0.2.2
         to DNAME t.x.p2p
         same DNAME same.x.p2p
         deeper DNAME c.deeper.x.p2p
         first DNAME second.x.p2p
         second DNAME t.x.p2p
         root DNAME .
         both DNAME t.x.p2p
         both CNAME other.x.p2p
         both A 192.0.2.3",
        &[
            // §2.2 table 1: only what is below the owner is redirected, by whole labels.
            ("b.x.p2p A", NODATA),
            (
                "a.b.x.p2p A",
                "NoError aa | b.x.p2p. DNAME target.example. | a.b.x.p2p. CNAME a.target.example. | >a.target.example.",
            ),
            (
                "a.c.b.x.p2p A",
                "NoError aa | b.x.p2p. DNAME target.example. | a.c.b.x.p2p. CNAME a.c.target.example. | \
                 >a.c.target.example.",
            ),
            ("ab.x.p2p A", NXDOMAIN),
            ("a.root.x.p2p A", "NoError aa | root.x.p2p. DNAME . | a.root.x.p2p. CNAME a. | >a."),
            // A chain of two, in one answer (§3.2).
            (
                "www.first.x.p2p A",
                "NoError aa | first.x.p2p. DNAME second.x.p2p. | www.first.x.p2p. CNAME www.second.x.p2p. | \
                 second.x.p2p. DNAME t.x.p2p. | www.second.x.p2p. CNAME www.t.x.p2p. | www.t.x.p2p. A 192.0.2.2",
            ),
            // RFC 6604: the code is that of the last name.
            ("no.to.x.p2p A", "NXDomain aa | to.x.p2p. DNAME t.x.p2p. | no.to.x.p2p. CNAME no.t.x.p2p. | @p2p. SOA"),
            // Onto itself.
            (
                "a.same.x.p2p A",
                "NoError aa | same.x.p2p. DNAME same.x.p2p. | a.same.x.p2p. CNAME a.same.x.p2p. | \
                 !0 the aliases run in a circle",
            ),
            // Asked for as such, neither the DNAME nor the CNAME made from it is followed.
            ("to.x.p2p DNAME", "NoError aa | to.x.p2p. DNAME t.x.p2p."),
            ("www.to.x.p2p CNAME", "NoError aa | to.x.p2p. DNAME t.x.p2p. | www.to.x.p2p. CNAME www.t.x.p2p."),
            (
                "www.to.x.p2p DNAME",
                "NoError aa | to.x.p2p. DNAME t.x.p2p. | www.to.x.p2p. CNAME www.t.x.p2p. | @p2p. SOA",
            ),
            // §2.4 forbids a CNAME beside a DNAME, and no secondary would hold both: the CNAME counts.
            ("both.x.p2p A", "NXDomain aa | both.x.p2p. CNAME other.x.p2p. | @p2p. SOA"),
            ("www.both.x.p2p A", NXDOMAIN),
        ],
    );
}

#[test]
fn rfc_6672_a_dname_that_grows_is_cut() {
    let table = table(&[("x", ACTIVE, "deeper DNAME c.deeper.x.p2p")]);
    let answer = ask(&table, &query("a.deeper.x.p2p A"), &site(&SUFFIXES)).expect("ours");
    assert_eq!(answer.answer.len(), 2 * (MAX_CHAIN + 1));
    assert_eq!(answer.ede.map(|ede| ede.text), Some("too many aliases".into()));
}

/// A target of 4 × 50 + 4 + 2 = 206 bytes, and prefixes that just fit in front of it and just do not.
#[test]
fn rfc_6672_a_substitution_of_255_bytes_is_a_name_and_one_of_256_is_not() {
    let target = ["m".repeat(49).as_str(), &"n".repeat(49), &"o".repeat(49), &"p".repeat(49), "zone"].join(".");
    let table = table(&[("x", ACTIVE, &format!("b DNAME {target}"))]);
    let room = 255 - dname(&target).as_wire().len();
    for (label_bytes, fits) in [(room - 1, true), (room, false)] {
        let asked = query(&format!("{}.b.x.p2p A", "a".repeat(label_bytes)));
        let answer = ask(&table, &asked, &site(&SUFFIXES)).expect("ours");
        let records: Vec<u16> = answer.answer.iter().map(|set| set.rtype).collect();
        match fits {
            true => assert_eq!((answer.elsewhere.map(|name| name.as_wire().len()), records.len()), (Some(255), 2)),
            // §2.2: YXDOMAIN, with the DNAME and nothing made from it.
            false => assert_eq!((format!("{:?}", answer.rcode), records), ("YXDomain".to_owned(), vec![rtype::DNAME])),
        }
        assert!(answer.authoritative);
    }
}

#[test]
fn rfc_1034_a_circle_through_two_names_and_two_suffixes() {
    check_names(
        &[("x", ACTIVE, "@ CNAME y.p2p.alt"), ("y", ACTIVE, "@ CNAME x.p2p\nthere CNAME z.x.p2p")],
        &[
            (
                "x.p2p A",
                "NoError aa | x.p2p. CNAME y.p2p.alt. | y.p2p.alt. CNAME x.p2p. | !0 the aliases run in a circle",
            ),
            // Below a CNAME nothing exists but what is written there.
            ("there.y.p2p A", "NXDomain aa | there.y.p2p. CNAME z.x.p2p. | @p2p. SOA"),
        ],
    );
}

#[test]
fn rfc_6604_a_referral_behind_an_alias_into_the_other_suffix() {
    check_names(
        &[("x", ACTIVE, "@ CNAME www.child.p2p.alt"), ("child", ACTIVE, "@ NS ns.child.p2p.alt\nns A 192.0.2.1")],
        &[(
            "x.p2p A",
            "NoError aa | x.p2p. CNAME www.child.p2p.alt. | @child.p2p.alt. NS ns.child.p2p.alt. | \
             +ns.child.p2p.alt. A 192.0.2.1",
        )],
    );
}

#[test]
fn rfc_1034_what_stands_at_and_below_a_cut_is_the_childs() {
    check(
        "cut NS ns.cut.x.p2p
         cut NS ns.below.cut.x.p2p
         cut A 192.0.2.1
         cut CNAME x.p2p
         cut DNAME x.p2p
         ns.cut A 192.0.2.2
         below.cut NS ns.example.com
         ns.below.cut A 192.0.2.3
         below.cut DS #0001080203
         *.cut TXT wild
         lame NS ns.lame.x.p2p
         dsonly DS #0001080203",
        &[
            // Of two cuts on one way the upper one counts, and hides whatever else stands there.
            (
                "a.below.cut.x.p2p A",
                "NoError | @cut.x.p2p. NS ns.cut.x.p2p. ns.below.cut.x.p2p. | +ns.cut.x.p2p. A 192.0.2.2 | \
                 +ns.below.cut.x.p2p. A 192.0.2.3",
            ),
            (
                "cut.x.p2p CNAME",
                "NoError | @cut.x.p2p. NS ns.cut.x.p2p. ns.below.cut.x.p2p. | +ns.cut.x.p2p. A 192.0.2.2 | \
                 +ns.below.cut.x.p2p. A 192.0.2.3",
            ),
            (
                "q.cut.x.p2p TXT",
                "NoError | @cut.x.p2p. NS ns.cut.x.p2p. ns.below.cut.x.p2p. | +ns.cut.x.p2p. A 192.0.2.2 | \
                 +ns.below.cut.x.p2p. A 192.0.2.3",
            ),
            // RFC 4035 §3.1.4.1: DS belongs to the parent, also when it is absent; below the cut it is not ours.
            ("cut.x.p2p DS", NODATA),
            (
                "below.cut.x.p2p DS",
                "NoError | @cut.x.p2p. NS ns.cut.x.p2p. ns.below.cut.x.p2p. | +ns.cut.x.p2p. A 192.0.2.2 | \
                 +ns.below.cut.x.p2p. A 192.0.2.3",
            ),
            // A name server without an address is named all the same: the owner may mend it.
            ("www.lame.x.p2p A", "NoError | @lame.x.p2p. NS ns.lame.x.p2p."),
        ],
    );
}

#[test]
fn rfc_9471_glue_of_a_name_server_elsewhere_in_the_ledger_is_offered() {
    check_names(
        &[
            ("x", ACTIVE, "@ NS ns.host.p2p\n@ NS ns.host.p2p.alt\n@ NS a.gone.p2p\n@ NS a.moved.p2p"),
            ("host", ACTIVE, "ns A 192.0.2.1\nns AAAA 2001:db8::1"),
            ("gone", Life { revoked_until: Some(HEIGHT + 9), ..ACTIVE }, "a A 192.0.2.2"),
            ("moved", ACTIVE, "a CNAME ns.host.p2p"),
        ],
        &[(
            "www.x.p2p A",
            "NoError | @x.p2p. NS a.gone.p2p. a.moved.p2p. ns.host.p2p. ns.host.p2p.alt. | \
             ~ns.host.p2p. A 192.0.2.1 | ~ns.host.p2p. AAAA 2001:db8::1 | ~ns.host.p2p.alt. A 192.0.2.1 | \
             ~ns.host.p2p.alt. AAAA 2001:db8::1",
        )],
    );
}

#[test]
fn rfc_2181_a_set_has_one_ttl_and_an_owner_one_alias() {
    let table = SharedTable::new(120);
    let record =
        |ttl, last| ledger::record::Record { sub: Vec::new(), rtype: rtype::A, ttl, rdata: vec![192, 0, 2, last] };
    let records = ledger::record::Records::new(vec![record(7_200, 1), record(300, 2)]).expect("canonical");
    let name = ledger::name::Name::new("x").expect("a name");
    table.publish(HEIGHT, 0, [(name, Some(resolver::Entry::new(ACTIVE, &records)))]);
    table.set_readiness(resolver::Readiness::Ready);
    let answer = ask(&table, &query("x.p2p A"), &site(&SUFFIXES)).expect("ours");
    assert_eq!((answer.answer.len(), answer.answer[0].ttl_s, answer.answer[0].data.len()), (1, 300, 2));
}

#[test]
fn rfc_8482_any_shows_nothing_that_is_hidden() {
    let records = "@ A 192.0.2.1\n@ CNAME y.p2p\nsub A 192.0.2.2\nsub TXT t\nold DNAME y.p2p";
    let (table, site) = (table(&[("x", ACTIVE, records)]), site(&SUFFIXES));
    for (text, transport, expected) in [
        // What stands beside an alias is hidden under any type.
        ("x.p2p ANY", Transport::Datagram, "NoError aa | x.p2p. CNAME y.p2p."),
        ("x.p2p ANY", Transport::Stream, "NoError aa | x.p2p. CNAME y.p2p."),
        ("sub.x.p2p ANY", Transport::Datagram, "NoError aa | sub.x.p2p. A 192.0.2.2"),
        ("sub.x.p2p ANY", Transport::Stream, "NoError aa | sub.x.p2p. A 192.0.2.2 | sub.x.p2p. TXT t"),
        ("a.old.x.p2p ANY", Transport::Datagram, "NoError aa | old.x.p2p. DNAME y.p2p. | a.old.x.p2p. CNAME a.y.p2p."),
        ("p2p ANY", Transport::Stream, "NoError aa | p2p. SOA | p2p. NS ns.nic.p2p."),
    ] {
        assert_eq!(show_at(&table, &Query { transport, ..query(text) }, &site), expected, "{text} {transport:?}");
    }
}

#[test]
fn rfc_4035_signature_types_asked_for_in_an_unsigned_zone() {
    check(
        "@ A 192.0.2.1\nwww CNAME x.p2p",
        &[
            ("x.p2p RRSIG", NODATA),
            ("x.p2p NSEC", NODATA),
            ("x.p2p TYPE50", NODATA),
            // They may stand beside a CNAME, so it is not followed for them.
            ("www.x.p2p RRSIG", NODATA),
            ("www.x.p2p NSEC", NODATA),
            ("nobody.p2p RRSIG", NXDOMAIN),
        ],
    );
}

#[test]
fn rfc_3597_types_nobody_knows_are_data_like_any_other() {
    check(
        "@ TYPE65280 c0ffee
         @ TYPE65534 #
         * TYPE65281 0161026279
         www CNAME x.p2p",
        &[
            ("x.p2p TYPE65280", "NoError aa | x.p2p. TYPE65280 c0ffee"),
            ("x.p2p TYPE65534", "NoError aa | x.p2p. TYPE65534"),
            ("x.p2p TYPE65281", NODATA),
            ("y.x.p2p TYPE65281", "NoError aa | y.x.p2p. TYPE65281 0161026279"),
            ("www.x.p2p TYPE65280", "NoError aa | www.x.p2p. CNAME x.p2p. | x.p2p. TYPE65280 c0ffee"),
            ("x.p2p TYPE0", NODATA),
            ("x.p2p TYPE65535", NODATA),
        ],
    );
}

#[test]
fn rfc_8020_names_that_cannot_be_registered_do_not_exist() {
    let (table, site) = (table(&[("xn--bcher-kva", ACTIVE, "@ A 192.0.2.1")]), site(&SUFFIXES));
    let in_p2p = |labels: &[&[u8]]| {
        let labels = labels.iter().copied().chain([&b"p2p"[..]]);
        Query { name: Dname::from_labels(labels).expect("a name"), ..query("x.p2p A") }
    };
    for labels in [
        &[&b"_dmarc"[..]][..],
        &[b"-x"],
        &[b"ab--c"],
        &[b"www", b"under_score"],
        &["bücher".as_bytes()],
        &[b"\xff\x00"],
        &[b"a.b"],
        &[b"*"],
        &[b" "],
        &[&[b'a'; 63]],
    ] {
        assert_eq!(show_at(&table, &in_p2p(labels), &site), NXDOMAIN, "{labels:?}");
    }
    // In its ASCII form an internationalised name is a name, whatever the case of its letters.
    let found = "NoError aa | xn--bcher-kva.p2p. A 192.0.2.1";
    assert_eq!(show_at(&table, &in_p2p(&[b"XN--Bcher-KVA"]), &site), found);
    // The longest name there is: 255 bytes.
    let (long, last) = ([b'a'; 63], [b'b'; 57]);
    let longest = in_p2p(&[&last, &long, &long, &long]);
    assert_eq!((longest.name.as_wire().len(), show_at(&table, &longest, &site).as_str()), (255, NXDOMAIN));
}

#[test]
fn rfc_2308_an_absence_is_cached_until_the_next_block_can_end_it() {
    for (interval_s, expected) in [(120, 60), (2, 2), (0, 1)] {
        let table = SharedTable::new(interval_s);
        table.publish(HEIGHT, 0, []);
        table.set_readiness(resolver::Readiness::Ready);
        for text in ["x.p2p A", "p2p A"] {
            let answer = ask(&table, &query(text), &site(&SUFFIXES)).expect("ours");
            let soa = &answer.authority[0];
            let minimum = u32::from_be_bytes(soa.data[0][soa.data[0].len() - 4..].try_into().expect("4 bytes"));
            // §3: the TTL of the SOA is its MINIMUM, so that caches which look at one or the other agree.
            assert_eq!((soa.ttl_s, minimum), (expected, expected), "{text} every {interval_s} s");
        }
    }
}

#[test]
fn ttl_ends_with_the_next_change_that_is_certain() {
    let at = |expires_at, last_change| Life { expires_at, grace_until: expires_at + 1_000, last_change, ..ACTIVE };
    let names = [
        ("far", at(HEIGHT + 90_000, 100), "@ A 192.0.2.1"),
        ("near", at(HEIGHT + 11, 100), "@ A 192.0.2.1"),
        ("next", at(HEIGHT + 2, 100), "@ A 192.0.2.1"),
        ("young", at(HEIGHT + 90_000, HEIGHT), "@ A 192.0.2.1"),
        ("settled", at(HEIGHT + 90_000, HEIGHT + 1 - 720), "@ A 192.0.2.1"),
        ("grace", at(HEIGHT, 100), "@ A 192.0.2.1"),
    ];
    let table = table(&names);
    for (name, expected) in
        [("far", 3_600), ("near", 1_200), ("next", 120), ("young", 60), ("settled", 3_600), ("grace", 60)]
    {
        let answer = ask(&table, &query(&format!("{name}.p2p A")), &site(&SUFFIXES)).expect("ours");
        assert_eq!(answer.answer[0].ttl_s, expected, "{name}");
    }
}

/// The apex of a suffix: what is there, and what is not.
#[test]
fn rfc_1035_the_apex_has_soa_and_ns_and_nothing_else() {
    check(
        "@ A 192.0.2.1",
        &[
            ("p2p SOA", "NoError aa | p2p. SOA"),
            ("p2p NS", "NoError aa | p2p. NS ns.nic.p2p."),
            ("p2p DNSKEY", NODATA),
            ("p2p DS", NODATA),
            ("p2p TYPE59", NODATA),
            ("p2p MX", NODATA),
            ("p2p CNAME", NODATA),
            ("nic.p2p DS", NODATA),
            ("ns.nic.p2p A", "NoError aa | ns.nic.p2p. A 127.0.0.1"),
            ("ns.nic.p2p DS", NODATA),
            ("x.ns.nic.p2p A", NXDOMAIN),
            ("hostmaster.nic.p2p MX", NXDOMAIN),
        ],
    );
}

/// A suffix within another: RFC 4035 §3.1.4.1 has DS answered by the outer zone if both are served.
#[test]
fn a_suffix_within_another_is_a_delegation_for_ds_alone() {
    let table = table(&[("x", ACTIVE, "@ A 192.0.2.1"), ("p2p", ACTIVE, "@ A 192.0.2.2\nsub A 192.0.2.3")]);
    let plain = site(&["alt", "p2p.alt"]);
    for (text, expected) in [
        ("p2p.alt DS", "NoError aa | @alt. SOA"),
        ("p2p.alt NS", "NoError aa | p2p.alt. NS ns.nic.p2p.alt."),
        ("x.p2p.alt A", "NoError aa | x.p2p.alt. A 192.0.2.1"),
        ("x.alt A", "NoError aa | x.alt. A 192.0.2.1"),
        // The ledger name of that label is hidden below the outer suffix.
        ("p2p.alt A", "NoError aa | @p2p.alt. SOA"),
        ("sub.p2p.alt A", "NXDomain aa | @p2p.alt. SOA"),
        ("alt DS", "NoError aa | @alt. SOA"),
    ] {
        assert_eq!(show_at(&table, &query(text), &plain), expected, "{text}");
    }
    let signer = Signer::new(ZoneKey::generate().expect("random"));
    let signed = plain.signed_with(signer.key().dnskey());
    let asked = with_do(query("p2p.alt DS"));
    let mut answer = ask(&table, &asked, &signed).expect("ours");
    signer.sign_answer(&mut answer, &asked, &signed, 1_800_000_000);
    let [ds, rrsig] = &answer.answer[..] else { panic!("DS and its signature: {answer:?}") };
    assert_eq!((ds.rtype, &ds.data[0][4..]), (rtype::DS, &signer.key().ds_digest(&dname("p2p.alt"))[..]));
    // The signer's name stands behind 18 bytes.
    let (zone, _) = Dname::split_wire(&rrsig.data[0][18..]).expect("a name");
    assert_eq!(zone, dname("alt"));
}

fn own_domain() -> Site {
    let addresses = vec!["192.0.2.53".parse().expect("v4")];
    let zone = |text| Zone::new(dname(text), addresses.clone()).expect("short");
    let authority = Authority {
        name_servers: vec![dname("ns1.example.org"), dname("ns2.example.net")],
        contact: Some(dname("dns.example.org")),
    };
    Site::new(vec![zone("names.example.org").delegated(authority), zone("p2p")], None)
}

#[test]
fn a_zone_below_an_own_domain_says_what_its_parent_says() {
    let table = table(&[("x", ACTIVE, "@ A 192.0.2.1")]);
    let site = own_domain();
    for (text, expected) in [
        // RFC 1034 §4.2.2: the NS sets on both sides of a cut should be the same.
        ("names.example.org NS", "NoError aa | names.example.org. NS ns1.example.org. ns2.example.net."),
        ("x.names.example.org A", "NoError aa | x.names.example.org. A 192.0.2.1"),
        // The DS set is the parent's, and not even served here.
        ("names.example.org DS", "NoError aa | @names.example.org. SOA"),
        // The rest of the domain is not ours.
        ("example.org NS", "elsewhere"),
        ("ns1.example.org A", "elsewhere"),
        ("xnames.example.org A", "elsewhere"),
        // The other suffix keeps its own name server.
        ("p2p NS", "NoError aa | p2p. NS ns.nic.p2p."),
    ] {
        assert_eq!(show_at(&table, &query(text), &site), expected, "{text}");
    }
    let soa = ask(&table, &query("names.example.org SOA"), &site).expect("ours").answer.remove(0);
    let names = b"\x03ns1\x07example\x03org\0\x03dns\x07example\x03org\0";
    assert!(soa.data[0].starts_with(names), "primary and contact");
}

#[test]
fn rfc_7344_a_delegated_zone_publishes_what_its_parent_shall_have() {
    let table = table(&[]);
    let key = ZoneKey::generate().expect("random");
    let site = own_domain().signed_with(key.dnskey());
    let apex = dname("names.example.org");
    let ask_type = |name: &Dname, qtype| {
        let answer = ask(&table, &Query { name: name.clone(), qtype, ..query("x A") }, &site).expect("ours");
        answer.answer.first().map(|set| set.data.concat())
    };
    let ds = [&key.tag().to_be_bytes()[..], &[13, 2], &key.ds_digest(&apex)].concat();
    assert_eq!(ask_type(&apex, rtype::CDS), Some(ds));
    assert_eq!(ask_type(&apex, rtype::CDNSKEY), ask_type(&apex, rtype::DNSKEY));
    assert_eq!(ask_type(&apex, rtype::DNSKEY).as_deref(), Some(&key.dnskey()[..]));
    // Nobody could use them of a zone that is not delegated.
    assert_eq!(ask_type(&dname("p2p"), rtype::CDS), None);
    assert_eq!(ask_type(&dname("p2p"), rtype::CDNSKEY), None);
}

//! Every rule of answering, as tables of one-line cases. In names and data, `%` stands for the suffix; each case runs
//! below each suffix.

mod support;

use resolver::{
    Life, NameSource, Readiness, SharedTable,
    dns::{name::Dname, rtype},
    zones::{
        answer::{Answer, Verdict, answer},
        query::{ClientEdns, Query, Transport},
        site::Site,
    },
};
use support::{ACTIVE, HEIGHT, query, show, site, table};

const SUFFIXES: [&str; 3] = ["p2p", "p2p.alt", "names.example.org"];

const NAMES: &[(&str, Life, &str)] = &[
    (
        "alice",
        ACTIVE,
        "@ A 192.0.2.1
         @ A 192.0.2.2
         @ AAAA 2001:db8::1
         @ MX mail.alice.%
         @ TXT hello
         @ CAA 000569737375656361
         @ HTTPS 000100
         @ TYPE65280 c0ffee
         @ SSHFP 040901
         www CNAME alice.%
         mail A 192.0.2.25
         svc SVCB 000100
         _443._tcp TLSA 03010001
         _sip._tcp SRV mail.alice.%
         a.b.c A 192.0.2.3",
    ),
    (
        "wild",
        ACTIVE,
        "* A 192.0.2.10
         * TXT star
         leaf.ent A 192.0.2.11
         *.alias CNAME alice.%
         *.ent2 AAAA 2001:db8::2
         fixed.ent2 A 192.0.2.12",
    ),
    (
        "cross",
        ACTIVE,
        "@ CNAME alice.%
         @ TXT hidden
         out CNAME www.example.com
         lo CNAME localhost
         onion CNAME x.onion
         nx CNAME nothing.alice.%
         nodata CNAME mail.alice.%
         unregistered CNAME nobody.%
         self CNAME self.cross.%
         ping CNAME pong.cross.%
         pong CNAME ping.cross.%
         cut CNAME www.deleg.%
         two CNAME aa.cross.%
         two CNAME bb.cross.%",
    ),
    (
        "long",
        ACTIVE,
        "l0 CNAME l1.long.%
         l1 CNAME l2.long.%
         l2 CNAME l3.long.%
         l3 CNAME l4.long.%
         l4 CNAME l5.long.%
         l5 CNAME l6.long.%
         l6 CNAME l7.long.%
         l7 CNAME l8.long.%
         l8 CNAME l9.long.%
         l9 A 192.0.2.9",
    ),
    (
        "dn",
        ACTIVE,
        "old DNAME new.dn.%
         old TXT at-the-owner
         hidden.old A 192.0.2.66
         a.new A 192.0.2.30
         ext DNAME example.com
         far DNAME aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.ccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc.example",
    ),
    ("moved", ACTIVE, "@ DNAME alice.%"),
    (
        "deleg",
        ACTIVE,
        "@ NS ns1.deleg.%
         @ NS ns.example.com
         @ DS 00010d0911
         @ A 192.0.2.40
         ns1 A 192.0.2.41
         ns1 AAAA 2001:db8::41
         www A 192.0.2.42",
    ),
    (
        "child",
        ACTIVE,
        "@ A 192.0.2.50
         sub NS ns.sub.child.%
         sub NS mail.alice.%
         sub NS ns1.child.%
         sub DS 00010d0912
         ns.sub A 192.0.2.51
         x.sub A 192.0.2.52
         ns1 A 192.0.2.53
         nods NS ns.example.com",
    ),
    ("broken", ACTIVE, "@ A 192.0.2.60\n@ MX #00\n* NS ns.example.com"),
    ("empty", ACTIVE, ""),
    ("pending", Life { active_from: HEIGHT + 2, ..ACTIVE }, "@ A 192.0.2.70"),
    ("newborn", Life { active_from: HEIGHT + 1, last_change: HEIGHT, ..ACTIVE }, "@ A 192.0.2.71"),
    ("grace", Life { expires_at: HEIGHT + 1, grace_until: HEIGHT + 9, ..ACTIVE }, "@ A 192.0.2.72"),
    ("expired", Life { expires_at: 5_000, grace_until: HEIGHT + 1, ..ACTIVE }, "@ A 192.0.2.73"),
    ("revoked", Life { revoked_until: Some(HEIGHT + 2), ..ACTIVE }, "@ A 192.0.2.74"),
    ("released", Life { revoked_until: Some(HEIGHT + 1), ..ACTIVE }, "@ A 192.0.2.75"),
];

fn world(suffix: &str) -> SharedTable {
    let texts: Vec<String> = NAMES.iter().map(|(_, _, records)| records.replace('%', suffix)).collect();
    let names: Vec<_> = NAMES.iter().zip(&texts).map(|((name, life, _), text)| (*name, *life, text.as_str())).collect();
    table(&names)
}

fn ask(table: &SharedTable, query: &Query) -> Option<Answer> {
    ask_site(table, query, &site(&SUFFIXES))
}

fn ask_site(table: &SharedTable, query: &Query, site: &Site) -> Option<Answer> {
    match answer(query, &*table.view(), site) {
        Verdict::Local(answer) => Some(answer),
        Verdict::Elsewhere => None,
    }
}

/// Each case is `(query, expected)` and runs below every suffix.
fn check(cases: &[(&str, &str)]) {
    check_with(|query| query, cases);
}

fn check_with(change: impl Fn(Query) -> Query, cases: &[(&str, &str)]) {
    for suffix in SUFFIXES {
        let table = world(suffix);
        for (text, expected) in cases {
            let query = change(query(&text.replace('%', suffix)));
            let shown = ask(&table, &query).map_or("elsewhere".to_owned(), |answer| show(&answer));
            assert_eq!(shown, expected.replace('%', suffix), "{text} below {suffix}");
        }
    }
}

#[test]
fn records_of_all_kinds() {
    check(&[
        ("alice.% A", "NoError aa | alice.%. A 192.0.2.1 192.0.2.2"),
        ("alice.% AAAA", "NoError aa | alice.%. AAAA 2001:db8::1"),
        ("alice.% MX", "NoError aa | alice.%. MX mail.alice.%."),
        ("alice.% TXT", "NoError aa | alice.%. TXT hello"),
        ("alice.% CAA", "NoError aa | alice.%. CAA 000569737375656361"),
        ("alice.% HTTPS", "NoError aa | alice.%. HTTPS 000100"),
        ("alice.% SSHFP", "NoError aa | alice.%. SSHFP 040901"),
        ("alice.% TYPE65280", "NoError aa | alice.%. TYPE65280 c0ffee"),
        ("mail.alice.% A", "NoError aa | mail.alice.%. A 192.0.2.25"),
        ("svc.alice.% SVCB", "NoError aa | svc.alice.%. SVCB 000100"),
        ("_443._tcp.alice.% TLSA", "NoError aa | _443._tcp.alice.%. TLSA 03010001"),
        ("_sip._tcp.alice.% SRV", "NoError aa | _sip._tcp.alice.%. SRV mail.alice.%."),
        ("www.alice.% CNAME", "NoError aa | www.alice.%. CNAME alice.%."),
    ]);
}

#[test]
fn names_are_compared_without_case() {
    check(&[
        ("aLiCe.% A", "NoError aa | alice.%. A 192.0.2.1 192.0.2.2"),
        ("MAIL.ALICE.% A", "NoError aa | mail.alice.%. A 192.0.2.25"),
    ]);
}

#[test]
fn absent_types_and_absent_names() {
    check(&[
        // NODATA: the name exists.
        ("alice.% NS", "NoError aa | @%. SOA"),
        ("alice.% SOA", "NoError aa | @%. SOA"),
        ("alice.% DS", "NoError aa | @%. SOA"),
        ("alice.% DNSKEY", "NoError aa | @%. SOA"),
        ("alice.% TYPE666", "NoError aa | @%. SOA"),
        ("alice.% TYPE65534", "NoError aa | @%. SOA"),
        ("mail.alice.% AAAA", "NoError aa | @%. SOA"),
        // Empty non-terminals exist too.
        ("b.c.alice.% A", "NoError aa | @%. SOA"),
        ("c.alice.% A", "NoError aa | @%. SOA"),
        ("_tcp.alice.% SRV", "NoError aa | @%. SOA"),
        // NXDOMAIN: nothing is there or below.
        ("nothing.alice.% A", "NXDomain aa | @%. SOA"),
        ("x.mail.alice.% A", "NXDomain aa | @%. SOA"),
        ("x.b.c.alice.% A", "NXDomain aa | @%. SOA"),
        ("nobody.% A", "NXDomain aa | @%. SOA"),
        ("www.nobody.% A", "NXDomain aa | @%. SOA"),
        // Labels that are no ledger names.
        ("_foo.% A", "NXDomain aa | @%. SOA"),
        ("ab--c.% A", "NXDomain aa | @%. SOA"),
        ("*.% A", "NXDomain aa | @%. SOA"),
        // A registered name without a record is not in DNS.
        ("empty.% A", "NXDomain aa | @%. SOA | !0 the name holds no records"),
    ]);
}

#[test]
fn the_apex_of_a_suffix() {
    check(&[
        ("% SOA", "NoError aa | %. SOA"),
        ("% NS", "NoError aa | %. NS ns.nic.%."),
        ("% A", "NoError aa | @%. SOA"),
        ("% DNSKEY", "NoError aa | @%. SOA"),
        ("% ANY", "NoError aa | %. SOA"),
        ("nic.% A", "NoError aa | @%. SOA"),
        ("ns.nic.% A", "NoError aa | ns.nic.%. A 127.0.0.1"),
        ("ns.nic.% AAAA", "NoError aa | ns.nic.%. AAAA ::1"),
        ("ns.nic.% TXT", "NoError aa | @%. SOA"),
        ("x.nic.% A", "NXDomain aa | @%. SOA"),
    ]);
}

#[test]
fn the_soa_counts_blocks() {
    let table = world("p2p");
    let soa = ask(&table, &query("p2p SOA")).expect("ours").answer.remove(0);
    let names = b"\x02ns\x03nic\x03p2p\0\x0ahostmaster\x03nic\x03p2p\0";
    let (head, numbers) = soa.data[0].split_at(names.len());
    assert_eq!(head, names);
    let numbers: Vec<u32> = numbers.chunks(4).map(|n| u32::from_be_bytes(n.try_into().expect("4 bytes"))).collect();
    assert_eq!(numbers, [HEIGHT, 120, 60, 604_800, 60]);
    assert_eq!(soa.ttl_s, 60);
}

#[test]
fn wildcards() {
    check(&[
        ("anything.wild.% A", "NoError aa | anything.wild.%. A 192.0.2.10"),
        ("very.deep.down.wild.% TXT", "NoError aa | very.deep.down.wild.%. TXT star"),
        ("anything.wild.% MX", "NoError aa | @%. SOA"),
        ("*.wild.% A", "NoError aa | *.wild.%. A 192.0.2.10"),
        // The wildcard is below the name, it is not the name.
        ("wild.% A", "NoError aa | @%. SOA"),
        // An empty non-terminal is there, and is the closest encloser of what is below.
        ("ent.wild.% A", "NoError aa | @%. SOA"),
        ("other.ent.wild.% A", "NXDomain aa | @%. SOA"),
        ("leaf.ent.wild.% A", "NoError aa | leaf.ent.wild.%. A 192.0.2.11"),
        ("below.leaf.ent.wild.% A", "NXDomain aa | @%. SOA"),
        // A wildcard below an empty non-terminal.
        ("x.ent2.wild.% AAAA", "NoError aa | x.ent2.wild.%. AAAA 2001:db8::2"),
        ("x.y.ent2.wild.% AAAA", "NoError aa | x.y.ent2.wild.%. AAAA 2001:db8::2"),
        ("fixed.ent2.wild.% AAAA", "NoError aa | @%. SOA"),
        ("ent2.wild.% A", "NoError aa | @%. SOA"),
        // A wildcard alias.
        ("q.alias.wild.% A", "NoError aa | q.alias.wild.%. CNAME alice.%. | alice.%. A 192.0.2.1 192.0.2.2"),
        ("q.alias.wild.% CNAME", "NoError aa | q.alias.wild.%. CNAME alice.%."),
        // NS at a wildcard is not served.
        ("x.broken.% NS", "NXDomain aa | @%. SOA"),
    ]);
}

#[test]
fn aliases() {
    check(&[
        ("www.alice.% A", "NoError aa | www.alice.%. CNAME alice.%. | alice.%. A 192.0.2.1 192.0.2.2"),
        ("cross.% AAAA", "NoError aa | cross.%. CNAME alice.%. | alice.%. AAAA 2001:db8::1"),
        // What stands beside a CNAME is hidden.
        ("cross.% TXT", "NoError aa | cross.%. CNAME alice.%. | alice.%. TXT hello"),
        ("two.cross.% CNAME", "NoError aa | two.cross.%. CNAME aa.cross.%."),
        // The code is that of the last name.
        ("nx.cross.% A", "NXDomain aa | nx.cross.%. CNAME nothing.alice.%. | @%. SOA"),
        ("nodata.cross.% AAAA", "NoError aa | nodata.cross.%. CNAME mail.alice.%. | @%. SOA"),
        ("unregistered.cross.% A", "NXDomain aa | unregistered.cross.%. CNAME nobody.%. | @%. SOA"),
        // Out of our zones.
        ("out.cross.% A", "NoError aa | out.cross.%. CNAME www.example.com. | >www.example.com."),
        ("lo.cross.% A", "NoError aa | lo.cross.%. CNAME localhost. | localhost. A 127.0.0.1"),
        ("onion.cross.% A", "NXDomain aa | onion.cross.%. CNAME x.onion. | @onion. SOA"),
        // Into what others are responsible for.
        (
            "cut.cross.% A",
            "NoError aa | cut.cross.%. CNAME www.deleg.%. | @deleg.%. NS ns.example.com. ns1.deleg.%. | \
             +ns1.deleg.%. A 192.0.2.41 | +ns1.deleg.%. AAAA 2001:db8::41",
        ),
        // Circles.
        ("self.cross.% A", "NoError aa | self.cross.%. CNAME self.cross.%. | !0 the aliases run in a circle"),
        (
            "ping.cross.% A",
            "NoError aa | ping.cross.%. CNAME pong.cross.%. | pong.cross.%. CNAME ping.cross.%. | \
             !0 the aliases run in a circle",
        ),
    ]);
}

#[test]
fn alias_chains_are_cut() {
    let table = world("p2p");
    let cut = ask(&table, &query("l0.long.p2p A")).expect("ours");
    assert_eq!((cut.answer.len(), cut.ede.expect("a reason").text), (9, "too many aliases".into()));
    let whole = ask(&table, &query("l1.long.p2p A")).expect("ours");
    assert_eq!((whole.answer.len(), whole.ede), (9, None));
    assert_eq!(whole.answer[8].rtype, rtype::A);
}

#[test]
fn aliases_cross_suffixes() {
    let table = table(&[("a", ACTIVE, "@ CNAME b.p2p.alt"), ("b", ACTIVE, "@ A 192.0.2.1")]);
    let shown = ask(&table, &query("a.p2p A")).map(|answer| show(&answer));
    assert_eq!(shown.as_deref(), Some("NoError aa | a.p2p. CNAME b.p2p.alt. | b.p2p.alt. A 192.0.2.1"));
}

#[test]
fn subtree_aliases() {
    check(&[
        (
            "a.old.dn.% A",
            "NoError aa | old.dn.%. DNAME new.dn.%. | a.old.dn.%. CNAME a.new.dn.%. | a.new.dn.%. A 192.0.2.30",
        ),
        ("a.old.dn.% CNAME", "NoError aa | old.dn.%. DNAME new.dn.%. | a.old.dn.%. CNAME a.new.dn.%."),
        // The owner itself is not redirected.
        ("old.dn.% TXT", "NoError aa | old.dn.%. TXT at-the-owner"),
        ("old.dn.% DNAME", "NoError aa | old.dn.%. DNAME new.dn.%."),
        ("old.dn.% A", "NoError aa | @%. SOA"),
        // What is written below is hidden.
        (
            "hidden.old.dn.% A",
            "NXDomain aa | old.dn.%. DNAME new.dn.%. | hidden.old.dn.%. CNAME hidden.new.dn.%. | @%. SOA",
        ),
        (
            "www.ext.dn.% A",
            "NoError aa | ext.dn.%. DNAME example.com. | www.ext.dn.%. CNAME www.example.com. | >www.example.com.",
        ),
        (
            "mail.moved.% A",
            "NoError aa | moved.%. DNAME alice.%. | mail.moved.%. CNAME mail.alice.%. | mail.alice.%. A 192.0.2.25",
        ),
    ]);
}

#[test]
fn a_substitution_can_be_too_long() {
    let table = world("p2p");
    let name = format!("{}.far.dn.p2p A", "d".repeat(60));
    let answer = ask(&table, &query(&name)).expect("ours");
    assert_eq!((format!("{:?}", answer.rcode), answer.answer.len()), ("YXDomain".to_owned(), 1));
    assert_eq!(answer.answer[0].rtype, rtype::DNAME);
}

#[test]
fn delegations() {
    let referral = "NoError | @deleg.%. NS ns.example.com. ns1.deleg.%. | +ns1.deleg.%. A 192.0.2.41 | \
                    +ns1.deleg.%. AAAA 2001:db8::41";
    let below = "NoError | @sub.child.%. NS ns.sub.child.%. ns1.child.%. mail.alice.%. | \
                 +ns.sub.child.%. A 192.0.2.51 | ~ns1.child.%. A 192.0.2.53 | ~mail.alice.%. A 192.0.2.25";
    check(&[
        ("deleg.% A", referral),
        ("deleg.% NS", referral),
        ("deleg.% ANY", referral),
        ("www.deleg.% A", referral),
        ("ns1.deleg.% A", referral),
        ("a.b.c.deleg.% MX", referral),
        ("www.deleg.% DS", referral),
        // DS is the parent's business.
        ("deleg.% DS", "NoError aa | deleg.%. DS 00010d0911"),
        ("sub.child.% DS", "NoError aa | sub.child.%. DS 00010d0912"),
        ("nods.child.% DS", "NoError aa | @%. SOA"),
        ("child.% A", "NoError aa | child.%. A 192.0.2.50"),
        ("sub.child.% NS", below),
        ("x.sub.child.% A", below),
        ("ns.sub.child.% A", below),
    ]);
}

#[test]
fn referrals_of_unsigned_zones_carry_no_ds() {
    let dnssec = |query: Query| {
        let edns = ClientEdns { version: 0, payload: 1232, dnssec_ok: true, compact_ok: false, wants_nsid: false };
        Query { edns: Some(edns), ..query }
    };
    check_with(
        dnssec,
        &[(
            "www.deleg.% A",
            "NoError | @deleg.%. NS ns.example.com. ns1.deleg.%. | \
             +ns1.deleg.%. A 192.0.2.41 | +ns1.deleg.%. AAAA 2001:db8::41",
        )],
    );
}

#[test]
fn any_is_minimal_over_udp() {
    check(&[
        ("alice.% ANY", "NoError aa | alice.%. A 192.0.2.1 192.0.2.2"),
        ("cross.% ANY", "NoError aa | cross.%. CNAME alice.%."),
        ("c.alice.% ANY", "NoError aa | @%. SOA"),
    ]);
    check_with(
        |query| Query { transport: Transport::Stream, ..query },
        &[
            ("wild.wild.% ANY", "NoError aa | wild.wild.%. A 192.0.2.10 | wild.wild.%. TXT star"),
            ("nothing.alice.% ANY", "NXDomain aa | @%. SOA"),
        ],
    );
}

#[test]
fn status_decides_existence() {
    check(&[
        ("pending.% A", "NXDomain aa | @%. SOA | !0 the registration can still be contested"),
        ("newborn.% A", "NoError aa | newborn.%. A 192.0.2.71"),
        ("grace.% A", "NoError aa | grace.%. A 192.0.2.72"),
        ("expired.% A", "NXDomain aa | @%. SOA | !0 the name has expired"),
        ("www.expired.% A", "NXDomain aa | @%. SOA | !0 the name has expired"),
        ("revoked.% A", "NXDomain aa | @%. SOA | !0 the name is revoked"),
        ("released.% A", "NXDomain aa | @%. SOA | !0 the name has expired"),
    ]);
}

#[test]
fn ttl_follows_age_and_status() {
    let table = world("p2p");
    for (name, ttl_s) in [("alice", 3_600), ("newborn", 60), ("grace", 60)] {
        let answer = ask(&table, &query(&format!("{name}.p2p A"))).expect("ours");
        assert_eq!(answer.answer[0].ttl_s, ttl_s, "{name}");
    }
}

#[test]
fn malformed_records_are_left_out() {
    let table = table(&[("bad", ACTIVE, "@ A 192.0.2.60\n@ MX #00\n@ CNAME #c00c\n@ TXT #0561\n@ NS #01")]);
    for (text, expected) in [
        ("bad.p2p A", "NoError aa | bad.p2p. A 192.0.2.60"),
        ("bad.p2p MX", "NoError aa | @p2p. SOA"),
        ("bad.p2p TXT", "NoError aa | @p2p. SOA"),
        ("www.bad.p2p A", "NXDomain aa | @p2p. SOA"),
    ] {
        assert_eq!(ask(&table, &query(text)).map(|answer| show(&answer)).as_deref(), Some(expected), "{text}");
    }
    assert_eq!(table.view().facts().malformed_records, 4);
}

#[test]
fn not_ready_is_a_failure_not_an_absence() {
    let table = world("p2p");
    table.set_readiness(Readiness::NotReady { height: 12, target: Some(345) });
    for text in ["alice.p2p A", "nobody.p2p A", "p2p SOA"] {
        let shown = show(&ask(&table, &query(text)).expect("ours"));
        assert_eq!(shown, "ServFail | !14 ledger at height 12 of 345");
    }
    table.set_readiness(Readiness::NotReady { height: 0, target: None });
    let shown = show(&ask(&table, &query("alice.p2p A")).expect("ours"));
    assert_eq!(shown, "ServFail | !14 ledger at height 0, looking for peers");
    assert_eq!(ask(&table, &query("example.com A")), None);
    assert_eq!(show(&ask(&table, &query("localhost A")).expect("local")), "NoError aa | localhost. A 127.0.0.1");
}

#[test]
fn other_names_are_elsewhere_or_special() {
    check(&[
        ("example.com A", "elsewhere"),
        (". NS", "elsewhere"),
        ("xp2p A", "elsewhere"),
        ("org A", "elsewhere"),
        ("foo.alt A", "NXDomain aa | @alt. SOA"),
        ("localhost AAAA", "NoError aa | localhost. AAAA ::1"),
        ("1.0.168.192.in-addr.arpa PTR", "NXDomain aa | @168.192.in-addr.arpa. SOA"),
    ]);
}

#[test]
fn types_that_are_no_questions() {
    check(&[
        ("alice.% OPT", "FormErr | !30 this type cannot be asked for"),
        ("alice.% NXNAME", "FormErr | !30 this type cannot be asked for"),
        ("% AXFR", "Refused | !18 zone transfer: not over this transport, or not for you"),
        ("% IXFR", "Refused | !18 zone transfer: not over this transport, or not for you"),
    ]);
}

#[test]
fn class_chaos_tells_about_the_server() {
    let table = world("p2p");
    table.set_peers(7);
    let chaos = |text| show(&ask(&table, &Query { qclass: rtype::CLASS_CH, ..query(text) }).expect("local"));
    let version = concat!("NoError aa | version.bind. TXT namestead ", env!("CARGO_PKG_VERSION"));
    assert_eq!(chaos("version.bind TXT"), version);
    assert_eq!(chaos("VERSION.bind TXT"), version);
    assert_eq!(chaos("id.server TXT"), "NoError aa | id.server. TXT testbed");
    assert_eq!(chaos("height.namestead TXT"), "NoError aa | height.namestead. TXT 10000");
    assert_eq!(chaos("synced.namestead TXT"), "NoError aa | synced.namestead. TXT yes");
    assert_eq!(chaos("peers.namestead TXT"), "NoError aa | peers.namestead. TXT 7");
    assert_eq!(chaos("peers.namestead A"), "NoError aa | @peers.namestead. SOA");
    assert_eq!(chaos("authors.bind TXT"), "Refused | !21 no such status name");
    table.set_readiness(Readiness::NotReady { height: 5, target: Some(9) });
    assert_eq!(chaos("synced.namestead TXT"), "NoError aa | synced.namestead. TXT no 5/9");
}

#[test]
fn other_classes_are_refused() {
    let table = world("p2p");
    for qclass in [0, 2, 4, 254, 255, 65_535] {
        let shown = show(&ask(&table, &Query { qclass, ..query("alice.p2p A") }).expect("local"));
        assert_eq!(shown, "Refused | !21 only classes IN and CH are served");
    }
}

/// Names and types of the records in answer and authority section, NSEC with what it says, as one line each.
fn show_denial(query: &Query) -> String {
    let site = site(&SUFFIXES).signed_with(&b"\x01\x01\x03\x0dkey".to_vec().into());
    let answer = ask_site(&world("p2p"), query, &site).expect("ours");
    let mut parts = vec![format!("{:?}", answer.rcode)];
    for (mark, sets) in [("", &answer.answer), ("@", &answer.authority)] {
        parts.extend(sets.iter().map(|set| match set.rtype {
            rtype::NSEC => {
                let (next, bitmap) = Dname::split_wire(&set.data[0]).expect("a name first");
                format!("{mark}{} -> {next} {}", set.owner, show_bitmap(bitmap))
            }
            _ => format!("{mark}{} {}", set.owner, set.rtype),
        }));
    }
    parts.join(" | ")
}

fn show_bitmap(mut bitmap: &[u8]) -> String {
    let mut types = Vec::new();
    while let [window, len, rest @ ..] = bitmap {
        let (bytes, rest) = rest.split_at(usize::from(*len));
        let bits = (0..bytes.len() * 8).filter(|bit| bytes[bit / 8] & 0x80 >> (bit % 8) != 0);
        types.extend(bits.map(|bit| (usize::from(*window) * 256 + bit).to_string()));
        bitmap = rest;
    }
    types.join(" ")
}

fn check_denials(compact_ok: bool, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let edns = ClientEdns { version: 0, payload: 1232, dnssec_ok: true, compact_ok, wants_nsid: false };
        assert_eq!(show_denial(&Query { edns: Some(edns), ..query(text) }), *expected, "{text}");
    }
}

#[test]
fn signed_zones_prove_what_is_absent() {
    check_denials(
        false,
        &[
            // RFC 9824 §3.1: the name is called absent by a type (NXNAME = 128), not by the code.
            ("nobody.p2p A", "NoError | @p2p. 6 | @nobody.p2p. -> \\000.nobody.p2p. 46 47 128"),
            ("x.y.nobody.p2p A", "NoError | @p2p. 6 | @x.y.nobody.p2p. -> \\000.x.y.nobody.p2p. 46 47 128"),
            ("expired.p2p A", "NoError | @p2p. 6 | @expired.p2p. -> \\000.expired.p2p. 46 47 128"),
            // §3.2: the types that are there.
            ("alice.p2p SRV", "NoError | @p2p. 6 | @alice.p2p. -> \\000.alice.p2p. 1 15 16 28 44 46 47 65 257 65280"),
            ("p2p A", "NoError | @p2p. 6 | @p2p. -> \\000.p2p. 2 6 46 47 48"),
            // Empty non-terminals have none.
            ("b.c.alice.p2p A", "NoError | @p2p. 6 | @b.c.alice.p2p. -> \\000.b.c.alice.p2p. 46 47"),
            ("nic.p2p A", "NoError | @p2p. 6 | @nic.p2p. -> \\000.nic.p2p. 46 47"),
            // A wildcard's types, at the name it stands for.
            ("x.wild.p2p MX", "NoError | @p2p. 6 | @x.wild.p2p. -> \\000.x.wild.p2p. 1 16 46 47"),
            // At the end of an alias.
            (
                "nx.cross.p2p A",
                "NoError | nx.cross.p2p. 5 | @p2p. 6 | @nothing.alice.p2p. -> \\000.nothing.alice.p2p. 46 47 128",
            ),
            (
                "nodata.cross.p2p MX",
                "NoError | nodata.cross.p2p. 5 | @p2p. 6 | @mail.alice.p2p. -> \\000.mail.alice.p2p. 1 46 47",
            ),
            // §3.4: an unsigned delegation; names below the cut are not spoken about.
            ("x.nods.child.p2p A", "NoError | @nods.child.p2p. 2 | @nods.child.p2p. -> nods\\000.child.p2p. 2 46 47"),
            ("nods.child.p2p DS", "NoError | @p2p. 6 | @nods.child.p2p. -> nods\\000.child.p2p. 2 46 47"),
            ("x.sub.child.p2p A", "NoError | @sub.child.p2p. 2 | @sub.child.p2p. 43"),
            // Asked for by name, NSEC is the answer, also beside a CNAME.
            ("mail.alice.p2p NSEC", "NoError | mail.alice.p2p. -> \\000.mail.alice.p2p. 1 46 47"),
            ("www.alice.p2p NSEC", "NoError | www.alice.p2p. -> \\000.www.alice.p2p. 5 46 47"),
            ("nobody.p2p NSEC", "NoError | nobody.p2p. -> \\000.nobody.p2p. 46 47 128"),
            ("p2p DNSKEY", "NoError | p2p. 48"),
        ],
    );
    // RFC 9824 §5: clients with the CO bit get the code as well.
    check_denials(true, &[("nobody.p2p A", "NXDomain | @p2p. 6 | @nobody.p2p. -> \\000.nobody.p2p. 46 47 128")]);
}

#[test]
fn without_do_a_signed_zone_answers_as_ever() {
    let site = site(&SUFFIXES).signed_with(&b"key".to_vec().into());
    let table = world("p2p");
    for text in ["nobody.p2p A", "alice.p2p SRV", "x.nods.child.p2p A", "x.sub.child.p2p A", "b.c.alice.p2p A", "p2p A"]
    {
        assert_eq!(ask_site(&table, &query(text), &site), ask(&table, &query(text)), "{text}");
    }
}

/// A program that sets up a machine sees by this name that it asks a resolver of the ledger, complete or not.
#[test]
fn the_probe_is_answered_from_the_start() {
    let table = world("p2p");
    for readiness in [Readiness::NotReady { height: 0, target: None }, Readiness::Ready] {
        table.set_readiness(readiness);
        for (text, expected) in
            [("up.nic.p2p A", "NoError aa | up.nic.p2p. A 192.0.2.1"), ("up.nic.p2p AAAA", "NoError aa | @p2p. SOA")]
        {
            assert_eq!(show(&ask(&table, &query(text)).expect("ours")), expected, "{text}");
        }
    }
    assert_eq!(show(&ask(&table, &query("x.up.nic.p2p A")).expect("ours")), "NXDomain aa | @p2p. SOA");
}

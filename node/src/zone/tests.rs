//! Tables of text and wire forms, and of mistakes and what is said about them.

use ledger::{
    hash::{from_hex, to_hex},
    name::Name,
    record::{RECORD_TYPES, Record, Records, type_number},
};
use proptest::prelude::*;

use super::*;

fn origin() -> Origin {
    Origin::new(Name::new("alice").expect("valid"), "p2p")
}

fn read_one(text: &str) -> Record {
    let records = read(text, &origin()).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
    assert_eq!(records.as_slice().len(), 1, "{text}");
    records.as_slice()[0].clone()
}

/// Text → wire as given → text as given (or as read) → the same wire.
fn check(rtype: &str, text: &str, wire_hex: &str, printed: &str) {
    let record = read_one(&format!("@ {rtype} {text}"));
    assert_eq!(to_hex(&record.rdata), wire_hex, "{rtype} {text}");
    let line = record_line(&record, &origin());
    assert_eq!(line, format!("@ 3600 {rtype} {printed}"));
    assert_eq!(read_one(&line), record, "{line}");
}

const ALICE: &str = "05616c69636503703270" /* alice.p2p, without the root */;

#[test]
fn addresses_and_names() {
    check("A", "192.0.2.1", "c0000201", "192.0.2.1");
    check("AAAA", "2001:DB8::1", "20010db8000000000000000000000001", "2001:db8::1");
    check("NS", "ns1.example.org.", "036e7331076578616d706c65036f726700", "ns1.example.org.");
    check("CNAME", "www", &format!("03777777{ALICE}00"), "www");
    check("DNAME", "@", &format!("{ALICE}00"), "@");
    check("MX", "10 Mail", &format!("000a046d61696c{ALICE}00"), "10 mail");
    check("MX", "0 .", "000000", "0 .");
    check("SRV", "0 5 443 host.alice.p2p.", &format!("0000000501bb04686f7374{ALICE}00"), "0 5 443 host");
}

#[test]
fn texts() {
    check("TXT", "\"v=spf1 -all\"", "0b763d73706631202d616c6c", "\"v=spf1 -all\"");
    check("TXT", "a \"b c\"", "016103622063", "\"a\" \"b c\"");
    check("TXT", "\"\"", "00", "\"\"");
    check("TXT", r#""\"\\\000é;""#, "06225c00c3a93b", r#""\"\\\000\195\169;""#);
    check(
        "CAA",
        "0 issue \"ca.example.org\"",
        "0005697373756563612e6578616d706c652e6f7267",
        "0 issue \"ca.example.org\"",
    );
    check(
        "URI",
        "10 1 \"https://a.example/;x\"",
        "000a000168747470733a2f2f612e6578616d706c652f3b78",
        "10 1 \"https://a.example/;x\"",
    );
    let naptr = r#"100 10 "u" "E2U+sip" "!^.*$!sip:i@example.org!" ."#;
    check("NAPTR", naptr, "0064000a0175074532552b73697018215e2e2a24217369703a69406578616d706c652e6f72672100", naptr);
}

#[test]
fn digests_and_keys() {
    check("DS", "12345 13 2 AB CD", "30390d02abcd", "12345 13 2 abcd");
    check("SSHFP", "4 2 abcd", "0402abcd", "4 2 abcd");
    check("TLSA", "3 1 1 ( ab\n cd )", "030101abcd", "3 1 1 abcd");
    check("SMIMEA", "3 0 1 abcd", "030001abcd", "3 0 1 abcd");
    check("OPENPGPKEY", "mQ GN", "99018d", "mQGN");
    check("TYPE65280", "\\# 2 beef", "beef", "\\# 2 beef");
    check("TYPE65534", "\\# 0", "", "\\# 0");
    check("A", "\\# 4 c0000201", "c0000201", "192.0.2.1");
}

#[test]
fn service_bindings() {
    check("HTTPS", "0 www", &format!("000003777777{ALICE}00"), "0 www");
    check("HTTPS", "1 .", "000100", "1 .");
    check(
        "HTTPS",
        "1 . port=8443 alpn=h2,h3",
        "000100000100060268320268330003000220fb",
        "1 . alpn=\"h2,h3\" port=8443",
    );
    check("SVCB", "1 . no-default-alpn alpn=h2", "0001000001000302683200020000", "1 . alpn=\"h2\" no-default-alpn");
    check(
        "SVCB",
        "1 . ipv4hint=192.0.2.1,192.0.2.2",
        "00010000040008c0000201c0000202",
        "1 . ipv4hint=192.0.2.1,192.0.2.2",
    );
    check("SVCB", "1 . ipv6hint=\"::1\"", "0001000006001000000000000000000000000000000001", "1 . ipv6hint=::1");
    check("SVCB", "1 . ech=AAEC key99=\"a b\"", "0001000005000300010200630003612062", "1 . ech=AAEC key99=\"a b\"");
    check("SVCB", "1 . mandatory=port port=1", "000100000000020003000300020001", "1 . mandatory=port port=1");
    // RFC 9460 appendix D.2: a comma and a backslash inside a protocol id.
    check(
        "SVCB",
        r#"16 . alpn="f\\\\oo\\,bar,h2""#,
        "0010000001000c08665c6f6f2c626172026832",
        r#"16 . alpn="f\\\\oo\\,bar,h2""#,
    );
}

#[test]
fn locations() {
    // RFC 1876 §4 gives the text; the wire form follows its §2.
    let printed = "42 21 54.000 N 71 6 18.000 W -24.00m 30.00m 10000.00m 10.00m";
    check("LOC", "42 21 54 N 71 06 18 W -24m 30m", "0033161389172dd070be15f000988d20", printed);
    check(
        "LOC",
        "0 N 0 E 0",
        "00121613800000008000000000989680",
        "0 0 0.000 N 0 0 0.000 E 0.00m 1.00m 10000.00m 10.00m",
    );
}

#[test]
fn a_whole_file() {
    let text = "
$TTL 5m
; a comment
@        A     192.0.2.1
         AAAA  2001:db8::1
www 600 IN CNAME @
*.Apps   A     192.0.2.2
$ORIGIN lab
x        TXT   ( one   ; first
                 two )
";
    // The last name is relative to lab.alice.p2p.; everything else to alice.p2p.
    let records = read(text, &origin()).expect("valid");
    let lines: Vec<String> = records.as_slice().iter().map(|record| record_line(record, &origin())).collect();
    assert_eq!(
        lines,
        [
            "@ 300 A 192.0.2.1",
            "@ 300 AAAA 2001:db8::1",
            "*.apps 300 A 192.0.2.2",
            "x.lab 300 TXT \"one\" \"two\"",
            "www 600 CNAME @",
        ]
    );
    let printed = print(&records, &origin());
    assert_eq!(read(&printed, &origin()), Ok(records), "{printed}");
    insta::assert_snapshot!(printed, @r#"
    $ORIGIN alice.p2p.
    $TTL 300
    @              A      192.0.2.1
    @              AAAA   2001:db8::1
    *.apps         A      192.0.2.2
    x.lab          TXT    "one" "two"
    www     600    CNAME  @
    "#);
}

#[test]
fn an_empty_file_has_no_records() {
    for text in ["", "\n\n", "; nothing\n", "$TTL 300\n"] {
        assert_eq!(read(text, &origin()), Ok(Records::empty()));
    }
    assert_eq!(read(&print(&Records::empty(), &origin()), &origin()), Ok(Records::empty()));
}

/// The first problem of a text, as shown.
fn check_problem(text: &str, expected: &str) {
    let problems = read(text, &origin()).expect_err(text);
    let shown = format!("{} | {}", problems[0], problems[0].fix);
    assert_eq!(shown, expected, "{text}");
}

#[test]
fn mistakes_are_placed_and_explained() {
    check_problem("@ A 192.0.2.256", "1:5: \"192.0.2.256\" is not an IPv4 address | write A 192.0.2.1");
    check_problem("\n\n@ A", "3:3: the record ends too early | write A 192.0.2.1");
    check_problem("@ A 192.0.2.1 x", "1:15: \"x\" is one field too many | write A 192.0.2.1");
    check_problem("@ AAA ::1", "1:3: type \"AAA\" is not kept in the ledger | did you mean AAAA?");
    check_problem(
        "@ SOA a b 1 2 3 4 5",
        "1:3: type \"SOA\" is not kept in the ledger | remove the line: the resolver makes the SOA record itself",
    );
    check_problem("  A 192.0.2.1", "1:3: the first record has no owner | begin the line with @ or a name");
    check_problem(
        "www.alice.p2p A 192.0.2.1",
        "1:1: www.alice.p2p has no dot at its end, so it would mean www.alice.p2p.alice.p2p. | write www.alice.p2p.",
    );
    check_problem(
        "@ MX 10 mail.alice.p2p",
        "1:9: mail.alice.p2p has no dot at its end, so it would mean mail.alice.p2p.alice.p2p. | write mail.alice.p2p.",
    );
    check_problem(
        "www.bob.p2p. A 192.0.2.1",
        "1:1: www.bob.p2p. is not below alice.p2p. | an entry holds records of its own name only",
    );
    check_problem(
        "@ 30 A 192.0.2.1",
        "1:3: a time to live of 30 s is out of range | use 60 to 604800 seconds (a week)",
    );
    check_problem("@ CH A 192.0.2.1", "1:3: only the class IN exists here | write IN or nothing");
    check_problem("$INCLUDE x", "1:1: $INCLUDE is not supported here | write its records out");
    check_problem(
        "k TXT v=DKIM1; k=rsa",
        "1:7: \"v=DKIM1\" ends at a ';', and what follows would be a comment | put the text in quotes, or a blank before the comment",
    );
    check_problem("@ TXT \"open", "1:7: the quote is never closed | add '\"' at the end of the text");
    check_problem("@ TYPE65280 \\# 3 beef", "1:13: the length says 3 bytes, but 2 follow | correct the length");
    check_problem("@ A \\# 3 c00002", "1:5: these bytes are not data of this type | write A 192.0.2.1");
    check_problem("@ MX \\# 3 000aff", "1:6: these bytes are not data of this type | write MX 10 mail");
    check_problem("@ A 192.0.2.1\n@ 600 A 192.0.2.1", "2: the same record as in line 1 | remove one of them");
    check_problem("a.*.b A 192.0.2.1", "1:1: * may only be the first label | write *.sub");
    check_problem("@ TLSA 3 1 1 abc", "1:14: not hexadecimal | write an even number of digits 0-9 and a-f");
    check_problem(
        "@ HTTPS 1 . alpm=h2",
        "1:13: unknown parameter \"alpm\" | use one of mandatory alpn no-default-alpn port ipv4hint ech ipv6hint dohpath ohttp or key<number>",
    );
    check_problem(
        "@ HTTPS 0 . alpn=h2",
        "1:13: a record of priority 0 is an alias and has no parameters | use priority 1",
    );
}

#[test]
fn more_mistakes_are_refused() {
    for text in [
        "@ LOC 91 N 0 E 0m",
        "@ LOC 0 N 181 E 0m",
        "@ LOC 0 60 N 0 E 0m",
        "@ LOC N 0 E 0m",
        "@ LOC 0 N 0 E 0m 15m",
        "@ LOC 0 N 0 E",
        "@ SVCB 1 . port=1 port=2",
        "@ SVCB 1 . alpn=",
        "@ SVCB 1 . ipv4hint=::1",
        "@ SVCB 1 . key65535=x",
        "@ SVCB 1 . mandatory=alpn",
        "@ SVCB 1 . mandatory=mandatory",
        "@ SVCB 1 . no-default-alpn=x",
        "@ SVCB 1",
        "@ SVCB x .",
        "@ CAA 0 is-sue x",
        "@ CAA 0 issue a b",
        "@ CAA 256 issue a",
        "@ SRV 0 0 70000 x",
        "@ URI 1 1 \"\"",
        "@ OPENPGPKEY @@@",
        "@ DS 1 2 3",
        "@ TYPE1 \\# 4 01020304x",
        "@ TYPE6 \\# 0",
        "@ TYPE65280 beef",
        "@ \"A\" 192.0.2.1",
        "@ TXT",
        "$TTL",
        "$TTL x",
        "$ORIGIN org.",
    ] {
        assert!(read(text, &origin()).is_err(), "{text}");
    }
}

#[test]
fn limits_of_the_set() {
    let many: String = (0..33).map(|n| format!("@ A 192.0.2.{n}\n")).collect();
    check_problem(
        &many,
        "33: an entry holds at most 32 records, this makes 33 | delegate to your own servers with NS records",
    );
    let text = "x".repeat(250);
    let long: String = (0..4).map(|n| format!("t{n} TXT {text}\n")).collect();
    check_problem(
        &long,
        "4: an entry holds at most 1024 bytes of records, this makes 1053 | shorten the data, or delegate with NS records",
    );
    check_problem(&"@ A x\n".repeat(50), "1:5: \"x\" is not an IPv4 address | write A 192.0.2.1");
    assert_eq!(read(&"@ A x\n".repeat(50), &origin()).expect_err("bad").len(), MAX_PROBLEMS);
    assert!(read(&" ".repeat(MAX_TEXT_BYTES + 1), &origin()).is_err());
}

#[test]
fn findings() {
    let check = |text: &str, expected: &[&str]| {
        let records = read(text, &origin()).expect("valid");
        let found: Vec<String> = lint(&records, &origin()).into_iter().map(|finding| finding.text).collect();
        assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
        for (text, part) in found.iter().zip(expected) {
            assert!(text.contains(part), "{text} should mention {part}");
        }
    };
    check("@ A 192.0.2.1\nwww CNAME @", &[]);
    check("www CNAME example.org.\nwww A 192.0.2.1", &["hidden behind it"]);
    check("w CNAME a.example.\nw CNAME b.example.", &["only one"]);
    check("@ 60 A 192.0.2.1\n@ 90 A 192.0.2.2", &["TTLs differ, 60"]);
    check("@ MX 10 mail", &["no address here"]);
    check("@ MX 10 example.org", &["outside names need a dot"]);
    check("@ MX 10 mail\n* A 192.0.2.1", &[]);
    check("*.x NS ns.example.", &["wildcard"]);
    check("x DS 1 13 2 ab", &["no NS record"]);
    check("x NS ns.x\nns.x A 192.0.2.1\na.x TXT hidden", &["x is delegated"]);
}

proptest! {
    /// Whatever bytes stand under whatever type, their text reads back to them.
    #[test]
    fn any_data_reads_back(
        rtype in prop::sample::select(RECORD_TYPES.iter().map(|(_, number)| *number).chain([65_280, 65_534]).collect::<Vec<_>>()),
        rdata in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let text = rdata_text(rtype, &rdata);
        // Data that has not its type's shape is printed generically, and refused when read under that type.
        let line = format!("@ TYPE65281 {text}");
        let line = if text.starts_with("\\#") { line } else { format!("@ TYPE{rtype} {text}") };
        let record = read(&line, &origin()).map_err(|p| TestCaseError::fail(format!("{line}: {p:?}")))?;
        prop_assert_eq!(&record.as_slice()[0].rdata, &rdata, "{}", line);
    }

    /// The same for names, which random bytes seldom are.
    #[test]
    fn any_name_reads_back(labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..9), 0..6)) {
        let wire: Vec<u8> = labels.iter().flat_map(|label| {
            let lower = label.to_ascii_lowercase();
            [&[lower.len() as u8], &lower[..]].concat()
        }).chain([0]).collect();
        let text = rdata_text(2, &wire);
        // Bytes above ASCII are escaped in print, and an escaped label is not taken for Unicode.
        if wire.is_ascii() {
            prop_assert_eq!(&read_one(&format!("@ NS {text}")).rdata, &wire, "{}", text);
        }
    }

    /// No text makes the reader panic.
    #[test]
    fn any_text(text in "[ -~\n\"\\\\();$@.0-9a-zA-Zé]{0,120}") {
        let _ = read(&text, &origin());
    }

    /// Nor does a text that begins like a record.
    #[test]
    fn any_tail(
        rtype in prop::sample::select(RECORD_TYPES.iter().map(|(name, _)| *name).collect::<Vec<_>>()),
        tail in "[ -~\n]{0,60}",
    ) {
        if let Ok(records) = read(&format!("@ {rtype} {tail}"), &origin()) {
            prop_assert_eq!(read(&print(&records, &origin()), &origin()), Ok(records));
        }
    }
}

#[test]
fn every_type_has_a_text_form() {
    for (name, number) in RECORD_TYPES {
        assert_eq!(type_number(name), Some(number));
        let problem = read(&format!("@ {name} \"\" \"\" \"\""), &origin());
        let generic = problem.as_ref().is_err_and(|problems| problems[0].what.contains("no text form"));
        assert!(!generic, "{name}");
    }
    assert_eq!(from_hex("00"), Some(vec![0]));
}

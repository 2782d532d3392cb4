//! Delegated names whose zones are signed: what is right is told, and what is not, is not.

mod support {
    pub mod signed;
    pub mod upstream;
    #[path = "../support/mod.rs"]
    pub mod world;
}

use std::sync::Arc;

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        RecordType,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};
use prometheus::Registry;
use resolver::{
    DnsConfig, DnsMetrics,
    dns::{name::Dname, rtype},
    serve::udp::Responder,
};
use support::{
    signed::{Denial, Draft, NSEC3, Zone, name, serve},
    upstream::{Fake, Kind, Script, encode, record, reply, target},
    world::{
        ACTIVE,
        server::{DEADLINE, request, with_edns},
        table,
    },
};
use tokio::time::timeout;

const PLAIN: Denial = Denial::Nsec;
const HASHED: Denial = Denial::Nsec3 { iterations: 0, opt_out: false };
const OPEN: Denial = Denial::Nsec3 { iterations: 5, opt_out: true };

/// Changes the truth before it is sent.
type Change = fn(&[Zone], (&Dname, u16), &mut Draft);

fn unsign(_: &[Zone], _: (&Dname, u16), draft: &mut Draft) {
    draft.answer.retain(|it| it.1 != rtype::RRSIG);
}

fn unproven(_: &[Zone], _: (&Dname, u16), draft: &mut Draft) {
    let soa = draft.authority.iter().position(|it| matches!(it.1, rtype::NSEC | NSEC3));
    draft.authority.truncate(soa.expect("a proof"));
}

fn truth(_: &[Zone], _: (&Dname, u16), _: &mut Draft) {}

/// A node, and the server of all that is delegated.
struct Setup {
    responder: Responder,
    delegated: Fake,
    /// DS lines of the ledger.
    ds: String,
}

/// The zone `signed.p2p`, with a signed and an unsigned zone below it on the same server.
fn zones(denial: Denial) -> Vec<Zone> {
    let below = [("@", rtype::A, vec![203, 0, 113, 9]), ("www", rtype::A, vec![203, 0, 113, 10])];
    let signed = Zone::new("sub.signed.p2p", denial, &below);
    let mut unsigned = Zone::new("child.signed.p2p", denial, &below);
    unsigned.signs = false;
    let zone = Zone::new(
        "signed.p2p",
        denial,
        &[
            ("www", rtype::A, vec![203, 0, 113, 1]),
            ("www", rtype::A, vec![203, 0, 113, 2]),
            ("mail", rtype::MX, [vec![0, 10], target("WWW.signed.p2p")].concat()),
            ("other", rtype::A, vec![203, 0, 113, 5]),
            ("alias", rtype::CNAME, target("www.signed.p2p")),
            ("*.wild", rtype::A, vec![203, 0, 113, 3]),
            ("*.to", rtype::CNAME, target("www.signed.p2p")),
            ("out", rtype::CNAME, target("www.example")),
            ("*.far", rtype::CNAME, target("www.example")),
            ("own.wild", rtype::TXT, b"\x03own".to_vec()),
            ("deep.ent", rtype::A, vec![203, 0, 113, 4]),
            ("old", rtype::DNAME, target("wild.signed.p2p")),
            ("child", rtype::NS, target("ns1.signed.p2p")),
            ("sub", rtype::NS, target("ns1.signed.p2p")),
            ("sub", rtype::DS, signed.ds(2)),
        ],
    );
    vec![zone, signed, unsigned]
}

impl Setup {
    async fn new(
        zones: Vec<Zone>,
        change: impl Fn(&[Zone], (&Dname, u16), &mut Draft) + Send + Sync + 'static,
    ) -> Self {
        let ds = zones[0].ds(2);
        Self::with_ds(zones, &[ds], change).await
    }

    async fn with_ds(
        zones: Vec<Zone>,
        ds: &[Vec<u8>],
        change: impl Fn(&[Zone], (&Dname, u16), &mut Draft) + Send + Sync + 'static,
    ) -> Self {
        let delegated = Fake::plain(serve(zones, change)).await;
        let hex = |data: &Vec<u8>| data.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let ds: String = ds.iter().map(|data| format!("\n@ DS {}", hex(data))).collect();
        let responder = responder("@ NS ns1.signed.p2p\nns1 A 127.0.0.1", &ds, delegated.addr.port(), None);
        Self { responder, delegated, ds }
    }

    /// The same with other name servers in the ledger.
    fn with_hosts(self, hosts: &str) -> Self {
        let responder = responder(hosts, &self.ds, self.delegated.addr.port(), None);
        Self { responder, ..self }
    }

    /// The same with an upstream for all other names.
    fn with_upstream(self, upstream: &Fake) -> Self {
        let hosts = "@ NS ns1.signed.p2p\nns1 A 127.0.0.1";
        let responder = responder(hosts, &self.ds, self.delegated.addr.port(), Some(upstream));
        Self { responder, ..self }
    }

    async fn say(&self, message: &Message) -> Message {
        let (bytes, client) = (encode(message), "127.0.0.1:4000".parse().expect("an address"));
        let mut responses = timeout(DEADLINE, self.responder.clone().messages(bytes, client)).await.expect("in time");
        Message::from_vec(&responses.next().expect("a response")).expect("a message")
    }

    async fn ask(&self, qname: &str, qtype: u16) -> Message {
        self.say(&with_edns(request(qname, RecordType::from(qtype)), 1_232)).await
    }

    /// What is said, and why.
    async fn hear(&self, qname: &str, qtype: u16) -> (String, u16, String) {
        let said = self.ask(qname, qtype).await;
        let (code, text) = why(&said);
        assert!(!said.metadata.authentic_data, "AD stays clear");
        assert!(said.metadata.recursion_available, "RA is set");
        (show(&said), code, text)
    }
}

/// A node whose ledger has these records of `signed.p2p`.
fn responder(hosts: &str, ds: &str, port: u16, upstream: Option<&Fake>) -> Responder {
    let world = table(&[("signed", ACTIVE, &format!("{hosts}{ds}"))]);
    let upstreams = upstream.map(|fake| fake.addr.to_string()).into_iter().collect();
    let config = DnsConfig { listen: Vec::new(), delegated_port: port, upstreams, ..DnsConfig::default() };
    let metrics = Arc::new(DnsMetrics::new(&Registry::new()).expect("a fresh registry"));
    Responder::new(&config, Arc::new(world), metrics).expect("a valid configuration")
}

fn show(message: &Message) -> String {
    // What hickory has no words for is left out.
    let shown = message.answers.iter().filter(|record| record.record_type() != RecordType::from(rtype::DNAME));
    let mut records: Vec<String> = shown.map(|record| format!(" {}", record.data)).collect();
    records.sort();
    format!("{:?}{}", message.metadata.response_code, records.concat())
}

/// The extended error: its code and text.
fn why(message: &Message) -> (u16, String) {
    let option = message.edns.as_ref().and_then(|edns| edns.option(EdnsCode::from(15)).cloned());
    let data: Vec<u8> = option.map(|option| (&option).try_into().expect("bytes")).unwrap_or_default();
    let (code, text) = data.split_at_checked(2).unwrap_or_default();
    (code.iter().fold(0, |all, byte| all << 8 | u16::from(*byte)), String::from_utf8_lossy(text).into_owned())
}

/// All that a signed zone can say, by each way of saying what is absent.
#[tokio::test]
async fn what_is_right_is_told() {
    for denial in [PLAIN, HASHED, OPEN, Denial::Nsec3 { iterations: 50, opt_out: false }] {
        let setup = Setup::new(zones(denial), truth).await;
        for (qname, qtype, expected) in [
            ("www.signed.p2p.", rtype::A, "NoError 203.0.113.1 203.0.113.2"),
            ("mail.signed.p2p.", rtype::MX, "NoError 10 www.signed.p2p."),
            ("signed.p2p.", rtype::NS, "NoError ns1.signed.p2p."),
            ("www.signed.p2p.", rtype::TXT, "NoError"),
            ("ent.signed.p2p.", rtype::A, "NoError"),
            ("nobody.signed.p2p.", rtype::A, "NXDomain"),
            ("a.b.nobody.signed.p2p.", rtype::A, "NXDomain"),
            ("below.www.signed.p2p.", rtype::A, "NXDomain"),
            ("a.wild.signed.p2p.", rtype::A, "NoError 203.0.113.3"),
            ("a.k.wild.signed.p2p.", rtype::A, "NoError 203.0.113.3"),
            ("a.wild.signed.p2p.", rtype::TXT, "NoError"),
            ("alias.signed.p2p.", rtype::A, "NoError 203.0.113.1 203.0.113.2 www.signed.p2p."),
            ("a.to.signed.p2p.", rtype::A, "NoError 203.0.113.1 203.0.113.2 www.signed.p2p."),
            ("a.old.signed.p2p.", rtype::A, "NoError 203.0.113.3 a.wild.signed.p2p."),
            // The alias itself: of what makes it only the DNAME is signed.
            ("a.old.signed.p2p.", rtype::CNAME, "NoError a.wild.signed.p2p."),
            ("alias.signed.p2p.", rtype::CNAME, "NoError www.signed.p2p."),
            // Zones below it, with and without keys of their own, and what the parent says of them.
            ("www.sub.signed.p2p.", rtype::A, "NoError 203.0.113.10"),
            ("nobody.sub.signed.p2p.", rtype::A, "NXDomain"),
            ("www.child.signed.p2p.", rtype::A, "NoError 203.0.113.10"),
            ("www.child.signed.p2p.", rtype::TXT, "NoError"),
            ("nobody.child.signed.p2p.", rtype::A, "NXDomain"),
            ("child.signed.p2p.", rtype::DS, "NoError"),
        ] {
            let (said, code, text) = setup.hear(qname, qtype).await;
            assert_eq!((said.as_str(), text.as_str()), (expected, ""), "{denial:?} {qname} {qtype} {code}");
        }
        // Keys are fetched once, and nothing is asked twice.
        let asked = setup.delegated.asked();
        assert_eq!(asked.iter().filter(|text| *text == "signed.p2p. DNSKEY").count(), 1, "{asked:?}");
        let count = asked.len();
        setup.hear("nobody.signed.p2p.", rtype::A).await;
        assert_eq!(setup.delegated.asked().len(), count);
    }
}

/// Each way of being wrong, with the code that says which.
#[tokio::test]
async fn what_is_not_right_is_not_told() {
    // What is asked, which response is changed, how, and what comes of it.
    type Case = (&'static str, u16, (&'static str, u16), Change, u16, &'static str);
    let (www, key) = (("www", rtype::A), ("", rtype::DNSKEY));
    let cases: &[Case] = &[
        ("www", rtype::A, www, |_, _, draft| draft.answer[0].2 = vec![6, 6, 6, 6], 6, "A has a wrong signature"),
        ("www", rtype::A, www, |_, _, draft| drop(draft.answer.remove(0)), 6, "A has a wrong signature"),
        ("www", rtype::A, www, unsign, 10, "no signature"),
        // Data of another name, signature and all.
        (
            "www",
            rtype::A,
            www,
            |zones, (qname, _), draft| {
                draft.answer = zones[0].draft(&name("other.signed.p2p"), rtype::A).answer;
                draft.answer.iter_mut().for_each(|it| it.0 = qname.clone());
            },
            6,
            "A has a wrong signature",
        ),
        // A signature of a zone further below.
        (
            "www",
            rtype::A,
            www,
            |zones, (qname, qtype), draft| {
                draft.answer.pop();
                let data: Vec<Vec<u8>> = draft.answer.iter().map(|it| it.2.clone()).collect();
                draft.answer.push((qname.clone(), rtype::RRSIG, zones[1].sign(qname, qtype, &data)));
            },
            10,
            "no signature",
        ),
        ("www", rtype::A, www, |_, _, draft| *draft = Draft::default(), 12, "nothing proves"),
        (
            "www",
            rtype::A,
            www,
            |zones, _, draft| *draft = zones[0].draft(&name("nobody.signed.p2p"), rtype::A),
            12,
            "nothing proves that www.signed.p2p. does not exist",
        ),
        (
            "www",
            rtype::A,
            www,
            |zones, _, draft| *draft = zones[0].draft(&name("mail.signed.p2p"), rtype::A),
            12,
            "has no such data",
        ),
        ("www", rtype::TXT, ("www", rtype::TXT), unproven, 12, "nothing proves"),
        (
            "www",
            rtype::TXT,
            ("www", rtype::TXT),
            |_, _, draft| draft.authority[0].2[40] ^= 1,
            6,
            "SOA has a wrong signature",
        ),
        (
            "nobody",
            rtype::A,
            ("nobody", rtype::A),
            |_, _, draft| {
                let proofs = draft.authority.iter_mut().filter(|it| matches!(it.1, rtype::NSEC | NSEC3));
                proofs.for_each(|it| *it.2.last_mut().expect("types") ^= 1);
            },
            12,
            "nothing proves",
        ),
        // Nothing of any type, by a name's own proof; no data, by the proof of an alias; an alias that nobody signed.
        (
            "other",
            rtype::ANY,
            ("other", rtype::ANY),
            |zones, _, draft| *draft = zones[0].draft(&name("other.signed.p2p"), rtype::TXT),
            12,
            "has no such data",
        ),
        (
            "alias",
            rtype::TXT,
            ("alias", rtype::TXT),
            |zones, (_, qtype), draft| {
                *draft = zones[0].draft(&name("below.alias.signed.p2p"), qtype);
                draft.is_absent = false;
            },
            12,
            "has no such data",
        ),
        ("alias", rtype::A, ("alias", rtype::A), unsign, 10, "no signature"),
        // A wildcard does not stand for what exists, nor without the proof.
        ("a.wild", rtype::A, ("a.wild", rtype::A), unproven, 12, "is made from a wildcard"),
        // The proof of another absence. Hashes of short names are what they are: this one is not covered by chance.
        (
            "q.wild",
            rtype::A,
            ("q.wild", rtype::A),
            |zones, (_, qtype), draft| {
                draft.authority = zones[0].draft(&name("nobody.signed.p2p"), qtype).authority;
            },
            12,
            "is made from a wildcard",
        ),
        (
            "alias",
            rtype::A,
            ("alias", rtype::A),
            |_, _, draft| draft.answer[0].2 = target("mail.signed.p2p"),
            6,
            "CNAME has a wrong signature",
        ),
        (
            "a.old",
            rtype::A,
            ("a.old", rtype::A),
            |_, _, draft| {
                draft.answer[0].2 = target("ent.signed.p2p");
                draft.answer[2].2 = target("a.ent.signed.p2p");
            },
            6,
            "DNAME has a wrong signature",
        ),
        // The zone below is signed, whatever the server says.
        ("www.sub", rtype::A, ("www.sub", rtype::A), unsign, 10, "no signature"),
        ("www.sub", rtype::A, ("sub", rtype::DS), |_, _, draft| *draft = Draft::default(), 12, "sub.signed.p2p."),
        (
            "www.sub",
            rtype::A,
            ("sub", rtype::DS),
            |zones, _, draft| {
                *draft = zones[0].draft(&name("child.signed.p2p"), rtype::DS);
            },
            12,
            "nothing proves that sub.signed.p2p.",
        ),
        (
            "www.sub",
            rtype::A,
            ("sub", rtype::DS),
            |_, _, draft| draft.answer[0].2[10] ^= 1,
            6,
            "DS has a wrong signature",
        ),
        // The child is no witness of what its parent says.
        (
            "www.sub",
            rtype::A,
            ("sub", rtype::DS),
            |zones, _, draft| {
                *draft = zones[1].draft(&name("sub.signed.p2p"), rtype::DS);
            },
            10,
            "no signature",
        ),
        // Keys.
        ("www", rtype::A, key, |_, _, draft| *draft = Draft::default(), 9, "tell no key"),
        ("www", rtype::A, key, |_, _, draft| draft.answer[0].2[0] = 0, 9, "no key of signed.p2p. is the one"),
        ("www", rtype::A, key, unsign, 10, "DNSKEY has no signature"),
        (
            "www",
            rtype::A,
            key,
            |_, (qname, qtype), draft| {
                let key = draft.answer[0].2.clone();
                draft.answer.extend((0..64).map(|n| (qname.clone(), qtype, [&key[..], &[n]].concat())));
            },
            9,
            "has too many keys",
        ),
        // A key of the attacker's beside the true one.
        (
            "www",
            rtype::A,
            key,
            |zones, (qname, qtype), draft| {
                draft.answer.push((qname.clone(), qtype, zones[1].dnskey()));
            },
            6,
            "DNSKEY has a wrong signature",
        ),
    ];
    for denial in [PLAIN, HASHED] {
        for (label, qtype, altered, change, code, text) in cases {
            let qname = format!("{label}.signed.p2p.");
            let at = (name(format!("{}.signed.p2p", altered.0).trim_start_matches('.')), altered.1);
            let change = *change;
            let setup = Setup::new(zones(denial), move |zones, asked, draft| {
                if (asked.0, asked.1) == (&at.0, at.1) {
                    change(zones, asked, draft);
                }
            })
            .await;
            let (said, found, words) = setup.hear(&qname, *qtype).await;
            let case = format!("{denial:?} {qname} {qtype} {text}: {said} {found} {words}");
            assert!(said == "ServFail" && found == *code && words.contains(text), "{case}");
            assert!(words.starts_with("signed.p2p. is delegated, and what its servers say is not valid: "), "{case}");
            // Whoever leaves checking to himself gets it all the same.
            let mut own = with_edns(request(&qname, RecordType::from(*qtype)), 1_232);
            own.metadata.checking_disabled = true;
            let raw = setup.say(&own).await;
            assert!(!show(&raw).starts_with("ServFail") || why(&raw).0 == 22, "{case}: {raw}");
            assert!(!raw.metadata.authentic_data);
        }
    }
}

/// No signature covers the code of a message: what is told is what the records prove.
#[tokio::test]
async fn codes_are_not_believed() {
    for code in [ResponseCode::NXDomain, ResponseCode::YXDomain] {
        for denial in [PLAIN, HASHED] {
            let setup = Setup::new(zones(denial), move |_, _, draft| draft.code = Some(code)).await;
            for (qname, expected) in [
                ("www.signed.p2p.", "NoError 203.0.113.1 203.0.113.2"),
                ("a.wild.signed.p2p.", "NoError 203.0.113.3"),
                ("a.old.signed.p2p.", "NoError 203.0.113.3 a.wild.signed.p2p."),
                ("www.sub.signed.p2p.", "NoError 203.0.113.10"),
            ] {
                assert_eq!(setup.hear(qname, rtype::A).await.0, expected, "{code} {denial:?} {qname}");
            }
            let (said, found, _) = setup.hear("ent.signed.p2p.", rtype::A).await;
            assert_eq!((said.as_str(), found != 0), ("ServFail", true), "{code} {denial:?}");
        }
    }
}

/// The proof of a wildcard, under the name of what it is made into, would deny what that name has of its own.
#[tokio::test]
async fn proofs_are_not_made_from_wildcards() {
    let change: Change = |zones, (qname, qtype), draft| {
        if *qname == name("own.wild.signed.p2p") && qtype == rtype::TXT {
            *draft = zones[0].draft(&name("a.wild.signed.p2p"), qtype);
            let wildcard = name("*.wild.signed.p2p");
            draft.authority.iter_mut().filter(|it| it.0 == wildcard).for_each(|it| it.0 = qname.clone());
        }
    };
    let setup = Setup::new(zones(PLAIN), change).await;
    assert_eq!(setup.hear("own.wild.signed.p2p.", rtype::TXT).await.1, 12);
    let setup = Setup::new(zones(PLAIN), truth).await;
    assert_eq!(setup.hear("own.wild.signed.p2p.", rtype::TXT).await.0, "NoError own");
}

/// One of two servers has old signatures, or somebody answers in its place: the other one is asked.
#[tokio::test]
async fn a_zone_is_not_bogus_for_one_bad_server() {
    for bad in [unsign as Change, |_, _, draft| *draft = Draft::default()] {
        let setup = Setup::new(zones(PLAIN), truth).await;
        let port = setup.delegated.addr.port();
        let at = format!("127.0.0.2:{port}").parse().expect("an address");
        // With keys of its own it is as bad as it can be.
        let worse = Fake::start_at(at, Kind::Plain, serve(zones(PLAIN), bad), None).await;
        let hosts = "@ NS ns1.signed.p2p\n@ NS ns2.signed.p2p\nns1 A 127.0.0.2\nns2 A 127.0.0.1";
        let setup = setup.with_hosts(hosts);
        for qname in ["www.signed.p2p.", "other.signed.p2p.", "a.wild.signed.p2p."] {
            let (said, _, text) = setup.hear(qname, rtype::A).await;
            assert!(said.starts_with("NoError 203.0.113."), "{qname} {said} {text}");
        }
        assert!(!worse.asked().is_empty(), "it was asked, too");
    }
}

/// Why servers of a zone fail is theirs to know, and no judgement of ours.
#[tokio::test]
async fn reasons_of_others_are_not_ours() {
    let script: Script = Arc::new(|question, _| {
        let mut response = reply(question);
        response.metadata.response_code = ResponseCode::ServFail;
        if let Some(edns) = response.edns.as_mut() {
            edns.options_mut().insert(EdnsOption::Unknown(15, b"\0\x06says who".to_vec()));
        }
        vec![encode(&response)]
    });
    let setup = Setup::new(zones(PLAIN), truth).await;
    setup.delegated.behave(script);
    let (said, code, words) = setup.hear("www.signed.p2p.", rtype::A).await;
    assert_eq!((said.as_str(), code), ("ServFail", 22));
    assert!(words.contains("asking its servers failed") && words.contains("says who"), "{words}");
}

/// What upstreams say at the end of an alias is no proof about the alias.
#[tokio::test]
async fn upstreams_prove_nothing_about_aliases() {
    let unproven: Script = Arc::new(|question, _| {
        let mut response = reply(question);
        let query = &question.queries[0];
        let qname = query.name().to_string();
        if query.query_type() == RecordType::A {
            response.answers.push(record(&qname, rtype::A, 60, &[203, 0, 113, 77]));
        } else {
            // "An unsigned zone begins at the alias."
            let data = [target("zz.signed.p2p"), vec![0, 1, 0x20]].concat();
            response.authorities.push(record("out.signed.p2p.", rtype::NSEC, 60, &data));
            response.authorities.push(record("example.", rtype::SOA, 60, &[&[0, 0][..], &[0; 20]].concat()));
        }
        vec![encode(&response)]
    });
    let upstream = Fake::plain(unproven).await;
    let change: Change = |_, (qname, qtype), draft| {
        if *qname == name("out.signed.p2p") && qtype == rtype::A {
            draft.answer = vec![(qname.clone(), rtype::A, vec![6, 6, 6, 6])];
        }
    };
    let setup = Setup::new(zones(PLAIN), change).await.with_upstream(&upstream);
    let (said, code, _) = setup.hear("out.signed.p2p.", rtype::A).await;
    assert_eq!((said.as_str(), code), ("ServFail", 10));
    // And the truth goes on to the upstream, with the proof that the alias is made from a wildcard.
    let setup = Setup::new(zones(PLAIN), truth).await.with_upstream(&upstream);
    assert_eq!(setup.hear("out.signed.p2p.", rtype::A).await.0, "NoError 203.0.113.77 www.example.");
    let mut message = with_edns(request("a.far.signed.p2p.", RecordType::A), 1_232);
    message.edns.as_mut().expect("EDNS").set_dnssec_ok(true);
    let said = setup.say(&message).await;
    assert!(said.authorities.iter().any(|record| record.record_type() == RecordType::NSEC), "{said}");
}

#[tokio::test]
async fn signatures_have_their_time() {
    for (holds, code, text) in [((-7_200, -3_600), 7, "expired"), ((3_600, 7_200), 8, "of the future")] {
        let mut all = zones(PLAIN);
        all[0].holds = holds;
        let (said, found, words) = Setup::new(all, truth).await.hear("www.signed.p2p.", rtype::A).await;
        assert!(said == "ServFail" && found == code && words.contains(text), "{said} {found} {words}");
    }
    // Nobody keeps an answer for longer than its signatures hold.
    let mut all = zones(PLAIN);
    all[0].holds = (-3_600, 100);
    let setup = Setup::new(all, truth).await;
    for (qname, qtype) in [("www.signed.p2p.", rtype::A), ("nobody.signed.p2p.", rtype::A)] {
        let said = setup.ask(qname, qtype).await;
        let ttls: Vec<u32> = said.answers.iter().chain(&said.authorities).map(|record| record.ttl).collect();
        assert!(!ttls.is_empty() && ttls.iter().all(|ttl| (1..=100).contains(ttl)), "{qname} {ttls:?}");
    }
}

/// Which DS records there are decides whether a zone is signed.
#[tokio::test]
async fn the_ledger_says_what_is_signed() {
    let forge: Change = |_, (_, qtype), draft| {
        if qtype == rtype::A {
            draft.answer[0].2 = vec![6, 6, 6, 6];
        }
    };
    let (good, forged) = ("NoError 203.0.113.1 203.0.113.2", "NoError 203.0.113.2 6.6.6.6");
    let of = |zone: &Zone, at: usize, value: u8| {
        let mut ds = zone.ds(2);
        ds[at] = value;
        ds
    };
    for (ds, forged_is, code) in [
        (vec![], forged, 0),
        // Algorithms and digests that nobody here knows, and SHA-1.
        (vec![("algorithm", 2, 99)], forged, 0),
        (vec![("digest", 3, 99)], forged, 0),
        (vec![("algorithm", 2, 99), ("none", 0, 0)], "ServFail", 6),
        (vec![("none", 0, 0)], "ServFail", 6),
    ] {
        let make = || {
            let all = zones(PLAIN);
            let ds: Vec<Vec<u8>> = ds
                .iter()
                .map(|(what, at, value)| if *what == "none" { all[0].ds(2) } else { of(&all[0], *at, *value) })
                .collect();
            (all, ds)
        };
        let (all, data) = make();
        let setup = Setup::with_ds(all, &data, truth).await;
        assert_eq!(setup.hear("www.signed.p2p.", rtype::A).await.0, good, "{ds:?}");
        let is_signed = forged_is == "ServFail";
        assert_eq!(setup.delegated.asked().iter().any(|text| text.ends_with("DNSKEY")), is_signed, "{ds:?}");
        let (all, data) = make();
        let (said, found, _) = Setup::with_ds(all, &data, forge).await.hear("www.signed.p2p.", rtype::A).await;
        assert_eq!((said.as_str(), found), (forged_is, code), "{ds:?}");
    }
    // SHA-384, and a digest of another key.
    let all = zones(PLAIN);
    let ds = all[0].ds(4);
    assert_eq!(Setup::with_ds(all, &[ds], truth).await.hear("www.signed.p2p.", rtype::A).await.0, good);
    let all = zones(PLAIN);
    let mut ds = all[0].ds(2);
    ds[20] ^= 1;
    let (said, code, words) = Setup::with_ds(all, &[ds], truth).await.hear("www.signed.p2p.", rtype::A).await;
    assert!(said == "ServFail" && code == 9 && words.contains("no key of signed.p2p."), "{said} {code} {words}");
}

/// Signatures and proofs are for those who ask for them.
#[tokio::test]
async fn who_validates_gets_signatures_and_proofs() {
    let setup = Setup::new(zones(HASHED), truth).await;
    let count = |message: &Message, rtype: u16| {
        let all = message.answers.iter().chain(&message.authorities);
        all.filter(|record| record.record_type() == RecordType::from(rtype)).count()
    };
    let is_proven = [("www", false), ("nobody", true), ("a.wild", true), ("a.to", true)];
    for (label, is_proven) in is_proven {
        let qname = &format!("{label}.signed.p2p.");
        let without = setup.ask(qname, rtype::A).await;
        assert_eq!((count(&without, rtype::RRSIG), count(&without, NSEC3)), (0, 0), "{qname}");
        let mut message = with_edns(request(qname, RecordType::A), 1_232);
        message.edns.as_mut().expect("EDNS").set_dnssec_ok(true);
        let with = setup.say(&message).await;
        assert!(count(&with, rtype::RRSIG) > 0 && (count(&with, NSEC3) > 0) == is_proven, "{qname}: {with}");
    }
}

/// NSEC3 with more iterations than count proves nothing, and is no work.
#[tokio::test]
async fn costly_proofs_count_as_unsigned() {
    let setup = Setup::new(zones(Denial::Nsec3 { iterations: 2_500, opt_out: false }), truth).await;
    assert_eq!(setup.hear("nobody.signed.p2p.", rtype::A).await.0, "NXDomain");
    assert_eq!(setup.hear("www.signed.p2p.", rtype::A).await.0, "NoError 203.0.113.1 203.0.113.2");
    // But its signatures have to be right.
    let change: Change = |_, (qname, _), draft| {
        if *qname == name("nobody.signed.p2p") {
            draft.authority.retain(|it| it.1 != rtype::RRSIG);
        }
    };
    let setup = Setup::new(zones(Denial::Nsec3 { iterations: 2_500, opt_out: false }), change).await;
    assert_eq!(setup.hear("nobody.signed.p2p.", rtype::A).await.0, "ServFail");
}

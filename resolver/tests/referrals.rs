//! Zones below a delegated name on servers of their own: who is asked, and what is believed of whom.

mod support {
    pub mod signed;
    pub mod upstream;
    #[path = "../support/mod.rs"]
    pub mod world;
}

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RecordType, rdata::opt::EdnsCode},
};
use prometheus::Registry;
use resolver::{
    DnsConfig, DnsMetrics,
    dns::{name::Dname, rtype},
    serve::udp::Responder,
};
use support::{
    signed::{Denial, Draft, Zone, name, serve},
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

/// A node, the servers of a delegated name at 127.0.0.1, and those of zones below at 127.0.0.2 and 127.0.0.3.
struct Setup {
    responder: Responder,
    upstream: Fake,
    servers: [Fake; 3],
}

impl Setup {
    async fn new(hosts: &str, scripts: [Script; 3]) -> Self {
        let [owner, child, grandchild] = scripts;
        let owner = Fake::plain(owner).await;
        let port = owner.addr.port();
        let at = |last: u8| SocketAddr::from(([127, 0, 0, last], port));
        let child = Fake::start_at(at(2), Kind::Plain, child, None).await;
        let grandchild = Fake::start_at(at(3), Kind::Plain, grandchild, None).await;
        let absent: Script = Arc::new(|question, _| {
            let mut response = reply(question);
            response.metadata.response_code = ResponseCode::NXDomain;
            vec![encode(&response)]
        });
        let upstream = Fake::plain(absent).await;
        let world = table(&[("deleg", ACTIVE, hosts), ("hosting", ACTIVE, "ns A 127.0.0.2")]);
        let upstreams = vec![upstream.addr.to_string()];
        let config = DnsConfig { listen: Vec::new(), delegated_port: port, upstreams, ..DnsConfig::default() };
        let metrics = Arc::new(DnsMetrics::new(&Registry::new()).expect("a fresh registry"));
        let responder = Responder::new(&config, Arc::new(world), metrics).expect("a valid configuration");
        Self { responder, upstream, servers: [owner, child, grandchild] }
    }

    async fn say(&self, message: &Message) -> Message {
        let (bytes, client) = (encode(message), "127.0.0.1:4000".parse().expect("an address"));
        let mut responses = timeout(DEADLINE, self.responder.clone().messages(bytes, client)).await.expect("in time");
        Message::from_vec(&responses.next().expect("a response")).expect("a message")
    }

    /// What is said, the code of the extended error, and its words.
    async fn hear(&self, qname: &str, qtype: u16) -> (String, u16, String) {
        let said = self.say(&with_edns(request(qname, RecordType::from(qtype)), 1_232)).await;
        let (code, text) = why(&said);
        let no_referral = said.authorities.iter().all(|record| record.record_type() != RecordType::NS);
        assert!(no_referral && said.metadata.recursion_available && !said.metadata.authentic_data, "{said}");
        (show(&said), code, text)
    }

    fn asked(&self) -> [usize; 3] {
        [0, 1, 2].map(|at| self.servers[at].asked().len())
    }
}

fn show(message: &Message) -> String {
    let mut records: Vec<String> = message.answers.iter().map(|record| format!(" {}", record.data)).collect();
    records.sort();
    format!("{:?}{}", message.metadata.response_code, records.concat())
}

fn why(message: &Message) -> (u16, String) {
    let option = message.edns.as_ref().and_then(|edns| edns.option(EdnsCode::from(15)).cloned());
    let data: Vec<u8> = option.map(|option| (&option).try_into().expect("bytes")).unwrap_or_default();
    let (code, text) = data.split_at_checked(2).unwrap_or_default();
    (code.iter().fold(0, |all, byte| all << 8 | u16::from(*byte)), String::from_utf8_lossy(text).into_owned())
}

/// An address for every question for one.
fn answering(last: u8) -> Script {
    Arc::new(move |question, _| {
        let mut response = reply(question);
        response.metadata.authoritative = true;
        say_address(&mut response, last);
        vec![encode(&response)]
    })
}

fn say_address(response: &mut Message, last: u8) {
    let owner = response.queries[0].name().to_string();
    response.answers.push(record(&owner, 1, 60, &[203, 0, 113, last]));
}

/// A referral for names below `cut`, whose name servers have these names and addresses.
fn refer(response: &mut Message, cut: &str, servers: &[(&str, &[u8])]) {
    response.metadata.authoritative = false;
    for (server, address) in servers {
        response.authorities.push(record(cut, 2, 60, &target(server)));
        if !address.is_empty() {
            response.additionals.push(record(server, 1, 60, address));
        }
    }
}

/// The servers of `deleg.p2p`: each label below it is a case.
fn owner() -> Script {
    let depth = AtomicUsize::new(0);
    Arc::new(move |question, _| {
        let mut response = reply(question);
        let qname = question.queries[0].name().to_lowercase().to_ascii();
        let labels: Vec<&str> = qname.split('.').collect();
        let case = labels[labels.len() - 4];
        let cut = format!("{case}.deleg.p2p.");
        let child: &[u8] = &[127, 0, 0, 2];
        match case {
            _ if question.queries[0].query_type() == RecordType::DS && case == "sub" => {
                response.metadata.authoritative = true;
                response.answers.push(record(&qname, 43, 60, b"\0\x01\x0d\x02of the parent"));
            }
            "sub" | "old" => refer(&mut response, &cut, &[("ns.sub.deleg.p2p", child), (&format!("ns.{cut}"), child)]),
            "ledger" => refer(&mut response, &cut, &[("ns.hosting.p2p", b"")]),
            "alias" if labels[0] == "www" => {
                response.metadata.authoritative = true;
                response.answers.push(record(&qname, 5, 60, &target("www.sub.deleg.p2p")));
            }
            // Glue of a name that is not this server's to speak of.
            "foreign" => refer(&mut response, &cut, &[("ns.stranger.p2p", child)]),
            "up" => refer(&mut response, "p2p.", &[("ns.up.deleg.p2p", child)]),
            "again" => refer(&mut response, "deleg.p2p.", &[("ns.up.deleg.p2p", child)]),
            "aside" => refer(&mut response, "other.deleg.p2p.", &[("ns.other.deleg.p2p", child)]),
            "lame" => {
                let servers: [(&str, &[u8]); 2] =
                    [("n1.lame.deleg.p2p", &[127, 0, 0, 3]), ("n2.lame.deleg.p2p", &[127, 0, 0, 2])];
                refer(&mut response, &cut, &servers);
            }
            "nowhere" => refer(&mut response, &cut, &[("ns.nowhere.deleg.p2p", &[0, 0, 0, 0])]),
            "many" => {
                let names: Vec<String> = (0..20).map(|i| format!("n{i}.victim.example")).collect();
                let servers: Vec<(&str, &[u8])> = names.iter().map(|name| (&name[..], &b""[..])).collect();
                refer(&mut response, &cut, &servers);
            }
            "endless" => {
                // One label further down each time.
                let at = labels.len() - 5 - depth.fetch_add(1, Ordering::Relaxed);
                let server = format!("ns.{}", labels[at..].join("."));
                refer(&mut response, &labels[at..].join("."), &[(&server, &[127, 0, 0, 1])]);
            }
            _ => say_address(&mut response, 1),
        }
        vec![encode(&response)]
    })
}

/// The servers of `sub.deleg.p2p` and its siblings.
fn child() -> Script {
    Arc::new(|question, _| {
        let mut response = reply(question);
        let qname = question.queries[0].name().to_lowercase().to_ascii();
        match qname.as_str() {
            "www.two.sub.deleg.p2p." => {
                refer(&mut response, "two.sub.deleg.p2p.", &[("ns.two.sub.deleg.p2p", &[127, 0, 0, 3])]);
            }
            "circle.sub.deleg.p2p." => refer(&mut response, "sub.deleg.p2p.", &[("ns.sub.deleg.p2p", &[127, 0, 0, 3])]),
            "back.sub.deleg.p2p." => refer(&mut response, "deleg.p2p.", &[("ns1.deleg.p2p", &[127, 0, 0, 1])]),
            // Of names out of its zone it has nothing to say.
            "forged.sub.deleg.p2p." => {
                response.answers.push(record(&qname, 5, 60, &target("plain.deleg.p2p")));
                response.answers.push(record("plain.deleg.p2p.", 1, 86_400, &[6, 6, 6, 6]));
            }
            _ => say_address(&mut response, 2),
        }
        vec![encode(&response)]
    })
}

fn refusing() -> Script {
    Arc::new(|question, _| {
        let mut response = reply(question);
        response.metadata.response_code = ResponseCode::Refused;
        vec![encode(&response)]
    })
}

const HOSTS: &str = "@ NS ns1.deleg.p2p\nns1 A 127.0.0.1";

#[tokio::test]
async fn referrals_are_followed_downwards() {
    let setup = Setup::new(HOSTS, [owner(), child(), answering(3)]).await;
    for (qname, expected) in [
        ("www.sub.deleg.p2p.", "NoError 203.0.113.2"),
        ("sub.deleg.p2p.", "NoError 203.0.113.2"),
        ("www.two.sub.deleg.p2p.", "NoError 203.0.113.3"),
        ("www.ledger.deleg.p2p.", "NoError 203.0.113.2"),
        ("www.alias.deleg.p2p.", "NoError 203.0.113.2 www.sub.deleg.p2p."),
        // What the parent's servers say of it, not what the child's do.
        ("forged.sub.deleg.p2p.", "NoError 203.0.113.1 plain.deleg.p2p."),
        ("plain.deleg.p2p.", "NoError 203.0.113.1"),
    ] {
        let (said, _, words) = setup.hear(qname, rtype::A).await;
        assert_eq!(said, expected, "{qname}: {words}");
    }
    // All of it is kept.
    let before = setup.asked();
    setup.hear("www.two.sub.deleg.p2p.", rtype::A).await;
    assert_eq!(setup.asked(), before);
    // DS records are the parent's.
    let said = setup.say(&with_edns(request("sub.deleg.p2p.", RecordType::DS), 1_232)).await;
    assert_eq!((said.metadata.response_code, said.answers.len()), (ResponseCode::NoError, 1), "{said}");
    assert_eq!(setup.asked(), [before[0] + 1, before[1], before[2]]);
    // Asked for with RD clear, they are the client's to follow.
    let mut iterating = request("other.sub.deleg.p2p.", RecordType::A);
    iterating.metadata.recursion_desired = false;
    assert_eq!(setup.say(&iterating).await.authorities.len(), 1);
    assert_eq!(setup.asked()[1..], before[1..]);
}

#[tokio::test]
async fn one_lame_server_of_a_child_is_not_all_of_them() {
    let setup = Setup::new(HOSTS, [owner(), child(), refusing()]).await;
    for i in 0..4 {
        let (said, _, words) = setup.hear(&format!("w{i}.lame.deleg.p2p."), rtype::A).await;
        assert_eq!(said, "NoError 203.0.113.2", "{words}");
    }
    assert!(setup.asked()[2] > 0, "the lame one was asked");
}

#[tokio::test]
async fn other_referrals_are_lame_and_said_so() {
    let setup = Setup::new(HOSTS, [owner(), child(), answering(3)]).await;
    let (lame, nobody) = ("refer to others", "no name server of it has an address that can be asked");
    for (qname, qtype, text, child_asked) in [
        ("www.up.deleg.p2p.", rtype::A, lame, 0),
        ("www.again.deleg.p2p.", rtype::A, lame, 0),
        ("www.aside.deleg.p2p.", rtype::A, lame, 0),
        ("old.deleg.p2p.", rtype::DS, lame, 0),
        ("www.foreign.deleg.p2p.", rtype::A, nobody, 0),
        ("www.nowhere.deleg.p2p.", rtype::A, nobody, 0),
        ("www.many.deleg.p2p.", rtype::A, nobody, 0),
        ("circle.sub.deleg.p2p.", rtype::A, lame, 1),
        ("back.sub.deleg.p2p.", rtype::A, lame, 1),
    ] {
        let before = setup.asked();
        let (said, code, words) = setup.hear(qname, qtype).await;
        let case = format!("{qname} {said} {code} {words}");
        assert!(said == "ServFail" && code == 22 && words.contains(text), "{case}");
        let after = setup.asked();
        assert_eq!((after[1] - before[1], after[2] - before[2]), (child_asked, 0), "{case}");
    }
    // NXNSAttack: of twenty name servers two are looked up, by two types.
    assert!(setup.upstream.asked().len() <= 4, "{:?}", setup.upstream.asked());
    let before = setup.asked()[0];
    let (said, _, words) = setup.hear("1.2.3.4.5.6.7.8.endless.deleg.p2p.", rtype::A).await;
    assert!(said == "ServFail" && words.contains("too many referrals"), "{said} {words}");
    assert_eq!(setup.asked()[0] - before, 5, "four referrals were followed");
}

/// Changes what the owner's servers say.
type Change = fn(&[Zone], (&Dname, u16), &mut Draft);

/// The zone `deleg.p2p`, with zones below on other servers of which one is signed; and those zones.
fn zones(denial: Denial) -> (Zone, Vec<Zone>) {
    let data = [("@", rtype::A, vec![203, 0, 113, 9]), ("www", rtype::A, vec![203, 0, 113, 2])];
    let signed = Zone::new("sub.deleg.p2p", denial, &data);
    let mut unsigned = Zone::new("bare.deleg.p2p", denial, &data);
    unsigned.signs = false;
    let lines = [
        ("www", rtype::A, vec![203, 0, 113, 1]),
        ("bare", rtype::NS, target("ns.bare.deleg.p2p")),
        ("sub", rtype::NS, target("ns.sub.deleg.p2p")),
        ("sub", rtype::DS, signed.ds(2)),
    ];
    (Zone::new("deleg.p2p", denial, &lines), vec![signed, unsigned])
}

/// Where the owner's servers refer to: a cut with its server's address.
fn delegate(draft: &mut Draft, cut: &Dname, last: u8) {
    let server = name(&format!("ns.{cut}"));
    *draft = Draft { is_referral: true, ..Draft::default() };
    draft.authority.push((cut.clone(), rtype::NS, server.as_wire().to_vec()));
    draft.additional.push((server, rtype::A, vec![127, 0, 0, last]));
}

/// A node of which the owner's servers are signed, and refer to others for what is below.
async fn signed(denial: Denial, change: Change, grandchild: Script) -> Setup {
    let (zone, below) = zones(denial);
    let ds: String = zone.ds(2).iter().map(|byte| format!("{byte:02x}")).collect();
    let owner = serve(vec![zone], move |zones, (qname, qtype), draft| {
        for cut in ["sub.deleg.p2p", "bare.deleg.p2p"].map(name) {
            if qname.is_within(&cut) && qtype != rtype::DS {
                delegate(draft, &cut, 2);
            }
        }
        change(zones, (qname, qtype), draft);
    });
    let child = serve(below, |_, _, _| {});
    Setup::new(&format!("{HOSTS}\n@ DS {ds}"), [owner, child, grandchild]).await
}

#[tokio::test]
async fn children_of_signed_zones_are_what_their_parents_say() {
    for denial in [PLAIN, HASHED, OPEN] {
        let setup = signed(denial, |_, _, _| {}, refusing()).await;
        for (qname, qtype, expected) in [
            ("www.deleg.p2p.", rtype::A, "NoError 203.0.113.1"),
            ("www.sub.deleg.p2p.", rtype::A, "NoError 203.0.113.2"),
            ("nobody.sub.deleg.p2p.", rtype::A, "NXDomain"),
            ("www.bare.deleg.p2p.", rtype::A, "NoError 203.0.113.2"),
            ("nobody.bare.deleg.p2p.", rtype::A, "NXDomain"),
            ("bare.deleg.p2p.", rtype::DS, "NoError"),
        ] {
            let (said, code, text) = setup.hear(qname, qtype).await;
            assert_eq!(said, expected, "{denial:?} {qname} {qtype} {code} {text}");
        }
        let keys = setup.servers[1].asked();
        assert!(keys.iter().any(|text| text == "sub.deleg.p2p. DNSKEY"), "{keys:?}");
        assert!(!keys.iter().any(|text| text == "bare.deleg.p2p. DNSKEY"), "{keys:?}");
    }
}

/// Whoever lacks the parent's keys can refer to himself, and that is all.
#[tokio::test]
async fn nobody_else_makes_a_zone_unsigned() {
    // The zone that a forger refers to himself for, what is said of its DS records, and what comes of it.
    let cases: &[(&str, Change, u16)] = &[
        // The child has DS records, and a forger no key that fits.
        ("sub.deleg.p2p", |_, _, _| {}, 9),
        // No DS, and nothing that proves it.
        ("sub.deleg.p2p", |_, (_, qtype), draft| without(qtype, draft, |_| false), 12),
        // The proof of another cut.
        (
            "sub.deleg.p2p",
            |zones, (_, qtype), draft| {
                if qtype == rtype::DS {
                    *draft = zones[0].draft(&name("bare.deleg.p2p"), rtype::DS);
                }
            },
            12,
        ),
        // A proof that nobody signed.
        ("bare.deleg.p2p", |_, (_, qtype), draft| without(qtype, draft, |kind| kind != rtype::RRSIG), 10),
        // DS records of the forger's, or the parent's with a changed digest.
        (
            "sub.deleg.p2p",
            |_, (_, qtype), draft| {
                if qtype == rtype::DS {
                    draft.answer[0].2[10] ^= 1;
                }
            },
            6,
        ),
        // A name of the parent's own is no zone.
        ("www.deleg.p2p", |_, _, _| {}, 12),
    ];
    for denial in [PLAIN, HASHED] {
        for (at, (cut, change, expected)) in cases.iter().enumerate() {
            let (zone, _) = zones(denial);
            let ds: String = zone.ds(2).iter().map(|byte| format!("{byte:02x}")).collect();
            let (qname, change, cut) = (format!("a.{cut}."), *change, name(cut));
            let owner = serve(vec![zone], move |zones, (asked, qtype), draft| {
                if asked.is_within(&cut) && qtype != rtype::DS {
                    delegate(draft, &cut, 3);
                }
                change(zones, (asked, qtype), draft);
            });
            let scripts = [owner, refusing(), answering(66)];
            let setup = Setup::new(&format!("{HOSTS}\n@ DS {ds}"), scripts).await;
            let (said, code, words) = setup.hear(&qname, rtype::A).await;
            assert_eq!((said.as_str(), code), ("ServFail", *expected), "{denial:?} {at} {qname}: {words}");
            assert!(words.contains("what its servers say is not valid"), "{denial:?} {at} {qname}: {words}");
        }
    }
}

/// Leaves out of an answer about DS records what is not of the types to keep.
fn without(qtype: u16, draft: &mut Draft, keeps: fn(u16) -> bool) {
    if qtype == rtype::DS {
        draft.answer.retain(|it| keeps(it.1));
        draft.authority.retain(|it| keeps(it.1));
    }
}

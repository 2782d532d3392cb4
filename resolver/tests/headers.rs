//! Every response says what it is: one table of places that make a response, every kind of client, one judge.
//!
//! AA where we are the authority for the first name, RA exactly for those that others are asked for, never both clear in an
//! answer without records that a client would have to understand: that is a lame referral to stub resolvers. No extended
//! code without an OPT record, no AD of our own, CD only from upstreams, the question as it came.

mod support {
    pub mod upstream;
    #[path = "../support/mod.rs"]
    pub mod world;
}

use std::sync::Arc;

use hickory_proto::op::{Edns, Message, ResponseCode};
use prometheus::Registry;
use resolver::{
    DnsConfig, DnsMetrics, HostsPaths, Readiness, SharedTable, dns::rtype, serve::udp::Responder, zones::sign::ZoneKey,
};
use support::{
    upstream::{Fake, Script, encode, record, reply},
    world::{ACTIVE, dname, server::DEADLINE, table},
};
use tokio::time::timeout;

const HOUSE: &str = "127.0.0.1:4000";
const STRANGER: &str = "198.51.100.1:4000";

/// What asks, besides the question.
#[derive(Clone, Copy, Debug)]
struct Asker {
    is_house: bool,
    wants_recursion: bool,
    /// None, plain, with DO, with a cookie.
    edns: Option<&'static str>,
    checking_disabled: bool,
    over_tcp: bool,
}

fn askers() -> Vec<Asker> {
    let mut all = Vec::new();
    for bits in 0..16 {
        for edns in [None, Some("plain"), Some("do"), Some("cookie")] {
            let [is_house, wants_recursion, checking_disabled, over_tcp] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
            all.push(Asker { is_house, wants_recursion, edns, checking_disabled, over_tcp });
        }
    }
    all
}

/// Who makes a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Ledger,
    /// The ledger's name that needs its servers asked, or gives the referral.
    Delegated,
    Special,
    Status,
    /// For the house only.
    Hosts,
    /// For the house, with RD, only.
    Upstream,
    /// Refused, for whatever reason.
    Refused,
    Malformed,
    NotReady,
    /// It leads into the local network.
    Withheld,
}

fn query(name: &str, qtype: u16, class: u16) -> Vec<u8> {
    let question = [dname(name).as_wire(), &qtype.to_be_bytes(), &class.to_be_bytes()].concat();
    [&[7, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], &question[..]].concat()
}

impl Asker {
    fn ask(self, mut query: Vec<u8>) -> Vec<u8> {
        query[2] |= u8::from(self.wants_recursion);
        query[3] |= u8::from(self.checking_disabled) << 4;
        if let Some(kind) = self.edns {
            query[11] += 1;
            let (flags, options): (u8, &[u8]) = match kind {
                "do" => (0x80, b""),
                "cookie" => (0, b"\0\x0a\0\x08a client"),
                _ => (0, b""),
            };
            query.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, flags, 0, 0, options.len() as u8]);
            query.extend_from_slice(options);
        }
        query
    }

    async fn say(self, responder: &Responder, message: Vec<u8>) -> Vec<u8> {
        let src = if self.is_house { HOUSE } else { STRANGER }.parse().expect("an address");
        let response = async {
            match self.over_tcp {
                true => responder.clone().messages(message, src).await.next(),
                false => {
                    let standing = responder.standing(&message, src.ip());
                    responder.clone().full(message, src, standing).await
                }
            }
        };
        timeout(DEADLINE, response).await.expect("in time").expect("a response")
    }
}

/// What the table says of a place and a client: AA, and the codes that it may give.
fn expected(place: Place, asker: Asker) -> (bool, &'static [u16]) {
    const OK: &[u16] = &[0, 3];
    const REFUSED: &[u16] = &[4, 5];
    let asks_others = asker.is_house && asker.wants_recursion;
    match place {
        Place::Ledger | Place::Special | Place::Status | Place::Withheld => (true, OK),
        Place::Delegated => (false, OK),
        Place::Hosts if asker.is_house => (true, OK),
        // An address that upstreams know as well.
        Place::Upstream | Place::Hosts if asks_others => (false, &[0, 2]),
        Place::Upstream | Place::Hosts | Place::Refused => (false, REFUSED),
        Place::Malformed => (false, &[1]),
        Place::NotReady => (false, &[2]),
    }
}

fn judge(place: Place, asker: Asker, query: &[u8], response: &[u8]) {
    let what = format!("{place:?} {asker:?}: {response:02x?}");
    let message = Message::from_vec(response).unwrap_or_else(|error| panic!("{what}: {error}"));
    let flags = &message.metadata;
    assert_eq!((&response[..2], response[2] & 0xf8), (&query[..2], 0x80 | query[2] & 0x78), "id, QR, opcode: {what}");
    assert_eq!(flags.recursion_desired, asker.wants_recursion, "RD comes back: {what}");
    assert_eq!(flags.recursion_available, asker.is_house, "RA is about the client: {what}");
    let (authoritative, codes) = expected(place, asker);
    assert_eq!(flags.authoritative, authoritative, "AA: {what}");
    let code = u16::from(flags.response_code);
    assert!(codes.contains(&code), "code {code}: {what}");
    assert!(code < 16 || message.edns.is_some(), "an extended code needs EDNS: {what}");
    assert_eq!(message.edns.is_some(), asker.edns.is_some(), "EDNS for those who send it: {what}");
    assert!(!flags.authentic_data, "nothing was validated: {what}");
    let may_repeat_cd = matches!(place, Place::Upstream | Place::Delegated | Place::Hosts);
    assert!(!flags.checking_disabled || may_repeat_cd, "CD: {what}");
    let is_empty = code == 0 && message.answers.is_empty() && message.authorities.is_empty();
    assert!(!is_empty || flags.authoritative || flags.recursion_available, "a lame referral: {what}");
    if asker.edns.is_some_and(|kind| kind == "cookie") {
        let edns = message.edns.as_ref().map(Edns::options);
        assert!(edns.is_some_and(|options| !options.as_ref().is_empty()), "a cookie: {what}");
    }
}

/// Upstream and delegated server in one: an address, no data, a name error, and codes that mean nothing to a client.
fn others() -> Script {
    Arc::new(|question, _| {
        let mut response = reply(question);
        let name = question.queries[0].name().to_lowercase().to_ascii();
        match name.split('.').next() {
            Some("badvers") => {
                response.metadata.response_code = ResponseCode::BADVERS;
                response.edns.get_or_insert_with(Edns::new);
            }
            Some("badcookie") => {
                response.metadata.response_code = ResponseCode::BADCOOKIE;
                response.edns.get_or_insert_with(Edns::new);
            }
            _ => response.answers.push(record(&name, 1, 60, &[203, 0, 113, 7])),
        }
        vec![encode(&response)]
    })
}

fn world() -> SharedTable {
    let big: String = (0..18).map(|i| format!("big TXT {}{i:02}\n", "x".repeat(40))).collect();
    table(&[
        ("alice", ACTIVE, "@ A 192.0.2.1\nwww CNAME alice.p2p"),
        ("big", ACTIVE, &big),
        ("deleg", ACTIVE, "@ NS ns1.deleg.p2p\nns1 A 127.0.0.1"),
        ("inside", ACTIVE, "@ A 192.168.1.1"),
    ])
}

#[tokio::test]
async fn every_response_says_what_it_is() {
    let others = Fake::plain(others()).await;
    let dir = tempfile::tempdir().expect("a directory");
    let hosts = dir.path().join("hosts");
    std::fs::write(&hosts, "192.0.2.9 nas.example\n").expect("written");
    let config = DnsConfig {
        listen: Vec::new(),
        upstreams: vec![others.addr.to_string()],
        delegated_port: others.addr.port(),
        hosts: HostsPaths(vec![hosts]),
        ..DnsConfig::default()
    };
    let responder = |config: &DnsConfig, world: SharedTable| {
        let metrics = Arc::new(DnsMetrics::new(&Registry::new()).expect("a fresh registry"));
        let key = ZoneKey::generate().expect("random");
        Responder::with_key(config, Arc::new(world), metrics, Some(key)).expect("a valid configuration")
    };
    let ready = responder(&config, world());
    let unready_world = world();
    unready_world.set_readiness(Readiness::NotReady { height: 1, target: None });
    let unready = responder(&config, unready_world);
    let mut guarded = config.clone();
    guarded.forward.private_ledger_addresses = false;
    let guarded = responder(&guarded, world());

    let (inet, chaos) = (rtype::CLASS_IN, rtype::CLASS_CH);
    let mut two_questions = query("alice.p2p", rtype::A, inet);
    two_questions.extend_from_within(12..);
    two_questions[5] = 2;
    let mut update = query("alice.p2p", rtype::SOA, inet);
    update[2] = 5 << 3;
    let mut status = query("alice.p2p", rtype::A, inet);
    status[2] = 2 << 3;
    let mut with_answer = query("alice.p2p", rtype::A, inet);
    with_answer[7] = 1;
    for (place, from, question) in [
        (Place::Ledger, &ready, query("alice.p2p", rtype::A, inet)),
        (Place::Ledger, &ready, query("alice.p2p", rtype::MX, inet)),
        (Place::Ledger, &ready, query("nobody.p2p", rtype::A, inet)),
        (Place::Ledger, &ready, query("www.alice.p2p", rtype::A, inet)),
        (Place::Ledger, &ready, query("p2p", rtype::SOA, inet)),
        (Place::Ledger, &unready, query("up.nic.p2p", rtype::A, inet)),
        // Cut to what fits: TC, and the same bits.
        (Place::Ledger, &ready, query("big.big.p2p", rtype::TXT, inet)),
        (Place::Delegated, &ready, query("www.deleg.p2p", rtype::A, inet)),
        (Place::Special, &ready, query("localhost", rtype::A, inet)),
        (Place::Special, &ready, query("x.onion", rtype::A, inet)),
        (Place::Status, &ready, query("version.bind", rtype::TXT, chaos)),
        (Place::Hosts, &ready, query("nas.example", rtype::A, inet)),
        (Place::Upstream, &ready, query("www.example", rtype::A, inet)),
        (Place::Upstream, &ready, query("badvers.example", rtype::A, inet)),
        (Place::Upstream, &ready, query("badcookie.example", rtype::A, inet)),
        (Place::Refused, &ready, query("alice.p2p", rtype::AXFR, inet)),
        (Place::Refused, &ready, query("alice.p2p", rtype::A, 4)),
        (Place::Refused, &ready, update),
        (Place::Refused, &ready, status),
        (Place::Malformed, &ready, two_questions),
        (Place::Malformed, &ready, with_answer),
        (Place::NotReady, &unready, query("alice.p2p", rtype::A, inet)),
        (Place::Withheld, &guarded, query("inside.p2p", rtype::A, inet)),
    ] {
        for asker in askers() {
            // What was not read as a whole has no OPT record that could be found.
            if place == Place::Malformed && asker.edns.is_some() {
                continue;
            }
            let asked = asker.ask(question.clone());
            let response = asker.say(from, asked.clone()).await;
            judge(place, asker, &asked, &response);
        }
    }
}

//! Whole messages, byte by byte: what is wrong with a query and what is said about it, EDNS, and what the server tells
//! about itself. All over the full path; wire.rs shows that the fast one agrees.

mod support;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use hickory_proto::op::Message;
use prometheus::Registry;
use proptest::{collection::vec, prelude::*, sample::select, test_runner::TestRunner};
use resolver::{DnsConfig, DnsMetrics, SharedTable, dns::rtype, serve::udp::Responder};
use support::{ACTIVE, dname, table};
use tokio::runtime::Runtime;

const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4_000);

const FORMERR: u8 = 1;
const NXDOMAIN: u8 = 3;
const NOTIMP: u8 = 4;
const REFUSED: u8 = 5;
const NOTAUTH: u8 = 9;

fn world() -> SharedTable {
    table(&[("alice", ACTIVE, "@ A 192.0.2.1\n@ TYPE65280 #c0ffee")])
}

/// A query, in parts that tests change.
#[derive(Clone)]
struct Asked {
    flags: [u8; 2],
    questions: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
    additionals: Vec<Vec<u8>>,
    tail: Vec<u8>,
}

fn ask(name: &str, qtype: u16) -> Asked {
    ask_class(name, qtype, rtype::CLASS_IN)
}

fn ask_class(name: &str, qtype: u16, class: u16) -> Asked {
    let question = [dname(name).as_wire(), &qtype.to_be_bytes(), &class.to_be_bytes()].concat();
    Asked { flags: [1, 0], questions: vec![question], answers: Vec::new(), additionals: Vec::new(), tail: Vec::new() }
}

/// An OPT record (RFC 6891 §6.1.2).
fn opt(payload: u16, version: u8, flags: u16, options: &[u8]) -> Vec<u8> {
    let head = [&[0, 0, 41], &payload.to_be_bytes()[..], &[0, version], &flags.to_be_bytes()].concat();
    [&head[..], &(options.len() as u16).to_be_bytes(), options].concat()
}

impl Asked {
    fn with(mut self, additional: Vec<u8>) -> Self {
        self.additionals.push(additional);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let counts = [self.questions.len(), self.answers.len(), 0, self.additionals.len()];
        let counts = counts.map(|count| (count as u16).to_be_bytes()).concat();
        let sections = [&self.questions, &self.answers, &self.additionals].map(|section| section.concat()).concat();
        [&[0xab, 0xcd], &self.flags[..], &counts, &sections, &self.tail].concat()
    }
}

/// What came back.
#[derive(PartialEq, Eq, Debug)]
struct Said {
    rcode: u16,
    aa: bool,
    answers: u16,
    /// Payload size, version and options of the OPT record, if there is one.
    edns: Option<(u16, u8, Vec<u8>)>,
}

fn full(bytes: Vec<u8>) -> Option<Vec<u8>> {
    let config = DnsConfig { server_id: Some("testbed".to_owned()), ..DnsConfig::default() };
    full_with(&config, bytes)
}

fn full_with(config: &DnsConfig, bytes: Vec<u8>) -> Option<Vec<u8>> {
    let runtime = runtime();
    respond(&runtime, &responder(config), bytes)
}

fn responder(config: &DnsConfig) -> Responder {
    let metrics = Arc::new(DnsMetrics::new(&Registry::new()).expect("a fresh registry"));
    Responder::new(config, Arc::new(world()), metrics).expect("a valid configuration")
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn respond(runtime: &Runtime, responder: &Responder, bytes: Vec<u8>) -> Option<Vec<u8>> {
    let standing = responder.standing(&bytes, CLIENT.ip());
    runtime.block_on(responder.clone().full(bytes, CLIENT, standing))
}

/// Reads a response. The OPT record is its last, as this server writes it.
fn read(response: &[u8]) -> Said {
    let opt_at = response.windows(5).position(|window| window == [0, 0, 41, 4, 208]).filter(|_| response[11] > 0);
    let edns = opt_at.map(|at| {
        let opt = &response[at..];
        (u16::from_be_bytes([opt[3], opt[4]]), opt[6], opt[11..].to_vec())
    });
    let high = opt_at.map_or(0, |at| u16::from(response[at + 5]));
    Said {
        rcode: high << 4 | u16::from(response[3] & 15),
        aa: response[2] & 4 != 0,
        answers: u16::from_be_bytes([response[6], response[7]]),
        edns,
    }
}

fn say(asked: &Asked) -> Said {
    let response = full(asked.bytes()).expect("a response");
    assert_eq!((&response[..2], response[2] & 0x80), (&[0xab, 0xcd][..], 0x80), "its id, and a response");
    read(&response)
}

fn rcode(asked: &Asked) -> u16 {
    say(asked).rcode
}

const SIZE: u16 = 1_232;

#[test]
fn rfc_9619_a_query_has_one_question() {
    let one = ask("alice.p2p", rtype::A);
    assert_eq!(rcode(&one), 0);
    for count in [0, 2, 3] {
        let asked = Asked { questions: vec![one.questions[0].clone(); count], ..one.clone() };
        assert_eq!(rcode(&asked), u16::from(FORMERR), "{count} questions");
    }
}

#[test]
fn rfc_1035_opcodes_that_are_no_queries() {
    for (opcode, expected) in [(1, NOTIMP), (2, NOTIMP), (3, NOTIMP), (5, REFUSED), (6, NOTIMP), (15, NOTIMP)] {
        let asked = Asked { flags: [opcode << 3, 0], ..ask("alice.p2p", rtype::SOA) };
        let said = say(&asked);
        assert_eq!((said.rcode, said.answers), (u16::from(expected), 0), "opcode {opcode}");
    }
}

#[test]
fn rfc_1035_responses_and_fragments_of_headers_are_not_answered() {
    let bytes = ask("alice.p2p", rtype::A).bytes();
    let response = [&bytes[..2], &[bytes[2] | 0x80], &bytes[3..]].concat();
    assert_eq!(full(response), None);
    assert_eq!(full(bytes[..11].to_vec()), None);
    assert_eq!(full(Vec::new()), None);
}

/// A pointer in the question leads into the header, where the response says something else than the query.
#[test]
fn rfc_1035_a_question_that_points_into_the_header_is_a_format_error() {
    // The id is a label of one byte, and so is what the flags begin with; the count ends the name.
    for question in
        [&b"\xc0\0\0\x01\0\x01"[..], b"\x05alice\xc0\0\0\x01\0\x01", b"\xc0\x02\0\x06\0\x01", b"\xc0\x0a\0\x01\0\x01"]
    {
        let signature = [&b"\0\0\xfa\0\xff\0\0\0\0\0\x13\x01x\0"[..], &[0; 16]].concat();
        for (additionals, rcode) in [(0, FORMERR), (1, NOTAUTH)] {
            let header = [1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, additionals];
            let tail = &signature[..signature.len() * usize::from(additionals)];
            let response = full([&header[..], question, tail].concat()).expect("a response");
            assert_eq!((response[3] & 15, &response[4..6]), (rcode, &[0, 0][..]), "{question:02x?}: {response:02x?}");
        }
    }
}

/// What messages are made of, and what does not belong there.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let name = select(vec![&b"\x05alice\x03p2p\0"[..], b"\x03p2p\0", b"\x05alice", b"\x01a\0", b"\0"])
        .prop_map(<[u8]>::to_vec);
    let pointer = (0..80_u8).prop_map(|target| vec![0xc0, target]);
    let tail =
        select(vec![&b"\0\x01\0\x01"[..], b"\0\xff\0\x01", b"\0\xfc\0\x01", b"\0\x10\0\x03"]).prop_map(<[u8]>::to_vec);
    let options = select(vec![&b""[..], b"\0\x0a\0\x08a client", b"\0\x03\0\0", b"\0\x03\0\x02x"]);
    let opt = (options, any::<u16>()).prop_map(|(options, flags)| opt(SIZE, 0, flags, options));
    let signature = b"\0\0\xfa\0\xff\0\0\0\0\0\x13\x01x\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    prop_oneof![4 => name, 4 => pointer, 6 => tail, 2 => opt, 1 => Just(signature), 1 => vec(any::<u8>(), 0..12)]
}

/// However a query is broken, what comes back is a message, read by somebody else's parser.
#[test]
fn whatever_is_asked_a_response_is_a_message() {
    let id_and_flags =
        prop_oneof![any::<[u8; 4]>(), select(vec![[0, 0, 1, 0], [1, 0, 1, 0], [0, 1, 0, 0], [1, 1, 1, 1]])];
    let counts = prop_oneof![3 => Just([1, 0, 0, 0]), 2 => Just([1, 0, 0, 1]), 1 => [0..3_u8, 0..2, 0..2, 0..3]];
    let (runtime, responder) = (runtime(), responder(&DnsConfig::default()));
    let config = ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&(id_and_flags, counts, vec(fragment(), 0..7)), |(id_and_flags, counts, body)| {
            let [questions, answers, authorities, additionals] = counts;
            let header = [&id_and_flags[..], &[0, questions, 0, answers, 0, authorities, 0, additionals]].concat();
            if let Some(response) = respond(&runtime, &responder, [header, body.concat()].concat()) {
                let message = Message::from_vec(&response);
                prop_assert!(message.is_ok(), "{response:02x?}: {message:?}");
                prop_assert_eq!((&response[..2], response[2] & 0x80), (&id_and_flags[..2], 0x80));
            }
            Ok(())
        })
        .expect("responses are messages");
}

#[test]
fn rfc_1035_classes() {
    for (class, expected) in [(0, REFUSED), (2, REFUSED), (4, REFUSED), (254, REFUSED), (255, REFUSED)] {
        assert_eq!(rcode(&ask_class("alice.p2p", rtype::A, class)), u16::from(expected), "class {class}");
    }
}

#[test]
fn rfc_6891_whoever_sends_edns_gets_edns_and_nobody_else() {
    for (name, qtype) in [("alice.p2p", rtype::A), ("nobody.p2p", rtype::A), ("example.com", rtype::A)] {
        let asked = ask(name, qtype);
        assert_eq!(say(&asked).edns, None, "{name}");
        let (size, version, _) = say(&asked.with(opt(4_096, 0, 0, b""))).edns.expect("OPT");
        assert_eq!((size, version), (SIZE, 0), "{name}: our own size, not the client's");
    }
}

#[test]
fn rfc_6891_unknown_versions_get_badvers_and_the_version_known() {
    for version in [1, 100, 255] {
        let said = say(&ask("alice.p2p", rtype::A).with(opt(SIZE, version, 0, b"")));
        assert_eq!(said, Said { rcode: 16, aa: false, answers: 0, edns: Some((SIZE, 0, Vec::new())) }, "{version}");
    }
    // §6.1.3: the version is looked at first, so unknown options of it cannot matter.
    let said = say(&ask("alice.p2p", rtype::A).with(opt(SIZE, 1, 0, b"\xfd\xe9\0\x01z")));
    assert_eq!((said.rcode, said.edns), (16, Some((SIZE, 0, Vec::new()))));
}

#[test]
fn rfc_6891_unknown_options_and_flags_are_ignored() {
    for (flags, options) in [
        (0, &b"\xfd\xe9\0\x01z"[..]),
        (0, b"\xff\xff\0\0\0\x08\0\x07\0\x01\x18\0\x0a\0\0"),
        (0x3fff, b""),
        (0, b"\0\x0c\0\x03\0\0\0"),
    ] {
        let said = say(&ask("alice.p2p", rtype::A).with(opt(SIZE, 0, flags, options)));
        assert_eq!(said, Said { rcode: 0, aa: true, answers: 1, edns: Some((SIZE, 0, Vec::new())) }, "{options:02x?}");
    }
}

#[test]
fn rfc_6891_two_opt_records_are_a_format_error() {
    let twice = ask("alice.p2p", rtype::A).with(opt(SIZE, 0, 0, b"")).with(opt(SIZE, 0, 0, b""));
    assert_eq!(rcode(&twice), u16::from(FORMERR));
}

#[test]
fn rfc_6891_opt_is_for_the_additional_section() {
    let asked = Asked { answers: vec![opt(SIZE, 0, 0, b"")], ..ask("alice.p2p", rtype::A) };
    let said = say(&asked);
    assert_eq!((said.rcode, said.answers), (u16::from(FORMERR), 0));
}

#[test]
fn rfc_6891_an_opt_of_another_owner_is_a_format_error() {
    let record = [b"\x01a", &opt(SIZE, 0, 0, b"")[..]].concat();
    assert_eq!(rcode(&ask("alice.p2p", rtype::A).with(record)), u16::from(FORMERR));
}

/// §7: the client is told that EDNS as such is understood.
#[test]
fn rfc_6891_damaged_options_are_a_format_error_with_opt() {
    for options in [&b"\0\x03"[..], b"\0\x03\0\x01", b"\xfd\xe9\0\x02z"] {
        let said = say(&ask("alice.p2p", rtype::A).with(opt(SIZE, 0, 0, options)));
        assert_eq!((said.rcode, said.edns), (u16::from(FORMERR), Some((SIZE, 0, Vec::new()))), "{options:02x?}");
    }
}

/// §6.2.3: less than 512 bytes count as 512.
#[test]
fn rfc_6891_sizes_below_512_count_as_512() {
    let records: String = (0..20).map(|i| format!("@ TXT {}{i:02}\n", "x".repeat(8))).collect();
    let metrics = Arc::new(DnsMetrics::new(&Registry::new()).expect("a fresh registry"));
    let table = Arc::new(table(&[("x", ACTIVE, &records)]));
    let responder = Responder::new(&DnsConfig::default(), table, metrics).expect("a valid configuration");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for payload in [0, 1, 100, 511, 512] {
        let asked = ask("x.p2p", rtype::TXT).with(opt(payload, 0, 0, b""));
        let standing = responder.standing(&asked.bytes(), CLIENT.ip());
        let response = runtime.block_on(responder.clone().full(asked.bytes(), CLIENT, standing)).expect("a response");
        assert!((400..=512).contains(&response.len()), "{payload}: {}", response.len());
        assert_eq!((read(&response).answers, response[2] & 2), (20, 0), "{payload}");
    }
}

/// Whatever is asked, and whatever the server would like to say: clients get no more than they can take.
#[test]
fn rfc_6891_options_give_way_when_there_is_no_room() {
    let longest = [63, 63, 63, 61].map(|len| "n".repeat(len)).join(".");
    let with_id = |id_bytes: usize, name: &str| {
        let config = DnsConfig { server_id: Some("i".repeat(id_bytes)), ..DnsConfig::default() };
        let asked = ask(name, rtype::A).with(opt(512, 0, 0, b"\0\x03\0\0\0\x0a\0\x08a client"));
        let response = full_with(&config, asked.bytes()).expect("a response");
        let options = read(&response).edns.expect("OPT").2;
        let has = |option: &[u8]| options.windows(option.len()).any(|window| window == option);
        assert!(response.len() <= 512, "{} bytes", response.len());
        assert!(has(b"\0\x0a\0\x18a client"), "always a cookie");
        (
            response.len(),
            has(b"\0\x0f\0\x02\0\x14"),
            has(&[&[0, 3, 0, id_bytes as u8], &[b'i'; 255][..id_bytes]].concat()),
        )
    };
    assert_eq!(with_id(100, &longest), (12 + 259 + 11 + 28 + 41 + 104, false, true), "room for all");
    assert_eq!(with_id(160, &longest), (12 + 259 + 11 + 28 + 6 + 164, true, true), "no text");
    assert_eq!(with_id(255, &longest), (12 + 259 + 11 + 28 + 6, true, false), "no name either");
    // What there is room for stays.
    assert_eq!(with_id(255, "example.com"), (12 + 17 + 11 + 28 + 41 + 259, false, true));
}

#[test]
fn rfc_5001_nsid_is_told_to_who_asks_with_an_empty_option() {
    let wants = |config: &DnsConfig, options: &[u8]| {
        let asked = ask("alice.p2p", rtype::A).with(opt(SIZE, 0, 0, options));
        read(&full_with(config, asked.bytes()).expect("a response")).edns.expect("OPT").2
    };
    let named = DnsConfig { server_id: Some("testbed".to_owned()), ..DnsConfig::default() };
    assert_eq!(wants(&named, b"\0\x03\0\0"), b"\0\x03\0\x07testbed");
    assert_eq!(wants(&named, b""), b"");
    // Nobody is named who does not want to be.
    assert_eq!(wants(&DnsConfig::default(), b"\0\x03\0\0"), b"");
    // Also with what is not answered, so that it can be told which server it was.
    let asked = ask("example.com", rtype::A).with(opt(SIZE, 0, 0, b"\0\x03\0\0"));
    let options = say(&asked).edns.expect("OPT").2;
    assert!(options.windows(7).any(|window| window == b"testbed"), "{options:02x?}");
}

#[test]
fn rfc_4892_status_names_in_class_ch() {
    let text = |name, qtype| {
        let asked = ask_class(name, qtype, rtype::CLASS_CH);
        let response = full(asked.bytes()).expect("a response");
        let said = read(&response);
        // The last record of an answer without EDNS: one character string.
        let data = &response[asked.bytes().len()..];
        let string = (said.answers == 1).then(|| String::from_utf8_lossy(&data[data.len().min(13)..]).into_owned());
        (said.rcode, said.aa, string)
    };
    let found = |text: &str| (0, true, Some(text.to_owned()));
    assert_eq!(text("version.bind", rtype::TXT), found(concat!("namestead ", env!("CARGO_PKG_VERSION"))));
    assert_eq!(text("Version.Server", rtype::TXT), found(concat!("namestead ", env!("CARGO_PKG_VERSION"))));
    assert_eq!(text("id.server", rtype::TXT), found("testbed"));
    assert_eq!(text("hostname.bind", rtype::TXT), found("testbed"));
    assert_eq!(text("height.namestead", rtype::TXT), found("10000"));
    assert_eq!(text("synced.namestead", rtype::ANY), found("yes"));
    assert_eq!(text("peers.namestead", rtype::TXT), found("0"));
    assert_eq!(text("peers.namestead", rtype::A), (0, true, None));
    let refused = (u16::from(REFUSED), false, None);
    assert_eq!(text("alice.p2p", rtype::TXT), refused);
    assert_eq!(text("x.version.bind", rtype::TXT), refused);
    // Without `server_id` nothing is told.
    let asked = ask_class("id.server", rtype::TXT, rtype::CLASS_CH);
    let response = full_with(&DnsConfig::default(), asked.bytes()).expect("a response");
    assert_eq!(read(&response).rcode, u16::from(REFUSED));
    // In class IN these are names like any other: not ours.
    assert_eq!(rcode(&ask("version.bind", rtype::TXT)), u16::from(REFUSED));
}

/// RFC 1035 §4.1.1: what the header says about names in classes and types is not repaired but answered or refused.
#[test]
fn rfc_1035_flags_of_queries() {
    let flags = |flags: [u8; 2]| {
        let response = full(Asked { flags, ..ask("nobody.p2p", rtype::A) }.bytes()).expect("a response");
        [response[2], response[3]]
    };
    // AA in, NXDOMAIN out. RD comes back; RA is clear without upstreams; TC, AD and Z of a query mean nothing here;
    // an authority clears CD (RFC 4035 §3.1.6).
    assert_eq!(flags([0, 0]), [0x84, NXDOMAIN]);
    assert_eq!(flags([1, 0]), [0x85, NXDOMAIN]);
    assert_eq!(flags([0x06, 0]), [0x84, NXDOMAIN]);
    assert_eq!(flags([0, 0x60]), [0x84, NXDOMAIN]);
    assert_eq!(flags([0, 0x10]), [0x84, NXDOMAIN]);
}

#[test]
fn draft_0x20_the_question_comes_back_letter_by_letter() {
    for name in ["aLiCe.P2p", "nObOdY.p2P", "eXample.COM", "P2P"] {
        let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
        let question = [labels.collect::<Vec<u8>>(), vec![0, 0, 1, 0, 1]].concat();
        let asked = Asked { questions: vec![question.clone()], ..ask("x", rtype::A) };
        let response = full(asked.bytes()).expect("a response");
        assert_eq!(response[12..12 + question.len()], question, "{name}");
    }
}

#[test]
fn rfc_3597_data_of_unknown_types_is_sent_as_it_is() {
    let response = full(ask("alice.p2p", 65_280).bytes()).expect("a response");
    // Owner pointer, type, class, TTL 3,600, length, data.
    assert!(response.ends_with(b"\xc0\x0c\xff\0\0\x01\0\0\x0e\x10\0\x03\xc0\xff\xee"), "{response:02x?}");
}

/// §5.4: a query without a question is for learning a cookie, or for seeing whether the one at hand is good.
#[test]
fn rfc_7873_queries_without_a_question() {
    let (runtime, responder) = (runtime(), responder(&DnsConfig::default()));
    let say = |options: &[u8]| {
        let asked = Asked { questions: Vec::new(), ..ask("alice.p2p", rtype::A) }.with(opt(SIZE, 0, 0, options));
        let response = respond(&runtime, &responder, asked.bytes()).expect("a response");
        assert_eq!(response[4..12], [0, 0, 0, 0, 0, 0, 0, 1], "nothing but an OPT record");
        let said = read(&response);
        (said.rcode, said.edns.expect("OPT").2)
    };
    const BADCOOKIE: u16 = 23;
    let (rcode, cookie) = say(b"\0\x0a\0\x08a client");
    assert_eq!((rcode, &cookie[..12], cookie.len()), (0, &b"\0\x0a\0\x18a client"[..], 28));
    assert_eq!(say(&cookie), (0, cookie.clone()));
    let forged = [&cookie[..27], &[cookie[27] ^ 1]].concat();
    let (rcode, instead) = say(&forged);
    assert_eq!((rcode, &instead[..12]), (BADCOOKIE, &cookie[..12]));
    assert_eq!(say(&instead), (0, instead.clone()), "one that is good");
    // One that cannot be a cookie, and none.
    for options in [&b"\0\x0a\0\x07tooshor"[..], b"", b"\0\x03\0\0"] {
        assert_eq!(say(options), (u16::from(FORMERR), Vec::new()));
    }
    // Servers that do not do cookies.
    let guard = toml::from_str("cookies = 'off'").expect("a section");
    let asked = Asked { questions: Vec::new(), ..ask("alice.p2p", rtype::A) };
    let asked = asked.with(opt(SIZE, 0, 0, b"\0\x0a\0\x08a client"));
    let response = full_with(&DnsConfig { guard, ..DnsConfig::default() }, asked.bytes()).expect("a response");
    assert_eq!(read(&response).rcode, u16::from(FORMERR));
}

//! Forwarding to upstreams as they are in the world: old, lame, cut off, dead in one way and alive in another.

mod support {
    pub mod upstream;
    #[path = "../support/mod.rs"]
    pub mod world;
}

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::{Name, RecordType},
};
use prometheus::{Registry, TextEncoder};
use resolver::{
    DnsConfig, DnsMetrics, HostsPaths,
    dns::rtype,
    out::forward::{Clock, Forwarder, MAX_FLIGHTS, Question},
    policy::config::{ForwardConfig, Rule},
    serve::udp::Responder,
    zones::answer::{Answer, EdeCode},
};
use support::{
    upstream::{Fake, Over, Script, address, answers, encode, record, reply, silence, target},
    world::table,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
    task::JoinSet,
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(20);
const PUBLIC: [u8; 4] = [198, 51, 100, 7];

struct Setup {
    forwarder: Forwarder,
    clock: Clock,
    registry: Registry,
}

impl Setup {
    fn new(upstreams: &[String], rules: Vec<Rule>) -> Self {
        let forward = ForwardConfig { rules, ..ForwardConfig::default() };
        let config = DnsConfig { listen: Vec::new(), upstreams: upstreams.to_vec(), forward, ..DnsConfig::default() };
        config.validate().expect("a valid configuration");
        let registry = Registry::new();
        let metrics = Arc::new(DnsMetrics::new(&registry).expect("a fresh registry"));
        let clock = Clock::manual();
        let forwarder = Forwarder::with_clock(&config, metrics, clock.clone()).expect("a forwarder");
        Self { forwarder, clock, registry }
    }

    async fn ask_for(&self, name: &str, qtype: u16) -> Answer {
        let name = name.parse().expect("a name");
        let question = Question { name, qtype, dnssec_ok: false, checking_disabled: false, authority: None };
        timeout(DEADLINE, self.forwarder.ask(&question)).await.expect("in time")
    }

    async fn ask(&self, name: &str) -> Answer {
        self.ask_for(name, rtype::A).await
    }

    /// Whether every upstream is taken for alive.
    fn all_are_up(&self) -> bool {
        let metrics = TextEncoder::new().encode_to_string(&self.registry.gather()).expect("metrics");
        metrics.lines().filter(|line| line.contains("upstream_up{")).all(|line| line.ends_with(" 1"))
    }
}

fn plain(fake: &Fake) -> String {
    fake.addr.to_string()
}

fn rule(suffix: &str, fake: &Fake) -> Rule {
    Rule { suffix: suffix.to_owned(), upstreams: vec![plain(fake)] }
}

fn addresses(answer: &Answer) -> Vec<&[u8]> {
    let sets = answer.answer.iter().filter(|set| set.rtype == rtype::A);
    sets.flat_map(|set| &set.data).map(|data| &data[..]).collect()
}

fn code(answer: &Answer) -> Option<EdeCode> {
    answer.ede.as_ref().map(|ede| ede.code)
}

/// The first bytes of a response to `question`, with a code: its header.
fn header(question: &Message, rcode: u8) -> Vec<u8> {
    let id = question.metadata.id.to_be_bytes();
    vec![id[0], id[1], 0x81, 0x80 | rcode, 0, 0, 0, 0, 0, 0, 0, 0]
}

#[tokio::test]
async fn upstreams_without_edns() {
    let with_code = |rcode: ResponseCode| -> Script {
        Arc::new(move |question, _| {
            let mut response = reply(question);
            response.edns = None;
            response.metadata.response_code = rcode;
            vec![encode(&response)]
        })
    };
    let bare: Script = Arc::new(|question, _| vec![header(question, 1)]);
    let copies: Script = Arc::new(|question, _| {
        let mut response = reply(question);
        response.metadata.response_code = ResponseCode::FormErr;
        vec![encode(&response)]
    });
    for (what, refusal, asked) in [
        ("FORMERR", with_code(ResponseCode::FormErr), 2),
        ("NOTIMP", with_code(ResponseCode::NotImp), 2),
        ("FORMERR with OPT", copies, 2),
        ("SERVFAIL", with_code(ResponseCode::ServFail), 2),
        ("a header", bare, 2),
        // Three datagrams, the last of them plain; learnt after two questions.
        ("silence", silence(), 3),
    ] {
        let plain_answer = address(PUBLIC, 60);
        let script: Script = Arc::new(move |question, over| match question.edns {
            Some(_) => refusal(question, over),
            None => plain_answer(question, over),
        });
        let fake = Fake::plain(script).await;
        let setup = Setup::new(&[plain(&fake)], Vec::new());
        assert_eq!(addresses(&setup.ask("a.example").await), [&PUBLIC[..]], "{what}");
        assert_eq!(fake.messages().len(), asked, "{what}");
        assert_eq!(addresses(&setup.ask("b.example").await), [&PUBLIC[..]], "{what}");
        // Remembered, for a quarter of an hour.
        let before = fake.messages().len();
        assert_eq!(addresses(&setup.ask("c.example").await), [&PUBLIC[..]], "{what}");
        assert_eq!(fake.messages().len(), before + 1, "{what}");
        setup.clock.advance_s(15 * 60);
        setup.ask("d.example").await;
        assert!(fake.messages().len() > before + 2, "{what}");
        assert!(setup.all_are_up(), "{what}");
    }
}

#[tokio::test]
async fn a_failure_of_one_question_is_no_reason_to_give_up_edns() {
    let script: Script = Arc::new(|question, over| {
        let is_bad = question.queries[0].name().to_ascii().starts_with("bad");
        let mut response = Message::from_vec(&address(PUBLIC, 60)(question, over)[0]).expect("a message");
        if is_bad {
            response.answers.clear();
            response.metadata.response_code = ResponseCode::ServFail;
        }
        response.edns = question.edns.as_ref().map(|_| Edns::new());
        vec![encode(&response)]
    });
    let fake = Fake::plain(script).await;
    let setup = Setup::new(&[plain(&fake)], Vec::new());
    for name in ["a.example", "bad.example", "c.example"] {
        setup.ask(name).await;
    }
    assert_eq!(fake.messages().len(), 3);
    assert!(fake.messages().iter().all(|message| message.edns.is_some()));
}

#[tokio::test]
async fn truncated_datagrams_are_not_read_and_damaged_ones_are_asked_for_again() {
    let many = |question: &Message| {
        let mut response = reply(question);
        let name = question.queries[0].name().to_ascii();
        response.answers = (0..60).map(|i| record(&name, 1, 60, &[198, 51, 100, i])).collect();
        response
    };
    for sets_tc in [true, false] {
        let script: Script = Arc::new(move |question, over| {
            let mut response = many(question);
            response.metadata.truncation = sets_tc && over == Over::Udp;
            let whole = encode(&response);
            // Within a record, as devices on the way do it.
            vec![if over == Over::Udp { whole[..512].to_vec() } else { whole }]
        });
        let fake = Fake::plain(script).await;
        let setup = Setup::new(&[plain(&fake)], Vec::new());
        for name in ["a.example", "b.example", "c.example", "d.example"] {
            assert_eq!(addresses(&setup.ask(name).await).len(), 60, "{sets_tc}");
        }
        assert!(setup.all_are_up());
    }
}

#[tokio::test]
async fn datagrams_larger_than_asked_for_are_taken() {
    let script: Script = Arc::new(|question, over| {
        let mut response = reply(question);
        let name = question.queries[0].name().to_ascii();
        response.answers = (0..40u8).map(|i| record(&name, 16, 60, &[&[200][..], &[i; 200]].concat())).collect();
        if over == Over::Udp { vec![encode(&response)] } else { Vec::new() }
    });
    let fake = Fake::plain(script).await;
    let setup = Setup::new(&[plain(&fake)], Vec::new());
    assert_eq!(setup.ask_for("a.example", rtype::TXT).await.answer[0].data.len(), 40);
}

#[tokio::test]
async fn a_server_without_tcp_is_not_dead() {
    for is_silent in [false, true] {
        // Nobody takes connections from the listener: they are opened and nothing comes, as behind some firewalls.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("bound");
        let udp = UdpSocket::bind(at).await.expect("a socket");
        let kept = is_silent.then_some(listener);
        let serving = tokio::spawn(async move {
            let mut buffer = [0; 1_232];
            while let Ok((len, from)) = udp.recv_from(&mut buffer).await {
                let question = Message::from_vec(&buffer[..len]).expect("a question");
                let is_long = question.queries[0].name().to_ascii().starts_with("long");
                let mut response = Message::from_vec(&address(PUBLIC, 60)(&question, Over::Udp)[0]).expect("a message");
                response.metadata.truncation = is_long;
                drop(udp.send_to(&encode(&response), from).await);
            }
        });
        let setup = Arc::new(Setup::new(&[at.to_string()], Vec::new()));
        let mut clients = JoinSet::new();
        for i in 0..5 {
            let setup = setup.clone();
            clients.spawn(async move { setup.ask(&format!("long{i}.example")).await });
        }
        while let Some(answer) = clients.join_next().await {
            let answer = answer.expect("no panic");
            assert_eq!((answer.rcode, code(&answer)), (ResponseCode::ServFail, Some(EdeCode::NetworkError)));
        }
        assert!(setup.all_are_up(), "{is_silent}");
        assert_eq!(addresses(&setup.ask("a.example").await), [&PUBLIC[..]]);
        drop(kept);
        serving.abort();
    }
}

#[tokio::test]
async fn odd_answers_do_not_make_an_upstream_dead() {
    let odd: [(&str, Script); 3] = [
        (
            "another question",
            Arc::new(|question, _| {
                let mut other = reply(question);
                other.queries[0].set_query_type(RecordType::TXT);
                vec![encode(&other)]
            }),
        ),
        (
            "damage",
            Arc::new(|question, _| {
                let mut response = encode(&reply(question));
                response[7] = 9;
                vec![response]
            }),
        ),
        (
            "truncated",
            Arc::new(|question, _| {
                let mut response = reply(question);
                response.metadata.truncation = true;
                vec![encode(&response)]
            }),
        ),
    ];
    for (what, script) in odd {
        let fake = Fake::plain(script).await;
        let setup = Setup::new(&[format!("tcp://{}", fake.addr)], Vec::new());
        for i in 0..4 {
            assert_eq!(setup.ask(&format!("a{i}.example")).await.rcode, ResponseCode::ServFail, "{what}");
        }
        assert!(setup.all_are_up(), "{what}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_is_dead_costs_nobody_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("bound");
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let serving = tokio::spawn(async move {
        let mut all = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            // The first one answers once and then only reads.
            let is_first = counted.fetch_add(1, Ordering::Relaxed) == 0;
            all.spawn(async move {
                let answered = AtomicBool::new(false);
                while let Ok(len) = stream.read_u16().await {
                    let mut bytes = vec![0; usize::from(len)];
                    if stream.read_exact(&mut bytes).await.is_err() {
                        return;
                    }
                    if is_first && answered.swap(true, Ordering::Relaxed) {
                        continue;
                    }
                    let question = Message::from_vec(&bytes).expect("a question");
                    let response = &address(PUBLIC, 60)(&question, Over::Connection)[0];
                    let frame = [&(response.len() as u16).to_be_bytes()[..], response].concat();
                    if stream.write_all(&frame).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let setup = Arc::new(Setup::new(&[format!("tcp://{at}")], Vec::new()));
    assert_eq!(addresses(&setup.ask("first.example").await), [&PUBLIC[..]]);
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for i in 0..20 {
        let setup = setup.clone();
        clients.spawn(async move { setup.ask(&format!("a{i}.example")).await });
    }
    while let Some(answer) = clients.join_next().await {
        assert_eq!(addresses(&answer.expect("no panic")), [&PUBLIC[..]]);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(connections.load(Ordering::Relaxed), 2, "one beside the dead one, for all");
    serving.abort();
}

#[tokio::test]
async fn record_data_passes_as_it_is() {
    let odd: [(u16, &[u8]); 5] = [
        (257, b"\0\x10abcdefghijklmnop"),
        (65, b"\0\x01\0\0\x03\0\x03\x01\xbb\0"),
        (65_305, b"anything"),
        (37, b"\0\x06\0\0\0"),
        (62, b"\0\0\0\x01\0\x07\0\x01\x40"),
    ];
    let script = answers(move |name, qtype| {
        let data = odd.iter().find(|(rtype, _)| *rtype == u16::from(qtype)).map(|(_, data)| *data);
        vec![record(name, qtype.into(), 60, data.expect("one of them"))]
    });
    let fake = Fake::plain(script).await;
    let setup = Setup::new(&[plain(&fake)], Vec::new());
    for (rtype, data) in odd {
        let answer = setup.ask_for("a.example", rtype).await;
        assert_eq!(answer.answer.first().map(|set| &set.data[0][..]), Some(data), "type {rtype}");
    }
    assert!(setup.all_are_up());
}

#[tokio::test]
async fn a_bare_alias_is_followed_by_the_routes() {
    let corp = answers(|name, _| match name {
        "alias.corp.example." => vec![record(name, 5, 60, &target("www.public.example"))],
        "lost.corp.example." => vec![record(name, 5, 60, &target("nobody.public.example"))],
        "turn.corp.example." => vec![record(name, 5, 60, &target("back.public.example"))],
        _ => Vec::new(),
    });
    let public: Script = Arc::new(|question, _| {
        let mut response = reply(question);
        let name = question.queries[0].name().to_lowercase().to_ascii();
        match name.as_str() {
            "www.public.example." => response.answers = vec![record(&name, 1, 30, &PUBLIC)],
            "back.public.example." => response.answers = vec![record(&name, 5, 60, &target("turn.corp.example"))],
            _ => {
                let soa = [target("ns.example"), target("host.example"), vec![0; 20]].concat();
                response.metadata.response_code = ResponseCode::NXDomain;
                response.authorities = vec![record("public.example.", 6, 60, &soa)];
            }
        }
        vec![encode(&response)]
    });
    let (corp, public) = (Fake::plain(corp).await, Fake::plain(public).await);
    let setup = Setup::new(&[plain(&public)], vec![rule("corp.example", &corp)]);
    let whole = setup.ask("alias.corp.example").await;
    assert_eq!((whole.answer.len(), addresses(&whole)), (2, vec![&PUBLIC[..]]));
    assert_eq!(public.asked(), ["www.public.example. A"]);
    // Kept as a whole.
    setup.ask("alias.corp.example").await;
    assert_eq!(corp.asked(), ["alias.corp.example. A"]);
    let lost = setup.ask("lost.corp.example").await;
    assert_eq!((lost.rcode, lost.answer.len(), lost.authority.len()), (ResponseCode::NXDomain, 1, 1));
    // A circle comes to an end.
    let circle = setup.ask("turn.corp.example").await;
    assert!(addresses(&circle).is_empty() && circle.answer.len() <= 2, "{circle:?}");
    // A failure of the second half is one of the whole.
    public.behave(silence());
    assert_eq!(setup.ask_for("alias.corp.example", rtype::AAAA).await.rcode, ResponseCode::ServFail);
}

#[tokio::test]
async fn a_referral_is_no_answer() {
    let refer: Script = Arc::new(|question, _| {
        let mut response = reply(question);
        response.authorities = vec![record("example.", 2, 60, &target("ns.example"))];
        response.metadata.recursion_available = false;
        vec![encode(&response)]
    });
    let (lame, good) = (Fake::plain(refer).await, Fake::plain(address(PUBLIC, 60)).await);
    let only = Setup::new(&[plain(&lame)], Vec::new());
    let answer = only.ask("a.example").await;
    assert_eq!((answer.rcode, code(&answer)), (ResponseCode::ServFail, Some(EdeCode::NoReachableAuthority)));
    assert!(only.all_are_up());
    let both = Setup::new(&[plain(&lame), plain(&good)], Vec::new());
    assert_eq!(addresses(&both.ask("a.example").await), [&PUBLIC[..]]);
}

#[tokio::test]
async fn an_upstreams_own_block_is_not_kept_for_us() {
    let blocked: Script = Arc::new(|question, _| {
        let mut response = reply(question);
        let mut edns = Edns::new();
        edns.options_mut().insert(hickory_proto::rr::rdata::opt::EdnsOption::Unknown(15, b"\0\x0fads".to_vec()));
        response.set_edns(edns);
        vec![encode(&response)]
    });
    let fake = Fake::plain(blocked).await;
    let setup = Setup::new(&[plain(&fake)], Vec::new());
    for _ in 0..2 {
        assert_eq!(code(&setup.ask("a.example").await), Some(EdeCode::Blocked));
    }
    assert_eq!(fake.asked().len(), 2);
}

#[tokio::test]
async fn names_without_dots_stay() {
    let (public, home) = (Fake::plain(address(PUBLIC, 60)).await, Fake::plain(address([192, 168, 1, 2], 60)).await);
    let setup = Setup::new(&[plain(&public)], vec![rule("nas", &home)]);
    for qtype in [rtype::A, rtype::AAAA, rtype::HTTPS] {
        let answer = setup.ask_for("printer", qtype).await;
        assert_eq!((answer.rcode, code(&answer)), (ResponseCode::NoError, Some(EdeCode::Blocked)));
    }
    assert_eq!(public.asked(), [""; 0]);
    // Zones of the top level are no hosts, and a rule is a rule.
    setup.ask_for("com", rtype::DS).await;
    setup.ask_for(".", rtype::A).await;
    assert_eq!(public.asked(), ["com. DS", ". A"]);
    assert_eq!(addresses(&setup.ask("nas").await), [&[192, 168, 1, 2][..]]);
}

#[tokio::test]
async fn silent_names_of_one_rule_do_not_stop_the_others() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let good = Fake::plain(address(PUBLIC, 60)).await;
    let slow =
        Rule { suffix: "slow.example".to_owned(), upstreams: vec![silent.local_addr().expect("bound").to_string()] };
    let setup = Arc::new(Setup::new(&[plain(&good)], vec![slow]));
    let mut clients = JoinSet::new();
    for i in 0..MAX_FLIGHTS + 50 {
        let setup = setup.clone();
        clients.spawn(async move { setup.ask(&format!("a{i}.slow.example")).await });
    }
    // All places are taken, by questions that nobody answers.
    let mut buffer = [0; 512];
    for _ in 0..MAX_FLIGHTS {
        timeout(DEADLINE, silent.recv_from(&mut buffer)).await.expect("in time").expect("a question");
    }
    for i in 0..20 {
        assert_eq!(addresses(&setup.ask(&format!("b{i}.example")).await), [&PUBLIC[..]], "{i}");
    }
}

/// The whole resolver with a HOSTS file, asked from loopback without sockets.
async fn ask_whole(responder: &Responder, name: &str, rtype: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), rtype));
    let (bytes, src) = (encode(&message), "127.0.0.1:4711".parse::<SocketAddr>().expect("an address"));
    let standing = responder.standing(&bytes, src.ip());
    let full = responder.clone().full(bytes, src, standing);
    Message::from_vec(&timeout(DEADLINE, full).await.expect("in time").expect("a response")).expect("a message")
}

#[tokio::test]
async fn aliases_and_services_must_not_lead_to_names_of_this_network() {
    let ends = [
        ("special.evil.example.", "localhost"),
        ("below.evil.example.", "x.home.arpa"),
        ("file.evil.example.", "nas.files.example"),
        ("rule.evil.example.", "nas.lan.example"),
        ("fine.evil.example.", "pub.files.example"),
        ("plain.evil.example.", "www.other.example"),
    ];
    let script = answers(move |name, qtype| {
        let Some((_, end)) = ends.iter().find(|(asked, _)| *asked == name) else { return Vec::new() };
        match qtype {
            RecordType::HTTPS => vec![record(name, 65, 60, &[b"\0\x01".to_vec(), target(end)].concat())],
            _ => vec![record(name, 5, 60, &target(end)), record(&format!("{end}."), 1, 60, &PUBLIC)],
        }
    });
    let (fake, home) = (Fake::plain(script).await, Fake::plain(address([192, 168, 1, 2], 60)).await);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("hosts");
    std::fs::write(&path, "192.168.7.8 nas.files.example\n198.51.100.9 pub.files.example\n").expect("written");
    let config = DnsConfig {
        listen: Vec::new(),
        upstreams: vec![plain(&fake)],
        hosts: HostsPaths(vec![path]),
        forward: ForwardConfig { rules: vec![rule("lan.example", &home)], ..ForwardConfig::default() },
        ..DnsConfig::default()
    };
    let metrics = Arc::new(DnsMetrics::new(&Registry::new()).expect("a fresh registry"));
    let whole = Responder::new(&config, Arc::new(table(&[])), metrics).expect("a responder");
    for (name, end) in ends {
        let is_held = end != "pub.files.example" && end != "www.other.example";
        for rtype in [RecordType::A, RecordType::HTTPS] {
            let answer = ask_whole(&whole, name, rtype).await;
            assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "{name}");
            assert_eq!(answer.answers.is_empty(), is_held, "{name} {rtype} {answer:?}");
        }
    }
}

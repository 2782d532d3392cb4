//! Forwarding against upstreams on loopback that are slow, dead, wrong or hostile.

mod support {
    pub mod upstream;
    #[path = "../support/mod.rs"]
    pub mod world;
}

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::{Name, RecordType, rdata::opt::EdnsOption},
};
use prometheus::{Registry, TextEncoder};
use proptest::prelude::*;
use resolver::{
    DnsConfig, DnsMetrics, HostsPaths,
    dns::{name::Dname, rtype},
    out::forward::{Clock, Forwarder, MAX_RESENDS, Question},
    policy::config::{CaseRandomization, ForwardConfig, Rule},
    serve::udp::Responder,
    zones::answer::{Answer, EdeCode, Origin},
};
use support::{
    upstream::{Authority, Fake, HOST, Kind, Over, Script, address, answers, encode, record, reply, silence, target},
    world::{ACTIVE, table},
};
use tokio::{
    net::{TcpListener, UdpSocket},
    task::JoinSet,
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(20);
const PUBLIC: [u8; 4] = [198, 51, 100, 7];

/// A forwarder, its clock and its metrics.
struct Setup {
    forwarder: Forwarder,
    clock: Clock,
    registry: Registry,
}

impl Setup {
    fn new(upstreams: &[String], forward: ForwardConfig) -> Self {
        let config = config(upstreams, forward);
        config.validate().expect("a valid configuration");
        let registry = Registry::new();
        let metrics = Arc::new(DnsMetrics::new(&registry).expect("a fresh registry"));
        let clock = Clock::manual();
        let forwarder = Forwarder::with_clock(&config, metrics, clock.clone()).expect("a forwarder");
        Self { forwarder, clock, registry }
    }

    async fn ask(&self, name: &str) -> Answer {
        timeout(DEADLINE, self.forwarder.ask(&question(name))).await.expect("in time")
    }

    fn metrics(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("metrics")
    }

    async fn until_metric(&self, line: &str) {
        let settled = async {
            while !self.metrics().contains(line) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, settled).await.unwrap_or_else(|_| panic!("{line} not in\n{}", self.metrics()));
    }
}

fn config(upstreams: &[String], forward: ForwardConfig) -> DnsConfig {
    DnsConfig { listen: Vec::new(), upstreams: upstreams.to_vec(), forward, ..DnsConfig::default() }
}

fn defaults() -> ForwardConfig {
    ForwardConfig::default()
}

fn question(name: &str) -> Question {
    Question {
        name: name.parse().expect("a name"),
        qtype: rtype::A,
        dnssec_ok: false,
        checking_disabled: false,
        authority: None,
    }
}

fn plain(fake: &Fake) -> String {
    fake.addr.to_string()
}

fn addresses(answer: &Answer) -> Vec<&[u8]> {
    let sets = answer.answer.iter().filter(|set| set.rtype == rtype::A);
    sets.flat_map(|set| &set.data).map(|data| &data[..]).collect()
}

fn code(answer: &Answer) -> Option<EdeCode> {
    answer.ede.as_ref().map(|ede| ede.code)
}

fn rule(suffix: &str, upstreams: &[String]) -> Rule {
    Rule { suffix: suffix.to_owned(), upstreams: upstreams.to_vec() }
}

#[tokio::test]
async fn every_transport_answers_and_keeps_its_connection() {
    let authority = Authority::new();
    for (kind, scheme, path) in [
        (Kind::Plain, "udp", ""),
        (Kind::Plain, "tcp", ""),
        (Kind::Tls, "tls", ""),
        (Kind::Https, "https", "/dns-query"),
        (Kind::Quic, "quic", ""),
    ] {
        let fake = Fake::start(kind, address(PUBLIC, 60), Some(&authority)).await;
        let fragment = if kind == Kind::Plain { String::new() } else { format!("#{HOST}") };
        let upstream = format!("{scheme}://{}{path}{fragment}", fake.addr);
        let forward = ForwardConfig { ca_file: Some(authority.file.clone()), ..defaults() };
        let setup = Setup::new(&[upstream], forward);
        for name in ["a.example", "b.example", "c.example"] {
            let answer = setup.ask(name).await;
            assert_eq!((answer.rcode, addresses(&answer)), (ResponseCode::NoError, vec![&PUBLIC[..]]), "{scheme}");
        }
        assert_eq!(fake.asked(), ["a.example. A", "b.example. A", "c.example. A"], "{scheme}");
        assert_eq!(fake.connections(), usize::from(scheme != "udp"), "{scheme}");
    }
}

#[tokio::test]
async fn a_lost_connection_is_opened_again() {
    let authority = Authority::new();
    for (kind, scheme) in [(Kind::Plain, "tcp"), (Kind::Tls, "tls"), (Kind::Https, "https"), (Kind::Quic, "quic")] {
        let fake = Fake::start(kind, address(PUBLIC, 60), Some(&authority)).await;
        let at = fake.addr;
        let forward = ForwardConfig { ca_file: Some(authority.file.clone()), ..defaults() };
        let setup = Setup::new(&[format!("{scheme}://{at}")], forward);
        assert_eq!(addresses(&setup.ask("a.example").await), [&PUBLIC[..]], "{scheme}");
        drop(fake);
        // The port may take a moment to be free.
        let again = loop {
            let free = match kind {
                Kind::Quic => std::net::UdpSocket::bind(at).is_ok(),
                _ => tokio::net::TcpListener::bind(at).await.is_ok(),
            };
            if free {
                break Fake::start_at(at, kind, address(PUBLIC, 60), Some(&authority)).await;
            }
            tokio::task::yield_now().await;
        };
        // QUIC learns of the end by itself only after a while; the second question finds out in any case.
        let mut answer = setup.ask("b.example").await;
        if answer.rcode != ResponseCode::NoError {
            answer = setup.ask("c.example").await;
        }
        assert_eq!(addresses(&answer), [&PUBLIC[..]], "{scheme} {answer:?}");
        drop(again);
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_is_not_called_by_everybody() {
    const CLIENTS: usize = 50;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = format!("tcp://{}", listener.local_addr().expect("bound"));
    let setup = Arc::new(Setup::new(&[upstream], defaults()));
    let mut clients = JoinSet::new();
    for i in 0..CLIENTS {
        let setup = setup.clone();
        clients.spawn(async move { setup.ask(&format!("a{i}.example")).await });
    }
    let mut accepted = 0;
    while !clients.is_empty() {
        tokio::select! {
            connection = listener.accept() => {
                drop(connection.expect("accepted"));
                accepted += 1;
            }
            answer = clients.join_next() => {
                let answer = answer.expect("not empty").expect("no panic");
                assert_eq!(answer.rcode, ResponseCode::ServFail);
            }
        }
    }
    assert!((1..=CLIENTS / 5).contains(&accepted), "{accepted}");
}

#[tokio::test]
async fn certificates_are_checked() {
    let (authority, other) = (Authority::new(), Authority::new());
    let fake = Fake::start(Kind::Tls, address(PUBLIC, 60), Some(&authority)).await;
    for (name, file, good) in
        [(HOST, &authority.file, true), ("other.test", &authority.file, false), (HOST, &other.file, false)]
    {
        let forward = ForwardConfig { ca_file: Some(file.clone()), ..defaults() };
        let setup = Setup::new(&[format!("tls://{name}:{}#127.0.0.1", fake.addr.port())], forward);
        let answer = setup.ask("a.example").await;
        let expected =
            if good { (ResponseCode::NoError, None) } else { (ResponseCode::ServFail, Some(EdeCode::NetworkError)) };
        assert_eq!((answer.rcode, code(&answer)), expected, "{name}");
    }
    assert_eq!(fake.asked().len(), 1);
    let forward = ForwardConfig { ca_file: Some("/nowhere".into()), ..defaults() };
    let metrics = Arc::new(DnsMetrics::new(&Registry::new()).expect("a fresh registry"));
    let error = Forwarder::new(&config(&[], forward), metrics).expect_err("no such file").to_string();
    assert!(error.starts_with("dns.forward.ca_file: /nowhere cannot be read: "), "{error}");
}

#[tokio::test]
async fn truncated_answers_come_over_tcp() {
    let script: Script = Arc::new(|question, over| {
        let mut response = reply(question);
        response.metadata.truncation = over == Over::Udp;
        if over == Over::Connection {
            response.answers = (0..200).map(|i| record("a.example.", 1, 60, &[198, 51, 100, i])).collect();
        }
        vec![encode(&response)]
    });
    let fake = Fake::plain(script).await;
    let setup = Setup::new(&[plain(&fake)], defaults());
    assert_eq!(addresses(&setup.ask("a.example").await).len(), 200);
    // What stays truncated is no answer, and is not kept.
    fake.behave(Arc::new(|question, _| {
        let mut response = reply(question);
        response.metadata.truncation = true;
        vec![encode(&response)]
    }));
    assert_eq!(setup.ask("b.example").await.rcode, ResponseCode::ServFail);
    fake.behave(address(PUBLIC, 60));
    setup.clock.advance_s(1);
    assert_eq!(addresses(&setup.ask("b.example").await), [&PUBLIC[..]]);
}

#[tokio::test]
async fn forgeries_are_passed_over() {
    let script: Script = Arc::new(|question, _| {
        let good = reply(question);
        let forged = |change: &dyn Fn(&mut Message)| {
            let mut message = good.clone();
            message.answers = vec![record("a.example.", 1, 60, &[6, 6, 6, 6])];
            change(&mut message);
            encode(&message)
        };
        let mut right = good.clone();
        right.answers = vec![record("a.example.", 1, 60, &PUBLIC)];
        vec![
            forged(&|message| message.metadata.id ^= 1),
            forged(&|message| {
                message.queries = vec![Query::query(Name::from_ascii("b.example.").expect("a name"), RecordType::A)]
            }),
            forged(&|message| {
                message.queries[0].set_query_type(RecordType::TXT);
            }),
            forged(&|message| message.queries.clear()),
            vec![0; 3],
            encode(&right),
        ]
    });
    let fake = Fake::plain(script.clone()).await;
    let setup = Setup::new(&[plain(&fake)], defaults());
    assert_eq!(addresses(&setup.ask("a.example").await), [&PUBLIC[..]]);
    // Nothing but forgeries is no answer.
    let only: Script = Arc::new(move |question, over| script(question, over).into_iter().take(5).collect());
    fake.behave(only);
    let answer = setup.ask("a.example.").await;
    assert_eq!(addresses(&answer), [&PUBLIC[..]], "from the cache");
    assert_eq!(setup.ask("c.example").await.rcode, ResponseCode::ServFail);
    // On a connection, another question is the upstream's mistake.
    let other = answers(|_, _| Vec::new());
    let wrong: Script = Arc::new(move |question, over| {
        let mut question = question.clone();
        question.queries[0].set_query_type(RecordType::TXT);
        other(&question, over)
    });
    fake.behave(wrong);
    let setup = Setup::new(&[format!("tcp://{}", fake.addr)], defaults());
    let answer = setup.ask("a.example").await;
    assert_eq!((answer.rcode, code(&answer)), (ResponseCode::ServFail, Some(EdeCode::NetworkError)));
}

#[tokio::test]
async fn letter_case_is_random_until_an_upstream_cannot_keep_it() {
    let name = "abcdefghijklmnopqrstuvwxyz.example";
    let always = || ForwardConfig { case_randomization: CaseRandomization::Always, ..defaults() };
    let sent = |fake: &Fake| fake.messages().pop().expect("asked").queries[0].name().to_ascii();
    let fake = Fake::plain(address(PUBLIC, 60)).await;
    let setup = Setup::new(&[plain(&fake)], always());
    setup.ask(name).await;
    assert!(sent(&fake) != sent(&fake).to_lowercase() && sent(&fake) != sent(&fake).to_uppercase(), "{}", sent(&fake));
    // Towards the own network it is of no use.
    let near = Setup::new(&[plain(&fake)], defaults());
    near.ask(name).await;
    assert_eq!(sent(&fake), sent(&fake).to_lowercase());

    // Lower-cases, and has no TCP.
    let lower: Script = Arc::new(|question, over| {
        let mut question = question.clone();
        let name = question.queries[0].name().to_lowercase();
        question.queries[0].set_name(name);
        if over == Over::Udp { address(PUBLIC, 60)(&question, over) } else { Vec::new() }
    });
    // Refuses, or does not know, what is not in lower case.
    let picky = |rcode: ResponseCode| -> Script {
        Arc::new(move |question, over| {
            let name = question.queries[0].name().to_ascii();
            if name == name.to_lowercase() {
                return address(PUBLIC, 60)(question, over);
            }
            let mut response = reply(question);
            response.metadata.response_code = rcode;
            vec![encode(&response)]
        })
    };
    let upper: Script = Arc::new(|question, over| {
        let mut question = question.clone();
        let name = question.queries[0].name().to_ascii().to_uppercase();
        question.queries[0].set_name(Name::from_ascii(name).expect("a name"));
        if over == Over::Udp { address(PUBLIC, 60)(&question, over) } else { Vec::new() }
    });
    for script in
        [lower, upper, picky(ResponseCode::Refused), picky(ResponseCode::NXDomain), picky(ResponseCode::NoError)]
    {
        let fake = Fake::plain(script).await;
        let setup = Setup::new(&[plain(&fake)], always());
        assert_eq!(addresses(&setup.ask(name).await), [&PUBLIC[..]]);
        assert_eq!(fake.messages().len(), 2);
        // Learnt, for a quarter of an hour.
        assert_eq!(addresses(&setup.ask("zyxwvutsrqponmlkjihgfedcba.example").await), [&PUBLIC[..]]);
        assert_eq!(fake.messages().len(), 3);
        setup.clock.advance_s(15 * 60);
        assert_eq!(addresses(&setup.ask("zyxwvutsrqponmlkjihgfedcba.example").await), [&PUBLIC[..]]);
        assert_eq!(fake.messages().len(), 5);
    }
}

#[tokio::test]
async fn a_dead_upstream_is_left_alone_until_it_is_back() {
    let (sick, well) = (Fake::plain(silence()).await, Fake::plain(address(PUBLIC, 0)).await);
    let setup = Setup::new(&[plain(&sick), plain(&well)], defaults());
    let label = format!("upstream=\"udp://{}\"", sick.addr);
    let began = Instant::now();
    let mut asked = 0;
    while !setup.metrics().contains(&format!("upstream_up{{{label}}} 0")) {
        let answer = setup.ask(&format!("a{asked}.example")).await;
        assert_eq!(addresses(&answer), [&PUBLIC[..]]);
        asked += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(began.elapsed() < DEADLINE, "{}", setup.metrics());
    }
    // Dead: nobody waits for it.
    let began = Instant::now();
    for i in 0..20 {
        assert_eq!(addresses(&setup.ask(&format!("b{i}.example")).await), [&PUBLIC[..]]);
    }
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    assert!(!sick.asked().iter().any(|question| question.starts_with('b')));
    // Alive again: a probe finds out, and then it is asked again when the other one is gone.
    sick.behave(address(PUBLIC, 0));
    setup.until_metric(&format!("upstream_up{{{label}}} 1")).await;
    drop(well);
    assert_eq!(addresses(&setup.ask("c.example").await), [&PUBLIC[..]]);
}

#[tokio::test]
async fn a_slow_upstream_is_overtaken() {
    let (slow, fast) = (Fake::plain(silence()).await, Fake::plain(address(PUBLIC, 60)).await);
    let setup = Setup::new(&[plain(&slow), plain(&fast)], defaults());
    let began = Instant::now();
    assert_eq!(addresses(&setup.ask("a.example").await), [&PUBLIC[..]]);
    // 400 ms of patience with somebody unknown, not the 2 s after which it is given up.
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    assert!(slow.asked().len() <= 4 && fast.asked().len() == 1);
}

#[tokio::test]
async fn refusals_are_taken_only_from_the_last() {
    let refuse: Script = Arc::new(|question, _| {
        let mut response = reply(question);
        response.metadata.response_code = ResponseCode::ServFail;
        let mut edns = Edns::new();
        edns.options_mut().insert(EdnsOption::Unknown(15, b"\x00\x06bogus\x07".to_vec()));
        response.set_edns(edns);
        vec![encode(&response)]
    });
    let (bad, good) = (Fake::plain(refuse).await, Fake::plain(address(PUBLIC, 60)).await);
    let both = Setup::new(&[plain(&bad), plain(&good)], defaults());
    assert_eq!(addresses(&both.ask("a.example").await), [&PUBLIC[..]]);

    let only = Setup::new(&[plain(&bad)], defaults());
    for (wait_s, asked) in [(0, 1), (4, 1), (1, 2)] {
        let before = bad.asked().len();
        only.clock.advance_s(wait_s);
        let answer = only.ask("b.example").await;
        // The upstream's reason is passed on, and its failure is remembered for 5 s.
        assert_eq!((answer.rcode, code(&answer)), (ResponseCode::ServFail, Some(EdeCode::DnssecBogus)));
        assert_eq!(answer.ede.map(|ede| ede.text.into_owned()), Some("upstream: bogus".to_owned()));
        let total = bad.asked().iter().filter(|question| question.starts_with("b.")).count();
        assert_eq!(total, asked, "{wait_s} {before}");
    }
}

#[tokio::test]
async fn nobody_there() {
    let (closed, silent) = {
        let fake = Fake::plain(silence()).await;
        (fake.addr, Fake::plain(silence()).await)
    };
    let setup = Setup::new(&[format!("tcp://{closed}")], defaults());
    let answer = setup.ask("a.example").await;
    assert_eq!((answer.rcode, code(&answer)), (ResponseCode::ServFail, Some(EdeCode::NetworkError)));
    let setup = Setup::new(&[plain(&silent)], defaults());
    let answer = setup.ask("a.example").await;
    assert_eq!((answer.rcode, code(&answer)), (ResponseCode::ServFail, Some(EdeCode::NoReachableAuthority)));
}

#[tokio::test]
async fn lost_datagrams_are_sent_again() {
    for (lost, within_ms) in [(1, 1_000), (2, 1_500)] {
        let (seen, answering) = (AtomicUsize::new(0), address(PUBLIC, 60));
        let script: Script = Arc::new(move |question, over| match seen.fetch_add(1, Ordering::Relaxed) < lost {
            true => Vec::new(),
            false => answering(question, over),
        });
        let fake = Fake::plain(script).await;
        let setup = Setup::new(&[plain(&fake)], defaults());
        let began = Instant::now();
        assert_eq!(addresses(&setup.ask("a.example").await), [&PUBLIC[..]]);
        assert!(began.elapsed() < Duration::from_millis(within_ms), "{lost} {:?}", began.elapsed());
        assert_eq!(fake.asked().len(), lost + 1);
    }
}

#[tokio::test]
async fn silence_does_not_eat_sockets() {
    const CLIENTS: usize = 200;
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let setup = Arc::new(Setup::new(&[silent.local_addr().expect("bound").to_string()], defaults()));
    let mut clients = JoinSet::new();
    for i in 0..CLIENTS {
        let setup = setup.clone();
        clients.spawn(async move { setup.ask(&format!("a{i}.example")).await });
    }
    // All are open until the last question is given up: each port is a socket.
    let (mut ports, mut buffer) = (HashSet::new(), [0; 512]);
    while !clients.is_empty() {
        tokio::select! {
            received = silent.recv_from(&mut buffer) => drop(ports.insert(received.expect("received").1)),
            answer = clients.join_next() => {
                let answer = answer.expect("not empty").expect("no panic");
                assert_eq!(code(&answer), Some(EdeCode::NoReachableAuthority));
            }
        }
    }
    assert!((CLIENTS + 1..=CLIENTS + MAX_RESENDS + 1).contains(&ports.len()), "{}", ports.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_question_is_asked_once() {
    // One message: the only question is let through.
    let (open, gate) = mpsc::sync_channel::<()>(1);
    let gate = Mutex::new(gate);
    let script: Script = Arc::new(move |question, over| {
        // Other tasks that wait for this thread of the runtime have to go on.
        tokio::task::block_in_place(|| gate.lock().expect("not poisoned").recv().expect("opened"));
        address(PUBLIC, 60)(question, over)
    });
    let fake = Fake::start(Kind::Plain, script, None).await;
    let setup = Arc::new(Setup::new(&[format!("tcp://{}", fake.addr)], defaults()));
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        let setup = setup.clone();
        clients.spawn(async move { setup.ask("a.example").await });
    }
    setup.until_metric("forward_lookups_total{result=\"joined\"} 49").await;
    open.send(()).expect("waiting");
    while let Some(answer) = clients.join_next().await {
        assert_eq!(addresses(&answer.expect("no panic")), [&PUBLIC[..]]);
    }
    assert_eq!(fake.asked().len(), 1);
}

#[tokio::test]
async fn answers_are_kept_for_their_ttl() {
    let fake = Fake::plain(address(PUBLIC, 100)).await;
    let setup = Setup::new(&[plain(&fake)], ForwardConfig { prefetch: false, ..defaults() });
    for (advance_s, ttl_s, asked) in [(0, 100, 1), (40, 60, 1), (59, 1, 1), (1, 100, 2)] {
        setup.clock.advance_s(advance_s);
        let answer = setup.ask("A.Example").await;
        assert_eq!((answer.answer[0].ttl_s, fake.asked().len()), (ttl_s, asked));
    }
    let metrics = setup.metrics();
    assert!(metrics.contains("forward_lookups_total{result=\"hit\"} 2"), "{metrics}");
    assert!(metrics.contains("forward_lookups_total{result=\"miss\"} 2"), "{metrics}");
    assert!(metrics.contains("forward_cache_entries 1") && !metrics.contains("forward_cache_bytes 0"), "{metrics}");
}

/// RFC 8484 §5.1: what an HTTP cache on the way has had for a while is as old here.
#[tokio::test]
async fn the_age_of_an_http_response_is_taken_off_its_ttls() {
    let authority = Authority::new();
    let fake = Fake::start(Kind::Https, address(PUBLIC, 600), Some(&authority)).await;
    let forward = ForwardConfig { ca_file: Some(authority.file.clone()), prefetch: false, ..defaults() };
    let setup = Setup::new(&[format!("https://{}/dns-query#{HOST}", fake.addr)], forward);
    let mut asked = 0;
    for (ages, ttl_s) in [(&[][..], 600), (&["500"], 100), (&["500", "9"], 100), (&["0"], 600), (&["-5"], 600)] {
        fake.say_ages(ages);
        let name = format!("a{asked}.example");
        asked += 1;
        assert_eq!(setup.ask(&name).await.answer[0].ttl_s, ttl_s, "{ages:?}");
        // As long as it is told, so long it is kept.
        setup.clock.advance_s(ttl_s.into());
        assert_eq!(setup.ask(&name).await.answer[0].ttl_s, ttl_s, "{ages:?}");
        asked += 1;
        assert_eq!(fake.asked().len(), asked, "{ages:?}");
    }
    // Older than it may be: it is passed on, for nobody to keep.
    fake.say_ages(&["99999999999"]);
    for _ in 0..2 {
        let answer = setup.ask("old.example").await;
        assert_eq!((answer.answer[0].ttl_s, addresses(&answer)), (0, vec![&PUBLIC[..]]));
    }
    assert_eq!(fake.asked().len(), asked + 2);
}

#[tokio::test]
async fn an_absence_is_passed_on_for_as_long_as_it_is_kept() {
    for (minimum, kept_s) in [(300u32, 300), (900, 900), (86_400, 3_600)] {
        let script: Script = Arc::new(move |question, _| {
            let mut response = reply(question);
            response.metadata.response_code = ResponseCode::NXDomain;
            let soa = [target("ns.example"), target("host.example"), vec![0; 16], minimum.to_be_bytes().to_vec()];
            let ttl_s = minimum.max(900);
            // Covers SOA; algorithm 13, one label.
            let signature = [&[0, 6, 13, 1][..], &[0; 14], &target("example"), &[7; 64]].concat();
            response.authorities =
                vec![record("example.", 6, ttl_s, &soa.concat()), record("example.", 46, ttl_s, &signature)];
            response.set_edns(Edns::new());
            vec![encode(&response)]
        });
        let fake = Fake::plain(script).await;
        let setup = Setup::new(&[plain(&fake)], defaults());
        let asked = Question { dnssec_ok: true, ..question("a.example") };
        for (advance_s, ttl_s) in [(0, kept_s), (100, kept_s - 100)] {
            setup.clock.advance_s(advance_s);
            let answer = timeout(DEADLINE, setup.forwarder.ask(&asked)).await.expect("in time");
            let ttls: Vec<_> = answer.authority.iter().map(|set| (set.rtype, set.ttl_s)).collect();
            assert_eq!(ttls, [(rtype::SOA, ttl_s), (rtype::RRSIG, ttl_s)], "{minimum}");
        }
        assert_eq!(fake.asked().len(), 1);
    }
}

#[tokio::test]
async fn what_is_still_wanted_is_fetched_before_it_expires() {
    let fake = Fake::plain(address(PUBLIC, 100)).await;
    let setup = Setup::new(&[plain(&fake)], defaults());
    setup.ask("a.example").await;
    setup.clock.advance_s(95);
    assert_eq!(setup.ask("a.example").await.answer[0].ttl_s, 5);
    setup.until_metric("forward_requests_total{result=\"answered\"} 2").await;
    assert_eq!(setup.ask("a.example").await.answer[0].ttl_s, 100);
    assert!(setup.metrics().contains("forward_prefetches_total 1"));
}

#[tokio::test]
async fn stale_answers_bridge_a_failure() {
    let fake = Fake::plain(address(PUBLIC, 100)).await;
    let at = fake.addr;
    let setup = Setup::new(&[plain(&fake)], ForwardConfig { stale_after_ms: 300, ..defaults() });
    setup.ask("a.example").await;
    fake.behave(silence());
    setup.clock.advance_s(100);
    // Not at once: the upstream has its chance. Not only after it has failed, either.
    let began = Instant::now();
    let answer = setup.ask("a.example").await;
    assert_eq!((addresses(&answer), answer.answer[0].ttl_s), (vec![&PUBLIC[..]], 30));
    assert_eq!(code(&answer), Some(EdeCode::StaleAnswer));
    assert!((300..1_800).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    setup.until_metric("forward_requests_total{result=\"unreachable\"} 1").await;
    // It has just failed: at once, and nobody is asked.
    let asked = fake.asked().len();
    let began = Instant::now();
    assert_eq!(code(&setup.ask("a.example").await), Some(EdeCode::StaleAnswer));
    assert!(began.elapsed() < Duration::from_millis(250), "{:?}", began.elapsed());
    assert_eq!(fake.asked().len(), asked);
    // Half a minute later somebody tries again, and the upstream is back with something new.
    fake.behave(address([198, 51, 100, 8], 100));
    setup.clock.advance_s(30);
    let answer = setup.ask("a.example").await;
    assert_eq!((addresses(&answer), code(&answer)), (vec![&[198, 51, 100, 8][..]], None));
    // After a day nothing is better than that.
    drop(fake);
    setup.clock.advance_s(100 + 86_400);
    assert_eq!(setup.ask("a.example").await.rcode, ResponseCode::ServFail, "{at}");
}

#[tokio::test]
async fn rebinding_is_withheld_and_exceptions_are_not() {
    let inside = [192, 168, 1, 1];
    let script = answers(move |name, _| match name {
        "cname.evil.example." => {
            vec![record(name, 5, 60, &target("deep.evil.example")), record("deep.evil.example.", 1, 60, &inside)]
        }
        "mixed.evil.example." => vec![record(name, 1, 60, &PUBLIC), record(name, 1, 60, &inside)],
        _ => vec![record(name, 1, 60, &inside)],
    });
    let fake = Fake::plain(script).await;
    let upstream = [plain(&fake)];
    let forward = ForwardConfig {
        rebinding_allow: vec!["nas.example".to_owned()],
        // The upstream of this rule is in the local network, so its answers may be.
        rules: vec![rule("lan", &upstream)],
        ..defaults()
    };
    let setup = Setup::new(&upstream, forward);
    for name in ["evil.example", "cname.evil.example", "mixed.evil.example", "xnas.example"] {
        for _ in 0..2 {
            let answer = setup.ask(name).await;
            assert_eq!(
                (answer.rcode, answer.answer.len(), code(&answer)),
                (ResponseCode::NoError, 0, Some(EdeCode::Blocked))
            );
        }
    }
    assert_eq!(fake.asked().len(), 4);
    for name in ["nas.example", "my.nas.example", "printer.lan"] {
        assert_eq!(addresses(&setup.ask(name).await), [&inside[..]], "{name}");
    }
    assert!(setup.metrics().contains("forward_blocked_total 4"));
    let off = Setup::new(&upstream, ForwardConfig { rebinding_guard: false, ..defaults() });
    assert_eq!(addresses(&off.ask("evil.example").await), [&inside[..]]);
}

#[tokio::test]
async fn the_longest_rule_wins() {
    let [general, lan, deep] = [
        Fake::plain(address([198, 51, 100, 1], 60)).await,
        Fake::plain(address([198, 51, 100, 2], 60)).await,
        Fake::plain(address([198, 51, 100, 3], 60)).await,
    ];
    let forward = ForwardConfig {
        rules: vec![
            rule("corp.example", &[plain(&lan)]),
            rule("x.corp.example", &[plain(&deep)]),
            rule("ads.example", &[]),
        ],
        ..defaults()
    };
    let setup = Setup::new(&[plain(&general)], forward.clone());
    for (name, last) in [
        ("b.example", 1),
        ("acorp.example", 1),
        ("corp.example", 2),
        ("A.CORP.example", 2),
        ("x.corp.example", 3),
        ("a.X.corp.example", 3),
    ] {
        assert_eq!(addresses(&setup.ask(name).await), [&[198, 51, 100, last][..]], "{name}");
    }
    let refused = setup.ask("www.ads.example").await;
    assert_eq!(
        (refused.rcode, refused.origin, code(&refused)),
        (ResponseCode::Refused, Origin::Policy, Some(EdeCode::Blocked))
    );
    // Without general upstreams only the rules are served.
    let setup = Setup::new(&[], forward);
    assert_eq!(addresses(&setup.ask("b.corp.example").await).len(), 1);
    let uncovered = setup.ask("a.example").await;
    assert_eq!((uncovered.rcode, code(&uncovered)), (ResponseCode::Refused, Some(EdeCode::NotAuthoritative)));
}

/// The whole resolver, asked from loopback without sockets.
struct Whole(Responder);

impl Whole {
    fn new(upstreams: &[String], forward: ForwardConfig) -> Self {
        Self::of(&config(upstreams, forward))
    }

    fn of(config: &DnsConfig) -> Self {
        let names = table(&[
            (
                "alice",
                ACTIVE,
                "@ A 198.51.100.99\nout CNAME www.example\nonion CNAME x.onion\nlan CNAME nas.home.arpa\nback CNAME back.example",
            ),
            ("home", ACTIVE, "@ A 192.168.1.1"),
            (
                "evil",
                ACTIVE,
                "rule CNAME nas.corp.example\nallowed CNAME allowed.example\nfile CNAME nas.lan\nhome CNAME home.p2p",
            ),
        ]);
        let metrics = Arc::new(DnsMetrics::new(&Registry::new()).expect("a fresh registry"));
        Self(Responder::new(config, Arc::new(names), metrics).expect("a responder"))
    }

    async fn send(&self, message: &Message) -> Message {
        let (bytes, src) = (encode(message), "127.0.0.1:4711".parse::<SocketAddr>().expect("an address"));
        let standing = self.0.standing(&bytes, src.ip());
        let full = self.0.clone().full(bytes, src, standing);
        let bytes = timeout(DEADLINE, full).await.expect("in time").expect("a response");
        Message::from_vec(&bytes).expect("a message")
    }

    async fn ask(&self, name: &str) -> Message {
        self.send(&message(name)).await
    }
}

fn message(name: &str) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), RecordType::A));
    message
}

fn shown(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| format!("{} {}", record.name, record.data)).collect()
}

#[tokio::test]
async fn a_rule_opens_a_special_name() {
    let fake = Fake::plain(address([192, 168, 7, 7], 60)).await;
    let closed = Whole::new(&[plain(&fake)], defaults());
    assert_eq!(closed.ask("nas.home.arpa.").await.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(fake.asked(), [""; 0]);
    // A rule above the special zone does not open it.
    let above = Whole::new(&[], ForwardConfig { rules: vec![rule("arpa", &[plain(&fake)])], ..defaults() });
    assert_eq!(above.ask("nas.home.arpa.").await.metadata.response_code, ResponseCode::NXDomain);
    let rules = vec![rule("home.arpa", &[plain(&fake)]), rule("168.192.in-addr.arpa", &[plain(&fake)])];
    let open = Whole::new(&[], ForwardConfig { rules, ..defaults() });
    assert_eq!(shown(&open.ask("NAS.home.arpa.").await), ["NAS.home.arpa. 192.168.7.7"]);
    assert_eq!(open.ask("1.1.168.192.in-addr.arpa.").await.metadata.response_code, ResponseCode::NoError);
    assert_eq!(open.ask("1.0.0.10.in-addr.arpa.").await.metadata.response_code, ResponseCode::NXDomain);
    // Not for those who do not ask for recursion.
    let mut iterative = message("nas.home.arpa.");
    iterative.metadata.recursion_desired = false;
    assert_eq!(open.send(&iterative).await.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(fake.asked(), ["nas.home.arpa. A", "1.1.168.192.in-addr.arpa. A"]);
}

#[tokio::test]
async fn aliases_across_the_border() {
    let script = answers(|name, _| match name {
        "www.example." => vec![record(name, 1, 60, &PUBLIC)],
        "in.example." => vec![record(name, 5, 60, &target("alice.P2P")), record("alice.p2p.", 1, 60, &[6, 6, 6, 6])],
        "evil.example." => vec![record(name, 5, 60, &target("home.p2p"))],
        "nobody.example." => vec![record(name, 5, 60, &target("nobody.p2p"))],
        "back.example." => vec![record(name, 5, 60, &target("alice.p2p"))],
        _ => Vec::new(),
    });
    let fake = Fake::plain(script).await;
    let whole = Whole::new(&[plain(&fake)], defaults());
    assert_eq!(shown(&whole.ask("out.alice.p2p.").await), ["out.alice.p2p. www.example.", "www.example. 198.51.100.7"]);
    // Nobody else is believed about our names, and the second time the first half comes from the cache.
    for _ in 0..2 {
        let answer = whole.ask("in.example.").await;
        assert_eq!(shown(&answer), ["in.example. alice.p2p.", "alice.p2p. 198.51.100.99"]);
        assert!(!answer.metadata.authoritative && !answer.metadata.authentic_data);
    }
    let back = whole.ask("back.alice.p2p.").await;
    assert_eq!(shown(&back), ["back.alice.p2p. back.example.", "back.example. alice.p2p.", "alice.p2p. 198.51.100.99"]);
    let absent = whole.ask("nobody.example.").await;
    assert_eq!((absent.metadata.response_code, absent.answers.len()), (ResponseCode::NXDomain, 1));
    // A ledger name may have a local address, a stranger's alias to it may not.
    assert_eq!(shown(&whole.ask("home.p2p.").await), ["home.p2p. 192.168.1.1"]);
    assert_eq!(shown(&whole.ask("evil.example.").await), [""; 0]);
    assert_eq!(
        fake.asked(),
        ["www.example. A", "in.example. A", "back.example. A", "nobody.example. A", "evil.example. A"]
    );
}

#[tokio::test]
async fn local_addresses_of_ledger_names_can_be_withheld() {
    let whole = Whole::new(&[], ForwardConfig { private_ledger_addresses: false, ..defaults() });
    assert_eq!(shown(&whole.ask("alice.p2p.").await), ["alice.p2p. 198.51.100.99"]);
    let mut asked = message("home.p2p.");
    asked.set_edns(Edns::new());
    let answer = whole.send(&asked).await;
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
    let ede = answer.edns.and_then(|edns| edns.option(15.into()).cloned());
    assert!(matches!(ede, Some(EdnsOption::Unknown(15, data)) if data.starts_with(&[0, 15])));
}

#[tokio::test]
async fn withheld_local_addresses_do_not_come_back_along_aliases() {
    let fake = Fake::plain(address([192, 168, 7, 7], 60)).await;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("hosts");
    std::fs::write(&path, "192.168.7.8 nas.lan own.p2p\n").expect("written");
    let config = |private_ledger_addresses| DnsConfig {
        hosts: HostsPaths(vec![path.clone()]),
        ..config(
            &[plain(&fake)],
            ForwardConfig {
                private_ledger_addresses,
                rules: vec![rule("corp.example", &[plain(&fake)])],
                rebinding_allow: vec!["allowed.example".to_owned()],
                ..defaults()
            },
        )
    };
    let (open, closed) = (Whole::of(&config(true)), Whole::of(&config(false)));
    for (name, end) in [
        ("rule.evil.p2p.", "nas.corp.example. 192.168.7.7"),
        ("allowed.evil.p2p.", "allowed.example. 192.168.7.7"),
        ("file.evil.p2p.", "nas.lan. 192.168.7.8"),
        ("home.evil.p2p.", "home.p2p. 192.168.1.1"),
    ] {
        let given = shown(&open.ask(name).await);
        assert_eq!(given.last().map(String::as_str), Some(end), "{name}");
        let answer = closed.ask(name).await;
        assert_eq!((answer.metadata.response_code, shown(&answer)), (ResponseCode::NoError, Vec::new()), "{name}");
    }
    // What counts is the name that was asked for, and a file is the operator's own word.
    for (name, address) in [
        ("nas.corp.example.", "192.168.7.7"),
        ("allowed.example.", "192.168.7.7"),
        ("nas.lan.", "192.168.7.8"),
        ("own.p2p.", "192.168.7.8"),
    ] {
        assert_eq!(shown(&closed.ask(name).await), [format!("{name} {address}")]);
    }
}

#[tokio::test]
async fn exceptions_hold_for_aliases_into_the_ledger() {
    let script = answers(|name, _| vec![record(name, 5, 60, &target("home.p2p"))]);
    let fake = Fake::plain(script).await;
    for private_ledger_addresses in [true, false] {
        let forward = ForwardConfig {
            private_ledger_addresses,
            // Its upstream is in the local network.
            rules: vec![rule("home.example", &[plain(&fake)])],
            rebinding_allow: vec!["allowed.example".to_owned()],
            ..defaults()
        };
        let whole = Whole::new(&[plain(&fake)], forward);
        for name in ["nas.home.example.", "allowed.example."] {
            let expected = [format!("{name} home.p2p."), "home.p2p. 192.168.1.1".to_owned()];
            assert_eq!(shown(&whole.ask(name).await), expected);
        }
        assert_eq!(shown(&whole.ask("evil.example.").await), [""; 0]);
    }
}

#[tokio::test]
async fn bits_are_passed_on() {
    let script: Script = Arc::new(|question, over| {
        let mut validated = Message::from_vec(&address(PUBLIC, 60)(question, over)[0]).expect("a message");
        validated.metadata.authentic_data = true;
        vec![encode(&validated)]
    });
    let fake = Fake::plain(script).await;
    let whole = Whole::new(&[plain(&fake)], defaults());
    for (dnssec_ok, ad, cd, expected) in [
        (false, false, false, false),
        (false, true, false, true),
        (true, false, false, true),
        (true, false, true, true),
    ] {
        let mut asked = message("a.example.");
        let mut edns = Edns::new();
        edns.set_dnssec_ok(dnssec_ok);
        asked.set_edns(edns);
        asked.metadata.authentic_data = ad;
        asked.metadata.checking_disabled = cd;
        let answer = whole.send(&asked).await;
        assert_eq!(answer.metadata.authentic_data, expected, "{dnssec_ok} {ad} {cd}");
        assert_eq!(answer.metadata.checking_disabled, cd);
    }
    let bits = |message: &Message| {
        (message.edns.as_ref().expect("EDNS").flags().dnssec_ok, message.metadata.checking_disabled)
    };
    // The second was in the cache.
    assert_eq!(fake.messages().iter().map(bits).collect::<Vec<_>>(), [(false, false), (true, false), (true, true)]);
}

/// Zones of which no name may ever leave.
const SECRET: [&str; 26] = [
    "p2p",
    "p2p.alt",
    "alt",
    "gns.alt",
    "onion",
    "local",
    "localhost",
    "invalid",
    "test",
    "internal",
    "home.arpa",
    "resolver.arpa",
    "service.arpa",
    "10.in-addr.arpa",
    "16.172.in-addr.arpa",
    "31.172.in-addr.arpa",
    "168.192.in-addr.arpa",
    "254.169.in-addr.arpa",
    "127.in-addr.arpa",
    "0.in-addr.arpa",
    "64.100.in-addr.arpa",
    "127.100.in-addr.arpa",
    "2.0.192.in-addr.arpa",
    "d.f.ip6.arpa",
    "8.e.f.ip6.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa",
];

/// Labels of any bytes, then a secret zone in random case.
fn secret_name() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let label = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..12),
        "[a-z]{1,8}".prop_map(String::into_bytes),
        Just(b"a.example".to_vec()),
        Just(b"\x03com".to_vec()),
    ];
    let zone = (0..SECRET.len(), any::<u64>()).prop_map(|(index, case)| {
        let mut bit = 0;
        let mut turn = |byte: u8| {
            bit += 1;
            if case >> (bit % 64) & 1 == 1 { byte.to_ascii_uppercase() } else { byte }
        };
        SECRET[index].split('.').map(|label| label.bytes().map(&mut turn).collect()).collect::<Vec<Vec<u8>>>()
    });
    (proptest::collection::vec(label, 0..4), zone).prop_map(|(mut labels, zone)| {
        labels.extend(zone);
        labels
    })
}

#[test]
fn secret_names_never_leave() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // Whatever is asked, the upstream answers with an alias to something secret.
    let script = answers(|name, _| match name {
        "www.example." | "back.example." => {
            let end = if name.starts_with('w') { "y.onion" } else { "nobody.p2p" };
            vec![record(name, 5, 60, &target(end))]
        }
        _ => Vec::new(),
    });
    let fake = runtime.block_on(Fake::plain(script));
    // Rules beside and above the secret zones open none of them.
    let rules = ["arpa", "in-addr.arpa", "100.in-addr.arpa", "ip6.arpa", "example.org"];
    let rules = rules.map(|suffix| rule(suffix, &[plain(&fake)])).to_vec();
    let forward = ForwardConfig { rules, ..defaults() };
    let whole = runtime.block_on(async { Whole::new(&[plain(&fake)], forward.clone()) });
    let gate = Setup::new(&[plain(&fake)], forward).forwarder;
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 4_000, ..ProptestConfig::default() });
    let types = [1u16, 2, 5, 6, 12, 15, 16, 28, 33, 39, 43, 48, 65, 255, 666];
    let outcome = runner.run(&(secret_name(), 0..types.len(), any::<bool>()), |(labels, qtype, dnssec_ok)| {
        let Ok(name) = Name::from_labels(labels) else { return Ok(()) };
        let mut asked = message(".");
        asked.queries = vec![Query::query(name, RecordType::from(types[qtype]))];
        let mut edns = Edns::new();
        edns.set_dnssec_ok(dnssec_ok);
        asked.set_edns(edns);
        runtime.block_on(whole.send(&asked));
        // The forwarder does not rely on its callers.
        let name = Dname::from_labels(asked.queries[0].name().iter()).expect("a name");
        let question = Question { name, qtype: types[qtype], dnssec_ok, checking_disabled: false, authority: None };
        let refusal = runtime.block_on(gate.ask(&question));
        prop_assert_eq!((refusal.rcode, refusal.origin), (ResponseCode::Refused, Origin::Policy));
        prop_assert_eq!(fake.asked(), [""; 0]);
        Ok(())
    });
    outcome.expect("nothing leaves");
    // Neither along aliases, in both directions.
    for name in ["onion.alice.p2p.", "lan.alice.p2p.", "out.alice.p2p.", "back.alice.p2p.", "www.example."] {
        runtime.block_on(whole.ask(name));
    }
    assert_eq!(fake.asked(), ["www.example. A", "back.example. A"]);
}

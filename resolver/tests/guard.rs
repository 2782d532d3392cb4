//! The guard on real sockets: limits, cookies, the signing budget, and answers from the address that was asked. The
//! clients are on loopback, so loopback is not exempt here.

mod support;

use std::net::{Ipv4Addr, SocketAddr};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        RecordType,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};
use resolver::{DnsConfig, GuardConfig, SharedTable, zones::sign::ZoneKey};
use support::{
    ACTIVE,
    server::{DEADLINE, Running, config, request, send_udp, tcp, udp, with_edns, write_frame},
    table,
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, UdpSocket},
    time::timeout,
};

fn world() -> SharedTable {
    let big: String = (0..12).map(|i| format!("big TXT {}{i:02}\n", "x".repeat(50))).collect();
    table(&[
        ("alice", ACTIVE, &format!("@ A 192.0.2.1\n* A 192.0.2.2\n* MX mail\n* TXT wild\n{big}")),
        ("alias", ACTIVE, "www CNAME alice.p2p"),
    ])
}

fn guarded(toml: &str) -> DnsConfig {
    // Loopback plays strangers here, and is the house by default.
    let guard: GuardConfig = toml::from_str(&format!("exempt_forwarded = 'off'\n{toml}")).expect("it parses");
    DnsConfig { guard, ..config() }
}

fn with_cookie(mut message: Message, cookie: &[u8]) -> Message {
    let edns = message.edns.as_mut().expect("with EDNS");
    edns.options_mut().insert(EdnsOption::Unknown(10, cookie.to_vec()));
    message
}

fn cookie(message: &Message) -> Option<Vec<u8>> {
    match message.edns.as_ref()?.option(EdnsCode::Cookie)? {
        EdnsOption::Unknown(10, data) => Some(data.clone()),
        _ => None,
    }
}

/// The value of a metric.
fn value(text: &str, metric: &str) -> usize {
    let found = text.lines().find_map(|have| have.strip_prefix(metric)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("{metric} not in\n{text}"))
}

fn ede(message: &Message) -> Option<(u16, String)> {
    match message.edns.as_ref()?.option(EdnsCode::from(15))? {
        EdnsOption::Unknown(15, data) => {
            Some((u16::from_be_bytes([data[0], data[1]]), String::from_utf8_lossy(&data[2..]).into_owned()))
        }
        _ => None,
    }
}

/// Sends `count` queries at once and gives the answers that come until `last`, whose client is not limited, is answered.
async fn burst(addr: SocketAddr, query: &Message, count: u16, last: &Message) -> Vec<Message> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.connect(addr).await.expect("connected");
    for id in 0..count {
        let mut query = query.clone();
        query.metadata.id = id;
        socket.send(&query.to_vec().expect("encodes")).await.expect("sent");
    }
    let mut last = last.clone();
    last.metadata.id = count;
    socket.send(&last.to_vec().expect("encodes")).await.expect("sent");
    let (mut answers, mut buffer) = (Vec::new(), [0; 2048]);
    loop {
        let len = timeout(DEADLINE, socket.recv(&mut buffer)).await.expect("in time").expect("received");
        let answer = Message::from_vec(&buffer[..len]).expect("a message");
        if answer.metadata.id == count {
            return answers;
        }
        answers.push(answer);
    }
}

#[tokio::test]
async fn strangers_are_limited_and_whoever_proves_its_address_is_not() {
    for fast_path in [true, false] {
        // One is answered at once, and hardly more while the test lasts, on however slow a machine.
        let config = guarded("exempt = []\nrate_limit = 1\nslip = 2");
        let running = Running::start(DnsConfig { fast_path, udp_workers: 1, ..config }, world()).await;
        let plain = with_edns(request("alice.p2p.", RecordType::A), 1_232);
        let learnt = udp(running.addr(), &with_cookie(plain.clone(), b"a client")).await;
        let known = with_cookie(plain.clone(), &cookie(&learnt).expect("a cookie"));

        let answers = burst(running.addr(), &plain, 60, &known).await;
        let whole = answers.iter().filter(|answer| !answer.metadata.truncation).count();
        let slipped: Vec<_> = answers.iter().filter(|answer| answer.metadata.truncation).collect();
        // The first was used for learning; time may have given a few more.
        assert!(whole < 20, "{whole} answered");
        assert_eq!(slipped.len(), (60 - whole) / 2);
        for answer in slipped {
            assert_eq!((answer.answers.len(), answer.queries.len()), (0, 1));
            assert!(answer.edns.is_some() && answer.metadata.response_code == ResponseCode::NoError);
        }
        // Whoever is slipped learns a cookie, and comes by TCP or with it.
        let first = with_cookie(plain.clone(), b"client 2");
        let answers = burst(running.addr(), &first, 10, &known).await;
        let taught = answers.iter().find(|answer| answer.metadata.truncation).and_then(cookie).expect("a cookie");
        assert_eq!(udp(running.addr(), &with_cookie(plain.clone(), &taught)).await.answers.len(), 1);
        let answers = burst(running.addr(), &known, 100, &known).await;
        assert!(answers.len() == 100 && answers.iter().all(|answer| !answer.metadata.truncation));
        for _ in 0..20 {
            assert_eq!(tcp(running.addr(), &plain).await.answers.len(), 1);
        }
        let text = running.metrics();
        let count = |line: &str| value(&text, line);
        // Each response is counted as what it was.
        let slipped = count("namestead_dns_limited_total{action=\"slipped\"}");
        assert_eq!(count("namestead_dns_responses_total{rcode=\"NOERROR\",source=\"policy\"}"), slipped);
        assert_eq!(count("namestead_dns_truncated_total"), slipped);
        let answered = count("namestead_dns_responses_total{rcode=\"NOERROR\",source=\"ledger\"}");
        assert_eq!(count("namestead_dns_response_size_bytes_count"), answered + slipped);
        assert!(count("namestead_dns_limited_total{action=\"dropped\"}") >= 20);
        assert!(count("namestead_dns_limited_total{action=\"slipped\"}") >= 20);
        assert!(count("namestead_dns_cookies_total{state=\"valid\"}") >= 100);
        assert_eq!(count("namestead_dns_cookies_total{state=\"fresh\"}"), 11);
        running.stop().await;
    }
}

#[tokio::test]
async fn many_bytes_for_few_are_shortened_not_dropped() {
    for fast_path in [true, false] {
        let config = guarded("exempt = []\nrate_limit = 1000\nfree_bytes = 100");
        let running = Running::start(DnsConfig { fast_path, udp_workers: 1, ..config }, world()).await;
        // 39 bytes ask for more than twice as many: a name that is not there, with the SOA. What is free is enough for
        // one or two answers at once, and for one or two more each second.
        let plain = with_edns(request("nobody.p2p.", RecordType::A), 1_232);
        let learnt = udp(running.addr(), &with_cookie(plain.clone(), b"a client")).await;
        let known = with_cookie(plain.clone(), &cookie(&learnt).expect("a cookie"));
        let answers = burst(running.addr(), &plain, 120, &known).await;
        assert_eq!(answers.len(), 120);
        let whole = answers.iter().filter(|answer| !answer.metadata.truncation).count();
        assert!((1..80).contains(&whole), "{whole} of 120 whole");
        let bytes_in = 120 * plain.to_vec().expect("encodes").len();
        let bytes_out: usize = answers.iter().map(|answer| answer.to_vec().expect("encodes").len()).sum();
        assert!(bytes_out <= 3 * bytes_in, "{bytes_out} for {bytes_in}");
        // What was shortened is not counted as what it would have been. Two more were asked for the cookie and the end.
        let text = running.metrics();
        assert_eq!(value(&text, "namestead_dns_requests_total{proto=\"udp\",type=\"A\"}"), 122);
        let responses = |rcode, source| {
            value(&text, &format!("namestead_dns_responses_total{{rcode=\"{rcode}\",source=\"{source}\"}}"))
        };
        assert_eq!((responses("NXDOMAIN", "ledger"), responses("NOERROR", "policy")), (whole + 2, 120 - whole));
        assert_eq!(value(&text, "namestead_dns_truncated_total"), 120 - whole);
        assert_eq!(value(&text, "namestead_dns_limited_total{action=\"shortened\"}"), 120 - whole);
        running.stop().await;
    }
}

#[tokio::test]
async fn long_answers_need_a_cookie_or_a_connection() {
    let running = Running::start(guarded("exempt = []"), world()).await;
    let plain = with_edns(request("big.alice.p2p.", RecordType::TXT), 1_232);
    let short = udp(running.addr(), &with_cookie(plain.clone(), b"a client")).await;
    assert!(short.metadata.truncation && short.answers.is_empty());
    let known = with_cookie(plain.clone(), &cookie(&short).expect("a cookie"));
    assert_eq!(udp(running.addr(), &known).await.answers.len(), 12);
    let over_tcp = tcp(running.addr(), &with_cookie(plain, b"a client")).await;
    assert_eq!((over_tcp.answers.len(), cookie(&over_tcp).map(|cookie| cookie.len())), (12, Some(24)));
    running.stop().await;
}

#[tokio::test]
async fn who_may_not_ask_and_who_is_not_forwarded_for() {
    let running = Running::start(guarded("deny = ['127.0.0.0/8']"), world()).await;
    let query = with_edns(request("alice.p2p.", RecordType::A), 1_232);
    let answer = udp(running.addr(), &query).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    assert_eq!(ede(&answer).map(|(code, _)| code), Some(18));
    assert!(running.metrics().contains("namestead_dns_acl_refused_total{list=\"query\"} 1"));
    running.stop().await;

    let config = guarded("forward_allow = ['10.0.0.0/8']");
    let upstreams = vec!["127.0.0.1:9".to_owned()];
    let running = Running::start(DnsConfig { upstreams, ..config }, world()).await;
    let answer = udp(running.addr(), &with_edns(request("example.com.", RecordType::A), 1_232)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    let text = "not our zone, and clients at this address are not forwarded for".to_owned();
    assert_eq!(ede(&answer), Some((18, text)));
    assert!(!answer.metadata.recursion_available);
    assert!(running.metrics().contains("namestead_dns_acl_refused_total{list=\"forward\"} 1"));
    running.stop().await;
}

#[tokio::test]
async fn signatures_have_a_budget() {
    let key = ZoneKey::generate().expect("random");
    let running = Running::start_with_key(guarded("signatures_per_second = 1"), world(), Some(key)).await;
    let signed = |name: String| {
        let mut message = with_edns(request(&name, RecordType::A), 1_232);
        message.edns.as_mut().expect("set").set_dnssec_ok(true);
        message
    };
    let mut truncated = 0;
    for i in 0..90 {
        let answer = udp(running.addr(), &signed(format!("nobody{i}.p2p."))).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        truncated += usize::from(answer.metadata.truncation);
    }
    // 32 at once, of which each question takes one and the first two, and time gives a few more.
    assert!((30..60).contains(&truncated), "{truncated} told to come by TCP");
    // What was signed before costs nothing, whatever the budget.
    for _ in 0..50 {
        assert!(!udp(running.addr(), &signed("nobody0.p2p.".to_owned())).await.metadata.truncation);
    }
    // Three types at a wildcard are one set when each has to be signed, and three when not.
    let mut any = signed("x.alice.p2p.".to_owned());
    any.queries[0].set_query_type(RecordType::ANY);
    assert_eq!(tcp(running.addr(), &any).await.answers.len(), 2);
    assert_eq!(tcp(running.addr(), &request("x.alice.p2p.", RecordType::ANY)).await.answers.len(), 3);
    // Connections have a budget of their own, and wait for more.
    for i in 100..132 {
        let answer = tcp(running.addr(), &signed(format!("nobody{i}.p2p."))).await;
        assert_eq!((answer.metadata.response_code, answer.authorities.len()), (ResponseCode::NoError, 4), "{i}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_connection_does_not_wait_for_ever_for_signatures() {
    let key = ZoneKey::generate().expect("random");
    let running = Running::start_with_key(guarded("signatures_per_second = 1"), world(), Some(key)).await;
    let waiting: Vec<_> = (0..60)
        .map(|i| {
            let (addr, mut query) =
                (running.addr(), with_edns(request(&format!("nobody{i}.p2p."), RecordType::A), 512));
            query.edns.as_mut().expect("set").set_dnssec_ok(true);
            tokio::spawn(async move { tcp(addr, &query).await })
        })
        .collect();
    let mut failed = 0;
    for answer in waiting {
        let answer = timeout(DEADLINE, answer).await.expect("in time").expect("answered");
        if answer.metadata.response_code == ResponseCode::ServFail {
            let text = "too many signatures to make; ask again later".to_owned();
            assert_eq!(ede(&answer), Some((0, text)));
            failed += 1;
        }
    }
    assert!((10..30).contains(&failed), "{failed} failed");
    running.stop().await;
}

#[tokio::test]
async fn many_questions_do_not_come_back() {
    let running = Running::start(config(), world()).await;
    let mut message = with_edns(request("alice.p2p.", RecordType::A), 4_096);
    for _ in 0..200 {
        message.add_query(message.queries[0].clone());
    }
    for answer in [udp(running.addr(), &message).await, tcp(running.addr(), &message).await] {
        assert_eq!((answer.metadata.response_code, answer.queries.len()), (ResponseCode::FormErr, 0));
        assert!(answer.to_vec().expect("encodes").len() <= 12 + 11);
    }
    running.stop().await;
}

/// Also what is refused before anybody knows what it asks for.
#[tokio::test]
async fn every_response_is_counted() {
    let running = Running::start(config(), world()).await;
    let unreadable = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    let half_read = [&unreadable[..], b"\x05alice\x03p2p\0\0\x1c\0\x01"].concat();
    let mut bytes = 0;
    for message in [&unreadable[..], &half_read] {
        let answer = send_udp(running.addr(), message).await;
        assert_eq!(answer[3] & 15, 1, "FORMERR");
        let mut stream = TcpStream::connect(running.addr()).await.expect("connected");
        write_frame(&mut stream, message).await;
        let mut frame = vec![0; 2 + answer.len()];
        timeout(DEADLINE, stream.read_exact(&mut frame)).await.expect("in time").expect("an answer");
        assert_eq!(frame[2..], answer);
        bytes += 2 * answer.len();
    }
    let text = running.metrics();
    for proto in ["udp", "tcp"] {
        for qtype in ["none", "AAAA"] {
            let metric = format!("namestead_dns_requests_total{{proto=\"{proto}\",type=\"{qtype}\"}}");
            assert_eq!(value(&text, &metric), 1);
        }
    }
    assert_eq!(value(&text, "namestead_dns_responses_total{rcode=\"FORMERR\",source=\"policy\"}"), 4);
    assert_eq!(value(&text, "namestead_dns_response_size_bytes_sum"), bytes);
    running.stop().await;
}

/// A client drops answers from an address that it has not asked.
#[tokio::test]
async fn answers_leave_from_the_address_that_was_asked() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let upstreams = vec![silent.local_addr().expect("bound").to_string()];
    for fast_path in [true, false] {
        let listen = vec!["0.0.0.0:0".parse().expect("v4"), "[::]:0".parse().expect("v6")];
        let (upstreams, config) = (upstreams.clone(), config());
        let running = Running::start(DnsConfig { listen, fast_path, upstreams, ..config }, world()).await;
        let port = |index: usize| running.resolver.local_addrs()[index].port();
        for round in 0..3_u8 {
            for last in [2, 1, 9] {
                let addr = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port(0)));
                assert_eq!(udp(addr, &request("alice.p2p.", RecordType::A)).await.answers.len(), 1, "{round} {addr}");
                assert_eq!(udp(addr, &request("www.alias.p2p.", RecordType::A)).await.answers.len(), 2);
            }
            let addr = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port(1)));
            assert_eq!(udp(addr, &request("alice.p2p.", RecordType::A)).await.answers.len(), 1);
        }
        // From a task, after the upstream was waited for in vain.
        let addr = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 3), port(0)));
        let answer = udp(addr, &request("example.com.", RecordType::A)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
        // One batch for several addresses.
        let sockets = [4, 5, 6, 7].map(|last| async move {
            let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
            socket.connect((Ipv4Addr::new(127, 0, 0, last), addr.port())).await.expect("connected");
            socket
        });
        let mut open = Vec::new();
        for socket in sockets {
            open.push(socket.await);
        }
        let query = request("alice.p2p.", RecordType::A).to_vec().expect("encodes");
        for _ in 0..50 {
            for socket in &open {
                socket.send(&query).await.expect("sent");
            }
        }
        for socket in &open {
            for _ in 0..50 {
                let mut buffer = [0; 512];
                timeout(DEADLINE, socket.recv(&mut buffer)).await.expect("in time").expect("received");
            }
        }
        running.stop().await;
    }
}

//! The server on real loopback sockets: transports, sizes, EDNS, garbage, forwarding, stopping.

mod support;

use std::sync::Arc;

use hickory_proto::{
    op::{Edns, Message, OpCode, ResponseCode},
    rr::{
        DNSClass, Record, RecordType,
        rdata::opt::{EdnsCode, EdnsOption, NSIDPayload},
    },
};
use prometheus::Registry;
use resolver::{
    DnsConfig, DnsMetrics, Readiness, Resolver, SharedTable,
    serve::server::{Equipment, GivenSockets},
    zones::sign::ZoneKey,
};
use support::{
    ACTIVE,
    server::{DEADLINE, Running, config, read_frame, request, send_udp, tcp, udp, with_edns, write_frame},
    table,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};

fn world() -> SharedTable {
    let big: String = (0..12).map(|i| format!("big TXT {}{i:02}\n", "x".repeat(50))).collect();
    let glued: String = (0..10).map(|i| format!("@ NS ns{i}.glued.p2p\nns{i} AAAA 2001:db8::{i}\n")).collect();
    table(&[
        ("alice", ACTIVE, &format!("@ A 192.0.2.1\n@ AAAA 2001:db8::1\n{big}out CNAME www.upstream.test2")),
        ("glued", ACTIVE, &glued),
    ])
}

fn ede(message: &Message) -> Option<(u16, String)> {
    match message.edns.as_ref()?.option(EdnsCode::from(15))? {
        EdnsOption::Unknown(15, data) => {
            Some((u16::from_be_bytes([data[0], data[1]]), String::from_utf8_lossy(&data[2..]).into_owned()))
        }
        _ => None,
    }
}

#[tokio::test]
async fn udp_and_tcp_on_v4_and_v6() {
    let mut config = config();
    config.listen.push("[::1]:0".parse().expect("an address"));
    let running = Running::start(config, world()).await;
    assert_eq!(running.resolver.local_addrs().len(), 2);
    for &addr in running.resolver.local_addrs() {
        for answer in [
            udp(addr, &request("aLiCe.P2p.", RecordType::A)).await,
            tcp(addr, &request("aLiCe.P2p.", RecordType::A)).await,
        ] {
            assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
            assert!(answer.metadata.authoritative && answer.metadata.recursion_desired);
            assert!(!answer.metadata.recursion_available && !answer.metadata.authentic_data);
            assert_eq!(answer.answers[0].data.to_string(), "192.0.2.1");
            // The case of the question comes back, there and in owners.
            assert_eq!(answer.queries[0].name().to_ascii(), "aLiCe.P2p.");
            assert_eq!(answer.answers[0].name.to_ascii(), "aLiCe.P2p.");
            assert_eq!(answer.edns, None);
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn several_queries_on_one_connection() {
    let running = Running::start(config(), world()).await;
    let mut stream = TcpStream::connect(running.addr()).await.expect("connected");
    let requests: Vec<Message> = (0..20).map(|_| request("alice.p2p.", RecordType::AAAA)).collect();
    for request in &requests {
        write_frame(&mut stream, &request.to_vec().expect("encodes")).await;
    }
    for request in &requests {
        assert_eq!(read_frame(&mut stream).await.metadata.id, request.metadata.id);
    }
    running.stop().await;
}

#[tokio::test]
async fn large_answers_are_truncated_and_come_over_tcp() {
    let running = Running::start(config(), world()).await;
    let plain = request("big.alice.p2p.", RecordType::TXT);
    for (request, limit) in [(plain.clone(), 512), (with_edns(plain.clone(), 700), 700)] {
        let bytes = send_udp(running.addr(), &request.to_vec().expect("encodes")).await;
        assert!(bytes.len() <= limit, "{} bytes", bytes.len());
        let answer = Message::from_vec(&bytes).expect("a message");
        // A record set is there as a whole or not at all.
        assert!(answer.metadata.truncation && answer.answers.is_empty());
        assert_eq!(answer.edns.is_some(), request.edns.is_some());
    }
    for answer in [
        udp(running.addr(), &with_edns(plain.clone(), 4_096)).await,
        tcp(running.addr(), &plain).await,
        tcp(running.addr(), &with_edns(plain, 512)).await,
    ] {
        assert!(!answer.metadata.truncation);
        assert_eq!(answer.answers.len(), 12);
    }
    assert!(running.metrics().contains("namestead_dns_truncated_total 2"));
    running.stop().await;
}

#[tokio::test]
async fn referrals_say_when_glue_is_missing() {
    let running = Running::start(config(), world()).await;
    let mut plain = request("www.glued.p2p.", RecordType::A);
    // As one that iterates: whoever wants recursion gets no referral.
    plain.metadata.recursion_desired = false;
    let short = udp(running.addr(), &plain).await;
    assert!(short.metadata.truncation && !short.metadata.authoritative);
    assert_eq!(short.authorities.len(), 10);
    assert!((1..10).contains(&short.additionals.len()), "{}", short.additionals.len());
    let whole = udp(running.addr(), &with_edns(plain, 1_232)).await;
    assert!(!whole.metadata.truncation);
    assert_eq!((whole.authorities.len(), whole.additionals.len()), (10, 10));
    running.stop().await;
}

#[tokio::test]
async fn edns() {
    let running = Running::start(config(), world()).await;
    let mut message = with_edns(request("alice.p2p.", RecordType::A), 4_096);
    let edns = message.edns.as_mut().expect("set");
    edns.set_dnssec_ok(true);
    edns.options_mut().insert(EdnsOption::Unknown(100, vec![1, 2, 3]));
    edns.options_mut().insert(EdnsOption::NSID(NSIDPayload::new(Vec::new()).expect("empty")));
    let answer = udp(running.addr(), &message).await;
    let edns = answer.edns.as_ref().expect("EDNS answers EDNS");
    // Our own size, not the client's; DO is copied; unknown options are not.
    assert_eq!((edns.max_payload(), edns.version(), edns.flags().dnssec_ok), (1_232, 0, true));
    assert_eq!(edns.option(EdnsCode::from(100)), None);
    let id = NSIDPayload::new(b"testbed".to_vec()).expect("short");
    assert_eq!(edns.option(EdnsCode::NSID), Some(&EdnsOption::NSID(id)));
    assert_eq!(answer.answers.len(), 1);

    message.edns.as_mut().expect("set").set_version(1);
    let answer = udp(running.addr(), &message).await;
    // hickory reads 16 as BADSIG, the other meaning of that number.
    assert_eq!(u16::from(answer.metadata.response_code), u16::from(ResponseCode::BADVERS));
    assert_eq!(answer.edns.as_ref().map(Edns::version), Some(0));
    assert!(answer.answers.is_empty());
    running.stop().await;
}

/// The types of a section, in order.
fn types(records: &[Record]) -> Vec<RecordType> {
    records.iter().map(Record::record_type).collect()
}

#[tokio::test]
async fn signatures_come_with_do_and_respect_the_size() {
    let key = ZoneKey::generate().expect("random");
    let running = Running::start_with_key(config(), world(), Some(key)).await;
    let with_flags = |name: &str, qtype, payload, z| {
        let mut message = with_edns(request(name, qtype), payload);
        let edns = message.edns.as_mut().expect("set");
        edns.set_dnssec_ok(true);
        edns.flags_mut().z = z;
        message
    };
    let with_do = |name: &str, qtype, payload| with_flags(name, qtype, payload, 0);

    let mut message = with_do("AlicE.p2p.", RecordType::A, 1_232);
    // Whoever asks for AD is not told that we validated, and CD does not come back (RFC 4035 §3.1.6).
    message.metadata.authentic_data = true;
    message.metadata.checking_disabled = true;
    for answer in [udp(running.addr(), &message).await, tcp(running.addr(), &message).await] {
        assert_eq!(types(&answer.answers), [RecordType::A, RecordType::RRSIG]);
        assert!(answer.metadata.authoritative && !answer.metadata.authentic_data);
        assert!(!answer.metadata.checking_disabled);
        assert_eq!(answer.answers[1].name.to_ascii(), "AlicE.p2p.");
    }
    let plain = udp(running.addr(), &with_edns(request("alice.p2p.", RecordType::A), 1_232)).await;
    assert_eq!(types(&plain.answers), [RecordType::A]);

    // 12 strings fit 1,232 bytes, and just not with their signature below 900.
    for (payload, expected) in [(1_232, 13), (900, 12)] {
        let message = with_do("big.alice.p2p.", RecordType::TXT, payload);
        let bytes = send_udp(running.addr(), &message.to_vec().expect("encodes")).await;
        let answer = Message::from_vec(&bytes).expect("a message");
        assert!(bytes.len() <= usize::from(payload), "{} bytes", bytes.len());
        assert_eq!((answer.answers.len(), answer.metadata.truncation), (expected, expected == 12));
        assert_eq!(tcp(running.addr(), &message).await.answers.len(), 13);
    }

    // CO is the second flag of the EDNS record.
    for (z, code) in [(0, ResponseCode::NoError), (1 << 14, ResponseCode::NXDomain)] {
        let answer = udp(running.addr(), &with_flags("nobody.p2p.", RecordType::A, 1_232, z)).await;
        assert_eq!(answer.metadata.response_code, code);
        let expected = [RecordType::SOA, RecordType::RRSIG, RecordType::NSEC, RecordType::RRSIG];
        assert_eq!(types(&answer.authorities), expected);
    }
    let mut iterating = with_do("www.glued.p2p.", RecordType::A, 1_232);
    iterating.metadata.recursion_desired = false;
    let referral = udp(running.addr(), &iterating).await;
    assert_eq!(types(&referral.authorities)[10..], [RecordType::NSEC, RecordType::RRSIG]);
    running.stop().await;
}

#[tokio::test]
async fn queries_that_are_none() {
    let running = Running::start(config(), world()).await;
    for (op_code, expected) in [
        (OpCode::Status, ResponseCode::NotImp),
        (OpCode::Unknown(15), ResponseCode::NotImp),
        (OpCode::Notify, ResponseCode::Refused),
        (OpCode::Update, ResponseCode::Refused),
    ] {
        let mut message = request("alice.p2p.", RecordType::SOA);
        message.metadata.op_code = op_code;
        assert_eq!(udp(running.addr(), &message).await.metadata.response_code, expected, "{op_code}");
    }
    let mut none = request("alice.p2p.", RecordType::A);
    none.queries.clear();
    let mut two = request("alice.p2p.", RecordType::A);
    two.add_query(two.queries[0].clone());
    for message in [none, two] {
        assert_eq!(udp(running.addr(), &message).await.metadata.response_code, ResponseCode::FormErr);
    }
    let mut chaos = request("synced.namestead.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    let answer = udp(running.addr(), &chaos).await;
    assert_eq!((answer.answers[0].dns_class, answer.answers[0].data.to_string()), (DNSClass::CH, "yes".to_owned()));
    running.stop().await;
}

#[tokio::test]
async fn not_ready_and_not_ours() {
    let table = world();
    table.set_readiness(Readiness::NotReady { height: 7, target: Some(9) });
    let running = Running::start(config(), table).await;
    let answer = udp(running.addr(), &with_edns(request("alice.p2p.", RecordType::A), 1_232)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(ede(&answer), Some((14, "ledger at height 7 of 9".to_owned())));
    let answer = udp(running.addr(), &request("alice.p2p.", RecordType::A)).await;
    assert_eq!((answer.metadata.response_code, answer.edns), (ResponseCode::ServFail, None));
    let answer = udp(running.addr(), &with_edns(request("example.com.", RecordType::A), 1_232)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    assert_eq!(ede(&answer), Some((20, "not our zone, and forwarding is off".to_owned())));
    running.stop().await;
}

#[tokio::test]
async fn other_names_are_forwarded() {
    let big: String = (0..30).map(|i| format!("big TXT {}{i:02}\n", "y".repeat(12))).collect();
    let names = table(&[("upstream", ACTIVE, &format!("www A 192.0.2.99\n{big}"))]);
    let upstream = Running::start(DnsConfig { suffixes: vec!["test2".to_owned()], ..config() }, names).await;
    let upstreams = vec![upstream.addr().to_string()];
    let running = Running::start(DnsConfig { upstreams, ..config() }, world()).await;

    let answer = udp(running.addr(), &request("WWW.upstream.test2.", RecordType::A)).await;
    assert_eq!(answer.answers[0].data.to_string(), "192.0.2.99");
    assert_eq!(answer.queries[0].name().to_ascii(), "WWW.upstream.test2.");
    assert!(answer.metadata.recursion_available && !answer.metadata.authoritative);

    let absent = udp(running.addr(), &request("nobody.test2.", RecordType::A)).await;
    assert_eq!(absent.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(absent.authorities[0].record_type(), RecordType::SOA);

    // 30 strings do not fit one datagram between the two, nor one to the client.
    let big = request("big.upstream.test2.", RecordType::TXT);
    assert_eq!(tcp(running.addr(), &big).await.answers.len(), 30);
    assert!(udp(running.addr(), &big).await.metadata.truncation);

    // An alias out of the ledger is completed, for those who ask for recursion.
    let mut alias = request("out.alice.p2p.", RecordType::A);
    let answer = udp(running.addr(), &alias).await;
    let types: Vec<RecordType> = answer.answers.iter().map(|record| record.record_type()).collect();
    assert_eq!(types, [RecordType::CNAME, RecordType::A]);
    assert!(answer.metadata.authoritative);
    alias.metadata.recursion_desired = false;
    assert_eq!(udp(running.addr(), &alias).await.answers.len(), 1);

    let mut iterative = request("www.upstream.test2.", RecordType::A);
    iterative.metadata.recursion_desired = false;
    assert_eq!(udp(running.addr(), &iterative).await.metadata.response_code, ResponseCode::Refused);
    // The large answer and the end of the alias were known by then.
    let metrics = running.metrics();
    assert!(metrics.contains("namestead_dns_forward_requests_total{result=\"answered\"} 3"), "{metrics}");
    assert!(metrics.contains("namestead_dns_forward_lookups_total{result=\"hit\"} 2"), "{metrics}");
    running.stop().await;
    upstream.stop().await;
}

#[tokio::test]
async fn upstreams_fail_over_and_failure_is_explained() {
    let names = || table(&[("upstream", ACTIVE, "www A 192.0.2.99")]);
    let upstream = Running::start(DnsConfig { suffixes: vec!["test2".to_owned()], ..config() }, names()).await;
    // It refuses everything but its own suffix.
    let refusing = Running::start(config(), names()).await;
    // It takes queries and never answers.
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let silent_addr = silent.local_addr().expect("bound").to_string();

    let upstreams = vec![refusing.addr().to_string(), upstream.addr().to_string()];
    let running = Running::start(DnsConfig { upstreams, ..config() }, world()).await;
    let answer = udp(running.addr(), &request("www.upstream.test2.", RecordType::A)).await;
    assert_eq!(answer.answers.len(), 1);
    running.stop().await;

    let running = Running::start(DnsConfig { upstreams: vec![silent_addr], ..config() }, world()).await;
    for name in ["example.com.", "out.alice.p2p."] {
        let answer = udp(running.addr(), &with_edns(request(name, RecordType::A), 1_232)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
        assert_eq!(ede(&answer), Some((22, "no upstream answered".to_owned())));
    }
    running.stop().await;
    refusing.stop().await;
    upstream.stop().await;
}

/// A small deterministic generator (xorshift64*): the garbage is the same in every run.
fn random(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_does_no_harm() {
    let running = Running::start(config(), world()).await;
    let mut valid = with_edns(request("alice.p2p.", RecordType::A), 1_232);
    valid.edns.as_mut().expect("set").options_mut().insert(EdnsOption::Unknown(10, vec![7; 8]));
    let template = valid.to_vec().expect("encodes");
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let mut state = 0x9e37_79b9_7f4a_7c15;
    for round in 0..100_000u32 {
        let packet: Vec<u8> = if round % 2 == 0 {
            (0..random(&mut state) % 80).map(|_| random(&mut state) as u8).collect()
        } else {
            let mut mutated = template.clone();
            for _ in 0..1 + random(&mut state) % 4 {
                let at = random(&mut state) as usize % mutated.len();
                mutated[at] = random(&mut state) as u8;
            }
            mutated.truncate(1 + random(&mut state) as usize % template.len());
            mutated
        };
        socket.send_to(&packet, running.addr()).await.expect("sent");
        // Now and then the server must have kept up, or most packets would be lost unread.
        if round % 100 == 0 {
            let answer = udp(running.addr(), &request("alice.p2p.", RecordType::A)).await;
            assert_eq!(answer.answers.len(), 1, "round {round}");
        }
    }
    // The same over TCP: framing that lies, and connections that end in the middle.
    for _ in 0..200 {
        let mut stream = TcpStream::connect(running.addr()).await.expect("connected");
        let bytes: Vec<u8> = (0..40).map(|_| random(&mut state) as u8).collect();
        stream.write_all(&bytes).await.expect("written");
    }
    assert_eq!(tcp(running.addr(), &request("alice.p2p.", RecordType::A)).await.answers.len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn stopping_frees_the_port_and_a_taken_port_is_explained() {
    let running = Running::start(config(), world()).await;
    let addr = running.addr();
    let idle = TcpStream::connect(addr).await.expect("connected");
    let metrics = || Arc::new(DnsMetrics::new(&Registry::new()).expect("a fresh registry"));
    let taken = DnsConfig { listen: vec![addr], ..config() };
    let error = Resolver::bind(&taken, Arc::new(world()), metrics()).await.map(drop).expect_err("taken");
    assert!(error.to_string().starts_with(&format!("cannot listen for DNS on {addr}: ")), "{error}");
    running.stop().await;
    drop(idle);
    drop(UdpSocket::bind(addr).await.expect("free again"));
    drop(TcpListener::bind(addr).await.expect("free again"));
    let off = DnsConfig { listen: Vec::new(), ..config() };
    let off = Resolver::bind(&off, Arc::new(world()), metrics()).await.expect("nothing to bind");
    off.shutdown(DEADLINE).await.expect("nothing to stop");
}

#[tokio::test]
async fn metrics_follow_traffic_and_snapshot() {
    let running = Running::start(config(), world()).await;
    udp(running.addr(), &request("alice.p2p.", RecordType::A)).await;
    tcp(running.addr(), &request("nobody.p2p.", RecordType::Unknown(666))).await;
    // The gauges are set by a task of their own.
    let settled = async {
        while !running.metrics().contains("namestead_dns_names 2") {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, settled).await.expect("in time");
    let text = running.metrics();
    for line in [
        "namestead_dns_requests_total{proto=\"udp\",type=\"A\"} 1",
        "namestead_dns_requests_total{proto=\"tcp\",type=\"other\"} 1",
        "namestead_dns_responses_total{rcode=\"NOERROR\",source=\"ledger\"} 1",
        "namestead_dns_responses_total{rcode=\"NXDOMAIN\",source=\"ledger\"} 1",
        "namestead_dns_request_duration_seconds_count{source=\"ledger\"} 2",
        "namestead_dns_response_size_bytes_count 2",
        "namestead_dns_snapshot_height 10000",
        "namestead_dns_snapshot_time_seconds 1800000000",
        "namestead_dns_ready 1",
        "namestead_dns_malformed_records 0",
    ] {
        assert!(text.contains(line), "{line} not in\n{text}");
    }
    running.stop().await;
}

#[tokio::test]
async fn given_sockets_take_the_place_of_the_configured_ones() {
    let tcp_socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let addr = tcp_socket.local_addr().expect("bound");
    // Nobody shares this port, as with sockets of systemd: two workers have one socket.
    let udp_socket = std::net::UdpSocket::bind(addr).expect("a socket");
    let sockets = GivenSockets::new(vec![tcp_socket], vec![udp_socket]);
    assert_eq!(sockets.addrs().expect("bound"), [addr]);
    let equipment = Equipment { sockets: Some(sockets), ..Equipment::default() };
    let running = Running::start_with(DnsConfig { udp_workers: 2, ..config() }, world(), equipment).await;
    assert_eq!(running.resolver.local_addrs(), [addr]);
    for _ in 0..50 {
        assert_eq!(udp(addr, &request("alice.p2p.", RecordType::A)).await.answers.len(), 1);
    }
    assert_eq!(tcp(addr, &request("alice.p2p.", RecordType::A)).await.answers.len(), 1);
    running.stop().await;
}

//! Connections over TCP: pipelining, limits, who has to go, and stopping.

mod support;

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::RecordType,
};
use resolver::{DnsConfig, SharedTable, policy::config::ConnectionsConfig};
use support::{
    ACTIVE,
    server::{DEADLINE, Running, Upstream, config, counted, is_closed, read_frame, request, tcp, write_frame},
    table,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    time::timeout,
};

fn world() -> SharedTable {
    let big: String = (0..12).map(|i| format!("big TXT {}{i:02}\n", "x".repeat(50))).collect();
    table(&[("alice", ACTIVE, &format!("@ A 192.0.2.1\n{big}"))])
}

fn limited(connections: ConnectionsConfig) -> DnsConfig {
    DnsConfig { connections, ..config() }
}

async fn connect(addr: SocketAddr) -> TcpStream {
    timeout(DEADLINE, TcpStream::connect(addr)).await.expect("in time").expect("connected")
}

/// Connects from another address of this machine.
async fn connect_from(local: [u8; 4], addr: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((Ipv4Addr::from(local), 0))).expect("a loopback address");
    timeout(DEADLINE, socket.connect(addr)).await.expect("in time").expect("connected")
}

async fn ask(stream: &mut TcpStream, name: &str) {
    write_frame(stream, &request(name, RecordType::A).to_vec().expect("encodes")).await;
}

fn closed(reason: &str, count: u32) -> String {
    format!("namestead_dns_connections_closed_total{{proto=\"tcp\",reason=\"{reason}\"}} {count}")
}

#[tokio::test]
async fn a_slow_answer_holds_up_no_other() {
    let upstream = Upstream::start().await;
    let running = Running::start(DnsConfig { upstreams: vec![upstream.addr()], ..config() }, world()).await;
    let mut stream = connect(running.addr()).await;
    let slow = request("slow.example.", RecordType::A);
    let quick: Vec<Message> = (0..49).map(|_| request("alice.p2p.", RecordType::A)).collect();
    let mut frames = Vec::new();
    for message in std::iter::once(&slow).chain(&quick) {
        write_frame(&mut frames, &message.to_vec().expect("encodes")).await;
    }
    stream.write_all(&frames).await.expect("written");
    // The upstream has the question, and does not answer until all others have been.
    let waiting = upstream.asked().await;
    for message in &quick {
        assert_eq!(read_frame(&mut stream).await.metadata.id, message.metadata.id);
    }
    upstream.answer(waiting).await;
    let last = read_frame(&mut stream).await;
    assert_eq!((last.metadata.id, last.answers.len()), (slow.metadata.id, 1));
    running.stop().await;
}

#[tokio::test]
async fn queries_wait_when_too_many_are_in_work_and_none_is_lost() {
    let upstream = Upstream::start().await;
    let limits = ConnectionsConfig { max_in_work: 1, ..ConnectionsConfig::default() };
    let running = Running::start(DnsConfig { upstreams: vec![upstream.addr()], ..limited(limits) }, world()).await;
    let mut stream = connect(running.addr()).await;
    // Two different ones: the answer to the first would be known by the second time.
    let slow = ["slow.example.", "slower.example."].map(|name| request(name, RecordType::A));
    let quick = request("alice.p2p.", RecordType::A);
    let mut frames = Vec::new();
    for message in [&slow[0], &quick, &slow[1], &quick] {
        write_frame(&mut frames, &message.to_vec().expect("encodes")).await;
    }
    stream.write_all(&frames).await.expect("written");
    for slow in &slow {
        upstream.answer(upstream.asked().await).await;
        // With room for two, the quick one would have been first.
        assert_eq!(read_frame(&mut stream).await.metadata.id, slow.metadata.id);
        assert_eq!(read_frame(&mut stream).await.metadata.id, quick.metadata.id);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_client_that_has_said_all_gets_all_answers() {
    let upstream = Upstream::start().await;
    let running = Running::start(DnsConfig { upstreams: vec![upstream.addr()], ..config() }, world()).await;
    let mut stream = connect(running.addr()).await;
    ask(&mut stream, "slow.example.").await;
    ask(&mut stream, "alice.p2p.").await;
    stream.shutdown().await.expect("half closed");
    assert_eq!(read_frame(&mut stream).await.answers.len(), 1);
    upstream.answer(upstream.asked().await).await;
    assert_eq!(read_frame(&mut stream).await.answers.len(), 1);
    assert!(is_closed(&mut stream).await);
    counted(&running, &closed("client", 1)).await;
    counted(&running, "namestead_dns_connections{proto=\"tcp\"} 0").await;
    running.stop().await;
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let limits = ConnectionsConfig { idle_timeout_ms: 200, ..ConnectionsConfig::default() };
    let running = Running::start(limited(limits), world()).await;
    let started = Instant::now();
    let mut silent = connect(running.addr()).await;
    // Begins a message and does not end it; says what deserves no answer.
    let (mut half, mut babbling) = (connect(running.addr()).await, connect(running.addr()).await);
    half.write_all(&[0, 200, 1, 2]).await.expect("written");
    let mut response = request("alice.p2p.", RecordType::A);
    response.metadata.message_type = MessageType::Response;
    write_frame(&mut babbling, &response.to_vec().expect("encodes")).await;
    write_frame(&mut babbling, b"").await;
    let mut after_one = connect(running.addr()).await;
    ask(&mut after_one, "alice.p2p.").await;
    assert_eq!(read_frame(&mut after_one).await.answers.len(), 1);
    for stream in [&mut silent, &mut half, &mut babbling, &mut after_one] {
        assert!(is_closed(stream).await);
    }
    assert!(started.elapsed() >= Duration::from_millis(200));
    counted(&running, &closed("idle", 4)).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_without_pause_what_deserves_no_answer_is_idle() {
    let limits = ConnectionsConfig { idle_timeout_ms: 200, ..ConnectionsConfig::default() };
    let running = Running::start(limited(limits), world()).await;
    let mut stream = connect(running.addr()).await;
    let mut response = request("alice.p2p.", RecordType::A);
    response.metadata.message_type = MessageType::Response;
    let mut frames = Vec::new();
    for _ in 0..100 {
        write_frame(&mut frames, b"").await;
        write_frame(&mut frames, &response.to_vec().expect("encodes")).await;
    }
    // Ends when the server has closed.
    let babbling = async { while stream.write_all(&frames).await.is_ok() {} };
    timeout(DEADLINE, babbling).await.expect("in time");
    counted(&running, &closed("idle", 1)).await;
    running.stop().await;
}

#[tokio::test]
async fn a_client_that_waits_for_an_answer_is_not_idle() {
    let upstream = Upstream::start().await;
    let limits = ConnectionsConfig { idle_timeout_ms: 100, ..ConnectionsConfig::default() };
    let running = Running::start(DnsConfig { upstreams: vec![upstream.addr()], ..limited(limits) }, world()).await;
    let (mut waiting, mut silent) = (connect(running.addr()).await, connect(running.addr()).await);
    ask(&mut waiting, "slow.example.").await;
    let question = upstream.asked().await;
    assert!(is_closed(&mut silent).await);
    upstream.answer(question).await;
    assert_eq!(read_frame(&mut waiting).await.answers.len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_is_cut_off() {
    let limits = ConnectionsConfig { write_timeout_ms: 300, ..ConnectionsConfig::default() };
    let running = Running::start(limited(limits), world()).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("small");
    let mut stream = socket.connect(running.addr()).await.expect("connected");
    let mut frame = Vec::new();
    write_frame(&mut frame, &request("big.alice.p2p.", RecordType::TXT).to_vec().expect("encodes")).await;
    let writing = tokio::spawn(async move {
        // Ends when the server has closed: until then it takes no more than fits on the way.
        while stream.write_all(&frame).await.is_ok() {}
    });
    counted(&running, &closed("slow", 1)).await;
    timeout(DEADLINE, writing).await.expect("in time").expect("no panic");
    // Others are served.
    assert_eq!(tcp(running.addr(), &request("alice.p2p.", RecordType::A)).await.answers.len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn the_idlest_connection_makes_room() {
    let limits = ConnectionsConfig { max: 3, ..ConnectionsConfig::default() };
    let running = Running::start(limited(limits), world()).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(running.addr()).await;
        ask(&mut stream, "alice.p2p.").await;
        assert_eq!(read_frame(&mut stream).await.answers.len(), 1);
        streams.push(stream);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The first one has now been heard of last.
    ask(&mut streams[0], "alice.p2p.").await;
    assert_eq!(read_frame(&mut streams[0]).await.answers.len(), 1);
    assert_eq!(tcp(running.addr(), &request("alice.p2p.", RecordType::A)).await.answers.len(), 1);
    assert!(is_closed(&mut streams[1]).await);
    counted(&running, &closed("evicted", 1)).await;
    for index in [0, 2] {
        ask(&mut streams[index], "alice.p2p.").await;
        assert_eq!(read_frame(&mut streams[index]).await.answers.len(), 1);
    }
    running.stop().await;
}

/// What a client sends right after it has connected may be in its socket before the server has looked at it.
#[tokio::test]
async fn who_has_not_been_read_is_not_evicted() {
    const QUEUE: usize = 129;
    // As many as can wait to be accepted, of which the first ones and the last one ask.
    for (max, max_per_client) in [(512, 128), (512, 16), (16, 512), (1, 1)] {
        let limits = ConnectionsConfig { max, max_per_client, ..ConnectionsConfig::default() };
        let running = Running::start(limited(limits), world()).await;
        let query = request("alice.p2p.", RecordType::A);
        let mut frame = Vec::new();
        write_frame(&mut frame, &query.to_vec().expect("encodes")).await;
        // The server has the same thread as this test, and does nothing while nothing here waits.
        let mut clients: Vec<std::net::TcpStream> =
            (0..QUEUE).map(|_| std::net::TcpStream::connect(running.addr()).expect("connected")).collect();
        let honest = [clients.remove(0), clients.remove(0), clients.pop().expect("many")];
        for mut client in &honest {
            client.write_all(&frame).expect("written");
        }
        for client in honest {
            client.set_nonblocking(true).expect("a socket");
            let mut client = TcpStream::from_std(client).expect("usable");
            assert_eq!(read_frame(&mut client).await.metadata.id, query.metadata.id, "{max} {max_per_client}");
        }
        running.stop().await;
    }
}

/// Who has to make room may have asked before it was told.
#[tokio::test]
async fn what_has_come_before_a_connection_is_evicted_is_answered() {
    let limits = ConnectionsConfig { max_per_client: 1, ..ConnectionsConfig::default() };
    let running = Running::start(limited(limits), world()).await;
    for asks_earlier in [true, false] {
        let mut stream = connect(running.addr()).await;
        if asks_earlier {
            ask(&mut stream, "alice.p2p.").await;
            assert_eq!(read_frame(&mut stream).await.answers.len(), 1);
        }
        counted(&running, "namestead_dns_connections{proto=\"tcp\"} 1").await;
        stream.writable().await.expect("open");
        // From here on nothing waits: the server learns of both at the same time, and of the newcomer first.
        let _newcomer = std::net::TcpStream::connect(running.addr()).expect("connected");
        ask(&mut stream, "alice.p2p.").await;
        assert_eq!(read_frame(&mut stream).await.answers.len(), 1, "{asks_earlier}");
        assert!(is_closed(&mut stream).await);
    }
    counted(&running, &closed("evicted", 2)).await;
    running.stop().await;
}

#[tokio::test]
async fn the_silent_make_room_before_those_that_have_asked() {
    let limits = ConnectionsConfig { max_per_client: 4, ..ConnectionsConfig::default() };
    let running = Running::start(limited(limits), world()).await;
    let mut stream = connect(running.addr()).await;
    let mut silent = Vec::new();
    for _ in 0..2 {
        ask(&mut stream, "alice.p2p.").await;
        assert_eq!(read_frame(&mut stream).await.answers.len(), 1);
        while silent.len() < 8 {
            silent.push(connect(running.addr()).await);
        }
        // It has one place, they have the other three in turn.
        counted(&running, &closed("evicted", 5)).await;
    }
    running.stop().await;
}

#[tokio::test]
async fn a_client_network_has_its_share_and_busy_connections_stay() {
    let upstream = Upstream::start().await;
    let limits = ConnectionsConfig { max_per_client: 2, client_prefix_v4: 32, ..ConnectionsConfig::default() };
    let running = Running::start(DnsConfig { upstreams: vec![upstream.addr()], ..limited(limits) }, world()).await;
    let (mut one, mut two) = (connect(running.addr()).await, connect(running.addr()).await);
    ask(&mut one, "slow.example.").await;
    let first = upstream.asked().await;
    ask(&mut two, "slow.example.").await;
    let second = upstream.asked().await;
    // Both are busy, so a third one from there is refused, but not one from elsewhere.
    assert!(is_closed(&mut connect(running.addr()).await).await);
    counted(&running, &closed("refused", 1)).await;
    let mut elsewhere = connect_from([127, 0, 0, 2], running.addr()).await;
    ask(&mut elsewhere, "alice.p2p.").await;
    assert_eq!(read_frame(&mut elsewhere).await.answers.len(), 1);
    upstream.answer(first).await;
    upstream.answer(second).await;
    for stream in [&mut one, &mut two] {
        assert_eq!(read_frame(stream).await.answers.len(), 1);
    }
    running.stop().await;
}

#[tokio::test]
async fn who_may_neither_ask_nor_fetch_zones_gets_no_connection() {
    let mut denying = config();
    denying.guard.deny = vec!["127.0.0.0/30".parse().expect("a prefix")];
    denying.transfer.allow = vec!["127.0.0.2".to_owned()];
    let running = Running::start(denying, world()).await;
    assert!(is_closed(&mut connect(running.addr()).await).await);
    counted(&running, &closed("refused", 1)).await;
    // A secondary may come, although other questions are refused; and so may everybody else.
    for (local, code) in [([127, 0, 0, 2], ResponseCode::Refused), ([127, 0, 0, 4], ResponseCode::NoError)] {
        let mut stream = connect_from(local, running.addr()).await;
        ask(&mut stream, "alice.p2p.").await;
        assert_eq!(read_frame(&mut stream).await.metadata.response_code, code);
    }
    running.stop().await;
}

#[tokio::test]
async fn stopping_lets_queries_in_work_finish() {
    let upstream = Upstream::start().await;
    let running = Running::start(DnsConfig { upstreams: vec![upstream.addr()], ..config() }, world()).await;
    let (mut idle, mut waiting) = (connect(running.addr()).await, connect(running.addr()).await);
    ask(&mut waiting, "slow.example.").await;
    let question = upstream.asked().await;
    let stopping = tokio::spawn(running.stop());
    assert!(is_closed(&mut idle).await);
    upstream.answer(question).await;
    assert_eq!(read_frame(&mut waiting).await.answers.len(), 1);
    assert!(is_closed(&mut waiting).await);
    timeout(DEADLINE, stopping).await.expect("in time").expect("no panic");
}

//! DNS over TLS, HTTPS and QUIC with real clients, and how they find each other.

#[path = "support/secure.rs"]
mod secure;
mod support;

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use hickory_net::{
    DnsHandle,
    h2::HttpsClientStream,
    quic::QuicClientStream,
    runtime::TokioRuntimeProvider,
    tls::tls_exchange,
    xfer::{DnsExchange, FirstAnswer},
};
use hickory_proto::{
    op::{DnsRequest, DnsRequestOptions, Message, MessageType, ResponseCode},
    rr::{
        RData, RecordType,
        rdata::{
            opt::{EdnsCode, EdnsOption},
            svcb::{SvcParamKey, SvcParamValue},
        },
    },
};
use http_body_util::{Either, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use resolver::policy::config::ConnectionsConfig;
use rustls::pki_types::ServerName;
use secure::{LOOPBACK, Never, Secure, any_port, bytes, doq_frame, exchange, get, http, post, world};
use support::server::{
    DEADLINE, Running, Upstream, config, counted, is_closed, read_frame, request, send_udp, tcp, udp, with_edns,
    write_frame,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};
use tokio_rustls::client::TlsStream;

fn alice() -> Message {
    request("alice.p2p.", RecordType::A)
}

fn with_option(code: u16, data: Vec<u8>) -> Message {
    let mut message = with_edns(alice(), 1_232);
    message.edns.as_mut().expect("set").options_mut().insert(EdnsOption::Unknown(code, data));
    message
}

fn addresses(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

async fn frame_len(stream: &mut TlsStream<TcpStream>, message: &Message) -> usize {
    write_frame(stream, &bytes(message)).await;
    let len = timeout(DEADLINE, stream.read_u16()).await.expect("in time").expect("a length");
    stream.read_exact(&mut vec![0; usize::from(len)]).await.expect("a message");
    usize::from(len)
}

/// What a client of another maker gets.
async fn ask(exchange: &DnsExchange<TokioRuntimeProvider>, message: Message) -> Message {
    let request = DnsRequest::new(message, DnsRequestOptions::default());
    let answer = timeout(DEADLINE, exchange.send(request).first_answer()).await.expect("in time");
    answer.expect("an answer").into_message()
}

#[tokio::test]
async fn hickorys_clients_are_answered_over_all_transports() {
    let secure = Secure::start(|_| {}).await;
    // Their background tasks end when this is gone.
    let provider = TokioRuntimeProvider::new();
    let name: ServerName<'static> = ServerName::try_from("ns.nic.p2p.alt").expect("a name");
    let tls = tls_exchange(secure.tls(), name, secure.client(&[]), DEADLINE, None, provider.clone());
    let tls = timeout(DEADLINE, tls).await.expect("in time").expect("connected");
    let https = HttpsClientStream::builder(Arc::new(secure.client(&[b"h2"])), provider.clone());
    let https = https.exchange(secure.https(), "ns.nic.p2p".into(), "/dns-query".into());
    let https = timeout(DEADLINE, https).await.expect("in time").expect("connected");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let quic = QuicClientStream::builder().crypto_config(secure.client(&[b"doq"]));
    let socket = quinn::Runtime::wrap_udp_socket(&quinn::TokioRuntime, socket).expect("usable");
    let quic = quic.exchange(socket, secure.quic(), "ns.nic.p2p".into(), provider.clone());
    let quic = timeout(DEADLINE, quic).await.expect("in time").expect("connected");
    for (transport, exchange) in [("tls", &tls), ("https", &https), ("quic", &quic)] {
        for _ in 0..3 {
            assert_eq!(addresses(&ask(exchange, alice()).await), ["192.0.2.1"], "{transport}");
        }
        let absent = ask(exchange, request("nobody.p2p.", RecordType::A)).await;
        assert_eq!(absent.metadata.response_code, ResponseCode::NXDomain);
    }
    for proto in ["tls", "https", "quic"] {
        counted(&secure.running, &format!("namestead_dns_requests_total{{proto=\"{proto}\",type=\"A\"}} 4")).await;
        counted(&secure.running, &format!("namestead_dns_connections{{proto=\"{proto}\"}} 1")).await;
    }
    drop((tls, https, quic));
    secure.stop().await;
}

#[tokio::test]
async fn the_certificate_is_for_this_server_only() {
    let secure = Secure::start(|config| config.tls.server_name = Some("dns.example.org".to_owned())).await;
    for name in ["127.0.0.1", "ns.nic.p2p", "ns.nic.p2p.alt", "dns.example.org"] {
        secure.try_tls(secure.tls(), name, &[b"dot"]).await.expect(name);
    }
    for name in ["127.0.0.2", "example.com", "example.org", "alice.p2p"] {
        let error = secure.try_tls(secure.tls(), name, &[b"dot"]).await.map(drop).expect_err(name).to_string();
        assert!(error.contains("invalid peer certificate"), "{error}");
    }
    // Who says what it wants must want this; who says nothing gets it.
    secure.try_tls(secure.tls(), "127.0.0.1", &[]).await.expect("no ALPN");
    for (addr, alpn) in [(secure.tls(), &b"h2"[..]), (secure.https(), b"http/1.1"), (secure.https(), b"dot")] {
        let refused = match secure.try_tls(addr, "127.0.0.1", &[alpn]).await {
            Err(_) => true,
            Ok(mut stream) => is_closed(&mut stream).await,
        };
        assert!(refused, "{alpn:?}");
    }
    secure.stop().await;
}

#[tokio::test]
async fn tls_is_a_connection_like_any_other() {
    let upstream = Upstream::start().await;
    let secure = Secure::start(|config| {
        config.upstreams = vec![upstream.addr()];
        config.connections.idle_timeout_ms = 1_500;
    })
    .await;
    let mut stream = secure.connect_tls().await;
    let slow = request("slow.example.", RecordType::A);
    write_frame(&mut stream, &bytes(&slow)).await;
    let question = upstream.asked().await;
    for _ in 0..20 {
        let quick = alice();
        write_frame(&mut stream, &bytes(&quick)).await;
        assert_eq!(read_frame(&mut stream).await.metadata.id, quick.metadata.id);
    }
    upstream.answer(question).await;
    assert_eq!(read_frame(&mut stream).await.metadata.id, slow.metadata.id);
    assert!(is_closed(&mut stream).await);
    counted(&secure.running, "namestead_dns_connections_closed_total{proto=\"tls\",reason=\"idle\"} 1").await;
    // Neither a handshake that does not come nor nonsense keeps a connection.
    let mut silent = TcpStream::connect(secure.tls()).await.expect("connected");
    let mut plain = TcpStream::connect(secure.tls()).await.expect("connected");
    write_frame(&mut plain, &bytes(&alice())).await;
    for stream in [&mut silent, &mut plain] {
        let mut rest = Vec::new();
        let _ = timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("closed in time");
        assert!(rest.len() < 20, "at most an alert");
    }
    counted(&secure.running, "namestead_dns_connections_closed_total{proto=\"tls\",reason=\"handshake\"} 2").await;
    secure.stop().await;
}

#[tokio::test]
async fn lengths_are_hidden_where_that_makes_sense() {
    let secure = Secure::start(|_| {}).await;
    let padded = with_option(12, vec![0; 20]);
    let mut stream = secure.connect_tls().await;
    assert_eq!(frame_len(&mut stream, &padded).await, 468);
    assert!(frame_len(&mut stream, &with_edns(alice(), 1_232)).await < 128, "not asked for");
    assert!(frame_len(&mut stream, &alice()).await < 128, "no EDNS");
    let response = http(&secure, post(bytes(&padded))).await;
    assert_eq!(response.body().len(), 468);
    let connection = secure.connect_quic().await;
    assert_eq!(exchange(&connection, &doq_frame(&padded)).await.expect("answered").len(), 2 + 468);
    // Everybody on the way sees plain messages anyway.
    let addr = secure.running.addr();
    assert!(send_udp(addr, &bytes(&padded)).await.len() < 128);
    assert_eq!(tcp(addr, &padded).await.edns.expect("EDNS").option(EdnsCode::Padding), None);
    secure.stop().await;
}

#[tokio::test]
async fn clients_that_ask_are_told_how_long_they_may_be_idle() {
    let secure = Secure::start(|_| {}).await;
    let asking = with_option(11, Vec::new());
    let mut stream = secure.connect_tls().await;
    write_frame(&mut stream, &bytes(&asking)).await;
    let over_tls = read_frame(&mut stream).await;
    let told = |message: &Message| match message.edns.as_ref().expect("EDNS").option(EdnsCode::Keepalive) {
        Some(EdnsOption::Unknown(11, data)) => Some(data.clone()),
        None => None,
        other => panic!("{other:?}"),
    };
    for message in [over_tls, tcp(secure.running.addr(), &asking).await] {
        assert_eq!(told(&message), Some(vec![0, 100]));
    }
    assert_eq!(told(&tcp(secure.running.addr(), &with_edns(alice(), 1_232)).await), None);
    assert_eq!(told(&udp(secure.running.addr(), &asking).await), None);
    let over_https = http(&secure, post(bytes(&asking))).await;
    assert_eq!(told(&Message::from_vec(over_https.body()).expect("a message")), None);
    secure.stop().await;
}

#[tokio::test]
async fn https_answers_get_and_post() {
    let secure = Secure::start(|_| {}).await;
    let query = bytes(&alice());
    let url = format!("/dns-query?dns={}", BASE64URL_NOPAD.encode(&query));
    for request in [post(query.clone()), get(&url)] {
        let response = http(&secure, request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/dns-message");
        assert_eq!(response.headers()["cache-control"], "max-age=3600");
        assert_eq!(addresses(&Message::from_vec(response.body()).expect("a message")), ["192.0.2.1"]);
    }
    // A DNS error is a good HTTP response, and not to be cached.
    let refused = http(&secure, post(bytes(&request("example.com.", RecordType::A)))).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["cache-control"]), (200, &"max-age=0".parse().unwrap()));
    let mut unreadable = query.clone();
    unreadable.truncate(20);
    let response = http(&secure, post(unreadable)).await;
    let message = Message::from_vec(response.body()).expect("a message");
    assert_eq!((response.status().as_u16(), message.metadata.response_code), (200, ResponseCode::FormErr));
    secure.stop().await;
}

/// RFC 8484 §5.1: an HTTP cache may keep an answer for the TTL that is left, not for that which it had once.
#[tokio::test]
async fn https_answers_may_be_cached_for_what_is_left_of_their_ttl() {
    let upstream = Upstream::start().await;
    let secure = Secure::start(|config| config.upstreams = vec![upstream.addr()]).await;
    let query = bytes(&request("aged.example.", RecordType::A));
    let answering = async { upstream.answer(upstream.asked().await).await };
    let (mut response, ()) = tokio::join!(http(&secure, post(query.clone())), answering);
    let mut seen = Vec::new();
    let aged = async {
        loop {
            let message = Message::from_vec(response.body()).expect("a message");
            let ttl = message.answers[0].ttl;
            assert_eq!(response.headers()["cache-control"], format!("max-age={ttl}"));
            seen.push(ttl);
            if ttl < seen[0] {
                return;
            }
            response = http(&secure, post(query.clone())).await;
        }
    };
    timeout(DEADLINE, aged).await.expect("time goes on");
    assert_eq!(seen[0], 60);
    secure.stop().await;
}

#[tokio::test]
async fn https_says_what_is_wrong_with_a_request() {
    let secure = Secure::start(|config| config.tls.https_path = "/ask".to_owned()).await;
    let at = |method: &str, path: &str, media_type: &str, body: Vec<u8>| {
        let request = Request::builder().method(method).uri(format!("https://127.0.0.1{path}"));
        request.header("content-type", media_type).body(Full::from(body)).expect("a request")
    };
    let dns = "application/dns-message";
    let mut response = alice();
    response.metadata.message_type = MessageType::Response;
    for (request, status, text) in [
        (at("POST", "/dns-query", dns, bytes(&alice())), 404, "another path"),
        (at("PUT", "/ask", dns, bytes(&alice())), 405, "GET and POST"),
        (at("POST", "/ask", "text/html", bytes(&alice())), 415, "application/dns-message"),
        (at("POST", "/ask", dns, vec![0; 65_536]), 413, "65535"),
        (at("POST", "/ask", dns, vec![0; 11]), 400, "no DNS query"),
        (at("POST", "/ask", dns, bytes(&response)), 400, "no DNS query"),
        (at("GET", "/ask", dns, Vec::new()), 400, "parameter dns"),
        (at("GET", "/ask?dns=***", dns, Vec::new()), 400, "base64url"),
    ] {
        let shown = format!("{request:?}");
        let got = http(&secure, request).await;
        assert_eq!(got.status().as_u16(), status, "{shown}");
        assert!(String::from_utf8_lossy(got.body()).contains(text), "{shown}: {:?}", got.body());
        assert_eq!(
            got.headers().get("allow").map(|value| value.as_bytes()),
            (status == 405).then_some(&b"GET, POST"[..])
        );
    }
    // Headers beyond the cap never reach us.
    let mut sender = secure.connect_https().await;
    let huge = get(&format!("/ask?dns={}", "A".repeat(20_000)));
    let refused = match timeout(DEADLINE, sender.send_request(huge)).await.expect("in time") {
        Ok(response) => response.status().as_u16() == 431,
        Err(_) => true,
    };
    assert!(refused);
    secure.stop().await;
}

#[tokio::test]
async fn a_refused_request_is_answered_before_its_body_has_come() {
    let secure = Secure::start(|_| {}).await;
    let mut sender = secure.connect_https_from(LOOPBACK).await;
    let started = Instant::now();
    for (path, media_type, status) in [("/", "application/dns-message", 404), ("/dns-query", "text/html", 415)] {
        let request = Request::post(format!("https://127.0.0.1{path}")).header("content-type", media_type);
        let response = sender.send_request(request.body(Never).expect("a request"));
        assert_eq!(timeout(DEADLINE, response).await.expect("in time").expect("answered").status().as_u16(), status);
    }
    assert!(started.elapsed() < Duration::from_millis(config().connections.write_timeout_ms));
    secure.stop().await;
}

/// A client without HTTP/2 gets a sentence in the words of HTTP/1.1, not frames that it takes for noise.
#[tokio::test]
async fn http_1_is_refused_in_words() {
    let secure = Secure::start(|_| {}).await;
    for alpn in [&[][..], &[&b"http/1.1"[..]]] {
        for request in ["GET /dns-query?dns=AAAA HTTP/1.1\r\nHost: dns\r\n\r\n", "POST / HTTP/1.0\r\n\r\n", "PUT"] {
            let mut socket = secure.try_tls(secure.https(), "127.0.0.1", alpn).await.expect("trusted");
            socket.write_all(request.as_bytes()).await.expect("written");
            let mut said = String::new();
            timeout(DEADLINE, socket.read_to_string(&mut said)).await.expect("in time").expect("the end");
            assert!(said.starts_with("HTTP/1.1 505 HTTP Version Not Supported\r\n"), "{said}");
            assert!(said.ends_with("DNS over HTTPS is served over HTTP/2 only (RFC 8484 \u{a7}5.2)\n"), "{said}");
        }
    }
    // Who can do both gets HTTP/2, and who says nothing of it may begin it all the same.
    for alpn in [&[&b"http/1.1"[..], b"h2"][..], &[]] {
        let socket = secure.try_tls(secure.https(), "127.0.0.1", alpn).await.expect("trusted");
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await;
        let (mut sender, connection) = handshake.expect("HTTP/2");
        tokio::spawn(connection);
        let response = timeout(DEADLINE, sender.send_request(post(bytes(&alice())))).await.expect("in time");
        assert_eq!(response.expect("answered").status(), 200);
    }
    secure.stop().await;
}

/// Whoever begins queries and never ends them has to make room like anybody who says nothing.
#[tokio::test]
async fn half_queries_keep_no_place() {
    let secure = Secure::start(|config| {
        config.connections = ConnectionsConfig { max: 8, max_per_client: 4, ..ConnectionsConfig::default() };
    })
    .await;
    let (mut senders, mut streams) = (Vec::new(), Vec::new());
    for local in [1, 2].map(|net| IpAddr::from([127, 0, net, 1])) {
        for _ in 0..2 {
            let mut sender = secure.connect_https_from(local).await;
            let half = tokio::spawn(sender.send_request(post(Vec::new()).map(|_| Either::Left(Never))));
            // Once a later request is answered the server knows of the earlier one.
            let whole = sender.send_request(post(bytes(&alice())).map(Either::Right));
            assert_eq!(timeout(DEADLINE, whole).await.expect("in time").expect("answered").status(), 200);
            senders.push((sender, half));
            let connection = secure.connect_quic_from(local).await;
            let (mut half, receive) = connection.open_bi().await.expect("a stream");
            half.write_all(&doq_frame(&alice())[..5]).await.expect("written");
            assert!(exchange(&connection, &doq_frame(&alice())).await.is_ok());
            streams.push((connection, half, receive));
        }
    }
    let open = |proto: &str| format!("namestead_dns_connections{{proto=\"{proto}\"}} 4");
    counted(&secure.running, &open("https")).await;
    counted(&secure.running, &open("quic")).await;
    // Newcomers of another network, of all kinds, and one of a network that has its share.
    let mut plain = TcpStream::connect(secure.running.addr()).await.expect("connected");
    write_frame(&mut plain, &bytes(&alice())).await;
    assert_eq!(addresses(&read_frame(&mut plain).await), ["192.0.2.1"]);
    let mut tls = secure.connect_tls().await;
    assert!(frame_len(&mut tls, &alice()).await > 0);
    let mut https = secure.connect_https().await;
    assert_eq!(https.send_request(post(bytes(&alice()))).await.expect("answered").status(), 200);
    let quic = secure.connect_quic_from(IpAddr::from([127, 0, 2, 2])).await;
    assert!(exchange(&quic, &doq_frame(&alice())).await.is_ok());
    for (proto, count) in [("https", 3), ("quic", 1)] {
        let line = format!("namestead_dns_connections_closed_total{{proto=\"{proto}\",reason=\"evicted\"}} {count}");
        counted(&secure.running, &line).await;
    }
    secure.stop().await;
}

#[tokio::test]
async fn a_body_that_comes_slowly_is_read_to_its_end() {
    let secure = Secure::start(|config| config.connections.idle_timeout_ms = 1_000).await;
    let connection = secure.connect_quic().await;
    let frame = doq_frame(&alice());
    let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
    // Longer than the connection may be idle, shorter than a query may take.
    for part in frame.chunks(frame.len() / 4) {
        send.write_all(part).await.expect("written");
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    send.finish().expect("finished");
    assert!(timeout(DEADLINE, receive.read_to_end(70_000)).await.expect("in time").is_ok());
    secure.stop().await;
}

/// What a client wants no more is not worked on: else it could have any number of queries in work.
#[tokio::test]
async fn a_cancelled_https_request_is_no_work() {
    let upstream = Upstream::start().await;
    let secure = Secure::start(|config| {
        config.upstreams = vec![upstream.addr()];
        config.connections.idle_timeout_ms = 500;
    })
    .await;
    let mut sender = secure.connect_https().await;
    let slow = tokio::spawn(sender.send_request(post(bytes(&request("slow.example.", RecordType::A)))));
    upstream.asked().await;
    let started = Instant::now();
    slow.abort();
    // A connection with a query in work is not idle, and the upstream is waited for longer than this.
    counted(&secure.running, "namestead_dns_connections_closed_total{proto=\"https\",reason=\"idle\"} 1").await;
    assert!(started.elapsed() < Duration::from_millis(1_500), "{:?}", started.elapsed());
    secure.stop().await;
}

#[tokio::test]
async fn head_gets_headers_only() {
    let secure = Secure::start(|_| {}).await;
    let head = Request::head("https://127.0.0.1/dns-query").body(Full::default()).expect("a request");
    let response = http(&secure, head).await;
    assert_eq!((response.status().as_u16(), response.body().len()), (405, 0));
    assert!(response.headers().contains_key("date") && response.headers()["content-length"] != "0");
    secure.stop().await;
}

#[tokio::test]
async fn https_requests_do_not_wait_for_each_other_and_idle_ends_it() {
    let upstream = Upstream::start().await;
    let secure = Secure::start(|config| {
        config.upstreams = vec![upstream.addr()];
        config.connections.idle_timeout_ms = 1_500;
    })
    .await;
    let mut sender = secure.connect_https().await;
    let slow = tokio::spawn(sender.send_request(post(bytes(&request("slow.example.", RecordType::A)))));
    let question = upstream.asked().await;
    for _ in 0..50 {
        let response = timeout(DEADLINE, sender.send_request(post(bytes(&alice())))).await.expect("in time");
        assert_eq!(response.expect("answered").status(), 200);
    }
    upstream.answer(question).await;
    assert_eq!(slow.await.expect("no panic").expect("answered").status(), 200);
    counted(&secure.running, "namestead_dns_connections_closed_total{proto=\"https\",reason=\"idle\"} 1").await;
    secure.stop().await;
}

#[tokio::test]
async fn quic_streams_do_not_wait_for_each_other() {
    let upstream = Upstream::start().await;
    let secure = Secure::start(|config| config.upstreams = vec![upstream.addr()]).await;
    let connection = secure.connect_quic().await;
    let waiting = connection.clone();
    let slow = tokio::spawn(async move {
        exchange(&waiting, &doq_frame(&request("slow.example.", RecordType::A))).await.expect("answered")
    });
    let question = upstream.asked().await;
    for _ in 0..100 {
        let answer = exchange(&connection, &doq_frame(&alice())).await.expect("answered");
        let message = Message::from_vec(&answer[2..]).expect("a message");
        assert_eq!((message.metadata.id, addresses(&message)), (0, vec!["192.0.2.1".to_owned()]));
    }
    upstream.answer(question).await;
    assert_eq!(addresses(&Message::from_vec(&slow.await.expect("no panic")[2..]).expect("a message")), ["192.0.2.99"]);
    connection.close(0u32.into(), b"");
    counted(&secure.running, "namestead_dns_connections_closed_total{proto=\"quic\",reason=\"client\"} 1").await;
    secure.stop().await;
}

#[tokio::test]
async fn quic_ends_connections_that_break_its_rules() {
    let secure = Secure::start(|_| {}).await;
    let good = doq_frame(&alice());
    let mut with_id = good.clone();
    with_id[3] = 1;
    let mut response = alice();
    response.metadata.message_type = MessageType::Response;
    let wrong = [
        with_id,
        good.repeat(2),
        good[..good.len() - 1].to_vec(),
        Vec::new(),
        doq_frame(&response),
        doq_frame(&with_option(11, Vec::new())),
        vec![0xff; 66_000],
    ];
    for sent in wrong {
        let connection = secure.connect_quic().await;
        assert!(exchange(&connection, &good).await.is_ok());
        let (mut send, _receive) = connection.open_bi().await.expect("a stream");
        // The server may have closed before all of it is written.
        let _ = send.write_all(&sent).await;
        let _ = send.finish();
        match timeout(DEADLINE, connection.closed()).await.expect("in time") {
            quinn::ConnectionError::ApplicationClosed(closed) => assert_eq!(closed.error_code.into_inner(), 2),
            other => panic!("{other} for {} bytes", sent.len()),
        }
    }
    // No stream in one direction is allowed, so none is ever granted.
    let connection = secure.connect_quic().await;
    assert!(timeout(Duration::from_millis(100), connection.open_uni()).await.is_err());
    secure.stop().await;
}

#[tokio::test]
async fn idle_quic_connections_are_closed_whatever_keeps_them_awake() {
    let secure = Secure::start(|config| config.connections.idle_timeout_ms = 1_500).await;
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_millis(50)));
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(secure.client(&[b"doq"])).expect("TLS 1.3");
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    let endpoint = quinn::Endpoint::client(SocketAddr::from((LOOPBACK, 0))).expect("a socket");
    let connecting = endpoint.connect_with(config, secure.quic(), "127.0.0.1").expect("valid");
    let connection = timeout(DEADLINE, connecting).await.expect("in time").expect("trusted");
    assert!(exchange(&connection, &doq_frame(&alice())).await.is_ok());
    match timeout(DEADLINE, connection.closed()).await.expect("in time") {
        quinn::ConnectionError::ApplicationClosed(closed) => assert_eq!(closed.error_code.into_inner(), 0),
        other => panic!("{other}"),
    }
    counted(&secure.running, "namestead_dns_connections_closed_total{proto=\"quic\",reason=\"idle\"} 1").await;
    secure.stop().await;
}

#[tokio::test]
async fn all_transports_share_one_cap() {
    let limits = ConnectionsConfig { max: 2, ..ConnectionsConfig::default() };
    let secure = Secure::start(|config| config.connections = limits).await;
    let quic = secure.connect_quic().await;
    assert!(exchange(&quic, &doq_frame(&alice())).await.is_ok());
    let mut tls = secure.connect_tls().await;
    assert!(frame_len(&mut tls, &alice()).await > 0);
    // The oldest is the idlest.
    let mut https = secure.connect_https().await;
    assert_eq!(https.send_request(post(bytes(&alice()))).await.expect("answered").status(), 200);
    match timeout(DEADLINE, quic.closed()).await.expect("in time") {
        quinn::ConnectionError::ApplicationClosed(closed) => assert_eq!(closed.error_code.into_inner(), 4),
        other => panic!("{other}"),
    }
    let again = secure.connect_quic().await;
    assert!(is_closed(&mut tls).await);
    assert!(exchange(&again, &doq_frame(&alice())).await.is_ok());
    for proto in ["tls", "quic"] {
        let line = format!("namestead_dns_connections_closed_total{{proto=\"{proto}\",reason=\"evicted\"}} 1");
        counted(&secure.running, &line).await;
    }
    secure.stop().await;
}

/// A handshake takes more than one look at the socket, and meanwhile others come.
#[tokio::test]
async fn a_client_that_has_said_hello_is_not_evicted_by_a_silent_crowd() {
    let secure = Secure::start(|config| config.connections.max_per_client = 16).await;
    for (addr, alpn) in [(secure.tls(), &b"dot"[..]), (secure.https(), b"h2")] {
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let mut tls = rustls::ClientConnection::new(Arc::new(secure.client(&[alpn])), name).expect("a client");
        // The server has the same thread as this test, and does nothing while nothing here waits.
        let mut socket = std::net::TcpStream::connect(addr).expect("connected");
        tls.write_tls(&mut socket).expect("hello");
        let crowd: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(addr).expect("connected")).collect();
        let shaken = tokio::task::spawn_blocking(move || {
            socket.set_read_timeout(Some(DEADLINE)).expect("a socket");
            while tls.is_handshaking() {
                tls.complete_io(&mut socket).expect("trusted");
            }
            let mut stream = rustls::StreamOwned::new(tls, socket);
            if alpn == b"dot" {
                stream.write_all(&doq_frame(&alice())).expect("written");
            } else {
                stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("written");
            }
            stream.read_exact(&mut [0; 9]).expect("an answer, or settings");
        });
        shaken.await.expect("no panic");
        drop(crowd);
    }
    secure.stop().await;
}

/// Who has to make room may have asked before it was told.
#[tokio::test]
async fn what_has_come_before_an_encrypted_connection_is_evicted_is_answered() {
    let secure = Secure::start(|config| config.connections.max_per_client = 1).await;
    let mut tls = secure.connect_tls().await;
    assert!(frame_len(&mut tls, &alice()).await > 0);
    // From here to the answer nothing waits: the server learns of both at the same time, and of the newcomer first.
    let newcomer = std::net::TcpStream::connect(secure.running.addr()).expect("connected");
    assert!(frame_len(&mut tls, &alice()).await > 0);
    assert!(is_closed(&mut tls).await);
    drop(newcomer);

    let socket = secure.try_tls(secure.https(), "127.0.0.1", &[b"h2"]).await.expect("trusted");
    let (mut sender, mut connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    for newcomers in [0, 1] {
        let _newcomers: Vec<_> =
            (0..newcomers).map(|_| std::net::TcpStream::connect(secure.running.addr()).expect("connected")).collect();
        let request = Request::post("https://127.0.0.1/dns-query").header("content-type", "application/dns-message");
        let (mut response, mut body) = sender.send_request(request.body(()).expect("a request"), false).expect("sent");
        body.send_data(Bytes::from(bytes(&alice())), true).expect("sent");
        // Driven from here, so that the request leaves before anything waits.
        let answered = tokio::select! {
            answered = &mut response => answered,
            // That may come with the answer.
            _ = &mut connection => (&mut response).await,
        };
        assert_eq!(answered.expect("answered").status(), 200);
    }
    for proto in ["tls", "https"] {
        let line = format!("namestead_dns_connections_closed_total{{proto=\"{proto}\",reason=\"evicted\"}} 1");
        counted(&secure.running, &line).await;
    }
    secure.stop().await;
}

/// The same over QUIC, whose client needs a thread of its own to be ahead of the server.
#[tokio::test]
async fn what_has_come_before_a_quic_connection_is_evicted_is_answered() {
    let secure = Secure::start(|config| config.connections.max_per_client = 1).await;
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(secure.client(&[b"doq"])).expect("TLS 1.3");
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let (server, plain) = (secure.quic(), secure.running.addr());
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let (go, is_told) = std::sync::mpsc::sync_channel::<()>(1);
    let (sent, is_sent) = std::sync::mpsc::sync_channel(1);
    let client = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let endpoint = quinn::Endpoint::client(SocketAddr::from((LOOPBACK, 0))).expect("a socket");
            let connecting = endpoint.connect_with(config, server, "ns.nic.p2p").expect("valid");
            let connection = timeout(DEADLINE, connecting).await.expect("in time").expect("trusted");
            exchange(&connection, &doq_frame(&alice())).await.expect("answered");
            ready.send(()).expect("somebody waits");
            is_told.recv_timeout(DEADLINE).expect("told");
            let _newcomer = std::net::TcpStream::connect(plain).expect("connected");
            let (query, before) = (doq_frame(&alice()), connection.stats().frame_tx.stream);
            let answered = exchange(&connection, &query);
            let has_left = async {
                while connection.stats().frame_tx.stream == before {
                    tokio::task::yield_now().await;
                }
                sent.send(()).expect("somebody waits");
            };
            let (answered, ()) = tokio::join!(answered, has_left);
            answered.expect("answered");
            match timeout(DEADLINE, connection.closed()).await.expect("in time") {
                quinn::ConnectionError::ApplicationClosed(closed) => assert_eq!(closed.error_code.into_inner(), 4),
                other => panic!("{other}"),
            }
        });
    });
    timeout(DEADLINE, is_ready).await.expect("in time").expect("the client is there");
    // What the client has said of that is not to be read together with what comes next.
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    go.send(()).expect("the client waits");
    // The server, on this thread, learns of all that only then.
    is_sent.recv_timeout(DEADLINE).expect("the query has left");
    tokio::task::spawn_blocking(|| client.join()).await.expect("no panic").expect("the client is content");
    secure.stop().await;
}

/// Anybody can send the first packet of a connection in somebody else's name.
#[tokio::test]
async fn forged_quic_handshakes_are_few_and_take_nobodys_place() {
    const FORGED: usize = 10;
    let secure = Secure::start(|config| config.connections.max_per_client = 5).await;
    let victim = IpAddr::from([127, 0, 7, 1]);
    let honest = secure.connect_quic_from(victim).await;
    assert!(exchange(&honest, &doq_frame(&alice())).await.is_ok());
    // First packets of real clients, caught on their way.
    let catcher = UdpSocket::bind((LOOPBACK, 0)).await.expect("a socket");
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(secure.client(&[b"doq"])).expect("TLS 1.3");
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let (mut shaken, mut retried, mut sockets) = (0, 0, Vec::new());
    for _ in 0..FORGED {
        let endpoint = quinn::Endpoint::client(SocketAddr::from((LOOPBACK, 0))).expect("a socket");
        let to = catcher.local_addr().expect("bound");
        let _connecting = endpoint.connect_with(config.clone(), to, "ns.nic.p2p").expect("valid");
        let mut packet = [0; 1_500];
        let mut own = 0;
        while own == 0 {
            let (len, src) = timeout(DEADLINE, catcher.recv_from(&mut packet)).await.expect("in time").expect("sent");
            // Others may be sent again.
            own = if src == endpoint.local_addr().expect("bound") { len } else { 0 };
        }
        let forger = UdpSocket::bind((victim, 0)).await.expect("a socket");
        forger.send_to(&packet[..own], secure.quic()).await.expect("sent");
        let mut answer = [0; 1_500];
        let len = timeout(DEADLINE, forger.recv(&mut answer)).await.expect("in time").expect("received");
        // Types of long headers (RFC 9000 §17.2), without the fixed bit, which may vary (RFC 9287).
        match (answer[0] >> 4) & 0b1011 {
            0b1000 => shaken += 1,
            0b1011 => {
                assert!(len < 200, "a retry is short");
                retried += 1;
            }
            other => panic!("{other:04b}"),
        }
        sockets.push(forger);
    }
    assert_eq!((shaken, retried), (3, FORGED - 3), "three, and the honest one");
    // That one is still there, and there is room for others that prove where they are.
    assert!(exchange(&honest, &doq_frame(&alice())).await.is_ok());
    let another = secure.connect_quic_from(victim).await;
    assert!(exchange(&another, &doq_frame(&alice())).await.is_ok());
    secure.stop().await;
}

#[tokio::test]
async fn clients_discover_what_is_on() {
    let secure = Secure::start(|_| {}).await;
    let discovery = request("_dns.resolver.arpa.", RecordType::SVCB);
    let answer = udp(secure.running.addr(), &discovery).await;
    let mut seen = Vec::new();
    for record in &answer.answers {
        let RData::SVCB(svcb) = &record.data else { panic!("{record}") };
        assert_eq!(svcb.target_name.to_ascii(), "ns.nic.p2p.");
        let find = |key| svcb.svc_params.iter().find(|(found, _)| *found == key).map(|(_, value)| value.clone());
        let Some(SvcParamValue::Alpn(alpn)) = find(SvcParamKey::Alpn) else { panic!("{record}") };
        let Some(SvcParamValue::Port(port)) = find(SvcParamKey::Port) else { panic!("{record}") };
        assert!(find(SvcParamKey::Ipv4Hint).is_some() && find(SvcParamKey::Ipv6Hint).is_none());
        assert_eq!(find(SvcParamKey::Unknown(7)).is_some(), alpn.0 == ["h2"], "{record}");
        seen.push((svcb.svc_priority, alpn.0[0].clone(), port));
    }
    seen.sort();
    let expected = [(1, "doq", secure.quic()), (2, "dot", secure.tls()), (3, "h2", secure.https())];
    assert_eq!(seen, expected.map(|(priority, alpn, addr)| (priority, alpn.to_owned(), addr.port())));
    secure.stop().await;

    let plain = Running::start(config(), world()).await;
    let answer = udp(plain.addr(), &discovery).await;
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
    assert_eq!(answer.authorities[0].record_type(), RecordType::SOA);
    plain.stop().await;
}

#[tokio::test]
async fn stopping_lets_all_transports_finish() {
    let upstream = Upstream::start().await;
    let secure = Secure::start(|config| config.upstreams = vec![upstream.addr()]).await;
    let slow = || request("slow.example.", RecordType::A);
    let mut tls = secure.connect_tls().await;
    write_frame(&mut tls, &bytes(&slow())).await;
    let mut https = secure.connect_https().await;
    let over_https = tokio::spawn(https.send_request(post(bytes(&slow()))));
    let quic = secure.connect_quic().await;
    let over_quic = tokio::spawn(async move { exchange(&quic, &doq_frame(&slow())).await.expect("answered") });
    let questions = [upstream.asked().await, upstream.asked().await, upstream.asked().await];
    let addrs = [secure.tls(), secure.https()];
    let stopping = tokio::spawn(secure.stop());
    // New clients are gone before the old ones are.
    for addr in addrs {
        let refused = async { while TcpStream::connect(addr).await.is_ok() {} };
        timeout(DEADLINE, refused).await.expect("in time");
    }
    for question in questions {
        upstream.answer(question).await;
    }
    assert_eq!(addresses(&read_frame(&mut tls).await), ["192.0.2.99"]);
    assert_eq!(over_https.await.expect("no panic").expect("answered").status(), 200);
    assert!(over_quic.await.expect("no panic").len() > 2);
    timeout(DEADLINE, stopping).await.expect("in time").expect("no panic");
}

#[tokio::test]
async fn encrypted_transports_need_a_certificate() {
    let mut config = config();
    config.tls.listen = any_port();
    let metrics = Arc::new(resolver::DnsMetrics::new(&prometheus::Registry::new()).expect("a fresh registry"));
    let error = resolver::Resolver::bind(&config, Arc::new(world()), metrics).await.map(drop).expect_err("none");
    assert_eq!(error.to_string(), "encrypted DNS needs a certificate, and none was obtained");
}

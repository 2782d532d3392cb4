//! What arrives is bounded before it is understood: work and memory that one message, one query that waits and one body
//! that never ends can cost, over every transport.

#[path = "support/secure.rs"]
mod secure;
mod support;

use std::{
    convert::Infallible,
    fs,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};
use http_body_util::{BodyExt, Either, Full};
use hyper::{
    Request,
    body::{Body, Frame},
    client::conn::http2,
};
use secure::{LOOPBACK, Secure, bytes, exchange, post};
use support::server::{DEADLINE, Upstream, read_frame, request, send_udp, write_frame};
use tokio::{net::TcpStream, sync::mpsc, task::JoinSet, time::timeout};

const QUESTION: &[u8] = b"\x05alice\x03p2p\0\0\x01\0\x01";
/// The longest name of a chain: what a pointer can reach.
const REACH: usize = 0x3fff;

/// Processor time of this process so far, server and clients together, in ticks of 10 ms.
fn ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("after the name").split_whitespace().collect();
    [11, 12].map(|index| fields[index].parse::<u64>().expect("a number")).iter().sum()
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm.split_whitespace().nth(1).expect("a field").parse().expect("a number");
    pages * 4_096
}

/// A message of `len` bytes full of records whose owners are a chain of pointers to pointers. The counts say where they
/// stand: in the answer, authority or additional section.
fn chained(opcode: u8, section: usize, len: usize) -> Vec<u8> {
    let mut message = [&[0, 0, opcode << 3 | 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], QUESTION].concat();
    // One record of a type that nobody knows holds the chain.
    let chain_at = message.len() + 11;
    let chain_len = (REACH.min(len / 2) - chain_at) / 2 * 2;
    message.extend_from_slice(b"\0\xff\x00\0\x01\0\0\0\0");
    message.extend_from_slice(&(chain_len as u16).to_be_bytes());
    let mut target = 12;
    while message.len() < chain_at + chain_len {
        let at = message.len();
        message.extend_from_slice(&(0xc000 | target as u16).to_be_bytes());
        target = at;
    }
    let mut count = 1_u16;
    while message.len() + 16 <= len {
        message.extend_from_slice(&(0xc000 | target as u16).to_be_bytes());
        message.extend_from_slice(b"\0\x01\0\x01\0\0\0\0\0\x04abcd");
        count += 1;
    }
    message[6 + 2 * section..8 + 2 * section].copy_from_slice(&count.to_be_bytes());
    message
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

/// The code in a response, which must be one.
fn code(response: &[u8]) -> u8 {
    assert_eq!(response[2] & 0x80, 0x80, "a response");
    response[3] & 15
}

/// With a name reader that follows every pointer one message of 64 KiB takes a second of a processor here (0.2 s when
/// optimised), and one of 4 KiB some milliseconds.
#[tokio::test]
async fn a_message_costs_next_to_nothing_whatever_it_holds() {
    const ROUNDS: usize = 4;
    let secure = Secure::start(|_| {}).await;
    let mut tcp = TcpStream::connect(secure.running.addr()).await.expect("connected");
    let mut tls = secure.connect_tls().await;
    let mut https = secure.connect_https().await;
    let quic = secure.connect_quic().await;
    let before = ticks();
    let mut sent = 0;
    for (opcode, expected) in [(0, 1), (5, 1), (4, 1), (2, 1)] {
        for section in 0..3 {
            let large = chained(opcode, section, 65_535);
            for _ in 0..ROUNDS {
                write_frame(&mut tcp, &large).await;
                assert_eq!(u8::try_from(u16::from(read_frame(&mut tcp).await.metadata.response_code)), Ok(expected));
                write_frame(&mut tls, &large).await;
                assert_eq!(u8::try_from(u16::from(read_frame(&mut tls).await.metadata.response_code)), Ok(expected));
                let response = timeout(DEADLINE, https.send_request(post(large.clone()))).await.expect("in time");
                let body = response.expect("answered").into_body().collect().await.expect("a body").to_bytes();
                assert_eq!(code(&body), expected);
                let response = exchange(&quic, &framed(&large)).await.expect("answered");
                assert_eq!(code(&response[2..]), expected);
                let small = chained(opcode, section, 4_096);
                let rcode = code(&send_udp(secure.running.addr(), &small).await);
                // Other opcodes are refused for what they are.
                assert!(if opcode == 0 { rcode == 1 } else { rcode == 4 || rcode == 5 }, "{opcode} {rcode}");
                sent += 5;
            }
        }
    }
    let took_ms = (ticks() - before) * 10;
    assert!(took_ms < sent * 10, "{sent} messages took {took_ms} ms of processor time");
    secure.stop().await;
}

/// A query for a name of others.
fn about(index: usize, additionals: u16) -> Vec<u8> {
    let name = format!("\x04n{index:03}\x07example\0");
    let [count_0, count_1] = additionals.to_be_bytes();
    [&[0, 0, 1, 0, 0, 1, 0, 0, 0, 0, count_0, count_1], name.as_bytes(), b"\0\x01\0\x01"].concat()
}

/// One that is as large as it may be, and all options.
fn with_options(index: usize) -> Vec<u8> {
    let mut message = about(index, 1);
    let options = (4_096 - message.len() - 11) / 4;
    message.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0");
    message.extend_from_slice(&((4 * options) as u16).to_be_bytes());
    (0..options).for_each(|_| message.extend_from_slice(b"\xfd\xe9\0\0"));
    message
}

/// One that is as large as a message can be, and all records.
fn with_records(index: usize) -> Vec<u8> {
    const RECORD: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04abcd";
    let records = (65_000 - about(index, 0).len()) / RECORD.len();
    [about(index, records as u16), RECORD.repeat(records)].concat()
}

/// Sends a query on a stream of its own. Whether it was answered; it may be given up.
async fn is_answered(quic: quinn::Connection, frame: Vec<u8>) -> bool {
    let (mut send, mut receive) = quic.open_bi().await.expect("a stream");
    let sent = send.write_all(&frame).await.is_ok() && send.finish().is_ok();
    sent && timeout(DEADLINE, receive.read_to_end(70_000)).await.expect("in time").is_ok()
}

/// Memory while queries wait for an upstream that is silent. Parsed and kept as they came, those full of records took 70
/// times their bytes, and two connections 500 MiB.
#[tokio::test]
async fn a_query_that_waits_keeps_little() {
    const BOUND: usize = 24 << 20;
    let upstream = Upstream::start().await;
    let secure = Secure::start(|config| config.upstreams = vec![upstream.addr()]).await;
    let mut https = secure.connect_https().await;
    let quic = secure.connect_quic().await;
    assert_eq!(https.send_request(post(bytes(&request("alice.p2p.", RecordType::A)))).await.expect("ok").status(), 200);
    let before = resident();
    let mut waiting = JoinSet::new();
    for index in 0..15 {
        let response = https.send_request(post(with_options(index)));
        waiting.spawn(async move { response.await.is_ok() });
        waiting.spawn(is_answered(quic.clone(), framed(&with_options(100 + index))));
    }
    let mut largest = 0;
    let mut answered = 0;
    while let Some(done) = timeout(DEADLINE, waiting.join_next()).await.expect("in time") {
        largest = largest.max(resident());
        answered += usize::from(done.expect("no panic"));
    }
    assert_eq!(answered, 30, "none was too much");
    for index in 0..40 {
        let response = https.send_request(post(with_records(200 + index)));
        waiting.spawn(async move { response.await.is_ok() });
        waiting.spawn(is_answered(quic.clone(), framed(&with_records(300 + index))));
    }
    while let Some(done) = timeout(DEADLINE, waiting.join_next()).await.expect("in time") {
        largest = largest.max(resident());
        done.expect("no panic");
    }
    let grown = largest.saturating_sub(before);
    assert!(grown < BOUND, "{} KiB more", grown >> 10);
    secure.stop().await;
}

/// A body that says what the test tells it, and does not end before the test wants it to.
struct Endless(mpsc::Receiver<Bytes>);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|part| part.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Bodies that never end are bounded for a connection as a whole; the largest goes, and what ends is answered.
#[tokio::test]
async fn bodies_that_never_end_hold_little_and_hold_up_nothing() {
    const BODIES: usize = 40;
    let secure = Secure::start(|_| {}).await;
    let mut https: http2::SendRequest<Either<Endless, Full<Bytes>>> = secure.connect_https_from(LOOPBACK).await;
    let (mut waiting, mut senders) = (JoinSet::new(), Vec::new());
    for _ in 0..BODIES {
        let (sender, receiver) = mpsc::channel(1);
        sender.send(Bytes::from(vec![0; 4_096])).await.expect("room");
        senders.push(sender);
        let body = Either::Left(Endless(receiver));
        let request = Request::post("https://127.0.0.1/dns-query").header("content-type", "application/dns-message");
        let response = https.send_request(request.body(body).expect("a request"));
        waiting.spawn(async move { response.await.map(|response| response.status().as_u16()) });
    }
    // 16 fit; each of the others was the largest once, or made another one so.
    for _ in 0..BODIES - 16 {
        let given_up = timeout(DEADLINE, waiting.join_next()).await.expect("in time").expect("there are some");
        assert_eq!(given_up.expect("no panic").expect("answered"), 503);
    }
    let whole = https.send_request(post(bytes(&request("alice.p2p.", RecordType::A))).map(Either::Right));
    assert_eq!(timeout(DEADLINE, whole).await.expect("in time").expect("answered").status(), 200);
    drop(senders);

    let quic = secure.connect_quic().await;
    let mut streams = Vec::new();
    let mut given_up = JoinSet::new();
    for _ in 0..BODIES {
        let (mut send, mut receive) = quic.open_bi().await.expect("a stream");
        send.write_all(&vec![0x0f; 4_096]).await.expect("written");
        streams.push(send);
        given_up.spawn(async move { receive.read_to_end(70_000).await.is_err() });
    }
    for _ in 0..BODIES - 16 {
        let reset = timeout(DEADLINE, given_up.join_next()).await.expect("in time").expect("there are some");
        assert!(reset.expect("no panic"));
    }
    let answer = exchange(&quic, &secure::doq_frame(&request("alice.p2p.", RecordType::A))).await.expect("answered");
    let answer = Message::from_vec(&answer[2..]).expect("a message");
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 1));
    secure.stop().await;
}

/// In a crowd a connection over QUIC gets no more queries in work than one of another kind.
#[tokio::test]
async fn quic_takes_part_in_the_share_of_a_crowd() {
    let secure = Secure::start(|config| {
        config.connections.max = 16;
        config.connections.max_in_work = 16;
    })
    .await;
    let open_streams = async |local: [u8; 4]| {
        let quic = secure.connect_quic_from(IpAddr::from(local)).await;
        let mut open = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(300), quic.open_bi()).await {
            open.push(stream.expect("a stream"));
        }
        (open.len(), quic, open)
    };
    let first = open_streams([127, 0, 1, 1]).await;
    let second = open_streams([127, 0, 2, 1]).await;
    let third = open_streams([127, 0, 3, 1]).await;
    assert_eq!([first.0, second.0, third.0], [16, 16, 2]);
    secure.stop().await;
}

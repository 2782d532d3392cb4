//! Forwarding with and without the cache: time for one question, and questions per second, in one run.
//!
//! `cargo bench -p resolver --bench forward`. The upstream is on loopback and answers at once, so the way without the
//! cache is as short as it can be; a real one is milliseconds further away.

#![allow(clippy::unwrap_used)]

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, MessageType, Query},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use prometheus::Registry;
use resolver::{DnsConfig, DnsMetrics, SharedTable, policy::config::ForwardConfig, serve::udp::Responder};
use tokio::{net::UdpSocket, runtime::Runtime, task::JoinSet};

const CLIENT: &str = "127.0.0.1:4711";
const NAMES: usize = 100;
const ONE_BY_ONE: usize = 5_000;
const AT_ONCE: usize = 32;

fn main() {
    let runtime = Runtime::new().unwrap();
    let upstream = runtime.block_on(upstream());
    let [without, with] = [("without cache", 0), ("with cache", 16 << 20)].map(|(what, cache_bytes)| {
        let responder = runtime.block_on(async { responder(upstream, cache_bytes) });
        runtime.block_on(warm(&responder));
        let mut times = runtime.block_on(one_by_one(&responder));
        times.sort();
        let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        let rate = runtime.block_on(at_once(&responder));
        println!("{what}: p50 {p50:?}, p99 {p99:?}, {rate:.0} questions/s with {AT_ONCE} at a time");
        (p50, rate)
    });
    println!("ratio: {:.1} in time, {:.1} in rate", without.0.as_secs_f64() / with.0.as_secs_f64(), with.1 / without.1);
}

fn responder(upstream: SocketAddr, cache_bytes: u64) -> Responder {
    let forward = ForwardConfig { cache_bytes, ..ForwardConfig::default() };
    let upstreams = vec![upstream.to_string()];
    let config = DnsConfig { listen: Vec::new(), upstreams, forward, ..DnsConfig::default() };
    let metrics = Arc::new(DnsMetrics::new(&Registry::new()).unwrap());
    Responder::new(&config, Arc::new(SharedTable::new(120)), metrics).unwrap()
}

async fn ask(responder: &Responder, number: usize) {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    let name = Name::from_ascii(format!("name{}.example.", number % NAMES)).unwrap();
    message.add_query(Query::query(name, RecordType::A));
    let (bytes, src) = (message.to_vec().unwrap(), CLIENT.parse::<SocketAddr>().unwrap());
    let standing = responder.standing(&bytes, src.ip());
    let response = responder.clone().full(bytes, src, standing).await.unwrap();
    assert_eq!(response[7], 1, "one answer");
}

async fn warm(responder: &Responder) {
    for number in 0..NAMES {
        ask(responder, number).await;
    }
}

async fn one_by_one(responder: &Responder) -> Vec<Duration> {
    let mut times = Vec::with_capacity(ONE_BY_ONE);
    for number in 0..ONE_BY_ONE {
        let began = Instant::now();
        ask(responder, number).await;
        times.push(began.elapsed());
    }
    times
}

async fn at_once(responder: &Responder) -> f64 {
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..AT_ONCE {
        let responder = responder.clone();
        clients.spawn(async move {
            for number in 0..ONE_BY_ONE / AT_ONCE {
                // Clients are apart from each other, so that few ask the same at the same time.
                ask(&responder, number + client * 3).await;
            }
        });
    }
    while clients.join_next().await.transpose().unwrap().is_some() {}
    (ONE_BY_ONE / AT_ONCE * AT_ONCE) as f64 / began.elapsed().as_secs_f64()
}

async fn upstream() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 4_096];
        while let Ok((len, src)) = socket.recv_from(&mut buffer).await {
            let mut message = Message::from_vec(&buffer[..len]).unwrap();
            message.metadata.message_type = MessageType::Response;
            let name = message.queries[0].name().clone();
            message.add_answer(Record::from_rdata(name, 3_600, RData::A(A::new(198, 51, 100, 1))));
            socket.send_to(&message.to_vec().unwrap(), src).await.unwrap();
        }
    });
    addr
}

//! Emptying the cache of upstreams' answers, and forgetting what was learnt of upstreams.

mod support {
    pub mod upstream;
}

use std::{sync::Arc, time::Duration};

use hickory_proto::op::{Message, ResponseCode};
use prometheus::{Registry, TextEncoder};
use resolver::{
    DnsConfig, DnsMetrics,
    dns::{name::Dname, rtype},
    out::forward::{Clock, Forwarder, Question},
    policy::config::ForwardConfig,
    zones::answer::Answer,
};
use support::upstream::{Fake, Script, address, encode, record, reply, silence};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(20);
const OLD: [u8; 4] = [198, 51, 100, 1];
const NEW: [u8; 4] = [198, 51, 100, 2];

struct Setup {
    forwarder: Arc<Forwarder>,
    registry: Registry,
}

impl Setup {
    fn new(upstreams: &[String]) -> Self {
        let forward = ForwardConfig { prefetch: false, ..ForwardConfig::default() };
        let config = DnsConfig { listen: Vec::new(), upstreams: upstreams.to_vec(), forward, ..DnsConfig::default() };
        let registry = Registry::new();
        let metrics = Arc::new(DnsMetrics::new(&registry).expect("a fresh registry"));
        let forwarder = Forwarder::with_clock(&config, metrics, Clock::manual()).expect("a forwarder");
        Self { forwarder: Arc::new(forwarder), registry }
    }

    async fn ask(&self, name: &str) -> Answer {
        ask(&self.forwarder, name).await
    }

    fn flush(&self, name: &str) -> usize {
        self.forwarder.flush(Some(&name.parse::<Dname>().expect("a name")))
    }

    fn has_metric(&self, line: &str) -> bool {
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("metrics").contains(line)
    }

    async fn until_metric(&self, line: &str) {
        let settled = async {
            while !self.has_metric(line) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, settled).await.unwrap_or_else(|_| panic!("{line} does not come"));
    }
}

async fn ask(forwarder: &Forwarder, name: &str) -> Answer {
    let question = Question {
        name: name.parse().expect("a name"),
        qtype: rtype::A,
        dnssec_ok: false,
        checking_disabled: false,
        authority: None,
    };
    timeout(DEADLINE, forwarder.ask(&question)).await.expect("in time")
}

fn addresses(answer: &Answer) -> Vec<&[u8]> {
    answer.answer.iter().flat_map(|set| &set.data).map(|data| &data[..]).collect()
}

#[tokio::test]
async fn what_is_flushed_is_asked_for_again() {
    let fake = Fake::plain(address(OLD, 600)).await;
    let setup = Setup::new(&[fake.addr.to_string()]);
    let names = ["b.example", "a.b.example", "ab.example", "b.example.org"];
    let ask_all = async || {
        for name in names {
            setup.ask(name).await;
        }
        fake.asked().len()
    };
    assert_eq!((ask_all().await, ask_all().await), (4, 4));
    assert_eq!(setup.flush("B.Example."), 2);
    assert!(setup.has_metric("namestead_dns_forward_cache_entries 2"));
    assert_eq!(ask_all().await, 6);
    assert_eq!(setup.flush("nobody.asked.this"), 0);
    assert_eq!(ask_all().await, 6);
    fake.behave(address(NEW, 600));
    assert_eq!(setup.forwarder.flush(None), 4);
    assert!(setup.has_metric("namestead_dns_forward_cache_entries 0"));
    assert_eq!(addresses(&setup.ask("ab.example").await), [&NEW[..]]);
}

async fn read_question(stream: &mut TcpStream) -> Message {
    let mut bytes = vec![0; usize::from(stream.read_u16().await.expect("a length"))];
    stream.read_exact(&mut bytes).await.expect("a message");
    Message::from_vec(&bytes).expect("a question")
}

async fn write_answer(stream: &mut TcpStream, question: &Message, address: [u8; 4]) {
    let mut response = reply(question);
    response.answers = vec![record(&question.queries[0].name().to_ascii(), rtype::A, 600, &address)];
    let bytes = encode(&response);
    stream.write_u16(u16::try_from(bytes.len()).expect("short")).await.expect("sent");
    stream.write_all(&bytes).await.expect("sent");
}

/// An answer is as old as its question: it must not come into the cache behind a flush, and whoever asks afterwards must
/// not get it.
#[tokio::test]
async fn an_answer_under_way_does_not_outlive_a_flush() {
    for (flushed, is_asked_meanwhile) in [(None, false), (None, true), (Some("a.example"), true), (Some("b"), true)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let setup = Setup::new(&[format!("tcp://{}", listener.local_addr().expect("bound"))]);
        let flush = || match flushed {
            Some(name) => setup.flush(name),
            None => setup.forwarder.flush(None),
        };
        let client = || {
            let forwarder = setup.forwarder.clone();
            tokio::spawn(async move { ask(&forwarder, "a.example").await })
        };
        let served = async {
            let before = client();
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let first = read_question(&mut stream).await;
            assert_eq!(flush(), 0, "nothing is there yet");
            if is_asked_meanwhile {
                let after = client();
                let second = read_question(&mut stream).await;
                write_answer(&mut stream, &second, NEW).await;
                assert_eq!(addresses(&after.await.expect("no panic")), [&NEW[..]], "{flushed:?}");
            }
            write_answer(&mut stream, &first, OLD).await;
            // It has waited since before the flush.
            assert_eq!(addresses(&before.await.expect("no panic")), [&OLD[..]]);
            let later = client();
            if !is_asked_meanwhile {
                let third = read_question(&mut stream).await;
                write_answer(&mut stream, &third, NEW).await;
            }
            assert_eq!(addresses(&later.await.expect("no panic")), [&NEW[..]], "{flushed:?}");
        };
        timeout(DEADLINE, served).await.expect("in time");
    }
}

#[tokio::test]
async fn a_dead_upstream_is_asked_again_after_a_flush() {
    let (sick, well) = (Fake::plain(silence()).await, Fake::plain(address(OLD, 0)).await);
    let setup = Setup::new(&[sick.addr.to_string(), well.addr.to_string()]);
    let up = |is_up: u8| format!("upstream_up{{upstream=\"udp://{}\"}} {is_up}", sick.addr);
    let died = async {
        while !setup.has_metric(&up(0)) {
            setup.ask("a.example").await;
        }
    };
    timeout(DEADLINE, died).await.expect("it is taken for dead in time");
    // With a name nothing else is forgotten.
    setup.flush("a.example");
    assert!(setup.has_metric(&up(0)));
    setup.forwarder.flush(None);
    assert!(setup.has_metric(&up(1)));
    sick.behave(address(NEW, 0));
    // As one of which nothing is known, before all others, and by no probe.
    setup.ask("b.example").await;
    assert!(sick.asked().contains(&"b.example. A".to_owned()), "{:?}", sick.asked());
    // It can die again.
    sick.behave(silence());
    drop(well);
    let died = async {
        while !setup.has_metric(&up(0)) {
            setup.ask("c.example").await;
        }
    };
    timeout(DEADLINE, died).await.expect("it is taken for dead in time");
    sick.behave(address(NEW, 0));
    setup.until_metric(&up(1)).await;
}

#[tokio::test]
async fn what_an_upstream_could_not_take_is_tried_again_after_a_flush() {
    let script: Script = Arc::new(|question, over| match question.edns {
        Some(_) => {
            let mut response = reply(question);
            response.metadata.response_code = ResponseCode::FormErr;
            response.edns = None;
            vec![encode(&response)]
        }
        None => address(OLD, 0)(question, over),
    });
    let fake = Fake::plain(script).await;
    let setup = Setup::new(&[fake.addr.to_string()]);
    let last_had_edns = || fake.messages().last().is_some_and(|question| question.edns.is_some());
    assert_eq!(addresses(&setup.ask("a.example").await), [&OLD[..]]);
    // It was replaced by another.
    fake.behave(address(NEW, 0));
    setup.ask("b.example").await;
    setup.flush("b.example");
    setup.ask("b.example").await;
    assert!(!last_had_edns(), "remembered");
    setup.forwarder.flush(None);
    setup.ask("abcdefghijklmnopqrstuvwxyz.example").await;
    assert!(last_had_edns());
    // Letters of random case are not for servers of the local network: that was never learnt.
    let name = fake.messages().last().map(|question| question.queries[0].name().to_ascii());
    assert_eq!(name.as_deref(), Some("abcdefghijklmnopqrstuvwxyz.example."));
}

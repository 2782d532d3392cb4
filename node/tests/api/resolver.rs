//! What the resolver is told to do over the interface of a node that has an upstream.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use node::{
    api::client::{Client, Endpoint},
    config::{Config, Overrides},
    node::Node,
};
use tokio::{net::UdpSocket, time::timeout};

use crate::harness::{in_time, refused};

const DEADLINE: Duration = Duration::from_secs(60);
const HEADER_BYTES: usize = 12;

/// A question for an address.
fn question(name: &str) -> Vec<u8> {
    let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("short"));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    bytes
}

/// The answer 198.51.100.1 for ten minutes, whatever was asked.
fn answer(asked: &[u8]) -> Vec<u8> {
    let name = asked[HEADER_BYTES..].iter().position(|byte| *byte == 0).expect("a name");
    let mut bytes = asked[..HEADER_BYTES + name + 5].to_vec();
    (bytes[2], bytes[3]) = (0x81, 0x80);
    bytes[6..HEADER_BYTES].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
    bytes.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4, 198, 51, 100, 1]);
    bytes
}

/// An upstream, and how often it was asked.
async fn upstream() -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let (address, asked) = (socket.local_addr().expect("bound"), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 1_500];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            count.fetch_add(1, Ordering::Relaxed);
            socket.send_to(&answer(&buffer[..length]), client).await.expect("sent");
        }
    });
    (address, asked)
}

async fn ask(node: &Node, name: &str) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    socket.send_to(&question(name), node.dns_addrs()[0]).await.expect("sent");
    let mut buffer = [0; 1_500];
    let length = timeout(DEADLINE, socket.recv(&mut buffer)).await.expect("in time").expect("an answer");
    assert_eq!(buffer[..length][length - 4..], [198, 51, 100, 1], "{name}");
}

fn config(dir: &Path, upstream: SocketAddr, more: &str) -> Config {
    let text = format!(
        "network = 'local'\ndata_dir = '{}'\n[p2p]\nlisten = ['/ip4/127.0.0.1/tcp/0']\nmdns = false\n\
         [mining]\nmode = 'off'\n[api]\nlisten = '127.0.0.1:0'\n[metrics]\nlisten = 'off'\n\
         [dns]\nlisten = ['127.0.0.1:0']\nupstreams = ['{upstream}']\n{more}",
        dir.display()
    );
    Config::parse(&text, Path::new("test.toml"), Overrides::default()).expect("a valid file")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cached_answers_are_flushed_by_name_or_all() {
    in_time(DEADLINE, async {
        let dir = tempfile::tempdir().expect("a directory");
        let (upstream, asked) = upstream().await;
        let node = Node::start(config(dir.path(), upstream, "")).await.expect("started");
        let client = Client::unix(dir.path().join("api.sock"));
        let names = ["xn--bcher-kva.example", "www.xn--bcher-kva.example", "a.example"];
        let ask_all = async || {
            for name in names {
                ask(&node, name).await;
            }
            asked.load(Ordering::Relaxed)
        };
        assert_eq!((ask_all().await, ask_all().await), (3, 3));
        let flushed = client.flush_answers(Some("BÜCHER.example")).await.expect("done");
        assert_eq!((flushed.name.as_deref(), flushed.answers), (Some("xn--bcher-kva.example."), 2));
        assert_eq!(ask_all().await, 5);
        let flushed = client.flush_answers(None).await.expect("done");
        assert_eq!((flushed.name, flushed.answers), (None, 3));
        assert_eq!(client.flush_answers(None).await.expect("done").answers, 0);
        assert_eq!(ask_all().await, 8);

        for (bad, words) in
            [("192.0.2.1", "is an address"), ("a b", "' ' is not part"), ("", "no name"), ("a..b", "empty")]
        {
            let error = client.flush_answers(Some(bad)).await.expect_err(bad);
            assert!(error.code() == Some("bad_name") && error.to_string().contains(words), "{error}");
        }
        refused(
            client.post::<serde_json::Value>("/v1/resolver/flush", &serde_json::json!({ "name": 7 })).await,
            400,
            "bad_request",
        );
        let misspelt = serde_json::json!({ "nmae": "a.example" });
        refused(client.post::<serde_json::Value>("/v1/resolver/flush", &misspelt).await, 400, "bad_request");
        let tcp = |token: Option<&str>| {
            let endpoint = Endpoint::Tcp(node.api_addr().expect("listening").to_string());
            Client::new(endpoint, token.map(str::to_owned), Duration::from_secs(10))
        };
        for token in [None, Some("wrong")] {
            refused(tcp(token).flush_answers(None).await, 401, "token_needed");
            refused(tcp(token).reload().await, 401, "token_needed");
        }
        assert_eq!(ask_all().await, 8, "what was refused has changed nothing");
        assert_eq!(tcp(Some(node.api_token())).flush_answers(None).await.expect("done").answers, 3);
        drop(client);
        node.shutdown().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_says_what_was_taken_over() {
    in_time(DEADLINE, async {
        let dir = tempfile::tempdir().expect("a directory");
        let (upstream, _) = upstream().await;
        let hosts = dir.path().join("hosts");
        std::fs::write(&hosts, "192.0.2.1 nas.home\n").expect("written");
        let more = format!("hosts = ['{}']\n", hosts.display());
        let mut node = Node::start(config(dir.path(), upstream, &more)).await.expect("started");
        let client = Client::unix(dir.path().join("api.sock"));
        refused(client.reload().await, 503, "reload_unavailable");

        let mut requests = node.reload_requests();
        std::fs::write(&hosts, "192.0.2.1 nas.home printer.home\n").expect("written");
        let new =
            config(dir.path(), upstream, &format!("{more}server_id = 'x'\n[dns.guard]\ndeny = ['192.0.2.0/24']\n"));
        let told = {
            let answering = async { requests.next().await.answer(Ok(node.reload(&new).await)) };
            tokio::join!(client.reload(), answering).0.expect("reloaded")
        };
        assert_eq!((told.changed, told.needs_restart), (vec!["dns.guard.deny".into()], vec!["dns.server_id".into()]));
        assert_eq!(told.hosts_names, Some(2));

        // The rest holds, and whoever asks again is told again.
        std::fs::remove_file(&hosts).expect("removed");
        for _ in 0..2 {
            let answering = async { requests.next().await.answer(Ok(node.reload(&new).await)) };
            let (told, ()) = tokio::join!(client.reload(), answering);
            let error = told.expect_err("a file is missing");
            assert_eq!(error.code(), Some("not_reloaded"));
            assert!(error.to_string().contains(&format!("dns.hosts: {hosts:?} cannot be read")), "{error}");
        }
        drop(client);
        node.shutdown().await;
    })
    .await;
}

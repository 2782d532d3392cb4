//! A node in this process, and a wallet that signs with keys from small numbers.

#[path = "wallet.rs"]
pub mod wallet;

use std::{net::SocketAddr, path::Path, time::Duration};

use node::{
    api::{
        client::{Client, ClientError, EventStream},
        types::{Event, Operation},
    },
    chain::ChainHandle,
    config::{Config, Overrides},
    node::Node,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Fails a test that hangs.
pub async fn in_time(limit: Duration, test: impl Future<Output = ()>) {
    timeout(limit, test).await.expect("the test took too long");
}

/// A node with everything on free loopback ports.
pub struct TestNode {
    node: Node,
    dir: TempDir,
    peers: String,
    mining: String,
}

impl TestNode {
    /// Starts the first node of a local network with this `[mining]` section.
    pub async fn start(mining: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), "", mining).await
    }

    /// Starts a node that expects this peer, without mining.
    pub async fn start_expecting(peer: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), &format!("'{peer}'"), "mode = 'off'").await
    }

    async fn start_in(dir: TempDir, peers: &str, mining: &str) -> Self {
        let text = format!(
            "network = 'local'\ndata_dir = '{}'\n[p2p]\nlisten = ['/ip4/127.0.0.1/tcp/0']\nmdns = false\npeers = [{peers}]\n\
             [mining]\n{mining}\n[dns]\nlisten = ['127.0.0.1:0']\n[api]\nlisten = '127.0.0.1:0'\n\
             [metrics]\nlisten = '127.0.0.1:0'\n",
            dir.path().display()
        );
        let config = Config::parse(&text, Path::new("test.toml"), Overrides::default()).expect("a valid file");
        Self {
            node: Node::start(config).await.expect("started"),
            dir,
            peers: peers.to_owned(),
            mining: mining.to_owned(),
        }
    }

    /// Stops and starts again on the same data.
    pub async fn restart(self) -> Self {
        self.node.shutdown().await;
        Self::start_in(self.dir, &self.peers, &self.mining).await
    }

    pub async fn stop(self) {
        self.node.shutdown().await;
    }

    pub fn chain(&self) -> ChainHandle {
        self.node.chain()
    }

    /// A client on the unix socket.
    pub fn client(&self) -> Client {
        Client::unix(self.dir.path().join("api.sock"))
    }

    pub fn api_addr(&self) -> SocketAddr {
        self.node.api_addr().expect("listening")
    }

    pub fn monitor_addr(&self) -> SocketAddr {
        self.node.monitor_addr().expect("listening")
    }

    pub fn token(&self) -> &str {
        self.node.api_token()
    }
}

/// Follows events until the operation has ended.
pub async fn finish(client: &Client, events: &mut EventStream, id: &str) -> Operation {
    loop {
        let now = client.operation(id).await.expect("kept");
        if now.state.is_over() || now.error.is_some() {
            return now;
        }
        // Any event will do: the operation is read anew after each.
        let event = events.next().await.expect("alive").expect("the node runs");
        assert!(!matches!(event, Event::Lagged(_)), "the test is too slow a reader");
    }
}

/// Asserts a refusal.
pub fn refused<T: std::fmt::Debug>(result: Result<T, ClientError>, status: u16, code: &str) {
    match result {
        Err(ClientError::Api { status: got, code: got_code, .. }) => {
            assert_eq!((got, got_code.as_str()), (status, code));
        }
        other => panic!("expected {status} {code}, got {other:?}"),
    }
}

/// One plain GET, head and all.
pub async fn fetch(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the port is open");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    answer
}

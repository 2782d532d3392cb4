//! A server with all transports, and clients of each.

#![allow(dead_code, missing_docs)] // Each test file uses its own part.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hickory_proto::op::Message;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Body, Frame},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use resolver::{
    DnsConfig, SharedTable,
    policy::config::TlsConfig,
    serve::{certificate::Certificate, server::Equipment},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tempfile::TempDir;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{
    ACTIVE,
    server::{DEADLINE, Running, config},
    table,
};

pub const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A server with all transports, and a client's trust in it.
pub struct Secure {
    pub running: Running,
    roots: Arc<RootCertStore>,
    _folder: TempDir,
}

pub fn any_port() -> Vec<SocketAddr> {
    vec![SocketAddr::from((LOOPBACK, 0))]
}

pub fn world() -> SharedTable {
    table(&[("alice", ACTIVE, "@ A 192.0.2.1")])
}

impl Secure {
    pub async fn start(change: impl FnOnce(&mut DnsConfig)) -> Self {
        let mut config = config();
        config.tls =
            TlsConfig { listen: any_port(), https_listen: any_port(), quic_listen: any_port(), ..TlsConfig::default() };
        change(&mut config);
        let folder = tempfile::tempdir().expect("a folder");
        let certificate = Certificate::obtain(&config, folder.path()).expect("an authority");
        let equipment = Equipment { certificate, ..Equipment::default() };
        let running = Running::start_with(config, world(), equipment).await;
        let ca = CertificateDer::from_pem_file(folder.path().join("dns-ca.crt")).expect("the authority's certificate");
        let mut roots = RootCertStore::empty();
        roots.add(ca).expect("a root");
        Self { running, roots: Arc::new(roots), _folder: folder }
    }

    pub fn client(&self, alpn: &[&[u8]]) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut client = builder.expect("TLS").with_root_certificates(self.roots.clone()).with_no_client_auth();
        client.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        client
    }

    pub fn tls(&self) -> SocketAddr {
        self.running.resolver.addrs().tls[0]
    }

    pub fn https(&self) -> SocketAddr {
        self.running.resolver.addrs().https[0]
    }

    pub fn quic(&self) -> SocketAddr {
        self.running.resolver.addrs().quic[0]
    }

    pub async fn try_tls(&self, addr: SocketAddr, name: &str, alpn: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
        self.try_tls_from(LOOPBACK, addr, name, alpn).await
    }

    pub async fn try_tls_from(
        &self,
        local: IpAddr,
        addr: SocketAddr,
        name: &str,
        alpn: &[&[u8]],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::new(self.client(alpn)));
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from((local, 0))).expect("a loopback address");
        let socket = socket.connect(addr).await.expect("connected");
        socket.set_nodelay(true).expect("a TCP socket");
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        timeout(DEADLINE, connector.connect(name, socket)).await.expect("in time")
    }

    pub async fn connect_tls(&self) -> TlsStream<TcpStream> {
        self.try_tls(self.tls(), "127.0.0.1", &[b"dot"]).await.expect("trusted")
    }

    pub async fn connect_https(&self) -> http2::SendRequest<Full<Bytes>> {
        self.connect_https_from(LOOPBACK).await
    }

    pub async fn connect_https_from<B>(&self, local: IpAddr) -> http2::SendRequest<B>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let socket = self.try_tls_from(local, self.https(), "127.0.0.1", &[b"h2"]).await.expect("trusted");
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.expect("HTTP/2");
        tokio::spawn(connection);
        sender
    }

    pub async fn connect_quic(&self) -> quinn::Connection {
        self.connect_quic_from(LOOPBACK).await
    }

    pub async fn connect_quic_from(&self, local: IpAddr) -> quinn::Connection {
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(self.client(&[b"doq"])).expect("TLS 1.3");
        let endpoint = quinn::Endpoint::client(SocketAddr::from((local, 0))).expect("a socket");
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let connecting = endpoint.connect_with(config, self.quic(), "ns.nic.p2p").expect("valid");
        timeout(DEADLINE, connecting).await.expect("in time").expect("trusted")
    }

    pub async fn stop(self) {
        self.running.stop().await;
    }
}

/// A body of which nothing comes.
pub struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

pub fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().expect("encodes")
}

pub async fn http(secure: &Secure, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let mut sender = secure.connect_https().await;
    let response = timeout(DEADLINE, sender.send_request(request)).await.expect("in time").expect("a response");
    let (parts, body) = response.into_parts();
    let body = timeout(DEADLINE, body.collect()).await.expect("in time").expect("a body").to_bytes();
    Response::from_parts(parts, body)
}

pub fn post(body: Vec<u8>) -> Request<Full<Bytes>> {
    let request = Request::post("https://127.0.0.1/dns-query").header("content-type", "application/dns-message");
    request.body(Full::from(body)).expect("a request")
}

pub fn get(path_and_query: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://127.0.0.1{path_and_query}")).body(Full::default()).expect("a request")
}

/// Sends bytes on a stream of their own, and reads what comes back.
pub async fn exchange(connection: &quinn::Connection, sent: &[u8]) -> Result<Vec<u8>, quinn::ReadToEndError> {
    let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
    send.write_all(sent).await.expect("written");
    send.finish().expect("finished");
    timeout(DEADLINE, receive.read_to_end(70_000)).await.expect("in time")
}

pub fn doq_frame(message: &Message) -> Vec<u8> {
    let mut message = message.clone();
    message.metadata.id = 0;
    let bytes = bytes(&message);
    [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()
}

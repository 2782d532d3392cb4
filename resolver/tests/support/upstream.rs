//! An upstream that does what a script says, over each transport, and writes down what it was asked.

#![allow(dead_code, missing_docs)]

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use hickory_proto::{
    op::{Message, MessageType},
    rr::{Name, RData, Record, RecordType, rdata::NULL},
};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::crypto::rustls::QuicServerConfig;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

/// The name in all certificates, beside 127.0.0.1.
pub const HOST: &str = "dns.upstream.test";

/// What to send for a question, message by message; `Over::Udp` tells plain datagrams apart.
pub type Script = Arc<dyn Fn(&Message, Over) -> Vec<Vec<u8>> + Send + Sync>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    Udp,
    Connection,
}

/// Dropping it closes everything.
pub struct Fake {
    pub addr: SocketAddr,
    pub state: Arc<State>,
    _tasks: JoinSet<()>,
}

pub struct State {
    script: Mutex<Script>,
    ages: Mutex<Vec<String>>,
    asked: Mutex<Vec<Message>>,
    connections: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Plain,
    Tls,
    Https,
    Quic,
}

impl Fake {
    /// UDP and TCP on one port.
    pub async fn plain(script: Script) -> Self {
        Self::start(Kind::Plain, script, None).await
    }

    pub async fn start(kind: Kind, script: Script, authority: Option<&Authority>) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), kind, script, authority).await
    }

    pub async fn start_at(at: SocketAddr, kind: Kind, script: Script, authority: Option<&Authority>) -> Self {
        let state = Arc::new(State {
            script: Mutex::new(script),
            ages: Mutex::default(),
            asked: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let mut tasks = JoinSet::new();
        let tls = |alpn: &[u8]| authority.expect("an authority").server(alpn);
        let addr = match kind {
            Kind::Plain => {
                let (tcp, udp) = pair(at).await;
                let addr = tcp.local_addr().expect("bound");
                tasks.spawn(serve_udp(udp, state.clone()));
                tasks.spawn(serve_tcp(tcp, state.clone(), None));
                addr
            }
            Kind::Tls => {
                let tcp = TcpListener::bind(at).await.expect("a port");
                let addr = tcp.local_addr().expect("bound");
                tasks.spawn(serve_tcp(tcp, state.clone(), Some(TlsAcceptor::from(tls(b"dot")))));
                addr
            }
            Kind::Https => {
                let tcp = TcpListener::bind(at).await.expect("a port");
                let addr = tcp.local_addr().expect("bound");
                tasks.spawn(serve_https(tcp, state.clone(), TlsAcceptor::from(tls(b"h2"))));
                addr
            }
            Kind::Quic => {
                let crypto = QuicServerConfig::try_from(tls(b"doq")).expect("TLS 1.3");
                let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
                let endpoint = quinn::Endpoint::server(config, at).expect("a port");
                let addr = endpoint.local_addr().expect("bound");
                tasks.spawn(serve_quic(endpoint, state.clone()));
                addr
            }
        };
        Self { addr, state, _tasks: tasks }
    }

    /// Names and types asked for, in order.
    pub fn asked(&self) -> Vec<String> {
        let asked = self.state.asked.lock().expect("not poisoned");
        let show = |message: &Message| {
            let query = &message.queries[0];
            format!("{} {}", query.name().to_lowercase(), query.query_type())
        };
        // The probe's question is nobody's.
        asked.iter().map(show).filter(|text| text != ". NS").collect()
    }

    pub fn messages(&self) -> Vec<Message> {
        self.state.asked.lock().expect("not poisoned").clone()
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// From now on HTTP responses say that they are so old.
    pub fn say_ages(&self, ages: &[&str]) {
        *self.state.ages.lock().expect("not poisoned") = ages.iter().map(|age| (*age).to_owned()).collect();
    }

    pub fn behave(&self, script: Script) {
        *self.state.script.lock().expect("not poisoned") = script;
    }
}

impl State {
    fn replies(&self, bytes: &[u8], over: Over) -> Vec<Vec<u8>> {
        let Ok(message) = Message::from_vec(bytes) else { return Vec::new() };
        self.asked.lock().expect("not poisoned").push(message.clone());
        let script = self.script.lock().expect("not poisoned").clone();
        script(&message, over)
    }
}

/// A certificate authority of its own, with its file.
pub struct Authority {
    certificate: rcgen::Certificate,
    key: KeyPair,
    pub file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("signed");
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, certificate.pem()).expect("written");
        Self { certificate, key, file, _dir: dir }
    }

    fn server(&self, alpn: &[u8]) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![HOST.to_owned(), "127.0.0.1".to_owned()]).expect("names");
        let leaf = params.signed_by(&key, &self.certificate, &self.key).expect("signed");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let builder = builder.expect("versions").with_no_client_auth();
        let mut config = builder.with_single_cert(vec![leaf.der().clone()], key).expect("a certificate");
        config.alpn_protocols = vec![alpn.to_vec()];
        Arc::new(config)
    }
}

/// Answers each question with the records that `data` gives for its name (lower-cased, with final dot) and type.
pub fn answers(data: impl Fn(&str, RecordType) -> Vec<Record> + Send + Sync + 'static) -> Script {
    Arc::new(move |question, _| {
        let mut response = reply(question);
        let query = &question.queries[0];
        response.answers = data(&query.name().to_lowercase().to_ascii(), query.query_type());
        vec![encode(&response)]
    })
}

/// An A record for every question for one.
pub fn address(address: [u8; 4], ttl: u32) -> Script {
    answers(move |name, qtype| match qtype {
        RecordType::A => vec![record(name, 1, ttl, &address)],
        _ => Vec::new(),
    })
}

pub fn silence() -> Script {
    Arc::new(|_, _| Vec::new())
}

pub fn reply(question: &Message) -> Message {
    let mut response = question.clone();
    response.metadata.message_type = MessageType::Response;
    response.metadata.authentic_data = false;
    response
}

pub fn encode(message: &Message) -> Vec<u8> {
    message.to_vec().expect("encodes")
}

pub fn record(owner: &str, rtype: u16, ttl: u32, data: &[u8]) -> Record {
    let data = RData::Unknown { code: RecordType::from(rtype), rdata: NULL::with(data.to_vec()) };
    Record::from_rdata(Name::from_ascii(owner).expect("a name"), ttl, data)
}

/// A name as record data.
pub fn target(name: &str) -> Vec<u8> {
    name.parse::<resolver::dns::name::Dname>().expect("a name").as_wire().to_vec()
}

async fn pair(at: SocketAddr) -> (TcpListener, UdpSocket) {
    for _ in 0..16 {
        let tcp = TcpListener::bind(at).await.expect("a port");
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().expect("bound")).await {
            return (tcp, udp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

async fn serve_udp(socket: UdpSocket, state: Arc<State>) {
    let mut buffer = vec![0; 65_535];
    while let Ok((len, src)) = socket.recv_from(&mut buffer).await {
        for response in state.replies(&buffer[..len], Over::Udp) {
            drop(socket.send_to(&response, src).await);
        }
    }
}

async fn serve_tcp(listener: TcpListener, state: Arc<State>, tls: Option<TlsAcceptor>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (state, tls) = (state.clone(), tls.clone());
        connections.spawn(async move {
            match tls {
                None => serve_stream(stream, state).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => serve_stream(stream, state).await,
                    Err(_) => None,
                },
            }
        });
    }
}

async fn serve_stream(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<State>) -> Option<()> {
    state.connections.fetch_add(1, Ordering::Relaxed);
    loop {
        let mut bytes = vec![0; usize::from(stream.read_u16().await.ok()?)];
        stream.read_exact(&mut bytes).await.ok()?;
        for response in state.replies(&bytes, Over::Connection) {
            let frame = [&(response.len() as u16).to_be_bytes()[..], &response].concat();
            stream.write_all(&frame).await.ok()?;
            stream.flush().await.ok()?;
        }
    }
}

async fn serve_https(listener: TcpListener, state: Arc<State>, tls: TlsAcceptor) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (state, tls) = (state.clone(), tls.clone());
        connections.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            state.connections.fetch_add(1, Ordering::Relaxed);
            let service = service_fn(|request: Request<Incoming>| {
                let state = state.clone();
                async move {
                    assert_eq!(request.uri().path(), "/dns-query");
                    let body = request.into_body().collect().await?.to_bytes();
                    let bytes = state.replies(&body, Over::Connection).into_iter().next().unwrap_or_default();
                    let mut response = Response::builder().header("content-type", "application/dns-message");
                    for age in state.ages.lock().expect("not poisoned").iter() {
                        response = response.header("age", age);
                    }
                    Ok::<_, hyper::Error>(response.body(Full::<Bytes>::new(bytes.into())).expect("a response"))
                }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn serve_quic(endpoint: quinn::Endpoint, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        let state = state.clone();
        connections.spawn(async move {
            let Ok(connection) = incoming.await else { return };
            state.connections.fetch_add(1, Ordering::Relaxed);
            while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                let Ok(frame) = receive.read_to_end(65_537).await else { return };
                for response in state.replies(&frame[2..], Over::Connection) {
                    let frame = [&(response.len() as u16).to_be_bytes()[..], &response].concat();
                    drop(send.write_all(&frame).await);
                }
                drop(send.finish());
            }
        });
    }
}

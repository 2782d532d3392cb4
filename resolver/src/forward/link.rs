//! The way to one server: a fresh socket for each question over UDP, one kept connection for everything else.
//!
//! A datagram may be lost: without an answer the question is sent again after [`RESEND`], and once more after that, each
//! time from another socket while those before stay open. How many sockets this may take is bounded for all servers
//! together.
//!
//! A kept connection is opened by the first question that needs it, shared by all, closed after [`IDLE`] without
//! questions, and opened anew when it turns out to be dead. Every response must repeat the question.

use std::{
    future, io,
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hickory_net::{
    DnsHandle, DnsMultiplexer, NetError,
    h2::HttpsClientStream,
    quic::QuicClientStream,
    runtime::TokioRuntimeProvider,
    tcp::TcpClientStream,
    tls::tls_client_connect,
    udp::UdpClientStream,
    xfer::{DnsClientStream, DnsExchange, DnsRequestSender, FirstAnswer},
};
use hickory_proto::{
    op::{DnsRequest, DnsRequestOptions, DnsResponse, Edns, Message, MessageType, OpCode, Query},
    rr::{DNSClass, Name, RecordType},
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    sync::{Mutex, Semaphore},
    time::{sleep, timeout},
};
use tracing::debug;

use super::{
    Question,
    target::{Protocol, Role, Server},
};

/// How long one attempt may take, connecting included.
pub(super) const ATTEMPT: Duration = Duration::from_secs(2);
/// After how long without an answer a datagram is sent again.
const RESEND: Duration = Duration::from_millis(333);
/// How long opening a connection to one address may take: less than an attempt, so that the next address has its turn.
const CONNECT: Duration = Duration::from_millis(1_200);
/// A connection without questions is closed after that: shorter than what servers allow, so that they rarely close it
/// under a question.
const IDLE: Duration = Duration::from_secs(9);
/// Questions that may wait on one connection.
const MAX_ON_CONNECTION: usize = 256;
/// ALPN of DNS over TLS (RFC 7858 §9.2).
const ALPN_DOT: &[u8] = b"dot";

type Provider = TokioRuntimeProvider;

/// The way to one server.
pub(super) struct Link {
    server: Server,
    tls: Option<Arc<ClientConfig>>,
    resends: Arc<Semaphore>,
    kept: Mutex<Kept>,
    // Cleared when the server turns out not to repeat letter case.
    repeats_case: AtomicBool,
}

/// Why there was no usable response.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// Nothing came in time.
    #[error("no answer in time")]
    Timeout,
    /// The network, TLS or HTTP failed.
    #[error("{0}")]
    Network(String),
    /// What came does not answer the question.
    #[error("the response does not match the question")]
    Mismatch,
}

impl From<NetError> for LinkError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Timeout => Self::Timeout,
            NetError::Io(io) if io.kind() == io::ErrorKind::TimedOut => Self::Timeout,
            other => Self::Network(other.to_string()),
        }
    }
}

#[derive(Default)]
struct Kept {
    connection: Option<Connection>,
    // Which of the addresses worked last.
    address: usize,
    generation: u64,
    last_used: Option<Instant>,
    last_answer: Option<Instant>,
}

#[derive(Clone)]
enum Connection {
    Stream(DnsExchange<Provider>),
    Https(HttpsClientStream),
    Quic(QuicClientStream),
}

impl Link {
    /// A link to `server`; `tls` is for encrypted ones, `resends` bounds what is sent again. Nothing is sent yet.
    pub(super) fn new(
        server: Server,
        case_randomization: bool,
        tls: Option<Arc<ClientConfig>>,
        resends: Arc<Semaphore>,
    ) -> Arc<Self> {
        let tls = tls.map(|config| match server.protocol() {
            Protocol::Tls => {
                let mut config = (*config).clone();
                config.alpn_protocols = vec![ALPN_DOT.to_vec()];
                Arc::new(config)
            }
            _ => config,
        });
        let repeats_case = AtomicBool::new(case_randomization);
        Arc::new(Self { server, tls, resends, kept: Mutex::default(), repeats_case })
    }

    /// One question, one answer, in [`ATTEMPT`].
    pub(super) async fn ask(self: &Arc<Self>, question: &Question) -> Result<Message, LinkError> {
        let asking = async {
            match self.server.protocol() {
                Protocol::Udp => self.ask_by_datagram(question).await,
                _ => self.ask_on_connection(&self.request(question, false)).await,
            }
        };
        timeout(ATTEMPT, asking).await.unwrap_or(Err(LinkError::Timeout))
    }

    async fn ask_by_datagram(self: &Arc<Self>, question: &Question) -> Result<Message, LinkError> {
        let request = self.request(question, self.repeats_case.load(Ordering::Relaxed));
        let Some(&address) = self.server.addresses().first() else { return Err(LinkError::Timeout) };
        let outcome = tokio::select! {
            outcome = send(address, &request) => outcome,
            outcome = self.send_again(RESEND, address, &request) => outcome,
            outcome = self.send_again(RESEND * 2, address, &request) => outcome,
        };
        match outcome {
            Ok(response) if !response.metadata.truncation => {
                let message = response.into_message();
                if answers(&message, question) { Ok(message) } else { Err(LinkError::Mismatch) }
            }
            Ok(_) => self.ask_on_connection(&request).await,
            Err(NetError::QueryCaseMismatch) => {
                // A forgery, or a server that lower-cases. Over TCP nobody can forge blindly: what comes tells which.
                let message = self.ask_on_connection(&request).await?;
                let sent = request.queries.first().map(Query::name);
                let came = message.queries.first().map(Query::name);
                if sent.zip(came).is_some_and(|(sent, came)| !sent.eq_case(came)) {
                    self.repeats_case.store(false, Ordering::Relaxed);
                }
                Ok(message)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a question again after `wait`; without end if too many are already.
    async fn send_again(
        &self,
        wait: Duration,
        address: SocketAddr,
        request: &DnsRequest,
    ) -> Result<DnsResponse, NetError> {
        sleep(wait).await;
        match self.resends.try_acquire() {
            Ok(_permit) => send(address, request).await,
            Err(_) => future::pending().await,
        }
    }

    async fn ask_on_connection(self: &Arc<Self>, request: &DnsRequest) -> Result<Message, LinkError> {
        let mut is_last = false;
        loop {
            let began = Instant::now();
            let (connection, generation, is_new) = self.connection().await?;
            let outcome = connection.ask(request.clone()).await;
            match outcome {
                Ok(message) if repeats(&message, request) => {
                    self.kept.lock().await.last_answer = Some(Instant::now());
                    return Ok(message);
                }
                Ok(_) => {
                    self.discard(generation).await;
                    return Err(LinkError::Mismatch);
                }
                Err(error) => {
                    debug!(upstream = %self.server, %error, "connection failed");
                    if !(matches!(error, NetError::Timeout) && self.answered_since(began).await) {
                        self.discard(generation).await;
                    }
                    // A kept connection may just have been closed by the server; a new one has no excuse, nor has a
                    // second one, even if another question opened it: else each would open one of its own.
                    if is_new || is_last || matches!(error, NetError::Timeout) {
                        return Err(error.into());
                    }
                    is_last = true;
                }
            }
        }
    }

    /// The kept connection, or a new one.
    async fn connection(self: &Arc<Self>) -> Result<(Connection, u64, bool), LinkError> {
        let mut kept = self.kept.lock().await;
        kept.last_used = Some(Instant::now());
        if let Some(connection) = &kept.connection {
            return Ok((connection.clone(), kept.generation, false));
        }
        let count = self.server.addresses().len();
        let mut failure = LinkError::Timeout;
        for turn in 0..count {
            let index = (kept.address + turn) % count;
            match timeout(CONNECT, self.connect(index)).await {
                Ok(Ok(connection)) => {
                    kept.connection = Some(connection.clone());
                    kept.address = index;
                    kept.generation += 1;
                    tokio::spawn(close_when_idle(Arc::downgrade(self), kept.generation));
                    return Ok((connection, kept.generation, true));
                }
                Ok(Err(error)) => failure = error.into(),
                Err(_) => failure = LinkError::Timeout,
            }
        }
        Err(failure)
    }

    async fn connect(&self, index: usize) -> Result<Connection, NetError> {
        let address = self.server.addresses()[index];
        let host = self.server.host();
        let tls = || self.tls.clone().ok_or(NetError::Message("no TLS configuration"));
        match self.server.protocol() {
            Protocol::Udp | Protocol::Tcp => {
                let (connecting, sender) = TcpClientStream::new(address, None, Some(CONNECT), Provider::new());
                Ok(Connection::Stream(exchange(DnsMultiplexer::new(connecting.await?, sender))))
            }
            Protocol::Tls => {
                let name = ServerName::try_from(host.to_owned()).map_err(|error| NetError::Msg(error.to_string()))?;
                let (connecting, sender) = tls_client_connect(address, name, tls()?, Provider::new());
                Ok(Connection::Stream(exchange(DnsMultiplexer::new(connecting.await?, sender))))
            }
            Protocol::Https => {
                let builder = HttpsClientStream::builder(tls()?, Provider::new());
                builder.build(address, host.into(), self.server.path().into()).await.map(Connection::Https)
            }
            Protocol::Quic => {
                let builder = QuicClientStream::builder().crypto_config((*tls()?).clone());
                builder.build(address, host.into()).await.map(Connection::Quic)
            }
        }
    }

    async fn discard(&self, generation: u64) {
        let mut kept = self.kept.lock().await;
        if kept.generation == generation {
            kept.connection = None;
        }
    }

    async fn answered_since(&self, began: Instant) -> bool {
        self.kept.lock().await.last_answer.is_some_and(|answer| answer > began)
    }

    fn request(&self, question: &Question, case_randomization: bool) -> DnsRequest {
        let mut options = DnsRequestOptions::default();
        options.edns_set_dnssec_ok = question.dnssec_ok;
        options.case_randomization = case_randomization;
        options.recursion_desired = self.server.role() == Role::Recursive;
        // A name that is a `Dname` is a name to hickory as well.
        let name = Name::from_labels(question.name.labels()).unwrap_or_default();
        let mut request = DnsRequest::from_query(Query::query(name, RecordType::from(question.qtype)), options);
        request.metadata.checking_disabled = question.checking_disabled;
        // Asks for the AD bit without asking for signatures (RFC 6840 §5.7).
        request.metadata.authentic_data = self.server.is_trusted();
        request
    }
}

impl Connection {
    async fn ask(self, request: DnsRequest) -> Result<Message, NetError> {
        let response = match self {
            Self::Stream(exchange) => exchange.send(request).first_answer().await,
            Self::Https(mut stream) => stream.send_message(request).first_answer().await,
            Self::Quic(mut stream) => stream.send_message(request).first_answer().await,
        };
        response.map(DnsResponse::into_message)
    }
}

/// One datagram, from a random port of its own. Other ids, senders and questions are skipped, not believed.
async fn send(address: SocketAddr, request: &DnsRequest) -> Result<DnsResponse, NetError> {
    let builder = UdpClientStream::builder(address, Provider::new()).with_timeout(Some(ATTEMPT));
    // It counts the first one, too. Sending again is our affair: each time takes a socket.
    let mut socket = builder.with_max_retries(1).build();
    socket.send_message(request.clone()).first_answer().await
}

fn exchange<S: DnsClientStream>(multiplexer: DnsMultiplexer<S>) -> DnsExchange<Provider> {
    let multiplexer = multiplexer.with_timeout(ATTEMPT).with_max_active_requests(MAX_ON_CONNECTION);
    let (exchange, background) = DnsExchange::from_stream(multiplexer);
    tokio::spawn(background);
    exchange
}

async fn close_when_idle(link: Weak<Link>, generation: u64) {
    loop {
        let Some(link) = link.upgrade() else { return };
        let mut kept = link.kept.lock().await;
        let unused = kept.last_used.map_or(IDLE, |used| used.elapsed());
        if kept.generation != generation || kept.connection.is_none() {
            return;
        }
        if unused >= IDLE {
            kept.connection = None;
            return;
        }
        drop(kept);
        drop(link);
        sleep(IDLE - unused).await;
    }
}

/// Whether a message answers a question: RFC 5452 §4, for whatever transport it came over.
fn answers(message: &Message, question: &Question) -> bool {
    let [asked] = &message.queries[..] else { return false };
    let labels_match = crate::dname::Dname::from_labels(asked.name().iter()).is_ok_and(|name| name == question.name);
    is_whole_response(message)
        && labels_match
        && u16::from(asked.query_type()) == question.qtype
        && asked.query_class() == DNSClass::IN
}

/// The same for a message on a connection. Its letter case may differ, its id is the connection's affair.
fn repeats(message: &Message, request: &DnsRequest) -> bool {
    is_whole_response(message) && message.queries == request.queries
}

fn is_whole_response(message: &Message) -> bool {
    message.metadata.message_type == MessageType::Response
        && message.metadata.op_code == OpCode::Query
        && !message.metadata.truncation
        && message.edns.as_ref().is_none_or(|edns: &Edns| edns.version() == 0)
}

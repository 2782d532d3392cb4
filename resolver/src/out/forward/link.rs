//! The way to one server: a fresh socket for each question over UDP, one kept connection for everything else.
//!
//! A datagram may be lost: without an answer the question is sent again after [`RESEND`], and once more after that, each
//! time from another socket while those before stay open. The last time it is written as plainly as any server has to
//! understand. How many sockets this may take is bounded for all servers together. What does not fit into a datagram, or
//! came damaged, is asked again over TCP.
//!
//! A kept connection is opened by the first question that needs it, shared by all, closed after [`IDLE`] without
//! questions, and opened anew when it turns out to be dead. When one that was kept stays silent, a new one is opened
//! beside it, in the time that the question has.
//!
//! Every response must repeat the question. What it says is not judged here, but for what a server cannot take
//! ([`habits`](super::habits)).

mod age;
mod datagram;
mod https;
mod quic;
mod stream;

use std::{
    future, io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, PoisonError, Weak},
    time::{Duration, Instant},
};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    sync::{Mutex, Semaphore},
    time::{sleep, timeout, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tracing::debug;

use super::{
    Question,
    clock::Clock,
    habits::{Habits, is_better},
    link_error::LinkError,
    request::{Letters, Request, Style, Validation},
    response::{NOERROR, Repeats, Response, repeats},
};
use crate::{
    dns::message::Message,
    policy::target::{Protocol, Role, Server},
};
use age::Arrived;
use datagram::Received;
use https::Https;
use quic::Quic;
use stream::Stream;

/// How long one attempt may take, connecting included.
pub(super) const ATTEMPT: Duration = Duration::from_secs(2);
/// After how long without an answer a datagram is sent again.
const RESEND: Duration = Duration::from_millis(333);
/// What is left of that when TCP after a datagram is given up.
const MARGIN: Duration = Duration::from_millis(20);
/// How long opening a connection to one address may take: less than an attempt, so that the next address has its turn.
const CONNECT: Duration = Duration::from_millis(1_200);
/// After how long without a sign of life on a kept connection a new one is opened beside it: long enough for most
/// answers, and short enough that connecting and answering fit into what is left of the attempt.
const KEPT_PATIENCE: Duration = Duration::from_millis(800);
/// A connection without questions is closed after that: shorter than what servers allow, so that they rarely close it
/// under a question.
const IDLE: Duration = Duration::from_secs(9);

/// The way to one server.
pub(super) struct Link {
    server: Server,
    tls: Option<Arc<ClientConfig>>,
    resends: Arc<Semaphore>,
    clock: Clock,
    habits: Habits,
    kept: Mutex<Kept>,
    // Not with what is kept: that is locked while a connection is being opened.
    last_answer: std::sync::Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Kept {
    connection: Option<Connection>,
    // Which of the addresses worked last.
    address: usize,
    generation: u64,
    last_used: Option<Instant>,
}

#[derive(Clone)]
enum Connection {
    Stream(Stream),
    Https(Https),
    Quic(Quic),
}

/// A connection, and what is known about it.
struct Opened {
    connection: Connection,
    generation: u64,
    age: Age,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Age {
    New,
    Kept,
}

impl Link {
    /// A link to `server`; `tls` is for encrypted ones, `resends` bounds what is sent again. Nothing is sent yet.
    pub(super) fn new(
        server: Server,
        letters: Letters,
        tls: Option<Arc<ClientConfig>>,
        resends: Arc<Semaphore>,
        clock: Clock,
    ) -> Arc<Self> {
        let tls = tls.map(|config| {
            let mut config = (*config).clone();
            config.alpn_protocols = server.protocol().alpn().map(<[u8]>::to_vec).into_iter().collect();
            Arc::new(config)
        });
        // What nobody on the way can forge blindly needs no random letters.
        let letters = if server.protocol() == Protocol::Udp { letters } else { Letters::Lower };
        Arc::new(Self {
            server,
            tls,
            resends,
            clock,
            habits: Habits::new(letters),
            kept: Mutex::default(),
            last_answer: Default::default(),
        })
    }

    /// Forgets what was learnt of the server. Connections stay: a dead one is noticed when it is used.
    pub(super) fn forget(&self) {
        self.habits.forget();
    }

    /// One question, one answer, in [`ATTEMPT`].
    pub(super) async fn ask(self: &Arc<Self>, question: &Question) -> Result<Response, LinkError> {
        let deadline = tokio::time::Instant::now() + ATTEMPT;
        let style = self.habits.style(self.clock.now_ms());
        let asking = async |style| timeout_at(deadline, self.ask_in(style, question, deadline)).await;
        let mut outcome = asking(style).await.unwrap_or(Err(LinkError::Timeout));
        // Without what the server may not like about the question.
        for change in self.habits.suspects(&outcome, style) {
            let Ok(Ok(response)) = asking(change.apply(style)).await else { continue };
            if is_better(&response, &outcome) {
                debug!(upstream = %self.server, ?change, "upstream answers questions in a plainer form");
                self.habits.learn(change, self.clock.now_ms());
                outcome = Ok(response);
                break;
            }
        }
        outcome
    }

    async fn ask_in(
        self: &Arc<Self>,
        style: Style,
        question: &Question,
        deadline: tokio::time::Instant,
    ) -> Result<Response, LinkError> {
        match self.server.protocol() {
            Protocol::Udp => self.ask_by_datagram(style, question, deadline).await,
            _ => self.ask_on_connection(style, question).await,
        }
    }

    async fn ask_by_datagram(
        self: &Arc<Self>,
        style: Style,
        question: &Question,
        deadline: tokio::time::Instant,
    ) -> Result<Response, LinkError> {
        let address = self.server.address(0)?;
        let (request, plainest) = (self.request(question, style), self.habits.plainest(style));
        let last = self.request(question, plainest);
        let (outcome, taken) = tokio::select! {
            outcome = datagram::exchange(address, &request) => (outcome, style),
            outcome = self.send_again(RESEND, address, &request) => (outcome, style),
            outcome = self.send_again(RESEND * 2, address, &last) => (outcome, plainest),
        };
        let message = match outcome {
            Ok(Received::Code(code)) => return Ok(Response::bare(code)),
            Ok(Received::Whole(message)) => message,
            // Over TCP nobody can guess.
            Err(LinkError::Flooded) => return self.ask_after_datagram(style, question, deadline).await,
            Err(error) => return Err(error),
        };
        let message = Message::new(&message).filter(|message| !message.is_truncated());
        let response = message.and_then(|message| Response::read(&message, question).ok());
        match response {
            Some(response) => {
                self.habits.answered(&response, style, taken, self.clock.now_ms());
                Ok(response)
            }
            // Too long, or cut or changed on the way.
            None => self.ask_after_datagram(taken, question, deadline).await,
        }
    }

    /// By TCP, since the server is there. Whatever becomes of that is no silence: many servers have no TCP, or are behind
    /// something that lets none through. So it ends a little before all time is up.
    async fn ask_after_datagram(
        self: &Arc<Self>,
        style: Style,
        question: &Question,
        deadline: tokio::time::Instant,
    ) -> Result<Response, LinkError> {
        let asking = timeout_at(deadline - MARGIN, self.ask_on_connection(style, question));
        asking.await.unwrap_or(Err(LinkError::Timeout)).map_err(|error| match error {
            LinkError::Timeout | LinkError::Network(_) => {
                LinkError::Odd(format!("the answer does not fit into a datagram, and over TCP: {error}"))
            }
            other => other,
        })
    }

    /// Sends a question again after `wait`; without end if too many are already.
    async fn send_again(&self, wait: Duration, address: SocketAddr, request: &Request) -> Result<Received, LinkError> {
        sleep(wait).await;
        match self.resends.try_acquire() {
            Ok(_permit) => datagram::exchange(address, request).await,
            Err(_) => future::pending().await,
        }
    }

    async fn ask_on_connection(self: &Arc<Self>, style: Style, question: &Question) -> Result<Response, LinkError> {
        let request = self.request(question, Style { letters: Letters::Lower, ..style });
        let Arrived { message, age_s } = self.exchange_on_connection(&request).await?;
        let odd = |what: &str| LinkError::Odd(what.to_owned());
        let message = Message::new(&message).filter(Message::is_response);
        let message = message.ok_or_else(|| odd("the response is none"))?;
        match repeats(&message, &request) {
            // Letters of another case are a server's whim here: it was not chance that asked.
            Repeats::Exactly | Repeats::OtherCase if message.is_truncated() => Err(odd("truncated on a connection")),
            Repeats::Exactly | Repeats::OtherCase => {
                let read = Response::read(&message, question);
                let mut response = read.map_err(|error| LinkError::Odd(error.to_string()))?;
                age::lower_ttls(&mut response, age_s);
                self.habits.answered(&response, style, style, self.clock.now_ms());
                Ok(response)
            }
            Repeats::Absent if message.rcode() != NOERROR => Ok(Response::bare(message.rcode())),
            Repeats::Absent | Repeats::Other => Err(odd("the response does not match the question")),
        }
    }

    /// On the kept connection, or on a new one if that is gone or silent.
    async fn exchange_on_connection(self: &Arc<Self>, request: &Request) -> Result<Arrived, LinkError> {
        let began = Instant::now();
        let first = self.connection(None).await?;
        let (generation, age) = (first.generation, first.age);
        if age == Age::New {
            return self.exchange_on(first, request).await;
        }
        let again = async || self.exchange_on(self.connection(Some(generation)).await?, request).await;
        let mut first = pin!(self.exchange_on(first, request));
        tokio::select! {
            outcome = &mut first => match outcome {
                // A kept connection may just have been closed by the server; a new one has no excuse.
                Err(LinkError::Network(_)) => again().await,
                outcome => outcome,
            },
            () = self.silence_since(began) => {
                let mut second = pin!(again());
                tokio::select! {
                    outcome = &mut first => match outcome { Ok(arrived) => Ok(arrived), Err(_) => second.await },
                    outcome = &mut second => match outcome { Ok(arrived) => Ok(arrived), Err(_) => first.await },
                }
            }
        }
    }

    async fn exchange_on(&self, opened: Opened, request: &Request) -> Result<Arrived, LinkError> {
        match opened.connection.ask(request).await {
            Ok(arrived) => {
                *self.last_answer() = Some(Instant::now());
                Ok(arrived)
            }
            Err(error) => {
                debug!(upstream = %self.server, %error, "connection failed");
                self.discard(opened.generation).await;
                Err(error)
            }
        }
    }

    fn last_answer(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.last_answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when nothing has come on the connection for [`KEPT_PATIENCE`].
    async fn silence_since(&self, began: Instant) {
        let mut since = began;
        loop {
            sleep(KEPT_PATIENCE.saturating_sub(since.elapsed())).await;
            match *self.last_answer() {
                Some(answer) if answer > since => since = answer,
                _ => return,
            }
        }
    }

    /// The kept connection, or a new one; not the one of the generation `suspect`, nor what came after it and is gone
    /// already: else each question would open one of its own.
    async fn connection(self: &Arc<Self>, suspect: Option<u64>) -> Result<Opened, LinkError> {
        if self.server.role() == Role::Authority {
            // Who these are is anybody's choice. Their connections end with the question, so that no more are open than
            // there are attempts.
            let connection = timeout(CONNECT, self.connect(0)).await.unwrap_or(Err(LinkError::Timeout))?;
            return Ok(Opened { connection, generation: 0, age: Age::New });
        }
        let mut kept = self.kept.lock().await;
        kept.last_used = Some(Instant::now());
        let generation = kept.generation;
        match &kept.connection {
            Some(connection) if suspect != Some(generation) => {
                return Ok(Opened { connection: connection.clone(), generation, age: Age::Kept });
            }
            None if suspect.is_some_and(|suspect| suspect < generation) => {
                return Err(LinkError::Network("a new connection failed at once".to_owned()));
            }
            _ => {}
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
                    return Ok(Opened { connection, generation: kept.generation, age: Age::New });
                }
                Ok(Err(error)) => failure = error,
                Err(_) => failure = LinkError::Timeout,
            }
        }
        Err(failure)
    }

    async fn connect(&self, index: usize) -> Result<Connection, LinkError> {
        let address = self.server.address(index)?;
        let host = self.server.host();
        match self.server.protocol() {
            Protocol::Udp | Protocol::Tcp => Ok(Connection::Stream(Stream::new(open(address).await?))),
            Protocol::Tls => Ok(Connection::Stream(Stream::new(self.open_tls(address).await?))),
            Protocol::Https => {
                let authority = match host.contains(':') {
                    true => format!("[{host}]:{}", address.port()),
                    false => format!("{host}:{}", address.port()),
                };
                let stream = self.open_tls(address).await?;
                Https::new(stream, &authority, self.server.path()).await.map(Connection::Https)
            }
            Protocol::Quic => Quic::connect(address, host, self.tls()?).await.map(Connection::Quic),
        }
    }

    async fn open_tls(&self, address: SocketAddr) -> Result<TlsStream<TcpStream>, LinkError> {
        let name = ServerName::try_from(self.server.host().to_owned());
        let name = name.map_err(|error| LinkError::Odd(error.to_string()))?;
        Ok(TlsConnector::from(self.tls()?).connect(name, open(address).await?).await?)
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, LinkError> {
        self.tls.clone().ok_or_else(|| LinkError::Odd("no TLS configuration".to_owned()))
    }

    async fn discard(&self, generation: u64) {
        let mut kept = self.kept.lock().await;
        if kept.generation == generation {
            kept.connection = None;
        }
    }

    fn request(&self, question: &Question, style: Style) -> Request {
        let validation = if self.server.is_trusted() { Validation::Believed } else { Validation::Ignored };
        Request::new(question, style, self.server.role(), validation)
    }
}

impl Connection {
    async fn ask(&self, request: &Request) -> Result<Arrived, LinkError> {
        let fresh = |message| Arrived { message, age_s: 0 };
        match self {
            Self::Stream(stream) => stream.ask(request).await.map(fresh),
            Self::Https(https) => https.ask(request).await,
            Self::Quic(quic) => quic.ask(request).await.map(fresh),
        }
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
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

//! Questions that are not ours, asked of configured upstreams.
//!
//! Plain DNS over UDP, over TCP when the answer is truncated; one upstream after the other until one answers. Each
//! query leaves from a fresh random port with a fresh id. Bounded: [`MAX_WAITING`] questions at a time, [`TRY_S`]
//! seconds for an upstream, [`TOTAL_S`] seconds in all. Nothing is cached here yet.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hickory_net::{
    DnsHandle, NetError,
    runtime::TokioRuntimeProvider,
    tcp::TcpClientStream,
    udp::UdpClientStream,
    xfer::{DnsRequestSender, FirstAnswer},
};
use hickory_proto::{
    op::{DnsRequest, DnsRequestOptions, Message, Query, ResponseCode},
    rr::{Name, RecordType},
};
use tokio::{sync::Semaphore, time::timeout};
use tracing::debug;

use crate::metrics::{DnsMetrics, ForwardResult};

/// The most questions that wait for upstreams at a time. Each holds one socket, so this stays well below the usual
/// limit of 1,024 open files.
pub const MAX_WAITING: usize = 256;
/// Seconds that one upstream has, separately over UDP and TCP.
pub const TRY_S: u64 = 2;
/// Seconds for all upstreams together: stub resolvers give up after 5.
pub const TOTAL_S: u64 = 4;

/// Asks upstreams.
pub struct Forwarder {
    upstreams: Vec<SocketAddr>,
    // Index of the upstream that answered last: it is asked first.
    preferred: AtomicUsize,
    waiting: Semaphore,
    provider: TokioRuntimeProvider,
    metrics: Arc<DnsMetrics>,
}

/// A question to pass on, in class IN.
#[derive(Clone, Debug)]
pub struct Question {
    /// Name, in the case that the client used.
    pub name: Name,
    /// Type.
    pub qtype: RecordType,
    /// The client's DO bit.
    pub dnssec_ok: bool,
    /// The client's CD bit.
    pub checking_disabled: bool,
}

/// Why no answer came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ForwardError {
    /// [`MAX_WAITING`] questions are waiting.
    #[error("too many questions are waiting for upstreams")]
    Overloaded,
    /// No upstream answered in time.
    #[error("no upstream answered")]
    Unreachable,
}

impl Forwarder {
    /// A forwarder to `upstreams`, tried in this order at first.
    pub fn new(upstreams: Vec<SocketAddr>, metrics: Arc<DnsMetrics>) -> Self {
        Self {
            upstreams,
            preferred: AtomicUsize::new(0),
            waiting: Semaphore::new(MAX_WAITING),
            provider: TokioRuntimeProvider::new(),
            metrics,
        }
    }

    /// Whether there is anybody to ask.
    pub fn is_enabled(&self) -> bool {
        !self.upstreams.is_empty()
    }

    /// The first good answer; failing that, the last bad one (SERVFAIL, REFUSED).
    pub async fn ask(&self, question: &Question) -> Result<Message, ForwardError> {
        let Ok(_permit) = self.waiting.try_acquire() else {
            self.metrics.forward(ForwardResult::Overloaded);
            return Err(ForwardError::Overloaded);
        };
        let answer = timeout(Duration::from_secs(TOTAL_S), self.ask_in_turn(question)).await.ok().flatten();
        self.metrics.forward(match &answer {
            Some(_) => ForwardResult::Answered,
            None => ForwardResult::Unreachable,
        });
        answer.ok_or(ForwardError::Unreachable)
    }

    async fn ask_in_turn(&self, question: &Question) -> Option<Message> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut refusal = None;
        for turn in 0..self.upstreams.len() {
            let index = (first + turn) % self.upstreams.len();
            match self.ask_one(self.upstreams[index], question).await {
                Ok(answer) if is_refusal(&answer) => refusal = Some(answer),
                Ok(answer) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Some(answer);
                }
                Err(error) => debug!(upstream = %self.upstreams[index], %error, "upstream failed"),
            }
        }
        refusal
    }

    async fn ask_one(&self, upstream: SocketAddr, question: &Question) -> Result<Message, NetError> {
        let limit = Duration::from_secs(TRY_S);
        let mut udp = UdpClientStream::builder(upstream, self.provider.clone()).with_timeout(Some(limit)).build();
        let answer = udp.send_message(request(question)).first_answer().await?.into_message();
        if !answer.metadata.truncation {
            return Ok(answer);
        }
        let tcp = TcpClientStream::exchange(upstream, None, limit, Some(1), self.provider.clone()).await?;
        Ok(tcp.send(request(question)).first_answer().await?.into_message())
    }
}

fn request(question: &Question) -> DnsRequest {
    let mut options = DnsRequestOptions::default();
    options.edns_set_dnssec_ok = question.dnssec_ok;
    let mut request = DnsRequest::from_query(Query::query(question.name.clone(), question.qtype), options);
    request.metadata.checking_disabled = question.checking_disabled;
    request
}

fn is_refusal(answer: &Message) -> bool {
    matches!(answer.metadata.response_code, ResponseCode::ServFail | ResponseCode::Refused | ResponseCode::NotImp)
}

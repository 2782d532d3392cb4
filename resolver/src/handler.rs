//! One request from parsing to sending: screening, answering, forwarding, cutting to size, counting.
//!
//! Messages come on connections, from hickory's loop, which has parsed them, has answered FORMERR to what it could not
//! parse, and has dropped responses and messages shorter than a header; or as datagrams, with which
//! [`Handler::datagram`] does the same.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use hickory_net::{runtime::Time, xfer::Protocol};
use hickory_proto::{
    op::{Edns, Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode},
    rr::{Name, rdata::opt::EdnsCode},
    serialize::binary::{BinDecodable, BinDecoder, BinEncodable},
};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use tracing::debug;

use crate::{
    answer::{Answer, Ede, EdeCode, Origin, Verdict, answer},
    dname::Dname,
    forward::{Forwarder, Question, rebinding},
    message::{Fitted, Reply},
    metrics::{DnsMetrics, Sent},
    query::{ClientEdns, Query, Recursion, Transport},
    sign::Signer,
    site::Site,
    source::NameSource,
};

/// The CO bit among the EDNS flags (RFC 9824 §5.1).
const COMPACT_OK: u16 = 1 << 14;
/// Bytes of a header.
const HEADER_BYTES: usize = 12;
/// The fewest bytes of a question: the root, type, class.
const MIN_QUESTION_BYTES: usize = 5;
/// The fewest bytes of a record: the root, type, class, TTL, length.
const MIN_RECORD_BYTES: usize = 11;

/// Answers requests.
pub(crate) struct Handler {
    pub(crate) site: Site,
    pub(crate) source: Arc<dyn NameSource>,
    pub(crate) forwarder: Forwarder,
    pub(crate) metrics: Arc<DnsMetrics>,
    pub(crate) signer: Option<Signer>,
    /// Whether answers from the ledger must not lead into the local network.
    pub(crate) ledger_guard: bool,
}

/// A [`Handler`] for hickory's loop, which serves connections.
pub(crate) struct Service(pub(crate) Arc<Handler>);

#[async_trait::async_trait]
impl RequestHandler for Service {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut response: R) -> ResponseInfo {
        let Self(handler) = self;
        let (fitted, mut sent) = handler.respond(request).await;
        let started = Instant::now();
        let info = send(&fitted, request, &mut response).await;
        sent.duration_s += started.elapsed().as_secs_f64();
        handler.metrics.response(&sent);
        info
    }
}

impl Handler {
    /// The response to a datagram, if it deserves one: bytes in, bytes out.
    pub(crate) async fn datagram(self: Arc<Self>, datagram: Vec<u8>, src: SocketAddr) -> Option<Vec<u8>> {
        let header = Header::read(&mut BinDecoder::new(&datagram)).ok()?;
        // Answering what claims to be a response, readable or not, would let two servers talk for ever.
        if header.message_type == MessageType::Response {
            return None;
        }
        let request = match counts_are_possible(&header, datagram.len()) {
            true => Request::from_bytes(datagram, src, Protocol::Udp).ok(),
            false => None,
        };
        let Some(request) = request else { return Some(unreadable(&header)) };
        let (fitted, sent) = self.respond(&request).await;
        self.metrics.response(&sent);
        fitted.encode(&request)
    }

    /// Whether a client there may have other questions forwarded (the RA bit).
    pub(crate) fn offers_recursion(&self, src: IpAddr) -> bool {
        self.forwarder.is_enabled() && is_local(src)
    }

    async fn respond(&self, request: &Request) -> (Fitted, Sent) {
        let started = Instant::now();
        let query = screen(request);
        let reply = match &query {
            Ok(query) => self.reply(query, request).await,
            Err(refusal) => Reply::from_answer(Answer::clone(refusal), None),
        };
        let (rcode, origin) = (u16::from(reply.rcode), reply.origin);
        let fitted = reply.fit(request, query.as_ref().ok(), self.site.server_id());
        let (bytes, truncated) = (fitted.bytes, fitted.is_truncated());
        (fitted, Sent { rcode, origin, duration_s: started.elapsed().as_secs_f64(), bytes, truncated })
    }

    async fn reply(&self, query: &Query, request: &Request) -> Reply {
        self.metrics.request(query.transport, query.qtype);
        // The snapshot is let go before anything is awaited.
        let verdict = answer(query, &*self.source.view(), &self.site);
        let answer = match verdict {
            Verdict::Local(answer) if answer.origin == Origin::Special && self.is_opened(query, request) => {
                self.ask(&query.name, query, request).await
            }
            Verdict::Local(answer) => self.complete(self.local(answer, query), query, request).await,
            Verdict::Elsewhere => self.forward_or_refuse(query, request).await,
        };
        let mut reply = Reply::from_answer(answer, asked_name(request));
        // Only for those who understand it: they set DO, or AD itself (RFC 6840 §5.8).
        reply.authentic_data &= query.dnssec_ok() || request.metadata.authentic_data;
        reply.recursion_available = self.offers_recursion(request.src().ip());
        reply
    }

    /// With signatures, if the client wants them and there is a key. The AD bit stays clear: it says that a resolver has
    /// validated, and we have not; whoever trusts us without validating trusts the AA bit as well (RFC 4035 §3.1.6). CD
    /// is for resolvers that validate: nothing here depends on it.
    fn signed(&self, mut answer: Answer, query: &Query) -> Answer {
        if let Some(signer) = self.signer.as_ref().filter(|_| query.dnssec_ok() && answer.origin == Origin::Ledger) {
            // A clock before 1970 is as wrong as any: validators refuse the signatures.
            let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            signer.sign_answer(&mut answer, query, &self.site, now_s);
        }
        answer
    }

    /// What we answer by ourselves, as it may be seen outside.
    fn local(&self, mut answer: Answer, query: &Query) -> Answer {
        if self.ledger_guard && answer.origin == Origin::Ledger {
            rebinding::withhold(&mut answer);
        }
        self.signed(answer, query)
    }

    /// Follows an alias that leads out of our zones, for clients that want it: stub resolvers do not do it themselves.
    /// The code is that of the last name, the AA bit that of the first (RFC 6604).
    async fn complete(&self, mut answer: Answer, query: &Query, request: &Request) -> Answer {
        let end = answer.elsewhere.take().filter(|_| self.may_forward(query, request).is_ok());
        let Some(end) = end else { return answer };
        let rest = self.ask(&end, query, request).await;
        match rest.origin {
            // Nobody was asked.
            Origin::Policy => answer,
            _ if rest.rcode == ResponseCode::ServFail => rest,
            _ => join(answer, rest),
        }
    }

    async fn forward_or_refuse(&self, query: &Query, request: &Request) -> Answer {
        match self.may_forward(query, request) {
            Ok(()) => self.ask(&query.name, query, request).await,
            Err(why) => Answer { ede: Some(why), ..Answer::empty(ResponseCode::Refused, Origin::Policy) },
        }
    }

    /// Whether a rule of the operator sends a special-use name elsewhere, for this client.
    fn is_opened(&self, query: &Query, request: &Request) -> bool {
        self.forwarder.opens(&query.name) && self.may_forward(query, request).is_ok()
    }

    /// What upstreams say about `name`. Where they point to a name of ours, we speak for ourselves, but only once: an
    /// alias from there out again is left to the client.
    async fn ask(&self, name: &Dname, query: &Query, request: &Request) -> Answer {
        let question = Question {
            name: name.clone(),
            qtype: query.qtype,
            dnssec_ok: query.dnssec_ok(),
            checking_disabled: request.metadata.checking_disabled,
        };
        let mut answer = self.forwarder.ask(&question).await;
        let Some(end) = answer.elsewhere.take() else { return answer };
        let ours = Query { name: end, ..query.clone() };
        let verdict = crate::answer::answer(&ours, &*self.source.view(), &self.site);
        if let Verdict::Local(rest) = verdict {
            answer = join(answer, Answer { elsewhere: None, ..self.local(rest, &ours) });
            self.forwarder.guard(&query.name, &mut answer);
        }
        answer
    }

    /// Whether this client's question may be passed on; if not, what to say. An open forwarder is an amplifier and a
    /// cache for strangers to poison, so only clients nearby are served.
    fn may_forward(&self, query: &Query, request: &Request) -> Result<(), Ede> {
        let (code, text) = match query.recursion {
            _ if !self.forwarder.is_enabled() => (EdeCode::NotAuthoritative, "not our zone, and forwarding is off"),
            Recursion::NotDesired => (EdeCode::NotAuthoritative, "not our zone, and recursion was not asked for"),
            Recursion::Desired if !is_local(request.src().ip()) => {
                (EdeCode::Prohibited, "not our zone, and forwarding is for local clients")
            }
            Recursion::Desired => return Ok(()),
        };
        Err(Ede { code, text: text.into() })
    }
}

/// Takes the question out of a request, or says what is wrong with it.
fn screen(request: &Request) -> Result<Query, Box<Answer>> {
    let refuse = |rcode| Err(Box::new(Answer::empty(rcode, Origin::Policy)));
    match request.metadata.op_code {
        OpCode::Query => {}
        // The ledger changes by transactions only, and we are nobody's secondary.
        OpCode::Update | OpCode::Notify => return refuse(ResponseCode::Refused),
        OpCode::Status | OpCode::Unknown(_) => return refuse(ResponseCode::NotImp),
    }
    if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return refuse(ResponseCode::BADVERS);
    }
    // RFC 9619: a query has exactly one question.
    let [question] = request.queries.queries() else { return Err(Box::new(malformed())) };
    let Ok(name) = Dname::from_labels(question.original().name().iter()) else { return Err(Box::new(malformed())) };
    Ok(Query {
        name,
        qtype: u16::from(question.query_type()),
        qclass: u16::from(question.query_class()),
        transport: match request.protocol() {
            Protocol::Udp => Transport::Datagram,
            _ => Transport::Stream,
        },
        recursion: match request.metadata.recursion_desired {
            true => Recursion::Desired,
            false => Recursion::NotDesired,
        },
        edns: request.edns.as_ref().map(client_edns),
    })
}

fn client_edns(edns: &Edns) -> ClientEdns {
    ClientEdns {
        version: edns.version(),
        payload: edns.max_payload(),
        dnssec_ok: edns.flags().dnssec_ok,
        compact_ok: edns.flags().z & COMPACT_OK != 0,
        wants_nsid: edns.option(EdnsCode::NSID).is_some(),
    }
}

/// Whether as many questions and records as the header promises could fit: hickory makes room for them beforehand.
fn counts_are_possible(header: &Header, datagram_bytes: usize) -> bool {
    let HeaderCounts { queries, answers, authorities, additionals } = header.counts;
    let records = usize::from(answers) + usize::from(authorities) + usize::from(additionals);
    HEADER_BYTES + usize::from(queries) * MIN_QUESTION_BYTES + records * MIN_RECORD_BYTES <= datagram_bytes
}

/// FORMERR without a question, for what has a header and else makes no sense.
fn unreadable(header: &Header) -> Vec<u8> {
    let mut metadata = Metadata::response_from_request(&header.metadata);
    metadata.response_code = ResponseCode::FormErr;
    let header = Header { metadata, counts: HeaderCounts::default() };
    header.to_bytes().unwrap_or_default()
}

fn malformed() -> Answer {
    Answer::empty(ResponseCode::FormErr, Origin::Policy)
}

/// The beginning of a chain of aliases, and where it ends.
fn join(mut start: Answer, rest: Answer) -> Answer {
    start.answer.extend(rest.answer);
    Answer { answer: start.answer, authoritative: start.authoritative, authentic: false, origin: start.origin, ..rest }
}

fn asked_name(request: &Request) -> Option<&Name> {
    request.queries.queries().first().map(|query| query.original().name())
}

async fn send(fitted: &Fitted, request: &Request, response: &mut impl ResponseHandler) -> ResponseInfo {
    let header = fitted.header();
    match response.send_response(fitted.response(request)).await {
        Ok(info) => info,
        Err(error) => {
            // The client is gone, or slower than its answers; nobody is left to tell.
            debug!(src = %request.src(), %error, "response not sent");
            ResponseInfo::from(header)
        }
    }
}

/// Loopback, private and link-local addresses (RFC 1918, RFC 4193, RFC 4291, RFC 3927).
fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_clients() {
        for (address, local) in [
            ("127.0.0.1", true),
            ("192.168.1.2", true),
            ("169.254.0.1", true),
            ("100.64.0.1", false),
            ("9.9.9.9", false),
            ("::1", true),
            ("fd00::1", true),
            ("fe80::1", true),
            ("2001:db8::1", false),
            ("::ffff:10.0.0.1", true),
            ("::ffff:9.9.9.9", false),
        ] {
            assert_eq!(is_local(address.parse().expect("an address")), local, "{address}");
        }
    }
}

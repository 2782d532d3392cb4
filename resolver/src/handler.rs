//! One request from parsing to sending: screening, answering, forwarding, cutting to size, counting.
//!
//! Messages come on [connections](crate::connection) or as [datagrams](crate::wire). What cannot be parsed gets FORMERR;
//! responses, and what is shorter than a header, get nothing.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use hickory_net::xfer::Protocol;
use hickory_proto::{
    op::{Edns, Header, HeaderCounts, Message, MessageType, Metadata, OpCode, ResponseCode},
    rr::{Name, RecordType, rdata::opt::EdnsCode},
    serialize::binary::{BinDecodable, BinDecoder, BinEncodable},
};
use hickory_server::server::Request;

use crate::{
    answer::{Answer, Ede, EdeCode, Origin, Verdict, answer},
    dname::Dname,
    forward::{ForwardError, Forwarder, Question},
    message::{Fitted, Reply},
    metrics::{DnsMetrics, Sent},
    query::{ClientEdns, Query, Recursion, Transport},
    sign::Signer,
    site::Site,
    source::NameSource,
    transfer::{Checked, Signing, Transfers},
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
    pub(crate) transfers: Transfers,
    pub(crate) metrics: Arc<DnsMetrics>,
    pub(crate) signer: Option<Signer>,
}

/// What a message came over.
#[allow(dead_code, reason = "encrypted transports come next")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Via {
    /// UDP.
    Udp,
    /// TCP (RFC 7766).
    Tcp,
    /// TLS (RFC 7858).
    Tls,
    /// HTTP/2 over TLS (RFC 8484).
    Https,
    /// QUIC (RFC 9250).
    Quic,
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Client {
    pub(crate) addr: SocketAddr,
    pub(crate) via: Via,
}

/// What goes back for one message that came on a connection.
pub(crate) enum Responses {
    /// Nothing: it was a response itself, or shorter than a header.
    None,
    /// One message.
    One(Vec<u8>),
    /// A zone transfer: messages made one at a time, as the connection takes them.
    Many(Box<dyn Iterator<Item = Vec<u8>> + Send>),
}

impl Via {
    fn protocol(self) -> Protocol {
        match self {
            Self::Udp => Protocol::Udp,
            Self::Tcp => Protocol::Tcp,
            Self::Tls => Protocol::Tls,
            Self::Https => Protocol::Https,
            Self::Quic => Protocol::Quic,
        }
    }

    fn transport(self) -> Transport {
        match self {
            Self::Udp => Transport::Datagram,
            Self::Tcp | Self::Tls | Self::Https | Self::Quic => Transport::Stream,
        }
    }
}

impl Handler {
    /// The response to a datagram, if it deserves one: bytes in, bytes out.
    pub(crate) async fn datagram(self: Arc<Self>, datagram: Vec<u8>, src: SocketAddr) -> Option<Vec<u8>> {
        match self.message(datagram, Client { addr: src, via: Via::Udp }).await {
            Responses::None => None,
            Responses::One(message) => Some(message),
            // A transfer over UDP is one message, or refused.
            Responses::Many(mut messages) => messages.next(),
        }
    }

    /// What goes back for one message: bytes in, bytes out.
    pub(crate) async fn message(self: Arc<Self>, bytes: Vec<u8>, client: Client) -> Responses {
        let Ok(header) = Header::read(&mut BinDecoder::new(&bytes)) else { return Responses::None };
        // Answering what claims to be a response, readable or not, would let two servers talk for ever.
        if header.message_type == MessageType::Response {
            return Responses::None;
        }
        let (bytes, signing) = match self.transfers.check(&bytes) {
            Checked::Unsigned => (bytes, None),
            Checked::Signed(unsigned, signing) => (unsigned, Some(signing)),
            Checked::Refused(_, refusal) => return Responses::One(refusal),
            Checked::Malformed => return Responses::One(unreadable(&header)),
        };
        if let Some(responses) = self.transfers.answer(&bytes, client, signing.as_ref(), (&self.site, &*self.source)) {
            return responses;
        }
        let Ok(header) = Header::read(&mut BinDecoder::new(&bytes)) else { return Responses::None };
        let reserved = signing.as_ref().map_or(0, Signing::byte_len);
        let response = self.one(&header, bytes, client, reserved).await;
        response.map_or(Responses::None, |mut message| {
            if let Some(mut signing) = signing {
                signing.sign(&mut message);
            }
            Responses::One(message)
        })
    }

    /// The ordinary response, which leaves `reserved` bytes for a signature.
    async fn one(&self, header: &Header, bytes: Vec<u8>, client: Client, reserved: usize) -> Option<Vec<u8>> {
        let request = match counts_are_possible(header, bytes.len()) {
            true => Request::from_bytes(bytes, client.addr, client.via.protocol()).ok(),
            false => None,
        };
        let Some(request) = request else { return Some(unreadable(header)) };
        let (fitted, sent) = self.respond(&request, client, reserved).await;
        self.metrics.response(&sent);
        fitted.encode(&request)
    }

    /// Whether a client there may have other questions forwarded (the RA bit).
    pub(crate) fn offers_recursion(&self, src: IpAddr) -> bool {
        self.forwarder.is_enabled() && is_local(src)
    }

    async fn respond(&self, request: &Request, client: Client, reserved: usize) -> (Fitted, Sent) {
        let started = Instant::now();
        let query = screen(request, client.via);
        let reply = match &query {
            Ok(query) => {
                self.metrics.request(client.via, query.qtype);
                self.reply(query, request).await
            }
            Err(refusal) => Reply::from_answer(Answer::clone(refusal), None),
        };
        let (rcode, origin) = (u16::from(reply.rcode), reply.origin);
        let fitted = reply.fit(request, query.as_ref().ok(), self.site.server_id(), reserved);
        let (bytes, truncated) = (fitted.bytes, fitted.is_truncated());
        (fitted, Sent { rcode, origin, duration_s: started.elapsed().as_secs_f64(), bytes, truncated })
    }

    async fn reply(&self, query: &Query, request: &Request) -> Reply {
        // The snapshot is let go before anything is awaited.
        let verdict = answer(query, &*self.source.view(), &self.site);
        let mut reply = match verdict {
            Verdict::Local(answer) => self.complete(self.signed(answer, query), query, request).await,
            Verdict::Elsewhere => self.forward_or_refuse(query, request).await,
        };
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

    /// Follows an alias that leads out of our zones, for clients that want it: stub resolvers do not do it themselves.
    async fn complete(&self, mut answer: Answer, query: &Query, request: &Request) -> Reply {
        let end = answer.elsewhere.take().filter(|_| self.may_forward(query, request).is_ok());
        let mut reply = Reply::from_answer(answer, asked_name(request));
        match end.and_then(|end| Name::from_bytes(end.as_wire()).ok()) {
            None => reply,
            Some(name) => match self.ask(name, query, request).await {
                Ok(message) => {
                    reply.continue_with(message);
                    reply
                }
                Err(error) => Reply::from_answer(upstream_failure(error), None),
            },
        }
    }

    async fn forward_or_refuse(&self, query: &Query, request: &Request) -> Reply {
        let name = match (self.may_forward(query, request), asked_name(request)) {
            (Ok(()), Some(name)) => name.clone(),
            (Ok(()), None) => return Reply::from_answer(malformed(), None),
            (Err(why), _) => {
                let refusal = Answer::empty(ResponseCode::Refused, Origin::Policy);
                return Reply::from_answer(Answer { ede: Some(why), ..refusal }, None);
            }
        };
        match self.ask(name, query, request).await {
            Ok(message) => Reply::from_upstream(message),
            Err(error) => Reply::from_answer(upstream_failure(error), None),
        }
    }

    async fn ask(&self, name: Name, query: &Query, request: &Request) -> Result<Message, ForwardError> {
        let question = Question {
            name,
            qtype: RecordType::from(query.qtype),
            dnssec_ok: query.dnssec_ok(),
            checking_disabled: request.metadata.checking_disabled,
        };
        self.forwarder.ask(&question).await
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
fn screen(request: &Request, via: Via) -> Result<Query, Box<Answer>> {
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
        transport: via.transport(),
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
fn counts_are_possible(header: &Header, message_bytes: usize) -> bool {
    let HeaderCounts { queries, answers, authorities, additionals } = header.counts;
    let records = usize::from(answers) + usize::from(authorities) + usize::from(additionals);
    HEADER_BYTES + usize::from(queries) * MIN_QUESTION_BYTES + records * MIN_RECORD_BYTES <= message_bytes
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

fn upstream_failure(error: ForwardError) -> Answer {
    let code = match error {
        ForwardError::Overloaded => EdeCode::Other,
        ForwardError::Unreachable => EdeCode::NoReachableAuthority,
    };
    Answer::failure(ResponseCode::ServFail, Origin::Upstream, code, error.to_string())
}

fn asked_name(request: &Request) -> Option<&Name> {
    request.queries.queries().first().map(|query| query.original().name())
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

//! One message from bytes to bytes: bounded, screened, answered, cut to size, counted.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use hickory_proto::{
    op::{Header, HeaderCounts, MessageType, Metadata, ResponseCode},
    rr::rdata::opt::EdnsCode,
    serialize::binary::{BinDecodable, BinDecoder, BinEncodable},
};
use hickory_server::server::Request;

use super::{
    screen::{Asked, malformed, screen},
    state::Handler,
};
use crate::{
    answer::{Answer, Origin},
    envelope::Envelope,
    exchange::{Client, Responses, Via},
    guard::{Standing, cookie::Cookie, scan::Claims},
    intake,
    message::{Extras, Fitted, Reply},
    metrics::Sent,
    query::MAX_UDP_BYTES,
    transfer::{Checked, Signing},
};

/// What is to go back for one message, before that is counted.
enum Draft {
    None,
    One(Vec<u8>, Sent),
    Many(Box<dyn Iterator<Item = Vec<u8>> + Send>),
}

impl Handler {
    /// The response to a datagram that was admitted, if it deserves one: bytes in, bytes out. Whoever sends it counts it,
    /// for it may turn out to be too long.
    pub(crate) async fn datagram(
        self: Arc<Self>,
        datagram: Vec<u8>,
        src: SocketAddr,
        standing: Standing,
    ) -> Option<(Vec<u8>, Sent)> {
        match self.respond_to(datagram, Client { addr: src, via: Via::Udp }, &standing).await {
            Draft::None => None,
            Draft::One(message, sent) => Some((message, sent)),
            // A transfer over UDP is one message, or refused.
            Draft::Many(mut messages) => messages.next().map(|message| {
                let sent = Sent::of(&message, Origin::Ledger);
                (message, sent)
            }),
        }
    }

    /// What goes back for one message: bytes in, bytes out.
    pub(crate) async fn message(self: Arc<Self>, bytes: Vec<u8>, client: Client) -> Responses {
        let standing = self.guard.standing(&bytes, client.addr.ip(), &self.guard.now());
        self.metrics.guard.cookie(&standing.cookie);
        match self.respond_to(bytes, client, &standing).await {
            Draft::None => Responses::None,
            Draft::One(message, sent) => {
                self.metrics.response(&sent);
                Responses::One(message)
            }
            Draft::Many(messages) => {
                let count = move |message: &Vec<u8>| self.metrics.response(&Sent::of(message, Origin::Ledger));
                Responses::Many(Box::new(messages.inspect(count)))
            }
        }
    }

    async fn respond_to(&self, bytes: Vec<u8>, client: Client, standing: &Standing) -> Draft {
        let Ok(header) = Header::read(&mut BinDecoder::new(&bytes)) else { return Draft::None };
        // Answering what claims to be a response, readable or not, would let two servers talk for ever.
        if header.message_type == MessageType::Response {
            return Draft::None;
        }
        if !intake::is_bounded(&bytes) {
            return self.refused_unread(client.via, &bytes, self.unreadable(&bytes, client));
        }
        let claims = Claims { authoritative: false, recursion_available: self.offers_recursion(client.addr.ip()) };
        let max_bytes = match client.via {
            Via::Udp => usize::from(standing.max_bytes),
            _ => usize::from(u16::MAX),
        };
        let (bytes, signing) = match self.transfers.check(&bytes, claims, max_bytes) {
            Checked::Unsigned => (bytes, None),
            Checked::Signed(unsigned, signing) => {
                drop(bytes);
                (unsigned, Some(signing))
            }
            Checked::Refused(_, refusal) => return self.refused_unread(client.via, &bytes, refusal),
            Checked::Malformed => {
                return self.refused_unread(client.via, &bytes, self.unreadable(&bytes, client));
            }
        };
        if let Some(responses) =
            self.transfers.answer(&bytes, client, signing.as_ref(), (&self.site, &*self.source, claims))
        {
            self.metrics.request(client.via, Envelope::open(&bytes).qtype());
            return transfer_draft(responses);
        }
        let Some(asked) = Asked::read(&bytes, client) else {
            return self.refused_unread(client.via, &bytes, self.unreadable(&bytes, client));
        };
        // The answer may take seconds: of the message only question, flags and EDNS stay.
        drop(bytes);
        let reserved = signing.as_ref().map_or(0, Signing::byte_len);
        let (fitted, sent) = self.respond(&asked, client, (standing, reserved)).await;
        let mut draft = fitted.encode(&asked.request).map_or(Draft::None, |message| Draft::One(message, sent));
        if let (Draft::One(message, sent), Some(mut signing)) = (&mut draft, signing) {
            signing.sign(message);
            sent.bytes = message.len();
        }
        draft
    }

    /// A refusal of a message that was not read as a whole.
    fn refused_unread(&self, via: Via, message: &[u8], refusal: Vec<u8>) -> Draft {
        self.metrics.request(via, Envelope::open(message).qtype());
        let sent = Sent::of(&refusal, Origin::Policy);
        Draft::One(refusal, sent)
    }

    /// FORMERR for what has a header and else cannot be read; with its question and an OPT record if it has those (RFC 6891
    /// §7).
    fn unreadable(&self, message: &[u8], client: Client) -> Vec<u8> {
        let Ok(header) = Header::read(&mut BinDecoder::new(message)) else { return Vec::new() };
        let envelope = Envelope::open(message);
        let mut metadata = Metadata::response_from_request(&header.metadata);
        metadata.response_code = ResponseCode::FormErr;
        metadata.checking_disabled = false;
        metadata.recursion_available = self.offers_recursion(client.addr.ip());
        let counts = HeaderCounts {
            queries: u16::from(envelope.question.is_some()),
            additionals: u16::from(envelope.options.is_some()),
            ..HeaderCounts::default()
        };
        let mut bytes = Header { metadata, counts }.to_bytes().unwrap_or_default();
        bytes.extend_from_slice(envelope.question.unwrap_or_default());
        if envelope.options.is_some() {
            let [size_0, size_1] = MAX_UDP_BYTES.to_be_bytes();
            bytes.extend_from_slice(&[0, 0, 41, size_0, size_1, 0, 0, 0, 0, 0, 0]);
        }
        bytes
    }

    /// The ordinary response, which leaves `reserved` bytes for a signature.
    async fn respond(&self, asked: &Asked, client: Client, (standing, reserved): (&Standing, usize)) -> (Fitted, Sent) {
        let started = Instant::now();
        let request = &asked.request;
        let query = match standing.cookie {
            Cookie::Malformed => Err(Box::new(malformed())),
            _ => screen(asked, client.via, &standing.cookie),
        };
        let questions = request.queries.queries();
        self.metrics.request(client.via, <&[_; 1]>::try_from(questions).ok().map(|[only]| only.query_type().into()));
        let mut reply = match &query {
            Ok(query) => self.reply(query, request).await,
            Err(refusal) => Reply::from_answer(Answer::clone(refusal), None),
        };
        // Only for those who may have it others are asked, also if all that is asked are servers of delegated names.
        reply.recursion_available = reply.origin == Origin::Upstream || self.offers_recursion(client.addr.ip());
        reply.cookie = standing.cookie_out().copied();
        if client.via == Via::Udp {
            reply.max_bytes = standing.max_bytes;
        }
        reply.settle_code(request);
        let (rcode, origin) = (u16::from(reply.rcode), reply.origin);
        let extras = Extras { reserved, ..self.extras(request, client.via) };
        let fitted = reply.fit(request, query.as_ref().ok(), self.site.server_id(), extras);
        let (bytes, truncated) = (fitted.bytes, fitted.is_truncated());
        (fitted, Sent { rcode, origin, duration_s: Some(started.elapsed().as_secs_f64()), bytes, truncated })
    }

    /// Padding where it hides something, and the idle time where it can be kept, for clients that ask (RFC 8467 §4,
    /// RFC 7828 §3.3.2).
    fn extras(&self, request: &Request, via: Via) -> Extras {
        let asks = |option| request.edns.as_ref().is_some_and(|edns| edns.option(option).is_some());
        let is_encrypted = matches!(via, Via::Tls | Via::Https | Via::Quic);
        let keeps = matches!(via, Via::Tcp | Via::Tls);
        Extras {
            padded: is_encrypted && asks(EdnsCode::Padding),
            keepalive: (keeps && asks(EdnsCode::Keepalive)).then_some(self.keepalive),
            reserved: 0,
        }
    }
}

/// The messages about a transfer, of which a refusal says nothing from the ledger.
fn transfer_draft(responses: Responses) -> Draft {
    match responses {
        Responses::None => Draft::None,
        Responses::One(message) => {
            let mut sent = Sent::of(&message, Origin::Ledger);
            if sent.rcode != u16::from(ResponseCode::NoError) {
                sent.origin = Origin::Policy;
            }
            Draft::One(message, sent)
        }
        Responses::Many(messages) => Draft::Many(messages),
    }
}

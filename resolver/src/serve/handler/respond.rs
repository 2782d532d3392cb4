//! One message from bytes to bytes: bounded, screened, answered, cut to size, counted.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use hickory_proto::{op::ResponseCode, rr::rdata::opt::EdnsCode};
use hickory_server::server::Request;

use super::{
    screen::{Asked, malformed, screen},
    state::Handler,
};
use crate::{
    dns::{
        answer::{Answer, Origin},
        flags,
        message::Message,
        writer::write,
    },
    metrics::Sent,
    out::transfer::{Checked, Signing},
    policy::guard::{Standing, cookie::Cookie, scan::Claims},
    serve::{
        intake,
        reply::{Extras, Reply},
    },
    zones::{
        exchange::{Client, Responses, Via},
        query::{MAX_UDP_BYTES, MIN_UDP_BYTES},
    },
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
        // Answering what claims to be a response, readable or not, would let two servers talk for ever.
        if Message::new(&bytes).is_none_or(|message| message.flags() & flags::QR != 0) {
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
            self.metrics.request(client.via, qtype(&bytes));
            return transfer_draft(responses);
        }
        let Some(asked) = Asked::read(&bytes, client) else {
            return self.refused_unread(client.via, &bytes, self.unreadable(&bytes, client));
        };
        // The answer may take seconds: of the message only question, flags and EDNS stay.
        drop(bytes);
        let reserved = signing.as_ref().map_or(0, Signing::byte_len);
        let Some((mut message, mut sent)) = self.respond(&asked, client, (standing, reserved)).await else {
            return Draft::None;
        };
        if let Some(mut signing) = signing {
            signing.sign(&mut message);
            sent.bytes = message.len();
        }
        Draft::One(message, sent)
    }

    /// A refusal of a message that was not read as a whole.
    fn refused_unread(&self, via: Via, message: &[u8], refusal: Vec<u8>) -> Draft {
        self.metrics.request(via, qtype(message));
        let sent = Sent::of(&refusal, Origin::Policy);
        Draft::One(refusal, sent)
    }

    /// FORMERR for what has a header and else cannot be read; with its question and an OPT record if it has those (RFC 6891
    /// §7).
    fn unreadable(&self, message: &[u8], client: Client) -> Vec<u8> {
        let Some(message) = Message::new(message) else { return Vec::new() };
        let question = message.question().map_or(&[][..], |question| question.bytes);
        let recursion_available = if self.offers_recursion(client.addr.ip()) { flags::RA } else { 0 };
        let kept = message.flags() & (flags::OPCODE | flags::RD);
        let flags = flags::QR | kept | recursion_available | u16::from(ResponseCode::FormErr);
        write(usize::from(MIN_UDP_BYTES), |writer| {
            writer.put_head(message.id(), flags, question);
            if message.opt().is_some() {
                writer.put_only_opt(MAX_UDP_BYTES, 0, None);
            }
        })
    }

    /// The ordinary response, which leaves `reserved` bytes for a signature.
    async fn respond(
        &self,
        asked: &Asked,
        client: Client,
        (standing, reserved): (&Standing, usize),
    ) -> Option<(Vec<u8>, Sent)> {
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
            Err(refusal) => Reply::from_answer(Answer::clone(refusal)),
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
        let fitted = reply.fit(request, query.as_ref().ok(), self.site.server_id(), extras)?;
        let (bytes, truncated) = (fitted.message.len(), fitted.is_truncated);
        let sent = Sent { rcode, origin, duration_s: Some(started.elapsed().as_secs_f64()), bytes, truncated };
        Some((fitted.message, sent))
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

/// The type that a message asks for, if it can be told.
fn qtype(message: &[u8]) -> Option<u16> {
    Message::new(message)?.question().map(|question| question.qtype)
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

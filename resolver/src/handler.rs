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
    op::{Edns, Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode},
    rr::{Name, rdata::opt::EdnsCode},
    serialize::binary::{BinDecodable, BinDecoder, BinEncodable},
};
use hickory_server::server::Request;
use tokio::time::timeout_at;

use crate::{
    answer::{Answer, Ede, EdeCode, Origin, Verdict, answer, answer_with_hosts, special_zone_of},
    delegation::{self, Allowance, Delegation, MAX_CUTS, MAX_LOOKED_UP},
    dname::Dname,
    envelope::Envelope,
    forward::{Authority, Forwarder, Question, Reach, rebinding, would_reach},
    guard::{
        Guard, Standing,
        cookie::Cookie,
        scan::Claims,
        signing::{OverBudget, SigningRequest},
    },
    hosts::{Audience, HostsFiles},
    intake,
    message::{Extras, Fitted, Reply},
    metrics::{DnsMetrics, Sent, guard::Refused},
    query::{ClientEdns, MAX_UDP_BYTES, Query, Recursion, Transport},
    rtype,
    sign::Signer,
    site::Site,
    source::NameSource,
    transfer::{Checked, Signing, Transfers},
};

/// The CO bit among the EDNS flags (RFC 9824 §5.1).
const COMPACT_OK: u16 = 1 << 14;
/// What is said instead of an answer whose signatures cannot be made now.
type Unsigned = Box<Reply>;

/// Answers requests.
pub(crate) struct Handler {
    pub(crate) site: Site,
    pub(crate) source: Arc<dyn NameSource>,
    pub(crate) forwarder: Forwarder,
    pub(crate) transfers: Transfers,
    pub(crate) metrics: Arc<DnsMetrics>,
    pub(crate) signer: Option<Signer>,
    pub(crate) hosts: Option<HostsFiles>,
    pub(crate) guard: Guard,
    pub(crate) delegations: Delegations,
    /// Whether answers about names of the ledger must not lead into the local network.
    pub(crate) ledger_guard: bool,
    /// How long connections may be idle, in units of 100 ms (RFC 7828).
    pub(crate) keepalive: u16,
}

/// How delegated names are treated.
pub(crate) struct Delegations {
    /// Whether their servers are asked.
    pub(crate) is_on: bool,
    /// The port of those.
    pub(crate) port: u16,
    /// Where this server listens.
    pub(crate) listen: Vec<SocketAddr>,
}

/// What a message came over.
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

/// A message as it is kept while its answer is made.
struct Asked {
    request: Request,
    /// Whether its EDNS options do not add up.
    has_damaged_options: bool,
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

/// What is to go back for one message, before that is counted.
enum Draft {
    None,
    One(Vec<u8>, Sent),
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

    /// Whether a client there may have other questions forwarded (the RA bit).
    pub(crate) fn offers_recursion(&self, src: IpAddr) -> bool {
        self.forwarder.is_enabled() && self.guard.may_forward(src)
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

    /// What an answer to `message` says of itself if nobody looks for what it is about: AA for names of our zones and
    /// special-use names, RA as always.
    pub(crate) fn claims(&self, message: &[u8], client: IpAddr) -> Claims {
        let question = Envelope::open(message).question.unwrap_or_default();
        let is_ours = |name: &Dname| self.site.zone_of(name).is_some() || special_zone_of(name).is_some();
        Claims {
            authoritative: Dname::split_wire(question).is_ok_and(|(name, _)| is_ours(&name)),
            recursion_available: self.offers_recursion(client),
        }
    }

    async fn reply(&self, query: &Query, request: &Request) -> Reply {
        if !self.guard.may_ask(request.src().ip()) {
            self.metrics.guard.refused(Refused::Query);
            let text = "clients at this address are not served";
            return Reply::from_answer(refused(Ede { code: EdeCode::Prohibited, text: text.into() }), None);
        }
        let outcome = match self.verdict(query, request.src().ip()) {
            Verdict::Local(answer) if answer.origin == Origin::Special && self.is_opened(query, request) => {
                self.ask(&query.name, query, request).await
            }
            Verdict::Local(answer) => self.local(answer, query, request).await,
            Verdict::Elsewhere => self.forward_or_refuse(query, request).await,
        };
        let mut reply = match outcome {
            Ok(answer) => Reply::from_answer(answer, asked_name(request)),
            Err(reply) => *reply,
        };
        // Only for those who understand it: they set DO, or AD itself (RFC 6840 §5.8).
        reply.authentic_data &= query.dnssec_ok() || request.metadata.authentic_data;
        reply
    }

    /// What our own sources say; the snapshot is let go again.
    fn verdict(&self, query: &Query, client: IpAddr) -> Verdict {
        let (view, site) = (self.source.view(), &self.site);
        match (&self.hosts, self.audience(client)) {
            (Some(files), Some(audience)) => answer_with_hosts(query, &*view, site, files.load().told_to(audience)),
            _ => answer(query, &*view, site),
        }
    }

    /// As whom a client hears what HOSTS files say: they are about this house, so strangers hear nothing.
    pub(crate) fn audience(&self, client: IpAddr) -> Option<Audience> {
        let client = client.to_canonical();
        match self.guard.may_forward(client) {
            true if client.is_loopback() => Some(Audience::ThisMachine),
            true => Some(Audience::House),
            false => None,
        }
    }

    /// With signatures, if the client wants them and there is a key. The AD bit stays clear: it says that a resolver has
    /// validated, and we have not; whoever trusts us without validating trusts the AA bit as well (RFC 4035 §3.1.6). CD
    /// is for resolvers that validate: nothing here depends on it, and [`Reply::fit`] clears it.
    ///
    /// New signatures have a budget. A datagram beyond it is told to come by TCP; a query that came on a connection waits
    /// for its turn, and fails at once when that would take too long.
    async fn signed(&self, answer: Answer, query: &Query, src: IpAddr) -> Result<Answer, Unsigned> {
        let wants_signatures = query.dnssec_ok() && answer.origin == Origin::Ledger;
        let Some(signer) = self.signer.as_ref().filter(|_| wants_signatures) else { return Ok(answer) };
        // A clock before 1970 is as wrong as any: validators refuse the signatures.
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let authoritative = answer.authoritative;
        let begun = signer.begin(answer, query, &self.site, now_s);
        let wanted = SigningRequest { src, transport: query.transport, signatures: begun.missing() };
        let Err(OverBudget) = self.guard.wait_to_sign(&wanted).await else { return Ok(signer.finish(begun)) };
        self.metrics.guard.unsigned(query.transport);
        Err(Box::new(match query.transport {
            Transport::Datagram => Reply { authoritative, ..Reply::come_by_tcp(Origin::Ledger) },
            Transport::Stream => {
                let text = "too many signatures to make; ask again later";
                let failure = Answer::failure(ResponseCode::ServFail, Origin::Policy, EdeCode::Other, text);
                Reply::from_answer(failure, None)
            }
        }))
    }

    /// What we answer by ourselves, to the end of its aliases, as it may be seen outside. Where an alias leads is up to
    /// the owner of the name, so the answer is looked at as a whole, whoever gave its parts.
    async fn local(&self, mut answer: Answer, query: &Query, request: &Request) -> Result<Answer, Unsigned> {
        let may_be_local = self.may_be_local(&query.name, answer.origin);
        // Before it is signed, too: what is withheld needs no signatures. A referral that this client does not get to see
        // leads nowhere by itself.
        let stays_here = self.resolves(query, request.src().ip()) && Delegation::is_in(&answer);
        if !may_be_local && !stays_here && self.forwarder.withhold(&mut answer) {
            return Ok(answer);
        }
        let answer = self.settled(answer, query, request, (MAX_CUTS, &Allowance::new())).await?;
        let mut answer = self.complete(answer, query, request).await?;
        if !may_be_local {
            self.forwarder.withhold(&mut answer);
        }
        Ok(answer)
    }

    /// What our own sources say, signed; where that is a referral and this client leaves the rest to us, what the
    /// delegated servers say, through at most `cuts_left` delegations.
    async fn settled(
        &self,
        mut answer: Answer,
        query: &Query,
        request: &Request,
        (cuts_left, allowance): (usize, &Allowance),
    ) -> Result<Answer, Unsigned> {
        let src = request.src().ip();
        let delegation = self.resolves(query, src).then(|| Delegation::take(&mut answer, &query.name)).flatten();
        let Some(delegation) = delegation else { return self.signed(answer, query, src).await };
        let start = if answer.answer.is_empty() { answer } else { self.signed(answer, query, src).await? };
        // Boxed: it may come here again.
        let mut rest = Box::pin(self.ask_servers(&delegation, query, request, (cuts_left, allowance))).await;
        if let Some(end) = rest.elsewhere.take() {
            let ours = Query { name: end, ..query.clone() };
            let seen = rest.answer.iter().any(|set| set.owner == ours.name);
            match self.verdict(&ours, src) {
                Verdict::Local(next) if cuts_left > 1 && !seen => {
                    let next = Box::pin(self.settled(next, &ours, request, (cuts_left - 1, allowance))).await?;
                    rest = join(rest, next);
                }
                _ => rest = delegation.failure(EdeCode::Other, "its aliases lead through too many delegations"),
            }
        }
        Ok(match rest.rcode {
            ResponseCode::ServFail => rest,
            _ if start.answer.is_empty() => rest,
            _ => join(start, rest),
        })
    }

    /// Whether a client leaves it to us to ask the servers of a delegated name.
    fn resolves(&self, query: &Query, client: IpAddr) -> bool {
        query.recursion == Recursion::Desired && self.guard.may_forward(client)
    }

    /// What the servers of a delegation say about its name, or why they say nothing.
    async fn ask_servers(
        &self,
        delegation: &Delegation,
        query: &Query,
        request: &Request,
        (cuts_left, allowance): (usize, &Allowance),
    ) -> Answer {
        if !self.delegations.is_on {
            let why = "dns.resolve_delegated is off: ask its servers yourself";
            return delegation.failure(EdeCode::NotSupported, why);
        }
        let mut addresses = delegation.addresses.clone();
        if addresses.is_empty() {
            addresses = self.look_up_servers(delegation, query, request, (cuts_left, allowance)).await;
        }
        let reach = if self.ledger_guard { Reach::Outside } else { Reach::Anywhere };
        let may_be_asked = |address: &IpAddr| {
            let socket = SocketAddr::new(address.to_canonical(), self.delegations.port);
            delegation::can_be_asked(*address)
                && !(reach == Reach::Outside && rebinding::is_inside(*address))
                && !would_reach(socket, &self.delegations.listen)
        };
        let servers = delegation::sockets(addresses.into_iter().filter(may_be_asked), self.delegations.port);
        if servers.is_empty() {
            let why = "no name server of it has an address that can be asked";
            return delegation.failure(EdeCode::NoReachableAuthority, why);
        }
        let question = Question {
            name: delegation.name.clone(),
            qtype: query.qtype,
            dnssec_ok: query.dnssec_ok(),
            checking_disabled: request.metadata.checking_disabled,
            authority: None,
        };
        let authority = Authority::new(delegation.cut.clone(), servers);
        let asking = self.forwarder.ask_delegated(&question, request.src().ip(), authority, reach);
        let Ok(answer) = timeout_at(allowance.deadline, asking).await else {
            return delegation.failure(EdeCode::NoReachableAuthority, "asking its servers takes too long");
        };
        let says_nothing = answer.answer.is_empty() && answer.authority.is_empty() && answer.ede.is_none();
        match answer.rcode {
            // Neither data nor a reason why there is none (RFC 2308 §2.2).
            ResponseCode::NoError if says_nothing && answer.elsewhere.is_none() => {
                delegation.failure(EdeCode::NoReachableAuthority, "its servers refer to others or say nothing")
            }
            ResponseCode::NoError | ResponseCode::NXDomain | ResponseCode::YXDomain => answer,
            ResponseCode::ServFail => {
                let why = answer.ede.map_or("its servers fail".into(), |ede| ede.text);
                delegation.failure(EdeCode::NoReachableAuthority, &format!("asking its servers failed: {why}"))
            }
            code => delegation.failure(EdeCode::NoReachableAuthority, &format!("its servers say {code}")),
        }
    }

    /// The addresses of name servers that are not with the delegation: names of the ledger by what it says, others by
    /// the ordinary routes.
    async fn look_up_servers(
        &self,
        delegation: &Delegation,
        query: &Query,
        request: &Request,
        (cuts_left, allowance): (usize, &Allowance),
    ) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        let others = delegation.name_servers.iter().filter(|name| !name.is_within(&delegation.cut));
        for (server, qtype) in others.take(MAX_LOOKED_UP).flat_map(|name| [(name, rtype::A), (name, rtype::AAAA)]) {
            if !allowance.take_lookup() {
                break;
            }
            let asked = Query { name: server.clone(), qtype, edns: None, ..query.clone() };
            let found = match self.verdict(&asked, request.src().ip()) {
                Verdict::Local(found) if cuts_left > 1 => {
                    Box::pin(self.settled(found, &asked, request, (cuts_left - 1, allowance))).await.ok()
                }
                Verdict::Local(_) => None,
                Verdict::Elsewhere => {
                    let (dnssec_ok, checking_disabled) = (false, false);
                    let question =
                        Question { name: server.clone(), qtype, dnssec_ok, checking_disabled, authority: None };
                    let asking = self.forwarder.ask_for(&question, request.src().ip());
                    timeout_at(allowance.deadline, asking).await.ok()
                }
            };
            let sets = found.into_iter().flat_map(|found| found.answer);
            addresses.extend(sets.flat_map(|set| delegation::addresses_of(&set)));
            if !addresses.is_empty() {
                break;
            }
        }
        addresses
    }

    /// Whether what we say about a name that was asked for may lead into the local network. Names of others are the
    /// forwarder's affair, and what a HOSTS file says about the name itself is the operator's word.
    fn may_be_local(&self, asked: &Dname, origin: Origin) -> bool {
        let key = asked.as_wire().strip_suffix(b"\0").unwrap_or_default();
        // Its origin says already that this client hears of it.
        let is_in_file =
            || self.hosts.as_ref().is_some_and(|files| files.load().told_to(Audience::ThisMachine).has(key));
        !self.ledger_guard || self.site.zone_of(asked).is_none() || (origin == Origin::Hosts && is_in_file())
    }

    /// Follows an alias that leads out of our zones, for clients that want it: stub resolvers do not do it themselves.
    /// The code is that of the last name, the AA bit that of the first (RFC 6604).
    async fn complete(&self, mut answer: Answer, query: &Query, request: &Request) -> Result<Answer, Unsigned> {
        let end = answer.elsewhere.take().filter(|_| self.may_forward(query, request).is_ok());
        let Some(end) = end else { return Ok(answer) };
        let rest = self.ask(&end, query, request).await?;
        Ok(match rest.origin {
            // Nobody was asked.
            Origin::Policy => answer,
            _ if rest.rcode == ResponseCode::ServFail => rest,
            _ => join(answer, rest),
        })
    }

    async fn forward_or_refuse(&self, query: &Query, request: &Request) -> Result<Answer, Unsigned> {
        match self.may_forward(query, request) {
            Ok(()) => self.ask(&query.name, query, request).await,
            Err(why) => {
                if why.code == EdeCode::Prohibited {
                    self.metrics.guard.refused(Refused::Forward);
                }
                Ok(refused(why))
            }
        }
    }

    /// Whether a rule of the operator sends a special-use name elsewhere, for this client.
    fn is_opened(&self, query: &Query, request: &Request) -> bool {
        self.forwarder.opens(&query.name) && self.may_forward(query, request).is_ok()
    }

    /// What upstreams say about `name`. Where they point to a name of ours, we speak for ourselves, but only once: an
    /// alias from there out again is left to the client.
    async fn ask(&self, name: &Dname, query: &Query, request: &Request) -> Result<Answer, Unsigned> {
        let question = Question {
            name: name.clone(),
            qtype: query.qtype,
            dnssec_ok: query.dnssec_ok(),
            checking_disabled: request.metadata.checking_disabled,
            authority: None,
        };
        let mut answer = self.forwarder.ask_for(&question, request.src().ip()).await;
        let Some(end) = answer.elsewhere.take() else { return Ok(answer) };
        let ours = Query { name: end, ..query.clone() };
        if let Verdict::Local(rest) = self.verdict(&ours, request.src().ip()) {
            let rest = self.settled(rest, &ours, request, (MAX_CUTS, &Allowance::new())).await?;
            answer = join(answer, Answer { elsewhere: None, ..rest });
            self.forwarder.guard(&query.name, &mut answer);
        }
        Ok(answer)
    }

    /// Whether this client's question may be passed on; if not, what to say. An open forwarder is an amplifier and a
    /// cache for strangers to poison, so only clients that the guard knows are served.
    fn may_forward(&self, query: &Query, request: &Request) -> Result<(), Ede> {
        let (code, text) = match query.recursion {
            _ if !self.forwarder.is_enabled() => (EdeCode::NotAuthoritative, "not our zone, and forwarding is off"),
            Recursion::NotDesired => (EdeCode::NotAuthoritative, "not our zone, and recursion was not asked for"),
            Recursion::Desired if !self.guard.may_forward(request.src().ip()) => {
                (EdeCode::Prohibited, "not our zone, and clients at this address are not forwarded for")
            }
            Recursion::Desired => return Ok(()),
        };
        Err(Ede { code, text: text.into() })
    }
}

impl Asked {
    /// Reads what counts of a message, and keeps no more of it. `None` if it is damaged.
    fn read(bytes: &[u8], client: Client) -> Option<Self> {
        let reduced = intake::reduced(bytes)?;
        let has_damaged_options = Envelope::open(&reduced).is_damaged();
        let lean = (!has_damaged_options).then(|| intake::lean(&reduced)).flatten();
        let parse = |bytes| Request::from_bytes(bytes, client.addr, client.via.protocol()).ok();
        // What is wrong with an option is found before options are left out.
        let whole = parse(reduced)?;
        let request = match lean {
            Some(lean) => parse(lean)?,
            None => whole,
        };
        Some(Self { request, has_damaged_options })
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

/// Takes the question out of a request, or says what else there is to say, mostly what is wrong with it.
fn screen(asked: &Asked, via: Via, cookie: &Cookie) -> Result<Query, Box<Answer>> {
    let request = &asked.request;
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
    if asked.has_damaged_options {
        return Err(Box::new(malformed()));
    }
    // RFC 9619: a query has exactly one question, or none if it is about a cookie.
    let question = match request.queries.queries() {
        [question] => question,
        [] => return refuse(without_question(cookie)),
        _ => return refuse(ResponseCode::FormErr),
    };
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

/// The answer to a query without a question, with which clients learn a cookie or see whether theirs is good (RFC 7873
/// §5.4).
fn without_question(cookie: &Cookie) -> ResponseCode {
    match cookie {
        Cookie::Absent | Cookie::Malformed => ResponseCode::FormErr,
        Cookie::Fresh(_) | Cookie::Valid(_) => ResponseCode::NoError,
        Cookie::Invalid(_) => ResponseCode::BADCOOKIE,
    }
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

fn malformed() -> Answer {
    Answer::empty(ResponseCode::FormErr, Origin::Policy)
}

fn refused(why: Ede) -> Answer {
    Answer { ede: Some(why), ..Answer::empty(ResponseCode::Refused, Origin::Policy) }
}

/// The beginning of a chain of aliases, and where it ends.
fn join(mut start: Answer, rest: Answer) -> Answer {
    start.answer.extend(rest.answer);
    Answer { answer: start.answer, authoritative: start.authoritative, authentic: false, origin: start.origin, ..rest }
}

fn asked_name(request: &Request) -> Option<&Name> {
    request.queries.queries().first().map(|query| query.original().name())
}

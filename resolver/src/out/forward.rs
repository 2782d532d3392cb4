//! Questions that are not ours, asked of configured upstreams.
//!
//! ```text
//! question ─→ routes (may it leave? to whom?) ─→ cache ─→ flight (asked once) ─→ pool ─→ upstream ─→ link
//!                 answer ←─ cache ←─ rebinding guard ←─ scrub ←──────────────────────────────────────┘
//! ```
//!
//! - [`Target`]: how upstreams are written. UDP, TCP, TLS, HTTPS and QUIC.
//! - A name of the ledger never leaves, a special-use name only by a rule of its own (the last gate is here, whatever
//!   callers have checked).
//! - Of what comes back only the answer to the question is kept, unless it leads into the local network. An alias whose
//!   end is missing is followed, each target by its own route.
//! - Record data passes as bytes; no other code than ours reads responses.
//! - What the servers of a delegated name say is validated (`validation`, `secure`) if its zone is signed.
//! - What was known is served again when upstreams fail (RFC 8767).
//!
//! Bounded: [`MAX_FLIGHTS`] questions under way, [`MAX_ATTEMPTS`] attempts waiting for a response and [`MAX_RESENDS`]
//! datagrams sent again, [`MAX_CLIENTS`] clients waiting, [`TOTAL`] for each question, and the cache in bytes. No client
//! and no pool keeps others out. Whatever happens, there is an [`Answer`].

mod cache;
mod clock;
mod delegated;
mod flight;
mod habits;
mod health;
mod link;
mod link_error;
mod pool;
mod question;
pub(crate) mod rebinding;
mod referral;
mod request;
mod response;
mod routes;
mod scrub;
mod secure;
mod system;
mod tls;
mod upstream;
mod validation;

use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use hickory_proto::op::ResponseCode;
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    dns::{
        answer::{Answer, Origin},
        ede::EdeCode,
        message::Message,
        name::Dname,
        rtype,
    },
    metrics::{DnsMetrics, ForwardResult, forwarding::Lookup},
    policy::config::{ConfigError, DnsConfig},
    zones::hosts::{Audience, Hosts},
};
use cache::{Cache, Found, Source};
use delegated::Delegated;
use flight::{Asker, Boarding, Client, Flight, Flights, Landing, Waiting};
use pool::{Answered, Member, Pool, PoolError};
use response::Response;
use routes::{NoRoute, Route, Routes};
use upstream::{Context, SystemServers, Upstream};

pub use crate::metrics::forwarding::ForwardMetrics;
pub use crate::policy::target::{Protocol, Server, Target, TargetError};
pub use cache::{FAILURE_TTL_S, MAX_ENTRY_BYTES, MAX_NEGATIVE_TTL_S, MAX_TTL_S, STALE_TTL_S};
pub use clock::Clock;
pub(crate) use delegated::Reach;
pub use flight::{MAX_CLIENTS, MAX_FLIGHTS};
pub use question::{Authority, Question};

/// The most attempts that wait for a response, each at one upstream: one for each question, the others for second
/// upstreams. Over UDP each holds a socket for up to two seconds.
///
/// Together with [`MAX_RESENDS`] these are 384 sockets. Of the usual limit of 1,024 open files, clients' connections may
/// take 512 and peers 80.
pub const MAX_ATTEMPTS: usize = 320;
/// The most questions that are being sent again over UDP because a datagram may have been lost. Each holds one more
/// socket. When all are silent it is not datagrams that were lost, and sending again is of no use.
pub const MAX_RESENDS: usize = 64;
/// The most answers that are being prefetched: clients come first.
pub const MAX_PREFETCHES: usize = 32;
/// The most answers that are found not to be what their zone says before that is told.
const MAX_BOGUS: usize = 2;
/// The most aliases followed by routes of their own for one question.
const MAX_FOLLOWED: usize = 8;
/// Time for one question, all upstreams together: stub resolvers give up after 5 seconds.
pub const TOTAL: Duration = Duration::from_secs(4);

/// Asks upstreams.
#[derive(Clone)]
pub struct Forwarder {
    inner: Arc<Inner>,
}

struct Inner {
    routes: Routes,
    delegated: Delegated,
    cache: Cache,
    flights: Flights,
    waiting: Waiting,
    prefetches: Arc<Semaphore>,
    settings: Settings,
    clock: Clock,
    metrics: Arc<DnsMetrics>,
    hosts: Option<Arc<ArcSwap<Hosts>>>,
}

struct Settings {
    is_enabled: bool,
    prefetch: bool,
    rebinding_guard: bool,
    domain_needed: bool,
    stale_after: Duration,
}

impl Forwarder {
    /// A forwarder as configured. Nothing is sent before the first question.
    pub fn new(config: &DnsConfig, metrics: Arc<DnsMetrics>) -> Result<Self, ConfigError> {
        Self::with_clock(config, metrics, Clock::of_the_world())
    }

    /// The same; `clock` tells how old cached answers are.
    pub fn with_clock(config: &DnsConfig, metrics: Arc<DnsMetrics>, clock: Clock) -> Result<Self, ConfigError> {
        Self::build(config, metrics, clock, None)
    }

    /// The same, for a resolver that answers from HOSTS files, too: answers of upstreams must not lead there.
    pub(crate) fn with_hosts(
        config: &DnsConfig,
        metrics: Arc<DnsMetrics>,
        hosts: Option<Arc<ArcSwap<Hosts>>>,
    ) -> Result<Self, ConfigError> {
        Self::build(config, metrics, Clock::of_the_world(), hosts)
    }

    fn build(
        config: &DnsConfig,
        metrics: Arc<DnsMetrics>,
        clock: Clock,
        hosts: Option<Arc<ArcSwap<Hosts>>>,
    ) -> Result<Self, ConfigError> {
        let forward = &config.forward;
        let builder = Builder::new(config, metrics.clone(), clock.clone())?;
        let delegated = Delegated::new(&builder.context);
        let routes = builder.routes(config)?;
        let is_enabled = config.forwards();
        Ok(Self {
            inner: Arc::new(Inner {
                routes,
                delegated,
                cache: Cache::new(forward.cache_bytes, forward.max_stale_s),
                flights: Flights::default(),
                waiting: Waiting::default(),
                prefetches: Arc::new(Semaphore::new(MAX_PREFETCHES)),
                settings: Settings {
                    is_enabled,
                    prefetch: forward.prefetch,
                    rebinding_guard: forward.rebinding_guard,
                    domain_needed: forward.domain_needed,
                    stale_after: Duration::from_millis(forward.stale_after_ms),
                },
                clock,
                metrics,
                hosts,
            }),
        })
    }

    /// Whether there is anybody to ask.
    pub fn is_enabled(&self) -> bool {
        self.inner.settings.is_enabled
    }

    /// Whether a rule sends this special-use name to an upstream.
    pub fn opens(&self, name: &Dname) -> bool {
        self.inner.routes.route(name).is_ok()
    }

    /// The answer of upstreams, or of the cache. A failure is an answer too, with an extended error that says why.
    ///
    /// If an alias leads to a name of the ledger, the answer ends there and [`Answer::elsewhere`] is that name.
    pub async fn ask(&self, question: &Question) -> Answer {
        self.ask_as(question, Client::Own).await
    }

    /// The same for a client at `address`, which has its share of what can be under way.
    pub(crate) async fn ask_for(&self, question: &Question, address: IpAddr) -> Answer {
        self.ask_as(question, address.into()).await
    }

    async fn ask_as(&self, question: &Question, client: Client) -> Answer {
        let route = match self.inner.routes.route(&question.name) {
            Ok(route) if self.inner.is_for_nobody(question, &route) => return single_label(),
            Ok(route) => route,
            Err(reason) => return refused(reason),
        };
        let is_guarded = self.inner.guards(&route);
        let mut answer = self.answer(question, route, client).await;
        // Not before it is kept: files change.
        let is_asked_about = is_guarded && self.inner.hosts.is_some();
        if is_asked_about && rebinding::withhold_targets(&mut answer, |name| self.inner.is_in_hosts(name)) {
            self.inner.metrics.forwarding.blocked();
        }
        answer
    }

    async fn answer(&self, question: &Question, route: Route, client: Client) -> Answer {
        let found = match self.inner.cache.find(question, self.inner.clock.now_ms()) {
            // Where a zone has moved to, and whether it is signed now, is asked anew.
            Found::Stale { answer, .. } if referral::is_in(&answer) => Found::Nothing,
            found => found,
        };
        match found {
            Found::Fresh { answer, expires_soon } => {
                if expires_soon && self.inner.settings.prefetch {
                    self.prefetch(question, route);
                }
                self.inner.metrics.forwarding.lookup(Lookup::Hit);
                answer
            }
            Found::Stale { answer, recently_failed: true } => self.stale(answer),
            Found::Stale { answer: stale, recently_failed: false } => {
                match timeout(self.inner.settings.stale_after, self.fetch(question, route, client)).await {
                    Ok(answer) if !cache::is_failure(&answer) || is_bogus(question, &answer) => answer,
                    _ => self.stale(stale),
                }
            }
            Found::Nothing => self.fetch(question, route, client).await,
        }
    }

    /// Empties an answer to `asked` that leads into the local network, unless it may. For answers that are put together
    /// from more than one source.
    pub(crate) fn guard(&self, asked: &Dname, answer: &mut Answer) {
        let is_exempt = !self.inner.settings.rebinding_guard || self.inner.routes.may_be_local(asked);
        if !is_exempt && self.inner.withhold(Some(asked), answer) {
            self.inner.metrics.forwarding.blocked();
        }
    }

    /// Empties an answer of strangers, who are allowed nothing, that leads into the local network, and says whether it
    /// did.
    pub(crate) fn withhold(&self, answer: &mut Answer) -> bool {
        self.inner.withhold(None, answer)
    }

    /// Drops the answers about `name` and what is below it, those of the servers that it is delegated to included, and
    /// those that an alias led there. Without a name all answers go, and what was learnt of servers: how fast they are,
    /// which are dead, and what they cannot take. Gives how many answers went.
    ///
    /// What is under way then is for those who wait already. It is not kept, and whoever asks from now on asks anew.
    pub fn flush(&self, name: Option<&Dname>) -> usize {
        // First: what an earlier question brings must not come into the cache behind this.
        self.inner.flights.overtake();
        let gone = self.inner.cache.flush(name);
        if name.is_none() {
            self.inner.routes.pools().for_each(|pool| pool.forget());
            self.inner.delegated.forget();
        }
        self.inner.metrics.forwarding.cache_size(self.inner.cache.size());
        gone
    }

    /// What is believed of a message that came as the response to `question`, before aliases are followed; `None` if it
    /// cannot be read. Nobody is asked, and nothing is kept.
    pub fn judge(&self, question: &Question, message: &[u8]) -> Option<Answer> {
        let mut response = Response::read(&Message::new(message)?, question).ok()?;
        let mut answer = self.inner.believed(question, &mut response);
        cache::limit_absence(&mut answer);
        self.guard(&question.name, &mut answer);
        Some(answer)
    }

    fn stale(&self, answer: Answer) -> Answer {
        self.inner.metrics.forwarding.lookup(Lookup::Stale);
        answer
    }

    /// Asks upstreams, or waits for somebody who does.
    async fn fetch(&self, question: &Question, route: Route, client: Client) -> Answer {
        let Some(_place) = self.inner.waiting.enter(client) else { return self.overloaded() };
        let landing = match self.inner.flights.board(question, asker(&route, client)) {
            Boarding::Leader(flight, landing) => {
                self.inner.metrics.forwarding.lookup(Lookup::Miss);
                // A task of its own: the answer is for the cache too, even if this client goes away.
                tokio::spawn(self.inner.clone().fly(flight, route));
                landing
            }
            Boarding::Waiter(landing) => {
                self.inner.metrics.forwarding.lookup(Lookup::Joined);
                landing
            }
            Boarding::Full => return self.overloaded(),
        };
        arrival(landing).await
    }

    fn prefetch(&self, question: &Question, route: Route) {
        let Ok(permit) = self.inner.prefetches.clone().try_acquire_owned() else { return };
        // If somebody is asking already, or too many are, that is good enough.
        if let Boarding::Leader(flight, _) = self.inner.flights.board(question, asker(&route, Client::Own)) {
            self.inner.metrics.forwarding.prefetch();
            let flying = self.inner.clone().fly(flight, route);
            tokio::spawn(async move {
                flying.await;
                drop(permit);
            });
        }
    }

    fn overloaded(&self) -> Answer {
        self.inner.metrics.forward(ForwardResult::Overloaded);
        failure(EdeCode::Other, "too many questions are waiting for upstreams")
    }
}

impl Forwarder {
    /// The answer of the servers that a name is delegated to, or of the cache: as [`Forwarder::ask`]. All of them may be
    /// asked, each when those before it take longer than usual. An empty list is answered with a failure. What they say may
    /// be a referral to a zone further below, with its DS records if what they say is checked and that zone is signed.
    pub(crate) async fn ask_delegated(
        &self,
        question: &Question,
        client: IpAddr,
        authority: Authority,
        reach: Reach,
    ) -> Answer {
        let pool = self.inner.delegated.pool(&authority.servers);
        let question = &Question { authority: Some(Arc::new(authority)), ..question.clone() };
        let route = Route { pool, is_rule: true, may_be_local: reach == Reach::Anywhere };
        Answer { authentic: false, ..self.answer(question, route, client.into()).await }
    }
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder").finish_non_exhaustive()
    }
}

impl Inner {
    /// Asks upstreams and keeps what they say.
    async fn fly(self: Arc<Self>, mut flight: Flight, route: Route) {
        let question = flight.question().clone();
        let outcome = tokio::select! {
            outcome = timeout(TOTAL, self.resolve(&question, &route)) => {
                outcome.unwrap_or(Err(PoolError::Unreachable))
            }
            () = flight.cut() => Err(PoolError::Overloaded),
        };
        let (answer, source, result) = match outcome {
            Ok((answer, source)) => (answer, source, ForwardResult::Answered),
            Err(error @ PoolError::Overloaded) => (unanswered(error), Source::Upstream, ForwardResult::Overloaded),
            Err(error) => (unanswered(error), Source::Upstream, ForwardResult::Unreachable),
        };
        self.metrics.forward(result);
        if result != ForwardResult::Overloaded {
            flight.unless_overtaken(|| self.keep(&question, &answer, source));
        }
        flight.land(answer);
    }

    /// The answer of upstreams to the end of its aliases.
    async fn resolve(self: &Arc<Self>, question: &Question, route: &Route) -> Result<(Answer, Source), PoolError> {
        let mut answer = self.ask_pool(question, &route.pool).await?;
        for _ in 0..MAX_FOLLOWED {
            let Some(target) = scrub::bare_alias(question, &answer) else { break };
            let Ok(next) = self.routes.route(&target) else { break };
            let asked = Question { name: target, authority: None, ..question.clone() };
            if self.is_for_nobody(&asked, &next) {
                break;
            }
            let rest = self.ask_pool(&asked, &next.pool).await?;
            if cache::is_failure(&rest) {
                return Ok((rest, Source::Upstream));
            }
            let is_end = rest.answer.is_empty();
            answer.answer.extend(rest.answer);
            // What is left of it are proofs about the alias.
            let authority = [rest.authority, answer.authority].concat();
            answer = Answer { answer: answer.answer, authority, authentic: false, ..rest };
            if is_end {
                break;
            }
        }
        cache::limit_absence(&mut answer);
        // Where a referral leads is up to whoever follows it.
        let is_told = !referral::is_in(&answer);
        if is_told && self.guards(route) && self.withhold(Some(&question.name), &mut answer) {
            self.metrics.forwarding.blocked();
            return Ok((answer, Source::Withheld));
        }
        Ok((answer, Source::Upstream))
    }

    async fn ask_pool(self: &Arc<Self>, question: &Question, pool: &Arc<Pool>) -> Result<Answer, PoolError> {
        if let Some(authority) = &question.authority {
            return self.ask_authority(question, authority, pool).await;
        }
        let Answered { mut response, is_trusted, .. } = pool.ask(question).await?;
        let mut answer = self.believed(question, &mut response);
        answer.authentic = is_trusted && response.authentic_data && answer.elsewhere.is_none();
        Ok(answer)
    }

    /// What a response says about the question, and nothing else.
    fn believed(&self, question: &Question, response: &mut Response) -> Answer {
        let cut = question.authority.as_ref().map(|authority| &authority.cut);
        if let Some(cut) = cut {
            response.keep_within(cut);
        }
        let mut answer = scrub::scrub(question, response, |name| self.is_ours(name));
        if let Some(cut) = cut {
            scrub::end_at(cut, question, &mut answer);
        }
        answer
    }

    /// What the servers of a delegated name say, checked if its zone is signed and the client leaves that to us: an answer,
    /// or a referral to servers further below with the DS records of their zone.
    async fn ask_authority(
        self: &Arc<Self>,
        question: &Question,
        authority: &Arc<Authority>,
        pool: &Arc<Pool>,
    ) -> Result<Answer, PoolError> {
        let is_checked = validation::is_signed(&authority.signers) && !question.checking_disabled;
        let asked = &Question { dnssec_ok: question.dnssec_ok || is_checked, ..question.clone() };
        // One server with old signatures does not make a zone bogus.
        let (mut tried, mut last) = (Vec::new(), None);
        loop {
            let answered = match pool.ask_others(asked, &tried).await {
                Ok(answered) => answered,
                Err(error) => return last.ok_or(error),
            };
            let mut response = answered.response;
            let mut answer;
            if let Some(referral) = referral::read(asked, &response) {
                if !is_checked {
                    return Ok(referral);
                }
                answer = self.checked_referral(authority, referral, pool).await;
            } else {
                answer = self.believed(asked, &mut response);
                disown_reason(&mut answer);
                if !is_checked {
                    return Ok(answer);
                }
                let proofs = scrub::proofs(asked, &response);
                answer = self.checked(asked, authority, answer, (&proofs, pool)).await;
                validation::strip(question, &mut answer);
            }
            if !is_bogus(question, &answer) || tried.len() >= MAX_BOGUS {
                return Ok(answer);
            }
            tried.push(answered.from);
            last = Some(answer);
        }
    }

    fn is_ours(&self, name: &Dname) -> bool {
        self.routes.ours.iter().any(|zone| name.is_within(zone))
    }

    fn guards(&self, route: &Route) -> bool {
        self.settings.rebinding_guard && !route.may_be_local
    }

    fn withhold(&self, asked: Option<&Dname>, answer: &mut Answer) -> bool {
        rebinding::withhold(asked, answer, |name| self.routes.is_inner(name) || self.is_in_hosts(name))
    }

    fn is_in_hosts(&self, name: &Dname) -> bool {
        self.hosts.as_ref().is_some_and(|hosts| hosts.load().told_to(Audience::ThisMachine).leads_inside(name))
    }

    /// Whether a question is about the address of a name without dots, which is no affair of upstreams: such names are
    /// of the local network, and public ones have no addresses.
    fn is_for_nobody(&self, question: &Question, route: &Route) -> bool {
        let is_address = matches!(question.qtype, rtype::A | rtype::AAAA | rtype::SVCB | rtype::HTTPS);
        self.settings.domain_needed && !route.is_rule && is_address && question.name.labels().count() == 1
    }

    /// A failure never takes the place of an answer that can still be served.
    fn keep(&self, question: &Question, answer: &Answer, source: Source) {
        let now_ms = self.clock.now_ms();
        let has_better = cache::is_failure(answer)
            && match self.cache.find(question, now_ms) {
                Found::Fresh { .. } => true,
                Found::Stale { .. } => !is_bogus(question, answer),
                Found::Nothing => false,
            };
        match has_better {
            true => self.cache.postpone(question, now_ms),
            false => self.cache.keep(question, answer, source, now_ms),
        }
        self.metrics.forwarding.cache_size(self.cache.size());
    }
}

/// Whether we have found an answer of delegated servers not to be what its zone says. What was right before is no better:
/// the zone may have changed since.
fn is_bogus(question: &Question, answer: &Answer) -> bool {
    let is_checked = question.authority.as_ref().is_some_and(|authority| validation::is_signed(&authority.signers));
    is_checked && cache::is_failure(answer) && answer.ede.as_ref().is_some_and(|ede| ede.code.is_of_validation())
}

/// Takes codes about validation from a failure: those are ours to say, and servers of a zone validate nothing.
fn disown_reason(answer: &mut Answer) {
    if let Some(ede) = answer.ede.as_mut().filter(|ede| ede.code.is_of_validation()) {
        ede.code = EdeCode::Other;
    }
}

fn asker(route: &Route, client: Client) -> Asker {
    Asker { pool: route.pool.share(), client }
}

async fn arrival(landing: Landing) -> Answer {
    flight::wait(landing).await.unwrap_or_else(|| unanswered(PoolError::Unreachable))
}

fn unanswered(error: PoolError) -> Answer {
    match error {
        PoolError::Unreachable => failure(EdeCode::NoReachableAuthority, "no upstream answered"),
        PoolError::Network => failure(EdeCode::NetworkError, "no upstream could be asked"),
        PoolError::Odd => failure(EdeCode::NetworkError, "what upstreams sent is no answer"),
        PoolError::Lame => failure(EdeCode::NoReachableAuthority, "the upstreams refer to others and ask nobody"),
        PoolError::Overloaded => failure(EdeCode::Other, "too many questions are waiting for upstreams"),
    }
}

fn failure(code: EdeCode, text: &'static str) -> Answer {
    Answer::failure(ResponseCode::ServFail, Origin::Upstream, code, text)
}

/// "No data", not "no such name": that would speak about what is below, and about name servers. Without SOA nobody keeps
/// it.
fn single_label() -> Answer {
    let text = "names without dots are not asked upstream (dns.forward.domain_needed)";
    Answer::failure(ResponseCode::NoError, Origin::Policy, EdeCode::Blocked, text)
}

fn refused(reason: NoRoute) -> Answer {
    let (code, text) = match reason {
        NoRoute::Ours | NoRoute::Special => (EdeCode::Prohibited, "this name is never forwarded"),
        NoRoute::Refused => (EdeCode::Blocked, "a rule of this server refuses this name"),
        NoRoute::Uncovered => (EdeCode::NotAuthoritative, "not our zone, and no rule forwards this name"),
    };
    Answer::failure(ResponseCode::Refused, Origin::Policy, code, text)
}

/// From the configuration to routes. An upstream that is named twice is one.
struct Builder {
    context: Arc<Context>,
    known: HashMap<Server, Arc<Upstream>>,
}

impl Builder {
    fn new(config: &DnsConfig, metrics: Arc<DnsMetrics>, clock: Clock) -> Result<Self, ConfigError> {
        let is_encrypted = |target: &Target| matches!(target, Target::Server(server) if server.is_encrypted());
        let forward = &config.forward;
        let rules = forward.rules.iter().map(|rule| rule.targets()).collect::<Result<Vec<_>, _>>()?;
        let targets = config.targets()?;
        let needs_tls = forward.ca_file.is_some() || targets.iter().chain(rules.iter().flatten()).any(is_encrypted);
        let tls = needs_tls.then(|| tls::client(forward.ca_file.as_deref())).transpose()?;
        let spare_attempts = Arc::new(Semaphore::new(MAX_ATTEMPTS - MAX_FLIGHTS - delegated::PLACES));
        let case_randomization = forward.case_randomization;
        let resends = Arc::new(Semaphore::new(MAX_RESENDS - delegated::PLACES));
        let context = Arc::new(Context { metrics, tls, case_randomization, clock, spare_attempts, resends });
        Ok(Self { context, known: HashMap::new() })
    }

    fn routes(mut self, config: &DnsConfig) -> Result<Routes, ConfigError> {
        let mut rules = HashMap::new();
        for rule in &config.forward.rules {
            let wire = rule.name()?.as_wire().to_vec();
            let pool = self.pool(rule.targets()?, config);
            rules.insert(wire[..wire.len() - 1].to_vec(), pool);
        }
        let default = self.pool(config.targets()?, config);
        Ok(Routes { ours: config.zones()?, rules, default, allowed: config.forward.allowed()? })
    }

    fn pool(&mut self, targets: Vec<Target>, config: &DnsConfig) -> Option<Arc<Pool>> {
        let members: Vec<Member> = targets.into_iter().map(|target| self.member(target, config)).collect();
        (!members.is_empty()).then(|| Arc::new(Pool::new(members, self.context.clone())))
    }

    fn member(&mut self, target: Target, config: &DnsConfig) -> Member {
        let context = &self.context;
        match target {
            Target::System => {
                let path = config.forward.resolv_conf.clone();
                Member::System(SystemServers::new(path, config.listen.clone(), context.clone()))
            }
            Target::Server(server) => {
                let new = || Upstream::new(server.clone(), &server.to_string(), context);
                Member::Fixed(self.known.entry(server.clone()).or_insert_with(new).clone())
            }
        }
    }
}

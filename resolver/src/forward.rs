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
//! - Of what comes back only the answer to the question is kept, unless it leads into the local network.
//! - What was known is served again when upstreams fail (RFC 8767).
//!
//! Bounded: [`MAX_FLIGHTS`] questions under way, [`MAX_ATTEMPTS`] attempts waiting for a response and [`MAX_RESENDS`]
//! datagrams sent again, [`MAX_CLIENTS`] clients waiting, [`TOTAL`] for each question, and the cache in bytes. Whatever
//! happens, there is an [`Answer`].

mod cache;
mod clock;
mod delegated;
mod flight;
mod health;
mod link;
mod pool;
pub(crate) mod rebinding;
mod routes;
mod scrub;
mod system;
mod target;
mod tls;
mod upstream;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use hickory_proto::op::ResponseCode;
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    answer::{Answer, EdeCode, Origin},
    config::{ConfigError, DnsConfig},
    dname::Dname,
    metrics::{DnsMetrics, ForwardResult, forwarding::Lookup},
};
use cache::{Cache, Found};
use delegated::Delegated;
use flight::{Boarding, Flight, Flights, Landing};
use pool::{Member, Pool, PoolError, Response};
use routes::{NoRoute, Route, Routes};
use upstream::{Context, SystemServers, Upstream};

pub use crate::metrics::forwarding::ForwardMetrics;
pub use cache::{FAILURE_TTL_S, MAX_ENTRY_BYTES, MAX_NEGATIVE_TTL_S, MAX_TTL_S, STALE_TTL_S};
pub use clock::Clock;
pub(crate) use delegated::Reach;
pub use flight::MAX_FLIGHTS;
pub(crate) use system::would_reach;
pub use target::{Protocol, Server, Target, TargetError};

/// The most attempts that wait for a response, each at one upstream. Over UDP each holds a socket for up to two seconds.
///
/// Together with [`MAX_RESENDS`] these are 384 sockets. Of the usual limit of 1,024 open files, clients' connections may
/// take 512 and peers 80.
pub const MAX_ATTEMPTS: usize = 320;
/// The most questions that are being sent again over UDP because a datagram may have been lost. Each holds one more
/// socket. When all are silent it is not datagrams that were lost, and sending again is of no use.
pub const MAX_RESENDS: usize = 64;
/// The most clients that wait for answers; each is a task of a few kilobytes.
pub const MAX_CLIENTS: usize = 4_096;
/// The most answers that are being prefetched: clients come first.
pub const MAX_PREFETCHES: usize = 32;
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
    clients: Semaphore,
    prefetches: Arc<Semaphore>,
    settings: Settings,
    clock: Clock,
    metrics: Arc<DnsMetrics>,
}

struct Settings {
    is_enabled: bool,
    prefetch: bool,
    rebinding_guard: bool,
    stale_after: Duration,
}

/// A question to pass on, in class IN, recursion desired.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Question {
    /// Name.
    pub name: Dname,
    /// Type.
    pub qtype: u16,
    /// The client's DO bit.
    pub dnssec_ok: bool,
    /// The client's CD bit.
    pub checking_disabled: bool,
}

impl Forwarder {
    /// A forwarder as configured. Nothing is sent before the first question.
    pub fn new(config: &DnsConfig, metrics: Arc<DnsMetrics>) -> Result<Self, ConfigError> {
        Self::with_clock(config, metrics, Clock::monotonic())
    }

    /// The same; `clock` tells how old cached answers are.
    pub fn with_clock(config: &DnsConfig, metrics: Arc<DnsMetrics>, clock: Clock) -> Result<Self, ConfigError> {
        let forward = &config.forward;
        let builder = Builder::new(config, metrics.clone(), clock.clone())?;
        let delegated = Delegated::new(builder.context.clone());
        let routes = builder.routes(config)?;
        let is_enabled = config.forwards();
        Ok(Self {
            inner: Arc::new(Inner {
                routes,
                delegated,
                cache: Cache::new(forward.cache_bytes, forward.max_stale_s),
                flights: Flights::default(),
                clients: Semaphore::new(MAX_CLIENTS),
                prefetches: Arc::new(Semaphore::new(MAX_PREFETCHES)),
                settings: Settings {
                    is_enabled,
                    prefetch: forward.prefetch,
                    rebinding_guard: forward.rebinding_guard,
                    stale_after: Duration::from_millis(forward.stale_after_ms),
                },
                clock,
                metrics,
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
        let route = match self.inner.routes.route(&question.name) {
            Ok(route) => route,
            Err(reason) => return refused(reason),
        };
        self.answer(question, route).await
    }

    async fn answer(&self, question: &Question, route: Route) -> Answer {
        match self.inner.cache.find(question, self.inner.clock.now_ms()) {
            Found::Fresh { answer, expires_soon } => {
                if expires_soon && self.inner.settings.prefetch {
                    self.prefetch(question, route);
                }
                self.inner.metrics.forwarding.lookup(Lookup::Hit);
                answer
            }
            Found::Stale { answer, recently_failed: true } => self.stale(answer),
            Found::Stale { answer: stale, recently_failed: false } => {
                match timeout(self.inner.settings.stale_after, self.fetch(question, route)).await {
                    Ok(answer) if !cache::is_failure(&answer) => answer,
                    _ => self.stale(stale),
                }
            }
            Found::Nothing => self.fetch(question, route).await,
        }
    }

    /// Empties an answer to `asked` that leads into the local network, unless it may. For answers that are put together
    /// from more than one source.
    pub(crate) fn guard(&self, asked: &Dname, answer: &mut Answer) {
        let is_exempt = !self.inner.settings.rebinding_guard || self.inner.routes.may_be_local(asked);
        if !is_exempt && rebinding::withhold(answer) {
            self.inner.metrics.forwarding.blocked();
        }
    }

    fn stale(&self, answer: Answer) -> Answer {
        self.inner.metrics.forwarding.lookup(Lookup::Stale);
        answer
    }

    /// Asks upstreams, or waits for somebody who does.
    async fn fetch(&self, question: &Question, route: Route) -> Answer {
        let Ok(_permit) = self.inner.clients.try_acquire() else { return self.overloaded() };
        let landing = match self.inner.flights.board(question) {
            Boarding::Pilot(flight, landing) => {
                self.inner.metrics.forwarding.lookup(Lookup::Miss);
                // A task of its own: the answer is for the cache too, even if this client goes away.
                tokio::spawn(self.inner.clone().fly(flight, route));
                landing
            }
            Boarding::Passenger(landing) => {
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
        if let Boarding::Pilot(flight, _) = self.inner.flights.board(question) {
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

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder").finish_non_exhaustive()
    }
}

impl Inner {
    /// Asks upstreams and keeps what they say.
    async fn fly(self: Arc<Self>, flight: Flight, route: Route) {
        let question = flight.question();
        let outcome = timeout(TOTAL, route.pool.ask(question)).await.unwrap_or(Err(PoolError::Unreachable));
        let (answer, result) = match outcome {
            Ok(response) => (self.read(question, &response, &route), ForwardResult::Answered),
            Err(error @ PoolError::Overloaded) => (unanswered(error), ForwardResult::Overloaded),
            Err(error) => (unanswered(error), ForwardResult::Unreachable),
        };
        self.metrics.forward(result);
        if result != ForwardResult::Overloaded {
            self.keep(question, &answer);
        }
        flight.land(answer);
    }

    fn read(&self, question: &Question, response: &Response, route: &Route) -> Answer {
        let is_ours = |name: &Dname| self.routes.ours.iter().any(|zone| name.is_within(zone));
        let mut answer = scrub::scrub(question, &response.message, is_ours);
        cache::limit_absence(&mut answer);
        answer.authentic =
            response.is_trusted && response.message.metadata.authentic_data && answer.elsewhere.is_none();
        let is_guarded = self.settings.rebinding_guard && !route.may_be_local;
        if is_guarded && rebinding::withhold(&mut answer) {
            self.metrics.forwarding.blocked();
        }
        answer
    }

    /// A failure never takes the place of an answer that can still be served.
    fn keep(&self, question: &Question, answer: &Answer) {
        let now_ms = self.clock.now_ms();
        let has_better = cache::is_failure(answer) && self.cache.find(question, now_ms) != Found::Nothing;
        match has_better {
            true => self.cache.postpone(question, now_ms),
            false => self.cache.keep(question, answer, now_ms),
        }
        self.metrics.forwarding.cache_size(self.cache.size());
    }
}

async fn arrival(landing: Landing) -> Answer {
    flight::wait(landing).await.unwrap_or_else(|| unanswered(PoolError::Unreachable))
}

fn unanswered(error: PoolError) -> Answer {
    match error {
        PoolError::Unreachable => failure(EdeCode::NoReachableAuthority, "no upstream answered"),
        PoolError::Network => failure(EdeCode::NetworkError, "no upstream could be asked"),
        PoolError::Overloaded => failure(EdeCode::Other, "too many questions are waiting for upstreams"),
    }
}

fn failure(code: EdeCode, text: &'static str) -> Answer {
    Answer::failure(ResponseCode::ServFail, Origin::Upstream, code, text)
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
        let attempts = Arc::new(Semaphore::new(MAX_ATTEMPTS));
        let case_randomization = forward.case_randomization;
        let resends = Arc::new(Semaphore::new(MAX_RESENDS));
        let context = Arc::new(Context { metrics, tls, case_randomization, clock, attempts, resends });
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

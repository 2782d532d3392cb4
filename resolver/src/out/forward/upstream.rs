//! One upstream: the way to it, how well it does, and probing it while it is dead.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use tokio::{runtime::Handle, sync::Semaphore, task::AbortHandle, time::sleep};
use tracing::{debug, info};

use super::{
    Question, clock::Clock, health::Health, link::Link, link_error::LinkError, request::Letters, response::Response,
    system,
};
use crate::{
    dns::{name::Dname, rtype},
    metrics::{DnsMetrics, forwarding::UpstreamMetrics},
    policy::{
        config::CaseRandomization,
        target::{Role, Server},
    },
    zones::inside,
};

/// How often the machine's name servers are looked up, in milliseconds, while they are used.
const SYSTEM_INTERVAL_MS: u64 = 5_000;
/// The label of all of the machine's name servers in metrics: they change, and labels must not.
const SYSTEM_LABEL: &str = "system";

/// What upstreams have in common.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) metrics: Arc<DnsMetrics>,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) case_randomization: CaseRandomization,
    pub(super) clock: Clock,
    /// Attempts beyond the first of each question, and those that go on after their question was answered; each may hold
    /// a socket.
    pub(super) spare_attempts: Arc<Semaphore>,
    /// Datagrams sent again; each holds one more.
    pub(super) resends: Arc<Semaphore>,
}

/// One upstream.
pub(super) struct Upstream {
    server: Server,
    link: Arc<Link>,
    health: Mutex<Health>,
    // Only while it is dead.
    probe: Mutex<Option<AbortHandle>>,
    metrics: UpstreamMetrics,
}

impl Upstream {
    pub(super) fn new(server: Server, label: &str, context: &Context) -> Arc<Self> {
        let is_near = server.addresses().iter().all(|address| inside::is_inside(address.ip()));
        let letters = match context.case_randomization {
            CaseRandomization::Never => Letters::Lower,
            // Nobody forges blindly from within the own network, and what stands there is old.
            CaseRandomization::Public if is_near => Letters::Lower,
            CaseRandomization::Public | CaseRandomization::Always => Letters::Mixed,
        };
        let Context { tls, resends, clock, .. } = context;
        let link = Link::new(server.clone(), letters, tls.clone(), resends.clone(), clock.clone());
        let metrics = context.metrics.forwarding.upstream(label);
        Arc::new(Self { server, link, health: Mutex::default(), probe: Mutex::default(), metrics })
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    pub(super) fn health(&self) -> MutexGuard<'_, Health> {
        // Its state is plain numbers: nothing can be half done.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was learnt of it: how fast it is, whether it is dead, what it cannot take.
    pub(super) fn forget(&self) {
        self.link.forget();
        let mut health = self.health();
        *health = Health::default();
        if self.server.role() == Role::Recursive {
            self.metrics.up.set(1);
        }
        drop(health);
        // If it is still dead, another one begins.
        if let Some(probe) = self.probe().take() {
            probe.abort();
        }
    }

    fn probe(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        self.probe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and learns from how it went.
    pub(super) async fn ask(self: Arc<Self>, question: &Question) -> Result<Response, LinkError> {
        let began = Instant::now();
        let outcome = self.link.ask(question).await;
        match &outcome {
            Ok(response) => self.answered(began.elapsed(), response),
            Err(error) => {
                debug!(upstream = %self.server, %error, "upstream failed");
                self.metrics.failed.inc();
                if error.is_silence() {
                    self.was_silent();
                }
            }
        }
        outcome
    }

    /// Notes that nothing came from the upstream in the time of an attempt. What it says, however odd, is no reason to
    /// think it dead.
    pub(super) fn was_silent(self: &Arc<Self>) {
        let mut health = self.health();
        // Who is an authority for a name is its owner's choice: nobody is to be probed, or the log filled, by that.
        let is_news = health.failed() && self.server.role() == Role::Recursive;
        if is_news {
            self.metrics.up.set(0);
        }
        drop(health);
        if is_news {
            info!(upstream = %self.server, "upstream is dead");
            // Attempts also end when the whole runtime does.
            if let Ok(runtime) = Handle::try_current() {
                *self.probe() = Some(runtime.spawn(probe(Arc::downgrade(self))).abort_handle());
            }
        }
    }

    fn answered(&self, took: Duration, response: &Response) {
        match response.is_refusal() {
            true => self.metrics.refused.inc(),
            false => self.metrics.answered.inc(),
        }
        let (was_dead, usual) = {
            let mut health = self.health();
            (health.answered(took), health.usual())
        };
        self.metrics.seconds.set(usual.as_secs_f64());
        if was_dead && self.server.role() == Role::Recursive {
            info!(upstream = %self.server, "upstream is back");
            self.metrics.up.set(1);
        }
    }
}

/// Asks a dead upstream now and then until it answers, whatever the answer. No client waits for this.
async fn probe(upstream: Weak<Upstream>) {
    // The name servers of the root: every resolver has them at hand, and they tell nobody anything.
    let question =
        Question { name: Dname::root(), qtype: rtype::NS, dnssec_ok: false, checking_disabled: false, authority: None };
    loop {
        let Some(rest) = upstream.upgrade().and_then(|upstream| upstream.health().rest()) else { return };
        sleep(rest).await;
        let Some(upstream) = upstream.upgrade() else { return };
        let began = Instant::now();
        match upstream.link.ask(&question).await {
            Ok(response) => return upstream.answered(began.elapsed(), &response),
            Err(error) if error.is_silence() => upstream.health().probe_failed(),
            // It is there.
            Err(_) => return upstream.answered(began.elapsed(), &Response::default()),
        }
    }
}

/// The machine's name servers, looked up again while they are used.
pub(super) struct SystemServers {
    path: PathBuf,
    listen: Vec<SocketAddr>,
    context: Arc<Context>,
    current: ArcSwap<Vec<Arc<Upstream>>>,
    checked_ms: AtomicU64,
}

impl SystemServers {
    pub(super) fn new(path: PathBuf, listen: Vec<SocketAddr>, context: Arc<Context>) -> Self {
        let checked_ms = AtomicU64::new(context.clock.now_ms());
        let servers = Self { path, listen, context, current: ArcSwap::default(), checked_ms };
        servers.look();
        servers
    }

    pub(super) fn current(&self) -> Arc<Vec<Arc<Upstream>>> {
        let (now_ms, checked_ms) = (self.context.clock.now_ms(), self.checked_ms.load(Ordering::Relaxed));
        let is_due = now_ms.saturating_sub(checked_ms) >= SYSTEM_INTERVAL_MS;
        let exchange = |to| self.checked_ms.compare_exchange(checked_ms, to, Ordering::Relaxed, Ordering::Relaxed);
        if is_due && exchange(now_ms).is_ok() {
            self.look();
        }
        self.current.load_full()
    }

    /// Looks them up now, and forgets what was learnt of them.
    pub(super) fn forget(&self) {
        self.look();
        self.current.load().iter().for_each(|upstream| upstream.forget());
    }

    fn look(&self) {
        let addresses = system::servers(&self.path, &self.listen);
        let current = self.current.load();
        if current.iter().flat_map(|upstream| upstream.server.addresses()).eq(&addresses) {
            return;
        }
        let shown: Vec<_> = addresses.iter().map(|address| address.to_string()).collect();
        info!(servers = %shown.join(" "), "name servers of this machine that are asked");
        let upstream = |address| Upstream::new(Server::plain(address), SYSTEM_LABEL, &self.context);
        self.current.store(Arc::new(addresses.into_iter().map(upstream).collect()));
    }
}

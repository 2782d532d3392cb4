//! Whether the tip is to be believed, brought to everybody whose work depends on it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use resolver::{Readiness, SharedTable};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tracing::{error, info};

use crate::{
    chain::ChainHandle,
    health::{Health, Judge, Moment, Rules, State, unix_ms, unix_s},
    miner::Conditions,
    sync::Verdict,
};

/// How often the age of the tip is looked at, and the clocks are compared.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a node may be offline before that is an alarm (LIGHT.md D.6).
const OFFLINE_ALARM: Duration = Duration::from_secs(2 * 86_400);

/// Since when the node is offline.
struct Offline {
    since: Instant,
    is_told: bool,
}

/// The channels to those parts.
pub(super) struct Signals {
    conditions: watch::Sender<Conditions>,
    synced: watch::Sender<bool>,
    health: watch::Sender<Health>,
}

impl Signals {
    pub(super) fn new() -> Self {
        Self {
            conditions: watch::Sender::new(Conditions::default()),
            synced: watch::Sender::new(false),
            health: watch::Sender::new(Health::default()),
        }
    }

    /// For the miner.
    pub(super) fn conditions(&self) -> watch::Receiver<Conditions> {
        self.conditions.subscribe()
    }

    /// For the operations.
    pub(super) fn synced(&self) -> watch::Receiver<bool> {
        self.synced.subscribe()
    }

    /// For everybody who tells.
    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }
}

/// Both clocks, the monotonic one since it was made.
pub(super) struct Clocks {
    started: Instant,
}

impl Clocks {
    pub(super) fn start() -> Self {
        Self { started: Instant::now() }
    }

    fn now(&self) -> Moment {
        let monotonic_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Moment { monotonic_ms, unix_ms: unix_ms() }
    }
}

/// Where the facts come from.
pub(super) struct Facts {
    pub(super) verdicts: watch::Receiver<Verdict>,
    pub(super) chain: ChainHandle,
    /// Whether the resolver's table holds all names. If nobody says so any more, it does not, and the others are told
    /// what they need all the same.
    pub(super) filled: watch::Receiver<bool>,
}

/// Runs until the network or the chain stops.
pub(super) async fn follow(signals: Signals, rules: Rules, facts: Facts, table: Arc<SharedTable>) {
    let Facts { mut verdicts, chain, mut filled } = facts;
    let (clocks, mut judge, mut tips) = (Clocks::start(), Judge::new(rules), chain.watch());
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_fed, mut offline_since) = (true, None);
    loop {
        let verdict = *verdicts.borrow_and_update();
        let tip = tips.borrow_and_update().clone();
        let is_filled = *filled.borrow_and_update() && is_fed;
        let health = judge.judge(clocks.now(), &tip, &verdict);
        tell(&signals, verdict, health);
        raise_alarm(&mut offline_since, health, Instant::now());
        table.set_peers(u32::try_from(verdict.peers).unwrap_or(u32::MAX));
        table.set_readiness(readiness(health, is_filled));
        tokio::select! {
            changed = verdicts.changed() => if changed.is_err() { return },
            changed = tips.changed() => if changed.is_err() { return },
            changed = filled.changed(), if is_fed => is_fed = changed.is_ok(),
            _ = looks.tick() => {}
        }
    }
}

fn tell(signals: &Signals, verdict: Verdict, health: Health) {
    // Not the health: where all nodes think that their tip is too old, somebody has to find the next one.
    let conditions =
        Conditions { synced: verdict.is_synced(), peers: verdict.peers, clock_is_off: verdict.clock_alarm };
    signals.conditions.send_if_modified(|old| std::mem::replace(old, conditions) != conditions);
    let mut before = health.state;
    signals.health.send_if_modified(|old| {
        before = old.state;
        std::mem::replace(old, health) != health
    });
    signals.synced.send_if_modified(|old| std::mem::replace(old, health.is_synced()) != health.is_synced());
    if before != health.state {
        let now = unix_s();
        info!(
            state = health.state.as_str(),
            synced = health.is_synced(),
            height = health.height,
            target_height = health.target_height,
            tip_age_s = health.tip_age_s(now),
            peers = health.peers,
            agreeing_networks = health.witnesses,
            "sync state"
        );
    }
}

/// Says once that the node has been cut off for long: what its user should know before its names expire.
fn raise_alarm(offline_since: &mut Option<Offline>, health: Health, now: Instant) {
    if health.state != State::Offline {
        *offline_since = None;
        return;
    }
    let offline = offline_since.get_or_insert(Offline { since: now, is_told: false });
    if !offline.is_told && now.saturating_duration_since(offline.since) >= OFFLINE_ALARM {
        offline.is_told = true;
        error!(alarm = "offline", tip_age_s = health.tip_age_s(unix_s()), "no peer has answered for two days");
    }
}

fn readiness(health: Health, is_filled: bool) -> Readiness {
    if health.is_synced() && is_filled {
        return Readiness::Ready;
    }
    let Health { height, target_height, .. } = health;
    Readiness::NotReady { height, target: Some(target_height).filter(|target| *target > height) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ledger::testing::params_with;
    use tokio::time::timeout;

    use super::*;
    use crate::{
        chain::{ChainOptions, ChainService, ServiceOptions},
        mempool::Limits,
        store::Store,
        sync::Company,
    };

    const DEADLINE: Duration = Duration::from_secs(20);

    /// The miner must not go on by the last verdict because names cannot be read.
    #[tokio::test]
    async fn verdicts_are_told_without_a_table() {
        let params = params_with(|_| {});
        let store = Store::in_memory(params).expect("memory opens");
        let chain = ChainOptions { threads: 1, ..ChainOptions::single_threaded() };
        let options = ServiceOptions { chain, mempool: Limits::default(), workers: 1, clock: || 4_000_000_000 };
        let chain = ChainService::start(store, params, options).expect("starts");
        let table = Arc::new(SharedTable::new(120));
        let signals = Signals::new();
        let (mut synced, conditions) = (signals.synced(), signals.conditions());
        let (verdict, verdicts) = watch::channel(Verdict { synced: true, ..Verdict::default() });
        let (is_filled, filled) = watch::channel(true);
        let facts = Facts { verdicts, chain: chain.handle(), filled };
        let rules = Rules::of(params, Company::Solo);
        let following = tokio::spawn(follow(signals, rules, facts, table.clone()));
        timeout(DEADLINE, synced.wait_for(|synced| *synced)).await.expect("in time").expect("it runs");
        drop(is_filled);
        verdict.send_replace(Verdict { synced: true, peers: 3, ..Verdict::default() });
        let mut told = conditions;
        timeout(DEADLINE, told.wait_for(|told| told.peers == 3)).await.expect("in time").expect("it runs");
        verdict.send_replace(Verdict::default());
        timeout(DEADLINE, synced.wait_for(|synced| !synced)).await.expect("in time").expect("it runs");
        drop(verdict);
        timeout(DEADLINE, following).await.expect("it ends with the network").expect("no panic");
        assert!(matches!(resolver::NameView::facts(&*table.table()).readiness, Readiness::NotReady { .. }));
        chain.shutdown().await;
    }

    #[test]
    fn being_offline_for_two_days_is_said_once() {
        let (start, mut since) = (Instant::now(), None);
        let at = |since: &mut Option<Offline>, hours: u64, state| {
            let health = Health { state, ..Health::default() };
            raise_alarm(since, health, start + Duration::from_secs(hours * 3_600));
            since.as_ref().is_some_and(|offline| offline.is_told)
        };
        assert!(!at(&mut since, 0, State::Offline) && !at(&mut since, 47, State::Offline));
        assert!(at(&mut since, 48, State::Offline) && at(&mut since, 50, State::Offline));
        assert!(!at(&mut since, 51, State::Quiet) && !at(&mut since, 52, State::Offline));
        assert!(!at(&mut since, 99, State::Offline) && at(&mut since, 100, State::Offline));
    }
}

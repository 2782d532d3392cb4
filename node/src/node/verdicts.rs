//! Whether the tip is to be believed, brought to everybody whose work depends on it.

use std::sync::Arc;

use resolver::{Readiness, SharedTable};
use tokio::sync::watch;
use tracing::info;

use crate::{chain::ChainHandle, miner::Conditions, sync::Verdict};

/// The channels to those parts.
pub(super) struct Signals {
    conditions: watch::Sender<Conditions>,
    synced: watch::Sender<bool>,
}

impl Signals {
    pub(super) fn new() -> Self {
        Self { conditions: watch::Sender::new(Conditions::default()), synced: watch::Sender::new(false) }
    }

    /// For the miner.
    pub(super) fn conditions(&self) -> watch::Receiver<Conditions> {
        self.conditions.subscribe()
    }

    /// For the operations.
    pub(super) fn synced(&self) -> watch::Receiver<bool> {
        self.synced.subscribe()
    }
}

/// Runs until the network stops. `filled` says whether the resolver's table holds all names; if nobody says so any more,
/// it does not, and the others are told what they need all the same.
pub(super) async fn follow(
    signals: Signals,
    mut verdicts: watch::Receiver<Verdict>,
    chain: ChainHandle,
    table: Arc<SharedTable>,
    mut filled: watch::Receiver<bool>,
) {
    let mut is_fed = true;
    loop {
        let verdict = *verdicts.borrow_and_update();
        let is_filled = *filled.borrow_and_update() && is_fed;
        tell(&signals, verdict);
        table.set_peers(u32::try_from(verdict.peers).unwrap_or(u32::MAX));
        table.set_readiness(readiness(verdict, is_filled, &chain));
        tokio::select! {
            changed = verdicts.changed() => if changed.is_err() { return },
            changed = filled.changed(), if is_fed => is_fed = changed.is_ok(),
        }
    }
}

fn tell(signals: &Signals, verdict: Verdict) {
    let synced = verdict.is_synced();
    let conditions = Conditions { synced, peers: verdict.peers, clock_is_off: verdict.clock_alarm };
    signals.conditions.send_if_modified(|old| std::mem::replace(old, conditions) != conditions);
    if signals.synced.send_if_modified(|old| std::mem::replace(old, synced) != synced) {
        info!(synced, target_height = verdict.target_height, peers = verdict.peers, "sync state");
    }
}

fn readiness(verdict: Verdict, is_filled: bool, chain: &ChainHandle) -> Readiness {
    if verdict.is_synced() && is_filled {
        return Readiness::Ready;
    }
    let height = chain.tip().height;
    Readiness::NotReady { height, target: Some(verdict.target_height).filter(|target| *target > height) }
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
        let following = tokio::spawn(follow(signals, verdicts, chain.handle(), table.clone(), filled));
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
}

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

/// Runs until the network stops. `filled` says whether the resolver's table holds all names.
pub(super) async fn follow(
    signals: Signals,
    mut verdicts: watch::Receiver<Verdict>,
    chain: ChainHandle,
    table: Arc<SharedTable>,
    mut filled: watch::Receiver<bool>,
) {
    loop {
        let verdict = *verdicts.borrow_and_update();
        let is_filled = *filled.borrow_and_update();
        tell(&signals, verdict);
        table.set_peers(u32::try_from(verdict.peers).unwrap_or(u32::MAX));
        table.set_readiness(readiness(verdict, is_filled, &chain));
        tokio::select! {
            changed = verdicts.changed() => if changed.is_err() { return },
            changed = filled.changed() => if changed.is_err() { return },
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

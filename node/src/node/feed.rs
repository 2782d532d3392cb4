//! Keeps the resolver's table equal to the chain's names.

use std::{sync::Arc, thread};

use ledger::{name::Name, params::Params, state::NameState};
use resolver::{Entry, Filling, Life, SharedTable};
use tokio::sync::{broadcast, watch};
use tracing::{error, info, warn};

use crate::{
    chain::{ChainEvent, ChainHandle, Tip},
    store::{StoreError, TipRow},
};

/// The most threads that read names. More wait for the disk or for memory.
const MAX_FILL_THREADS: usize = 8;

/// Runs until the chain stops. `filled` becomes true when the table holds everything.
pub(super) async fn run(
    params: &'static Params,
    chain: ChainHandle,
    table: Arc<SharedTable>,
    filled: watch::Sender<bool>,
) {
    loop {
        // Subscribed before the table is filled, so that nothing falls between the two.
        let events = chain.events();
        filled.send_replace(false);
        let start = match fill(params, &chain, &table).await {
            Ok(start) => start,
            Err(error) => return error!(%error, "names cannot be read; DNS stays not ready"),
        };
        let mut feed = Feed { params, table: &table, events };
        let Some(pending) = feed.pending() else {
            warn!("the chain ran ahead while DNS read the names; the table is filled again");
            continue;
        };
        let from = pending.iter().rposition(|event| tip_of(event).is_some_and(|tip| tip.hash == start.hash));
        pending.iter().skip(from.map_or(0, |index| index + 1)).for_each(|event| feed.apply(event));
        filled.send_replace(true);
        info!(height = start.height, names = chain.tip().name_count, "DNS table filled");
        if feed.follow().await.is_none() {
            return;
        }
        warn!("DNS missed events of the chain; the table is filled again");
    }
}

/// Reads all names into the empty table; gives the block that they are as of.
pub async fn fill(
    params: &'static Params,
    chain: &ChainHandle,
    table: &Arc<SharedTable>,
) -> Result<TipRow, StoreError> {
    let (reader, table, tip) = (chain.reader(), table.clone(), chain.tip());
    let filling = tokio::task::spawn_blocking(move || {
        table.clear();
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_FILL_THREADS);
        let mut fillings = Filling::shared_among(threads, params.block_interval);
        let row = reader.for_each_name(&mut fillings, |filling, state| {
            filling.push(&state.name, &entry(params, &state));
        })?;
        let time = reader.header(&row.hash)?.map_or(tip.time, |placed| placed.header.core.time);
        table.publish_all(row.height, time, Filling::joined(fillings));
        Ok(row)
    });
    filling.await.map_err(|error| StoreError::Io { message: error.to_string() })?
}

struct Feed<'a> {
    params: &'static Params,
    table: &'a SharedTable,
    events: broadcast::Receiver<Arc<ChainEvent>>,
}

impl Feed<'_> {
    /// What happened while the table was filled; `None` if so much did that some of it was missed.
    fn pending(&mut self) -> Option<Vec<Arc<ChainEvent>>> {
        let mut events = Vec::new();
        loop {
            match self.events.try_recv() {
                Ok(event) => events.push(event),
                Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => {
                    return Some(events);
                }
                Err(broadcast::error::TryRecvError::Lagged(_)) => return None,
            }
        }
    }

    /// Applies events until the chain stops (`None`) or some were missed.
    async fn follow(&mut self) -> Option<()> {
        loop {
            match self.events.recv().await {
                Ok(event) => self.apply(&event),
                Err(broadcast::error::RecvError::Lagged(_)) => return Some(()),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    fn apply(&self, event: &ChainEvent) {
        match event {
            ChainEvent::Connected(block) => self.publish(&block.tip, &block.changes),
            ChainEvent::Disconnected(block) => self.publish(&block.tip, &block.changes),
            ChainEvent::TransactionAdded(_) | ChainEvent::TransactionRemoved { .. } | ChainEvent::Alarm(_) => {}
        }
    }

    fn publish(&self, tip: &Tip, changes: &[(Name, Option<NameState>)]) {
        let changes = changes.iter().map(|(name, state)| {
            let entry = state.as_ref().map(|state| entry(self.params, state));
            (name.clone(), entry)
        });
        self.table.publish(tip.height, tip.time, changes);
    }
}

fn tip_of(event: &ChainEvent) -> Option<&Tip> {
    match event {
        ChainEvent::Connected(block) => Some(&block.tip),
        ChainEvent::Disconnected(block) => Some(&block.tip),
        ChainEvent::TransactionAdded(_) | ChainEvent::TransactionRemoved { .. } | ChainEvent::Alarm(_) => None,
    }
}

fn entry(params: &Params, state: &NameState) -> Entry {
    let life = Life {
        active_from: state.active_from,
        expires_at: state.expires_at,
        grace_until: state.expires_at.saturating_add(params.grace),
        revoked_until: state.is_revoked().then_some(state.expires_at),
        last_change: state.last_update,
    };
    Entry::new(life, &state.records)
}

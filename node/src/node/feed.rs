//! Keeps the resolver's table equal to the chain's names, and its serials above all that were given out before.

use std::{future, ops::ControlFlow, sync::Arc, thread, time::Duration};

use ledger::{name::Name, params::Params, state::NameState};
use resolver::{Block, Entry, Filling, Life, SharedTable, names::table::PastBlock};
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, interval, sleep, sleep_until},
};
use tracing::{error, info, warn};

use super::serial::SerialFile;
use crate::{
    chain::{ChainEvent, ChainHandle, ChainReader, Tip},
    store::{StoreError, TipRow},
};

/// How long the chain rests before a reorganisation counts as complete.
const SETTLE: Duration = Duration::from_secs(1);
/// The first pause after names could not be read, and the longest.
const RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(60);
/// Changed names that are read from the past at most, so that a start takes no longer for it than a second or so.
const MAX_PAST_NAMES: usize = 50_000;

/// The most threads that read names. More wait for the disk or for memory.
const MAX_FILL_THREADS: usize = 8;

/// Runs until the chain stops. `filled` becomes true when the table holds everything.
pub(super) async fn run(
    params: &'static Params,
    chain: ChainHandle,
    table: Arc<SharedTable>,
    mut serials: SerialFile,
    filled: watch::Sender<bool>,
) {
    loop {
        filled.send_replace(false);
        let (events, start) = filled_at_last(&chain, || fill(params, &chain, &table), RETRY).await;
        serials.keep(&table).await;
        let mut feed = Feed { params, table: &table, serials: &mut serials, events };
        let Some(pending) = feed.pending() else {
            warn!("the chain ran ahead while DNS read the names; the table is filled again");
            continue;
        };
        let from = pending.iter().rposition(|event| tip_of(event).is_some_and(|tip| tip.hash == start.hash));
        let missed = pending.iter().skip(from.map_or(0, |index| index + 1));
        for event in missed {
            feed.apply(event);
        }
        filled.send_replace(true);
        info!(height = start.height, names = chain.tip().name_count, "DNS table filled");
        if feed.follow().await.is_none() {
            return;
        }
        warn!("DNS missed events of the chain; the table is filled again");
    }
}

/// Fills the table, however often it takes; gives the block that it is as of, and the events since before. The pauses
/// between attempts grow from the first one.
async fn filled_at_last<F>(
    chain: &ChainHandle,
    mut attempt: impl FnMut() -> F,
    mut pause: Duration,
) -> (broadcast::Receiver<Arc<ChainEvent>>, TipRow)
where
    F: Future<Output = Result<TipRow, StoreError>>,
{
    loop {
        // Subscribed before the table is filled, so that nothing falls between the two.
        let events = chain.events();
        match attempt().await {
            Ok(start) => return (events, start),
            Err(error) => error!(
                %error, retry_in_s = pause.as_secs(),
                "names cannot be read from the database; DNS stays not ready"
            ),
        }
        sleep(pause).await;
        pause = (pause * 2).min(MAX_RETRY);
    }
}

/// Reads all names into the empty table; gives the block that they are as of. Dropping the future ends the reading.
pub async fn fill(
    params: &'static Params,
    chain: &ChainHandle,
    table: &Arc<SharedTable>,
) -> Result<TipRow, StoreError> {
    let (reader, table, tip) = (chain.reader(), table.clone(), chain.tip());
    // Held by this future and by nobody else.
    let wish = Arc::new(());
    let wished = Arc::downgrade(&wish);
    let filling = tokio::task::spawn_blocking(move || {
        let is_wanted = || wished.strong_count() > 0;
        let given_up = || StoreError::Io { message: "reading the names was given up".to_owned() };
        if !is_wanted() {
            return Err(given_up());
        }
        table.clear();
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_FILL_THREADS);
        let mut fillings = Filling::shared_among(threads, params.block_interval);
        let row = reader.for_each_name(&mut fillings, |filling, state| {
            filling.push(&state.name, &entry(params, &state));
            if is_wanted() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if !is_wanted() {
            return Err(given_up());
        }
        let time = reader.header(&row.hash)?.map_or(tip.time, |placed| placed.header.core.time);
        let block = Block { height: row.height, time, hash: Some(row.hash.0) };
        table.publish_all_of(&block, Filling::joined(fillings));
        if let Some(limits) = table.history().filter(|_| is_wanted()) {
            table.remember(past(params, &reader, &row, limits.versions)?);
        }
        Ok(row)
    });
    let filled = filling.await.map_err(|error| StoreError::Io { message: error.to_string() })?;
    drop(wish);
    filled
}

/// What the last blocks changed, the newest first: as far as undo data goes, and nothing if the chain moves meanwhile.
fn past(params: &Params, reader: &ChainReader, tip: &TipRow, count: usize) -> Result<Vec<PastBlock>, StoreError> {
    let view = reader.view();
    if view.tip()?.hash != tip.hash {
        return Ok(Vec::new());
    }
    let blocks = view.past(count, MAX_PAST_NAMES)?.into_iter().map(|(parent, names)| {
        let before = names.into_iter().map(|(name, state)| (name, state.map(|state| entry(params, &state))));
        PastBlock { parent: parent.0, before: before.collect() }
    });
    Ok(blocks.collect())
}

struct Feed<'a> {
    params: &'static Params,
    table: &'a SharedTable,
    serials: &'a mut SerialFile,
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
        let mut rest = Rest::default();
        // A version can also come from the table's becoming ready, of which no event tells.
        let mut looks = interval(SETTLE);
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Ok(event) => if let Some(moved) = self.apply(&event) {
                        rest.note(moved, Instant::now());
                    },
                    Err(broadcast::error::RecvError::Lagged(_)) => return Some(()),
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                () = rest.over() => {
                    self.table.settle();
                    rest = Rest::default();
                }
                _ = looks.tick() => {}
            }
            self.serials.keep(self.table).await;
        }
    }

    /// Tells whether the event has moved the tip, and where to.
    fn apply(&self, event: &ChainEvent) -> Option<Moved> {
        match event {
            ChainEvent::Connected(block) => {
                self.publish(&block.tip, &block.changes);
                Some(Moved::Forth)
            }
            ChainEvent::Disconnected(block) => {
                self.publish(&block.tip, &block.changes);
                Some(Moved::Back)
            }
            ChainEvent::TransactionAdded(_) | ChainEvent::TransactionRemoved { .. } | ChainEvent::Alarm(_) => None,
        }
    }

    fn publish(&self, tip: &Tip, changes: &[(Name, Option<NameState>)]) {
        let changes = changes.iter().map(|(name, state)| {
            let entry = state.as_ref().map(|state| entry(self.params, state));
            (name.clone(), entry)
        });
        let block = Block { height: tip.height, time: tip.time, hash: Some(tip.hash.0) };
        self.table.publish_block(&block, changes);
    }
}

/// How an event moved the tip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moved {
    Forth,
    Back,
}

/// When a reorganisation counts as complete: once the tip has not moved for a while, whatever else happens.
#[derive(Default)]
struct Rest {
    until: Option<Instant>,
}

impl Rest {
    fn note(&mut self, moved: Moved, now: Instant) {
        if moved == Moved::Back || self.until.is_some() {
            self.until = Some(now + SETTLE);
        }
    }

    /// Waits for it; for ever, if there is no reorganisation.
    async fn over(&self) {
        match self.until {
            Some(until) => sleep_until(until).await,
            None => future::pending().await,
        }
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

#[cfg(test)]
mod tests;

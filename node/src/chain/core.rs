//! The chain as a synchronous machine: headers and blocks in, a tip and events out.
//!
//! For: what it keeps, and reading that. What is done with it stands above: [`super::headers`] and [`super::accept`]
//! take in what comes, [`super::follow`] follows the best valid chain (protocol §7), and [`super::connect`] writes each
//! step as one batch (protocol §9). Not for: threads, clocks and waiting, which are [`super::service`]'s; not for the
//! rules, which are `ledger`'s.
//!
//! Guarantees: the database is at one block's state at every moment, and the memory of this struct never runs ahead of
//! it: a failed write leaves both where they were, so that the call can be repeated once there is room again. Peaks in
//! memory: see the constants.

use std::{collections::HashMap, sync::Arc};

use ledger::{
    block::Header,
    fork::{self, AVERAGE_OVER},
    hash::{BlockHash, Hash},
    history::Peaks,
    params::Params,
    price::Prices,
    rules::{header::HeaderContext, transaction::AnchorBlock},
};

use crate::store::{Durability, Rows, Store, StoreError};

use super::{
    cache::Cache,
    event::{Alarm, ChainEvent},
    index::{Id, Index},
    known::Known,
    lead::Leads,
    presync::Presync,
    stage::stage_tip,
    state::State,
    stats::{ChainStats, add},
    types::Tip,
    waiting::Waiting,
};

/// Which bodies a node keeps (protocol §9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retention {
    /// All of them.
    Archive,
    /// Those of the last 14,400 blocks (20 days), with what takes them back. Undo data for fewer blocks would make the
    /// deep reorganisations that §7 allows impossible, and it is smaller than the bodies.
    Recent,
    /// Those of the last so many blocks: for small disks and for tests. A reorganisation cannot go deeper than that.
    Last(u32),
}

impl Retention {
    /// Blocks whose bodies and undo data are kept.
    pub fn blocks(self) -> u32 {
        match self {
            Self::Archive => u32::MAX,
            Self::Recent => 14_400,
            Self::Last(blocks) => blocks,
        }
    }
}

/// How a core is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainOptions {
    /// Which bodies are kept.
    pub retention: Retention,
    /// Threads to use inside one call. With 1 nothing is ever spawned, so that a simulation is deterministic.
    pub threads: usize,
    /// Memory for tree pages and leaves, in bytes. The pages of a hundred thousand names take 18 MiB, and half of
    /// the cache is for certain what was used last.
    pub cache_bytes: usize,
}

impl Default for ChainOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { retention: Retention::Recent, threads, cache_bytes: 40 << 20 }
    }
}

impl ChainOptions {
    /// For simulators: no threads, little memory.
    pub fn single_threaded() -> Self {
        Self { retention: Retention::Archive, threads: 1, cache_bytes: 2 << 20 }
    }
}

/// Initial sync makes the database durable every so many blocks: at most that much is repeated after a power failure.
const SYNC_EVERY: u32 = 500;
/// Header contexts remembered: each some 1 KiB, for the parents of new headers.
const CONTEXTS: usize = 512;

/// The chain.
pub struct ChainCore {
    pub(super) store: Store,
    pub(super) params: &'static Params,
    pub(super) chain_id: Hash,
    pub(super) options: ChainOptions,
    pub(super) stats: Arc<ChainStats>,
    pub(super) index: Index,
    pub(super) contexts: Cache<Id, HeaderContext>,
    /// Peaks of some headers that are not connected.
    pub(super) peaks: HashMap<Id, Peaks>,
    pub(super) state: State,
    pub(super) known: Arc<Known>,
    /// The tip's header.
    pub(super) tip_header: Header,
    /// Chains of headers that are not stored yet.
    pub(super) presync: Presync,
    /// Checked blocks that are not connected.
    pub(super) waiting: Waiting,
    /// For how long branches that fork choice refuses have been the heavier ones.
    pub(super) leads: Leads,
    pub(super) events: Vec<ChainEvent>,
    /// Below this height, all bodies and undo data but genesis are gone; from it on, none of the active chain's is.
    pub(super) kept_from: u32,
    /// Blocks written since the database was last made durable.
    pub(super) unsynced: u32,
}

impl ChainCore {
    /// The anchor block at `height` of the active chain.
    pub fn active_anchor(&self, height: u32) -> Option<AnchorBlock> {
        let id = self.index.active_at(height)?;
        Some(AnchorBlock { hash: self.index.hash(id), prices: self.index.prices(id) })
    }

    /// The tip.
    pub fn tip(&self) -> Tip {
        let (id, best) = (self.index.tip(), self.index.best());
        let header = &self.tip_header;
        Tip {
            height: header.core.height,
            hash: self.index.hash(id),
            time: header.core.time,
            total_work: self.index.work(id),
            prices: Prices::from(&header.ext),
            name_count: header.ext.name_count,
            state_root: header.ext.state_root,
            best_header: self.index.height(best),
            lowest_body: self.kept_from,
        }
    }

    /// Mean work of the last blocks of the active chain.
    pub(super) fn average_work(&self) -> u128 {
        let tip = self.index.tip();
        let height = self.index.height(tip);
        let span = height.clamp(1, AVERAGE_OVER);
        let start = self.index.active_at(height - span.min(height)).map_or(0, |id| self.index.work(id));
        (self.index.work(tip) - start) / u128::from(span)
    }

    /// The least work of a chain that lies behind the tip by at most so many average blocks.
    pub(super) fn work_near_tip(&self, blocks: u32) -> u128 {
        fork::work_near_tip(self.index.work(self.index.tip()), self.average_work(), blocks)
    }

    /// Writes an alarm to the log and tells everybody.
    pub(super) fn alarm(&mut self, alarm: Alarm) {
        alarm.log();
        if matches!(alarm, Alarm::Corruption { .. }) {
            add(&self.stats.corruption_alarms, 1);
        }
        self.events.push(ChainEvent::Alarm(alarm));
    }

    /// What happened since the last call, in order.
    pub fn take_events(&mut self) -> Vec<ChainEvent> {
        std::mem::take(&mut self.events)
    }

    /// Hashes that show where another chain leaves ours, highest first, genesis last.
    pub fn locator(&self) -> Vec<BlockHash> {
        self.index.locator()
    }

    /// Up to `max` headers of the active chain that follow the first block of `locator` that is on it.
    pub fn headers_after(&self, locator: &[BlockHash], max: usize) -> Result<Vec<Header>, StoreError> {
        let known = locator.iter().filter_map(|hash| self.index.find(hash)).find(|id| self.index.is_active(*id));
        let from = known.map_or(0, |id| self.index.height(id)) + 1;
        (from..).take(max).map_while(|height| self.index.active_at(height)).map(|id| self.header(id)).collect()
    }

    /// The bytes of a stored block.
    pub fn body(&self, hash: &BlockHash) -> Result<Option<Vec<u8>>, StoreError> {
        match self.index.find(hash) {
            Some(id) => self.store.body(self.index.height(id), hash),
            None => Ok(None),
        }
    }

    /// Whether a header is known, and not known to be invalid.
    pub fn knows_header(&self, hash: &BlockHash) -> bool {
        self.index.find(hash).is_some_and(|id| !self.index.is_invalid(id))
    }

    /// How many headers are known.
    pub fn header_count(&self) -> usize {
        self.index.len()
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The counters.
    pub fn stats(&self) -> Arc<ChainStats> {
        self.stats.clone()
    }

    /// The network's parameters.
    pub fn params(&self) -> &'static Params {
        self.params
    }

    /// Makes everything durable: before the process ends.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.store.sync()?;
        self.unsynced = 0;
        Ok(())
    }

    /// Writes the tip record once more, to see whether the disk takes anything.
    pub(super) fn probe_disk(&mut self) -> Result<(), StoreError> {
        let mut batch = self.store.batch();
        stage_tip(&mut batch, &self.tip_header, self.index.hash(self.index.tip()));
        batch.write(Durability::Synced)
    }

    /// How durable the next block has to be: at the tip, at once. Headers that may have no bodies must not put it off.
    pub(super) fn durability(&self, id: Id) -> Durability {
        let is_at_tip = self.index.is_live(id) || self.index.work(id) >= self.index.work(self.index.best());
        if is_at_tip || self.unsynced + 1 >= SYNC_EVERY { Durability::Synced } else { Durability::Buffered }
    }
}

/// An empty cache of header contexts.
pub(super) fn contexts() -> Cache<Id, HeaderContext> {
    Cache::new(CONTEXTS)
}

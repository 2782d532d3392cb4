//! The chain as a synchronous machine: headers and blocks in, a tip and events out.
//!
//! For: keeping the tree of headers and the bodies, following the best valid chain (protocol §7), and writing each
//! step as one batch (protocol §9). Not for: threads, clocks and waiting, which are [`super::service`]'s; not for the
//! rules, which are `ledger`'s.
//!
//! Guarantees: the database is at one block's state at every moment, and the memory of this struct never runs ahead of
//! it: a failed write leaves both where they were, so that the call can be repeated once there is room again. Peaks in
//! memory: see the constants.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ledger::{
    block::{Block, Header},
    codec::{decode, encode},
    fork::LIVE_WITHIN_SECONDS,
    hash::{BlockHash, Hash},
    history::Peaks,
    params::Params,
    price::Prices,
    rules::context::Ancestors,
    rules::{Violation, header::HeaderContext, transaction::AnchorBlock},
};

use crate::store::{BodyKey, Durability, HeaderRow, Rows, Store, StoreError, Table};

use super::{
    Arrival, BlockOutcome, BlockReport, ChainEvent, ChainStats, HeadersOutcome, Point, Prechecked, Sight, Tip, View,
    WantedBranch,
    cache::Cache,
    index::{Id, Index},
    known::Known,
    lead::Leads,
    precheck::{Anchors, BodyFault, PrecheckContext, precheck},
    presync::Presync,
    state::{Branch, State},
    stats::add,
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
/// Bodies that wait for an ancestor's body stay checked in memory up to this many bytes; more are checked again when
/// their turn comes. A sync window of 1,024 ordinary blocks fits.
const WAITING_BYTES: usize = 32 << 20;
/// The least number of missing bodies that one of many branches is looked at for.
const LEAST_SHARE: usize = 16;
/// Header contexts remembered: each some 1 KiB, for the parents of new headers.
const CONTEXTS: usize = 512;

/// A block as handed over.
#[derive(Clone, Debug)]
pub enum BlockInput {
    /// Nothing has been checked.
    Raw(Arc<Block>),
    /// Everything that needs no state has been checked, against the anchors from [`ChainCore::admit`].
    Prechecked(Box<Prechecked>),
}

impl BlockInput {
    fn block(&self) -> &Arc<Block> {
        match self {
            Self::Raw(block) => block,
            Self::Prechecked(prechecked) => &prechecked.block,
        }
    }
}

impl From<Arc<Block>> for BlockInput {
    fn from(block: Arc<Block>) -> Self {
        Self::Raw(block)
    }
}

impl From<Prechecked> for BlockInput {
    fn from(prechecked: Prechecked) -> Self {
        Self::Prechecked(Box::new(prechecked))
    }
}

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

/// A stored body, checked; or the rule that it breaks.
type Body = Result<(Prechecked, Arrival), Violation>;

/// Checked blocks that wait for their turn.
#[derive(Default)]
pub(super) struct Waiting {
    blocks: BTreeMap<Id, Held>,
    bytes: usize,
}

/// A checked block that waits.
struct Held {
    prechecked: Prechecked,
    arrival: Arrival,
}

impl Waiting {
    /// Returns what finds no room any more.
    fn put(&mut self, id: Id, prechecked: Prechecked, arrival: Arrival) -> Vec<(Id, Prechecked)> {
        self.take(id);
        self.bytes += prechecked.weight();
        self.blocks.insert(id, Held { prechecked, arrival });
        let mut evicted = Vec::new();
        // What came last is furthest from its turn in a sync from below.
        while self.bytes > WAITING_BYTES {
            let Some(last) = self.blocks.keys().copied().rfind(|other| *other != id) else { break };
            evicted.extend(self.take(last).map(|(prechecked, _)| (last, prechecked)));
        }
        evicted
    }

    pub(super) fn take(&mut self, id: Id) -> Option<(Prechecked, Arrival)> {
        let held = self.blocks.remove(&id)?;
        self.bytes -= held.prechecked.weight();
        Some((held.prechecked, held.arrival))
    }

    pub(super) fn count(&self) -> usize {
        self.blocks.len()
    }
}

impl ChainCore {
    /// Takes one block, with its header if that is new, at time `now`.
    pub fn accept_block(
        &mut self,
        input: impl Into<BlockInput>,
        now: u64,
        arrival: Arrival,
    ) -> Result<BlockReport, StoreError> {
        let input = input.into();
        let hash = input.block().hash();
        let outcome = self.take_block(input, hash, now, arrival)?;
        add(&self.stats.blocks_invalid, u64::from(matches!(outcome, BlockOutcome::Invalid(_))));
        super::stats::set(&self.stats.bodies_waiting, self.waiting.count() as u64);
        Ok(BlockReport { hash, outcome })
    }

    fn take_block(
        &mut self,
        input: BlockInput,
        hash: BlockHash,
        now: u64,
        arrival: Arrival,
    ) -> Result<BlockOutcome, StoreError> {
        let id = match self.admit_header(&input.block().header, hash, now, arrival)? {
            Ok(id) => id,
            Err(outcome) => return Ok(outcome),
        };
        match self.prechecked(input, id) {
            Ok(prechecked) => self.place(id, prechecked, now, arrival),
            Err(fault) => self.refuse(id, fault),
        }
    }

    /// Looks at a block before its dear checks: takes its header in, and returns the anchors to check it against.
    /// `Err` if nothing is left to be checked.
    pub fn admit(
        &mut self,
        block: &Block,
        now: u64,
        arrival: Arrival,
    ) -> Result<Result<Anchors, BlockOutcome>, StoreError> {
        let admitted = self.admit_header(&block.header, block.hash(), now, arrival)?;
        Ok(admitted.map(|id| self.anchors(block, id)))
    }

    /// Takes note of what was found wrong with an admitted block.
    pub(super) fn refuse_body(&mut self, hash: &BlockHash, fault: BodyFault) -> Result<BlockOutcome, StoreError> {
        match self.index.find(hash) {
            Some(id) if !self.index.has_body(id) => self.refuse(id, fault),
            Some(_) => Ok(BlockOutcome::Known),
            None => Ok(BlockOutcome::UnknownParent),
        }
    }

    fn refuse(&mut self, id: Id, fault: BodyFault) -> Result<BlockOutcome, StoreError> {
        match fault {
            BodyFault::NotThisBody(violation) => Ok(BlockOutcome::WrongBody(violation)),
            BodyFault::BreaksRule(violation) => {
                self.condemn(id, &violation)?;
                Ok(BlockOutcome::Invalid(violation))
            }
        }
    }

    fn admit_header(
        &mut self,
        header: &Header,
        hash: BlockHash,
        now: u64,
        arrival: Arrival,
    ) -> Result<Result<Id, BlockOutcome>, StoreError> {
        if arrival == Arrival::Announced && self.is_far_from_tip(header) {
            return Ok(Err(BlockOutcome::FarFromTip));
        }
        let id = match self.header_of(header, hash, now)? {
            Ok(id) => id,
            Err(outcome) => return Ok(Err(outcome)),
        };
        if self.index.is_invalid(id) {
            return Ok(Err(BlockOutcome::Invalid(Violation::KnownInvalid { hash })));
        }
        if self.index.has_body(id) {
            // A write that failed for want of room is repeated when the block is offered again.
            self.follow_best()?;
            return Ok(Err(BlockOutcome::Known));
        }
        Ok(Ok(id))
    }

    /// The header's place in the index; takes the header in if it is new.
    fn header_of(
        &mut self,
        header: &Header,
        hash: BlockHash,
        now: u64,
    ) -> Result<Result<Id, BlockOutcome>, StoreError> {
        if let Some(id) = self.index.find(&hash) {
            return Ok(Ok(id));
        }
        let report = self.accept_headers(std::slice::from_ref(header), now)?;
        Ok(match report.outcome {
            HeadersOutcome::Ok => Ok(self.index.find(&hash).expect("the header was accepted just now")),
            HeadersOutcome::UnknownParent(_) => Err(BlockOutcome::UnknownParent),
            HeadersOutcome::Deferred { until } => Err(BlockOutcome::Deferred { until }),
            HeadersOutcome::Invalid(violation) => Err(BlockOutcome::Invalid(violation)),
            HeadersOutcome::InvalidParent(parent) => Err(BlockOutcome::InvalidParent(parent)),
            HeadersOutcome::FarFromTip => Err(BlockOutcome::FarFromTip),
            HeadersOutcome::LowWork | HeadersOutcome::Walked | HeadersOutcome::WalkedEnough => {
                Err(BlockOutcome::LowWork)
            }
        })
    }

    /// Keeps a checked body and follows the best chain.
    fn place(
        &mut self,
        id: Id,
        prechecked: Prechecked,
        now: u64,
        arrival: Arrival,
    ) -> Result<BlockOutcome, StoreError> {
        let age = now.saturating_sub(prechecked.block.header.core.time);
        if arrival.is_news() && age <= LIVE_WITHIN_SECONDS {
            self.index.set_live(id);
        }
        self.hold(id, prechecked, arrival)?;
        self.index.add_body(id);
        let (reorg_depth, broken) = self.follow_best()?;
        if let Some((_, violation)) = broken.into_iter().find(|(broken, _)| *broken == id) {
            return Ok(BlockOutcome::Invalid(violation));
        }
        Ok(if self.index.is_active(id) { BlockOutcome::Connected { reorg_depth } } else { BlockOutcome::Stored })
    }

    /// Keeps a body in memory until its turn, when it is written together with all that it changes. Only what finds no
    /// room is written before. After a crash the others are asked for again.
    pub(super) fn hold(&mut self, id: Id, prechecked: Prechecked, arrival: Arrival) -> Result<(), StoreError> {
        for (other, evicted) in self.waiting.put(id, prechecked, arrival) {
            self.store_body(other, &evicted)?;
        }
        Ok(())
    }

    /// Writes the bodies of a complete branch that is not followed: it may be for weeks, and over restarts.
    pub(super) fn keep_bodies(&mut self, end: Id) -> Result<(), StoreError> {
        for id in self.index.branch(end) {
            if let Some((prechecked, _)) = self.waiting.take(id) {
                self.store_body(id, &prechecked)?;
            }
        }
        Ok(())
    }

    fn store_body(&self, id: Id, prechecked: &Prechecked) -> Result<(), StoreError> {
        let mut batch = self.store.batch();
        batch.put(Table::Bodies, BodyKey(self.index.height(id), prechecked.hash).to_bytes(), &prechecked.bytes);
        let status = self.index.status(id).to_row() | super::index::Status::BODY;
        let row = HeaderRow { header: prechecked.block.header, total_work: self.index.work(id), status };
        batch.put(Table::Headers, prechecked.hash, encode(&row));
        batch.write(Durability::Buffered)
    }

    fn prechecked(&mut self, input: BlockInput, id: Id) -> Result<Prechecked, BodyFault> {
        match input {
            BlockInput::Prechecked(prechecked) => Ok(*prechecked),
            BlockInput::Raw(block) => {
                let anchors = self.anchors(&block, id);
                self.check(block, &anchors)
            }
        }
    }

    fn check(&self, block: Arc<Block>, anchors: &Anchors) -> Result<Prechecked, BodyFault> {
        let cx = PrecheckContext {
            params: self.params,
            chain_id: &self.chain_id,
            known: &self.known,
            threads: self.options.threads,
        };
        precheck(&cx, block, anchors)
    }

    /// The anchors of a block on the branch that `id` is on.
    fn anchors(&self, block: &Block, id: Id) -> Anchors {
        let branch = Branch { index: &self.index, end: id };
        Anchors::of(block, |height| anchor_at(&branch, height))
    }

    /// The anchor block at `height` of the active chain.
    pub fn active_anchor(&self, height: u32) -> Option<AnchorBlock> {
        let id = self.index.active_at(height)?;
        Some(AnchorBlock { hash: self.index.hash(id), prices: self.index.prices(id) })
    }

    /// A stored body, checked again if it was not kept in memory. `None` if it is not stored after all.
    pub(super) fn checked_body(&mut self, id: Id) -> Result<Option<Body>, StoreError> {
        if let Some(held) = self.waiting.take(id) {
            return Ok(Some(Ok(held)));
        }
        let Some(block) = self.block(id)? else { return Ok(None) };
        let anchors = self.anchors(&block, id);
        let checked = self.check(Arc::new(block), &anchors);
        Ok(Some(match checked {
            Ok(prechecked) => Ok((prechecked, Arrival::Sync)),
            Err(BodyFault::BreaksRule(violation)) => Err(violation),
            Err(BodyFault::NotThisBody(violation)) => {
                return Err(StoreError::corrupt(format!("the body at height {}: {violation}", self.index.height(id))));
            }
        }))
    }

    /// A stored block.
    pub(super) fn block(&self, id: Id) -> Result<Option<Block>, StoreError> {
        let (height, hash) = (self.index.height(id), self.index.hash(id));
        let Some(bytes) = self.store.body(height, &hash)? else { return Ok(None) };
        Ok(Some(decode(&bytes).map_err(|error| StoreError::corrupt(format!("block {hash}: {error}")))?))
    }

    /// Marks a header whose body breaks a rule, for good, with all its descendants.
    pub(super) fn condemn(&mut self, id: Id, violation: &Violation) -> Result<(), StoreError> {
        if let Violation::AncestorUnknown { height } = violation {
            // Every header here has all its ancestors, so this is a gap of our own and says nothing of the block.
            return Err(StoreError::corrupt(format!("an ancestor at height {height} is not in the index")));
        }
        let mut row = HeaderRow { header: self.header(id)?, total_work: self.index.work(id), status: 0 };
        row.status = super::index::Status::INVALID;
        let mut batch = self.store.batch();
        batch.put(Table::Headers, self.index.hash(id), encode(&row));
        batch.delete(Table::Bodies, BodyKey(self.index.height(id), self.index.hash(id)).to_bytes());
        batch.write(Durability::Buffered)?;
        tracing::info!(height = self.index.height(id), hash = %self.index.hash(id), "block_invalid");
        for doomed in self.index.mark_invalid(id) {
            self.waiting.take(doomed);
        }
        Ok(())
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

    /// What happened since the last call, in order.
    pub fn take_events(&mut self) -> Vec<ChainEvent> {
        std::mem::take(&mut self.events)
    }

    /// The chain as synchronisation looks at it, with what `claims` come to: the hashes of blocks that others say they
    /// have. Of all branches together some `window` missing bodies are named, of each a fair share.
    pub fn view(&mut self, claims: &[BlockHash], window: usize) -> Result<View, StoreError> {
        let tip = self.index.tip();
        let mut wanted = Vec::new();
        for hash in claims {
            let Some(id) = self.index.find(hash) else { continue };
            let heavier = !self.index.is_invalid(id) && self.index.work(id) > self.index.work(tip);
            if heavier && !self.index.is_complete(id) && self.is_in_reach(id)? {
                wanted.push(id);
            }
        }
        wanted.sort_by_key(|id| (std::cmp::Reverse(self.index.work(*id)), *id));
        let mut ends: Vec<Id> = Vec::new();
        let mut places = HashMap::new();
        for id in wanted {
            let leads_to = |end: &Id| self.index.ancestor(*end, self.index.height(id)) == Some(id);
            let branch = ends.iter().position(leads_to).unwrap_or(ends.len());
            if branch == ends.len() {
                ends.push(id);
            }
            places.insert(id, Sight::Wanted { branch, height: self.index.height(id) });
        }
        let share = (window / ends.len().max(1)).max(LEAST_SHARE);
        let sight = |hash: &BlockHash| match self.index.find(hash) {
            None => Sight::Unknown,
            Some(id) if self.index.is_invalid(id) => Sight::Invalid,
            Some(id) => places.get(&id).copied().unwrap_or(Sight::Settled),
        };
        Ok(View {
            tip: self.point(tip),
            header_height: self.index.height(self.index.best()),
            is_refusing: self.index.refused_above(self.index.work(tip)).next().is_some(),
            locator: self.index.locator(),
            branches: ends.iter().map(|end| self.wanted_branch(*end, share)).collect(),
            claims: claims.iter().map(|hash| (*hash, sight(hash))).collect(),
        })
    }

    fn wanted_branch(&self, end: Id, share: usize) -> WantedBranch {
        let (base, missing) = self.index.missing(end, share);
        let missing = missing.into_iter().map(|id| (self.index.height(id), self.index.hash(id))).collect();
        WantedBranch { end: self.point(end), base: self.index.hash(base), missing }
    }

    fn point(&self, id: Id) -> Point {
        Point { height: self.index.height(id), hash: self.index.hash(id), work: self.index.work(id) }
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

    /// Whether a block's body is stored.
    pub fn knows_body(&self, hash: &BlockHash) -> bool {
        self.index.find(hash).is_some_and(|id| self.index.has_body(id))
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
        super::connect::stage_tip(&mut batch, &self.tip_header, self.index.hash(self.index.tip()));
        batch.write(Durability::Synced)
    }

    /// How durable the next block has to be: at the tip, at once. Headers that may have no bodies must not put it off.
    pub(super) fn durability(&self, id: Id) -> Durability {
        let is_at_tip = self.index.is_live(id) || self.index.work(id) >= self.index.work(self.index.best());
        if is_at_tip || self.unsynced + 1 >= SYNC_EVERY { Durability::Synced } else { Durability::Buffered }
    }
}

/// The block at `height` of a branch, as an anchor.
fn anchor_at(branch: &Branch<'_>, height: u32) -> Option<AnchorBlock> {
    Some(AnchorBlock { hash: branch.hash_at(height)?, prices: branch.prices_at(height)? })
}

/// An empty cache of header contexts.
pub(super) fn contexts() -> Cache<Id, HeaderContext> {
    Cache::new(CONTEXTS)
}

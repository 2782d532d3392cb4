//! Which bodies are missing on which branch, and who was asked for them. Whom to ask next is [`super::fetch`]'s.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ledger::{block::Header, hash::BlockHash};

use super::event::{Millis, PeerKey, Point, WantedBranch};

/// Heights above the tip that are fetched ahead of being applied.
pub const WINDOW: usize = 1_024;
/// Blocks in flight per peer.
pub const PER_PEER: usize = 16;
/// First and last patience with a question. It doubles for all when somebody exceeds it, so that a slow line on our
/// side does not throw out every peer, and shrinks again with each good answer.
pub(super) const PATIENCE_MIN_MS: u64 = 2_000;
/// The lowest block of a branch is asked of one more peer after each such time, so that those who keep silent cost
/// seconds and not their whole patience, one after the other.
const SECOND_ASK_MS: u64 = 2_000;
/// Peers asked for one block at the same time.
const MAX_ASKED: usize = 16;
/// Questions to one peer for one block that come to nothing before it counts as having refused: an answer may get lost.
const TRIES: u32 = 3;
/// A block that the shell puts together is asked for after this all the same.
const REBUILD_MS: u64 = 10_000;
/// A branch whose lowest block arrived longer ago than this is none whose bodies come.
const COMING_MS: u64 = 60_000;
/// So many blocks in a row, given for the same end by peers that claim more of it, show that a branch's bodies come. Blocks
/// from other peers may be honest ones that an attacker builds withheld ones on.
const COMING_RUN: u32 = 2;

#[derive(Debug)]
pub(super) struct Slot<P> {
    pub(super) height: u32,
    /// Branches that it is missing on, as indices.
    pub(super) branches: Vec<usize>,
    /// Questions that it is part of, and that are not answered.
    pub(super) asked: Vec<u64>,
    pub(super) asked_at: Millis,
    /// Here, not judged yet.
    pub(super) in_hand: bool,
    /// How often each peer was asked in vain.
    pub(super) failed: BTreeMap<P, u32>,
    /// Since when everybody who claims it was asked in vain.
    pub(super) refused_since: Option<Millis>,
}

impl<P: PeerKey> Slot<P> {
    fn new(height: u32) -> Self {
        Self {
            height,
            branches: Vec::new(),
            asked: Vec::new(),
            asked_at: Millis(0),
            in_hand: false,
            failed: BTreeMap::new(),
            refused_since: None,
        }
    }

    pub(super) fn is_free(&self) -> bool {
        !self.in_hand && self.asked.is_empty()
    }

    fn failures_of(&self, peer: &P) -> u32 {
        self.failed.get(peer).copied().unwrap_or(0)
    }

    pub(super) fn forgive(&mut self) {
        self.failed.clear();
        self.refused_since = None;
    }
}

#[derive(Debug)]
pub(super) struct Batch<P> {
    pub(super) peer: P,
    pub(super) deadline: Millis,
    pub(super) hashes: Vec<BlockHash>,
}

/// One branch.
#[derive(Debug, Default)]
pub(super) struct Lane {
    end: Point,
    base: BlockHash,
    /// What is missing, lowest first.
    order: VecDeque<BlockHash>,
}

/// Which bodies are missing, and who was asked for them.
#[derive(Debug)]
pub struct Bodies<P> {
    pub(super) slots: BTreeMap<BlockHash, Slot<P>>,
    pub(super) lanes: Vec<Lane>,
    pub(super) batches: BTreeMap<u64, Batch<P>>,
    next_batch: u64,
    pub(super) patience_ms: u64,
    /// Wanted blocks that somebody was asked for in vain: few, and looked through with each block that arrives.
    pub(super) in_vain: BTreeSet<BlockHash>,
    arrivals: Arrivals,
    /// Blocks that the shell puts together, and since when: as many as it does at a time.
    rebuilt: BTreeMap<BlockHash, Millis>,
}

/// Blocks that arrived when they were missing on a branch, for as long as that is news.
#[derive(Debug, Default)]
struct Arrivals {
    by_hash: BTreeMap<BlockHash, Arrival>,
    /// The same, oldest first. A fast sync has tens of thousands, so they are not looked through for the old ones.
    in_order: VecDeque<(Millis, BlockHash)>,
}

impl Arrivals {
    fn note(&mut self, hash: BlockHash, arrival: Arrival) {
        while self.in_order.front().is_some_and(|(at, _)| arrival.at.since(*at) > COMING_MS) {
            let Some((at, old)) = self.in_order.pop_front() else { break };
            // It may have arrived once more since.
            if self.by_hash.get(&old).is_some_and(|arrival| arrival.at == at) {
                self.by_hash.remove(&old);
            }
        }
        self.in_order.push_back((arrival.at, hash));
        self.by_hash.insert(hash, arrival);
    }

    /// A block that arrived lately.
    fn get(&self, now: Millis, hash: &BlockHash) -> Option<&Arrival> {
        self.by_hash.get(hash).filter(|arrival| now.since(arrival.at) <= COMING_MS)
    }
}

/// A branch whose bodies come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coming {
    /// Its index.
    pub(super) lane: usize,
    /// Where it ends, as far as bodies were fetched for that end.
    pub(super) end: Point,
    /// The last block below its gap.
    pub(super) base: BlockHash,
}

/// A block that arrived.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: Millis,
    /// Where the branch ended that it was fetched for.
    end: Point,
    /// It and the blocks right below it that arrived so, for a branch with the same end: blocks that came when they were
    /// news themselves say nothing of what somebody builds on them.
    run: u32,
}

impl<P> Default for Bodies<P> {
    fn default() -> Self {
        Self {
            slots: BTreeMap::new(),
            lanes: Vec::new(),
            batches: BTreeMap::new(),
            next_batch: 0,
            patience_ms: PATIENCE_MIN_MS,
            in_vain: BTreeSet::new(),
            arrivals: Arrivals::default(),
            rebuilt: BTreeMap::new(),
        }
    }
}

/// A peer that claims a branch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimant<P> {
    pub(super) peer: P,
    /// Up to this height.
    pub(super) up_to: u32,
    /// From this height on.
    pub(super) from: u32,
}

impl<P: PeerKey> Claimant<P> {
    fn has(&self, height: u32) -> bool {
        (self.from..=self.up_to).contains(&height)
    }
}

impl<P: PeerKey> Bodies<P> {
    /// Takes over what the chain misses; what is in flight for it stays in flight.
    pub fn set_wanted(&mut self, branches: &[WantedBranch]) {
        let mut old = std::mem::take(&mut self.slots);
        for (index, branch) in branches.iter().enumerate() {
            for (height, hash) in &branch.missing {
                let mut kept = || old.remove(hash).map(|slot| Slot { branches: Vec::new(), ..slot });
                let slot = self.slots.entry(*hash).or_insert_with(|| kept().unwrap_or_else(|| Slot::new(*height)));
                slot.branches.push(index);
            }
        }
        let order = |branch: &WantedBranch| branch.missing.iter().map(|(_, hash)| *hash).collect();
        let lane = |branch: &WantedBranch| Lane { end: branch.end, base: branch.base, order: order(branch) };
        self.lanes = branches.iter().map(lane).collect();
        self.in_vain.retain(|hash| self.slots.contains_key(hash));
    }

    /// The shell puts a block together.
    pub fn rebuild_began(&mut self, now: Millis, hash: BlockHash) {
        self.rebuilt.retain(|_, since| now.since(*since) < REBUILD_MS);
        self.rebuilt.insert(hash, now);
    }

    /// It has done so, or could not.
    pub fn rebuild_ended(&mut self, hash: &BlockHash) {
        self.rebuilt.remove(hash);
    }

    fn is_rebuilt(&self, now: Millis, hash: &BlockHash) -> bool {
        self.rebuilt.get(hash).is_some_and(|since| now.since(*since) < REBUILD_MS)
    }

    /// The block was judged for good.
    pub fn done(&mut self, hash: BlockHash) {
        self.rebuild_ended(&hash);
        let Some(slot) = self.slots.remove(&hash) else { return };
        self.in_vain.remove(&hash);
        for lane in slot.branches {
            let order = &mut self.lanes[lane].order;
            // Nearly always among the first.
            let place = order.iter().position(|other| *other == hash);
            place.and_then(|place| order.remove(place));
        }
    }

    /// The block was judged, and is good: whoever was asked in vain for others of its branches may be asked again.
    /// `has_more` tells whether the peer that gave it claims blocks above it.
    pub fn arrived(&mut self, now: Millis, header: &Header, has_more: bool) {
        let hash = header.hash();
        self.rebuild_ended(&hash);
        let Some(lanes) = self.slots.get(&hash).map(|slot| slot.branches.clone()) else { return };
        self.forgive(|slot| lanes.iter().any(|lane| slot.branches.contains(lane)));
        self.done(hash);
        let end = lanes.iter().map(|lane| self.lanes[*lane].end).max_by_key(|end| end.work).unwrap_or_default();
        let below = self.arrivals.get(now, &header.core.prev).filter(|below| below.end == end);
        let run = below.map_or(1, |below| below.run.saturating_add(1));
        if has_more {
            self.arrivals.note(hash, Arrival { at: now, end, run });
        }
    }

    /// Whoever was asked in vain for such blocks may be asked again.
    pub(super) fn forgive(&mut self, chosen: impl Fn(&Slot<P>) -> bool) {
        let Self { slots, in_vain, .. } = self;
        in_vain.retain(|hash| match slots.get_mut(hash) {
            Some(slot) if chosen(slot) => {
                slot.forgive();
                false
            }
            Some(_) => true,
            None => false,
        });
    }

    /// A peer that was asked in vain may be asked again.
    pub(super) fn forgive_peer(&mut self, peer: &P) {
        for hash in &self.in_vain {
            self.slots.get_mut(hash).and_then(|slot| slot.failed.remove(peer));
        }
    }

    fn note_failure(&mut self, hash: BlockHash, peer: P) {
        if let Some(slot) = self.slots.get_mut(&hash) {
            *slot.failed.entry(peer).or_default() += 1;
            self.in_vain.insert(hash);
        }
    }

    /// The branches whose bodies come: whose last [`COMING_RUN`] blocks before their gap came for them, lately.
    /// Headers that were announced on top since then say nothing.
    pub fn coming(&self, now: Millis) -> impl Iterator<Item = Coming> {
        let end = move |lane: &Lane| {
            self.arrivals.get(now, &lane.base).filter(|arrival| arrival.run >= COMING_RUN).map(|arrival| arrival.end)
        };
        let lesser = |one: Point, other: Point| if one.work < other.work { one } else { other };
        let of_lane = move |(index, lane): (usize, &Lane)| {
            Some(Coming { lane: index, end: lesser(end(lane)?, lane.end), base: lane.base })
        };
        // What was fetched may all be here, and fork choice knows it.
        self.lanes.iter().enumerate().filter_map(of_lane).filter(|coming| coming.end.hash != coming.base)
    }

    /// The block has to come again, rather not from `failed`.
    pub fn release(&mut self, hash: BlockHash, failed: Option<P>) {
        self.rebuild_ended(&hash);
        let Some(slot) = self.slots.get_mut(&hash) else { return };
        slot.in_hand = false;
        failed.into_iter().for_each(|peer| self.note_failure(hash, peer));
    }

    /// A question came to nothing.
    pub fn batch_failed(&mut self, batch: u64) {
        let Some(Batch { peer, hashes, .. }) = self.batches.remove(&batch) else { return };
        hashes.into_iter().for_each(|hash| self.release_asked(batch, hash, Some(peer)));
    }

    /// A peer has gone. When it comes back it is another claimant.
    pub fn forget_peer(&mut self, peer: &P) {
        let gone: Vec<_> = self.batches.iter().filter(|(_, b)| b.peer == *peer).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|batch| self.batch_failed(batch));
        for slot in self.slots.values_mut() {
            slot.failed.remove(peer);
        }
    }

    pub(super) fn release_asked(&mut self, batch: u64, hash: BlockHash, failed: Option<P>) {
        let Some(slot) = self.slots.get_mut(&hash).filter(|slot| slot.asked.contains(&batch)) else { return };
        slot.asked.retain(|other| *other != batch);
        failed.into_iter().for_each(|peer| self.note_failure(hash, peer));
    }

    /// Takes a body in hand if it is wanted and not in hand already.
    pub(super) fn take_in_hand(&mut self, hash: &BlockHash) -> bool {
        match self.slots.get_mut(hash) {
            Some(slot) if !slot.in_hand => {
                slot.in_hand = true;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Blocks that nobody is asked for.
    pub fn free(&self) -> usize {
        self.slots.values().filter(|slot| slot.is_free()).count()
    }

    /// How many blocks each peer was asked for and has not given.
    pub(super) fn asked(&self) -> BTreeMap<P, usize> {
        let mut asked = BTreeMap::new();
        for batch in self.batches.values() {
            *asked.entry(batch.peer).or_default() += batch.hashes.len();
        }
        asked
    }

    /// The lowest block of a branch that is not here.
    pub(super) fn next_of(&self, lane: usize) -> Option<(&BlockHash, &Slot<P>)> {
        let mut slots = self.lanes.get(lane)?.order.iter().filter_map(|hash| Some((hash, self.slots.get(hash)?)));
        slots.find(|(_, slot)| !slot.in_hand)
    }

    /// Whether everybody of `claimants` who could have a block was asked for it, and nobody gave it.
    pub(super) fn is_refused(slot: &Slot<P>, claimants: &[Claimant<P>]) -> bool {
        let gave_nothing = |claimant: &Claimant<P>| slot.failures_of(&claimant.peer) >= TRIES;
        slot.is_free() && claimants.iter().filter(|claimant| claimant.has(slot.height)).all(gave_nothing)
    }

    /// The lowest blocks of a branch that one of its claimants is to be asked for.
    pub(super) fn next_for(
        &self,
        now: Millis,
        lane: usize,
        asked: Claimant<P>,
        claimants: &[Claimant<P>],
        max: usize,
    ) -> Vec<BlockHash> {
        let next = self.next_of(lane).map(|(hash, _)| *hash);
        let is_withheld = self.next_of(lane).is_some_and(|(_, slot)| Self::is_refused(slot, claimants));
        if is_withheld {
            return Vec::new();
        }
        let fits = |hash: &&BlockHash| {
            self.slots.get(*hash).is_some_and(|slot| {
                let is_free = slot.is_free() || Some(**hash) == next && self.may_ask_another(now, slot, &asked.peer);
                is_free
                    && !self.is_rebuilt(now, hash)
                    && asked.has(slot.height)
                    && self.is_its_turn(slot, &asked.peer, claimants)
            })
        };
        self.lanes[lane].order.iter().filter(fits).take(max).copied().collect()
    }

    fn may_ask_another(&self, now: Millis, slot: &Slot<P>, peer: &P) -> bool {
        let asks_it = |batch: &u64| self.batches.get(batch).is_some_and(|batch| batch.peer == *peer);
        let waits_long = now.since(slot.asked_at) >= SECOND_ASK_MS;
        !slot.in_hand && waits_long && slot.asked.len() < MAX_ASKED && !slot.asked.iter().any(asks_it)
    }

    /// Whether nobody else who claims the block has failed with it less often.
    fn is_its_turn(&self, slot: &Slot<P>, peer: &P, claimants: &[Claimant<P>]) -> bool {
        let failures = slot.failures_of(peer);
        let is_asked = |other: &P| {
            slot.asked.iter().any(|batch| self.batches.get(batch).is_some_and(|batch| batch.peer == *other))
        };
        let mut others = claimants.iter().filter(|other| other.has(slot.height) && !is_asked(&other.peer));
        failures == 0 || failures < TRIES && others.all(|other| slot.failures_of(&other.peer) >= failures)
    }

    pub(super) fn open_batch(&mut self, now: Millis, peer: P, hashes: &[BlockHash]) -> u64 {
        let batch = self.next_batch;
        self.next_batch += 1;
        for hash in hashes {
            if let Some(slot) = self.slots.get_mut(hash) {
                slot.asked.push(batch);
                slot.asked_at = now;
            }
        }
        let deadline = now.after(self.patience_ms);
        self.batches.insert(batch, Batch { peer, deadline, hashes: hashes.to_vec() });
        batch
    }
}

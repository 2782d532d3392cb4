//! Bodies: a sliding window over the best header chain, filled from several peers at once (protocol §9).
//!
//! Guarantees: at most [`PER_PEER`] blocks in flight per peer and [`IN_FLIGHT`] in all; a block is asked of one peer at
//! a time; a block that a peer failed to give is asked of another first; a late answer is still used.

use std::{collections::BTreeMap, sync::Arc};

use ledger::{block::Block, hash::BlockHash};
use rand::{Rng, RngCore};

use super::{Millis, Offence, Output, Peer, PeerKey, Source, Sync, peers::HeaderTalk};

/// Heights above the tip that are fetched ahead of being applied.
pub const WINDOW: usize = 1_024;
/// Blocks in flight per peer.
pub const PER_PEER: usize = 16;
/// Blocks in one question: two questions per peer overlap, so that its line is never idle.
const PER_QUESTION: usize = 8;
/// Blocks asked for or waiting to be judged: at 256 KiB each this is 64 MiB in the worst case.
const IN_FLIGHT: usize = 256;
/// Peers that are remembered to have failed with one block; then everybody may try again.
const MAX_FAILED: usize = 8;

/// First and last patience with a question. It doubles for all when somebody exceeds it, so that a slow line on our
/// side does not throw out every peer, and shrinks again with each good answer.
const PATIENCE_MIN_MS: u64 = 2_000;
const PATIENCE_MAX_MS: u64 = 64_000;
/// Stalls in a row after which a peer is dropped.
const MAX_STALLS: u32 = 3;

#[derive(Debug)]
enum State {
    Free,
    /// Asked for, in this batch.
    Asked(u64),
    /// Here, not judged yet.
    InHand,
}

#[derive(Debug)]
struct Slot<P> {
    height: u32,
    state: State,
    failed: Vec<P>,
}

#[derive(Debug)]
struct Batch<P> {
    peer: P,
    deadline: Millis,
    hashes: Vec<BlockHash>,
}

/// Which bodies are missing, and who was asked for them.
#[derive(Debug)]
pub struct Bodies<P> {
    slots: BTreeMap<BlockHash, Slot<P>>,
    /// The slots' hashes, lowest height first.
    order: Vec<BlockHash>,
    batches: BTreeMap<u64, Batch<P>>,
    next_batch: u64,
    patience_ms: u64,
}

impl<P> Default for Bodies<P> {
    fn default() -> Self {
        Self {
            slots: BTreeMap::new(),
            order: Vec::new(),
            batches: BTreeMap::new(),
            next_batch: 0,
            patience_ms: PATIENCE_MIN_MS,
        }
    }
}

impl<P: PeerKey> Bodies<P> {
    /// Takes over what the chain misses; what is in flight for it stays in flight.
    pub fn set_wanted(&mut self, wanted: &[(u32, BlockHash)]) {
        let mut old = std::mem::take(&mut self.slots);
        self.order.clear();
        for (height, hash) in wanted.iter().take(WINDOW) {
            let fresh = || Slot { height: *height, state: State::Free, failed: Vec::new() };
            self.slots.insert(*hash, old.remove(hash).unwrap_or_else(fresh));
            self.order.push(*hash);
        }
    }

    /// The block was judged for good.
    pub fn done(&mut self, hash: BlockHash) {
        if self.slots.remove(&hash).is_some() {
            self.order.retain(|other| *other != hash);
        }
    }

    /// The block has to come again, rather not from `failed`.
    pub fn release(&mut self, hash: BlockHash, failed: Option<P>) {
        let Some(slot) = self.slots.get_mut(&hash) else { return };
        slot.state = State::Free;
        let Some(peer) = failed else { return };
        if slot.failed.len() == MAX_FAILED {
            slot.failed.clear();
        }
        slot.failed.push(peer);
    }

    /// A question came to nothing.
    pub fn batch_failed(&mut self, batch: u64) {
        let Some(Batch { peer, hashes, .. }) = self.batches.remove(&batch) else { return };
        hashes.into_iter().for_each(|hash| self.release_asked(batch, hash, Some(peer)));
    }

    /// A peer has gone.
    pub fn forget_peer(&mut self, peer: &P) {
        let gone: Vec<_> = self.batches.iter().filter(|(_, b)| b.peer == *peer).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|batch| self.batch_failed(batch));
    }

    fn release_asked(&mut self, batch: u64, hash: BlockHash, failed: Option<P>) {
        let asked_here = |slot: &Slot<P>| matches!(slot.state, State::Asked(b) if b == batch);
        if self.slots.get(&hash).is_some_and(asked_here) {
            self.release(hash, failed);
        }
    }

    /// Takes a body in hand if it is wanted and not in hand already.
    fn take_in_hand(&mut self, hash: &BlockHash) -> bool {
        match self.slots.get_mut(hash) {
            Some(slot) if !matches!(slot.state, State::InHand) => {
                slot.state = State::InHand;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Blocks that nobody was asked for yet.
    pub fn free(&self) -> usize {
        self.slots.values().filter(|slot| matches!(slot.state, State::Free)).count()
    }

    /// How many blocks each peer was asked for and has not given.
    fn asked(&self) -> BTreeMap<P, usize> {
        let mut asked = BTreeMap::new();
        for batch in self.batches.values() {
            *asked.entry(batch.peer).or_default() += batch.hashes.len();
        }
        asked
    }

    /// The lowest free blocks that `peer` can be asked for.
    fn free_for(&self, peer: &P, up_to: u32, max: usize, everybody_failed: impl Fn(&[P]) -> bool) -> Vec<BlockHash> {
        let fits = |hash: &&BlockHash| {
            self.slots.get(*hash).is_some_and(|slot| {
                let may_try = !slot.failed.contains(peer) || everybody_failed(&slot.failed);
                matches!(slot.state, State::Free) && slot.height <= up_to && may_try
            })
        };
        self.order.iter().filter(fits).take(max).copied().collect()
    }

    fn open_batch(&mut self, now: Millis, peer: P, hashes: &[BlockHash]) -> u64 {
        let batch = self.next_batch;
        self.next_batch += 1;
        for hash in hashes {
            if let Some(slot) = self.slots.get_mut(hash) {
                slot.state = State::Asked(batch);
            }
        }
        let deadline = now.after(self.patience_ms);
        self.batches.insert(batch, Batch { peer, deadline, hashes: hashes.to_vec() });
        batch
    }
}

impl<P: PeerKey> Sync<P> {
    /// Spreads the missing bodies over the peers that claim to have them.
    pub(super) fn ask_for_bodies(&mut self, now: Millis, rng: &mut dyn RngCore, out: &mut Vec<Output<P>>) {
        let free = self.bodies.free();
        let mut room = IN_FLIGHT.saturating_sub(self.bodies.order.len() - free);
        let share = self.share_per_question();
        // When judging is what takes time, room comes block by block. Asking for each alone would be many small
        // questions, which a peer may refuse as too many at once.
        if free == 0 || room < share.min(free) {
            return;
        }
        for (peer, mut asked) in self.body_peers(now, rng) {
            while room > 0 && asked < PER_PEER {
                let hashes = self.next_bodies(peer, (PER_PEER - asked).min(share).min(room));
                if hashes.is_empty() {
                    break;
                }
                room -= hashes.len();
                asked += hashes.len();
                let batch = self.bodies.open_batch(now, peer, &hashes);
                out.push(Output::AskBodies { peer, batch, hashes });
            }
        }
    }

    fn next_bodies(&self, peer: P, max: usize) -> Vec<BlockHash> {
        let up_to = self.peers.get(&peer).map_or(0, Peer::claimed_height);
        let all_failed = |failed: &[P]| self.peers.iter().all(|(key, _)| failed.contains(key));
        self.bodies.free_for(&peer, up_to, max, all_failed)
    }

    /// Peers that can be asked, with what they were asked for: the least busy first and otherwise in random order.
    fn body_peers(&self, now: Millis, rng: &mut dyn RngCore) -> Vec<(P, usize)> {
        let asked = self.bodies.asked();
        let can = |peer: &Peer| peer.claim.is_some() && peer.is_rested(now);
        let mut able: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| can(peer))
            .map(|(key, peer)| (peer.stalls, asked.get(key).copied().unwrap_or(0), rng.random::<u32>(), *key))
            .collect();
        able.sort();
        able.into_iter().map(|(_, asked, _, key)| (key, asked)).collect()
    }

    /// Few missing blocks are spread thin, so that no single peer can hold them up.
    fn share_per_question(&self) -> usize {
        self.bodies.order.len().div_ceil(self.peers.len().max(1)).clamp(1, PER_QUESTION)
    }

    pub(super) fn bodies_came(
        &mut self,
        now: Millis,
        peer: P,
        batch: u64,
        bodies: Vec<Option<Arc<Block>>>,
        out: &mut Vec<Output<P>>,
    ) {
        let asked = self.bodies.batches.remove(&batch).map(|batch| batch.hashes);
        let mut useful = 0;
        for (index, body) in bodies.into_iter().enumerate() {
            let expected = asked.as_ref().and_then(|hashes| hashes.get(index)).copied();
            match (body, expected) {
                (Some(block), expected) if expected.is_none_or(|hash| hash == block.hash()) => {
                    useful += 1;
                    if self.bodies.take_in_hand(&block.hash()) {
                        out.push(Output::SubmitBlock { source: Source::Answer(peer), block });
                    }
                }
                (Some(_), _) => self.punish(now, peer, Offence::Unrequested, out),
                (None, Some(hash)) => self.bodies.release_asked(batch, hash, Some(peer)),
                (None, None) => {}
            }
        }
        // Whatever the answer left out or got wrong is free again; an answer cut for size is nobody's failure.
        let failed = (useful == 0).then_some(peer);
        asked.unwrap_or_default().into_iter().for_each(|hash| self.bodies.release_asked(batch, hash, failed));
        self.answered(now, peer, useful);
    }

    fn answered(&mut self, now: Millis, peer: P, useful: usize) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        entry.failures = 0;
        if useful > 0 {
            entry.stalls = 0;
            self.bodies.patience_ms = (self.bodies.patience_ms * 85 / 100).max(PATIENCE_MIN_MS);
        } else {
            entry.rest_until = now.after(1_000);
        }
    }

    /// Takes overdue questions away from those who sit on them.
    pub(super) fn drop_stallers(&mut self, now: Millis, out: &mut Vec<Output<P>>) {
        let overdue: Vec<_> =
            self.bodies.batches.iter().filter(|(_, b)| b.deadline <= now).map(|(id, b)| (*id, b.peer)).collect();
        let patience = self.bodies.patience_ms;
        if !overdue.is_empty() {
            self.bodies.patience_ms = (patience * 2).min(PATIENCE_MAX_MS);
        }
        for (batch, peer) in overdue {
            self.bodies.batch_failed(batch);
            let Some(entry) = self.peers.get_mut(&peer) else { continue };
            if entry.rest_until > now {
                continue; // Its other question was overdue at the same moment.
            }
            entry.stalls += 1;
            entry.rest_until = now.after(patience << entry.stalls.min(5));
            if entry.stalls >= MAX_STALLS {
                out.push(Output::Disconnect { peer });
            }
        }
        self.drop_header_stallers(now);
    }

    fn drop_header_stallers(&mut self, now: Millis) {
        let patience = self.bodies.patience_ms;
        for (_, entry) in self.peers.iter_mut() {
            let HeaderTalk::Asked { since, question } = entry.header_talk else { continue };
            if now.since(since) > patience.max(2 * PATIENCE_MIN_MS) {
                entry.header_talk = HeaderTalk::Overdue(question);
                entry.rest_until = now.after(2 * patience);
            }
        }
    }
}

//! Bodies: along every branch that is heavier than the tip, from those who claim it, several at once (protocol §7, §9).
//!
//! Guarantees: at most [`PER_PEER`] blocks in flight per peer and [`IN_FLIGHT`] in all; a block is asked of one peer at a
//! time, but for the lowest of a branch, which is asked of another as well when the first one takes long; a block that
//! a peer failed to give is asked of others first; a late answer is still used.
//!
//! A branch whose lowest missing block was asked of everybody who claims it, and given by nobody, is *withheld*: nothing
//! of it is asked for until somebody else claims it, a body of it arrives, or ten minutes have passed; and once a minute of
//! a peer whose claim has changed, which may have the block by now. So it takes no room from other branches, and is not
//! downloaded again and again.

use std::sync::Arc;

use ledger::{block::Block, hash::BlockHash};
use rand::{Rng, RngCore};

use super::{
    bodies::{Bodies, Claimant, PATIENCE_MIN_MS, PER_PEER},
    event::{Millis, Output, PeerKey, Sight, Source},
    offence::Offence,
    peers::Peer,
    state::Sync,
};

/// Blocks in one question: two questions per peer overlap, so that its line is never idle.
const PER_QUESTION: usize = 8;
/// Blocks asked for or waiting to be judged: at 256 KiB each this is 64 MiB in the worst case.
const IN_FLIGHT: usize = 256;
const PATIENCE_MAX_MS: u64 = 64_000;
/// Stalls in a row after which a peer is dropped.
const MAX_STALLS: u32 = 3;
/// A withheld branch is asked for again after this.
const WITHHELD_MS: u64 = 600_000;

impl<P: PeerKey> Sync<P> {
    /// Spreads the missing bodies over the peers that claim to have them.
    pub(super) fn ask_for_bodies(&mut self, now: Millis, rng: &mut dyn RngCore, out: &mut Vec<Output<P>>) {
        let busy = self.bodies.slots.values().filter(|slot| !slot.is_free()).count();
        let (free, mut room) = (self.bodies.slots.len() - busy, IN_FLIGHT.saturating_sub(busy));
        let share = self.share_per_question();
        // When judging is what takes time, room comes block by block. Asking for each alone would be many small
        // questions, which a peer may refuse as too many at once.
        if self.bodies.slots.is_empty() || room < share.min(free) {
            return;
        }
        let claimants: Vec<_> = (0..self.bodies.lanes.len()).map(|lane| self.claimants(lane)).collect();
        for (peer, mut asked) in self.body_peers(now, rng) {
            while room > 0 && asked < PER_PEER {
                let hashes = self.next_bodies(now, peer, &claimants, (PER_PEER - asked).min(share).min(room));
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

    /// Who claims a branch, as far as anybody knows.
    fn claimants(&self, lane: usize) -> Vec<Claimant<P>> {
        let claimant = |(key, peer): (&P, &Peer)| {
            let heights = peer.blocks().filter_map(|hash| match self.sight(&hash) {
                Some(Sight::Wanted { branch, height }) if branch == lane => Some(height),
                Some(_) | None => None,
            });
            Some(Claimant { peer: *key, up_to: heights.max()?, from: peer.lowest_body })
        };
        self.peers.iter().filter_map(claimant).collect()
    }

    fn next_bodies(&self, now: Millis, peer: P, claimants: &[Vec<Claimant<P>>], max: usize) -> Vec<BlockHash> {
        for (lane, claimants) in claimants.iter().enumerate() {
            let Some(asked) = claimants.iter().find(|claimant| claimant.peer == peer) else { continue };
            let hashes = self.bodies.next_for(now, lane, *asked, claimants, max);
            if !hashes.is_empty() {
                return hashes;
            }
        }
        Vec::new()
    }

    /// Whether the lowest missing block of a branch was asked of everybody who claims it, and given by nobody.
    pub(super) fn is_withheld(&self, lane: usize) -> bool {
        let next = self.bodies.next_of(lane);
        next.is_some_and(|(_, slot)| Bodies::is_refused(slot, &self.claimants(lane)))
    }

    /// Whether a peer claims blocks above this one, on a branch that it is missing on.
    pub(super) fn claims_more_than(&self, block: &BlockHash, peer: &P) -> bool {
        let (Some(slot), Some(peer)) = (self.bodies.slots.get(block), self.peers.get(peer)) else { return false };
        peer.blocks().any(|claimed| match self.sight(&claimed) {
            Some(Sight::Wanted { branch, height }) => height > slot.height && slot.branches.contains(&branch),
            Some(_) | None => false,
        })
    }

    /// The lowest missing height of a branch that is claimed, and by nobody who keeps that body.
    pub(super) fn out_of_keeping(&self) -> Option<u32> {
        let lacking = |lane: usize| {
            let (_, slot) = self.bodies.next_of(lane)?;
            let claimants = self.claimants(lane);
            let kept = claimants.iter().any(|claimant| claimant.from <= slot.height);
            (!claimants.is_empty() && !kept).then_some(slot.height)
        };
        (0..self.bodies.lanes.len()).filter_map(lacking).min()
    }

    /// Notes since when branches are withheld, and has those asked for again that have been for long.
    pub(super) fn retry_withheld(&mut self, now: Millis) {
        for lane in 0..self.bodies.lanes.len() {
            let is_withheld = self.is_withheld(lane);
            let Some(hash) = self.bodies.next_of(lane).map(|(hash, _)| *hash) else { continue };
            let Some(slot) = self.bodies.slots.get_mut(&hash) else { continue };
            slot.refused_since = if is_withheld { slot.refused_since.or(Some(now)) } else { None };
            let since = slot.refused_since;
            if is_withheld {
                self.bodies.in_vain.insert(hash);
            }
            if since.is_some_and(|since| now.since(since) >= WITHHELD_MS) {
                self.bodies.forgive(|slot| slot.branches.contains(&lane));
            }
        }
    }

    /// Peers that can be asked, with what they were asked for: the least busy first and otherwise in random order.
    fn body_peers(&self, now: Millis, rng: &mut dyn RngCore) -> Vec<(P, usize)> {
        let asked = self.bodies.asked();
        let mut able: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.is_rested(now))
            .map(|(key, peer)| (peer.stalls, asked.get(key).copied().unwrap_or(0), rng.random::<u32>(), *key))
            .collect();
        able.sort();
        able.into_iter().map(|(_, asked, _, key)| (key, asked)).collect()
    }

    /// Few missing blocks are spread thin, so that no single peer can hold them up.
    fn share_per_question(&self) -> usize {
        self.bodies.slots.len().div_ceil(self.peers.len().max(1)).clamp(1, PER_QUESTION)
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
    }
}

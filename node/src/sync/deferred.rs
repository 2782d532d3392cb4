//! What waits here until its time has come: headers and blocks whose time lies a little ahead of our clock.
//!
//! The chain hands over only what has its work (`chain::headers`), so a place costs its sender a block. Still one peer
//! must not take the places of others: when all are taken, whoever has the most of them gives one up.

use std::collections::BTreeMap;

use crate::chain::WORTH_WAITING_SECONDS;

use super::event::{PeerKey, Source, Submission};

/// Most that is kept: an honest clock is ahead by seconds, so a handful is plenty. A block is at most 256 KiB.
const MAX: usize = 16;
/// Most of one peer.
const PER_PEER: usize = 2;

/// Something whose time lies ahead of our clock.
#[derive(Debug)]
pub struct Entry<P> {
    until_unix: u64,
    /// Where it came from.
    pub source: Source<P>,
    /// What it is.
    pub what: Submission,
}

/// All of it, oldest first.
#[derive(Debug)]
pub struct Deferred<P>(Vec<Entry<P>>);

impl<P> Default for Deferred<P> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<P: PeerKey> Deferred<P> {
    /// Keeps something until the wall clock shows `until_unix`, in place of something of the same peer, or of the peer
    /// that has most, if there is no room.
    pub fn add(&mut self, unix_now: u64, until_unix: u64, source: Source<P>, what: Submission) {
        // Whoever is right sends it again when its time has come.
        if until_unix.saturating_sub(unix_now) > WORTH_WAITING_SECONDS {
            return;
        }
        let peer = source.peer();
        if self.places(&peer) >= PER_PEER {
            self.drop_oldest_of(&peer);
        } else if self.0.len() >= MAX {
            let Some(greedy) = self.greediest() else { return };
            self.drop_oldest_of(&greedy);
        }
        self.0.push(Entry { until_unix, source, what });
    }

    /// Takes out what can be judged now.
    pub fn due(&mut self, unix_now: u64) -> Vec<Entry<P>> {
        let (due, later) = self.0.drain(..).partition(|entry| entry.until_unix <= unix_now);
        self.0 = later;
        due
    }

    fn places(&self, peer: &P) -> usize {
        self.0.iter().filter(|entry| entry.source.peer() == *peer).count()
    }

    /// Whoever has the most; of several, whose entry came last: what waits longest is nearest to its time.
    fn greediest(&self) -> Option<P> {
        let mut places: BTreeMap<P, (usize, usize)> = BTreeMap::new();
        for (index, entry) in self.0.iter().enumerate() {
            let (count, last) = places.entry(entry.source.peer()).or_default();
            (*count, *last) = (*count + 1, index);
        }
        places.into_iter().max_by_key(|(_, places)| *places).map(|(peer, _)| peer)
    }

    fn drop_oldest_of(&mut self, peer: &P) {
        if let Some(index) = self.0.iter().position(|entry| entry.source.peer() == *peer) {
            self.0.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers() -> Submission {
        Submission::Headers(Vec::new())
    }

    #[test]
    fn one_peer_cannot_flush_the_others() {
        let mut deferred = Deferred::default();
        for honest in 1..=7 {
            deferred.add(0, 10, Source::Gossip(honest), headers());
        }
        for _ in 0..1_000 {
            deferred.add(0, 9, Source::Gossip(99), headers());
        }
        let due = deferred.due(10);
        assert_eq!(due.len(), 9);
        assert_eq!(due.iter().filter(|entry| entry.source.peer() < 99).count(), 7);
    }

    #[test]
    fn a_crowd_pays_with_its_own_places() {
        let mut deferred = Deferred::default();
        deferred.add(0, 10, Source::Gossip(1), headers());
        for liar in 100..200 {
            deferred.add(0, 9, Source::Gossip(liar), headers());
        }
        assert!(deferred.due(10).iter().any(|entry| entry.source.peer() == 1));
        assert!(deferred.due(u64::MAX).is_empty());
    }

    #[test]
    fn what_is_far_ahead_is_not_kept() {
        let mut deferred = Deferred::default();
        deferred.add(1_000, 1_000 + WORTH_WAITING_SECONDS + 1, Source::Gossip(1), headers());
        deferred.add(1_000, u64::MAX, Source::Gossip(1), headers());
        assert!(deferred.due(u64::MAX).is_empty());
        deferred.add(1_000, 1_000 + WORTH_WAITING_SECONDS, Source::Gossip(1), headers());
        assert_eq!(deferred.due(u64::MAX).len(), 1);
    }
}

//! Old bodies that no connected peer keeps: outbound places are given to others until one does (protocol §9).
//!
//! What a peer says of its lowest body is free, so at most two places are given up at a time, and who got one keeps it
//! only by delivering: all places at once would be an eclipse for the asking.

use super::{
    archive::Place,
    event::{Direction, Millis, Output, PeerKey},
    peers::Peer,
    state::Sync,
};

/// Places that are open or on trial at a time.
const PLACES: usize = 2;
/// The shell keeps a peer that it was told to replace, or cannot find another, if this has passed.
const GIVE_UP_MS: u64 = 60_000;
/// How long a newcomer has to deliver.
const TRIAL_MS: u64 = 120_000;

impl<P: PeerKey> Sync<P> {
    /// Looks what is missing, and gives up places for it.
    pub(super) fn look_for_archive(&mut self, now: Millis, out: &mut Vec<Output<P>>) {
        self.archive.missing = self.out_of_keeping();
        let Some(missing) = self.archive.missing else {
            // On trial is who came for it: it still has to deliver.
            self.archive.places.retain(|place| matches!(place, Place::Trial { .. }));
            return self.end_trials(now, out);
        };
        self.end_trials(now, out);
        self.end_waits(now);
        while self.archive.places.len() < PLACES {
            let lacks = |(key, peer): &(&P, &Peer)| {
                let is_known = peer.direction == Direction::Outbound && peer.claim.is_some();
                is_known
                    && peer.lowest_body > missing
                    && !self.archive.is_moving(key)
                    && !self.archive.kept.contains(key)
            };
            let Some(peer) = self.peers.iter().find(lacks).map(|(key, _)| *key) else { return };
            self.archive.places.push(Place::Leaving { peer, since: now });
            out.push(Output::Replace { peer });
        }
    }

    /// Whoever got a place and did not deliver in time leaves it, and at once if it says itself that it lacks the body.
    fn end_trials(&mut self, now: Millis, out: &mut Vec<Output<P>>) {
        let missing = self.archive.missing;
        for place in &mut self.archive.places {
            let Place::Trial { peer, since } = *place else { continue };
            let told = self.peers.get(&peer).filter(|entry| entry.claim.is_some()).map(|entry| entry.lowest_body);
            let lacks = told.is_some_and(|lowest| missing.is_some_and(|missing| lowest > missing));
            if lacks || now.since(since) >= TRIAL_MS {
                *place = Place::Leaving { peer, since: now };
                out.push(Output::Replace { peer });
            }
        }
    }

    /// Whom the shell did not let go stays, and a place that nobody took is no longer waited for.
    fn end_waits(&mut self, now: Millis) {
        let mut kept = Vec::new();
        self.archive.places.retain(|place| match *place {
            Place::Leaving { peer, since } if now.since(since) >= GIVE_UP_MS => {
                kept.push(peer);
                false
            }
            Place::Open { since } => now.since(since) < GIVE_UP_MS,
            Place::Leaving { .. } | Place::Trial { .. } => true,
        });
        self.archive.kept.extend(kept);
    }
}

//! At which peers this node has itself relayed, while others cannot reach it.
//!
//! Sans-IO: the shell lists the peers that offer it, listens through those that are named here, and tells what came of it.
//!
//! Guarantees: at most [`RELAYS`] relays at a time, in different address groups; a relay that refuses or fails is left
//! alone for a while that doubles; one that names addresses of its own that are none, for an hour.

use std::collections::BTreeMap;

use libp2p::{PeerId, core::transport::ListenerId};

use crate::{p2p::netgroup::Netgroup, sync::Millis};

/// Relays at a time: one may go away.
pub const RELAYS: usize = 2;
/// Addresses that a relay may say it is reached at.
pub const MAX_ADDRESSES: usize = 8;
const FIRST_PAUSE_MS: u64 = 30_000;
const LONGEST_PAUSE_MS: u64 = 3_600_000;
/// Relays remembered because they failed. Only connected outbound peers are asked, so there are fewer.
const MAX_PAUSES: usize = 64;

#[derive(Clone, Debug)]
struct Held {
    listener: ListenerId,
    group: Netgroup,
    is_accepted: bool,
    addresses: usize,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Millis,
    failures: u32,
}

/// Reservations asked for and held.
#[derive(Debug, Default)]
pub struct Reserving {
    held: BTreeMap<PeerId, Held>,
    pauses: BTreeMap<PeerId, Pause>,
}

impl Reserving {
    /// Whom to ask for a reservation next, among those that offer it.
    pub fn next(
        &self,
        now: Millis,
        offers: impl IntoIterator<Item = (PeerId, Netgroup)>,
    ) -> Option<(PeerId, Netgroup)> {
        if self.held.len() >= RELAYS {
            return None;
        }
        let is_taken = |group: Netgroup| !group.is_exempt() && self.held.values().any(|held| held.group == group);
        let is_paused = |peer: &PeerId| self.pauses.get(peer).is_some_and(|pause| now < pause.until);
        let mut offers = offers.into_iter();
        offers.find(|(peer, group)| !self.held.contains_key(peer) && !is_taken(*group) && !is_paused(peer))
    }

    /// A relay was asked.
    pub fn asked(&mut self, peer: PeerId, group: Netgroup, listener: ListenerId) {
        self.held.insert(peer, Held { listener, group, is_accepted: false, addresses: 0 });
    }

    /// A relay has accepted, or renewed.
    pub fn accepted(&mut self, peer: &PeerId) {
        self.pauses.remove(peer);
        if let Some(held) = self.held.get_mut(peer) {
            held.is_accepted = true;
            // It names its addresses anew.
            held.addresses = 0;
        }
    }

    /// A relay has named one of its addresses. Returns whether it is one too many.
    pub fn named_address(&mut self, listener: ListenerId) -> bool {
        let Some(held) = self.held.values_mut().find(|held| held.listener == listener) else { return false };
        held.addresses += 1;
        held.addresses > MAX_ADDRESSES
    }

    /// A listener ended: a relay refused, failed or has gone, or this node gave it up. Returns whether it was one of these.
    pub fn ended(&mut self, now: Millis, listener: ListenerId) -> bool {
        let Some(peer) = self.held.iter().find(|(_, held)| held.listener == listener).map(|(peer, _)| *peer) else {
            return false;
        };
        self.held.remove(&peer);
        self.pause(now, peer, FIRST_PAUSE_MS);
        true
    }

    /// A relay names addresses that are none. Returns whether it is known.
    pub fn spoiled(&mut self, now: Millis, listener: ListenerId) -> bool {
        let Some(peer) = self.held.iter().find(|(_, held)| held.listener == listener).map(|(peer, _)| *peer) else {
            return false;
        };
        self.held.remove(&peer);
        self.pause(now, peer, LONGEST_PAUSE_MS);
        true
    }

    /// Gives all of them up. Returns the listeners to close.
    pub fn give_up(&mut self) -> Vec<ListenerId> {
        std::mem::take(&mut self.held).into_values().map(|held| held.listener).collect()
    }

    /// Relays that have accepted.
    pub fn accepted_count(&self) -> usize {
        self.held.values().filter(|held| held.is_accepted).count()
    }

    fn pause(&mut self, now: Millis, peer: PeerId, least_ms: u64) {
        if self.pauses.len() >= MAX_PAUSES {
            self.pauses.retain(|_, pause| now < pause.until);
        }
        if self.pauses.len() >= MAX_PAUSES {
            self.pauses.pop_first();
        }
        let pause = self.pauses.entry(peer).or_insert(Pause { until: now, failures: 0 });
        let wait = (FIRST_PAUSE_MS << pause.failures.min(8)).clamp(least_ms, LONGEST_PAUSE_MS);
        *pause = Pause { until: now.after(wait), failures: pause.failures + 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers() -> Vec<(PeerId, Netgroup)> {
        [1, 1, 2, 3].map(|group| (PeerId::random(), Netgroup::V4([20, group]))).to_vec()
    }

    #[test]
    fn two_relays_in_different_groups() {
        let (mut reserving, offers, now) = (Reserving::default(), offers(), Millis(0));
        assert_eq!(reserving.next(now, offers.clone()), Some(offers[0]));
        reserving.asked(offers[0].0, offers[0].1, ListenerId::next());
        assert_eq!(reserving.next(now, offers.clone()), Some(offers[2]), "the second is of the same group");
        reserving.asked(offers[2].0, offers[2].1, ListenerId::next());
        assert_eq!(reserving.next(now, offers.clone()), None);
        assert_eq!(reserving.accepted_count(), 0);
        reserving.accepted(&offers[2].0);
        assert_eq!(reserving.accepted_count(), 1);
        assert_eq!(reserving.give_up().len(), 2);
        assert_eq!(reserving.next(now, offers.clone()), Some(offers[0]));
    }

    #[test]
    fn a_relay_that_refuses_is_left_alone_for_longer_and_longer() {
        let (mut reserving, relay) = (Reserving::default(), (PeerId::random(), Netgroup::Home));
        let mut asked = Vec::new();
        for second in 0..86_400 {
            let now = Millis(second * 1_000);
            if let Some((peer, group)) = reserving.next(now, [relay]) {
                let listener = ListenerId::next();
                reserving.asked(peer, group, listener);
                assert!(reserving.ended(now, listener) && !reserving.ended(now, listener));
                asked.push(second);
            }
        }
        assert_eq!(asked[..4], [0, 30, 90, 210]);
        assert!((24..40).contains(&asked.len()), "{}", asked.len());
        let listener = ListenerId::next();
        reserving.asked(relay.0, relay.1, listener);
        reserving.accepted(&relay.0);
        reserving.ended(Millis(90_000_000), listener);
        assert_eq!(reserving.next(Millis(90_030_000), [relay]), Some(relay), "what it failed before counts no more");
    }

    #[test]
    fn a_relay_that_names_too_much_is_spoiled() {
        let (mut reserving, relay, listener) =
            (Reserving::default(), (PeerId::random(), Netgroup::Home), ListenerId::next());
        reserving.asked(relay.0, relay.1, listener);
        let named: Vec<_> = (0..=MAX_ADDRESSES).map(|_| reserving.named_address(listener)).collect();
        assert_eq!(named.iter().position(|is_too_much| *is_too_much), Some(MAX_ADDRESSES));
        assert!(reserving.spoiled(Millis(0), listener));
        assert_eq!(reserving.next(Millis(LONGEST_PAUSE_MS - 1), [relay]), None);
        assert_eq!(reserving.next(Millis(LONGEST_PAUSE_MS), [relay]), Some(relay));
        assert!(!reserving.named_address(ListenerId::next()), "another listener is none of these");
    }
}

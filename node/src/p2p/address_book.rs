//! Whom this node knows: addresses with what became of them, and whom to dial next (protocol §10).
//!
//! Sans-IO: `(state, now, rng, event) -> choice`. The shell reads and writes the file and dials. Waits are measured on a
//! clock that never jumps; only when a peer was last reached is kept in Unix seconds, because that outlives the process.
//!
//! Peers that were only heard of and peers that were reached are kept apart, each in a table of buckets (`table`). The
//! bucket follows from a secret and the address group of the peer and of whoever told of it: whoever controls few groups
//! can reach few buckets, and cannot know which.
//!
//! Guarantees: at most [`MAX_PEERS`] peers with [`MAX_ADDRESSES`] addresses each; what one group tells fills at most an
//! eighth of the hearsay, and one group's peers at most a sixteenth of those reached, however many tell of them; a peer
//! that was reached never gives way to hearsay, and to another one that was reached only after it was tried in vain.

mod table;
mod text;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{Multiaddr, PeerId};
use rand::{Rng, RngCore, seq::IteratorRandom};

use crate::sync::Millis;

use super::{
    netgroup::{Netgroup, is_dialable, without_peer},
    places::Secret,
};
use table::{Part, Slot, Table};

/// Most peers in the book.
pub const MAX_PEERS: usize = Part::Hearsay.places() + Part::Reached.places();
/// Most addresses kept of one peer.
pub const MAX_ADDRESSES: usize = 8;
/// First wait after a failed dial; it doubles up to the longest.
const FIRST_BACKOFF_MS: u64 = 2_000;
const LONGEST_BACKOFF_MS: u64 = 1_800_000;
/// A peer that was never reached is forgotten after this many failures.
const MAX_FAILURES: u32 = 6;
/// Peers reached within this time are worth telling others.
const FRESH_S: u64 = 3 * 3_600;
/// A reached peer that has no place tries to get the place of one that may be gone; so many wait for that.
const MAX_CHALLENGES: usize = 8;
/// Outbound peers of the last run that are dialled first: an attacker who waits for a restart gains nothing.
const ANCHORS: usize = 2;

#[derive(Clone, Debug)]
struct Entry {
    addresses: Vec<Multiaddr>,
    /// Where whoever told of it first is.
    source: Netgroup,
    slot: Slot,
    /// Unix seconds; zero if it was never reached.
    last_ok: u64,
    next_try: Millis,
    failures: u32,
    is_anchor: bool,
}

/// The address book.
#[derive(Clone, Debug)]
pub struct AddressBook {
    secret: Secret,
    entries: BTreeMap<PeerId, Entry>,
    table: Table,
    /// Who holds a place, and who was reached and would have it. Decided when the holder is tried again.
    challenges: Vec<(PeerId, PeerId)>,
}

impl AddressBook {
    /// An empty book that chooses buckets by this secret.
    pub fn new(secret: Secret) -> Self {
        Self { secret, entries: BTreeMap::new(), table: Table::default(), challenges: Vec::new() }
    }

    /// What orders groups in a way that nobody else knows.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Peers in the book.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// What goes in.
impl AddressBook {
    /// Notes what somebody in the group `source` told. What cannot be dialled, or finds no room, is dropped silently.
    pub fn hear(&mut self, peer: PeerId, address: &Multiaddr, source: Netgroup) {
        let address = without_peer(address);
        if !is_dialable(&address) {
            return;
        }
        if let Some(entry) = self.entries.get_mut(&peer) {
            return entry.add(address);
        }
        let slot = Slot::of_hearsay(&self.secret, &peer, Netgroup::of(&address), source);
        // What never answered gives way, and what the same source told before: nobody displaces what others told.
        if self.make_room(slot, |holder| holder.failures > 0 || holder.source == source) {
            self.table.put(slot, peer);
            self.entries.insert(peer, Entry::new(address, source, slot));
        }
    }

    /// A peer answered for this network at this address. How often it failed is forgotten only once it has stayed.
    pub fn reached(&mut self, unix_now: u64, peer: PeerId, address: &Multiaddr) {
        let address = without_peer(address);
        if !self.entries.contains_key(&peer) && !is_dialable(&address) {
            return;
        }
        let group = Netgroup::of(&address);
        let slot = Slot::of_hearsay(&self.secret, &peer, group, group);
        let entry = self.entries.entry(peer).or_insert_with(|| Entry::new(address.clone(), group, slot));
        entry.last_ok = unix_now;
        entry.addresses.retain(|other| *other != address);
        entry.addresses.insert(0, address);
        entry.addresses.truncate(MAX_ADDRESSES);
        self.challenges.retain(|(holder, _)| *holder != peer);
        self.promote(peer, group);
    }

    /// A peer has been of use: what it failed before counts no more.
    pub fn stayed(&mut self, peer: &PeerId) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.failures = 0;
        }
    }

    /// A dial failed, or the connection was lost.
    pub fn failed(&mut self, now: Millis, peer: &PeerId, rng: &mut dyn RngCore) {
        let Some(entry) = self.entries.get_mut(peer) else { return };
        entry.failures += 1;
        let wait = (FIRST_BACKOFF_MS << (entry.failures - 1).min(12)).min(LONGEST_BACKOFF_MS);
        // A quarter of jitter, so that a restarted network does not dial in step.
        entry.next_try = now.after(wait + rng.random_range(0..=wait / 4));
        let is_useless = entry.failures >= MAX_FAILURES && entry.is_hearsay();
        self.decide_challenge(peer);
        if is_useless {
            self.remove(peer);
        }
    }

    /// Forgets a peer that turned out to be an enemy, or of another network.
    pub fn forget(&mut self, peer: &PeerId) {
        self.remove(peer);
    }

    /// Marks the peers to come back to first after a restart; the first of them count.
    pub fn set_anchors(&mut self, outbound: impl IntoIterator<Item = PeerId>) {
        let anchors: BTreeSet<_> = outbound.into_iter().take(ANCHORS).collect();
        self.entries.iter_mut().for_each(|(peer, entry)| entry.is_anchor = anchors.contains(peer));
    }

    /// Whether a peer is an anchor.
    pub fn is_anchor(&self, peer: &PeerId) -> bool {
        self.entries.get(peer).is_some_and(|entry| entry.is_anchor)
    }
}

/// What comes out.
impl AddressBook {
    /// Whom to dial next: anchors, then at random among those that are not `busy` and whose address group is not `taken`.
    ///
    /// Reached peers and hearsay have the same chance, then every bucket, then every peer in it: who fills few buckets
    /// is picked rarely, however many peers those hold.
    pub fn next_to_dial(
        &self,
        now: Millis,
        rng: &mut dyn RngCore,
        busy: &BTreeSet<PeerId>,
        taken: &BTreeSet<Netgroup>,
    ) -> Option<(PeerId, Vec<Multiaddr>)> {
        let may_dial = |peer: &PeerId, entry: &Entry| {
            let group = entry.group();
            let is_free = group.is_exempt() || !taken.contains(&group);
            is_free && entry.next_try <= now && !busy.contains(peer)
        };
        let anchor = self.entries.iter().filter(|(peer, entry)| entry.is_anchor && may_dial(peer, entry)).choose(rng);
        if let Some((peer, entry)) = anchor {
            return Some((*peer, entry.addresses.clone()));
        }
        let mut parts = [Part::Reached, Part::Hearsay];
        if rng.random() {
            parts.reverse();
        }
        let is_eligible = |peer: &PeerId| self.entries.get(peer).is_some_and(|entry| may_dial(peer, entry));
        let peer = parts.into_iter().find_map(|part| self.table.pick(part, rng, is_eligible))?;
        Some((peer, self.entries.get(&peer)?.addresses.clone()))
    }

    /// Whom to try without need, so that the book knows who is there: a peer whose place another one would have, or one
    /// that was never reached.
    pub fn next_feeler(
        &self,
        now: Millis,
        rng: &mut dyn RngCore,
        busy: &BTreeSet<PeerId>,
    ) -> Option<(PeerId, Vec<Multiaddr>)> {
        let may_dial =
            |peer: &PeerId| !busy.contains(peer) && self.entries.get(peer).is_some_and(|entry| entry.next_try <= now);
        let challenged = self.challenges.iter().map(|(holder, _)| *holder).find(&may_dial);
        let peer = challenged.or_else(|| self.table.pick(Part::Hearsay, rng, may_dial))?;
        Some((peer, self.entries.get(&peer)?.addresses.clone()))
    }

    /// Up to `max` addresses that are worth telling others, in random order, each with its peer id.
    pub fn to_share(&self, unix_now: u64, rng: &mut dyn RngCore, max: usize) -> Vec<Multiaddr> {
        let is_fresh = |entry: &Entry| entry.last_ok > 0 && unix_now.saturating_sub(entry.last_ok) < FRESH_S;
        let mut picked: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| is_fresh(entry))
            .filter_map(|(peer, entry)| Some((rng.random::<u32>(), entry.addresses.first()?.clone(), *peer)))
            .collect();
        picked.sort_by_key(|(order, ..)| *order);
        picked.into_iter().take(max).filter_map(|(_, address, peer)| address.with_p2p(peer).ok()).collect()
    }
}

/// Places.
impl AddressBook {
    /// Whether the place is free, or its holder gives way; who had to go is gone then.
    fn make_room(&mut self, slot: Slot, gives_way: impl Fn(&Entry) -> bool) -> bool {
        let Some(holder) = self.table.get(slot) else { return true };
        let is_open = self.entries.get(&holder).is_none_or(|entry| entry.is_hearsay() && gives_way(entry));
        if is_open {
            self.remove(&holder);
        }
        is_open
    }

    /// Moves a peer that was reached to its place among those. If it is taken, the holder is tried again first.
    fn promote(&mut self, peer: PeerId, group: Netgroup) {
        let slot = Slot::of_reached(&self.secret, &peer, group);
        let Some(entry) = self.entries.get(&peer) else { return };
        if entry.slot == slot {
            return;
        }
        match self.table.get(slot) {
            Some(holder) => self.challenge(holder, peer),
            None => self.move_to(peer, slot),
        }
    }

    /// Notes that `peer` would have the place of `holder`. Until that is decided, it is kept among the hearsay, of which
    /// any gives way to it.
    fn challenge(&mut self, holder: PeerId, peer: PeerId) {
        self.challenges.retain(|(_, other)| *other != peer);
        if self.challenges.len() == MAX_CHALLENGES {
            self.challenges.remove(0);
        }
        self.challenges.push((holder, peer));
        let Some(slot) = self.entries.get(&peer).map(|entry| entry.slot) else { return };
        if self.table.get(slot) == Some(peer) {
            return;
        }
        if self.make_room(slot, |_| true) {
            self.table.put(slot, peer);
        } else {
            self.remove(&peer);
        }
    }

    /// The holder of a place did not answer: the address that waits for the place gets it.
    fn decide_challenge(&mut self, holder: &PeerId) {
        let Some(at) = self.challenges.iter().position(|(other, _)| other == holder) else { return };
        let (holder, peer) = self.challenges.swap_remove(at);
        let Some(slot) = self.entries.get(&holder).map(|entry| entry.slot) else { return };
        if slot.part == Part::Reached && self.entries.contains_key(&peer) {
            self.remove(&holder);
            self.move_to(peer, slot);
        }
    }

    fn move_to(&mut self, peer: PeerId, slot: Slot) {
        let Some(entry) = self.entries.get_mut(&peer) else { return };
        let before = std::mem::replace(&mut entry.slot, slot);
        self.table.free(before, &peer);
        self.table.put(slot, peer);
    }

    fn remove(&mut self, peer: &PeerId) {
        if let Some(entry) = self.entries.remove(peer) {
            self.table.free(entry.slot, peer);
        }
        self.challenges.retain(|(holder, other)| holder != peer && other != peer);
    }
}

impl Entry {
    fn new(address: Multiaddr, source: Netgroup, slot: Slot) -> Self {
        Self { addresses: vec![address], source, slot, last_ok: 0, next_try: Millis(0), failures: 0, is_anchor: false }
    }

    fn add(&mut self, address: Multiaddr) {
        if !self.addresses.contains(&address) && self.addresses.len() < MAX_ADDRESSES {
            self.addresses.push(address);
        }
    }

    fn group(&self) -> Netgroup {
        self.addresses.first().map_or(Netgroup::Unknown, Netgroup::of)
    }

    /// Whether nothing but somebody's word stands for it.
    fn is_hearsay(&self) -> bool {
        self.last_ok == 0
    }
}

//! Whom this node knows: addresses with what became of them, and whom to dial next.
//!
//! Sans-IO: `(state, now, rng, event) -> choice`. The shell reads and writes the file and dials. Times are Unix seconds,
//! because the book outlives the process.
//!
//! Guarantees: at most [`MAX_PEERS`] peers with [`MAX_ADDRESSES`] addresses each; hearsay never displaces a peer that
//! was reached; an attacker in few address groups can fill few entries.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{Multiaddr, PeerId};
use rand::{Rng, RngCore};

use super::netgroup::{Netgroup, is_dialable, peer_of, without_peer};

/// Most peers in the book.
pub const MAX_PEERS: usize = 2_000;
/// Most addresses kept of one peer.
pub const MAX_ADDRESSES: usize = 8;
/// Most peers that were only heard of, per address group: no group can crowd out the others.
const MAX_HEARSAY_PER_GROUP: usize = 64;
/// First wait after a failed dial; it doubles up to the longest.
const FIRST_BACKOFF_S: u64 = 2;
const LONGEST_BACKOFF_S: u64 = 1_800;
/// A peer that was never reached is forgotten after this many failures.
const MAX_FAILURES: u32 = 6;
/// Peers reached within this time are worth telling others.
const FRESH_S: u64 = 3 * 3_600;
/// Outbound peers of the last run that are dialled first: an attacker who waits for a restart gains nothing.
const ANCHORS: usize = 2;

/// Why a peer is in the book.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Origin {
    /// Somebody said so.
    Hearsay,
    /// The operator's configuration; never forgotten, dialled whatever the limits.
    Configured,
}

#[derive(Clone, Debug)]
struct Entry {
    addresses: Vec<Multiaddr>,
    origin: Origin,
    last_ok: u64,
    next_try: u64,
    failures: u32,
    anchor: bool,
}

/// The address book.
#[derive(Clone, Debug, Default)]
pub struct AddressBook {
    entries: BTreeMap<PeerId, Entry>,
}

impl AddressBook {
    /// Peers in the book.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Notes an address. Addresses that cannot be dialled are dropped silently: they are hearsay.
    pub fn learn(&mut self, peer: PeerId, address: &Multiaddr, origin: Origin) {
        let address = without_peer(address);
        if origin == Origin::Hearsay && !self.accepts_hearsay(&peer, &address) {
            return;
        }
        let fresh = Entry { addresses: Vec::new(), origin, last_ok: 0, next_try: 0, failures: 0, anchor: false };
        let entry = self.entries.entry(peer).or_insert(fresh);
        entry.origin = entry.origin.max(origin);
        if !entry.addresses.contains(&address) && entry.addresses.len() < MAX_ADDRESSES {
            entry.addresses.push(address);
        }
    }

    fn accepts_hearsay(&self, peer: &PeerId, address: &Multiaddr) -> bool {
        if !is_dialable(address) {
            return false;
        }
        if self.entries.contains_key(peer) {
            return true;
        }
        let group = Netgroup::of(address);
        let rumours = self.entries.values().filter(|entry| entry.last_ok == 0 && entry.is_in(group)).count();
        self.entries.len() < MAX_PEERS && (group.is_exempt() || rumours < MAX_HEARSAY_PER_GROUP)
    }

    /// A dial succeeded at this address.
    pub fn reached(&mut self, now: u64, peer: PeerId, address: &Multiaddr) {
        self.learn(peer, address, Origin::Hearsay);
        let Some(entry) = self.entries.get_mut(&peer) else { return };
        (entry.last_ok, entry.failures, entry.next_try) = (now, 0, 0);
        let address = without_peer(address);
        entry.addresses.retain(|other| *other != address);
        entry.addresses.insert(0, address);
        entry.addresses.truncate(MAX_ADDRESSES);
    }

    /// A dial failed, or the connection was lost.
    pub fn failed(&mut self, now: u64, peer: &PeerId, rng: &mut dyn RngCore) {
        let Some(entry) = self.entries.get_mut(peer) else { return };
        entry.failures += 1;
        let wait = (FIRST_BACKOFF_S << (entry.failures - 1).min(12)).min(LONGEST_BACKOFF_S);
        // A quarter of jitter, so that a restarted network does not dial in step.
        entry.next_try = now + wait + rng.random_range(0..=wait / 4);
        let useless = entry.origin == Origin::Hearsay && entry.last_ok == 0 && entry.failures >= MAX_FAILURES;
        if useless {
            self.entries.remove(peer);
        }
    }

    /// Forgets a peer that turned out to be an enemy, unless the operator named it.
    pub fn forget(&mut self, peer: &PeerId) {
        if self.entries.get(peer).is_some_and(|entry| entry.origin == Origin::Hearsay) {
            self.entries.remove(peer);
        }
    }

    /// Whom to dial next: configured peers, then anchors, then at random among those whose address group is not `taken`.
    pub fn next_to_dial(
        &self,
        now: u64,
        rng: &mut dyn RngCore,
        busy: &BTreeSet<PeerId>,
        taken: &BTreeSet<Netgroup>,
    ) -> Option<(PeerId, Vec<Multiaddr>)> {
        let group_is_free = |entry: &Entry| {
            let group = entry.group();
            entry.origin == Origin::Configured || group.is_exempt() || !taken.contains(&group)
        };
        self.entries
            .iter()
            .filter(|(peer, entry)| !busy.contains(peer) && entry.next_try <= now && group_is_free(entry))
            .map(|(peer, entry)| {
                // Reached and rumoured peers are mixed, the former preferred: two of three picks.
                let luck = rng.random_range(0..100u32) + if entry.last_ok > 0 { 50 } else { 0 };
                (entry.origin, entry.anchor, luck, *peer, entry)
            })
            .max_by_key(|(origin, anchor, luck, peer, _)| (*origin, *anchor, *luck, *peer))
            .map(|(.., peer, entry)| (peer, entry.addresses.clone()))
    }

    /// Whether only configured peers may still be dialled, or others as well.
    pub fn is_configured(&self, peer: &PeerId) -> bool {
        self.entries.get(peer).is_some_and(|entry| entry.origin == Origin::Configured)
    }

    /// Up to `max` addresses that are worth telling others, in random order, each with its peer id.
    pub fn to_share(&self, now: u64, rng: &mut dyn RngCore, max: usize) -> Vec<Multiaddr> {
        let fresh = |entry: &&Entry| entry.last_ok > 0 && now.saturating_sub(entry.last_ok) < FRESH_S;
        let mut picked: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| fresh(entry))
            .filter_map(|(peer, entry)| Some((rng.random::<u32>(), entry.addresses.first()?.clone(), *peer)))
            .collect();
        picked.sort_by_key(|(order, ..)| *order);
        picked.into_iter().take(max).filter_map(|(_, address, peer)| address.with_p2p(peer).ok()).collect()
    }

    /// Marks the peers to come back to first after a restart.
    pub fn set_anchors(&mut self, outbound: impl IntoIterator<Item = PeerId>) {
        let anchors: BTreeSet<_> = outbound.into_iter().take(ANCHORS).collect();
        self.entries.iter_mut().for_each(|(peer, entry)| entry.anchor = anchors.contains(peer));
    }

    /// The book as text, one peer per line: `last_ok anchor address…`. Configured peers are not written.
    pub fn to_text(&self) -> String {
        let line = |(peer, entry): (&PeerId, &Entry)| {
            let addresses: Vec<_> = entry.addresses.iter().map(ToString::to_string).collect();
            format!("{} {} {peer} {}\n", entry.last_ok, u8::from(entry.anchor), addresses.join(" "))
        };
        self.entries.iter().filter(|(_, entry)| entry.origin == Origin::Hearsay).map(line).collect()
    }

    /// Reads what [`to_text`](Self::to_text) wrote. Lines that make no sense are skipped: the book is a convenience.
    pub fn from_text(text: &str) -> Self {
        let mut book = Self::default();
        text.lines().take(MAX_PEERS).for_each(|line| {
            book.read_line(line);
        });
        book
    }

    fn read_line(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let last_ok = words.next()?.parse().ok()?;
        let anchor = words.next()? == "1";
        let peer: PeerId = words.next()?.parse().ok()?;
        for address in words.take(MAX_ADDRESSES) {
            self.learn(peer, &address.parse().ok()?, Origin::Hearsay);
        }
        let entry = self.entries.get_mut(&peer)?;
        (entry.last_ok, entry.anchor) = (last_ok, anchor);
        Some(())
    }

    /// Notes an address that ends in a peer id, as others tell it.
    pub fn learn_shared(&mut self, address: &Multiaddr) {
        if let Some(peer) = peer_of(address) {
            self.learn(peer, address, Origin::Hearsay);
        }
    }
}

impl Entry {
    fn group(&self) -> Netgroup {
        self.addresses.first().map_or(Netgroup::Unknown, Netgroup::of)
    }

    fn is_in(&self, group: Netgroup) -> bool {
        self.group() == group
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn address(a: u8, b: u8, c: u8) -> Multiaddr {
        format!("/ip4/{a}.{b}.{c}.1/tcp/9353").parse().expect("an address")
    }

    fn rng() -> StdRng {
        StdRng::seed_from_u64(7)
    }

    #[test]
    fn configured_peers_come_first_and_failures_back_off() {
        let (mut book, mut rng, none) = (AddressBook::default(), rng(), BTreeSet::new());
        let (named, heard) = (PeerId::random(), PeerId::random());
        book.learn(heard, &address(8, 8, 8), Origin::Hearsay);
        book.learn(named, &address(9, 9, 9), Origin::Configured);
        let taken = BTreeSet::new();
        assert_eq!(book.next_to_dial(0, &mut rng, &none, &taken).map(|(peer, _)| peer), Some(named));
        book.failed(0, &named, &mut rng);
        assert_eq!(book.next_to_dial(0, &mut rng, &none, &taken).map(|(peer, _)| peer), Some(heard));
        assert_eq!(book.next_to_dial(3, &mut rng, &none, &taken).map(|(peer, _)| peer), Some(named));
    }

    #[test]
    fn one_outbound_peer_per_group_but_home_is_exempt() {
        let (mut book, mut rng) = (AddressBook::default(), rng());
        book.learn(PeerId::random(), &address(8, 8, 8), Origin::Hearsay);
        let taken = BTreeSet::from([Netgroup::V4([8, 8]), Netgroup::Home]);
        assert!(book.next_to_dial(0, &mut rng, &BTreeSet::new(), &taken).is_none());
        book.learn(PeerId::random(), &address(192, 168, 1), Origin::Hearsay);
        assert!(book.next_to_dial(0, &mut rng, &BTreeSet::new(), &taken).is_some());
    }

    #[test]
    fn one_group_cannot_fill_the_book() {
        let mut book = AddressBook::default();
        for index in 0..1_000u32 {
            book.learn(PeerId::random(), &address(8, 8, (index % 250) as u8), Origin::Hearsay);
        }
        assert_eq!(book.len(), MAX_HEARSAY_PER_GROUP);
    }

    /// Protocol §12, eclipse: 1,000 hostile addresses in four groups against ten honest groups.
    #[test]
    fn hostile_groups_cannot_take_all_outbound_places() {
        let (mut book, mut rng, mut hostile) = (AddressBook::default(), rng(), BTreeSet::new());
        for index in 0..1_000u32 {
            let peer = PeerId::random();
            hostile.insert(peer);
            book.learn(peer, &address(60 + (index % 4) as u8, 1, (index / 4) as u8), Origin::Hearsay);
        }
        (0..10).for_each(|group| book.learn(PeerId::random(), &address(80 + group, 1, 1), Origin::Hearsay));
        for _ in 0..100 {
            let (mut busy, mut taken) = (BTreeSet::new(), BTreeSet::new());
            while let Some((peer, addresses)) = book.next_to_dial(0, &mut rng, &busy, &taken) {
                busy.insert(peer);
                taken.insert(Netgroup::of(&addresses[0]));
            }
            assert!(busy.iter().filter(|peer| hostile.contains(peer)).count() <= 4);
            assert!(busy.len() >= 10);
        }
    }

    #[test]
    fn the_text_form_round_trips() {
        let mut book = AddressBook::default();
        let peer = PeerId::random();
        book.reached(77, peer, &address(8, 8, 8));
        book.set_anchors([peer]);
        let again = AddressBook::from_text(&book.to_text());
        assert_eq!(again.to_text(), book.to_text());
        assert_eq!(AddressBook::from_text("junk\n1 2 3\n\n").len(), 0);
        assert_eq!(again.to_share(80, &mut rng(), 10).len(), 1);
        assert!(again.to_share(77 + FRESH_S, &mut rng(), 10).is_empty());
    }

    #[test]
    fn rumours_that_never_answer_are_forgotten() {
        let (mut book, mut rng) = (AddressBook::default(), rng());
        let peer = PeerId::random();
        book.learn(peer, &address(8, 8, 8), Origin::Hearsay);
        (0..MAX_FAILURES).for_each(|_| book.failed(0, &peer, &mut rng));
        assert!(book.is_empty());
    }
}

//! Whom this node knows: addresses with what became of them, and whom to dial next.
//!
//! Sans-IO: `(state, now, rng, event) -> choice`. The shell reads and writes the file and dials. Times are Unix seconds,
//! because the book outlives the process.
//!
//! Guarantees: at most [`MAX_PEERS`] peers (and those that the operator names) with [`MAX_ADDRESSES`] addresses each. A
//! peer that was reached always finds room; hearsay never displaces one. Whoever tells much displaces what was told from
//! the same address group before, never what others told; an attacker in few address groups can fill few entries.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use libp2p::{Multiaddr, PeerId};
use rand::{Rng, RngCore};

use super::netgroup::{Netgroup, is_dialable, without_peer};

/// Most peers in the book.
pub const MAX_PEERS: usize = 2_000;
/// Most of them that were reached: the rest is left to hearsay, or the book would know nobody new in the end.
const MAX_REACHED: usize = 1_500;
/// Most addresses kept of one peer.
pub const MAX_ADDRESSES: usize = 8;
/// Most peers that were only heard of, per address group: no group can crowd out the others.
const MAX_HEARSAY_PER_GROUP: usize = 64;
/// Most peers that were only heard of, per address group of those who told: eight groups have to lie to fill the book.
const MAX_HEARSAY_PER_SOURCE: usize = 256;
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
enum Origin {
    /// Somebody said so.
    Hearsay,
    /// The operator's configuration; never forgotten, dialled whatever the limits.
    Configured,
}

#[derive(Clone, Debug)]
struct Entry {
    addresses: Vec<Multiaddr>,
    origin: Origin,
    /// Where whoever told of it first is.
    source: Netgroup,
    /// When it was told of, counted in entries.
    serial: u64,
    last_ok: u64,
    next_try: u64,
    failures: u32,
    anchor: bool,
}

/// The address book.
#[derive(Clone, Debug, Default)]
pub struct AddressBook {
    entries: BTreeMap<PeerId, Entry>,
    next_serial: u64,
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

    /// Notes an address from the operator's configuration.
    pub fn configure(&mut self, peer: PeerId, address: &Multiaddr) {
        let entry = self.entry(peer, Netgroup::Unknown);
        entry.origin = Origin::Configured;
        entry.add(without_peer(address));
    }

    /// Notes what somebody in the group `source` told. What cannot be dialled, or finds no room, is dropped silently.
    pub fn hear(&mut self, peer: PeerId, address: &Multiaddr, source: Netgroup) {
        let address = without_peer(address);
        if !is_dialable(&address) {
            return;
        }
        if self.entries.contains_key(&peer) || self.make_room_for_rumour(Netgroup::of(&address), source) {
            self.entry(peer, source).add(address);
        }
    }

    /// A dial succeeded at this address.
    pub fn reached(&mut self, now: u64, peer: PeerId, address: &Multiaddr) {
        let address = without_peer(address);
        if !self.entries.contains_key(&peer) && !is_dialable(&address) {
            return;
        }
        self.make_room_for_reached(&peer);
        let entry = self.entry(peer, Netgroup::of(&address));
        (entry.last_ok, entry.failures, entry.next_try) = (now, 0, 0);
        entry.addresses.retain(|other| *other != address);
        entry.addresses.insert(0, address);
        entry.addresses.truncate(MAX_ADDRESSES);
    }

    fn entry(&mut self, peer: PeerId, source: Netgroup) -> &mut Entry {
        self.entries.entry(peer).or_insert_with(|| {
            self.next_serial += 1;
            Entry::new(source, self.next_serial)
        })
    }

    /// Whether one more rumour may be noted; what has to go for it is gone then.
    fn make_room_for_rumour(&mut self, group: Netgroup, source: Netgroup) -> bool {
        let in_group = self.rumours().filter(|(_, entry)| entry.group() == group).count();
        if !group.is_exempt() && in_group >= MAX_HEARSAY_PER_GROUP {
            return false;
        }
        let sources = self.rumours_by_source();
        let told = sources.get(&source).copied().unwrap_or(0);
        if told >= MAX_HEARSAY_PER_SOURCE {
            self.forget_oldest_rumour(|entry| entry.source == source);
        } else if self.entries.len() >= MAX_PEERS {
            // Whoever told most gives way, until all have told the same.
            let louder = sources.into_iter().max_by_key(|(_, count)| *count).filter(|(_, most)| *most > told + 1);
            let Some((loudest, _)) = louder else { return false };
            self.forget_oldest_rumour(|entry| entry.source == loudest);
        }
        true
    }

    fn make_room_for_reached(&mut self, peer: &PeerId) {
        let is_new = self.entries.get(peer).is_none_or(Entry::is_rumour);
        if is_new && self.entries.values().filter(|entry| entry.last_ok > 0).count() >= MAX_REACHED {
            self.forget_reached_longest_ago();
        }
        if !self.entries.contains_key(peer) && self.entries.len() >= MAX_PEERS {
            self.forget_oldest_rumour(|_| true);
        }
    }

    fn forget_reached_longest_ago(&mut self) {
        let may_go = |entry: &Entry| entry.last_ok > 0 && entry.origin == Origin::Hearsay && !entry.anchor;
        let longest = self.entries.iter().filter(|(_, entry)| may_go(entry)).min_by_key(|(_, entry)| entry.last_ok);
        if let Some(peer) = longest.map(|(peer, _)| *peer) {
            self.entries.remove(&peer);
        }
    }

    fn forget_oldest_rumour(&mut self, may_go: impl Fn(&Entry) -> bool) {
        let oldest = self.rumours().filter(|(_, entry)| may_go(entry)).min_by_key(|(_, entry)| entry.serial);
        if let Some(peer) = oldest.map(|(peer, _)| *peer) {
            self.entries.remove(&peer);
        }
    }

    fn rumours(&self) -> impl Iterator<Item = (&PeerId, &Entry)> {
        self.entries.iter().filter(|(_, entry)| entry.is_rumour())
    }

    fn rumours_by_source(&self) -> BTreeMap<Netgroup, usize> {
        let mut sources = BTreeMap::new();
        self.rumours().for_each(|(_, entry)| *sources.entry(entry.source).or_default() += 1);
        sources
    }

    /// A dial failed, or the connection was lost.
    pub fn failed(&mut self, now: u64, peer: &PeerId, rng: &mut dyn RngCore) {
        let Some(entry) = self.entries.get_mut(peer) else { return };
        entry.failures += 1;
        let wait = (FIRST_BACKOFF_S << (entry.failures - 1).min(12)).min(LONGEST_BACKOFF_S);
        // A quarter of jitter, so that a restarted network does not dial in step.
        entry.next_try = now + wait + rng.random_range(0..=wait / 4);
        let useless = entry.is_rumour() && entry.failures >= MAX_FAILURES;
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

    /// Whether a peer is an anchor or named by the operator.
    pub fn is_kept(&self, peer: &PeerId) -> bool {
        self.entries.get(peer).is_some_and(|entry| entry.anchor || entry.origin == Origin::Configured)
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

    /// The book as text, one peer per line: `last_ok anchor peer address…`, what was reached last first and then hearsay,
    /// the oldest first. Configured peers are not written.
    pub fn to_text(&self) -> String {
        let mut entries: Vec<_> = self.entries.iter().filter(|(_, e)| e.origin == Origin::Hearsay).collect();
        entries.sort_by_key(|(_, entry)| (Reverse(entry.last_ok), entry.serial));
        let line = |(peer, entry): (&PeerId, &Entry)| {
            let addresses: Vec<_> = entry.addresses.iter().map(ToString::to_string).collect();
            format!("{} {} {peer} {}\n", entry.last_ok, u8::from(entry.anchor), addresses.join(" "))
        };
        entries.into_iter().map(line).collect()
    }

    /// Reads what [`to_text`](Self::to_text) wrote. Lines that make no sense are skipped: the book is a convenience. All
    /// hearsay of the last run counts as told by one source.
    pub fn from_text(text: &str) -> Self {
        let mut book = Self::default();
        text.lines().take(MAX_PEERS).for_each(|line| {
            book.read_line(line);
        });
        book
    }

    fn read_line(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let last_ok: u64 = words.next()?.parse().ok()?;
        let anchor = words.next()? == "1";
        let peer: PeerId = words.next()?.parse().ok()?;
        let addresses: Option<Vec<Multiaddr>> = words.take(MAX_ADDRESSES).map(|word| word.parse().ok()).collect();
        match last_ok {
            0 => addresses?.iter().for_each(|address| self.hear(peer, address, Netgroup::Unknown)),
            // The address that was reached last stands first.
            _ => addresses?.iter().rev().for_each(|address| self.reached(last_ok, peer, address)),
        }
        self.entries.get_mut(&peer)?.anchor = anchor;
        Some(())
    }
}

impl Entry {
    fn new(source: Netgroup, serial: u64) -> Self {
        let (addresses, origin) = (Vec::new(), Origin::Hearsay);
        Self { addresses, origin, source, serial, last_ok: 0, next_try: 0, failures: 0, anchor: false }
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
    fn is_rumour(&self) -> bool {
        self.origin == Origin::Hearsay && self.last_ok == 0
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn address(a: u8, b: u8, c: u8) -> Multiaddr {
        format!("/ip4/{a}.{b}.{c}.1/tcp/9353").parse().expect("an address")
    }

    const TELLER: Netgroup = Netgroup::V4([20, 1]);

    fn rng() -> StdRng {
        StdRng::seed_from_u64(7)
    }

    #[test]
    fn configured_peers_come_first_and_failures_back_off() {
        let (mut book, mut rng, none) = (AddressBook::default(), rng(), BTreeSet::new());
        let (named, heard) = (PeerId::random(), PeerId::random());
        book.hear(heard, &address(8, 8, 8), TELLER);
        book.configure(named, &address(9, 9, 9));
        let taken = BTreeSet::new();
        assert_eq!(book.next_to_dial(0, &mut rng, &none, &taken).map(|(peer, _)| peer), Some(named));
        book.failed(0, &named, &mut rng);
        assert_eq!(book.next_to_dial(0, &mut rng, &none, &taken).map(|(peer, _)| peer), Some(heard));
        assert_eq!(book.next_to_dial(3, &mut rng, &none, &taken).map(|(peer, _)| peer), Some(named));
    }

    #[test]
    fn one_outbound_peer_per_group_but_home_is_exempt() {
        let (mut book, mut rng) = (AddressBook::default(), rng());
        book.hear(PeerId::random(), &address(8, 8, 8), TELLER);
        let taken = BTreeSet::from([Netgroup::V4([8, 8]), Netgroup::Home]);
        assert!(book.next_to_dial(0, &mut rng, &BTreeSet::new(), &taken).is_none());
        book.hear(PeerId::random(), &address(192, 168, 1), TELLER);
        assert!(book.next_to_dial(0, &mut rng, &BTreeSet::new(), &taken).is_some());
    }

    #[test]
    fn one_group_cannot_fill_the_book() {
        let mut book = AddressBook::default();
        for index in 0..1_000u32 {
            book.hear(PeerId::random(), &address(8, 8, (index % 250) as u8), TELLER);
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
            book.hear(peer, &address(60 + (index % 4) as u8, 1, (index / 4) as u8), TELLER);
        }
        (0..10).for_each(|group| book.hear(PeerId::random(), &address(80 + group, 1, 1), TELLER));
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
        book.hear(peer, &address(8, 8, 8), TELLER);
        (0..MAX_FAILURES).for_each(|_| book.failed(0, &peer, &mut rng));
        assert!(book.is_empty());
    }

    /// A book that teller after teller filled with peers, each in a group of its own.
    fn full_of_hearsay() -> AddressBook {
        let mut book = AddressBook::default();
        for index in 0..MAX_PEERS as u32 {
            let source = Netgroup::V4([21, (index / MAX_HEARSAY_PER_SOURCE as u32) as u8]);
            book.hear(PeerId::random(), &address(60 + (index % 100) as u8, (index / 100) as u8, 1), source);
        }
        assert_eq!(book.len(), MAX_PEERS);
        book
    }

    #[test]
    fn a_reached_peer_finds_room_in_a_book_of_hearsay() {
        let mut book = full_of_hearsay();
        let oldest = book.rumours().min_by_key(|(_, entry)| entry.serial).map(|(peer, _)| *peer).expect("a rumour");
        let reached: Vec<_> = (0..MAX_REACHED).map(|_| PeerId::random()).collect();
        for (index, peer) in reached.iter().enumerate() {
            book.reached(1 + index as u64, *peer, &address(8, 8, 8));
            assert!(book.len() <= MAX_PEERS);
        }
        assert!(reached.iter().all(|peer| book.entries.contains_key(peer)));
        assert!(!book.entries.contains_key(&oldest), "the oldest hearsay went first");
        assert_eq!(book.rumours().count(), MAX_PEERS - MAX_REACHED);
    }

    #[test]
    fn of_too_many_reached_peers_the_one_longest_ago_goes() {
        let mut book = AddressBook::default();
        let reached: Vec<_> = (0..=MAX_REACHED + 1).map(|_| PeerId::random()).collect();
        for (index, peer) in reached.iter().enumerate() {
            book.set_anchors([reached[0]]);
            book.reached(1 + index as u64, *peer, &address(8, 8, 8));
        }
        assert_eq!(book.len(), MAX_REACHED);
        assert!(book.entries.contains_key(&reached[0]), "an anchor stays");
        assert!(!book.entries.contains_key(&reached[1]) && !book.entries.contains_key(&reached[2]));
        book.hear(PeerId::random(), &address(9, 9, 9), TELLER);
        assert_eq!(book.len(), MAX_REACHED + 1, "and there is room for news");
    }

    #[test]
    fn one_source_displaces_only_what_it_told_itself() {
        let mut book = AddressBook::default();
        let other = PeerId::random();
        book.hear(other, &address(9, 9, 9), Netgroup::V4([30, 1]));
        let told: Vec<_> = (0..1_000).map(|_| PeerId::random()).collect();
        for (index, peer) in told.iter().enumerate() {
            book.hear(*peer, &address(60 + (index % 100) as u8, (index / 100) as u8, 1), TELLER);
        }
        assert_eq!(book.len(), 1 + MAX_HEARSAY_PER_SOURCE);
        assert!(book.entries.contains_key(&other) && book.entries.contains_key(&told[999]));
        assert!(!book.entries.contains_key(&told[0]), "its oldest goes first");
    }

    #[test]
    fn a_full_book_still_hears_a_new_source() {
        let mut book = full_of_hearsay();
        for index in 0..200 {
            book.hear(PeerId::random(), &address(200, index, 1), Netgroup::V4([30, 1]));
        }
        assert_eq!(book.len(), MAX_PEERS);
        assert_eq!(book.rumours_by_source().get(&Netgroup::V4([30, 1])), Some(&200));
        assert!(book.rumours_by_source().values().all(|count| *count >= 200), "all the others gave way alike");
    }

    #[test]
    fn a_file_of_hearsay_does_not_shut_out_what_was_reached() {
        let mut book = full_of_hearsay();
        let reached = PeerId::random();
        book.reached(5, reached, &address(60, 0, 1));
        let again = AddressBook::from_text(&book.to_text());
        assert!(again.entries.get(&reached).is_some_and(|entry| entry.last_ok == 5));
        assert_eq!(again.rumours().count(), MAX_HEARSAY_PER_SOURCE);
    }
}

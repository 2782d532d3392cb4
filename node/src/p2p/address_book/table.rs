//! Where in the book a peer may stand: buckets chosen by a secret and address groups.
//!
//! A group of peers, or whoever tells of peers, reaches few of the buckets of a table, so it cannot fill the table; and
//! as the choice depends on a secret, nobody can aim at a bucket. The shape is that of Bitcoin's address manager.

use std::collections::BTreeMap;

use ledger::hash::{Tag, hash};
use libp2p::PeerId;
use rand::{RngCore, seq::IndexedRandom};

use crate::p2p::{netgroup::Netgroup, places::Secret};

/// Places in a bucket.
const BUCKET: u16 = 16;
/// Buckets for peers that were only heard of, and how many of them one source reaches.
const HEARSAY_BUCKETS: u16 = 128;
const BUCKETS_PER_SOURCE: u16 = 16;
/// Buckets for peers that were reached, and how many of them one address group reaches.
const REACHED_BUCKETS: u16 = 64;
const BUCKETS_PER_GROUP: u16 = 4;

/// The two parts of the book.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// Peers that somebody told of.
    Hearsay,
    /// Peers that answered.
    Reached,
}

impl Part {
    /// Most peers in it.
    pub const fn places(self) -> usize {
        let buckets = match self {
            Self::Hearsay => HEARSAY_BUCKETS,
            Self::Reached => REACHED_BUCKETS,
        };
        buckets as usize * BUCKET as usize
    }
}

/// A place in the book.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Slot {
    pub part: Part,
    bucket: u16,
    place: u16,
}

impl Slot {
    /// The one place that a peer can have among the hearsay.
    pub fn of_hearsay(secret: &Secret, peer: &PeerId, group: Netgroup, source: Netgroup) -> Self {
        let bucket = if source.is_exempt() {
            // At home, one group is everybody.
            number(secret, &[b"home", &peer.to_bytes()], HEARSAY_BUCKETS)
        } else {
            let share = number(secret, &[b"share", &source.to_bytes(), &key(group, peer)], BUCKETS_PER_SOURCE);
            number(secret, &[b"heard", &source.to_bytes(), &share.to_le_bytes()], HEARSAY_BUCKETS)
        };
        Self::in_bucket(secret, Part::Hearsay, bucket, peer)
    }

    /// The one place that a peer can have among those that were reached.
    pub fn of_reached(secret: &Secret, peer: &PeerId, group: Netgroup) -> Self {
        let share = number(secret, &[b"own", &peer.to_bytes()], BUCKETS_PER_GROUP);
        let bucket = number(secret, &[b"met", &key(group, peer), &share.to_le_bytes()], REACHED_BUCKETS);
        Self::in_bucket(secret, Part::Reached, bucket, peer)
    }

    fn in_bucket(secret: &Secret, part: Part, bucket: u16, peer: &PeerId) -> Self {
        let place = number(secret, &[b"place", &[part as u8], &bucket.to_le_bytes(), &peer.to_bytes()], BUCKET);
        Self { part, bucket, place }
    }
}

/// What stands for a peer's group. At home every peer stands for itself.
fn key(group: Netgroup, peer: &PeerId) -> Vec<u8> {
    if group.is_exempt() { peer.to_bytes() } else { group.to_bytes().to_vec() }
}

/// A number below `limit` that depends on the secret and the parts.
fn number(secret: &Secret, parts: &[&[u8]], limit: u16) -> u16 {
    let mut all = vec![secret.as_slice()];
    all.extend(parts);
    let digest = hash(Tag::GossipId, &all);
    let head = digest.0.first_chunk::<8>().copied().unwrap_or_default();
    (u64::from_le_bytes(head) % u64::from(limit)) as u16
}

/// Who stands where.
#[derive(Clone, Debug, Default)]
pub struct Table(BTreeMap<Slot, PeerId>);

impl Table {
    /// Who has the place.
    pub fn get(&self, slot: Slot) -> Option<PeerId> {
        self.0.get(&slot).copied()
    }

    /// Gives the place to a peer.
    pub fn put(&mut self, slot: Slot, peer: PeerId) {
        self.0.insert(slot, peer);
    }

    /// Frees the place, if it is this peer's.
    pub fn free(&mut self, slot: Slot, peer: &PeerId) {
        if self.0.get(&slot) == Some(peer) {
            self.0.remove(&slot);
        }
    }

    /// A peer of one part: every bucket with somebody eligible has the same chance, and so has each of those in it.
    pub fn pick(&self, part: Part, rng: &mut dyn RngCore, is_eligible: impl Fn(&PeerId) -> bool) -> Option<PeerId> {
        let mut buckets: BTreeMap<u16, Vec<PeerId>> = BTreeMap::new();
        for (slot, peer) in self.0.iter().filter(|(slot, peer)| slot.part == part && is_eligible(peer)) {
            buckets.entry(slot.bucket).or_default().push(*peer);
        }
        let buckets: Vec<_> = buckets.into_values().collect();
        buckets.choose(rng)?.choose(rng).copied()
    }
}

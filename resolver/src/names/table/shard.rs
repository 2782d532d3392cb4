//! One packed piece of a [`Table`](super::Table): entries in one run of bytes, and where each begins, by hash.
//!
//! The layout is private to this process: `length of what follows (2 bytes) · name length · name · five heights of 4
//! bytes · records`. The index is an open-addressed table of 4-byte slots, three quarters full: an offset of 24 bits
//! and 8 bits of the hash, so that a name that is absent is usually known to be so without looking at an entry.

use bytes::Bytes;
use ledger::name::Name;

use crate::names::{
    records::{RecordSet, RecordsRef},
    view::{Entry, EntryRef, Life},
};

/// Bytes of the length before each entry.
const LENGTH_BYTES: usize = 2;
/// Bytes of the heights of a [`Life`].
const LIFE_BYTES: usize = 5 * 4;
/// Stands for "not revoked". No height reaches it: at two seconds a block that takes 272 years.
const NOT_REVOKED: u32 = u32::MAX;
/// A slot without an entry. No offset reaches its low 24 bits.
const FREE: u32 = u32::MAX;
/// The bits of a slot that are an offset. A shard of 16 MiB would mean 64 GiB of names.
const OFFSET_BITS: u32 = 0x00ff_ffff;

/// A name's keyed hash. Tables take the shard from its low bits, shards the slot and the tag from others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hash(pub(super) u64);

/// Entries and their index.
#[derive(Default)]
pub(super) struct Shard {
    slots: Box<[u32]>,
    bytes: Bytes,
    names: u32,
    malformed_records: u64,
}

/// A shard while it is written.
#[derive(Default)]
pub(super) struct Builder {
    bytes: Vec<u8>,
}

impl Hash {
    /// The bits that the index remembers.
    fn tag(self) -> u32 {
        ((self.0 >> 56) as u32) << 24
    }

    /// Where to look first among `slots` slots.
    fn slot(self, slots: usize) -> usize {
        let fraction = u64::from((self.0 >> 12) as u32);
        ((fraction * slots as u64) >> 32) as usize
    }
}

impl Shard {
    /// The entry of `name`, which must be lower-cased.
    pub(super) fn find(&self, hash: Hash, name: &[u8]) -> Option<EntryRef<'_>> {
        let packed = self.packed(self.offset_of(hash, name)?);
        let (life, records) = packed[1 + name.len()..].split_at(LIFE_BYTES);
        Some(EntryRef { life: read_life(life), records: RecordsRef::new(records) })
    }

    /// The entry of `name`, sharing the shard's memory.
    pub(super) fn get(&self, hash: Hash, name: &Name) -> Option<Entry> {
        let found = self.find(hash, name.as_bytes())?;
        let records = self.bytes.slice_ref(found.records.as_bytes());
        Some(Entry { life: found.life, records: RecordSet::from_bytes(records) })
    }

    /// The shard after `changes`, which come in name order, each name once.
    pub(super) fn with_changes(&self, changes: &[Change], hash: impl Fn(&[u8]) -> Hash) -> Self {
        let added = changes.iter().filter_map(|change| Some(packed_bytes(&change.name, change.entry.as_ref()?)));
        let mut builder = Builder { bytes: Vec::with_capacity(self.bytes.len() + added.sum::<usize>()) };
        for packed in entries(&self.bytes) {
            let name = name_at(&packed[LENGTH_BYTES..]);
            if changes.binary_search_by(|change| change.name.as_bytes().cmp(name)).is_err() {
                builder.bytes.extend_from_slice(packed);
            }
        }
        for change in changes {
            if let Some(entry) = &change.entry {
                builder.push(&change.name, entry);
            }
        }
        builder.finish(hash)
    }

    /// All entries.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&[u8], EntryRef<'_>)> {
        entries(&self.bytes).map(|packed| {
            let name = name_at(&packed[LENGTH_BYTES..]);
            let (life, records) = packed[LENGTH_BYTES + 1 + name.len()..].split_at(LIFE_BYTES);
            (name, EntryRef { life: read_life(life), records: RecordsRef::new(records) })
        })
    }

    pub(super) fn names(&self) -> u64 {
        u64::from(self.names)
    }

    pub(super) fn malformed_records(&self) -> u64 {
        self.malformed_records
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.slots)
    }

    fn offset_of(&self, hash: Hash, name: &[u8]) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = hash.slot(self.slots.len());
        // A quarter of the slots is free, so this ends.
        loop {
            let slot = self.slots[at];
            if slot == FREE {
                return None;
            }
            let offset = (slot & OFFSET_BITS) as usize;
            if slot & !OFFSET_BITS == hash.tag() && name_at(self.packed(offset)) == name {
                return Some(offset);
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
    }

    fn packed(&self, offset: usize) -> &[u8] {
        &split_entry(&self.bytes[offset..]).0[LENGTH_BYTES..]
    }
}

/// What happens to one name.
pub(super) struct Change {
    pub(super) hash: Hash,
    pub(super) name: Name,
    pub(super) entry: Option<Entry>,
}

impl Builder {
    pub(super) fn push(&mut self, name: &Name, entry: &Entry) {
        let length = (packed_bytes(name, entry) - LENGTH_BYTES) as u16;
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.push(name.as_bytes().len() as u8);
        self.bytes.extend_from_slice(name.as_bytes());
        let life = &entry.life;
        let revoked = life.revoked_until.unwrap_or(NOT_REVOKED);
        for height in [life.active_from, life.expires_at, life.grace_until, revoked, life.last_change] {
            self.bytes.extend_from_slice(&height.to_le_bytes());
        }
        self.bytes.extend_from_slice(entry.records.as_bytes());
    }

    /// Adds what another has, as later.
    pub(super) fn append(&mut self, more: Self) {
        match self.bytes.is_empty() {
            true => *self = more,
            false => self.bytes.extend_from_slice(&more.bytes),
        }
    }

    /// Makes the index. Of two entries of one name, the later holds.
    pub(super) fn finish(mut self, hash: impl Fn(&[u8]) -> Hash) -> Shard {
        let mut shard = loop {
            match Shard::index(std::mem::take(&mut self.bytes), &hash) {
                Ok(shard) => break shard,
                Err((mut bytes, earlier)) => {
                    let length = split_entry(&bytes[earlier..]).0.len();
                    bytes.drain(earlier..earlier + length);
                    self.bytes = bytes;
                }
            }
        };
        shard.malformed_records = entries(&shard.bytes).map(|packed| u64::from(skipped(packed))).sum();
        shard
    }
}

impl Shard {
    /// Indexes `bytes`, or gives them back with the offset of an entry whose name comes again later.
    fn index(mut bytes: Vec<u8>, hash: impl Fn(&[u8]) -> Hash) -> Result<Self, (Vec<u8>, usize)> {
        assert!(bytes.len() < OFFSET_BITS as usize, "a shard outgrew 16 MiB: the table holds more than 64 GiB");
        let names = entries(&bytes).count();
        let mut slots = vec![FREE; names + names.div_ceil(3)].into_boxed_slice();
        let mut offset = 0;
        while offset < bytes.len() {
            let packed = split_entry(&bytes[offset..]).0;
            let name = name_at(&packed[LENGTH_BYTES..]);
            let hash = hash(name);
            let mut at = hash.slot(slots.len());
            while slots[at] != FREE {
                let other = (slots[at] & OFFSET_BITS) as usize;
                if slots[at] & !OFFSET_BITS == hash.tag() && name_at(&bytes[other + LENGTH_BYTES..]) == name {
                    return Err((bytes, other));
                }
                at = if at + 1 == slots.len() { 0 } else { at + 1 };
            }
            slots[at] = hash.tag() | offset as u32;
            offset += packed.len();
        }
        bytes.shrink_to_fit();
        Ok(Self { slots, bytes: bytes.into(), names: names as u32, malformed_records: 0 })
    }
}

/// The entries in `bytes`, each with its length.
fn entries(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        (!rest.is_empty()).then(|| {
            let (entry, tail) = split_entry(rest);
            rest = tail;
            entry
        })
    })
}

fn split_entry(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(LENGTH_BYTES + usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
}

fn packed_bytes(name: &Name, entry: &Entry) -> usize {
    LENGTH_BYTES + 1 + name.as_bytes().len() + LIFE_BYTES + entry.records.as_bytes().len()
}

fn skipped(packed: &[u8]) -> u8 {
    let name = name_at(&packed[LENGTH_BYTES..]);
    packed.get(LENGTH_BYTES + 1 + name.len() + LIFE_BYTES).copied().unwrap_or(0)
}

/// The name in an entry whose length is cut off.
fn name_at(packed: &[u8]) -> &[u8] {
    &packed[1..1 + usize::from(packed[0])]
}

fn read_life(bytes: &[u8]) -> Life {
    let height = |index: usize| {
        let at = index * 4;
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    Life {
        active_from: height(0),
        expires_at: height(1),
        grace_until: height(2),
        revoked_until: Some(height(3)).filter(|&until| until != NOT_REVOKED),
        last_change: height(4),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ledger::record::{Record, Records};

    use super::*;

    fn entry(mark: u32) -> Entry {
        let record = Record { sub: Vec::new(), rtype: 1, ttl: 300, rdata: mark.to_be_bytes().to_vec() };
        let life = Life { active_from: mark, expires_at: 9, grace_until: 10, revoked_until: None, last_change: 0 };
        Entry::new(life, &Records::new(vec![record]).expect("canonical"))
    }

    fn name(index: u32) -> Name {
        Name::new(&format!("n{index}")).expect("a name")
    }

    /// Compares a shard with a map over rounds of changes, under a hash that may be as bad as it likes.
    fn check(hash: impl Fn(&[u8]) -> Hash) {
        let (mut shard, mut model) = (Shard::default(), BTreeMap::new());
        for round in 0..40_u32 {
            let touched = (0..60).filter(|index| (index * 7 + round * 13) % 11 < 4);
            let mut changes: Vec<Change> = touched
                .map(|index| {
                    let entry = ((index + round) % 3 > 0).then(|| entry(round * 100 + index));
                    Change { hash: hash(name(index).as_bytes()), name: name(index), entry }
                })
                .collect();
            changes.sort_by(|a, b| a.name.cmp(&b.name));
            shard = shard.with_changes(&changes, &hash);
            for Change { name, entry, .. } in changes {
                match entry {
                    Some(entry) => model.insert(name, entry),
                    None => model.remove(&name),
                };
            }
            for name in (0..60).map(name) {
                let found = shard.get(hash(name.as_bytes()), &name);
                assert_eq!(found.as_ref(), model.get(&name), "{name} in round {round}");
            }
            assert_eq!(shard.names(), model.len() as u64);
        }
    }

    #[test]
    fn a_shard_is_a_map_whatever_the_hash() {
        let spread = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        check(|name| Hash(name.iter().fold(1, spread)));
        // Every name in the last slot, so that all but one wrap around; with equal tags, and with different ones.
        check(|_| Hash(u64::MAX));
        check(|name| Hash(u64::from(name[name.len() - 1]) << 56 | u64::MAX >> 8));
    }

    #[test]
    fn of_two_entries_of_one_name_the_later_holds() {
        let mut builder = Builder::default();
        for (index, mark) in [(1, 1), (2, 2), (1, 3), (3, 4), (1, 5), (3, 6)] {
            builder.push(&name(index), &entry(mark));
        }
        let shard = builder.finish(|_| Hash(5));
        let marks = [1, 2, 3].map(|index| shard.get(Hash(5), &name(index)).map(|entry| entry.life.active_from));
        assert_eq!((marks, shard.names()), ([Some(5), Some(2), Some(6)], 3));
        let none = shard.with_changes(&[], |_| Hash(5));
        assert_eq!((none.names(), none.heap_bytes()), (3, shard.heap_bytes()), "no leftovers");
    }

    #[test]
    fn an_empty_shard_holds_nothing() {
        let shard = Builder::default().finish(|_| Hash(0));
        assert_eq!(shard.get(Hash(7), &name(1)), None);
        assert_eq!(shard.heap_bytes(), 0);
    }
}

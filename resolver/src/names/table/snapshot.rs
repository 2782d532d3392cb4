//! All names at one height, immutable, and how such a table is filled from nothing.

use std::{fmt, hash::BuildHasher, sync::Arc, thread};

use foldhash::quality::RandomState;
use ledger::name::Name;

use super::shard::{Builder, Change, Hash, Shard};
use crate::names::view::{Entry, EntryRef, Facts, NameView, Readiness};

/// Number of shards. At 1,000,000 names a shard holds 122, and the list of shards itself is 66 kB to copy per block.
pub const SHARDS: usize = 8192;

/// An immutable snapshot of all names.
#[derive(Clone)]
pub struct Table {
    pub(super) facts: Facts,
    // Keyed, so that nobody can choose names that crowd one shard.
    hasher: RandomState,
    pub(super) shards: Box<[Arc<Shard>]>,
}

impl Table {
    /// A table without names at height 0, not ready.
    pub fn empty(block_interval_s: u32) -> Self {
        let readiness = Readiness::NotReady { height: 0, target: None };
        let none = Arc::new(Shard::default());
        Self {
            facts: Facts {
                height: 0,
                time: 0,
                block_interval_s,
                readiness,
                names: 0,
                malformed_records: 0,
                peers: 0,
                version: None,
            },
            hasher: RandomState::default(),
            shards: vec![none; SHARDS].into(),
        }
    }

    /// The table after `changes`; `None` removes a name. Of two changes to one name, the later holds.
    pub fn with_changes(&self, changes: impl IntoIterator<Item = (Name, Option<Entry>)>) -> Self {
        let change = |(name, entry): (Name, Option<Entry>)| Change { hash: self.hash(name.as_bytes()), name, entry };
        let mut changes: Vec<Change> = changes.into_iter().map(change).collect();
        changes.sort_by(|a, b| (shard_of(a.hash), &a.name).cmp(&(shard_of(b.hash), &b.name)));
        // The sort is stable, so of equal names the last stands last: it takes the place of the one kept.
        changes.dedup_by(|later, kept| {
            let is_same = later.name == kept.name;
            if is_same {
                std::mem::swap(later, kept);
            }
            is_same
        });
        let mut next = self.clone();
        for group in changes.chunk_by(|a, b| shard_of(a.hash) == shard_of(b.hash)) {
            let index = shard_of(group[0].hash);
            next.replace_shard(index, self.shards[index].with_changes(group, |name| self.hash(name)));
        }
        next
    }

    /// The entries of one shard, of which there are [`SHARDS`].
    pub(crate) fn shard(&self, index: usize) -> impl Iterator<Item = (&[u8], EntryRef<'_>)> {
        self.shards[index].entries()
    }

    /// Memory that names take, in bytes: packed entries and their index, without allocator overhead.
    pub fn heap_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.heap_bytes()).sum()
    }

    fn replace_shard(&mut self, index: usize, new: Shard) {
        let old = &self.shards[index];
        let facts = &mut self.facts;
        facts.names = facts.names - old.names() + new.names();
        facts.malformed_records = facts.malformed_records - old.malformed_records() + new.malformed_records();
        self.shards[index] = Arc::new(new);
    }

    pub(super) fn hash(&self, name: &[u8]) -> Hash {
        Hash(self.hasher.hash_one(name))
    }
}

pub(super) fn shard_of(hash: Hash) -> usize {
    hash.0 as usize % SHARDS
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl NameView for Table {
    fn facts(&self) -> Facts {
        self.facts
    }

    fn lookup(&self, name: &Name) -> Option<Entry> {
        let hash = self.hash(name.as_bytes());
        self.shards[shard_of(hash)].get(hash, name)
    }

    fn find(&self, name: &[u8]) -> Option<EntryRef<'_>> {
        let hash = self.hash(name);
        self.shards[shard_of(hash)].find(hash, name)
    }
}

/// A table while it is filled from nothing: each entry is packed once, and none is kept unpacked.
pub struct Filling {
    empty: Table,
    shards: Vec<Builder>,
}

impl Filling {
    /// Begins a table. `block_interval_s` is the network's mean number of seconds between blocks.
    pub fn new(block_interval_s: u32) -> Self {
        let shards = std::iter::repeat_with(Builder::default).take(SHARDS).collect();
        Self { empty: Table::empty(block_interval_s), shards }
    }

    /// Begins one table in several places at once, for as many threads. [`Filling::joined`] makes them one again.
    pub fn shared_among(threads: usize, block_interval_s: u32) -> Vec<Self> {
        let empty = Table::empty(block_interval_s);
        let shards = || std::iter::repeat_with(Builder::default).take(SHARDS).collect();
        std::iter::repeat_with(|| Self { empty: empty.clone(), shards: shards() }).take(threads.max(1)).collect()
    }

    /// Joins what [`Filling::shared_among`] began; of entries of one name, the one in the last part holds.
    pub fn joined(parts: Vec<Self>) -> Self {
        let mut parts = parts.into_iter();
        let mut all = parts.next().unwrap_or_else(|| Self::new(0));
        for part in parts {
            all.shards.iter_mut().zip(part.shards).for_each(|(shard, more)| shard.append(more));
        }
        all
    }

    /// Adds a name. Of two entries of one name, the later holds.
    pub fn push(&mut self, name: &Name, entry: &Entry) {
        self.shards[shard_of(self.empty.hash(name.as_bytes()))].push(name, entry);
    }

    /// Makes the indexes, on all cores.
    pub(super) fn finish(self) -> Table {
        let Self { empty: mut table, mut shards } = self;
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let finish_all = |chunk: &mut [Builder]| -> Vec<Shard> {
            let finish = |builder: &mut Builder| std::mem::take(builder).finish(|name| table.hash(name));
            chunk.iter_mut().map(finish).collect()
        };
        let finished: Vec<Vec<Shard>> = thread::scope(|scope| {
            let chunks = shards.chunks_mut(SHARDS.div_ceil(threads));
            let threads: Vec<_> = chunks.map(|chunk| scope.spawn(|| finish_all(chunk))).collect();
            threads.into_iter().map(|thread| thread.join().expect("packing does not panic")).collect()
        });
        for (index, shard) in finished.into_iter().flatten().enumerate() {
            table.replace_shard(index, shard);
        }
        table
    }
}

impl fmt::Debug for Filling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filling").finish_non_exhaustive()
    }
}

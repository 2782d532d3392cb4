//! A ready-made [`NameSource`]: all names in memory, swapped per block.
//!
//! A [`Table`] is immutable. Its names are spread over [`SHARDS`] packed shards by a keyed hash, so a block that
//! changes 500 names rewrites a few hundred shards of a few kilobytes each and shares the rest. [`SharedTable`] holds
//! the newest table; readers take it without a lock, the one writer replaces it. Beside it stands the newest version
//! for secondaries ([`Published`]), which is nearly always the same table.

pub(super) mod history;
mod shard;
mod snapshot;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use ledger::name::Name;

use crate::names::{
    source::NameSource,
    view::{Entry, Facts, NameView, Readiness, Version},
};
pub(crate) use history::MAX_WAITING;
pub use history::{HistoryLimits, PastBlock, Published, Step};
use history::{Versions, tag_of};
pub use snapshot::{Filling, SHARDS, Table};

/// The newest [`Table`], shared between one writer and any number of readers.
pub struct SharedTable {
    current: ArcSwap<Table>,
    published: ArcSwap<Published>,
    // Serialises writers; readers never touch it.
    writing: Mutex<Versions>,
}

/// The block that a snapshot is as of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// Distance from genesis.
    pub height: u32,
    /// Its time in Unix seconds.
    pub time: u64,
    /// What tells it apart from others of its height. Without it, secondaries get whole zones only.
    pub hash: Option<[u8; 32]>,
}

impl SharedTable {
    /// An empty table that is not ready. `block_interval_s` is the network's mean number of seconds between blocks.
    pub fn new(block_interval_s: u32) -> Self {
        let empty = Arc::new(Table::empty(block_interval_s));
        Self {
            current: ArcSwap::new(empty.clone()),
            published: ArcSwap::from_pointee(Published::nothing(empty)),
            writing: Mutex::new(Versions::new()),
        }
    }

    /// From now on remembers what happened to earlier versions of the zone.
    pub fn keep_history(&self, limits: HistoryLimits) {
        self.writing().set_limits(limits, &self.published.load().table);
    }

    /// How much is remembered, if anything.
    pub fn history(&self) -> Option<HistoryLimits> {
        self.writing().limits()
    }

    /// Goes on from the last version of an earlier run. To be called before anything is published.
    pub fn resume(&self, last: Version) {
        self.writing().resume(last);
    }

    /// Applies what a block (or its undoing) changed, and moves to its height and time (Unix seconds).
    pub fn publish(&self, height: u32, time: u64, changes: impl IntoIterator<Item = (Name, Option<Entry>)>) {
        self.publish_block(&Block { height, time, hash: None }, changes);
    }

    /// The same for a source that knows block hashes. After undoing a block, `block` is the one below.
    pub fn publish_block(&self, block: &Block, changes: impl IntoIterator<Item = (Name, Option<Entry>)>) {
        let mut versions = self.writing();
        let old = self.current.load();
        let changes: Vec<_> = changes.into_iter().collect();
        let names: Vec<Name> = changes.iter().map(|(name, _)| name.clone()).collect();
        let mut next = old.with_changes(changes);
        next.facts = Facts { height: block.height, time: block.time, ..next.facts };
        let (version, is_new) = versions.follow(&old, &next, block.tag(), &names);
        next.facts.version = Some(version);
        self.replace(&mut versions, next, is_new);
    }

    /// After a reorganisation to a height that gives no serial: once no further block follows at once, the chain as it is
    /// becomes a version, under the next serial. Otherwise does nothing; a table that is not ready settles when it is.
    pub fn settle(&self) {
        let mut versions = self.writing();
        let old = self.current.load();
        if old.facts.readiness == Readiness::Ready {
            self.settle_as(&mut versions, Table::clone(&old));
        }
    }

    /// Replaces all names by those of `filling`, as of a height and its time (Unix seconds).
    pub fn publish_all(&self, height: u32, time: u64, filling: Filling) {
        self.publish_all_of(&Block { height, time, hash: None }, filling);
    }

    /// The same for a source that knows block hashes.
    pub fn publish_all_of(&self, block: &Block, filling: Filling) {
        let mut next = filling.finish();
        let mut versions = self.writing();
        let Facts { names, malformed_records, .. } = next.facts;
        let facts = self.current.load().facts;
        next.facts = Facts { height: block.height, time: block.time, names, malformed_records, ..facts };
        next.facts.version = Some(versions.start(&next, block.tag()));
        let next = Arc::new(next);
        self.published.store(Arc::new(versions.publish_first(next.clone())));
        self.current.store(next);
    }

    /// Remembers what the blocks up to the present version did, the newest first, so that a restart does not cost
    /// secondaries a whole zone. To be called right after [`SharedTable::publish_all_of`].
    pub fn remember(&self, blocks: impl IntoIterator<Item = PastBlock>) {
        let versions = self.writing();
        self.published.store(Arc::new(versions.remember(&self.published.load(), blocks)));
    }

    /// Forgets all names, for a source that starts over. The table is not ready afterwards, and cannot be made ready
    /// before something is published. The last version's serial stays in the facts, but nothing can be fetched.
    pub fn clear(&self) {
        let mut versions = self.writing();
        versions.clear();
        let Facts { block_interval_s, version, .. } = self.current.load().facts;
        let nothing = Table::empty(block_interval_s);
        let mut empty = nothing.clone();
        empty.facts.version = version;
        // In this order, for readers take the version first: nobody may find an empty zone beside a table that is ready.
        self.current.store(Arc::new(empty));
        self.published.store(Arc::new(Published::nothing(Arc::new(nothing))));
    }

    /// Says whether the snapshot may be answered from. That a cleared table is ready is not believed: whoever says so
    /// speaks of what it held before.
    pub fn set_readiness(&self, readiness: Readiness) {
        let mut versions = self.writing();
        let old = self.current.load();
        if readiness == Readiness::Ready && versions.is_cleared() {
            return;
        }
        let mut next = Table::clone(&old);
        next.facts.readiness = readiness;
        match readiness == Readiness::Ready && old.facts.readiness != Readiness::Ready {
            true => self.settle_as(&mut versions, next),
            false => self.replace(&mut versions, next, false),
        }
    }

    /// Says how many peers the node is connected to, for `peers.namestead`.
    pub fn set_peers(&self, peers: u32) {
        self.replace_facts(|facts| facts.peers = peers);
    }

    /// The newest table.
    pub fn table(&self) -> Arc<Table> {
        self.current.load_full()
    }

    fn replace_facts(&self, change: impl FnOnce(&mut Facts)) {
        let _writing = self.writing();
        let mut next = Table::clone(&self.current.load());
        change(&mut next.facts);
        self.current.store(Arc::new(next));
    }

    /// Replaces the table by `next`, which holds the same names and is ready: as a new version if one is due.
    fn settle_as(&self, versions: &mut Versions, mut next: Table) {
        let version = versions.settle(next.facts.height);
        next.facts.version = version.or(next.facts.version);
        self.replace(versions, next, version.is_some());
    }

    fn replace(&self, versions: &mut Versions, next: Table, is_version: bool) {
        let next = Arc::new(next);
        if is_version {
            self.published.store(Arc::new(versions.publish(&self.published.load(), next.clone())));
        }
        self.current.store(next);
    }

    /// A writer that panicked may have left a version out, but nothing half done: tables are replaced as a whole.
    fn writing(&self) -> MutexGuard<'_, Versions> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Block {
    fn tag(&self) -> Option<u64> {
        self.hash.as_ref().map(tag_of)
    }
}

impl fmt::Debug for SharedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.current.load().fmt(f)
    }
}

impl NameSource for SharedTable {
    fn view(&self) -> Arc<dyn NameView> {
        self.table()
    }

    fn published(&self) -> Option<Arc<Published>> {
        Some(self.published.load_full())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use ledger::record::{Record, Records};

    use super::*;
    use crate::{dns::rtype, names::view::Life};

    fn name(text: &str) -> Name {
        Name::new(text).expect("a valid name")
    }

    fn entry(last_change: u32, rdata: &[u8]) -> Entry {
        let record = Record { sub: Vec::new(), rtype: rtype::AAAA, ttl: 300, rdata: rdata.to_vec() };
        let life = Life { active_from: 1, expires_at: 9, grace_until: 10, revoked_until: None, last_change };
        Entry::new(life, &Records::new(vec![record]).expect("canonical"))
    }

    fn many(count: usize) -> impl Iterator<Item = (Name, Option<Entry>)> {
        (0..count).map(|i| (name(&format!("name{i}")), Some(entry(i as u32, &(i as u128).to_be_bytes()))))
    }

    #[test]
    fn publishing_adds_changes_and_removes() {
        let shared = SharedTable::new(120);
        shared.publish(1, 10, many(10_000));
        let before = shared.view();
        let changes = [
            (name("name8"), None),
            (name("name7"), None),
            (name("name8"), Some(entry(99, &[1; 16]))),
            (name("absent"), None),
        ];
        shared.publish(2, 20, changes);
        let after = shared.view();
        assert_eq!((before.facts().height, before.facts().names), (1, 10_000));
        assert_eq!((after.facts().height, after.facts().time, after.facts().names), (2, 20, 9_999));
        assert_eq!(before.lookup(&name("name7")), Some(entry(7, &7u128.to_be_bytes())));
        assert_eq!(after.lookup(&name("name7")), None);
        assert_eq!(after.lookup(&name("name8")), Some(entry(99, &[1; 16])));
        for (name, expected) in many(10_000).skip(9) {
            assert_eq!(after.lookup(&name), expected);
        }
    }

    #[test]
    fn filling_replaces_everything_but_readiness() {
        let shared = SharedTable::new(2);
        shared.publish(1, 10, [(name("old"), Some(entry(1, &[1; 16])))]);
        shared.set_readiness(Readiness::Ready);
        let mut parts = Filling::shared_among(3, 2);
        parts[0].push(&name("name7"), &entry(1, &[1; 16]));
        for (index, (name, entry)) in many(10_000).enumerate() {
            parts[1 + index % 2].push(&name, &entry.expect("an entry"));
        }
        shared.publish_all(7, 70, Filling::joined(parts));
        let facts = shared.view().facts();
        assert_eq!((facts.height, facts.time, facts.names, facts.readiness), (7, 70, 10_000, Readiness::Ready));
        assert_eq!(shared.view().lookup(&name("old")), None);
        for (name, expected) in many(10_000) {
            assert_eq!(shared.view().lookup(&name), expected);
        }
        assert!(shared.view().find(b"NAME7").is_none() && shared.view().find(b"\xff").is_none());
        shared.publish(8, 80, [(name("name7"), None)]);
        assert_eq!((shared.view().lookup(&name("name7")), shared.view().facts().names), (None, 9_999));
    }

    #[test]
    fn facts_change_without_names() {
        let shared = SharedTable::new(2);
        shared.publish(5, 50, many(3));
        shared.set_peers(4);
        shared.set_readiness(Readiness::Ready);
        let facts = shared.view().facts();
        let readiness = Readiness::Ready;
        let version = Some(Version { serial: 5, tag: None });
        let expected = Facts {
            height: 5,
            time: 50,
            block_interval_s: 2,
            readiness,
            names: 3,
            malformed_records: 0,
            peers: 4,
            version,
        };
        assert_eq!(facts, expected);
        shared.clear();
        assert_eq!(shared.view().facts().names, 0);
    }

    #[test]
    fn malformed_records_are_counted_across_changes() {
        let life = entry(0, &[0; 16]).life;
        let bad = Record { sub: Vec::new(), rtype: rtype::MX, ttl: 300, rdata: vec![1] };
        let bad = Entry::new(life, &Records::new(vec![bad]).expect("canonical"));
        let shared = SharedTable::new(120);
        shared.publish(1, 1, [(name("a"), Some(bad.clone())), (name("b"), Some(bad))]);
        assert_eq!(shared.view().facts().malformed_records, 2);
        shared.publish(2, 2, [(name("a"), None)]);
        assert_eq!(shared.view().facts().malformed_records, 1);
    }

    /// The figures go to the output (`--no-capture`); the bounds are generous so that only a blunder fails.
    #[test]
    fn size_and_speed() {
        const NAMES: usize = 100_000;
        let shared = SharedTable::new(120);
        shared.publish(1, 1, many(NAMES));
        let per_name = shared.table().heap_bytes() / NAMES;
        let block: Vec<_> = many(NAMES).step_by(NAMES / 500).collect();
        let started = Instant::now();
        shared.publish(2, 2, block);
        let publish = started.elapsed();
        println!("{per_name} bytes per name (one AAAA record), 500 changes published in {publish:?}");
        assert!(per_name < 120, "{per_name} bytes per name");
    }
}

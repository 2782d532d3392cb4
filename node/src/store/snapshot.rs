//! Reading the database as it is, or a frozen view of it.

use rocksdb::{DBPinnableSlice, DBRawIteratorWithThreadMode, ReadOptions, SnapshotWithThreadMode};

use super::{
    database::{Db, Store},
    error::StoreError,
    read::{Direction, Read, Visit},
    schema::Table,
};

/// The database as it was at one moment.
pub struct Snapshot<'a> {
    store: &'a Store,
    frozen: SnapshotWithThreadMode<'a, Db>,
}

impl Store {
    /// A view that later writes do not change. Keep it for as short as possible: it holds back compaction.
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot { store: self, frozen: self.db().snapshot() }
    }
}

impl Snapshot<'_> {
    /// Visits a whole range upwards once, past the block cache: what is in there is read again, unlike this.
    pub fn sweep(&self, table: Table, range: (&[u8], &[u8]), visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let mut options = bounded(ReadOptions::default(), range);
        options.fill_cache(false);
        self.walk(table, options, Direction::Up, visit)
    }

    fn walk(
        &self,
        table: Table,
        mut options: ReadOptions,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        options.set_snapshot(&self.frozen);
        walk(self.store.db().raw_iterator_cf_opt(self.store.family(table), options), direction, visit)
    }
}

impl Read for Store {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.db().get_cf(self.family(table), key)?)
    }

    fn get_many(&self, table: Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        collect(self.db().batched_multi_get_cf(self.family(table), keys, false))
    }

    fn scan(
        &self,
        table: Table,
        range: (&[u8], &[u8]),
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let options = bounded(ReadOptions::default(), range);
        walk(self.db().raw_iterator_cf_opt(self.family(table), options), direction, visit)
    }
}

impl Read for Snapshot<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.frozen.get_cf(self.store.family(table), key)?)
    }

    fn get_many(&self, table: Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.frozen);
        collect(self.store.db().batched_multi_get_cf_opt(self.store.family(table), keys, false, &options))
    }

    fn scan(
        &self,
        table: Table,
        range: (&[u8], &[u8]),
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        self.walk(table, bounded(ReadOptions::default(), range), direction, visit)
    }
}

fn collect(
    found: Vec<Result<Option<DBPinnableSlice<'_>>, rocksdb::Error>>,
) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
    found.into_iter().map(|entry| Ok(entry?.map(|bytes| bytes.to_vec()))).collect()
}

fn bounded(mut options: ReadOptions, (from, to): (&[u8], &[u8])) -> ReadOptions {
    options.set_iterate_lower_bound(from);
    if !to.is_empty() {
        options.set_iterate_upper_bound(to);
    }
    options
}

fn walk(
    mut entries: DBRawIteratorWithThreadMode<'_, Db>,
    direction: Direction,
    visit: &mut Visit<'_>,
) -> Result<(), StoreError> {
    match direction {
        Direction::Up => entries.seek_to_first(),
        Direction::Down => entries.seek_to_last(),
    }
    while let Some((key, value)) = entries.item() {
        if visit(key, value)?.is_break() {
            return Ok(());
        }
        match direction {
            Direction::Up => entries.next(),
            Direction::Down => entries.prev(),
        }
    }
    Ok(entries.status()?)
}

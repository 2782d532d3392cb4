//! Reading, from the database as it is or from a frozen view of it.

use rocksdb::{DBPinnableSlice, DBRawIteratorWithThreadMode, ReadOptions, SnapshotWithThreadMode};

use super::{Db, Store, StoreError, Table};

/// Which way a scan goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Ascending keys.
    Up,
    /// Descending keys.
    Down,
}

/// Whether a scan goes on.
pub type Flow = std::ops::ControlFlow<()>;

/// Called with each entry of a scan: key and value.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<Flow, StoreError> + 'a;

/// Something entries can be read from.
pub trait Read {
    /// The entry at `key`.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The entries at `keys`, in their order.
    fn get_many(&self, table: Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;

    /// Visits the entries with `from ≤ key < to`, in one direction, until `visit` breaks.
    fn scan(
        &self,
        table: Table,
        range: (&[u8], &[u8]),
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError>;

    /// Visits the entries whose key starts with `prefix`.
    fn scan_prefix(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.scan(table, (prefix, &after_prefix(prefix)), Direction::Up, visit)
    }
}

/// The first key behind all keys that start with `prefix`; empty, which means no end, if there is none.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

/// The database as it was at one moment.
pub struct Snapshot<'a> {
    store: &'a Store,
    frozen: SnapshotWithThreadMode<'a, Db>,
}

impl<'a> Snapshot<'a> {
    pub(super) fn of(store: &'a Store) -> Self {
        Self { store, frozen: store.inner.db.snapshot() }
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
        walk(self.store.inner.db.raw_iterator_cf_opt(self.store.family(table), options), direction, visit)
    }
}

impl Read for Store {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.inner.db.get_cf(self.family(table), key)?)
    }

    fn get_many(&self, table: Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        collect(self.inner.db.batched_multi_get_cf(self.family(table), keys, false))
    }

    fn scan(
        &self,
        table: Table,
        range: (&[u8], &[u8]),
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let options = bounded(ReadOptions::default(), range);
        walk(self.inner.db.raw_iterator_cf_opt(self.family(table), options), direction, visit)
    }
}

impl Read for Snapshot<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.frozen.get_cf(self.store.family(table), key)?)
    }

    fn get_many(&self, table: Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.frozen);
        collect(self.store.inner.db.batched_multi_get_cf_opt(self.store.family(table), keys, false, &options))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix() {
        for (prefix, end) in [(&b"ab"[..], &b"ac"[..]), (b"a\xff", b"b"), (b"\xff\xff", b""), (b"", b"")] {
            assert_eq!(after_prefix(prefix), end);
        }
    }
}

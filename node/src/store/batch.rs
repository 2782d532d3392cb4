//! Writes that happen together or not at all.

use rocksdb::{WriteBatch, WriteOptions};

use super::{Store, StoreError, Table};

/// When a write must have reached the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// Before the write returns: it survives a power failure.
    Synced,
    /// Some time later: it survives the process, and after a power failure it is there or not, but never in part and
    /// never without everything written before it.
    Buffered,
}

/// A set of writes across tables.
pub struct Batch<'a> {
    store: &'a Store,
    writes: WriteBatch,
}

impl<'a> Batch<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, writes: WriteBatch::default() }
    }

    /// Writes one entry.
    pub fn put(&mut self, table: Table, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.writes.put_cf(self.store.family(table), key, value);
    }

    /// Deletes one entry, if it is there.
    pub fn delete(&mut self, table: Table, key: impl AsRef<[u8]>) {
        self.writes.delete_cf(self.store.family(table), key);
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Writes everything.
    pub fn write(self, durability: Durability) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        Ok(self.store.inner.db.write_opt(self.writes, &options)?)
    }
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({} writes)", self.writes.len())
    }
}

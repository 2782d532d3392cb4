//! Writes that happen together or not at all.

use std::time::Duration;

use rocksdb::{ErrorKind, WriteBatch, WriteOptions};

use super::{database::Store, error::StoreError, schema::Table};

/// How often a write that the database is too busy for is tried again: short against a flush, which takes some 50 ms.
const STALL_CHECK: Duration = Duration::from_millis(5);

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

impl Store {
    /// An empty batch.
    pub fn batch(&self) -> Batch<'_> {
        Batch { store: self, writes: WriteBatch::default() }
    }
}

impl Batch<'_> {
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

    /// Writes everything. Waits while the database is behind with its own work, but not for room on a full disk.
    pub fn write(self, durability: Durability) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        // Left to itself RocksDB waits for the end of a stall, and on a full disk that never comes.
        options.set_no_slowdown(true);
        loop {
            let writes = WriteBatch::from_data(self.writes.data());
            match self.store.db().write_opt(writes, &options) {
                Ok(()) => {
                    self.store.stall().note_success();
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Incomplete => self.wait_out_stall()?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits a moment, unless the database cannot get its own work done.
    fn wait_out_stall(&self) -> Result<(), StoreError> {
        let errors = self.store.db().property_int_value("rocksdb.background-errors")?.unwrap_or(0);
        if self.store.stall().is_hopeless(errors) {
            return Err(StoreError::DiskFull);
        }
        std::thread::sleep(STALL_CHECK);
        Ok(())
    }
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({} writes)", self.writes.len())
    }
}

//! Writes that happen together or not at all.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use rocksdb::{ErrorKind, WriteBatch, WriteOptions};

use super::{Store, StoreError, Table};

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

    /// Writes everything. Waits while the database is behind with its own work, but not for room on a full disk.
    pub fn write(self, durability: Durability) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        // Left to itself RocksDB waits for the end of a stall, and on a full disk that never comes.
        options.set_no_slowdown(true);
        loop {
            let writes = WriteBatch::from_data(self.writes.data());
            match self.store.inner.db.write_opt(writes, &options) {
                Ok(()) => {
                    self.store.inner.stall.note_success();
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Incomplete => self.wait_out_stall()?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits a moment, unless the database cannot get its own work done.
    fn wait_out_stall(&self) -> Result<(), StoreError> {
        let errors = self.store.inner.db.property_int_value("rocksdb.background-errors")?.unwrap_or(0);
        if self.store.inner.stall.is_hopeless(errors) {
            return Err(StoreError::DiskFull);
        }
        std::thread::sleep(STALL_CHECK);
        Ok(())
    }
}

/// Tells a database that is busy from one that has no room to work in.
///
/// In both cases writes are refused for the moment. RocksDB counts what goes wrong in the background: if that count has
/// grown since the last stall that ended, this one will not end by waiting. (An error of another kind than a full disk
/// makes RocksDB refuse writes with that error instead.)
#[derive(Debug, Default)]
pub(super) struct Stall {
    /// Background errors at the beginning of the stall under way, plus one; 0 while there is none.
    under_way: AtomicU64,
    /// Background errors that were overcome.
    overcome: AtomicU64,
}

impl Stall {
    fn note_success(&self) {
        let errors = self.under_way.swap(0, Relaxed);
        if errors > 0 {
            self.overcome.store(errors - 1, Relaxed);
        }
    }

    fn is_hopeless(&self, errors: u64) -> bool {
        self.under_way.store(errors + 1, Relaxed);
        errors > self.overcome.load(Relaxed)
    }
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({} writes)", self.writes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_hopeless_only_after_new_errors() {
        let stall = Stall::default();
        assert!(!stall.is_hopeless(0), "busy");
        stall.note_success();
        assert!(stall.is_hopeless(3), "the flush failed");
        assert!(stall.is_hopeless(4));
        stall.note_success();
        assert!(!stall.is_hopeless(4), "those errors were overcome");
        assert!(stall.is_hopeless(5));
    }
}

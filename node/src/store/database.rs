//! The open database: its tables, and the memory and files that they share.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rocksdb::{ColumnFamily, ColumnFamilyDescriptor, DBWithThreadMode, Env, SingleThreaded};

use super::{
    closed::{Alive, Closed},
    error::StoreError,
    options,
    schema::{TABLES, Table, TableSpec},
    stall::Stall,
};

/// Column families never change while the database is open, so their table needs no lock.
pub(super) type Db = DBWithThreadMode<SingleThreaded>;

/// An open database. Cheap to clone; closed when the last clone is dropped.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    path: PathBuf,
    stall: Stall,
    /// The memory that a database without a disk lives in; must outlive `db`, and fields drop in this order.
    env: Option<Env>,
    /// Dropped last, and thereby tells that the rest is gone.
    alive: Alive,
}

impl Store {
    /// Opens the tables, whoever they belong to. With `env`, in memory.
    pub(super) fn open_in(path: &Path, env: Option<Env>, open_files: u32) -> Result<Self, StoreError> {
        let shared = options::Shared::new(env.as_ref(), open_files);
        // Compaction can wait; answering DNS and judging blocks cannot. This is one setting for the whole process.
        Env::new()?.lower_thread_pool_cpu_priority();
        // They are made in this order: by `meta`, a first start that ended early is known for one of ours.
        let is_meta = |spec: &&TableSpec| spec.table == Table::Meta;
        let ordered = TABLES.iter().filter(is_meta).chain(TABLES.iter().filter(|spec| !is_meta(spec)));
        let tables = ordered.map(|spec| ColumnFamilyDescriptor::new(spec.name, shared.table(spec)));
        let db = Db::open_cf_descriptors(&shared.database(), path, tables)
            .map_err(|error| StoreError::opening(path, &error))?;
        let (path, stall, alive) = (path.to_owned(), Stall::default(), Alive::default());
        Ok(Self { inner: Arc::new(Inner { db, path, stall, env, alive }) })
    }

    /// Where the database is. Meaningless for one in memory.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Makes everything written so far durable. In memory there is nothing to do.
    pub fn sync(&self) -> Result<(), StoreError> {
        if self.inner.env.is_some() {
            return Ok(());
        }
        Ok(self.inner.db.flush_wal(true)?)
    }

    /// Learns when the last clone is gone and the directory is free again. Does not keep the database open.
    pub fn closed(&self) -> Closed {
        self.inner.alive.watch()
    }

    /// Bytes of memory that RocksDB says it uses: memtables, block cache, table readers.
    pub fn memory_bytes(&self) -> u64 {
        options::MEMORY_PROPERTIES
            .iter()
            .flat_map(|property| TABLES.iter().map(move |spec| (property, spec)))
            .filter_map(|(property, spec)| {
                self.inner.db.property_int_value_cf(self.family(spec.table), *property).ok()?
            })
            .sum()
    }

    pub(super) fn db(&self) -> &Db {
        &self.inner.db
    }

    pub(super) fn stall(&self) -> &Stall {
        &self.inner.stall
    }

    pub(super) fn family(&self, table: Table) -> &ColumnFamily {
        let name = TABLES[table as usize].name;
        self.inner.db.cf_handle(name).expect("the database was opened with every table of the schema")
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.inner.path.display())
    }
}

//! The database: the only place that knows RocksDB.
//!
//! For: keeping everything that must outlive the process, in the tables that [`TABLES`] lists, and for reading it back
//! from any thread. Not for: deciding what to keep; the chain writes blocks, other parts write their own key-value
//! space ([`Kv`]).
//!
//! Guarantees: a [`Batch`] is written whole or not at all, across all tables, whatever happens to the machine. A
//! database of another format or another network is refused with a sentence that says so. Bytes that do not pass
//! their checksum are an error, never an answer. Memory is bounded by the constants in `options`.

mod batch;
mod closed;
mod error;
mod framing;
mod identity;
mod kv;
mod options;
mod read;
mod rows;
mod schema;

pub use batch::{Batch, Durability};
pub use closed::Closed;
pub use error::StoreError;
pub use identity::FORMAT;
pub use kv::{Kv, Space};
pub use options::OPEN_FILES;
pub use read::{Direction, Flow, Read, Snapshot, Visit};
pub use rows::{BodyKey, HeaderRow, PoolRow, Rows, TipRow, expiry_key, history_key, owner_key};
pub(crate) use rows::{TIP_KEY, fixed, parse, places_row, row};
pub use schema::{TABLES, Table};

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ledger::params::Params;
use rocksdb::{ColumnFamily, ColumnFamilyDescriptor, DBWithThreadMode, Env, SingleThreaded};

/// Column families never change while the database is open, so their table needs no lock.
type Db = DBWithThreadMode<SingleThreaded>;

/// An open database. Cheap to clone; closed when the last clone is dropped.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    path: PathBuf,
    stall: batch::Stall,
    /// The memory that a database without a disk lives in; must outlive `db`, and fields drop in this order.
    env: Option<Env>,
    /// Dropped last, and thereby tells that the rest is gone.
    alive: closed::Alive,
}

impl Store {
    /// Opens the database in the directory `path`, and creates it where there is none.
    pub fn open(path: impl AsRef<Path>, params: &Params) -> Result<Self, StoreError> {
        Self::open_with(path, params, OPEN_FILES)
    }

    /// The same with at most so many files held open.
    pub fn open_with(path: impl AsRef<Path>, params: &Params, open_files: u32) -> Result<Self, StoreError> {
        let path = path.as_ref();
        identity::refuse_foreign_directory(path)?;
        let store = Self::open_in(path, None, open_files)?;
        identity::settle(&store, params)?;
        Ok(store)
    }

    /// A database in memory, for simulators and tests. Nothing of it survives the last clone.
    pub fn in_memory(params: &Params) -> Result<Self, StoreError> {
        let env = Env::mem_env().map_err(StoreError::from)?;
        let store = Self::open_in(Path::new("/namestead"), Some(env), OPEN_FILES)?;
        identity::settle(&store, params)?;
        Ok(store)
    }

    fn open_in(path: &Path, env: Option<Env>, open_files: u32) -> Result<Self, StoreError> {
        let shared = options::Shared::new(env.as_ref(), open_files);
        // Compaction can wait; answering DNS and judging blocks cannot. This is one setting for the whole process.
        Env::new()?.lower_thread_pool_cpu_priority();
        // They are made in this order: by `meta`, a first start that ended early is known for one of ours.
        let is_meta = |spec: &&schema::TableSpec| spec.table == Table::Meta;
        let ordered = TABLES.iter().filter(is_meta).chain(TABLES.iter().filter(|spec| !is_meta(spec)));
        let tables = ordered.map(|spec| ColumnFamilyDescriptor::new(spec.name, shared.table(spec)));
        let db = Db::open_cf_descriptors(&shared.database(), path, tables)
            .map_err(|error| StoreError::opening(path, &error))?;
        let (path, stall, alive) = (path.to_owned(), batch::Stall::default(), closed::Alive::default());
        Ok(Self { inner: Arc::new(Inner { db, path, stall, env, alive }) })
    }

    /// Where the database is. Meaningless for one in memory.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// A key-value space for another part of the node.
    pub fn kv(&self, space: Space) -> Kv {
        Kv::new(self.clone(), space)
    }

    /// An empty batch.
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(self)
    }

    /// A view that later writes do not change. Keep it for as short as possible: it holds back compaction.
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot::of(self)
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

    fn family(&self, table: Table) -> &ColumnFamily {
        let name = TABLES[table as usize].name;
        self.inner.db.cf_handle(name).expect("the database was opened with every table of the schema")
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.inner.path.display())
    }
}

#[cfg(test)]
mod tests;

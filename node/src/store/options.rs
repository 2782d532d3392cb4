//! How RocksDB is set up: for little memory when idle, bounded memory during initial sync, and no surprises on disk.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, Env, LogLevel, Options,
};

use super::schema::{Shape, Table, TableSpec};

/// Blocks, indexes and filters together. The chain keeps hot tree pages and entries in caches of its own, so this
/// serves readers and compaction; 24 MiB hold the indexes and filters of some eight million names.
const BLOCK_CACHE_BYTES: usize = 24 << 20;
/// All memtables together. More would mean fewer, larger files in initial sync; idle nodes pay for it in memory.
const WRITE_BUFFER_BYTES: usize = 32 << 20;
/// One memtable of a busy table.
const LARGE_BUFFER_BYTES: usize = 8 << 20;
/// One memtable of a quiet table.
const SMALL_BUFFER_BYTES: usize = 1 << 20;
/// One memtable of a database in memory: simulators open fifty of them.
const TINY_BUFFER_BYTES: usize = 256 << 10;
/// Log before old memtables are flushed: bounds both disk use and the replay after a crash (well below a second).
const WAL_BYTES: u64 = 64 << 20;
/// Files held open where descriptors are plenty. Each costs its index and filter in the block cache and little else.
pub const OPEN_FILES: u32 = 256;

/// Properties that add up to RocksDB's memory, per table.
pub(super) const MEMORY_PROPERTIES: [&str; 2] =
    ["rocksdb.cur-size-all-mem-tables", "rocksdb.estimate-table-readers-mem"];

/// What all tables of one database share.
pub(super) struct Shared {
    cache: Cache,
    env: Option<Env>,
    open_files: u32,
}

impl Shared {
    pub(super) fn new(env: Option<&Env>, open_files: u32) -> Self {
        let bytes = if env.is_some() { TINY_BUFFER_BYTES } else { BLOCK_CACHE_BYTES };
        Self { cache: Cache::new_lru_cache(bytes), env: env.cloned(), open_files }
    }

    /// Options of the database as a whole.
    pub(super) fn database(&self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_paranoid_checks(true);
        // A log torn by a crash is replayed up to the tear: every batch before it, none after it.
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options.set_max_total_wal_size(WAL_BYTES);
        options.set_db_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_max_open_files(i32::try_from(self.open_files).unwrap_or(i32::MAX));
        // One flush and one compaction: there are two cores, and both have signatures to verify.
        options.set_max_background_jobs(2);
        options.set_bytes_per_sync(1 << 20);
        options.set_log_level(LogLevel::Warn);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(1 << 20);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        if let Some(env) = &self.env {
            options.set_env(env);
        }
        options
    }

    /// Options of one table.
    pub(super) fn table(&self, spec: &TableSpec) -> Options {
        let mut options = Options::default();
        options.set_write_buffer_size(self.buffer_bytes(spec));
        options.set_max_write_buffer_number(3);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_target_file_size_base(16 << 20);
        options.set_compression_type(compression(spec));
        options.set_block_based_table_factory(&self.blocks(spec));
        if spec.shape == Shape::Points {
            options.set_memtable_whole_key_filtering(true);
            options.set_memtable_prefix_bloom_ratio(0.02);
        }
        if let Some(env) = &self.env {
            options.set_env(env);
        }
        options
    }

    fn buffer_bytes(&self, spec: &TableSpec) -> usize {
        match spec.table {
            _ if self.env.is_some() => TINY_BUFFER_BYTES,
            Table::Bodies | Table::Tree | Table::Names | Table::Undo => LARGE_BUFFER_BYTES,
            Table::Headers | Table::Commits | Table::History | Table::Transactions | Table::Owners | Table::Expiry => {
                LARGE_BUFFER_BYTES / 2
            }
            Table::Heights | Table::Mmr | Table::Pool | Table::Ops | Table::Meta => SMALL_BUFFER_BYTES,
        }
    }

    fn blocks(&self, spec: &TableSpec) -> BlockBasedOptions {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        // Indexes and filters count against the cache, or they would grow with the database outside any bound.
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        blocks.set_index_type(BlockBasedIndexType::BinarySearch);
        blocks.set_format_version(5);
        match spec.shape {
            Shape::Points => {
                blocks.set_block_size(4 << 10);
                blocks.set_bloom_filter(10.0, false);
            }
            Shape::Ranges => blocks.set_block_size(8 << 10),
            Shape::Bulk => blocks.set_block_size(32 << 10),
        }
        blocks
    }
}

/// Hashes do not compress; what stands around them does.
fn compression(spec: &TableSpec) -> DBCompressionType {
    match spec.table {
        Table::Tree | Table::Mmr | Table::Heights => DBCompressionType::None,
        Table::Headers
        | Table::Bodies
        | Table::Names
        | Table::Commits
        | Table::Expiry
        | Table::Undo
        | Table::Owners
        | Table::History
        | Table::Transactions
        | Table::Pool
        | Table::Ops
        | Table::Meta => DBCompressionType::Lz4,
    }
}

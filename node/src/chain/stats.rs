//! Counters of what the chain did since the start. Written by the chain thread, read by whoever exports metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// The live counters. Relaxed: each is right by itself, they are not a consistent set.
        #[derive(Debug, Default)]
        pub struct ChainStats { $(pub(crate) $name: AtomicU64),+ }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct StatsSnapshot { $($(#[$doc])* pub $name: u64),+ }

        impl ChainStats {
            /// The counters now.
            pub fn snapshot(&self) -> StatsSnapshot {
                StatsSnapshot { $($name: self.$name.load(Relaxed)),+ }
            }
        }
    };
}

counters! {
    /// Headers accepted into the tree.
    headers_accepted,
    /// Headers refused because they break a rule.
    headers_invalid,
    /// Blocks connected.
    blocks_connected,
    /// Blocks disconnected.
    blocks_disconnected,
    /// Blocks refused because they break a rule.
    blocks_invalid,
    /// Bodies kept that are not connected yet.
    bodies_waiting,
    /// Reorganisations: switches to another branch, of any depth.
    reorgs,
    /// Blocks disconnected by the deepest reorganisation.
    reorg_depth_max,
    /// Names whose owner a reorganisation changed.
    reorg_owner_changes,
    /// Times a heavier chain was refused because it forks off too deep.
    deep_fork_alarms,
    /// Times stored state did not fit its header.
    corruption_alarms,
    /// Nanoseconds spent connecting blocks.
    connect_nanoseconds,
    /// Nanoseconds of that spent in the database.
    write_nanoseconds,
    /// State tree pages found in the cache.
    page_cache_hits,
    /// State tree pages read from the database.
    page_cache_misses,
    /// Transactions taken into the mempool.
    transactions_accepted,
    /// Transactions refused.
    transactions_rejected,
    /// Transactions checked for work and signatures.
    transactions_checked,
    /// Such checks saved because the mempool had made them.
    transaction_checks_saved,
    /// Transactions in the mempool now.
    mempool_transactions,
    /// Their bytes.
    mempool_bytes,
    /// 1 while the disk is full and no block is connected.
    disk_full,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

/// Sets a gauge.
pub(crate) fn set(gauge: &AtomicU64, value: u64) {
    gauge.store(value, Relaxed);
}

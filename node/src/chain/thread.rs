//! What the chain thread owns, and what errors of the database mean for it.
//!
//! After a full disk the caller gets an error, and writing is tried again every few seconds while readers go on; any
//! other error stops the thread, because after a failed write nothing more may be written.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    thread,
    time::Duration,
};

use ledger::{
    hash::{BlockHash, Key},
    transaction::Transaction,
};
use tokio::sync::{broadcast, mpsc, watch};

use crate::{mempool::Mempool, store::StoreError};

use super::{
    core::ChainCore,
    event::{Alarm, ChainEvent},
    mailbox::Message,
    stats::set,
    template::Draft,
    types::{ChainError, Tip},
    workers::Workers,
};

/// How often a write is tried again while the disk is full.
const RETRY: Duration = Duration::from_secs(5);

/// What the thread owns.
pub(super) struct Chain {
    pub(super) core: ChainCore,
    pub(super) pool: Mempool,
    pub(super) block_workers: Workers,
    pub(super) transaction_workers: Workers,
    /// Messages about transactions that wait until nothing more urgent does; bounded by their permits.
    pub(super) backlog: VecDeque<Message>,
    pub(super) back: mpsc::WeakSender<Message>,
    pub(super) tip: watch::Sender<Arc<Tip>>,
    pub(super) events: broadcast::Sender<Arc<ChainEvent>>,
    /// Whether the database has failed, so that nothing more may be written.
    pub(super) has_failed: bool,
    pub(super) clock: fn() -> u64,
    pub(super) draft: Option<Draft>,
    /// Counts changes of the mempool.
    pub(super) revision: u64,
    /// Transactions that the node itself puts back into the mempool.
    pub(super) own: VecDeque<Transaction>,
    pub(super) own_under_way: usize,
    /// Keys whose transactions in the mempool were judged again at this tip, because they stood in another's way. At
    /// most as many as the mempool has transactions, twice.
    pub(super) rivals_rechecked: (BlockHash, BTreeSet<Key>),
    pub(super) retry_is_set: bool,
    /// Whether the operator knows that the disk is full.
    pub(super) disk_full_told: bool,
}

impl Chain {
    /// Takes note of what a database error means for this thread.
    pub(super) fn checked<T>(&mut self, result: Result<T, StoreError>) -> Result<T, ChainError> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => {
                self.note(&error);
                Err(error.into())
            }
        }
    }

    pub(super) fn note(&mut self, error: &StoreError) {
        match error {
            StoreError::DiskFull => {
                set(&self.core.stats.disk_full, 1);
                self.set_retry();
            }
            StoreError::NotOurs { .. }
            | StoreError::OtherFormat { .. }
            | StoreError::OtherNetwork { .. }
            | StoreError::OtherChain { .. }
            | StoreError::Locked { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Io { .. } => {
                tracing::error!(%error, "chain_stopped");
                self.has_failed = true;
            }
        }
    }

    fn set_retry(&mut self) {
        if self.retry_is_set {
            return;
        }
        self.retry_is_set = true;
        if !std::mem::replace(&mut self.disk_full_told, true) {
            Alarm::DiskFull.log();
            self.send_event(ChainEvent::Alarm(Alarm::DiskFull));
        }
        let back = self.back.clone();
        thread::spawn(move || {
            thread::sleep(RETRY);
            if let Some(queue) = back.upgrade() {
                // A closed queue needs no retry.
                let _ = queue.blocking_send(Message::Retry);
            }
        });
    }

    pub(super) fn send_event(&self, event: ChainEvent) {
        // No subscriber is not an error.
        let _ = self.events.send(Arc::new(event));
    }
}

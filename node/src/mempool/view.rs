//! The mempool as others see it: a shared table that the chain thread keeps up to date.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use ledger::hash::TxId;
use parking_lot::RwLock;

use super::PoolTransaction;

/// A read-only view of the mempool. Cheap to clone; reading holds up the chain thread for no longer than a copy.
#[derive(Clone, Debug, Default)]
pub struct MempoolView {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    entries: RwLock<HashMap<TxId, Arc<PoolTransaction>>>,
    bytes: AtomicUsize,
}

impl MempoolView {
    /// The transaction with this id.
    pub fn get(&self, txid: &TxId) -> Option<Arc<PoolTransaction>> {
        self.shared.entries.read().get(txid).cloned()
    }

    /// Whether a transaction with this id is there.
    pub fn contains(&self, txid: &TxId) -> bool {
        self.shared.entries.read().contains_key(txid)
    }

    /// All transactions, in no particular order.
    pub fn all(&self) -> Vec<Arc<PoolTransaction>> {
        self.shared.entries.read().values().cloned().collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.shared.entries.read().len()
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.shared.bytes.load(Relaxed)
    }

    pub(super) fn put(&self, entry: Arc<PoolTransaction>, bytes: usize) {
        self.shared.entries.write().insert(entry.txid(), entry);
        self.shared.bytes.store(bytes, Relaxed);
    }

    pub(super) fn take(&self, txid: &TxId, bytes: usize) {
        self.shared.entries.write().remove(txid);
        self.shared.bytes.store(bytes, Relaxed);
    }
}

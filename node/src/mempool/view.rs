//! The mempool as others see it: a shared table that the chain thread keeps up to date.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use ledger::hash::{TxId, WitnessTxId};
use parking_lot::RwLock;

use super::PoolTransaction;

/// A read-only view of the mempool. Cheap to clone; reading holds up the chain thread for no longer than a copy.
#[derive(Clone, Debug, Default)]
pub struct MempoolView {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    table: RwLock<Table>,
    bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<TxId, Arc<PoolTransaction>>,
    /// Peers ask by the id of the exact bytes; looking through the whole pool for each would be cheap for them only.
    txids: HashMap<WitnessTxId, TxId>,
}

impl MempoolView {
    /// The transaction with this id.
    pub fn get(&self, txid: &TxId) -> Option<Arc<PoolTransaction>> {
        self.shared.table.read().entries.get(txid).cloned()
    }

    /// The transactions with these exact bytes, as far as they are there, in the order asked for.
    pub fn with_bytes(&self, wtxids: &[WitnessTxId]) -> Vec<Arc<PoolTransaction>> {
        let table = self.shared.table.read();
        let find = |wtxid| table.entries.get(table.txids.get(wtxid)?).cloned();
        wtxids.iter().filter_map(find).collect()
    }

    /// Whether a transaction with this id is there.
    pub fn contains(&self, txid: &TxId) -> bool {
        self.shared.table.read().entries.contains_key(txid)
    }

    /// All transactions, in no particular order.
    pub fn all(&self) -> Vec<Arc<PoolTransaction>> {
        self.shared.table.read().entries.values().cloned().collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.shared.table.read().entries.len()
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.shared.bytes.load(Relaxed)
    }

    pub(super) fn put(&self, entry: Arc<PoolTransaction>, bytes: usize) {
        let mut table = self.shared.table.write();
        table.txids.insert(entry.wtxid(), entry.txid());
        table.entries.insert(entry.txid(), entry);
        drop(table);
        self.shared.bytes.store(bytes, Relaxed);
    }

    pub(super) fn take(&self, txid: &TxId, bytes: usize) {
        let mut table = self.shared.table.write();
        if let Some(entry) = table.entries.remove(txid) {
            table.txids.remove(&entry.wtxid());
        }
        drop(table);
        self.shared.bytes.store(bytes, Relaxed);
    }
}

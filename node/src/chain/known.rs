//! Transactions that were checked already, so that no signature and no work is verified twice.

use std::sync::Arc;

use ledger::{
    hash::WitnessTxId,
    rules::transaction::{AnchorBlock, CheckedTransaction},
    transaction::Transaction,
};
use parking_lot::Mutex;

use crate::mempool::MempoolView;

use super::{ChainStats, cache::Cache, stats::add};

/// Transactions of blocks just connected, remembered so that a reorganisation need not verify them again: some 4 MiB,
/// two full blocks or an hour of ordinary ones.
const RECENT_TRANSACTIONS: usize = 4_096;

/// Where checked transactions are found: the mempool, and blocks connected lately. Shared by all who check.
pub(super) struct Known {
    pool: MempoolView,
    recent: Mutex<Cache<WitnessTxId, CheckedTransaction>>,
    stats: Arc<ChainStats>,
}

impl Known {
    pub(super) fn new(pool: MempoolView, stats: Arc<ChainStats>) -> Self {
        Self { pool, recent: Mutex::new(Cache::new(RECENT_TRANSACTIONS)), stats }
    }

    /// This very transaction, checked against this very anchor. Its bytes name only a part of the anchor's hash, so
    /// the anchor is compared as well.
    pub(super) fn find(&self, transaction: &Transaction, anchor: &AnchorBlock) -> Option<CheckedTransaction> {
        let pooled = || {
            let entry = self.pool.get(&transaction.txid())?;
            (entry.transaction() == transaction).then(|| entry.checked.clone())
        };
        let recent = || self.recent.lock().get(&transaction.wtxid());
        let found = pooled().or_else(recent).filter(|checked| checked.anchor() == anchor.hash);
        let counter =
            if found.is_some() { &self.stats.transaction_checks_saved } else { &self.stats.transactions_checked };
        add(counter, 1);
        found
    }

    /// Remembers transactions of a block.
    pub(super) fn remember(&self, checked: Vec<CheckedTransaction>) {
        let mut recent = self.recent.lock();
        for transaction in checked {
            recent.put(transaction.wtxid(), transaction, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use ledger::{
        hash::BlockHash,
        testing::{TestChain, name, tiny_params},
    };

    use super::*;

    #[test]
    fn a_check_against_another_anchor_does_not_count() {
        let chain = TestChain::new(tiny_params());
        let maker = chain.maker();
        let transaction = maker.commit(&name("alice-at-home"), 1);
        let known = Known::new(MempoolView::default(), Arc::default());
        assert!(known.find(&transaction, &maker.anchor).is_none());
        known.remember(vec![chain.check(transaction.clone()).expect("valid by itself")]);
        assert!(known.find(&transaction, &maker.anchor).is_some());
        // The transaction's bytes name the first eight bytes of the anchor only.
        let mut hash = maker.anchor.hash.0;
        hash[31] ^= 1;
        let twin = AnchorBlock { hash: BlockHash(hash), ..maker.anchor };
        assert!(transaction.anchor().matches(&twin.hash));
        assert!(known.find(&transaction, &twin).is_none());
    }
}

//! Blocks to be mined, and what the next block would say to a transaction.

use std::{collections::BTreeSet, sync::Arc};

use ledger::{
    hash::{Hash, Key},
    params::{MAX_BLOCK_BYTES, MAX_BLOCK_TRANSACTIONS},
    pow::from_compact,
    rules::apply::{apply, touched_keys},
    rules::{
        Violation,
        block::{BLOCK_OVERHEAD_BYTES, Content, assemble},
        transaction::CheckedTransaction,
    },
    state::Leaf,
    state::delta::{Delta, Loaded},
    transaction::Body,
};

use crate::{
    mempool::{Mempool, PoolTransaction, Standing},
    store::{Rows, StoreError},
};

use super::{ChainCore, Template, connect::tree_changes, state::Branch};

/// A template without work, kept until the tip or the mempool changes: several miners ask for the same one.
pub(super) struct Draft {
    tip: ledger::hash::BlockHash,
    revision: u64,
    transactions: Arc<Vec<ledger::transaction::Transaction>>,
    content: Content,
    name_count: u64,
    state_root: Hash,
}

/// What goes into a block, so far.
#[derive(Default)]
struct Selection {
    checked: Vec<CheckedTransaction>,
    keys: BTreeSet<Key>,
    bytes: usize,
}

impl ChainCore {
    /// Judges a transaction for the block after the tip.
    pub fn judge_next(&self, checked: &CheckedTransaction) -> Result<Result<Standing, Violation>, StoreError> {
        let (height, due) = self.next_height_and_due()?;
        self.judge_at(checked, height, &due)
    }

    /// What is due is asked for once per block, not once per transaction.
    pub(super) fn next_height_and_due(&self) -> Result<(u32, Vec<Key>), StoreError> {
        let height = self.tip_header.core.height + 1;
        Ok((height, self.store.due(height)?))
    }

    /// Judges one transaction for the block at `height` = tip + 1, at which `due` keys are deleted.
    pub(super) fn judge_at(
        &self,
        checked: &CheckedTransaction,
        height: u32,
        due: &[Key],
    ) -> Result<Result<Standing, Violation>, StoreError> {
        Ok(match self.apply_next(std::slice::from_ref(checked), height, due)? {
            Ok(_) => Ok(Standing::Ready),
            Err(Violation::CommitUnripe { from, .. }) => Ok(Standing::WaitsUntil(from)),
            Err(violation) => Err(violation),
        })
    }

    fn apply_next(
        &self,
        checked: &[CheckedTransaction],
        height: u32,
        due: &[Key],
    ) -> Result<Result<Delta, Violation>, StoreError> {
        let keys = touched_keys(checked.iter().map(CheckedTransaction::transaction), &self.chain_id);
        // Of the deletions only those matter that these transactions run into.
        let due = due.iter().copied().filter(|key| keys.contains(key)).collect();
        let loaded = self.state.load(keys, due)?;
        Ok(self.apply_loaded(checked, height, &loaded))
    }

    fn apply_loaded(&self, checked: &[CheckedTransaction], height: u32, loaded: &Loaded) -> Result<Delta, Violation> {
        let branch = Branch { index: &self.index, end: self.index.tip() };
        apply(self.params, &self.chain_id, &branch, height, self.tip_header.ext.name_count, checked, loaded)
    }

    /// A block on the tip with every transaction of `pool` that fits, at time `now`.
    pub(super) fn template(
        &mut self,
        pool: &Mempool,
        revision: u64,
        draft: &mut Option<Draft>,
        now: u64,
        share_commit: Hash,
    ) -> Result<Template, StoreError> {
        let tip = self.index.hash(self.index.tip());
        let fresh = match draft.take().filter(|draft| draft.tip == tip && draft.revision == revision) {
            Some(draft) => draft,
            None => self.draft(pool, revision)?,
        };
        let parent = self.context(self.index.tip())?;
        let time = now.max(self.tip_header.core.time + u64::from(self.params.min_gap));
        let Draft { content, name_count, state_root, transactions, .. } = &fresh;
        let header = assemble(self.params, &parent, time, content, *name_count, *state_root, share_commit);
        let target = from_compact(header.core.bits).expect("the schedule gives canonical bits");
        let template = Template { header, transactions: transactions.clone(), target };
        *draft = Some(fresh);
        Ok(template)
    }

    fn draft(&self, pool: &Mempool, revision: u64) -> Result<Draft, StoreError> {
        let (height, due) = self.next_height_and_due()?;
        let mut checked = self.select(pool, height, &due)?.checked;
        checked.sort_by_key(CheckedTransaction::txid);
        let delta = match self.apply_together(&checked, height, due.clone())? {
            Ok(delta) => delta,
            Err(violation) => {
                // A mistake of the selection must not stop the node: a block without transactions is always right.
                tracing::error!(code = violation.code(), %violation, "selection_invalid");
                checked.clear();
                self.apply_together(&checked, height, due)?.map_err(StoreError::corrupt)?
            }
        };
        let tree = self.state.update_tree(self.tip_header.ext.state_root, &tree_changes(&delta.changes))?;
        let transactions: Vec<_> = checked.iter().map(|checked| checked.transaction().clone()).collect();
        Ok(Draft {
            tip: self.index.hash(self.index.tip()),
            revision,
            content: Content::of(&transactions),
            transactions: Arc::new(transactions),
            name_count: delta.name_count,
            state_root: tree.root,
        })
    }

    fn apply_together(
        &self,
        checked: &[CheckedTransaction],
        height: u32,
        due: Vec<Key>,
    ) -> Result<Result<Delta, Violation>, StoreError> {
        let keys = touched_keys(checked.iter().map(CheckedTransaction::transaction), &self.chain_id);
        let loaded = self.state.load(keys, due)?;
        Ok(self.apply_loaded(checked, height, &loaded))
    }

    /// Protocol §4.4: per name the REVEAL with the best precedence first, then by work, then by age.
    fn select(&self, pool: &Mempool, height: u32, due: &[Key]) -> Result<Selection, StoreError> {
        let mut selection = Selection::default();
        let (reveals, others): (Vec<_>, Vec<_>) =
            pool.candidates().partition(|entry| matches!(entry.transaction().body(), Body::Reveal { .. }));
        for entry in self.by_precedence(reveals, height, due)?.into_iter().chain(others) {
            self.take_if_it_fits(entry, height, due, &mut selection)?;
        }
        Ok(selection)
    }

    /// Reveals in the order of their commits, so that of two for one name the rightful one is met first.
    fn by_precedence<'a>(
        &self,
        reveals: Vec<&'a Arc<PoolTransaction>>,
        height: u32,
        due: &[Key],
    ) -> Result<Vec<&'a Arc<PoolTransaction>>, StoreError> {
        let mut ordered = Vec::with_capacity(reveals.len());
        for entry in reveals {
            if let Ok(delta) = self.apply_next(std::slice::from_ref(&entry.checked), height, due)? {
                let state = delta.changes.iter().find_map(|change| change.after.as_ref().and_then(Leaf::as_name));
                ordered.extend(state.map(|state| (state.precedence(), entry)));
            }
        }
        ordered.sort_by_key(|(precedence, _)| *precedence);
        Ok(ordered.into_iter().map(|(_, entry)| entry).collect())
    }

    fn take_if_it_fits(
        &self,
        entry: &PoolTransaction,
        height: u32,
        due: &[Key],
        selection: &mut Selection,
    ) -> Result<(), StoreError> {
        let keys = touched_keys([entry.transaction()], &self.chain_id);
        let fits = selection.checked.len() < MAX_BLOCK_TRANSACTIONS
            && BLOCK_OVERHEAD_BYTES + selection.bytes + entry.bytes <= MAX_BLOCK_BYTES
            && keys.is_disjoint(&selection.keys);
        if fits && self.apply_next(std::slice::from_ref(&entry.checked), height, due)?.is_ok() {
            selection.bytes += entry.bytes;
            selection.keys.extend(keys);
            selection.checked.push(entry.checked.clone());
        }
        Ok(())
    }
}

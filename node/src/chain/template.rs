//! Blocks to be mined, and what the next block would say to a transaction.

use std::{collections::BTreeSet, sync::Arc};

use ledger::{
    hash::{Hash, Key},
    params::{MAX_BLOCK_BYTES, MAX_BLOCK_CLAIMS, MAX_BLOCK_TRANSACTIONS},
    pow::from_compact,
    rules::apply::{apply, foresee, touched_keys},
    rules::{
        Violation,
        block::{BLOCK_OVERHEAD_BYTES, Content, assemble},
        transaction::{CheckedTransaction, Stated},
    },
    state::Status,
    state::delta::{Delta, Loaded},
};

use crate::{
    mempool::{self, BlockRoom, Kind, Mempool, Purpose, RevealPlace, Standing, Verdict},
    store::{Rows, StoreError},
};

use super::{ChainCore, Template, stage::tree_changes, state::Branch};

/// A template without work, kept until the tip or the mempool changes: several miners ask for the same one.
pub struct Draft {
    tip: ledger::hash::BlockHash,
    revision: u64,
    transactions: Arc<Vec<ledger::transaction::Transaction>>,
    content: Content,
    name_count: u64,
    state_root: Hash,
}

impl ChainCore {
    /// Judges a transaction for the block after the tip, believing what it says of its signatures and its work.
    pub fn judge_next(&self, stated: Stated<'_>) -> Result<Result<Verdict, Violation>, StoreError> {
        let (height, due) = self.next_height_and_due()?;
        self.judge_at(stated, height, &due)
    }

    /// What is due is asked for once per block, not once per transaction.
    pub fn next_height_and_due(&self) -> Result<(u32, Vec<Key>), StoreError> {
        let height = self.tip_header.core.height + 1;
        Ok((height, self.store.due(height)?))
    }

    /// Judges one transaction for the block at `height` = tip + 1, at which `due` keys are deleted. A REVEAL whose
    /// commit is not ripe is judged for the block in which it will be (protocol §10).
    pub fn judge_at(
        &self,
        stated: Stated<'_>,
        height: u32,
        due: &[Key],
    ) -> Result<Result<Verdict, Violation>, StoreError> {
        let (standing, at, foreseen) = match self.foresee(stated, height, due)? {
            Err(Violation::CommitUnripe { from, .. }) => {
                (Standing::WaitsUntil(from), from, self.foresee(stated, from, &[])?)
            }
            foreseen => (Standing::Ready, height, foreseen),
        };
        Ok(foreseen.map(|delta| Verdict { standing, purpose: self.purpose(stated, at, &delta) }))
    }

    /// What a transaction is for that makes this change at `height`.
    fn purpose(&self, stated: Stated<'_>, height: u32, delta: &Delta) -> Purpose {
        let (before, after) = delta.names().next().unwrap_or_default();
        let before = before.map(|state| state.matured(height));
        let owner = before.as_ref().map(|state| &state.owner);
        Purpose::of_change(stated.transaction.body(), &stated.signer, owner).unwrap_or_else(|| {
            let is_contested = before.is_some_and(|state| state.status(self.params, height) == Status::Pending);
            let precedence = after.expect("a REVEAL leaves an entry").precedence();
            Purpose::Reveal(RevealPlace { precedence, is_contested })
        })
    }

    /// What one transaction would change in the block at `height`.
    fn foresee(&self, stated: Stated<'_>, height: u32, due: &[Key]) -> Result<Result<Delta, Violation>, StoreError> {
        let keys = touched_keys([stated.transaction], &self.chain_id);
        // Of the deletions only those matter that this transaction runs into.
        let due = due.iter().copied().filter(|key| keys.contains(key)).collect();
        let loaded = self.state.load(keys, due)?;
        let branch = Branch { index: &self.index, end: self.index.tip() };
        let names = self.tip_header.ext.name_count;
        Ok(foresee(self.params, &self.chain_id, &branch, height, names, stated, &loaded))
    }

    fn apply_loaded(&self, checked: &[CheckedTransaction], height: u32, loaded: &Loaded) -> Result<Delta, Violation> {
        let branch = Branch { index: &self.index, end: self.index.tip() };
        apply(self.params, &self.chain_id, &branch, height, self.tip_header.ext.name_count, checked, loaded)
    }

    /// A block on the tip with every transaction of `pool` that fits, at time `now`.
    pub fn template(
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
        let mut checked = self.select(pool, height, &due)?;
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

    /// Protocol §6, "Builders".
    fn select(&self, pool: &Mempool, height: u32, due: &[Key]) -> Result<Vec<CheckedTransaction>, StoreError> {
        let room = BlockRoom { bytes: MAX_BLOCK_BYTES - BLOCK_OVERHEAD_BYTES, count: MAX_BLOCK_TRANSACTIONS };
        let (mut touched, mut claims) = (BTreeSet::new(), 0);
        let chosen = mempool::select(pool, room, |entry| {
            let keys = touched_keys([entry.transaction()], &self.chain_id);
            let is_claim = entry.kind() == Kind::Claim;
            let fits = keys.is_disjoint(&touched) && !(is_claim && claims == MAX_BLOCK_CLAIMS);
            let is_accepted = fits && self.foresee(entry.checked.stated(), height, due)?.is_ok();
            if is_accepted {
                claims += usize::from(is_claim);
                touched.extend(keys);
            }
            Ok::<_, StoreError>(is_accepted)
        })?;
        Ok(chosen.iter().map(|entry| entry.checked.clone()).collect())
    }
}

//! Moving the tip by one block, forth or back. One step is one batch.

use std::{collections::BTreeSet, time::Instant};

use ledger::{
    block::{Block, Header},
    codec::encode,
    hash::Key,
    rules::apply::{apply, touched_keys},
    rules::{Violation, block::results_match, header::history_leaf},
    state::{
        Leaf,
        delta::{Change, Delta},
        tree::TreeDelta,
        undo::Undo,
    },
};

use crate::store::{Batch, BodyKey, Direction, Durability, HeaderRow, Read, Rows, StoreError, Table};

use super::{
    core::ChainCore,
    event::{Alarm, BlockConnected, BlockDisconnected, ChainEvent},
    index::{Id, Status},
    owners::Owners,
    precheck::Prechecked,
    stage::{
        name_changes, stage_changes, stage_history_back, stage_index, stage_pages, stage_tip, stage_transactions_back,
        tree_changes,
    },
    state::Branch,
    stats::{ChainStats, add},
    types::Arrival,
};

/// Heights whose bodies and undo data are deleted with one block at most, so that no batch gets large.
const PRUNED_AT_ONCE: u32 = 64;

/// What a step did to an entry, and to the tree.
struct Staged {
    delta: Delta,
    tree: TreeDelta,
}

/// Why a block could not be connected.
pub(super) enum Broken {
    Rule(Violation),
    BodyGone,
}

impl ChainCore {
    /// Connects a child of the tip.
    pub(super) fn connect(&mut self, id: Id, owners: &mut Option<Owners>) -> Result<Result<(), Broken>, StoreError> {
        let started = Instant::now();
        let (prechecked, arrival) = match self.checked_body(id)? {
            None => return Ok(Err(Broken::BodyGone)),
            Some(Err(violation)) => return Ok(Err(Broken::Rule(violation))),
            Some(Ok(held)) => held,
        };
        let staged = match self.judge(&prechecked)? {
            Ok(staged) => staged,
            Err(violation) => return Ok(Err(Broken::Rule(violation))),
        };
        let written = self.write_connected(id, &prechecked, &staged);
        if let Err(error) = written {
            // The write may be repeated later; nothing but this held block has been consumed.
            self.hold(id, prechecked, arrival)?;
            return Err(error);
        }
        if let Some(owners) = owners {
            owners.note(&staged.delta.changes);
        }
        self.after_connect(id, prechecked, arrival, staged)?;
        add(&self.stats.blocks_connected, 1);
        add(&self.stats.connect_nanoseconds, started.elapsed().as_nanos() as u64);
        Ok(Ok(()))
    }

    /// Level 3 of validation: against the parent's state. Writes nothing.
    fn judge(&self, prechecked: &Prechecked) -> Result<Result<Staged, Violation>, StoreError> {
        let header = &prechecked.block.header;
        let height = header.core.height;
        let keys = touched_keys(&prechecked.block.transactions, &self.chain_id);
        let loaded = self.state.load(keys, self.store.due(height)?)?;
        let branch = Branch { index: &self.index, end: self.index.tip() };
        let names = self.tip_header.ext.name_count;
        let applied = apply(self.params, &self.chain_id, &branch, height, names, &prechecked.checked, &loaded);
        let delta = match applied {
            Ok(delta) => delta,
            Err(violation) => return Ok(Err(violation)),
        };
        let tree = self.state.update_tree(self.tip_header.ext.state_root, &tree_changes(&delta.changes))?;
        Ok(results_match(header, &delta, tree.root).map(|()| Staged { delta, tree }))
    }

    fn write_connected(&mut self, id: Id, prechecked: &Prechecked, staged: &Staged) -> Result<(), StoreError> {
        let (header, hash) = (&prechecked.block.header, prechecked.hash);
        let height = header.core.height;
        let mut peaks = self.peaks_before(id)?;
        let nodes = peaks.append(&history_leaf(&header.core, hash)).map_err(StoreError::corrupt)?;
        let heavier = self.heavier_than(id);
        let mut batch = self.store.batch();
        stage_changes(&mut batch, self.params, &staged.delta.changes);
        stage_pages(&mut batch, &staged.tree);
        stage_index(&self.store, &mut batch, height, &prechecked.checked, &staged.delta.changes)?;
        batch.put(Table::Undo, height.to_be_bytes(), encode(&Undo::of(&staged.delta)));
        for (position, node) in nodes {
            batch.put(Table::Mmr, position.to_bytes(), encode(&node));
        }
        batch.put(Table::Bodies, BodyKey(height, hash).to_bytes(), &prechecked.bytes);
        let status = self.index.status(id).to_row() | Status::BODY | Status::VALID;
        let row = HeaderRow { header: *header, total_work: self.index.work(id), status };
        batch.put(Table::Headers, hash, encode(&row));
        batch.put(Table::Heights, height.to_be_bytes(), hash);
        stage_tip(&mut batch, header, hash);
        let kept_from = self.stage_pruning(&mut batch, height)?;
        self.leads.stage(&mut batch, &self.index, &heavier, height, self.params.lead_fades);
        let durability = self.durability(id);
        let written = write_step(batch, durability, &self.stats)?;
        self.leads.note(&self.index, &heavier, height, self.params.lead_fades);
        self.kept_from = kept_from;
        self.note_written(written);
        Ok(())
    }

    /// The lowest blocks of refused branches that will be heavier than the tip once `id` is it.
    fn heavier_than(&self, id: Id) -> BTreeSet<Id> {
        let (work, height) = (self.index.work(id), self.index.height(id));
        let refused = self.index.refused_above(work);
        let beside = refused.filter(|branch| self.index.ancestor(*branch, height) != Some(id));
        beside.filter_map(|branch| self.index.lowest_above(branch, work)).collect()
    }

    fn note_written(&mut self, durability: Durability) {
        self.unsynced = match durability {
            Durability::Synced => 0,
            Durability::Buffered => self.unsynced + 1,
        };
    }

    /// Deletes bodies and undo data of blocks that are now too deep to be kept, lowest first. One block makes one other
    /// too deep; a node that kept everything until now takes [`PRUNED_AT_ONCE`] with each. Returns where it got to.
    fn stage_pruning(&self, batch: &mut Batch<'_>, height: u32) -> Result<u32, StoreError> {
        let keep_from = height.saturating_sub(self.options.retention.blocks()).saturating_add(1);
        let (from, to) = (self.kept_from, keep_from.min(self.kept_from.saturating_add(PRUNED_AT_ONCE)));
        if from >= to {
            return Ok(from);
        }
        (from..to).for_each(|gone| batch.delete(Table::Undo, gone.to_be_bytes()));
        self.store.scan(Table::Bodies, (&from.to_be_bytes(), &to.to_be_bytes()), Direction::Up, &mut |key, _| {
            batch.delete(Table::Bodies, key);
            Ok(std::ops::ControlFlow::Continue(()))
        })?;
        Ok(to)
    }

    fn after_connect(
        &mut self,
        id: Id,
        prechecked: Prechecked,
        arrival: Arrival,
        staged: Staged,
    ) -> Result<(), StoreError> {
        self.state.remember(&staged.delta.changes, staged.tree.pages);
        self.index.connect(id);
        self.tip_header = prechecked.block.header;
        self.forget_connected_peaks(id);
        self.known.remember(prechecked.checked);
        tracing::debug!(
            height = self.tip_header.core.height,
            hash = %prechecked.hash,
            transactions = prechecked.block.transactions.len(),
            "block_connected"
        );
        self.events.push(ChainEvent::Connected(BlockConnected {
            tip: self.tip(),
            arrival,
            changes: name_changes(staged.delta.changes),
            block: prechecked.block,
        }));
        Ok(())
    }

    /// Takes the tip back.
    pub(super) fn disconnect_tip(&mut self, owners: &mut Option<Owners>) -> Result<(), StoreError> {
        let id = self.index.tip();
        let (height, hash) = (self.index.height(id), self.index.hash(id));
        let parent_id = self.index.parent(id).expect("genesis is never taken back: every branch starts there");
        let parent = self.header(parent_id)?;
        let changes = self.changes_back(height)?;
        let tree = self.state.update_tree(self.tip_header.ext.state_root, &tree_changes(&changes))?;
        if tree.root != parent.ext.state_root {
            self.alarm(Alarm::Corruption { height });
            return Err(StoreError::corrupt(format!(
                "taking back block {height} gives state {}, its parent's is {}",
                tree.root, parent.ext.state_root
            )));
        }
        let block = self.block(id)?;
        self.write_disconnected(height, parent_id, &parent, &changes, &tree, block.as_ref())?;
        if let Some(owners) = owners {
            owners.note(&changes);
        }
        self.state.remember(&changes, tree.pages);
        self.index.disconnect();
        self.tip_header = parent;
        add(&self.stats.blocks_disconnected, 1);
        tracing::debug!(height, %hash, "block_disconnected");
        let transactions = block.map(|block| block.transactions).unwrap_or_default();
        let (tip, changes) = (self.tip(), name_changes(changes));
        self.events.push(ChainEvent::Disconnected(BlockDisconnected { hash, height, tip, changes, transactions }));
        Ok(())
    }

    /// The changes that take the tip at `height` back.
    fn changes_back(&self, height: u32) -> Result<Vec<Change>, StoreError> {
        let undo = self.store.undo_row(height)?;
        let undo = undo.ok_or_else(|| StoreError::corrupt(format!("the undo data of height {height} is missing")))?;
        let now = self.state.load(undo.0.iter().map(|(key, _)| *key), Vec::new())?.leaves;
        let change = |(key, after): (Key, Option<Leaf>)| {
            let before = now.get(&key).cloned().flatten();
            Change { key, before, after }
        };
        Ok(undo.0.into_iter().map(change).collect())
    }

    fn write_disconnected(
        &mut self,
        height: u32,
        parent_id: Id,
        parent: &Header,
        changes: &[Change],
        tree: &TreeDelta,
        block: Option<&Block>,
    ) -> Result<(), StoreError> {
        let mut batch = self.store.batch();
        stage_changes(&mut batch, self.params, changes);
        stage_pages(&mut batch, tree);
        stage_history_back(&mut batch, height, changes);
        if let Some(block) = block {
            stage_transactions_back(&self.store, &mut batch, height, block)?;
        }
        batch.delete(Table::Undo, height.to_be_bytes());
        batch.delete(Table::Heights, height.to_be_bytes());
        stage_tip(&mut batch, parent, self.index.hash(parent_id));
        let written = write_step(batch, Durability::Buffered, &self.stats)?;
        self.note_written(written);
        Ok(())
    }
}

fn write_step(batch: Batch<'_>, durability: Durability, stats: &ChainStats) -> Result<Durability, StoreError> {
    let started = Instant::now();
    batch.write(durability)?;
    add(&stats.write_nanoseconds, started.elapsed().as_nanos() as u64);
    Ok(durability)
}

//! Moving the tip: following the best chain, connecting a block, taking one back. One step is one batch.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering::Relaxed,
    time::Instant,
};

use ledger::{
    block::{Block, Header},
    codec::encode,
    fork::{self, AVERAGE_OVER, Choice, Fork},
    hash::{BlockHash, Hash, Key, PolicyHash},
    name::Name,
    rules::apply::{apply, touched_keys},
    rules::{Violation, block::results_match, transaction::CheckedTransaction},
    state::delta::{Change, Delta},
    state::{
        Leaf, NameState,
        tree::{TreeDelta, value_hash},
        undo::Undo,
    },
    transaction::Body,
};

use crate::store::{
    Batch, BodyKey, Direction, Durability, HeaderRow, Read, Rows, Store, StoreError, Table, TipRow, expiry_key,
    history_key, owner_key, places_row,
};

use super::{
    Alarm, Arrival, BlockConnected, BlockDisconnected, ChainCore, ChainEvent, ChainStats, Prechecked,
    headers::mmr_leaf,
    index::{Id, Status},
    state::Branch,
    stats::add,
};

/// Names whose owners are compared around a reorganisation: more than fit into a day of full blocks are not listed.
const WATCHED_NAMES: usize = 100_000;

/// Heights whose bodies and undo data are deleted with one block at most, so that no batch gets large.
const PRUNED_AT_ONCE: u32 = 64;

/// What a step did to an entry, and to the tree.
struct Staged {
    delta: Delta,
    tree: TreeDelta,
}

/// Why a block could not be connected.
enum Broken {
    Rule(Violation),
    BodyGone,
}

/// Owners of names before a reorganisation.
#[derive(Default)]
struct Owners(BTreeMap<Name, Option<PolicyHash>>);

impl Owners {
    fn note(&mut self, changes: &[Change]) {
        for change in changes {
            let name = |leaf: &Option<Leaf>| leaf.as_ref().and_then(Leaf::as_name).map(|state| state.name.clone());
            let Some(name) = name(&change.before).or_else(|| name(&change.after)) else { continue };
            if self.0.len() < WATCHED_NAMES {
                let owner = change.before.as_ref().and_then(Leaf::as_name).map(|state| state.owner);
                self.0.entry(name).or_insert(owner);
            }
        }
    }
}

impl ChainCore {
    /// Makes the best valid chain the active one. Returns how many blocks were disconnected, and what was found to
    /// break a rule on the way.
    pub(super) fn follow_best(&mut self) -> Result<(u32, Vec<(Id, Violation)>), StoreError> {
        let (mut depth, mut broken) = (0, Vec::new());
        loop {
            while let Some(candidate) = self.index.candidate() {
                if !self.may_switch(candidate)? {
                    self.index.refuse(candidate);
                    self.keep_bodies(candidate)?;
                    continue;
                }
                depth += self.switch_to(candidate, &mut broken)?;
            }
            // The tip has moved on, and with it what a branch that was refused needs.
            let Some(ripe) = self.ripe_refused()? else { return Ok((depth, broken)) };
            self.index.offer_again(ripe);
        }
    }

    /// A candidate that was refused, and would not be now.
    fn ripe_refused(&self) -> Result<Option<Id>, StoreError> {
        let refused: Vec<_> = self.index.refused_above(self.index.work(self.index.tip())).collect();
        for candidate in refused {
            if self.refusal(candidate)?.is_none() {
                return Ok(Some(candidate));
            }
        }
        Ok(None)
    }

    /// Switches to the chain that ends in `hash` whatever its depth, if it has more work: an operator's decision.
    pub fn adopt_fork(&mut self, hash: &BlockHash) -> Result<Option<u32>, StoreError> {
        let Some(id) = self.index.find(hash) else { return Ok(None) };
        let fork = self.index.fork_point(id);
        let complete = self.index.branch(id).iter().all(|id| self.index.has_body(*id) && !self.index.is_invalid(*id));
        let heavier = self.index.work(id) > self.index.work(self.index.tip());
        if !complete || !heavier || !self.can_go_back_to(fork)? {
            return Ok(None);
        }
        let depth = self.switch_to(id, &mut Vec::new())?;
        // What stands on it may be heavier still; and if a block of it broke a rule, another chain may be.
        self.follow_best()?;
        Ok(self.index.ancestor(self.index.tip(), self.index.height(id)).is_some_and(|at| at == id).then_some(depth))
    }

    /// Fork choice (protocol §7), and whether the way back is still known.
    fn may_switch(&mut self, candidate: Id) -> Result<bool, StoreError> {
        let (tip, fork) = (self.index.tip(), self.index.fork_point(candidate));
        if fork == tip {
            return Ok(true);
        }
        if let Some(alarm) = self.refusal(candidate)? {
            self.tell_of_branch(candidate, alarm);
            return Ok(false);
        }
        let fork_height = self.index.height(fork);
        match fork::choose(self.params, &self.fork(candidate, fork_height)) {
            Choice::Stay | Choice::RefuseDeep => return Ok(false),
            Choice::Adopt => {}
            Choice::AdoptDeep => {
                let depth = self.index.height(tip) - fork_height;
                self.alarm(Alarm::DeepReorg { fork_height, depth });
            }
        }
        Ok(true)
    }

    /// Why a chain with more work than the tip's is not followed; `None` if it is, or has no more work.
    fn refusal(&self, candidate: Id) -> Result<Option<Alarm>, StoreError> {
        let (tip, fork) = (self.index.tip(), self.index.fork_point(candidate));
        let (fork_height, hash) = (self.index.height(fork), self.index.hash(candidate));
        if fork == tip {
            return Ok(None);
        }
        Ok(match fork::choose(self.params, &self.fork(candidate, fork_height)) {
            Choice::Stay => None,
            Choice::RefuseDeep => Some(Alarm::DeepFork { fork_height, candidate: hash }),
            Choice::Adopt | Choice::AdoptDeep => {
                let known = self.can_go_back_to(fork)?;
                (!known).then_some(Alarm::BelowUndo { fork_height, candidate: hash })
            }
        })
    }

    fn fork(&self, candidate: Id, fork_height: u32) -> Fork {
        let tip = self.index.tip();
        let live = (fork_height + 1..=self.index.height(tip)).filter_map(|at| self.index.active_at(at));
        Fork {
            current_work: self.index.work(tip),
            candidate_work: self.index.work(candidate),
            live_depth: live.filter(|id| self.index.is_live(*id)).count() as u32,
            average_work: self.average_work(),
            outweighed: self.leads.of(&self.index, candidate),
        }
    }

    /// Mean work of the last blocks of the active chain.
    pub(super) fn average_work(&self) -> u128 {
        let tip = self.index.tip();
        let height = self.index.height(tip);
        let span = height.clamp(1, AVERAGE_OVER);
        let start = self.index.active_at(height - span.min(height)).map_or(0, |id| self.index.work(id));
        (self.index.work(tip) - start) / u128::from(span)
    }

    /// The least work of a chain that lies behind the tip by at most so many average blocks.
    pub(super) fn work_near_tip(&self, blocks: u32) -> u128 {
        fork::work_near_tip(self.index.work(self.index.tip()), self.average_work(), blocks)
    }

    /// Whether a branch that is heavier than the tip could be switched to if fork choice allows it. If not, its bodies
    /// are of no use, and the operator is told.
    pub(super) fn is_in_reach(&mut self, id: Id) -> Result<bool, StoreError> {
        let fork = self.index.fork_point(id);
        if self.can_go_back_to(fork)? {
            return Ok(true);
        }
        let alarm = Alarm::BelowUndo { fork_height: self.index.height(fork), candidate: self.index.hash(id) };
        self.tell_of_branch(id, alarm);
        Ok(false)
    }

    fn tell_of_branch(&mut self, id: Id, alarm: Alarm) {
        let root = self.index.branch_root(id).unwrap_or(id);
        if self.leads.is_news(root) {
            add(&self.stats.deep_fork_alarms, 1);
            self.alarm(alarm);
        }
    }

    /// Whether every block above `fork` can be taken back.
    fn can_go_back_to(&self, fork: Id) -> Result<bool, StoreError> {
        let (lowest, tip) = (self.index.height(fork) + 1, self.index.height(self.index.tip()));
        Ok(lowest > tip || lowest >= self.kept_from && self.store.get(Table::Undo, &lowest.to_be_bytes())?.is_some())
    }

    /// Writes an alarm to the log and tells everybody.
    pub(super) fn alarm(&mut self, alarm: Alarm) {
        alarm.log();
        if matches!(alarm, Alarm::Corruption { .. }) {
            add(&self.stats.corruption_alarms, 1);
        }
        self.events.push(ChainEvent::Alarm(alarm));
    }

    /// Moves the tip to `target`, or as near as the rules let it. Returns how many blocks were disconnected.
    fn switch_to(&mut self, target: Id, broken: &mut Vec<(Id, Violation)>) -> Result<u32, StoreError> {
        let fork = self.index.fork_point(target);
        let depth = self.index.height(self.index.tip()) - self.index.height(fork);
        let branch = self.index.branch(target);
        let mut owners = (depth > 0).then(Owners::default);
        while self.index.tip() != fork {
            self.disconnect_tip(&mut owners)?;
        }
        for id in branch {
            match self.connect(id, &mut owners)? {
                Ok(()) => {}
                Err(Broken::BodyGone) => {
                    self.index.lose_body(id);
                    break;
                }
                Err(Broken::Rule(violation)) => {
                    tracing::info!(code = violation.code(), hash = %self.index.hash(id), "block_refused");
                    self.condemn(id, &violation)?;
                    broken.push((id, violation));
                    break;
                }
            }
        }
        if let Some(owners) = owners {
            self.finish_reorg(depth, &owners)?;
        }
        Ok(depth)
    }

    /// Counts a reorganisation and names the names that changed hands by it.
    fn finish_reorg(&mut self, depth: u32, owners: &Owners) -> Result<(), StoreError> {
        self.store.sync()?;
        add(&self.stats.reorgs, 1);
        self.stats.reorg_depth_max.fetch_max(depth.into(), Relaxed);
        let mut changed = 0;
        for (name, before) in &owners.0 {
            let now = self.store.name_state(name)?.map(|state| state.owner);
            if before.is_some() && now != *before {
                changed += 1;
                tracing::warn!(%name, "reorg_owner_change");
            }
        }
        add(&self.stats.reorg_owner_changes, changed);
        tracing::info!(depth, height = self.tip_header.core.height, owner_changes = changed, "reorg");
        Ok(())
    }

    /// Connects a child of the tip.
    fn connect(&mut self, id: Id, owners: &mut Option<Owners>) -> Result<Result<(), Broken>, StoreError> {
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
        let nodes = peaks.append(&mmr_leaf(header, hash)).map_err(StoreError::corrupt)?;
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
    fn disconnect_tip(&mut self, owners: &mut Option<Owners>) -> Result<(), StoreError> {
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

/// What the tree is told.
pub(super) fn tree_changes(changes: &[Change]) -> Vec<(Key, Option<Hash>)> {
    let hash = |leaf: &Leaf| value_hash(&encode(leaf));
    changes.iter().map(|change| (change.key, change.after.as_ref().map(hash))).collect()
}

/// Leaves, and the indexes that follow from them.
pub(super) fn stage_changes(batch: &mut Batch<'_>, params: &ledger::params::Params, changes: &[Change]) {
    for Change { key, before, after } in changes {
        match (before, after) {
            (_, Some(leaf)) => batch.put(table_of(leaf), key, encode(leaf)),
            (Some(leaf), None) => batch.delete(table_of(leaf), key),
            (None, None) => {}
        }
        let [old, new] = [before, after].map(|leaf| leaf.as_ref().map(|leaf| leaf.deletion_height(params)));
        if old != new {
            old.iter().for_each(|height| batch.delete(Table::Expiry, expiry_key(*height, key)));
            new.iter().for_each(|height| batch.put(Table::Expiry, expiry_key(*height, key), []));
        }
        let [old, new] = [before, after].map(owner_keys);
        old.difference(&new).for_each(|key| batch.delete(Table::Owners, key));
        new.difference(&old).for_each(|key| batch.put(Table::Owners, key, []));
    }
}

fn table_of(leaf: &Leaf) -> Table {
    match leaf {
        Leaf::Name(_) => Table::Names,
        Leaf::Commit(_) => Table::Commits,
    }
}

/// A name is found under its owner, and under its next owner while a transfer is pending or has matured unwritten.
fn owner_keys(leaf: &Option<Leaf>) -> BTreeSet<Vec<u8>> {
    let Some(Leaf::Name(state)) = leaf else { return BTreeSet::new() };
    let owners = [Some(state.owner), state.pending.map(|pending| pending.owner)];
    owners.into_iter().flatten().map(|owner| owner_key(&owner, &state.name)).collect()
}

pub(super) fn stage_pages(batch: &mut Batch<'_>, tree: &TreeDelta) {
    for (path, page) in &tree.pages {
        match page {
            Some(page) => batch.put(Table::Tree, path.to_bytes(), page.as_bytes()),
            None => batch.delete(Table::Tree, path.to_bytes()),
        }
    }
}

/// Where transactions are, and what changed each name.
fn stage_index(
    store: &Store,
    batch: &mut Batch<'_>,
    height: u32,
    transactions: &[CheckedTransaction],
    changes: &[Change],
) -> Result<(), StoreError> {
    for change in changes.iter().filter(|change| change.after.is_none()) {
        changed_name(change).into_iter().for_each(|name| batch.put(Table::History, history_key(name, height), [0]));
    }
    for (index, checked) in transactions.iter().enumerate() {
        let (txid, body) = (checked.txid(), checked.transaction().body());
        let mut places = match body {
            // One signature for all times: it may have taken the name before, for another commit.
            Body::Reveal { .. } => store.transaction_places(&txid)?,
            _ => Vec::new(),
        };
        // A block that was taken back without its body left its places behind.
        places.retain(|(at, _)| *at < height);
        places.push((height, index as u16));
        batch.put(Table::Transactions, txid, places_row(&places));
        if let Some(name) = body.name() {
            let cause = [&[body.type_id()][..], txid.as_ref(), checked.wtxid().as_ref()].concat();
            batch.put(Table::History, history_key(name, height), cause);
        }
    }
    Ok(())
}

/// Takes back what changed each name in the block at `height`.
pub(super) fn stage_history_back(batch: &mut Batch<'_>, height: u32, changes: &[Change]) {
    for name in changes.iter().filter_map(changed_name) {
        batch.delete(Table::History, history_key(name, height));
    }
}

/// Takes back where the transactions of a block are.
pub(super) fn stage_transactions_back(
    store: &Store,
    batch: &mut Batch<'_>,
    height: u32,
    block: &Block,
) -> Result<(), StoreError> {
    for transaction in &block.transactions {
        let txid = transaction.txid();
        let mut places = store.transaction_places(&txid)?;
        places.retain(|(at, _)| *at != height);
        if places.is_empty() {
            batch.delete(Table::Transactions, txid);
        } else {
            batch.put(Table::Transactions, txid, places_row(&places));
        }
    }
    Ok(())
}

pub(super) fn stage_tip(batch: &mut Batch<'_>, header: &Header, hash: BlockHash) {
    let row = TipRow { height: header.core.height, hash, state_root: header.ext.state_root };
    batch.put(Table::Meta, crate::store::TIP_KEY, encode(&row));
}

fn changed_name(change: &Change) -> Option<&Name> {
    let leaf = change.before.as_ref().and_then(Leaf::as_name).or(change.after.as_ref().and_then(Leaf::as_name));
    leaf.map(|state| &state.name)
}

/// The names among the changes, as they are afterwards.
fn name_changes(changes: Vec<Change>) -> Vec<(Name, Option<NameState>)> {
    let named = |change: Change| {
        let name = changed_name(&change)?.clone();
        let after = match change.after {
            Some(Leaf::Name(state)) => Some(state),
            Some(Leaf::Commit(_)) | None => None,
        };
        Some((name, after))
    };
    changes.into_iter().filter_map(named).collect()
}

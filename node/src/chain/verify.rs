//! Checking a whole database: `namestead db verify`.
//!
//! Checks every header, and replays every body that is kept, with all rules but the waiting, into a state in memory of
//! its own; where older bodies were pruned, that state begins with what undo data leads back to. Compares the root at
//! every height with the header's and at the end every entry and every page with what is stored.

use std::{collections::BTreeMap, convert::Infallible};

use ledger::{
    block::{Block, Header},
    codec::encode,
    hash::{BlockHash, Key},
    params::Params,
    price::Prices,
    rules::apply::{apply, touched_keys},
    rules::context::Ancestors,
    rules::{
        Violation,
        block::{check_body, results_match},
        context::anchor_height_is_allowed,
        header::{HeaderContext, HeaderError, check},
        transaction::{AnchorBlock, CheckedTransaction, check as check_transaction},
    },
    state::delta::{Delta, Loaded},
    state::{
        Leaf,
        tree::{MemoryPages, TreeError, value_hash},
    },
};

use crate::headers::with_scratch;
use crate::store::{Direction, Flow, Read, Rows, Snapshot, Store, StoreError, Table, parse};

use super::stage::tree_changes;

/// What was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// Height of the tip.
    pub height: u32,
    /// Headers of the active chain that were checked.
    pub headers: u32,
    /// Blocks that were replayed. Fewer than headers if bodies were pruned.
    pub blocks: u32,
    /// Entries compared with the replayed state.
    pub entries: u64,
    /// Pages of the state tree compared.
    pub pages: u64,
}

/// Why a database cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A header or block breaks a rule.
    #[error("block {hash} at height {height} breaks a rule: {violation}")]
    Rule {
        /// Its height.
        height: u32,
        /// The block.
        hash: BlockHash,
        /// The rule.
        violation: Violation,
    },
    /// What is stored differs from what the blocks lead to.
    #[error("{what} differs from what the blocks lead to")]
    Differs {
        /// What differs.
        what: String,
    },
}

/// Verifies everything in `store`. Takes as long as a sync without the network.
pub fn verify(store: &Store, params: &'static Params) -> Result<VerifyReport, VerifyError> {
    let view = store.snapshot();
    let tip = view.tip_row()?.ok_or_else(|| StoreError::corrupt("the tip record is missing"))?;
    let mut replay = Replay::new(&view, params);
    for height in 1..=tip.height {
        replay.check_header(height)?;
    }
    let first = first_replayable(&view, tip.height)?;
    if first > 1 {
        replay.start_from(state_before(&view, first, tip.height)?, first)?;
    }
    for height in first..=tip.height {
        replay.step(height)?;
    }
    let blocks = tip.height + 1 - first;
    let mut report = VerifyReport { height: tip.height, headers: tip.height, blocks, ..VerifyReport::default() };
    replay.compare(&mut report)?;
    Ok(report)
}

/// The lowest height from which on every body is stored, and, where older ones were pruned, all undo data.
fn first_replayable(view: &Snapshot<'_>, tip: u32) -> Result<u32, VerifyError> {
    let mut bodies_from = tip + 1;
    while bodies_from > 1 && view.body(bodies_from - 1, &hash_at(view, bodies_from - 1)?)?.is_some() {
        bodies_from -= 1;
    }
    if bodies_from == 1 {
        return Ok(1);
    }
    let mut first = tip + 1;
    while first > bodies_from && view.undo_row(first - 1)?.is_some() {
        first -= 1;
    }
    Ok(first)
}

/// The entries as they were before the block at height `first`: what is stored, taken back block by block.
fn state_before(view: &Snapshot<'_>, first: u32, tip: u32) -> Result<BTreeMap<Key, Leaf>, VerifyError> {
    let mut leaves = stored_leaves(view)?;
    for height in (first..=tip).rev() {
        let undo = view.undo_row(height)?.ok_or_else(|| missing("the undo data", height))?;
        for (key, before) in undo.0 {
            match before {
                Some(leaf) => drop(leaves.insert(key, leaf)),
                None => drop(leaves.remove(&key)),
            }
        }
    }
    Ok(leaves)
}

fn missing(what: &str, height: u32) -> StoreError {
    StoreError::corrupt(format!("{what} of height {height} is missing"))
}

fn hash_at(view: &Snapshot<'_>, height: u32) -> Result<BlockHash, StoreError> {
    view.hash_at(height)?.ok_or_else(|| missing("the hash", height))
}

fn header_of(view: &Snapshot<'_>, height: u32) -> Result<(BlockHash, Header), StoreError> {
    let hash = hash_at(view, height)?;
    let row = view.header_row(&hash)?.ok_or_else(|| missing("the header", height))?;
    Ok((hash, row.header))
}

/// A second node's state, built from the bodies.
struct Replay<'a> {
    view: &'a Snapshot<'a>,
    params: &'static Params,
    chain_id: ledger::hash::Hash,
    parent: HeaderContext,
    ancestors: Past,
    leaves: BTreeMap<Key, Leaf>,
    expiry: BTreeMap<u32, Vec<Key>>,
    pages: MemoryPages,
    names: u64,
}

/// Hashes and prices by height.
#[derive(Default)]
struct Past(Vec<(BlockHash, Prices)>);

impl Ancestors for Past {
    fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.0.get(height as usize).map(|(hash, _)| *hash)
    }

    fn prices_at(&self, height: u32) -> Option<Prices> {
        self.0.get(height as usize).map(|(_, prices)| *prices)
    }
}

impl<'a> Replay<'a> {
    fn new(view: &'a Snapshot<'a>, params: &'static Params) -> Self {
        let parent = HeaderContext::genesis(params);
        let ancestors = Past(vec![(parent.hash(), Prices::from(&parent.header().ext))]);
        Self {
            view,
            params,
            chain_id: params.chain_id(),
            parent,
            ancestors,
            leaves: BTreeMap::new(),
            expiry: BTreeMap::new(),
            pages: MemoryPages::new(),
            names: 0,
        }
    }

    /// Checks the header at `height`, and that it follows the one before.
    fn check_header(&mut self, height: u32) -> Result<(), VerifyError> {
        let (hash, header) = header_of(self.view, height)?;
        if header.hash() != hash || header.core.prev != self.parent.hash() {
            return Err(VerifyError::Differs { what: format!("the chain of headers at height {height}") });
        }
        let checked = with_scratch(|scratch| {
            check(self.params, &self.chain_id, &header, &self.parent, header.core.time, scratch)
        });
        self.parent = match checked {
            Ok(context) => context,
            Err(HeaderError::Violation(violation)) => return Err(VerifyError::Rule { height, hash, violation }),
            Err(HeaderError::Deferred { .. }) => unreachable!("the clock was set to the header's own time"),
        };
        self.ancestors.0.push((hash, Prices::from(&header.ext)));
        Ok(())
    }

    /// Begins with the state before the block at `first`, which must be the one that its parent's header names.
    fn start_from(&mut self, leaves: BTreeMap<Key, Leaf>, first: u32) -> Result<(), VerifyError> {
        let (_, parent) = header_of(self.view, first - 1)?;
        let hash = |leaf: &Leaf| value_hash(&encode(leaf));
        let changes: Vec<_> = leaves.iter().map(|(key, leaf)| (*key, Some(hash(leaf)))).collect();
        let root = never_fails(self.pages.change(&changes));
        if root != parent.ext.state_root {
            return Err(VerifyError::Differs { what: format!("the state at height {}", first - 1) });
        }
        for (key, leaf) in &leaves {
            self.expiry.entry(leaf.deletion_height(self.params)).or_default().push(*key);
        }
        (self.leaves, self.names) = (leaves, parent.ext.name_count);
        Ok(())
    }

    fn step(&mut self, height: u32) -> Result<(), VerifyError> {
        let hash = hash_at(self.view, height)?;
        let body = self.view.body(height, &hash)?.ok_or_else(|| missing("the body", height))?;
        self.replay(&parse("a block", &body)?).map_err(|violation| VerifyError::Rule { height, hash, violation })
    }

    fn replay(&mut self, block: &Block) -> Result<(), Violation> {
        check_body(&block.header, &block.transactions)?;
        let height = block.header.core.height;
        let checked = self.check_transactions(block)?;
        let due = self.expiry.remove(&height).unwrap_or_default();
        let keys = touched_keys(&block.transactions, &self.chain_id);
        let leaves = keys.iter().chain(&due).map(|key| (*key, self.leaves.get(key).cloned())).collect();
        let loaded = Loaded { leaves, due };
        let delta = apply(self.params, &self.chain_id, &self.ancestors, height, self.names, &checked, &loaded)?;
        let root = never_fails(self.pages.change(&tree_changes(&delta.changes)));
        results_match(&block.header, &delta, root)?;
        self.names = delta.name_count;
        self.take_over(delta);
        Ok(())
    }

    fn check_transactions(&self, block: &Block) -> Result<Vec<CheckedTransaction>, Violation> {
        let one = |transaction: &ledger::transaction::Transaction| {
            let at = transaction.anchor().height;
            anchor_height_is_allowed(self.params, block.header.core.height, transaction)?;
            let unknown = Violation::AncestorUnknown { height: at };
            let (hash, prices) = self.ancestors.0.get(at as usize).copied().ok_or(unknown)?;
            let anchor = AnchorBlock { hash, prices };
            with_scratch(|s| check_transaction(self.params, &self.chain_id, transaction.clone(), &anchor, s))
        };
        block.transactions.iter().map(one).collect()
    }

    fn take_over(&mut self, delta: Delta) {
        for change in delta.changes {
            if let Some(old) = &change.before {
                let height = old.deletion_height(self.params);
                if let Some(queue) = self.expiry.get_mut(&height) {
                    queue.retain(|key| *key != change.key);
                }
            }
            match change.after {
                Some(leaf) => {
                    self.expiry.entry(leaf.deletion_height(self.params)).or_default().push(change.key);
                    self.leaves.insert(change.key, leaf);
                }
                None => drop(self.leaves.remove(&change.key)),
            }
        }
    }

    /// Compares entries, queue and pages, one by one.
    fn compare(&self, report: &mut VerifyReport) -> Result<(), VerifyError> {
        let stored = stored_leaves(self.view)?;
        report.entries = stored.len() as u64;
        if stored != self.leaves {
            return Err(VerifyError::Differs { what: "the set of entries".into() });
        }
        for (path, page) in self.pages.pages() {
            if self.view.page_row(path)?.as_ref() != Some(page) {
                return Err(VerifyError::Differs { what: format!("page {path} of the state tree") });
            }
        }
        report.pages = count(self.view, Table::Tree)?;
        let queued: usize = self.expiry.values().map(Vec::len).sum();
        if report.pages != self.pages.pages().len() as u64 || count(self.view, Table::Expiry)? != queued as u64 {
            return Err(VerifyError::Differs { what: "the number of pages or of expiry entries".into() });
        }
        Ok(())
    }
}

fn never_fails<T>(result: Result<T, TreeError<Infallible>>) -> T {
    result.unwrap_or_else(|never| unreachable!("pages in memory are always sound: {never}"))
}

fn stored_leaves(view: &Snapshot<'_>) -> Result<BTreeMap<Key, Leaf>, StoreError> {
    let mut leaves = BTreeMap::new();
    for table in [Table::Names, Table::Commits] {
        view.scan(table, (&[], &[]), Direction::Up, &mut |key, bytes| {
            let leaf: Leaf = parse("an entry", bytes)?;
            if leaf.key().as_ref() != key {
                return Err(StoreError::corrupt("an entry stands at another's key"));
            }
            leaves.insert(leaf.key(), leaf);
            Ok(Flow::Continue(()))
        })?;
    }
    Ok(leaves)
}

fn count(view: &Snapshot<'_>, table: Table) -> Result<u64, StoreError> {
    let mut entries = 0;
    view.scan(table, (&[], &[]), Direction::Up, &mut |_, _| {
        entries += 1;
        Ok(Flow::Continue(()))
    })?;
    Ok(entries)
}

//! Checking a whole database: `namestead db verify`.
//!
//! Replays every body that is kept, with all rules but the waiting, into a state in memory of its own, and compares the
//! root at every height with the header's and at the end with what is stored. Then reads every entry and every page.

use std::{collections::BTreeMap, convert::Infallible};

use ledger::{
    block::Block,
    hash::{BlockHash, Key},
    params::Params,
    price::Prices,
    rules::{
        Violation,
        block::{check_body, results_match},
        header::{HeaderContext, HeaderError, check},
        transaction::{AnchorBlock, CheckedTransaction, check as check_transaction},
    },
    state::{
        Leaf,
        apply::{Ancestors, Delta, Loaded, apply, touched_keys},
        tree::{MemoryPages, TreeError, update},
    },
};

use crate::store::{Direction, Flow, Read, Rows, Snapshot, Store, StoreError, Table, parse};

use super::{connect::tree_changes, precheck::with_scratch};

/// What was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// Height of the tip.
    pub height: u32,
    /// Headers of the active chain that were checked.
    pub headers: u32,
    /// Blocks that were replayed. Fewer than headers if bodies were pruned.
    pub blocks: u32,
    /// Entries compared with the replayed state or with the state tree.
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
        replay.step(height)?;
    }
    let mut report = VerifyReport { height: tip.height, headers: tip.height, ..VerifyReport::default() };
    report.blocks = replay.blocks;
    if replay.is_whole {
        replay.compare(&mut report)?;
    } else {
        rebuild(&view, &tip.state_root, &mut report)?;
    }
    Ok(report)
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
    blocks: u32,
    is_whole: bool,
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
            blocks: 0,
            is_whole: true,
        }
    }

    fn step(&mut self, height: u32) -> Result<(), VerifyError> {
        let missing = |what: &str| StoreError::corrupt(format!("{what} of height {height} is missing"));
        let hash = self.view.hash_at(height)?.ok_or_else(|| missing("the hash"))?;
        let row = self.view.header_row(&hash)?.ok_or_else(|| missing("the header"))?;
        let rule = |violation| VerifyError::Rule { height, hash, violation };
        if row.header.hash() != hash || row.header.core.prev != self.parent.hash() {
            return Err(VerifyError::Differs { what: format!("the chain of headers at height {height}") });
        }
        let checked = with_scratch(|scratch| {
            check(self.params, &self.chain_id, &row.header, &self.parent, row.header.core.time, scratch)
        });
        let context = match checked {
            Ok(context) => context,
            Err(HeaderError::Violation(violation)) => return Err(rule(violation)),
            Err(HeaderError::Deferred { .. }) => unreachable!("the clock was set to the header's own time"),
        };
        match self.view.body(height, &hash)? {
            Some(bytes) if self.is_whole => self.replay(&parse("a block", &bytes)?).map_err(rule)?,
            Some(_) => {}
            None => self.is_whole = false,
        }
        self.ancestors.0.push((hash, Prices::from(&row.header.ext)));
        self.parent = context;
        Ok(())
    }

    fn replay(&mut self, block: &Block) -> Result<(), Violation> {
        check_body(&block.header, &block.transactions)?;
        let height = block.header.core.height;
        let checked = self.check_transactions(block)?;
        let due = self.expiry.remove(&height).unwrap_or_default();
        let keys = touched_keys(&block.transactions, &self.chain_id);
        let leaves = keys.iter().chain(&due).map(|key| (*key, self.leaves.get(key).cloned())).collect();
        let names = self.parent.header().ext.name_count;
        let loaded = Loaded { leaves, due };
        let delta = apply(self.params, &self.chain_id, &self.ancestors, height, names, &checked, &loaded)?;
        let root = self
            .pages
            .change(&tree_changes(&delta.changes))
            .map_err(|never: TreeError<Infallible>| unreachable!("pages in memory are always sound: {never}"));
        results_match(&block.header, &delta, root?)?;
        self.take_over(delta);
        self.blocks += 1;
        Ok(())
    }

    fn check_transactions(&self, block: &Block) -> Result<Vec<CheckedTransaction>, Violation> {
        let one = |transaction: &ledger::transaction::Transaction| {
            let height = transaction.anchor().height;
            let unknown = Violation::AncestorUnknown { height };
            let (hash, prices) = self.ancestors.0.get(height as usize).copied().ok_or(unknown)?;
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

/// Without all bodies: the tree over the stored entries must have the tip's root, and consist of the stored pages.
fn rebuild(view: &Snapshot<'_>, root: &ledger::hash::Hash, report: &mut VerifyReport) -> Result<(), VerifyError> {
    let stored = stored_leaves(view)?;
    report.entries = stored.len() as u64;
    let hash = |leaf: &Leaf| ledger::state::tree::value_hash(&ledger::codec::encode(leaf));
    let changes: Vec<_> = stored.iter().map(|(key, leaf)| (*key, Some(hash(leaf)))).collect();
    let built =
        update(&MemoryPages::new(), ledger::hash::Hash::ZERO, &changes).expect("an empty tree in memory is sound");
    if built.root != *root {
        return Err(VerifyError::Differs { what: "the root over all entries".into() });
    }
    for (path, page) in &built.pages {
        if view.page_row(path)? != *page {
            return Err(VerifyError::Differs { what: format!("page {path} of the state tree") });
        }
    }
    report.pages = count(view, Table::Tree)?;
    let expected = built.pages.iter().filter(|(_, page)| page.is_some()).count() as u64;
    if report.pages == expected { Ok(()) } else { Err(VerifyError::Differs { what: "the number of pages".into() }) }
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

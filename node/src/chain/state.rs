//! The state as the writer sees it: leaves and tree pages from the caches or the database, ancestors from the index.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use ledger::{
    hash::{BlockHash, Hash, Key},
    price::Prices,
    rules::context::Ancestors,
    state::delta::{Change, Loaded},
    state::{
        Leaf,
        tree::{self, Page, PagePath, PageSource, TreeDelta, TreeError},
    },
};

use crate::store::{Rows, Store, StoreError};

use super::{
    ChainStats,
    cache::Cache,
    index::{Id, Index},
    stats::add,
};

/// The chain that ends in `end`, as the rules look at it.
pub(super) struct Branch<'a> {
    pub(super) index: &'a Index,
    pub(super) end: Id,
}

impl Ancestors for Branch<'_> {
    fn hash_at(&self, height: u32) -> Option<BlockHash> {
        Some(self.index.hash(self.index.ancestor(self.end, height)?))
    }

    fn prices_at(&self, height: u32) -> Option<Prices> {
        Some(self.index.prices(self.index.ancestor(self.end, height)?))
    }
}

/// Leaves and pages of the tip's state, cached. What it caches is always what the database holds.
pub(super) struct State {
    store: Store,
    stats: Arc<ChainStats>,
    pages: RefCell<Cache<PagePath, Page>>,
    leaves: RefCell<Cache<Key, Option<Leaf>>>,
}

impl State {
    /// Pages take most of `cache_bytes`: every block goes through their top again, while a leaf is needed again when
    /// its commit is revealed, some blocks later, and then for long not.
    pub(super) fn new(store: Store, stats: Arc<ChainStats>, cache_bytes: usize) -> Self {
        let leaves = Cache::new(cache_bytes / 8);
        Self { store, stats, pages: RefCell::new(Cache::new(cache_bytes / 8 * 7)), leaves: RefCell::new(leaves) }
    }

    /// The leaves at `keys` and at those `due`.
    pub(super) fn load(&self, keys: impl IntoIterator<Item = Key>, due: Vec<Key>) -> Result<Loaded, StoreError> {
        let mut leaves = BTreeMap::new();
        let mut absent = Vec::new();
        let mut cache = self.leaves.borrow_mut();
        for key in keys.into_iter().chain(due.iter().copied()) {
            match cache.get(&key) {
                Some(leaf) => drop(leaves.insert(key, leaf)),
                None => absent.push(key),
            }
        }
        for (key, leaf) in absent.iter().zip(self.store.leaves(&absent)?) {
            leaves.insert(*key, leaf);
        }
        Ok(Loaded { leaves, due })
    }

    /// Root and pages after `changes` to the tree with this `root`. Changes nothing.
    pub(super) fn update_tree(&self, root: Hash, changes: &[(Key, Option<Hash>)]) -> Result<TreeDelta, StoreError> {
        tree::update(self, root, changes).map_err(tree_error)
    }

    /// Takes over what was written to the database.
    pub(super) fn remember(&self, changes: &[Change], pages: Vec<(PagePath, Option<Page>)>) {
        let mut leaves = self.leaves.borrow_mut();
        for change in changes {
            leaves.put(change.key, change.after.clone(), weigh_leaf(&change.after));
        }
        let mut cache = self.pages.borrow_mut();
        let (kept, gone): (Vec<_>, Vec<_>) = pages.into_iter().partition(|(_, page)| page.is_some());
        kept.into_iter().filter_map(|(path, page)| Some((path, page?))).for_each(|(path, page)| {
            let weight = weigh_page(&page);
            cache.put(path, page, weight);
        });
        gone.iter().for_each(|(path, _)| cache.forget(path));
    }
}

impl PageSource for State {
    type Error = StoreError;

    fn page(&self, path: &PagePath) -> Result<Option<Page>, StoreError> {
        let mut cache = self.pages.borrow_mut();
        if let Some(page) = cache.get(path) {
            add(&self.stats.page_cache_hits, 1);
            return Ok(Some(page));
        }
        add(&self.stats.page_cache_misses, 1);
        let page = self.store.page_row(path)?;
        if let Some(page) = &page {
            cache.put(*path, page.clone(), weigh_page(page));
        }
        Ok(page)
    }
}

/// Memory of a cached page: its bytes, its key, and what a table and two counters around them take.
fn weigh_page(page: &Page) -> usize {
    page.as_bytes().len() + 120
}

/// Memory of a cached leaf, within a factor of two: a name without records takes some 400 bytes, each record 100 more.
fn weigh_leaf(leaf: &Option<Leaf>) -> usize {
    match leaf {
        None => 100,
        Some(Leaf::Commit(_)) => 500,
        Some(Leaf::Name(state)) => 500 + 100 * state.records.as_slice().len(),
    }
}

/// A tree that does not hang together is damage, not anybody's fault.
pub(super) fn tree_error(error: TreeError<StoreError>) -> StoreError {
    match error {
        TreeError::Source(error) => error,
        other => StoreError::corrupt(other),
    }
}

//! A state tree kept in memory.
//!
//! For: tests, simulators and light tools. Not for a node, which keeps its pages in a database.

use std::{collections::BTreeMap, convert::Infallible};

use crate::hash::{Hash, Key};

use super::{Page, PagePath, PageSource, TreeDelta, TreeError, update};

/// All pages of one tree, in memory, with its root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryPages {
    root: Hash,
    pages: BTreeMap<PagePath, Page>,
}

impl MemoryPages {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The root of the tree as it is now.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The pages, in the order of their paths.
    pub fn pages(&self) -> impl ExactSizeIterator<Item = (&PagePath, &Page)> {
        self.pages.iter()
    }

    /// Takes over what [`update`] returned for this tree.
    pub fn apply(&mut self, delta: TreeDelta) {
        self.root = delta.root;
        for (path, page) in delta.pages {
            match page {
                Some(page) => self.pages.insert(path, page),
                None => self.pages.remove(&path),
            };
        }
    }

    /// Updates and applies in one step; returns the new root.
    pub fn change(&mut self, changes: &[(Key, Option<Hash>)]) -> Result<Hash, TreeError<Infallible>> {
        let delta = update(self, self.root, changes)?;
        self.apply(delta);
        Ok(self.root)
    }
}

impl PageSource for MemoryPages {
    type Error = Infallible;

    fn page(&self, path: &PagePath) -> Result<Option<Page>, Infallible> {
        Ok(self.pages.get(path).cloned())
    }
}

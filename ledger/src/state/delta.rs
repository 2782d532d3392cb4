//! What a block does to the entries: [`Loaded`] goes in, [`Delta`] comes out (protocol §6).

use std::collections::BTreeMap;

use super::{Leaf, NameState};
use crate::hash::Key;

/// What the shell loaded.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Every touched or due key, with its entry if there is one.
    pub leaves: BTreeMap<Key, Option<Leaf>>,
    /// Keys whose entries are to be deleted at this height.
    pub due: Vec<Key>,
}

/// One entry before and after a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Where it stands.
    pub key: Key,
    /// As it was.
    pub before: Option<Leaf>,
    /// As it is.
    pub after: Option<Leaf>,
}

/// All that a block does to the state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Delta {
    /// The changes, ascending by key.
    pub changes: Vec<Change>,
    /// Number of name entries afterwards.
    pub name_count: u64,
}

impl Delta {
    /// The name entries among the changes, before and after.
    pub fn names(&self) -> impl Iterator<Item = (Option<&NameState>, Option<&NameState>)> {
        self.changes
            .iter()
            .map(|change| {
                let [before, after] = [&change.before, &change.after].map(|l| l.as_ref().and_then(Leaf::as_name));
                (before, after)
            })
            .filter(|pair| pair.0.is_some() || pair.1.is_some())
    }
}

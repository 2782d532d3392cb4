//! Which names change hands by a reorganisation.

use std::collections::BTreeMap;

use ledger::{
    hash::PolicyHash,
    name::Name,
    state::{Leaf, delta::Change},
};

use crate::store::{Rows, Store, StoreError};

/// Names whose owners are compared around a reorganisation: more than fit into a day of full blocks are not listed.
const WATCHED_NAMES: usize = 100_000;

/// Owners of names before a reorganisation.
#[derive(Default)]
pub(super) struct Owners(BTreeMap<Name, Option<PolicyHash>>);

impl Owners {
    /// Notes who owned what changes.
    pub(super) fn note(&mut self, changes: &[Change]) {
        for change in changes {
            let name = |leaf: &Option<Leaf>| leaf.as_ref().and_then(Leaf::as_name).map(|state| state.name.clone());
            let Some(name) = name(&change.before).or_else(|| name(&change.after)) else { continue };
            if self.0.len() < WATCHED_NAMES {
                let owner = change.before.as_ref().and_then(Leaf::as_name).map(|state| state.owner);
                self.0.entry(name).or_insert(owner);
            }
        }
    }

    /// The names that belong to another owner now, of those that had one.
    pub(super) fn changed(&self, store: &Store) -> Result<Vec<&Name>, StoreError> {
        let mut changed = Vec::new();
        for (name, before) in self.0.iter().filter(|(_, before)| before.is_some()) {
            if store.name_state(name)?.map(|state| state.owner) != *before {
                changed.push(name);
            }
        }
        Ok(changed)
    }
}

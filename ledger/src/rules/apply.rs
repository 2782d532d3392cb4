//! One block against the entries that it touches (protocol §6, `apply`).
//!
//! The shell loads the entries named by [`touched_keys`] and the expiry queue; [`apply`] judges and answers with the
//! changes, or with the rule that was broken. It neither reads nor writes anything else. Deletions that are due come
//! first, then the transactions; each entry is touched at most once, so their order cannot matter.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    context::{self, Ancestors},
    transaction::{CheckedTransaction, Stated},
    violation::Violation,
};
use crate::{
    hash::{Hash, Key},
    name::Name,
    params::Params,
    state::{
        CommitState, Leaf, NameState, commit_key,
        delta::{Change, Delta, Loaded},
    },
    transaction::{Body, Transaction, commit_hash},
};

/// The keys that `transactions` touch.
pub fn touched_keys<'a>(transactions: impl IntoIterator<Item = &'a Transaction>, chain_id: &Hash) -> BTreeSet<Key> {
    transactions.into_iter().flat_map(|tx| keys_of(tx.body(), chain_id)).flatten().collect()
}

/// The one or two keys that a transaction with this body touches.
fn keys_of(body: &Body, chain_id: &Hash) -> [Option<Key>; 2] {
    let commit = match body {
        Body::Commit { class, commit_hash } => Some(commit_key(*class, commit_hash)),
        Body::Reveal { class, name, salt, owner, .. } => {
            Some(commit_key(*class, &commit_hash(chain_id, salt, owner, name)))
        }
        _ => None,
    };
    [body.name().map(|name| name.key()), commit]
}

/// Applies the block at `height` whose parent has `parent_name_count` names.
pub fn apply(
    params: &Params,
    chain_id: &Hash,
    ancestors: &dyn Ancestors,
    height: u32,
    parent_name_count: u64,
    transactions: &[CheckedTransaction],
    loaded: &Loaded,
) -> Result<Delta, Violation> {
    let mut step = Step::new(params, chain_id, ancestors, height, loaded);
    for checked in transactions {
        step.transaction(checked.stated())?;
    }
    Ok(step.into_delta(parent_name_count))
}

/// What one transaction would do in the block at `height`, whatever its signatures and its work are worth: for asking
/// before those are checked. Never enough to take it into a block.
pub fn foresee(
    params: &Params,
    chain_id: &Hash,
    ancestors: &dyn Ancestors,
    height: u32,
    parent_name_count: u64,
    stated: Stated<'_>,
    loaded: &Loaded,
) -> Result<Delta, Violation> {
    let mut step = Step::new(params, chain_id, ancestors, height, loaded);
    step.transaction(stated)?;
    Ok(step.into_delta(parent_name_count))
}

/// The state of applying one block.
struct Step<'a> {
    params: &'a Params,
    chain_id: &'a Hash,
    ancestors: &'a dyn Ancestors,
    height: u32,
    loaded: &'a Loaded,
    /// Entries after the block, for every touched key.
    changes: BTreeMap<Key, Option<Leaf>>,
}

impl<'a> Step<'a> {
    /// Deletions that are due come first.
    fn new(
        params: &'a Params,
        chain_id: &'a Hash,
        ancestors: &'a dyn Ancestors,
        height: u32,
        loaded: &'a Loaded,
    ) -> Self {
        let changes = loaded.due.iter().map(|key| (*key, None)).collect();
        Self { params, chain_id, ancestors, height, loaded, changes }
    }

    fn transaction(&mut self, stated: Stated<'_>) -> Result<(), Violation> {
        let tx = stated.transaction;
        context::anchor_height_is_allowed(self.params, self.height, tx)?;
        // Genesis, where REVEALs are anchored, is an ancestor of every block.
        if !matches!(tx.body(), Body::Reveal { .. }) {
            context::anchor_is_on_this_chain(self.ancestors, stated)?;
        }
        match tx.body() {
            Body::Commit { class, commit_hash } => {
                let key = commit_key(*class, commit_hash);
                let standing = self.untouched(key)?;
                let commit = context::commit(self.height, *class, *commit_hash, standing)?;
                self.changes.insert(key, Some(Leaf::Commit(commit)));
            }
            Body::Reveal { .. } => self.reveal(tx)?,
            Body::Update { name, .. }
            | Body::Transfer { name, .. }
            | Body::Cancel { name, .. }
            | Body::Revoke { name, .. } => {
                let state = self.standing(name)?;
                let next = context::change(self.params, self.height, state, stated)?;
                self.changes.insert(name.key(), Some(Leaf::Name(next)));
            }
            Body::Renew { name, expires_at } => {
                let state = self.standing(name)?;
                let next = context::renew(self.params, self.height, state, *expires_at)?;
                self.changes.insert(name.key(), Some(Leaf::Name(next)));
            }
            Body::Claim { .. } | Body::Roll { .. } => {
                return Err(Violation::TypeNotActive { type_id: tx.body().type_id() });
            }
        }
        Ok(())
    }

    fn reveal(&mut self, reveal: &Transaction) -> Result<(), Violation> {
        let Body::Reveal { class, name, salt, owner, operator, records } = reveal.body() else {
            unreachable!("called for reveals only")
        };
        let hash = commit_hash(self.chain_id, salt, owner, name);
        let commit_key = commit_key(*class, &hash);
        let commit = context::commit_to_spend(*class, &hash, self.untouched(commit_key)?)?;
        context::commit_is_ripe(self.params, self.height, commit.height)?;
        let precedence = context::precedence(self.ancestors, &commit)?;
        let name_key = name.key();
        let standing = match self.untouched(name_key)? {
            None => None,
            some => Some(context::entry_of(name, some)?.matured(self.height)),
        };
        let fresh = context::NewEntry { name, owner, operator, records, precedence };
        let state = context::take(self.params, self.height, fresh, standing)?;
        self.changes.insert(commit_key, Some(Leaf::Commit(CommitState { spent: true, ..commit })));
        self.changes.insert(name_key, Some(Leaf::Name(state)));
        Ok(())
    }

    /// The entry of a registered name that this block has not touched, as it stands at this height.
    fn standing(&self, name: &Name) -> Result<NameState, Violation> {
        Ok(context::entry_of(name, self.untouched(name.key())?)?.matured(self.height))
    }

    /// The entry at `key`, unless this block touched it already.
    fn untouched(&self, key: Key) -> Result<Option<&Leaf>, Violation> {
        if self.changes.contains_key(&key) {
            return Err(Violation::KeyTouchedTwice { key });
        }
        // A key that was forgotten must not pass for a free name: that would fork this node off without a word.
        Ok(self.loaded.leaves.get(&key).expect("the shell loads every key that `touched_keys` names").as_ref())
    }

    fn into_delta(self, parent_name_count: u64) -> Delta {
        let mut name_count = parent_name_count;
        let mut changes = Vec::with_capacity(self.changes.len());
        for (key, after) in self.changes {
            let before = self.loaded.leaves.get(&key).cloned().flatten();
            let is_name = |leaf: &Option<Leaf>| matches!(leaf, Some(Leaf::Name(_)));
            name_count = name_count + u64::from(is_name(&after)) - u64::from(is_name(&before));
            changes.push(Change { key, before, after });
        }
        Delta { changes, name_count }
    }
}

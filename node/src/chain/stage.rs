//! What a step of the chain puts into its batch: entries, the tree, and the indexes that follow from them.

use std::collections::BTreeSet;

use ledger::{
    block::{Block, Header},
    codec::encode,
    hash::{BlockHash, Hash, Key},
    name::Name,
    params::Params,
    rules::transaction::CheckedTransaction,
    state::{
        Leaf, NameState,
        delta::Change,
        tree::{TreeDelta, value_hash},
    },
    transaction::Body,
};

use crate::store::{
    Batch, Rows, Store, StoreError, TIP_KEY, Table, TipRow, expiry_key, history_key, owner_key, places_row,
};

/// What the tree is told.
pub(super) fn tree_changes(changes: &[Change]) -> Vec<(Key, Option<Hash>)> {
    let hash = |leaf: &Leaf| value_hash(&encode(leaf));
    changes.iter().map(|change| (change.key, change.after.as_ref().map(hash))).collect()
}

/// Leaves, and the indexes that follow from them.
pub(super) fn stage_changes(batch: &mut Batch<'_>, params: &Params, changes: &[Change]) {
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
pub(super) fn stage_index(
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
    batch.put(Table::Meta, TIP_KEY, encode(&row));
}

fn changed_name(change: &Change) -> Option<&Name> {
    let leaf = change.before.as_ref().and_then(Leaf::as_name).or(change.after.as_ref().and_then(Leaf::as_name));
    leaf.map(|state| &state.name)
}

/// The names among the changes, as they are afterwards.
pub(super) fn name_changes(changes: Vec<Change>) -> Vec<(Name, Option<NameState>)> {
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

//! Looking at the chain for operations.

use ledger::{
    params::Params,
    price::Prices,
    state::{Leaf, commit_key},
    transaction::Transaction,
};

use super::{
    record::{AnchorRef, Plan, Record, RegisterPlan},
    rules::Rules,
    sight::{AnchorBlock, Place, Sight, deepest_anchor},
};
use crate::{chain::ChainView, mempool::MempoolView, store::StoreError};

/// Of the blocks between `anchor_depth` and [`deepest_anchor`] below the tip, the one at which a COMMIT costs least;
/// of equals the newest, which lives longest.
pub(super) fn cheapest_anchor(view: &ChainView<'_>, params: &Params) -> Result<AnchorBlock, StoreError> {
    let tip = view.tip()?.height;
    let newest = tip.saturating_sub(params.anchor_depth);
    let oldest = tip.saturating_sub(deepest_anchor(params)).min(newest);
    let mut cheapest: Option<AnchorBlock> = None;
    for height in (oldest..=newest).rev() {
        let block = block_at(view, height)?
            .ok_or_else(|| StoreError::Corrupt { what: format!("no header at height {height} below the tip") })?;
        if cheapest.is_none_or(|best| block.prices.commit < best.prices.commit) {
            cheapest = Some(block);
        }
    }
    Ok(cheapest.expect("the range holds its upper end"))
}

/// Looks at the chain for one operation. All of it is one moment: facts of two branches together could show an end
/// that neither of them knows. Only the mempool is read beside it, and the worst that does is to publish once more.
pub(super) fn look(
    view: &ChainView<'_>,
    pool: &MempoolView,
    rules: &Rules,
    record: &Record,
    cheapest_anchor: AnchorBlock,
) -> Result<Sight, StoreError> {
    let place_of = |transaction: Option<&Transaction>| match transaction {
        Some(transaction) => place(view, pool, transaction),
        None => Ok(Place::Nowhere),
    };
    let anchored_at = |height: Option<u32>| height.map_or(Ok(None), |height| block_at(view, height));
    let (change, unsigned) = (record.signed_change(), record.unsigned());
    let mut sight = Sight {
        next: view.tip()?.height.saturating_add(1),
        signed_anchor: anchored_at(change.map(|change| change.anchor.height))?,
        unsigned_anchor: anchored_at(unsigned.map(|(anchor, _)| anchor.height))?,
        cheapest_anchor,
        commit: None,
        commit_block: None,
        name: view.name_state(record.name())?,
        unsigned_place: place_of(unsigned.and_then(|(_, transaction)| transaction))?,
        reveal_place: Place::Nowhere,
        change_place: place_of(change.map(|change| &change.transaction))?,
    };
    if let Plan::Register(plan) = &record.plan {
        sight.reveal_place = place(view, pool, &plan.reveal)?;
        look_at_commit(view, rules, plan, &mut sight)?;
    }
    Ok(sight)
}

fn look_at_commit(
    view: &ChainView<'_>,
    rules: &Rules,
    plan: &RegisterPlan,
    sight: &mut Sight,
) -> Result<(), StoreError> {
    let terms = plan.terms(&rules.chain_id);
    sight.commit = match view.leaf(&commit_key(terms.class, &terms.commit_hash))? {
        Some(Leaf::Commit(commit)) => Some(commit),
        Some(_) | None => None,
    };
    if let Some(commit) = &sight.commit {
        sight.commit_block = block_at(view, commit.height)?.map(|block| block.at.hash);
    }
    Ok(())
}

fn place(view: &ChainView<'_>, pool: &MempoolView, transaction: &Transaction) -> Result<Place, StoreError> {
    let txid = transaction.txid();
    Ok(match view.transaction_height(&txid)? {
        Some(height) => Place::Block(height),
        None if pool.contains(&txid) => Place::Pool,
        None => Place::Nowhere,
    })
}

/// The active chain's block at a height, as an anchor.
pub(super) fn block_at(view: &ChainView<'_>, height: u32) -> Result<Option<AnchorBlock>, StoreError> {
    let placed = view.header_at(height)?;
    Ok(placed.map(|placed| AnchorBlock {
        at: AnchorRef { height, hash: placed.hash },
        prices: Prices::from(&placed.header.ext),
    }))
}

//! What an operation needs to know of the chain to take its next step.

use ledger::{
    hash::BlockHash,
    params::Params,
    price::Prices,
    state::{CommitState, Leaf, NameState, commit_key},
    transaction::Transaction,
};

use super::{
    record::{AnchorRef, Plan, Record, RegisterPlan},
    step::Rules,
};
use crate::{chain::ChainView, mempool::MempoolView, store::StoreError};

/// Where a transaction is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Place {
    /// Nowhere.
    #[default]
    Nowhere,
    /// In the mempool.
    Pool,
    /// In the active chain.
    Block(u32),
}

/// A block that something could be anchored at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnchorBlock {
    /// Height and hash.
    pub at: AnchorRef,
    /// Prices in it.
    pub prices: Prices,
}

/// The chain, as far as one operation is concerned.
#[derive(Clone, PartialEq, Debug)]
pub struct Sight {
    /// Height of the next block.
    pub next: u32,
    /// The active chain's block at the height of the signed change's anchor.
    pub signed_anchor: Option<AnchorBlock>,
    /// The active chain's block at the height of the anchor of what nobody signs: a commit or a renewal.
    pub unsigned_anchor: Option<AnchorBlock>,
    /// The block at which a commit or a renewal costs least.
    pub cheapest_anchor: AnchorBlock,
    /// The commit's entry.
    pub commit: Option<CommitState>,
    /// Hash of the block that holds the commit.
    pub commit_block: Option<BlockHash>,
    /// The name's entry.
    pub name: Option<NameState>,
    /// Where the commit or renewal is, if there is one yet.
    pub unsigned_place: Place,
    /// Where the reveal is.
    pub reveal_place: Place,
    /// Where the signed change is.
    pub change_place: Place,
}

/// The last height at which something with this anchor can enter a block.
pub(super) fn last_height(params: &Params, anchor: u32) -> u32 {
    anchor.saturating_add(params.anchor_window)
}

/// The deepest block below the tip that wallets anchor at: a sixth of the window is left for getting into a block.
/// 150 of 180 (protocol §4.1).
pub(super) fn deepest_anchor(params: &Params) -> u32 {
    params.anchor_window - params.anchor_window / 6
}

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

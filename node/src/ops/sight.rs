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
    /// The active chain's block at the height of the signed anchor.
    pub signed_anchor: Option<AnchorBlock>,
    /// The active chain's block at the height of the commit's anchor.
    pub commit_anchor: Option<AnchorBlock>,
    /// The newest block that wallets anchor at.
    pub best_anchor: AnchorBlock,
    /// The commit's entry.
    pub commit: Option<CommitState>,
    /// Hash of the block that holds the commit.
    pub commit_block: Option<BlockHash>,
    /// The name's entry.
    pub name: Option<NameState>,
    /// Where the commit is, if there is one yet.
    pub commit_place: Place,
    /// Where the reveal or the change is.
    pub main_place: Place,
}

/// The last height at which something with this anchor can enter a block.
pub(super) fn last_height(params: &Params, anchor: u32) -> u32 {
    anchor.saturating_add(params.anchor_window)
}

/// Looks at the chain for one operation. All of it is one moment: facts of two branches together could show an end
/// that neither of them knows. Only the mempool is read beside it, and the worst that does is to publish once more.
pub(super) fn look(
    view: &ChainView<'_>,
    pool: &MempoolView,
    rules: &Rules,
    record: &Record,
) -> Result<Sight, StoreError> {
    let tip = view.tip()?.height;
    let best = tip.saturating_sub(rules.params.anchor_depth);
    let mut sight = Sight {
        next: tip.saturating_add(1),
        signed_anchor: block_at(view, record.signed_anchor_height())?,
        commit_anchor: None,
        best_anchor: block_at(view, best)?
            .ok_or_else(|| StoreError::Corrupt { what: format!("no header at height {best} below the tip") })?,
        commit: None,
        commit_block: None,
        name: view.name_state(record.name())?,
        commit_place: Place::Nowhere,
        main_place: place(view, pool, record.signed())?,
    };
    if let Plan::Register(plan) = &record.plan {
        look_at_commit(view, rules, plan, &mut sight)?;
        if let Some(commit) = &plan.commit {
            sight.commit_place = place(view, pool, commit)?;
        }
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
    sight.commit_anchor = block_at(view, plan.commit_anchor.height)?;
    sight.commit = match view.leaf(&commit_key(terms.class, &terms.commit_hash))? {
        Some(Leaf::Commit(commit)) => Some(commit),
        Some(Leaf::Name(_)) | None => None,
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

//! What an operation needs to know of the chain to take its next step.

use ledger::{
    block::HeaderExt,
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
use crate::{
    chain::{ChainHandle, ChainReader, TransactionStatus},
    store::StoreError,
};

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

/// Looks at the chain for one operation.
pub(super) fn look(chain: &ChainHandle, rules: &Rules, record: &Record) -> Result<Sight, StoreError> {
    let (reader, tip) = (chain.reader(), chain.tip());
    let best = tip.height.saturating_sub(rules.params.anchor_depth);
    let best_anchor = reader
        .header_at(best)?
        .map(|placed| anchor_block(best, placed.hash, &placed.header.ext))
        .ok_or_else(|| StoreError::Corrupt { what: format!("no header at height {best} below the tip") })?;
    let name = reader.name_state(record.name())?;
    let mut sight = Sight {
        next: tip.height.saturating_add(1),
        signed_anchor: block_at(&reader, record.signed_anchor_height()),
        commit_anchor: None,
        best_anchor,
        commit: None,
        commit_block: None,
        name,
        commit_place: Place::Nowhere,
        main_place: Place::Nowhere,
    };
    match &record.plan {
        Plan::Register(plan) => look_at_commit(&reader, rules, plan, &mut sight)?,
        Plan::Change(plan) => sight.main_place = place(&reader, &plan.transaction)?,
    }
    Ok(sight)
}

fn look_at_commit(
    reader: &ChainReader,
    rules: &Rules,
    plan: &RegisterPlan,
    sight: &mut Sight,
) -> Result<(), StoreError> {
    let terms = plan.terms(&rules.chain_id);
    sight.commit_anchor = block_at(reader, plan.commit_anchor.height);
    sight.commit = match reader.leaf(&commit_key(terms.class, &terms.commit_hash))? {
        Some(Leaf::Commit(commit)) => Some(commit),
        Some(Leaf::Name(_)) | None => None,
    };
    if let Some(commit) = &sight.commit {
        sight.commit_block = block_at(reader, commit.height).map(|block| block.at.hash);
    }
    if let Some(commit) = &plan.commit {
        sight.commit_place = place(reader, commit)?;
    }
    sight.main_place = place(reader, &plan.reveal)?;
    Ok(())
}

fn place(reader: &ChainReader, transaction: &Transaction) -> Result<Place, StoreError> {
    Ok(match reader.transaction(&transaction.txid())? {
        Some(TransactionStatus::Pooled(_)) => Place::Pool,
        Some(TransactionStatus::Mined { height, .. }) => Place::Block(height),
        None => Place::Nowhere,
    })
}

/// The active chain's block at a height, as an anchor. A read that fails counts as absent: the next look tells more.
pub(super) fn block_at(reader: &ChainReader, height: u32) -> Option<AnchorBlock> {
    let placed = reader.header_at(height).ok().flatten()?;
    Some(anchor_block(height, placed.hash, &placed.header.ext))
}

fn anchor_block(height: u32, hash: BlockHash, ext: &HeaderExt) -> AnchorBlock {
    AnchorBlock { at: AnchorRef { height, hash }, prices: Prices::from(ext) }
}

//! What an operation needs to know of the chain to take its next step.

use ledger::{
    hash::BlockHash,
    params::Params,
    price::Prices,
    state::{CommitState, NameState},
};

use super::record::AnchorRef;

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

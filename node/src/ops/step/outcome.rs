//! What a step comes to, and the conditions that all kinds of operations share.

use ledger::{params::Params, transaction::Transaction};

use crate::{
    failure::Failure,
    miner::WorkOrder,
    ops::{
        record::{AnchorRef, Milestones},
        rules::Rules,
        sight::{Place, Sight, last_height},
        state::{OperationState, TxRole},
    },
};

/// What to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Nothing until the chain changes.
    Wait,
    /// Search for the share that this commits to.
    Work(WorkOrder),
    /// Hand this to the chain; it may be there already.
    Publish(TxRole, Box<Transaction>),
    /// Anchor the commit here, forget the work done for the old anchor, and step again.
    Reanchor(AnchorRef),
    /// Nothing, ever.
    Settle,
}

/// Where an operation stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// In the words shown to people.
    pub state: OperationState,
    /// What to do.
    pub next: Next,
    /// Heights.
    pub milestones: Milestones,
    /// Why it failed or what it needs.
    pub failure: Option<Failure>,
}

impl Step {
    pub(super) fn new(state: OperationState, next: Next, milestones: Milestones) -> Self {
        Self { state, next, milestones, failure: None }
    }

    /// It cannot finish on this branch: told at once, but settled only when `since` is buried. `since` is the height
    /// of the last block that had a part in it: while a reorganisation can reach that block, the operation may go on.
    pub(super) fn fail(failure: Failure, milestones: Milestones, since: u32, rules: &Rules, sight: &Sight) -> Self {
        let next = if is_buried(rules, since, sight.next) { Next::Settle } else { Next::Wait };
        Self { state: OperationState::Failed, next, milestones, failure: Some(failure) }
    }

    /// In a block. Done counts at once, but is watched until no ordinary reorganisation reaches it.
    pub(super) fn done(rules: &Rules, sight: &Sight, height: u32) -> Self {
        let milestones = Milestones { commit_height: Some(height), ..Milestones::default() };
        let next = if is_buried(rules, height, sight.next) { Next::Settle } else { Next::Wait };
        Self::new(OperationState::Done, next, milestones)
    }

    pub(super) fn ask_for_signature(failure: Failure, milestones: Milestones) -> Self {
        Self { state: OperationState::NeedsSignature, next: Next::Wait, milestones, failure: Some(failure) }
    }
}

/// Publishes a transaction unless it is there.
pub(super) fn publish(place: Place, role: TxRole, transaction: &Transaction) -> Next {
    match place {
        Place::Nowhere => Next::Publish(role, Box::new(transaction.clone())),
        Place::Pool | Place::Block(_) => Next::Wait,
    }
}

/// Whether something anchored at `anchor` can enter the block at `height`, given the chain's block there.
pub(super) fn anchor_holds(params: &Params, anchor: u32, is_same_block: bool, height: u32) -> bool {
    is_same_block && anchor < height && height <= last_height(params, anchor)
}

/// Whether a block at `height` is deeper than reorganisations go without an alarm.
pub(super) fn is_buried(rules: &Rules, height: u32, next: u32) -> bool {
    next >= height.saturating_add(rules.params.free_reorg)
}

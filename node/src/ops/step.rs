//! The next step of an operation: a pure function of its facts and of the chain.

mod change;
mod register;
mod renew;
#[cfg(test)]
mod tests;
mod unsigned;

use ledger::{
    hash::Hash,
    params::Params,
    price::required_work,
    transaction::{Body, Transaction, share_commit, txid},
};

pub use super::sight::{AnchorBlock, Place, Sight};
use super::{
    failure::Failure,
    record::{AnchorRef, Milestones, Plan, Record, Role, State},
};
use crate::miner::WorkOrder;

/// What to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Nothing until the chain changes.
    Wait,
    /// Search for the share that this commits to.
    Work(WorkOrder),
    /// Hand this to the chain; it may be there already.
    Publish(Role, Box<Transaction>),
    /// Anchor the commit here, forget the work done for the old anchor, and step again.
    Reanchor(AnchorRef),
    /// Nothing, ever.
    Settle,
}

/// Where an operation stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// In the words shown to people.
    pub state: State,
    /// What to do.
    pub next: Next,
    /// Heights.
    pub milestones: Milestones,
    /// Why it failed or what it needs.
    pub failure: Option<Failure>,
}

/// Constants of the network that steps need.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The parameters.
    pub params: &'static Params,
    /// Their CHAIN_ID.
    pub chain_id: Hash,
}

impl Rules {
    /// The rules of a network.
    pub fn new(params: &'static Params) -> Self {
        Self { params, chain_id: params.chain_id() }
    }

    /// What work for `body`, anchored at a block, must show. `None` for bodies that need none.
    pub fn order(&self, body: &Body, anchor: &AnchorBlock) -> Option<WorkOrder> {
        let required_work = required_work(self.params, body, anchor.prices)?;
        Some(WorkOrder { share_commit: self.share_commit(body, &anchor.at), required_work })
    }

    /// What work for `body`, anchored at a block, must commit to.
    pub fn share_commit(&self, body: &Body, anchor: &AnchorRef) -> Hash {
        share_commit(&self.chain_id, &anchor.hash, &txid(anchor.height, body))
    }
}

/// The next step of `record`.
pub fn step(rules: &Rules, record: &Record, sight: &Sight) -> Step {
    let mut step = match &record.plan {
        Plan::Register(plan) => register::step(rules, plan, sight),
        Plan::Change(plan) => change::step(rules, plan, sight),
        Plan::Renew(plan) => renew::step(rules, plan, sight),
    };
    if step.state == State::NeedsSignature {
        // The words that the failure was made with do not know the operation.
        let fix = vec![format!("namectl ops resume {}", record.id)];
        step.failure = step.failure.map(|failure| Failure { fix, ..failure });
    }
    if step.state == State::Failed && was_done(record) {
        step.failure = step.failure.map(|cause| Failure::lost_to_reorg(record.name().as_str(), &cause));
    }
    step
}

/// Whether the operation was done when a reorganisation took it back. Told until it goes on.
fn was_done(record: &Record) -> bool {
    record.state == State::Done || record.failure.as_ref().is_some_and(Failure::is_lost_to_reorg)
}

impl Step {
    fn new(state: State, next: Next, milestones: Milestones) -> Self {
        Self { state, next, milestones, failure: None }
    }

    /// It cannot finish on this branch: told at once, but settled only when `since` is buried. `since` is the height
    /// of the last block that had a part in it: while a reorganisation can reach that block, the operation may go on.
    fn fail(failure: Failure, milestones: Milestones, since: u32, rules: &Rules, sight: &Sight) -> Self {
        let next = if is_buried(rules, since, sight.next) { Next::Settle } else { Next::Wait };
        Self { state: State::Failed, next, milestones, failure: Some(failure) }
    }

    /// In a block. Done counts at once, but is watched until no ordinary reorganisation reaches it.
    fn done(rules: &Rules, sight: &Sight, height: u32) -> Self {
        let milestones = Milestones { commit_height: Some(height), ..Milestones::default() };
        let next = if is_buried(rules, height, sight.next) { Next::Settle } else { Next::Wait };
        Self::new(State::Done, next, milestones)
    }

    fn ask_for_signature(failure: Failure, milestones: Milestones) -> Self {
        Self { state: State::NeedsSignature, next: Next::Wait, milestones, failure: Some(failure) }
    }
}

/// Publishes a transaction unless it is there.
fn publish(place: Place, role: Role, transaction: &Transaction) -> Next {
    match place {
        Place::Nowhere => Next::Publish(role, Box::new(transaction.clone())),
        Place::Pool | Place::Block(_) => Next::Wait,
    }
}

/// Whether something anchored at `anchor` can enter the block at `height`, given the chain's block there.
fn anchor_holds(params: &Params, anchor: u32, is_same_block: bool, height: u32) -> bool {
    is_same_block && anchor < height && height <= super::sight::last_height(params, anchor)
}

/// Whether a block at `height` is deeper than reorganisations go without an alarm.
fn is_buried(rules: &Rules, height: u32, next: u32) -> bool {
    next >= height.saturating_add(rules.params.free_reorg)
}

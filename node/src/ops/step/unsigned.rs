//! What nobody signs and work alone pays for: a COMMIT or a RENEW. The node anchors it where it costs least, and moves
//! it as prices move (protocol §4.1).

use ledger::transaction::{Body, Transaction};

use super::outcome::{Next, Step, anchor_holds, publish};
use crate::ops::{
    record::{AnchorRef, Milestones},
    rules::Rules,
    sight::{Sight, deepest_anchor},
    state::{OperationState, TxRole},
};

/// What is to be worked for.
pub(super) struct Unsigned<'a> {
    pub(super) body: &'a Body,
    pub(super) anchor: AnchorRef,
    /// Once its work is found.
    pub(super) transaction: Option<&'a Transaction>,
    pub(super) role: TxRole,
}

/// Works for it at the cheapest anchor, then publishes it until that anchor dies.
pub(super) fn step(rules: &Rules, unsigned: &Unsigned<'_>, sight: &Sight) -> Step {
    let none = Milestones::default();
    let Unsigned { body, anchor, transaction, role } = *unsigned;
    let block = sight.unsigned_anchor.filter(|block| block.at == anchor);
    let holds = anchor_holds(rules.params, anchor.height, block.is_some(), sight.next);
    if let (Some(transaction), true) = (transaction, holds) {
        return Step::new(OperationState::Broadcast, publish(sight.unsigned_place, role, transaction), none);
    }
    // A search has no memory, so moving to another anchor loses nothing; waiting for the old one to die would.
    let cheapest = sight.cheapest_anchor;
    let is_old = sight.next > anchor.height.saturating_add(1 + deepest_anchor(rules.params));
    let is_dearer = block.is_none_or(|block| cheapest.prices.commit < block.prices.commit);
    if (!holds || is_old || is_dearer) && cheapest.at != anchor {
        return Step::new(OperationState::Working, Next::Reanchor(cheapest.at), none);
    }
    let order = block.and_then(|block| rules.order(body, &block));
    Step::new(OperationState::Working, order.map_or(Next::Wait, Next::Work), none)
}

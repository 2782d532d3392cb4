//! Steps of a change to an existing entry.

use ledger::state::{NameState, Status};

use super::{Next, Rules, Sight, Step, anchor_holds, is_buried};
use crate::ops::{
    failure::Failure,
    record::{ChangePlan, Milestones, Role, State},
    sight::{Place, last_height},
};

/// Where the change stands and what comes next.
pub(super) fn step(rules: &Rules, plan: &ChangePlan, sight: &Sight) -> Step {
    let none = Milestones::default();
    if let Place::Block(height) = sight.main_place {
        return done(rules, sight, height);
    }
    if let Some(failure) = conflict(rules, plan, sight) {
        // Absence has no height of its own. No block after the signature's last one could take the change in anyway.
        let last = last_height(rules.params, plan.anchor.height);
        let since = sight.name.as_ref().map_or(last, |name| name.last_update);
        return Step::fail(failure, none, since, rules, sight);
    }
    let block = sight.signed_anchor.filter(|block| block.at == plan.anchor);
    if !anchor_holds(rules.params, plan.anchor.height, block.is_some(), sight.next) {
        let failure = Failure::needs_signature(plan.anchor.height, rules.params.anchor_window);
        return Step::ask_for_signature(failure, none);
    }
    if !plan.is_worked {
        let body = plan.transaction.body();
        let order = block.and_then(|b| rules.order(body, plan.anchor.height, &plan.anchor.hash, b.prices));
        return Step::new(State::Working, order.map_or(Next::Wait, Next::Work), none);
    }
    let next = match sight.main_place {
        Place::Nowhere => Next::Publish(Role::Change, Box::new(plan.transaction.clone())),
        Place::Pool | Place::Block(_) => Next::Wait,
    };
    Step::new(State::Broadcast, next, none)
}

/// In a block. Done counts at once, but is watched until no ordinary reorganisation reaches it.
fn done(rules: &Rules, sight: &Sight, height: u32) -> Step {
    let milestones = Milestones { commit_height: Some(height), ..Milestones::default() };
    let next = if is_buried(rules, height, sight.next) { Next::Settle } else { Next::Wait };
    Step::new(State::Done, next, milestones)
}

/// Why the change can no longer happen.
fn conflict(rules: &Rules, plan: &ChangePlan, sight: &Sight) -> Option<Failure> {
    let body = plan.transaction.body();
    let name = body.name()?.as_str();
    let Some(state) = &sight.name else { return Some(Failure::no_such_name(name)) };
    let state = state.matured(sight.next);
    wrong_status(rules, &state, sight.next)
        .map(|status| {
            Failure::new(
                "wrong_status",
                format!("{name} is {status}"),
                "Only a name in use can be changed.",
                format!("namectl lookup {name}"),
            )
        })
        .or_else(|| not_authorised(plan, &state))
        .or_else(|| {
            let wanted = body.seq()?;
            (wanted <= state.seq).then(|| Failure::sequence_used(name, state.seq, wanted))
        })
}

fn wrong_status(rules: &Rules, state: &NameState, height: u32) -> Option<&'static str> {
    match state.status(rules.params, height) {
        Status::Active | Status::Grace => None,
        Status::Pending => Some("still contested"),
        Status::Revoked => Some("given up"),
        Status::Released => Some("released"),
    }
}

fn not_authorised(plan: &ChangePlan, state: &NameState) -> Option<Failure> {
    let signer = plan.transaction.witness()?.signer();
    let may = signer == state.owner || (!state.operator.is_zero() && signer == state.operator);
    let failure = || {
        Failure::new(
            "not_authorised",
            format!("the signature is not that of {}'s owner", state.name),
            "The name may have been transferred, or the wallet used another key.",
            "namectl names",
        )
    };
    (!may).then(failure)
}

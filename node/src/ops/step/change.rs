//! Steps of a change to an existing entry.

use ledger::{
    state::{NameState, Status},
    transaction::{Body, RevokeMode},
};

use super::outcome::{Next, Step, anchor_holds, publish};
use crate::{
    failure::Failure,
    ops::{
        record::{ChangePlan, Milestones},
        rules::Rules,
        sight::{Place, Sight, last_height},
        state::{OperationState, TxRole},
    },
};

/// Where the change stands and what comes next.
pub(super) fn step(rules: &Rules, plan: &ChangePlan, sight: &Sight) -> Step {
    let none = Milestones::default();
    if let Place::Block(height) = sight.change_place {
        return Step::done(rules, sight, height);
    }
    if let Some(failure) = conflict(rules, plan, sight) {
        // Absence has no height of its own. No block after the signature's last one could take the change in anyway.
        let last = last_height(rules.params, plan.anchor.height);
        let since = sight.name.as_ref().map_or(last, |name| name.last_update);
        return Step::fail(failure, none, since, rules, sight);
    }
    let block = sight.signed_anchor.filter(|block| block.at == plan.anchor);
    if !anchor_holds(rules.params, plan.anchor.height, block.is_some(), sight.next) {
        let (last, body) = (last_height(rules.params, plan.anchor.height), plan.transaction.body());
        let failure = Failure::needs_signature(body, plan.anchor.height, last);
        return Step::ask_for_signature(failure, none);
    }
    if !plan.is_worked {
        let order = block.and_then(|block| rules.order(plan.transaction.body(), &block));
        return Step::new(OperationState::Working, order.map_or(Next::Wait, Next::Work), none);
    }
    Step::new(OperationState::Broadcast, publish(sight.change_place, TxRole::Change, &plan.transaction), none)
}

/// Why the change can no longer happen.
fn conflict(rules: &Rules, plan: &ChangePlan, sight: &Sight) -> Option<Failure> {
    let body = plan.transaction.body();
    let name = body.name()?.as_str();
    let Some(state) = &sight.name else { return Some(Failure::no_such_name(name)) };
    let state = state.matured(sight.next);
    wrong_status(rules, plan, &state, sight.next)
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

/// A thief's release is answered by burning: that is possible on a released name too, until it is free (protocol §6).
fn wrong_status(rules: &Rules, plan: &ChangePlan, state: &NameState, height: u32) -> Option<&'static str> {
    let status = state.status(rules.params, height);
    let burns = matches!(plan.transaction.body(), Body::Revoke { mode: RevokeMode::Burn, .. });
    if burns && status == Status::Revoked && !state.is_burnt() { None } else { status_text(status) }
}

/// The status of a name that cannot be changed, in words.
pub(super) fn status_text(status: Status) -> Option<&'static str> {
    match status {
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

//! Steps of a renewal, which needs no key.

use ledger::state::Status;

use super::{
    change::status_text,
    outcome::{Next, Step},
    unsigned::{self, Unsigned},
};
use crate::{
    failure::Failure,
    ops::{
        record::{Milestones, RenewPlan},
        rules::Rules,
        sight::{Place, Sight},
        state::{OperationState, TxRole},
    },
};

/// Where the renewal stands and what comes next.
pub(super) fn step(rules: &Rules, plan: &RenewPlan, sight: &Sight) -> Step {
    let none = Milestones::default();
    let name = plan.name.as_str();
    if let Place::Block(height) = sight.unsigned_place {
        return Step::done(rules, sight, height);
    }
    let Some(state) = &sight.name else {
        return Step::fail(Failure::no_such_name(name), none, sight.next.saturating_sub(1), rules, sight);
    };
    if state.registered > plan.anchor.height {
        return Step::fail(Failure::name_taken(name), none, state.registered, rules, sight);
    }
    // Guards race: whoever was first has done what was asked for (protocol §4.2).
    if state.expires_at > plan.expires_at && state.status(rules.params, sight.next) != Status::Revoked {
        return Step::done(rules, sight, state.last_update);
    }
    if let Some(failure) = obstacle(rules, plan, sight) {
        return Step::fail(failure, none, state.last_update, rules, sight);
    }
    if state.expires_at < plan.expires_at {
        // A reorganisation took the renewal before this one back; its transaction returns to the mempool.
        return Step::new(OperationState::Working, Next::Wait, none);
    }
    let body = plan.body();
    let renewal =
        Unsigned { body: &body, anchor: plan.anchor, transaction: plan.renewal.as_ref(), role: TxRole::Change };
    unsigned::step(rules, &renewal, sight)
}

/// Why the name cannot be renewed now.
fn obstacle(rules: &Rules, plan: &RenewPlan, sight: &Sight) -> Option<Failure> {
    let state = sight.name.as_ref()?;
    let name = plan.name.as_str();
    let why = |code: &str, message: String, why: &str, fix: String| Some(Failure::new(code, message, why, fix));
    if let Some(domain) = rules.params.locked_domain(name) {
        let message = format!("{name} is locked to the owner of {domain}");
        return why("name_locked", message, "A locked name is renewed by a new claim only.", String::new());
    }
    if let Some(status) = status_text(state.status(rules.params, sight.next)) {
        let fix = format!("namectl lookup {name}");
        return why("wrong_status", format!("{name} is {status}"), "Only a name in use can be renewed.", fix);
    }
    let from = state.expires_at.saturating_sub(rules.params.renew_window);
    if sight.next < from {
        let message = format!("{name} cannot be renewed yet");
        let reason = format!("It expires at height {}; renewals open at height {from}.", state.expires_at);
        return why("too_early", message, &reason, format!("namectl renew {name}   # from height {from} on"));
    }
    None
}

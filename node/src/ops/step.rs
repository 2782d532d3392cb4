//! The next step of an operation: a pure function of its facts and of the chain.

mod change;
mod outcome;
mod register;
mod renew;
#[cfg(test)]
mod tests;
mod unsigned;

pub(super) use outcome::{Next, Step};

use super::{
    record::{Plan, Record},
    rules::Rules,
    sight::Sight,
    state::OperationState,
};
use crate::failure::Failure;

/// The next step of `record`.
pub(super) fn step(rules: &Rules, record: &Record, sight: &Sight) -> Step {
    let mut step = match &record.plan {
        Plan::Register(plan) => register::step(rules, plan, sight),
        Plan::Change(plan) => change::step(rules, plan, sight),
        Plan::Renew(plan) => renew::step(rules, plan, sight),
    };
    if step.state == OperationState::NeedsSignature {
        // The words that the failure was made with do not know the operation.
        let fix = vec![format!("namectl ops resume {}", record.id)];
        step.failure = step.failure.map(|failure| Failure { fix, ..failure });
    }
    if step.state == OperationState::Failed && was_done(record) {
        step.failure = step.failure.map(|cause| Failure::lost_to_reorg(record.name().as_str(), &cause));
    }
    step
}

/// Whether the operation was done when a reorganisation took it back. Told until it goes on.
fn was_done(record: &Record) -> bool {
    record.state == OperationState::Done || record.failure.as_ref().is_some_and(Failure::is_lost_to_reorg)
}

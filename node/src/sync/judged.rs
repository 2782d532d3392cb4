//! What the chain says, in the words of the synchronisation. Every match is exhaustive, so that a new outcome cannot
//! slip past a peer's fate.

use ledger::rules::{Fault, Violation};

use crate::chain::{BlockOutcome, BlockReport, HeadersOutcome, HeadersReport};

use super::Judged;

impl From<&HeadersReport> for Judged {
    fn from(report: &HeadersReport) -> Self {
        match &report.outcome {
            HeadersOutcome::Ok if report.accepted == 0 => Self::Known,
            HeadersOutcome::Ok => Self::Accepted,
            HeadersOutcome::UnknownParent(parent) => Self::UnknownParent(*parent),
            HeadersOutcome::Deferred { until } => Self::Deferred { until: *until },
            HeadersOutcome::Invalid(violation) => invalid(violation),
            HeadersOutcome::InvalidParent(_) => on_invalid_parent(),
        }
    }
}

impl From<&BlockReport> for Judged {
    fn from(report: &BlockReport) -> Self {
        match &report.outcome {
            BlockOutcome::Connected { .. } | BlockOutcome::Stored => Self::Accepted,
            BlockOutcome::Known => Self::Known,
            BlockOutcome::UnknownParent => Self::UnknownParent(report.hash),
            BlockOutcome::Deferred { until } => Self::Deferred { until: *until },
            BlockOutcome::Invalid(violation) => invalid(violation),
            BlockOutcome::WrongBody(violation) => Self::WrongBody { code: violation.code() },
            BlockOutcome::InvalidParent(_) => on_invalid_parent(),
        }
    }
}

fn invalid(violation: &Violation) -> Judged {
    Judged::Invalid { fault: violation.fault(), code: violation.code() }
}

/// An honest peer does not build on, and so does not hand over, what it knows to be invalid; it may not know yet.
fn on_invalid_parent() -> Judged {
    Judged::Invalid { fault: Fault::Sender, code: "invalid_parent" }
}

//! What the chain says, in the words of the synchronisation. Every match is exhaustive, so that a new outcome cannot
//! slip past a peer's fate.

use ledger::rules::Violation;

use crate::chain::{BlockOutcome, BlockReport, HeadersOutcome, HeadersReport};

use super::event::Judged;

impl From<&HeadersReport> for Judged {
    fn from(report: &HeadersReport) -> Self {
        match &report.outcome {
            HeadersOutcome::Ok if report.accepted == 0 => Self::Known,
            HeadersOutcome::Ok => Self::Accepted,
            HeadersOutcome::UnknownParent(parent) => Self::UnknownParent(*parent),
            HeadersOutcome::Deferred { until } => Self::Deferred { until: *until },
            HeadersOutcome::Invalid(violation) => invalid(violation),
            HeadersOutcome::InvalidParent(_) => Self::OnInvalid,
            HeadersOutcome::FarFromTip => Self::FarFromTip,
            HeadersOutcome::LowWork => Self::LowWork,
            HeadersOutcome::Walked => Self::Walked,
            HeadersOutcome::WalkedEnough => Self::WalkedEnough,
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
            BlockOutcome::InvalidParent(_) => Self::OnInvalid,
            BlockOutcome::FarFromTip => Self::FarFromTip,
            BlockOutcome::LowWork => Self::LowWork,
        }
    }
}

/// What is invalid for a reason that shows only here, because a body came here and not there, is nobody's fault
/// (protocol §7).
fn invalid(violation: &Violation) -> Judged {
    match violation {
        Violation::KnownInvalid { .. } => Judged::OnInvalid,
        violation => Judged::Invalid { fault: violation.fault(), code: violation.code() },
    }
}

//! Counters of zone transfers, notifications and transaction signatures.

use prometheus::{IntCounter, IntCounterVec, Registry};

use super::registering::{add, counters};
use crate::dns::tsig_error::TsigError;

/// Metrics of what secondaries ask for and are told.
pub(crate) struct TransferMetrics {
    /// Requests for a zone, by type and outcome.
    transfers: IntCounterVec,
    /// Bytes of DNS message sent in transfers.
    bytes: IntCounter,
    /// Notifications, by outcome.
    notifies: IntCounterVec,
    /// Messages whose TSIG signature did not hold, by error.
    tsig_errors: IntCounterVec,
}

/// How a request for a zone ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The whole zone was sent.
    Whole,
    /// What changed was sent.
    Delta,
    /// The secondary has the newest version.
    UpToDate,
    /// The secondary has a serial of another branch or another primary that is not below ours.
    Ahead,
    /// It has to ask again over TCP.
    NeedsTcp,
    /// It may not.
    Denied,
    /// It asked for a whole zone over a transport of single messages.
    WrongTransport,
    /// It asked for changes without the SOA record of what it has.
    Malformed,
    /// We have no complete ledger.
    NotReady,
    /// There are too many transfers.
    Busy,
    /// The secondary went away.
    Aborted,
}

/// How a notification ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notified {
    /// The secondary has taken note.
    Acknowledged,
    /// It answered with an error.
    Refused,
    /// It did not answer.
    Unanswered,
}

impl TransferMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let bytes = IntCounter::new("namestead_dns_transfer_bytes_total", "Bytes of DNS message sent in transfers.")?;
        let metrics = Self {
            transfers: counters(registry, "transfers_total", "Requests for a zone.", &["type", "result"])?,
            bytes: add(registry, bytes)?,
            notifies: counters(registry, "notifies_total", "Notifications of secondaries.", &["result"])?,
            tsig_errors: counters(
                registry,
                "tsig_errors_total",
                "Messages whose TSIG signature did not hold.",
                &["error"],
            )?,
        };
        // So that all are there, at zero, before anything has happened.
        for kind in ["AXFR", "IXFR"] {
            metrics.transfers.with_label_values(&[kind, "whole"]);
        }
        metrics.notifies.with_label_values(&["acknowledged"]);
        metrics.tsig_errors.with_label_values(&["BADSIG"]);
        Ok(metrics)
    }

    pub(crate) fn transfer(&self, is_incremental: bool, outcome: Outcome) {
        let result = match outcome {
            Outcome::Whole => "whole",
            Outcome::Delta => "delta",
            Outcome::UpToDate => "up_to_date",
            Outcome::Ahead => "ahead",
            Outcome::NeedsTcp => "needs_tcp",
            Outcome::Denied => "denied",
            Outcome::WrongTransport => "wrong_transport",
            Outcome::Malformed => "malformed",
            Outcome::NotReady => "not_ready",
            Outcome::Busy => "busy",
            Outcome::Aborted => "aborted",
        };
        self.transfers.with_label_values(&[if is_incremental { "IXFR" } else { "AXFR" }, result]).inc();
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.bytes.inc_by(bytes as u64);
    }

    pub(crate) fn notified(&self, outcome: Notified) {
        let result = match outcome {
            Notified::Acknowledged => "acknowledged",
            Notified::Refused => "refused",
            Notified::Unanswered => "unanswered",
        };
        self.notifies.with_label_values(&[result]).inc();
    }

    pub(crate) fn tsig_error(&self, error: TsigError) {
        let error = match error {
            TsigError::BadSignature => "BADSIG",
            TsigError::BadKey => "BADKEY",
            TsigError::BadTime => "BADTIME",
            TsigError::BadTruncation => "BADTRUNC",
        };
        self.tsig_errors.with_label_values(&[error]).inc();
    }
}

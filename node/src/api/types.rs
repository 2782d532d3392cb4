//! JSON shapes of the HTTP interface, version 1.
//!
//! These are not ledger types: hashes and bytes are lower-case hexadecimal, owners are addresses, instants are
//! RFC 3339 in UTC and stand beside the height that they belong to. Every top-level object says `"v": 1`. Adding a
//! field is no new version; removing one or changing its meaning is. Readers ignore fields that they do not know.

mod block;
mod error;
mod event;
mod name;
mod operation;
mod peer;
mod resolver;
mod status;
mod transaction;

pub use block::{AdoptFork, AdoptedFork, BlockDetail, BlockList, BlockSummary};
pub use error::ErrorEnvelope;
pub use event::{Event, Lagged, TipEvent};
pub use name::{
    HistoryEntry, LockedName, NameAnswer, NameEntry, NameHistory, NameList, NameListItem, NamePrice, NameProof,
    NameStatus, PendingTransfer, RecordView,
};
pub use operation::{
    CommitList, CommitQuery, CommitRequest, NewOperation, Operation, OperationKind, OperationList, OperationTx,
    Progress, ResumeOperation, StandingCommit,
};
pub use peer::{ConfiguredPeerView, PeerList, PeerView};
pub use resolver::{FlushAnswers, FlushedAnswers, ReloadedConfiguration};
pub use status::{MempoolSummary, MiningMode, MiningStatus, ParamsView, RecentBlock, Status, SyncState};
pub use transaction::{
    MempoolItem, MempoolList, SubmitTransaction, Submitted, TransactionPlace, TransactionSummary, TransactionView,
};

/// The value of `v` in every object.
pub const VERSION: u8 = 1;

/// Unix seconds as RFC 3339 in UTC, to the second.
pub fn rfc3339(unix: u64) -> String {
    use time::{OffsetDateTime, format_description::well_known::Rfc3339};
    // Beyond the year 9999 there is no RFC 3339 form; header times from outside may claim anything.
    let seconds = i64::try_from(unix).unwrap_or(i64::MAX).min(253_402_300_799);
    OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_rfc3339_even_at_the_edges() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_793_491_200), "2026-11-01T00:00:00Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59Z");
    }
}

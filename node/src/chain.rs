//! The chain: the only part that decides what the ledger is, and the only one that writes it.
//!
//! - [`ChainCore`]: headers, bodies, fork choice, state; synchronous, without threads or clock, so that a simulator can
//!   drive fifty of them.
//! - [`ChainService`]: one thread that owns a core and the mempool, and workers that verify signatures and work ahead
//!   of it.
//! - [`ChainHandle`], [`ChainReader`], [`ChainEvent`]: how everybody else speaks to it.
//! - [`verify()`]: replays everything stored and compares.

mod accept;
mod bodies;
mod cache;
mod connect;
mod core;
mod event;
mod follow;
mod handle;
mod headers;
mod index;
mod known;
mod lead;
mod look;
mod mailbox;
mod open;
mod owners;
mod pooling;
mod precheck;
mod presync;
mod reader;
mod service;
mod sight;
mod stage;
mod state;
mod stats;
mod template;
mod thread;
mod types;
mod verify;
mod waiting;
mod workers;

pub use self::core::{ChainCore, ChainOptions, Retention};
pub use accept::BlockInput;
pub use event::{Alarm, BlockConnected, BlockDisconnected, ChainEvent};
pub use handle::ChainHandle;
pub use headers::WORTH_WAITING_SECONDS;
pub use precheck::{Anchors, Prechecked};
pub use reader::{ChainReader, ChainView, PastNames};
pub use service::{ChainService, ServiceOptions};
pub use sight::{Point, Sight, View, WantedBranch};
pub use stats::{ChainStats, StatsSnapshot};
pub use template::Draft;
pub use types::{
    AdoptRefusal, Arrival, BlockOutcome, BlockReport, ChainError, HeadersOutcome, HeadersReport, HistoryCause,
    HistoryEntry, PlacedHeader, StateProof, Template, Tip, TransactionStatus, TxRejection,
};
pub use verify::{VerifyError, VerifyReport, verify};

#[cfg(test)]
mod tests;

//! The miner: searches for blocks, and for the shares that pay for operations, with the same evaluations.
//!
//! A *scheduler* (an async task) decides what is searched and how hard; *workers* (OS threads of low priority) search.
//! Each evaluation is judged twice: against the block's target and against what the operation in front must show
//! ("two for one", protocol §7), so a registration's work also makes blocks. With mining off, operations are still
//! worked for; only mining for its own sake is off.
//!
//! Time rule: a header is never dated before `parent.time + MIN_GAP`. While that moment is ahead of the clock nothing
//! is mined for its own sake, and a block that an operation happens on is held back until then.

mod config;
mod handle;
mod job;
mod meter;
mod order;
mod plan;
mod priority;
mod scheduler;
mod service;
mod worker;

pub use config::{MiningConfig, MiningMode};
pub use handle::{MinerHandle, MinerStatus, MinerStopped, ProgressHandle, Ticket, WorkProgress};
pub use order::WorkOrder;
pub use plan::Conditions;
pub use service::Miner;

//! Durable operations: what a wallet signs once and the node finishes alone.
//!
//! An operation is a few stored facts (what was signed, the work found so far). Where it stands is never stored but
//! read off the chain each time: [`step`] is a pure function of the facts and of what the chain says, and gives what
//! to do next. So a crash, a restart or a reorganisation needs no handling of its own: the next step follows from
//! what is. Facts are on disk before anything is acknowledged or published.
//!
//! What ends an operation stands in a block, and a reorganisation can take that block away. So an end is told at once
//! and watched until no ordinary reorganisation reaches its cause; if it is undone, the operation goes on.
//!
//! While the node is not synced nothing is decided: an old tip would make up failures that are not there.

mod admit;
mod failure;
mod handle;
mod id;
mod journal;
mod record;
mod runner;
mod sight;
pub mod step;

pub use admit::{Request, ResumeRequest};
pub use failure::{Failure, OpsError};
pub use handle::{OpsHandle, View};
pub use id::OpId;
pub use record::{Milestones, Plan, Record, Role, State};
pub use runner::Ops;

/// Operations under way. Each costs a few reads per block and its turn at the miner.
pub const MAX_ACTIVE: usize = 256;
/// Finished operations kept for their owners to look up; as many again are still watched for reorganisations.
pub const MAX_FINISHED: usize = 1_000;

//! Durable operations: what a wallet signs once and the node finishes alone.
//!
//! An operation is a few stored facts (what was signed, the work found so far). Where it stands is never stored but
//! read off the chain each time: `step` is a pure function of the facts and of what the chain says, and gives what
//! to do next. So a crash, a restart or a reorganisation needs no handling of its own: the next step follows from
//! what is. Facts are on disk before anything is acknowledged or published.
//!
//! What ends an operation stands in a block, and a reorganisation can take that block away. So an end is told at once
//! and watched until no ordinary reorganisation reaches its cause; if it is undone, the operation goes on.
//!
//! While the node is not synced nothing is decided: an old tip would make up failures that are not there.

mod admit;
mod error;
mod handle;
mod id;
mod journal;
mod json;
mod limits;
mod look;
mod reasons;
mod record;
mod request;
mod rules;
mod runner;
mod sight;
mod state;
mod step;

pub use error::OpsError;
pub use handle::{OpsHandle, View};
pub use id::OpId;
pub use record::{Milestones, Plan, Record};
pub use request::{Request, ResumeRequest};
pub use runner::Ops;
pub use state::{OperationState, TxRole};

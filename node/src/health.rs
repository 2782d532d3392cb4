//! Whether what this node knows is the truth about the present: the one definition that `synced`, `/readyz`, DNS, the
//! operations, `namectl status` and exit code 6 follow.
//!
//! [`sync`](crate::sync) brings facts: whether the tip is the end of the best chain that was proven, what height is sought,
//! who agrees. [`Judge`] makes a [`State`] of them, with the names that light nodes use as well:
//!
//! | state | when | synced |
//! |---|---|---|
//! | syncing | the best chain that was proven, or claimed before any was, is not connected yet | no |
//! | fresh | the tip is no older than the network's silence allows, and peers agreed within that time | yes |
//! | quiet | the tip is older, but peers of two networks answer and show no more | yes |
//! | offline | the tip is older, and fewer answer | no |
//! | suspect | a heavier chain was proven that fork choice does not let this node follow (protocol §7) | no |
//!
//! The first node of a network expects no peers (`mining.solo`): its chain is the truth, fresh or quiet.

mod state;

mod judge;

pub use judge::{Judge, Moment, Rules};
pub use state::{Health, State, unix_ms, unix_s};

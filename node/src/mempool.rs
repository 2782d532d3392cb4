//! Transactions that wait for a block (protocol §10), and the order in which a builder takes them (§6).
//!
//! For: holding what is valid on the current tip, within bounds, and saying what to take into the next block. Not for:
//! judging transactions; whoever inserts one has judged it and says in a [`Verdict`] what it is for, and
//! [`Mempool::recheck`] asks again after each block. No I/O, no clock: the chain thread persists what it is told to and
//! passes the time in.
//!
//! Decisions:
//! - Every name has places of its own for each kind of transaction, so that neither an operator nor a thief nor a
//!   stranger can fill those that the owner needs. A full kind gives way to more work, never to another kind.
//! - A REVEAL whose commit stands but is not ripe waits here instead of being refused, since only its sender could
//!   send it again. There is at most one per paid commit, so this cannot be used to fill the pool.
//! - A COMMIT has one place, by its class and hash, and gives way to the same commit with more work like any other.
//!
//! Bounds: 64 MiB and 50,000 transactions; per name two of each kind and four REVEALs; one per commit; a quarter of
//! the pool per peer; nothing outlives its anchor, or a REVEAL its commit.

mod entry;
mod order;
mod pool;
mod purpose;
mod view;

pub use entry::{PoolRefusal, PoolTransaction, Removal, TxOrigin};
pub use order::{BlockRoom, select};
pub use pool::{Admission, Candidate, Limits, Mempool, Room};
pub use purpose::{Kind, Precedence, Purpose, RevealPlace, Standing, Verdict};
pub use view::MempoolView;

#[cfg(test)]
mod tests;

//! Transactions that wait for a block (protocol §10).
//!
//! For: holding what is valid on the current tip, within bounds, and for saying what to take into the next block. Not
//! for: judging transactions; whoever inserts one has judged it, and [`Mempool::recheck`] asks the caller again after
//! each block. No I/O, no clock: the chain thread persists what it is told to and passes the time in.
//!
//! Decisions:
//! - A REVEAL whose commit is on the chain but not mature waits here instead of being refused, since only its sender
//!   could send it again. There is at most one per paid commit, so this cannot be used to fill the pool.
//! - A REVEAL whose commit is not on the chain is refused: nothing has been paid for it yet.
//! - Of two transactions for one name the lower sequence number goes first; the higher one is still valid after it.
//!
//! Bounds: 64 MiB and 50,000 transactions; four per name; one per commit; a quarter of the pool per peer; nothing
//! outlives its anchor.

mod entry;
mod pool;
mod view;

pub use entry::{PoolRefusal, PoolTransaction, Removal, Standing, work_ratio};
pub use pool::{Admission, Limits, Mempool};
pub use view::MempoolView;

#[cfg(test)]
mod tests;

//! What to ask whom next, so that the best chain arrives (protocol §9): headers first, then bodies from several peers.
//!
//! For: choosing peers and questions, noticing stallers and liars, saying whether this node is synced. Not for: bytes,
//! sockets, timers or the chain itself. It is a state machine `(state, now, rng, input) -> outputs` without I/O: the
//! network shell and the simulator feed it events and carry out what it returns.
//!
//! Guarantees: every queue is bounded; the same inputs with the same random numbers give the same outputs; a peer is
//! punished only for what no honest peer could have done, and slowness is never such a thing.
//!
//! Reading order: [`event`] (what goes in and out), `state` and what it consists of, `machine` (one event after another),
//! and what that does: `headers`, `fetch`, `replace`, `verdict`.

pub mod event;

mod config;
mod offence;

mod archive;
mod bodies;
mod clock;
mod deferred;
mod peers;
mod penalty;
mod trust;

mod state;

mod fetch;
mod headers;
mod judged;
mod machine;
mod replace;
mod verdict;

#[cfg(test)]
mod tests;

pub use bodies::WINDOW;
pub use config::{Company, Config};
pub use event::{
    Claim, Direction, Failure, Input, Judged, Millis, Output, PeerKey, Point, Question, Relay, Sight, Source,
    Submission, View, WantedBranch, relay_of,
};
pub use offence::Offence;
pub use state::Sync;
pub use verdict::{Verdict, WITNESSES};

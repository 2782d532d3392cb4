//! The UDP side: datagrams in, datagrams out, the plain ones without a detour.
//!
//! Two paths lead to an answer. The *fast path* reads a plain query straight from the datagram, takes the answer from
//! the snapshot and writes it into the send buffer: no allocation, no lock, no task. The *full path* (hickory's parser,
//! [`answer`](crate::zones::answer), forwarding) takes everything else; [`FallThrough`] lists what that is. Both give the same
//! bytes to whatever both can answer, which tests/wire.rs demands of any datagram.
//!
//! ```text
//! socket ─batch─→ worker ─→ guard ─→ parse ─→ compose (answer::plain) ─→ guard ─batch─→ socket
//!                             └────→ Handler::datagram ─────────────────────┘
//! ```
//!
//! Each worker is a thread with a socket of its own for each address; the kernel spreads the clients over them
//! (`SO_REUSEPORT`).

mod batch;
mod compose;
mod fall_through;
mod parse;
mod responder;
mod route;
mod worker;

pub use crate::policy::guard::Standing;
pub use crate::zones::exchange::Composed;
pub use batch::SendBuffer;
pub use compose::Composer;
pub use fall_through::FallThrough;
pub use parse::Unusual;
pub use responder::Responder;
pub(crate) use worker::{Paths, Workers};

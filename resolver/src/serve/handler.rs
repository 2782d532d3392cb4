//! One request from parsing to sending.
//!
//! Messages come on [connections](crate::serve::connection) or as [datagrams](crate::serve::udp). What cannot be parsed gets FORMERR;
//! responses, and what is shorter than a header, get nothing.
//!
//! From the ground up, as each is made of those before it: `state`, `screen`, `settle`, `reply`, `respond`.

mod reply;
mod respond;
mod screen;
mod settle;
mod state;

pub(crate) use state::{Delegations, Handler};

//! The node's HTTP interface: what people, `namectl` and pages see of a node.
//!
//! [`types`] is the contract (JSON shapes, not ledger types), [`client`] speaks it, `server` answers it. The client
//! half depends on nothing else in this package, so `namectl` shares types with the daemon and no state.

pub mod client;
pub mod server;
pub mod types;

//! What we say ourselves: which zones we serve, and the answers about them, signed and unsigned. No sockets, no clock.

pub mod answer;
pub(crate) mod exchange;
pub mod hosts;
pub(crate) mod inside;
pub mod query;
pub mod sign;
pub mod site;

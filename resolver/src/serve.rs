//! From sockets to answers and back.

pub mod certificate;
mod connection;
mod discovery;
pub(crate) mod handler;
mod intake;
mod notify;
mod reply;
pub mod server;
pub mod udp;

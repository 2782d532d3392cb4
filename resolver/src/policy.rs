//! What the operator wants: the configuration, and who is served how much.

pub mod config;
pub(crate) mod guard;
pub(crate) mod target;

//! Others: upstreams and delegated servers that we ask, secondaries that ask for whole zones.

pub(crate) mod delegation;
pub mod forward;
pub mod transfer;

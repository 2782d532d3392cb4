//! Relays (circuit relay v2) and hole punching (dcutr): what helps nodes that nobody can reach (protocol §10).
//!
//! For: the limits of what this node does for others ([`serving`]), where it has itself relayed ([`reserving`]), which
//! relayed addresses it dials ([`gate`]), what may go over a relayed connection ([`direct_only`]) and whom it dials because
//! somebody at the other end of one asks for it ([`punch`]). Not for: what becomes of relayed connections, which is
//! `service::relaying`.
//!
//! A relayed connection is nothing but the way to a direct one. Neither chain nor gossip nor addresses go over it, whoever
//! is at its other end counts as no peer, and it is closed when no direct connection has come of it.

pub mod direct_only;
pub mod gate;
pub mod punch;
pub mod rate;
pub mod reserving;
pub mod serving;

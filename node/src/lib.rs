//! The shell around the ledger: network, disk, clock and people.
//!
//! Bytes come in through [`p2p`] and [`api`], [`chain`] alone writes, and everything that reacts to a new tip hears
//! of it from `chain` and nowhere else. `docs/architecture.md` draws the whole; the modules are listed here in
//! reading order.

pub mod config;
pub mod descriptors;
pub mod failure;
mod headers;
pub mod owner;
pub mod reload;
pub mod shutdown;
pub mod stdio;
pub mod telemetry;

pub mod store;

pub mod chain;
pub mod mempool;

pub mod sync;

pub mod health;

pub mod p2p;

pub mod light;

pub mod miner;
pub mod ops;

pub mod api;

pub mod metrics;
pub mod node;

pub mod keys;
pub mod zone;

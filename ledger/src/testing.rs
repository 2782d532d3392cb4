//! Builders, an in-memory chain and proptest strategies (feature `testing`), for the tests of this and other packages.
//!
//! Not for production: keys come from small numbers, and errors that a test cannot cause panic.
//!
//! - [`build`]: keys from seeds, and complete transactions with real signatures and real work.
//! - [`chain`]: [`TestChain`], a chain made of nothing but this package's functions. It is the shortest correct shell
//!   around the ledger, so it also shows in which order a node has to call things.
//! - [`strategy`]: proptest strategies for everything that has bytes.

pub mod build;
pub mod chain;
pub mod strategy;

pub use build::{Maker, key, name, owner, params_with, policy, records, records_of, tiny_params, txt};
pub use chain::TestChain;

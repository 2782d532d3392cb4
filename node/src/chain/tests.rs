//! Tests of the chain: against [`TestChain`], the shortest correct node, on the simulated network.

mod contention;
mod core;
mod fork;
mod reveal;
mod service;
mod world;

use world::*;

//! Tests of the chain: against [`TestChain`], the shortest correct node, on the simulated network.

mod core;
mod fork;
mod service;
mod world;

use world::*;

//! Fuzzes the answers of peers.
#![no_main]

use node::p2p::message::Response;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| node_fuzz::is_canonical::<Response>(bytes));

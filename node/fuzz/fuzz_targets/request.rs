//! Fuzzes the questions of peers.
#![no_main]

use node::p2p::message::Request;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| node_fuzz::is_canonical::<Request>(bytes));

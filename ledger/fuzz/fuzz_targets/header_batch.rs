//! Fuzzes runs of headers.
#![no_main]

use ledger::block::HeaderBatch;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledger_fuzz::is_canonical::<HeaderBatch>(bytes));

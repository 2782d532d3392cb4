//! Fuzzes record sets.
#![no_main]

use ledger::record::Records;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledger_fuzz::is_canonical::<Records>(bytes));

//! Fuzzes the peaks of the header history.
#![no_main]

use ledger::history::Peaks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledger_fuzz::is_canonical::<Peaks>(bytes));

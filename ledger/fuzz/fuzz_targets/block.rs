//! Fuzzes whole blocks.
#![no_main]

use ledger::block::Block;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledger_fuzz::is_canonical::<Block>(bytes));

//! Fuzzes undo data.
#![no_main]

use ledger::state::undo::Undo;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledger_fuzz::is_canonical::<Undo>(bytes));

//! Fuzzes policies and their witnesses.
#![no_main]

use ledger::key::Witness;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledger_fuzz::is_canonical::<Witness>(bytes));

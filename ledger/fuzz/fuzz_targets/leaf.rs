//! Fuzzes entries of the state tree, as snapshots and proofs bring them.
#![no_main]

use ledger::state::Leaf;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledger_fuzz::is_canonical::<Leaf>(bytes));

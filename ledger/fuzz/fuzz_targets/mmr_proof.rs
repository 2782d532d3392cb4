//! Fuzzes proofs about the header history.
#![no_main]

use ledger::history::MmrProof;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledger_fuzz::is_canonical::<MmrProof>(bytes));

//! Fuzzes transactions, as gossip and the API bring them.
#![no_main]

use ledger::transaction::Transaction;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledger_fuzz::is_canonical::<Transaction>(bytes));

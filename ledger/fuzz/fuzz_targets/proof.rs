//! Fuzzes state proofs: parsing, and checking against a root and a key that the input brings along.
#![no_main]

use ledger::{
    hash::{Hash, Key},
    state::tree::Proof,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ledger_fuzz::is_canonical::<Proof>(bytes);
    if let Some((head, rest)) = bytes.split_first_chunk::<64>() {
        let (root, key) = head.split_at(32);
        let [root, key]: [[u8; 32]; 2] = [root, key].map(|half| half.try_into().expect("half of 64 bytes"));
        if let Ok(proof) = Proof::parse(rest) {
            let _ = proof.verify(Hash(root), &Key(key));
        }
    }
});

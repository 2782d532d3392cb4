//! Fuzzes proof files, with a checksum that fits, so that more than the checksum is looked at.
#![no_main]

use ledger::{
    hash::{Tag, hash},
    params::Network,
};
use node::light::{ProofFile, verify};

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    let checksum = hash(Tag::ProofFile, &[content]);
    let bytes = [content, checksum.as_ref()].concat();
    if let Ok(file) = ProofFile::parse(&bytes) {
        assert_eq!(file.to_bytes(), bytes);
    }
    let _ = verify(&bytes, Network::Local.params(), None);
});

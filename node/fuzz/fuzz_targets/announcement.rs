//! Fuzzes gossip about blocks, and that what is announced again is what came.
#![no_main]

use ledger::codec::{decode, encode};
use node::p2p::gossip::Announcement;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(announcement) = decode::<Announcement>(bytes) else { return };
    assert_eq!(encode(&announcement), bytes);
    if let Announcement::Block(block) = announcement {
        let again = decode::<Announcement>(&Announcement::bytes_of(&block)).expect("what is announced can be read");
        assert!(matches!(again, Announcement::Header(_)) || again == Announcement::Block(block));
    }
});

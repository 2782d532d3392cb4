//! Fuzzes addresses, as peers tell them (bytes) and as people write them (text): their group, whether they are dialled.
#![no_main]

use node::p2p::{
    Multiaddr,
    netgroup::{Netgroup, Site, is_dialable, peer_of, without_peer},
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(address) = Multiaddr::try_from(bytes.to_vec()) {
        look_at(&address);
    }
    if let Some(address) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<Multiaddr>().ok()) {
        look_at(&address);
    }
});

fn look_at(address: &Multiaddr) {
    let group = Netgroup::of(address);
    assert_eq!(Netgroup::from_bytes(group.to_bytes()), Some(group));
    let bare = without_peer(address);
    assert_eq!(peer_of(&bare), None);
    if is_dialable(&bare) {
        // What is dialled is kept as text, and must be the same address when it is read again.
        assert_eq!(bare.to_string().parse::<Multiaddr>().ok().as_ref(), Some(&bare));
        assert_eq!(Netgroup::of(&bare), group);
        assert!(Site::of(&bare).is_some(), "only addresses that begin with an IP are dialled");
    }
}

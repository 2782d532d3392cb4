//! Fuzzes names and addresses, as people and programs type them.
#![no_main]

use ledger::{key::from_address, key::to_address, name::Name, params::Network};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ledger_fuzz::is_canonical::<Name>(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.as_str(), text);
    }
    let params = Network::Main.params();
    if let Ok(policy) = from_address(params, text) {
        assert!(to_address(params, &policy).eq_ignore_ascii_case(text.trim()));
    }
});

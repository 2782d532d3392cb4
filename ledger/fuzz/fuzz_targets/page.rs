//! Fuzzes stored pages of the state tree: what is refused, and that what is not can be read back.
#![no_main]

use ledger::state::tree::{Page, PagePath};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(page) = Page::from_bytes(bytes) {
        assert_eq!(page.as_bytes(), bytes);
        let _ = page.top();
    }
    if let Some(path) = PagePath::from_bytes(bytes) {
        assert_eq!(path.to_bytes(), bytes);
    }
});

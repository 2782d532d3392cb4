//! Fuzzes the file of the address book: any text is read, and what was read is written and read again unchanged.
#![no_main]

use node::p2p::address_book::{AddressBook, MAX_PEERS};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (book, _) = AddressBook::from_text(text, [7; 32]);
    assert!(book.len() <= MAX_PEERS);
    let written = book.to_text();
    let (again, skipped) = AddressBook::from_text(&written, [8; 32]);
    assert_eq!((again.to_text(), skipped), (written, 0));
});

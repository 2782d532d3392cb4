//! Fuzzes zone files as people write them: what is read can be printed, and reads back as the same records.
#![no_main]

use ledger::name::Name;
use node::zone::{Origin, lint, print, read};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let origin = Origin::new(Name::new("fuzz").expect("a name"), "p2p");
    let Ok(records) = read(text, &origin) else { return };
    let printed = print(&records, &origin);
    assert_eq!(read(&printed, &origin).as_ref(), Ok(&records), "{printed}");
    let _ = lint(&records, &origin);
});

//! Fuzzes configuration files: refused with a sentence or read, never a panic.
#![no_main]

use std::path::Path;

use node::config::{Config, Overrides};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(error) = Config::parse(text, Path::new("namestead.toml"), Overrides::default()) {
        assert!(!error.to_string().is_empty());
    }
});

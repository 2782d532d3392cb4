//! Golden vectors: the bytes of everything that is hashed, signed or agreed upon, frozen.
//!
//! Each `*.txt` beside this file was written once by this test, with `NAMESTEAD_BLESS=1`. A difference means that the
//! protocol has changed. `check.py` recomputes the files from the documented layouts in another language
//! (`python3 ledger/tests/vectors/check.py`).

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]
#![allow(clippy::disallowed_methods, reason = "blessing reads one variable and writes the files beside this one")]

mod chain;
mod identity;
mod state;
mod tables;

use std::fmt::Write as _;

use ledger::hash::to_hex;

/// The content of one file: titles in brackets, and lines of `key = value`.
#[derive(Default)]
struct Vectors(String);

impl Vectors {
    fn title(&mut self, title: &str) -> &mut Self {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        writeln!(self.0, "{gap}[{title}]").unwrap();
        self
    }

    fn put(&mut self, key: &str, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.text(key, to_hex(bytes.as_ref()))
    }

    fn text(&mut self, key: &str, value: impl std::fmt::Display) -> &mut Self {
        writeln!(self.0, "{key} = {value}").unwrap();
        self
    }
}

fn check(file: &str, vectors: &Vectors) {
    let path = format!("{}/tests/vectors/{file}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("NAMESTEAD_BLESS").is_some() {
        std::fs::write(&path, &vectors.0).unwrap();
    }
    let frozen = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (now, then)) in vectors.0.lines().zip(frozen.lines()).enumerate() {
        assert_eq!(now, then, "{file}.txt, line {}", number + 1);
    }
    assert_eq!(vectors.0.lines().count(), frozen.lines().count(), "{file}.txt");
}

#[test]
fn identity() {
    check("identity", &identity::vectors());
}

#[test]
fn networks() {
    check("networks", &identity::networks());
}

#[test]
fn headers() {
    check("headers", &chain::headers());
}

#[test]
fn transactions() {
    check("transactions", &chain::transactions());
}

#[test]
fn work() {
    check("work", &chain::work());
}

#[test]
fn state() {
    check("state", &state::vectors());
}

#[test]
fn history() {
    check("history", &state::history());
}

#[test]
fn difficulty() {
    check("difficulty", &tables::difficulty());
}

#[test]
fn compact() {
    check("compact", &tables::compact());
}

#[test]
fn prices() {
    check("prices", &tables::prices());
}

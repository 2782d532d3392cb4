//! Records as people write them: zone-file syntax (RFC 1035 §5) to and from the ledger's canonical bytes.
//!
//! ```text
//! $TTL 1h
//! @        A      192.0.2.1
//! www 300  AAAA   2001:db8::1
//! @        MX     10 mail            ; mail.alice.p2p.
//! @        TYPE65280 \# 2 beef       ; RFC 3597, for what has no syntax of its own
//! ```
//! Owners and targets are relative to the name; `@` is the name itself. Every problem is reported with its line and
//! column, why it is one, and what to write instead; up to [`MAX_PROBLEMS`] at once, so that a file is mended in one go.
//!
//! One table of fields per record type (`rdata`) drives reading and printing, so the two cannot drift apart: what
//! is printed reads back to the same bytes. Existing readers did not serve: they lack LOC, URI and SMIMEA, give no
//! columns, and stop at the first mistake. Their agreement is tested instead (the tests compare with `domain`).

#[cfg(test)]
mod compared;
mod diff;
mod lexer;
mod lint;
mod loc;
mod name;
mod print;
mod rdata;
mod read;
mod strings;
mod svcb;
#[cfg(test)]
mod tests;

use ledger::name::Name;

pub use diff::{Change, Diff};
pub use lint::{Finding, Severity, lint};
pub use name::display_sub;
pub use print::{print, rdata_text, record_line};
pub use read::{read, read_record, read_sub};

/// TTL of records that give none and stand under no `$TTL`: an hour.
pub const DEFAULT_TTL: u32 = 3_600;
/// Problems reported at once; after twenty the file is probably not a zone file.
pub const MAX_PROBLEMS: usize = 20;
/// Longest text read: 32 records of 512 bytes in `\DDD` escapes fit ten times.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// The name that records stand under, and the suffix that makes it absolute: `alice` and `p2p`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    name: Name,
    /// `\x05alice\x03p2p\x00`
    wire: Vec<u8>,
}

impl Origin {
    /// The origin of `name` under `suffix`, which may have several labels and a dot at either end.
    pub fn new(name: Name, suffix: &str) -> Self {
        let mut wire = Vec::new();
        let labels = suffix.split('.').filter(|label| !label.is_empty());
        for label in std::iter::once(name.as_str()).chain(labels) {
            let label = label.to_ascii_lowercase();
            let bytes = &label.as_bytes()[..label.len().min(63)];
            wire.push(bytes.len() as u8);
            wire.extend_from_slice(bytes);
        }
        wire.push(0);
        Self { name, wire }
    }

    /// The name.
    pub fn name(&self) -> &Name {
        &self.name
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&name::absolute(&self.wire))
    }
}

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, counted from one; zero if the whole is meant.
    pub line: u32,
    /// Column in characters, counted from one; zero if the whole line is meant.
    pub column: u32,
    /// What is wrong.
    pub what: String,
    /// What to write instead; may be empty.
    pub fix: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "{}", self.what),
            (line, 0) => write!(f, "{line}: {}", self.what),
            (line, column) => write!(f, "{line}:{column}: {}", self.what),
        }
    }
}

/// What is wrong with one field; its place is known to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    what: String,
    fix: String,
}

impl Fault {
    fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }
}

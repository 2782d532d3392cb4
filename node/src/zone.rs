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
mod origin;
mod pasted;
mod print;
mod problem;
mod rdata;
mod read;
mod strings;
mod svcb;
#[cfg(test)]
mod tests;

pub use diff::{Change, Diff};
pub use lint::{Finding, Severity, lint};
pub use name::display_sub;
pub use origin::{DEFAULT_TTL, Origin};
pub use pasted::{NotAName, read_pasted};
pub use print::{print, rdata_text, record_line};
pub use problem::Problem;
pub use read::{MAX_PROBLEMS, MAX_TEXT_BYTES, read, read_record, read_sub};

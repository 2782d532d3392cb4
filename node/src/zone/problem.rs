//! What is said about a text that cannot be read.

use std::fmt;

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

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "{}", self.what),
            (line, 0) => write!(f, "{line}: {}", self.what),
            (line, column) => write!(f, "{line}:{column}: {}", self.what),
        }
    }
}

/// What is wrong with one field; its place is known to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) fix: String,
}

impl Fault {
    pub(super) fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }
}

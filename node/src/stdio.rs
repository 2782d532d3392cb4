//! Writing to standard output and standard error, for both programs: what a write that fails means is decided here.
//!
//! A reader that has gone (`| head`) is no failure: whoever writes stops writing, and a loop that only prints ends. Any
//! other error (a full disk) is a failure of the command whose result is lost. Standard error is written as well as it
//! can be: there is nowhere to complain about it.

use std::io::{self, Write as _};

/// What became of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// The system has taken all of it.
    Whole,
    /// Nobody reads any more.
    ReaderGone,
}

/// Writes to standard output at once.
pub fn print(text: &str) -> io::Result<Written> {
    let mut stdout = io::stdout().lock();
    outcome(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// What the result of a write to standard output means.
pub fn outcome(written: io::Result<()>) -> io::Result<Written> {
    match written {
        Ok(()) => Ok(Written::Whole),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Written::ReaderGone),
        Err(error) => Err(error),
    }
}

/// Writes a line to standard error, if that is possible.
pub fn complain(line: &str) {
    let mut stderr = io::stderr().lock();
    // There is nowhere to say that it failed.
    let _ = writeln!(stderr, "{line}").and_then(|()| stderr.flush());
}

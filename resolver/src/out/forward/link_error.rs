//! Why a question to one server came to nothing.

use std::io;

/// Why there was no usable response.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// Nothing came in time.
    #[error("no answer in time")]
    Timeout,
    /// The network or TLS failed.
    #[error("{0}")]
    Network(String),
    /// The question came back with other letters: a forgery, or a server that lower-cases.
    #[error("the response repeats the question in letters of another case")]
    LetterCase,
    /// So many datagrams that answered something else that somebody may be guessing.
    #[error("too many datagrams that answer other questions")]
    Flooded,
    /// The server is there, but what it sends is no answer.
    #[error("{0}")]
    Odd(String),
}

impl LinkError {
    /// Whether nothing at all came from the server: only that tells about its health.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::Timeout | Self::Network(_))
    }
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::Timeout,
            _ => Self::Network(error.to_string()),
        }
    }
}

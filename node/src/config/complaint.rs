//! Errors in a configuration: where, what, and what was probably meant.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// Something in it is wrong.
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, if it is known.
        line: Option<usize>,
        /// What is wrong.
        message: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Wrong { path, line, message, suggestion } => {
                write!(f, "{}", path.display())?;
                if let Some(line) = line {
                    write!(f, ":{line}")?;
                }
                write!(f, ": {message}")?;
                suggestion.iter().try_for_each(|meant| write!(f, "; did you mean `{meant}`?"))
            }
        }
    }
}

/// An error found while reading the file.
pub(super) fn of_toml(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let message = error.message().trim().to_owned();
    ConfigError::Wrong {
        path: path.to_owned(),
        line: error.span().map(|span| line_of(text, span.start)),
        suggestion: suggestion(&message),
        message,
    }
}

/// An error found by checking values: the sentence begins with the key, so its line can be found.
pub(super) fn of_check(path: &Path, text: &str, message: String) -> ConfigError {
    let key = message.split([' ', ':']).next().unwrap_or_default();
    ConfigError::Wrong { path: path.to_owned(), line: line_of_key(text, key), message, suggestion: None }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// The line on which `section.key` or a top-level `key` is set.
fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut current = "";
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if let Some(header) = line.strip_prefix('[') {
            current = header.trim_end_matches(']').trim();
        } else if current == section && line.split('=').next().is_some_and(|left| left.trim() == name) {
            return Some(index + 1);
        }
    }
    None
}

/// Least similarity of a suggestion: lower, and unrelated words come up.
const MIN_SIMILARITY: f64 = 0.7;

/// The expected key or value closest to what was written, from serde's sentence: `unknown field `a`, expected `b` or…`.
fn suggestion(message: &str) -> Option<String> {
    let (unknown, expected) = message.split_once(", expected ")?;
    let written = unknown.split('`').nth(1)?;
    let choices = expected.split('`').skip(1).step_by(2);
    choices
        .map(|choice| (strsim::jaro_winkler(written, choice), choice))
        .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, choice)| choice.to_owned())
}

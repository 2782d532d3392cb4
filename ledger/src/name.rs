//! Names (protocol §2.4): one DNS label that somebody may own.
//!
//! A [`Name`] holds 1–63 bytes of `[a-z0-9-]` and cannot be wrong once made. Whether a right name may be *registered*
//! (reserved, locked) is a rule, not a matter of spelling, and lives in `rules`. Unicode is not known here: `xn--`
//! labels are opaque; programs that show or accept names apply IDNA themselves.

use std::{fmt, str::FromStr};

use crate::{
    codec::{Decode, DecodeError, Encode, Reader, Writer},
    hash::{self, Key, Tag},
};

/// The longest name in bytes, as for any DNS label.
pub const MAX_NAME_BYTES: usize = 63;

/// Labels that nobody can register: the `.p2p` charter's three and those with a meaning of their own in DNS.
pub const RESERVED: [&str; 16] = [
    "www",
    "nic",
    "opennic",
    "localhost",
    "local",
    "test",
    "invalid",
    "example",
    "onion",
    "alt",
    "arpa",
    "home",
    "internal",
    "wpad",
    "isatap",
    "p2p",
];

/// A checked name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No bytes at all.
    #[error("a name cannot be empty")]
    Empty,
    /// Longer than a DNS label.
    #[error("a name has at most 63 characters, this has {0}")]
    TooLong(usize),
    /// A character outside the alphabet.
    #[error("a name is made of a-z, 0-9 and '-'; {0:?} is not allowed")]
    Character(char),
    /// A hyphen at either end.
    #[error("a name cannot begin or end with '-'")]
    OuterHyphen,
    /// `--` where an encoding prefix would stand.
    #[error("'--' at the third and fourth place is kept for internationalised names ('xn--')")]
    Prefix,
}

impl Name {
    /// Checks `text` and makes it a name. Nothing is folded: upper case is an error, callers lower-case first.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if let Some(bad) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            return Err(NameError::Character(bad));
        }
        match text.len() {
            0 => return Err(NameError::Empty),
            1..=MAX_NAME_BYTES => {}
            long => return Err(NameError::TooLong(long)),
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(NameError::OuterHyphen);
        }
        if text.get(2..4) == Some("--") && !text.starts_with("xn--") {
            return Err(NameError::Prefix);
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether the label is in [`RESERVED`].
    pub fn is_reserved(&self) -> bool {
        RESERVED.contains(&self.as_str())
    }

    /// Where this name's entry stands in the state tree: `H("key", 0x01 ‖ name)`.
    pub fn key(&self) -> Key {
        hash::hash(Tag::Key, &[&[1], self.as_bytes()]).into_other()
    }

    /// The price class that a registration of this name needs: the work doubles with each step (protocol §4.2).
    pub fn price_class(&self) -> u8 {
        let by_length = match self.0.len() {
            1 => 10,
            2 => 8,
            3 => 6,
            4 => 4,
            5 => 2,
            6 | 7 => 1,
            _ => 0,
        };
        if self.0.starts_with("xn--") { by_length.max(2) } else { by_length }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl Encode for Name {
    fn encode(&self, w: &mut Writer) {
        w.b8(self.as_bytes());
    }
}

impl Decode for Name {
    const MAX_BYTES: usize = 1 + MAX_NAME_BYTES;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = r.b8(MAX_NAME_BYTES, "name")?;
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Invalid("name"))?;
        Self::new(text).map_err(|_| DecodeError::Invalid("name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling() {
        for good in ["a", "alice", "a-b", "xn--bcher-kva", "a--b", "0", &"z".repeat(63)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", NameError::Empty),
            ("Alice", NameError::Character('A')),
            ("a.b", NameError::Character('.')),
            ("bücher", NameError::Character('ü')),
            ("-a", NameError::OuterHyphen),
            ("a-", NameError::OuterHyphen),
            ("ab--c", NameError::Prefix),
            (&"z".repeat(64), NameError::TooLong(64)),
        ] {
            assert_eq!(Name::new(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn short_names_cost_more() {
        let classes = ["a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg", "abcdefgh", "xn--a-bcdefgh"]
            .map(|text| Name::new(text).expect("valid").price_class());
        assert_eq!(classes, [10, 8, 6, 4, 2, 1, 1, 0, 2]);
    }
}

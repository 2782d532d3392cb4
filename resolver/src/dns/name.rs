//! Domain names in lower-cased, uncompressed wire form (RFC 1035 §3.1).
//!
//! A [`Dname`] is what names look like inside this package: cheap to compare, cut and join, because every question
//! about ancestors is a question about byte suffixes on label boundaries. Case is folded when a name is made, so `==`
//! is DNS equality (RFC 4343). Labels may hold any byte; nothing here assumes text.
//!
//! Some functions work on *relative* names: wire labels without the final root byte, possibly none.

use std::{fmt, str::FromStr};

/// The longest name in wire bytes, with the root byte (RFC 1035 §2.3.4).
pub const MAX_NAME_BYTES: usize = 255;
/// The longest label in bytes.
pub const MAX_LABEL_BYTES: usize = 63;

/// A checked, lower-cased, absolute domain name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dname(Vec<u8>);

/// Why bytes or text are not a domain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnameError {
    /// The bytes end before the root label.
    #[error("ends before the root label")]
    Ends,
    /// A label longer than 63 bytes, or a compression pointer.
    #[error("a label has at most 63 bytes, and compression is not allowed here")]
    Label,
    /// An empty label inside the name.
    #[error("a label is empty")]
    EmptyLabel,
    /// Longer than 255 bytes.
    #[error("a name has at most 255 bytes")]
    TooLong,
    /// Bytes follow the name.
    #[error("bytes follow the name")]
    Trailing,
}

impl Dname {
    /// The name of no labels.
    pub fn root() -> Self {
        Self(vec![0])
    }

    /// Reads a name that is all of `bytes`.
    pub fn from_wire(bytes: &[u8]) -> Result<Self, DnameError> {
        match Self::split_wire(bytes)? {
            (name, []) => Ok(name),
            _ => Err(DnameError::Trailing),
        }
    }

    /// Reads a name from the beginning of `bytes`, and gives the bytes behind it.
    pub fn split_wire(bytes: &[u8]) -> Result<(Self, &[u8]), DnameError> {
        let mut at = 0;
        loop {
            match bytes.get(at).copied().map(usize::from) {
                None => return Err(DnameError::Ends),
                Some(0) => break,
                Some(len) if len > MAX_LABEL_BYTES => return Err(DnameError::Label),
                Some(len) => at += 1 + len,
            }
        }
        if at >= MAX_NAME_BYTES {
            return Err(DnameError::TooLong);
        }
        let (name, rest) = bytes.split_at(at + 1);
        Ok((Self(name.to_ascii_lowercase()), rest))
    }

    /// Makes a name from labels, the leftmost first.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, DnameError> {
        let mut wire = Vec::with_capacity(64);
        for label in labels {
            match label.len() {
                0 => return Err(DnameError::EmptyLabel),
                len @ 1..=MAX_LABEL_BYTES => wire.push(len as u8),
                _ => return Err(DnameError::Label),
            }
            wire.extend(label.iter().map(u8::to_ascii_lowercase));
            if wire.len() >= MAX_NAME_BYTES {
                return Err(DnameError::TooLong);
            }
        }
        wire.push(0);
        Ok(Self(wire))
    }

    /// Puts the relative name `prefix` below `self`.
    pub fn with_prefix(&self, prefix: &[u8]) -> Result<Self, DnameError> {
        if prefix.len() + self.0.len() > MAX_NAME_BYTES {
            return Err(DnameError::TooLong);
        }
        Self::from_wire(&[prefix, &self.0].concat())
    }

    /// The wire form, with the root byte.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The labels, the leftmost first, without their length bytes.
    pub fn labels(&self) -> Labels<'_> {
        Labels(self.without_root())
    }

    /// Whether this name is `zone` or below it.
    pub fn is_within(&self, zone: &Self) -> bool {
        self.relative_to(zone).is_some()
    }

    /// The relative name that stands before `zone`; empty if the names are equal, `None` if this is not within it.
    pub fn relative_to(&self, zone: &Self) -> Option<&[u8]> {
        let tail = zone.without_root();
        ends_with_labels(self.without_root(), tail)
            .then(|| &self.without_root()[..self.without_root().len() - tail.len()])
    }

    /// The wire form without the root byte.
    pub(crate) fn without_root(&self) -> &[u8] {
        &self.0[..self.0.len() - 1]
    }
}

impl FromStr for Dname {
    type Err = DnameError;

    /// Reads dotted text without escapes, with or without the final dot.
    fn from_str(text: &str) -> Result<Self, DnameError> {
        match text.strip_suffix('.').unwrap_or(text) {
            "" => Ok(Self::root()),
            dotted => Self::from_labels(dotted.split('.').map(str::as_bytes)),
        }
    }
}

impl fmt::Display for Dname {
    /// Presentation form with escapes (RFC 1035 §5.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.without_root().is_empty() {
            return f.write_str(".");
        }
        for label in self.labels() {
            for &byte in label {
                match byte {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => write!(f, "\\{}", char::from(byte))?,
                    0x21..=0x7e => write!(f, "{}", char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Dname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Iterator over the labels of a relative name.
#[derive(Clone, Debug)]
pub struct Labels<'a>(&'a [u8]);

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (&len, rest) = self.0.split_first()?;
        let (label, rest) = rest.split_at_checked(usize::from(len))?;
        self.0 = rest;
        Some(label)
    }
}

/// Whether the relative name `name` is `tail` or below it.
pub fn ends_with_labels(name: &[u8], tail: &[u8]) -> bool {
    name.ends_with(tail) && ancestors(name).any(|ancestor| ancestor.len() == tail.len())
}

/// A relative name and each of its ancestors, the longest first and the empty name last.
pub fn ancestors(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(name), |rest| {
        let (&len, tail) = rest.split_first()?;
        Some(tail.get(usize::from(len)..).unwrap_or_default())
    })
}

/// Splits a relative name into what stands below its last label, and that label without its length byte.
pub fn split_last_label(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let last = ancestors(name).take_while(|rest| !rest.is_empty()).last()?;
    Some((&name[..name.len() - last.len()], &last[1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Dname {
        text.parse().expect("a valid name")
    }

    #[test]
    fn text_and_wire() {
        assert_eq!(name("WWW.Alice.p2p").as_wire(), b"\x03www\x05alice\x03p2p\x00");
        assert_eq!(name("www.alice.p2p."), name("www.alice.p2p"));
        assert_eq!(name(".").as_wire(), b"\x00");
        assert_eq!(name("a.b").to_string(), "a.b.");
        assert_eq!(Dname::from_wire(b"\x03a.\x01\x00").expect("valid").to_string(), "a\\.\\001.");
        assert_eq!("a..b".parse::<Dname>(), Err(DnameError::EmptyLabel));
        assert_eq!("a".repeat(64).parse::<Dname>(), Err(DnameError::Label));
    }

    #[test]
    fn wire_is_checked() {
        for (bytes, error) in [
            (&b""[..], DnameError::Ends),
            (b"\x01", DnameError::Ends),
            (b"\x01a", DnameError::Ends),
            (b"\xc0\x0c", DnameError::Label),
            (b"\x00\x00", DnameError::Trailing),
        ] {
            assert_eq!(Dname::from_wire(bytes), Err(error), "{bytes:?}");
        }
        let long = |last: usize| {
            [b"\x3f".as_slice(), &[b'a'; 63]]
                .concat()
                .repeat(3)
                .into_iter()
                .chain([last as u8])
                .chain(std::iter::repeat_n(b'a', last))
                .chain([0])
                .collect::<Vec<_>>()
        };
        assert!(Dname::from_wire(&long(61)).is_ok());
        assert_eq!(Dname::from_wire(&long(62)), Err(DnameError::TooLong));
    }

    #[test]
    fn zones_cut_on_label_boundaries() {
        assert_eq!(name("www.alice.p2p").relative_to(&name("p2p")), Some(&b"\x03www\x05alice"[..]));
        assert_eq!(name("p2p").relative_to(&name("p2p")), Some(&b""[..]));
        assert_eq!(name("xp2p").relative_to(&name("p2p")), None);
        // The bytes of the zone appear at the end, but inside a label.
        let inside = Dname::from_labels([&b"a\x03p2p"[..]]).expect("valid");
        assert_eq!(inside.relative_to(&name("p2p")), None);
        assert!(name("p2p").is_within(&Dname::root()));
    }

    #[test]
    fn relative_names() {
        assert_eq!(split_last_label(b"\x01a\x01b\x02cc"), Some((&b"\x01a\x01b"[..], &b"cc"[..])));
        assert_eq!(split_last_label(b""), None);
        let all: Vec<&[u8]> = ancestors(b"\x01a\x01b").collect();
        assert_eq!(all, [&b"\x01a\x01b"[..], b"\x01b", b""]);
        assert_eq!(name("p2p").with_prefix(b"\x01a").expect("fits"), name("a.p2p"));
    }
}

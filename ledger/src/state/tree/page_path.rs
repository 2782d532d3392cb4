//! Where a page stands in the tree: the nibbles of the keys below it.
//!
//! Guarantees: paths order as the tree is walked top-down and left to right, and so do their database keys, so that a
//! page lies next to its children on disk and "everything below" is one contiguous range.

use std::fmt;

use crate::hash::Key;

/// The longest path: a page covers four bits, the last one bits 252 to 255.
const MAX_NIBBLES: usize = 63;

/// Up to 63 nibbles, the common start of all keys in a page. The empty path is the root page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PagePath {
    /// Sixteen nibbles per word, the first one highest, zero after the end. Declared first: with `len` as the tie-break
    /// this orders as a walk does.
    packed: [u64; 4],
    len: u8,
}

impl PagePath {
    /// The page that holds the top of the tree.
    pub const ROOT: Self = Self { packed: [0; 4], len: 0 };

    /// No database key is longer than this many bytes.
    pub const MAX_BYTES: usize = 1 + MAX_NIBBLES;

    /// Levels of the tree above this page.
    pub fn depth(&self) -> usize {
        usize::from(self.len) * 4
    }

    /// Whether `key` starts with this path.
    pub fn contains(&self, key: &Key) -> bool {
        key.0.chunks_exact(8).zip(&self.packed).enumerate().all(|(i, (bytes, word))| {
            let bits = self.depth().saturating_sub(64 * i).min(64) as u32;
            let differing = u64::from_be_bytes(bytes.try_into().expect("chunks of eight bytes")) ^ word;
            differing.leading_zeros() >= bits
        })
    }

    /// The page one nibble (0 to 15) further down.
    pub(super) fn child(mut self, nibble: usize) -> Self {
        debug_assert!(nibble < 16 && usize::from(self.len) < MAX_NIBBLES);
        let len = usize::from(self.len);
        self.packed[len / 16] |= (nibble as u64) << (60 - len % 16 * 4);
        self.len += 1;
        self
    }

    /// The database key: `/` and one lower-case hexadecimal digit per nibble. Readable in dumps, never empty.
    pub fn to_bytes(&self) -> Vec<u8> {
        let digits = self.nibbles().map(|nibble| b"0123456789abcdef"[nibble]);
        std::iter::once(b'/').chain(digits).collect()
    }

    /// The inverse of [`to_bytes`](Self::to_bytes); `None` for anything that it never returns.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let digits = bytes.strip_prefix(b"/").filter(|digits| digits.len() <= MAX_NIBBLES)?;
        digits.iter().try_fold(Self::ROOT, |path, digit| match digit {
            b'0'..=b'9' => Some(path.child(usize::from(digit - b'0'))),
            b'a'..=b'f' => Some(path.child(usize::from(digit - b'a') + 10)),
            _ => None,
        })
    }

    fn nibbles(&self) -> impl Iterator<Item = usize> + '_ {
        (0..usize::from(self.len)).map(|i| (self.packed[i / 16] >> (60 - i % 16 * 4) & 15) as usize)
    }
}

impl fmt::Display for PagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("/")?;
        self.nibbles().try_for_each(|nibble| write!(f, "{nibble:x}"))
    }
}

impl fmt::Debug for PagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PagePath({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> PagePath {
        PagePath::from_bytes(text.as_bytes()).unwrap()
    }

    #[test]
    fn bytes_round_trip_and_equal_the_text() {
        for text in ["/", "/0", "/a3f", &format!("/{}", "f".repeat(63))] {
            assert_eq!(path(text).to_bytes(), text.as_bytes());
            assert_eq!(path(text).to_string(), text);
        }
        for bad in ["", "a", "/A", "/g", "//", &format!("/{}", "0".repeat(64))] {
            assert_eq!(PagePath::from_bytes(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn order_is_that_of_a_walk_and_of_the_bytes() {
        let walk = ["/", "/0", "/00", "/001", "/01", "/1", "/1f", "/9", "/a", "/a0", "/af", "/f"].map(path);
        assert!(walk.is_sorted());
        assert!(walk.map(|p| p.to_bytes()).is_sorted());
    }

    #[test]
    fn contains_looks_at_its_own_nibbles_only() {
        let key = Key([0xab; 32]);
        for (text, expected) in
            [("/", true), ("/a", true), ("/ab", true), ("/aba", true), ("/b", false), ("/abb", false)]
        {
            assert_eq!(path(text).contains(&key), expected, "{text}");
        }
    }
}

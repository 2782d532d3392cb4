//! Passphrases as people type them: one text, whatever bytes a keyboard, an editor or a system makes of it.
//!
//! `ü` is one character or two, depending on who wrote it down; both look the same. A key file is sealed under the composed
//! form (Unicode NFC), and opened with any of them, so that a file moves between systems with its passphrase.

use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// What some editors write in front of a text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// A passphrase as given.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// From what was typed or read.
    pub fn new(given: &[u8]) -> Self {
        Self(Zeroizing::new(given.to_vec()))
    }

    /// The bytes that a new file is sealed under.
    pub(super) fn composed(&self) -> Zeroizing<Vec<u8>> {
        match self.text() {
            Some(text) => text_of(text.nfc()),
            None => self.0.clone(),
        }
    }

    /// The bytes that a file may be sealed under, the likeliest first: earlier releases took them as they came.
    pub(super) fn forms(&self) -> Vec<Zeroizing<Vec<u8>>> {
        let mut forms = vec![self.composed()];
        let decomposed = self.text().map(|text| text_of(text.nfd()));
        for other in [Some(self.0.clone()), decomposed].into_iter().flatten() {
            if !forms.contains(&other) {
                forms.push(other);
            }
        }
        forms
    }

    /// Its length in characters; in bytes, if it is no text.
    pub fn length(&self) -> usize {
        self.text().map_or(self.0.len(), |text| text.nfc().count())
    }

    /// Whether it is text that a keyboard can give.
    pub fn is_text(&self) -> bool {
        self.text().is_some_and(|text| !text.contains('\0'))
    }

    fn text(&self) -> Option<&str> {
        let text = str::from_utf8(&self.0).ok()?;
        Some(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text))
    }
}

fn text_of(characters: impl Iterator<Item = char>) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Zeroizing::new(characters.collect::<String>()).as_bytes().to_vec())
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPOSED: &str = "F\u{fc}\u{df}e \u{fc}ber \u{c5}ngstr\u{f6}m";
    const DECOMPOSED: &str = "Fu\u{308}\u{df}e u\u{308}ber A\u{30a}ngstro\u{308}m";

    #[test]
    fn one_text_is_one_passphrase() {
        let marked = format!("\u{feff}{COMPOSED}");
        for given in [COMPOSED, DECOMPOSED, &marked] {
            let passphrase = Passphrase::new(given.as_bytes());
            assert_eq!(&**passphrase.composed(), COMPOSED.as_bytes());
            assert_eq!(passphrase.length(), COMPOSED.chars().count());
        }
        assert_ne!(Passphrase::new(b"other").composed(), Passphrase::new(COMPOSED.as_bytes()).composed());
    }

    /// Files of earlier releases are sealed under the bytes as they came.
    #[test]
    fn what_was_sealed_as_it_came_still_opens() {
        for (sealed, given) in [(DECOMPOSED, COMPOSED), (DECOMPOSED, DECOMPOSED), (COMPOSED, DECOMPOSED)] {
            let forms = Passphrase::new(given.as_bytes()).forms();
            assert!(forms.iter().any(|form| &***form == sealed.as_bytes()), "{given:?} for {sealed:?}");
        }
        let marked = format!("\u{feff}{COMPOSED}");
        assert!(Passphrase::new(marked.as_bytes()).forms().iter().any(|form| &***form == marked.as_bytes()));
    }

    #[test]
    fn plain_letters_and_foreign_bytes_have_one_form() {
        for given in [&b"correct horse"[..], b"caf\xe9", b""] {
            let passphrase = Passphrase::new(given);
            assert_eq!(passphrase.forms().len(), 1);
            assert_eq!(&**passphrase.composed(), given);
        }
    }
}

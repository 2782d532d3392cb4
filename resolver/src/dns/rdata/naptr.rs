//! The shape of NAPTR data (RFC 3403 §4.1): order, preference, flags, services, regular expression, replacement.
//!
//! BIND refuses a message, and a zone, with a NAPTR whose expression is wrong, so one owner's mistake could stop every
//! secondary. Served is the part of POSIX expressions that number mapping uses: anchors at the ends, literals, `.`,
//! simple bracket lists, groups, and `*`, `+`, `?`. Alternatives and counted repetition are not.

use crate::dns::name::Dname;

use super::string::skip_string;

/// Whether `data` is a naming pointer that strict readers accept.
pub(super) fn is_well_formed(data: &[u8]) -> bool {
    let rest = data.get(4..).and_then(skip_string).and_then(skip_string);
    let Some((&length, rest)) = rest.and_then(<[u8]>::split_first) else { return false };
    let Some((expression, replacement)) = rest.split_at_checked(usize::from(length)) else { return false };
    (expression.is_empty() || substitution(expression).is_some()) && Dname::from_wire(replacement).is_ok()
}

/// `delimiter pattern delimiter replacement delimiter flags` (RFC 3402 §3.2).
fn substitution(bytes: &[u8]) -> Option<()> {
    let (&delimiter, rest) = bytes.split_first()?;
    if !delimiter.is_ascii_punctuation() || delimiter == b'\\' {
        return None;
    }
    let (pattern, rest) = split_unescaped(rest, delimiter)?;
    let (replacement, flags) = split_unescaped(rest, delimiter)?;
    let groups = Pattern::default().read(pattern)?;
    (references_fit(replacement, groups) && flags.iter().all(|flag| *flag == b'i')).then_some(())
}

fn split_unescaped(bytes: &[u8], delimiter: u8) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    while *bytes.get(at)? != delimiter {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// A replacement has no zero byte and refers only to groups that the pattern has.
fn references_fit(replacement: &[u8], groups: u8) -> bool {
    let escapes = replacement.windows(2).filter(|pair| pair[0] == b'\\' && pair[1].is_ascii_digit());
    !replacement.contains(&0) && escapes.clone().all(|pair| (1..=groups).contains(&(pair[1] - b'0')))
}

/// What has been read of a pattern.
#[derive(Default)]
struct Pattern {
    groups: u8,
    depth: u8,
    /// Whether a repetition may follow.
    after_atom: bool,
}

impl Pattern {
    /// The number of groups in a valid pattern.
    fn read(mut self, mut rest: &[u8]) -> Option<u8> {
        rest = rest.strip_prefix(b"^").unwrap_or(rest);
        rest = rest.strip_suffix(b"$").filter(|rest| !rest.ends_with(b"\\")).unwrap_or(rest);
        if rest.is_empty() {
            return None;
        }
        while let Some((&byte, tail)) = rest.split_first() {
            rest = self.step(byte, tail)?;
        }
        (self.depth == 0).then_some(self.groups)
    }

    fn step<'a>(&mut self, byte: u8, tail: &'a [u8]) -> Option<&'a [u8]> {
        let was_atom = std::mem::replace(&mut self.after_atom, true);
        match byte {
            b'(' if tail.first() != Some(&b')') => {
                (self.groups, self.depth) = (self.groups.checked_add(1)?, self.depth + 1);
                self.after_atom = false;
            }
            b')' => self.depth = self.depth.checked_sub(1)?,
            b'*' | b'+' | b'?' if was_atom => self.after_atom = false,
            b'[' => return bracket(tail),
            b'\\' => return tail.split_first().filter(|(byte, _)| is_operator(**byte)).map(|(_, tail)| tail),
            b'.' => {}
            byte if (byte.is_ascii_graphic() || byte == b' ') && !is_operator(byte) => {}
            _ => return None,
        }
        Some(tail)
    }
}

fn is_operator(byte: u8) -> bool {
    b"\\.^$*+?()[]{}|".contains(&byte)
}

/// Letters, digits and ascending ranges of them up to `]`, possibly after `^`.
fn bracket(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.strip_prefix(b"^").unwrap_or(bytes);
    loop {
        rest = match rest {
            [low, b'-', high, tail @ ..] if is_word(*low) && is_word(*high) && low <= high => tail,
            [byte, tail @ ..] if is_word(*byte) => tail,
            _ => return None,
        };
        if let Some(tail) = rest.strip_prefix(b"]") {
            return Some(tail);
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expression: &str, expected: bool) {
        let length = [expression.len() as u8];
        let data = [b"\0\x01\0\x02\x01u\x07E2U+sip", &length[..], expression.as_bytes(), b"\0"].concat();
        assert_eq!(is_well_formed(&data), expected, "{expression}");
    }

    #[test]
    fn expressions() {
        for good in [
            "",
            "!^.*$!sip:info@example.com!",
            "!^.*$!sip:info@example.com!i",
            r"!^\+44(.*)$!sip:\1@example.com!",
            "/^(tel:)?([0-9]+)[^a-z]$/mailto:\\2/",
            "!a!!",
        ] {
            check(good, true);
        }
        for bad in [
            "!^.*$!sip:info",
            "!!x!",
            "!^$!x!",
            "!a!x!y",
            "!a!x!y!",
            "1a1x1",
            "\\a\\x\\",
            r"!^(.*)$!\2!",
            r"!^(.*)$!\0!",
            "!(a!x!",
            "!a)!x!",
            "!()!x!",
            "!*a!x!",
            "!a**!x!",
            "![!x!",
            "![]!x!",
            "![z-a]!x!",
            "!a{2}!x!",
            "!a|b!x!",
            "!a\\!x!",
            "!ü!x!",
        ] {
            check(bad, false);
        }
    }

    #[test]
    fn what_ends_early_is_refused() {
        let data = b"\0\x01\0\x02\x01u\x01s\x05!a!b!\x01a\0";
        assert!(is_well_formed(data));
        for len in 0..data.len() {
            assert!(!is_well_formed(&data[..len]), "{len}");
        }
    }
}

//! Names that may end in a pointer to an earlier place of the message (RFC 1035 §4.1.4).
//!
//! Bounded: each pointer leads to a place before all that was read of the name so far, and not into the header, so that no
//! name is read in circles; there are at most [`MAX_POINTERS`].

use super::HEADER_BYTES;
use crate::dns::name::{MAX_LABEL_BYTES, MAX_NAME_BYTES};

/// Pointers in one name: as many as there can be labels. More is a way to make others work.
pub(crate) const MAX_POINTERS: usize = 127;

/// What was learnt from reading a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NameRead {
    /// Where the bytes behind it are.
    pub(crate) next: usize,
    pub(crate) is_compressed: bool,
}

/// Not a name; whether it got as far as a pointer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoName {
    pub(crate) is_compressed: bool,
}

/// Appends the name at `at` to `wire`, uncompressed and in its own letters. Up to its first pointer it lies before `end`.
pub(crate) fn read(message: &[u8], mut at: usize, mut end: usize, wire: &mut Vec<u8>) -> Result<NameRead, NoName> {
    let start = wire.len();
    let (mut next, mut pointers, mut lowest) = (None, 0, at);
    let fail = |next: Option<usize>| Err(NoName { is_compressed: next.is_some() });
    loop {
        let Some(&len) = message.get(at).filter(|_| at < end) else { return fail(next) };
        match usize::from(len) {
            0 => break,
            len @ 1..=MAX_LABEL_BYTES => {
                let Some(label) = message.get(at..=at + len).filter(|_| at + len < end) else { return fail(next) };
                wire.extend_from_slice(label);
                at += 1 + len;
            }
            high if high & 0xc0 == 0xc0 => {
                let Some(&low) = message.get(at + 1).filter(|_| at + 1 < end) else { return fail(next) };
                next = next.or(Some(at + 2));
                at = (high & 0x3f) << 8 | usize::from(low);
                pointers += 1;
                if at >= lowest || at < HEADER_BYTES || pointers > MAX_POINTERS {
                    return fail(next);
                }
                (lowest, end) = (at, message.len());
            }
            _ => return fail(next),
        }
        if wire.len() - start >= MAX_NAME_BYTES {
            return fail(next);
        }
    }
    wire.push(0);
    Ok(NameRead { next: next.unwrap_or(at + 1), is_compressed: next.is_some() })
}

/// Where the bytes behind the name at `at` are. Pointers are passed over.
pub(crate) fn skip(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            0xc0.. => return (at + 2 <= message.len()).then_some(at + 2),
            len if usize::from(len) <= MAX_LABEL_BYTES => at += 1 + usize::from(len),
            _ => return None,
        }
    }
}

/// The length of the name that `bytes` begin with, if it is written out and no longer than names may be.
pub(crate) fn plain_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match usize::from(*bytes.get(at)?) {
            0 => return (at < MAX_NAME_BYTES).then_some(at + 1),
            len @ 1..=MAX_LABEL_BYTES => at += 1 + len,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_at(message: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
        let mut wire = Vec::new();
        read(message, at, message.len(), &mut wire).ok().map(|read| (wire, read.next))
    }

    #[test]
    fn a_name_may_have_as_many_pointers_as_labels() {
        let mut message = [&[0; HEADER_BYTES][..], b"\x01a\0"].concat();
        let mut last = HEADER_BYTES;
        for _ in 0..MAX_POINTERS {
            let at = message.len();
            message.extend_from_slice(&(0xc000 | last as u16).to_be_bytes());
            last = at;
        }
        assert_eq!(read_at(&message, last), Some((b"\x01a\0".to_vec(), message.len())));
        message.extend_from_slice(&(0xc000 | last as u16).to_be_bytes());
        assert_eq!(read_at(&message, last + 2), None);
    }

    #[test]
    fn pointers_lead_to_what_was_there_before_the_name() {
        let message = |rest: &[u8]| [&[0; HEADER_BYTES][..], b"\x01a\0", rest].concat();
        assert_eq!(read_at(&message(b"\x01b\xc0\x0c"), 15), Some((b"\x01b\x01a\0".to_vec(), 19)));
        // Itself, its own label, what follows, the header, beyond the end, half a pointer, reserved label types.
        for bad in
            [&b"\xc0\x0f"[..], b"\x01b\xc0\x0f", b"\xc0\x11\0", b"\xc0\x00", b"\xff\xff", b"\xc0", b"\x40a", b"\x80a"]
        {
            assert_eq!(read_at(&message(bad), 15), None, "{bad:02x?}");
        }
    }

    #[test]
    fn lengths() {
        let longest = [&[&[63][..], &[b'a'; 63]].concat().repeat(3)[..], &[61], &[b'a'; 61], &[0]].concat();
        assert_eq!((plain_len(&longest), longest.len()), (Some(255), 255));
        let longer = [b"\x01b", &longest[..]].concat();
        assert_eq!(plain_len(&longer), None);
        assert_eq!(read_at(&[&[0; HEADER_BYTES][..], &longer].concat(), HEADER_BYTES), None);
        assert_eq!(plain_len(b"\x01a"), None);
        assert_eq!(plain_len(b"\xc0\x0c"), None);
        assert_eq!((skip(b"\x01a\xc0\x0c", 0), skip(b"\x01a\xc0", 0), skip(b"\x40", 0)), (Some(4), None, None));
    }
}

//! The parts of a query that have to be known even if the rest cannot be read: its question, and its OPT record.
//!
//! hickory's parser gives all or nothing, and lets an option end in the middle of its header. RFC 6891 §7 wants FORMERR
//! for a damaged option, together with the question and an OPT record, so that the client does not take us for a
//! server without EDNS. Guarantees: no panic for any bytes, no allocation, and work that is linear in their number.

use crate::{
    dname::{Dname, MAX_LABEL_BYTES},
    rtype,
};

/// Bytes of a header.
pub(crate) const HEADER_BYTES: usize = 12;
/// Bytes of type and class behind the name of a question.
pub(crate) const QUESTION_TAIL_BYTES: usize = 4;
/// Bytes of type, class, TTL and length behind the owner of a record.
const RECORD_TAIL_BYTES: usize = 10;

/// What of a query could be found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Envelope<'m> {
    /// Name, type and class, if there is exactly one question and its name is not compressed.
    pub(crate) question: Option<&'m [u8]>,
    /// The options of the first OPT record of the additional section, as bytes.
    pub(crate) options: Option<&'m [u8]>,
}

impl<'m> Envelope<'m> {
    /// Looks into a message as far as it can be read.
    pub(crate) fn open(message: &'m [u8]) -> Self {
        let mut envelope = Self::default();
        envelope.fill(message);
        envelope
    }

    /// The type asked for.
    pub(crate) fn qtype(&self) -> Option<u16> {
        let [type_0, type_1, _, _] = self.question?.last_chunk()?;
        Some(u16::from_be_bytes([*type_0, *type_1]))
    }

    /// Whether there is an OPT record whose options do not add up to its length.
    pub(crate) fn is_damaged(&self) -> bool {
        !self.options.is_none_or(options_add_up)
    }

    fn fill(&mut self, message: &'m [u8]) -> Option<()> {
        let (header, mut rest) = message.split_at_checked(HEADER_BYTES)?;
        let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (questions, before, additionals) = (count(4), u32::from(count(6)) + u32::from(count(8)), count(10));
        for _ in 0..questions {
            let start = rest;
            rest = skip_name(rest)?.get(QUESTION_TAIL_BYTES..)?;
            let bytes = &start[..start.len() - rest.len()];
            self.question = (questions == 1 && Dname::split_wire(bytes).is_ok()).then_some(bytes);
        }
        for _ in 0..before {
            (_, _, rest) = record(rest)?;
        }
        for _ in 0..additionals {
            let is_root = rest.first() == Some(&0);
            let (rtype, data, after) = record(rest)?;
            if rtype == rtype::OPT && is_root {
                self.options = Some(data);
                break;
            }
            rest = after;
        }
        Some(())
    }
}

/// Type and data of the record that `bytes` begin with, and what follows it.
pub(crate) fn record(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (tail, rest) = skip_name(bytes)?.split_at_checked(RECORD_TAIL_BYTES)?;
    let (data, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([tail[8], tail[9]])))?;
    Some((u16::from_be_bytes([tail[0], tail[1]]), data, rest))
}

/// What follows a name, compressed or not. Pointers are not followed.
pub(crate) fn skip_name(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        match *bytes.first()? {
            0 => return bytes.get(1..),
            // A compression pointer (RFC 1035 §4.1.4).
            0xc0.. => return bytes.get(2..),
            len if usize::from(len) <= MAX_LABEL_BYTES => bytes = bytes.get(1 + usize::from(len)..)?,
            _ => return None,
        }
    }
}

/// The two bytes at `at` as a number.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|two| u16::from_be_bytes(*two))
}

/// Each option is a code, a length, and as many bytes (RFC 6891 §6.1.2).
fn options_add_up(mut options: &[u8]) -> bool {
    while !options.is_empty() {
        let Some((&[_, _, len_0, len_1], rest)) = options.split_first_chunk() else { return false };
        let Some(rest) = rest.get(usize::from(u16::from_be_bytes([len_0, len_1]))..) else { return false };
        options = rest;
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const QUESTION: &[u8] = b"\x01a\x03p2p\0\0\x01\0\x01";

    /// A message of these counts and bytes.
    fn message(counts: [u8; 4], body: &[u8]) -> Vec<u8> {
        let [questions, answers, authorities, additionals] = counts;
        let header = [0, 1, 1, 0, 0, questions, 0, answers, 0, authorities, 0, additionals];
        [&header[..], body].concat()
    }

    fn opt(options: &[u8]) -> Vec<u8> {
        [b"\0\0\x29\x04\xd0\0\0\0\0\0", &[options.len() as u8][..], options].concat()
    }

    #[test]
    fn question_and_options_are_found() {
        let check = |message: &[u8], question: Option<&[u8]>, options: Option<&[u8]>| {
            assert_eq!(Envelope::open(message), Envelope { question, options }, "{message:02x?}");
        };
        let a_record = b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04abcd";
        check(&message([1, 0, 0, 0], QUESTION), Some(QUESTION), None);
        check(&message([1, 0, 0, 1], &[QUESTION, &opt(b"xy")].concat()), Some(QUESTION), Some(b"xy"));
        check(&message([0, 0, 0, 1], &opt(b"")), None, Some(b""));
        check(
            &message([1, 1, 1, 2], &[QUESTION, a_record, a_record, a_record, &opt(b"z")].concat()),
            Some(QUESTION),
            Some(b"z"),
        );
        check(&message([2, 0, 0, 1], &[QUESTION, QUESTION, &opt(b"z")].concat()), None, Some(b"z"));
        // Not in the answer section, and not of another owner.
        check(&message([1, 1, 0, 0], &[QUESTION, &opt(b"z")].concat()), Some(QUESTION), None);
        check(&message([1, 0, 0, 1], &[QUESTION, b"\x01a", &opt(b"z")].concat()), Some(QUESTION), None);
        // Counts that promise more than there is.
        check(&message([1, 0, 9, 1], &[QUESTION, &opt(b"z")].concat()), Some(QUESTION), None);
        check(&message([1, 0, 0, 1], QUESTION), Some(QUESTION), None);
        check(&message([1, 0, 0, 0], &QUESTION[..QUESTION.len() - 1]), None, None);
        check(b"\0\x01", None, None);
    }

    #[test]
    fn the_type_is_that_of_the_only_question() {
        assert_eq!(Envelope::open(&message([1, 0, 0, 1], b"\x01a\0\x01\x02\0\x01damaged")).qtype(), Some(0x0102));
        assert_eq!(Envelope::open(&message([2, 0, 0, 0], &[QUESTION, QUESTION].concat())).qtype(), None);
        assert_eq!(Envelope::open(&message([1, 0, 0, 0], b"\x01a\0\0\x01")).qtype(), None);
    }

    #[test]
    fn options_must_add_up() {
        for (options, expected) in [
            (&b""[..], false),
            (b"\0\x03\0\0", false),
            (b"\0\x03\0\0\xfd\xe9\0\x01z", false),
            (b"\0", true),
            (b"\0\x03\0", true),
            (b"\0\x03\0\x01", true),
            (b"\0\x03\0\0\xfd\xe9\0\x02z", true),
        ] {
            let message = message([1, 0, 0, 1], &[QUESTION, &opt(options)].concat());
            assert_eq!(Envelope::open(&message).is_damaged(), expected, "{options:02x?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_into(counts in any::<[u8; 4]>(), body in vec(any::<u8>(), 0..100)) {
            Envelope::open(&message(counts, &body)).is_damaged();
            Envelope::open(&body).is_damaged();
        }
    }
}

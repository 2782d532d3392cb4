//! A question as upstreams get it, in bytes.
//!
//! What upstreams cannot take is left out, as far as they are known ([`habits`](super::habits)): the OPT record, letters
//! of random case. Ids are put in when it is sent.

use std::io;

use super::{Question, target::Role};
use crate::{query::MAX_UDP_BYTES, rtype};

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 12;
/// Flags: recursion desired, authentic data, checking disabled.
const RD: u16 = 0x0100;
const AD: u16 = 0x0020;
const CD: u16 = 0x0010;
/// The DO bit among the flags of EDNS (RFC 3225).
const DO: u16 = 0x8000;

/// How a question is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Style {
    pub(super) edns: Edns,
    pub(super) letters: Letters,
}

/// Whether there is an OPT record (RFC 6891).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Edns {
    With,
    Without,
}

/// The case of letters in the name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Letters {
    /// Each upper or lower by chance, which a forger has to guess.
    Mixed,
    Lower,
}

/// Whether the AD bit is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Validation {
    /// What the upstream says about it is believed, so it is asked (RFC 6840 §5.7).
    Believed,
    Ignored,
}

/// A message without its id.
#[derive(Clone, Debug)]
pub(super) struct Request {
    bytes: Vec<u8>,
    question_end: usize,
    letters: Letters,
}

impl Request {
    pub(super) fn new(question: &Question, style: Style, role: Role, validation: Validation) -> Self {
        let mut flags = match role {
            Role::Recursive => RD,
            Role::Authority => 0,
        };
        if validation == Validation::Believed {
            flags |= AD;
        }
        if question.checking_disabled {
            flags |= CD;
        }
        let additional = u16::from(style.edns == Edns::With);
        let mut bytes = Vec::with_capacity(64);
        for field in [0, flags, 1, 0, 0, additional] {
            bytes.extend_from_slice(&u16::to_be_bytes(field));
        }
        bytes.extend_from_slice(question.name.as_wire());
        if style.letters == Letters::Mixed {
            mix(&mut bytes[HEADER_BYTES..]);
        }
        bytes.extend_from_slice(&question.qtype.to_be_bytes());
        bytes.extend_from_slice(&rtype::CLASS_IN.to_be_bytes());
        let question_end = bytes.len();
        if style.edns == Edns::With {
            let do_bit = if question.dnssec_ok { DO } else { 0 };
            bytes.push(0);
            for field in [rtype::OPT, MAX_UDP_BYTES, 0, do_bit, 0] {
                bytes.extend_from_slice(&field.to_be_bytes());
            }
        }
        Self { bytes, question_end, letters: style.letters }
    }

    /// The question section.
    pub(super) fn question(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..self.question_end]
    }

    /// The case of its letters, which responses must repeat if it is mixed.
    pub(super) fn letters(&self) -> Letters {
        self.letters
    }

    /// The message to send.
    pub(super) fn with_id(&self, id: u16) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        bytes
    }
}

/// A number that nobody can guess.
pub(super) fn random() -> io::Result<u16> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(u16::from_be_bytes(bytes))
}

/// Turns letters of a lower-cased name in wire form by chance. Length bytes are below all letters.
fn mix(name: &mut [u8]) {
    let mut bits = [0; crate::dname::MAX_NAME_BYTES / 8 + 1];
    // Without chance they stay lower-cased, which is a question as well.
    if getrandom::fill(&mut bits).is_err() {
        return;
    }
    for (at, byte) in name.iter_mut().enumerate() {
        if byte.is_ascii_lowercase() && bits[at / 8] >> (at % 8) & 1 == 1 {
            *byte = byte.to_ascii_uppercase();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(letters: Letters, edns: Edns) -> Request {
        let question = Question {
            name: "abcdefghijklmnopqrstuvwxyz.example".parse().expect("a name"),
            qtype: rtype::AAAA,
            dnssec_ok: true,
            checking_disabled: true,
            authority: None,
        };
        Request::new(&question, Style { edns, letters }, Role::Recursive, Validation::Believed)
    }

    #[test]
    fn bytes() {
        let lower = request(Letters::Lower, Edns::With).with_id(0x1234);
        assert_eq!(lower[..12], [0x12, 0x34, 1, 0x30, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(lower[12..48], *b"\x1aabcdefghijklmnopqrstuvwxyz\x07example\0");
        assert_eq!(lower[48..], [0, 28, 0, 1, 0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 0]);
        let without = request(Letters::Lower, Edns::Without).with_id(0x1234);
        assert_eq!((without[11], without.len()), (0, 52));
    }

    #[test]
    fn mixed_letters_differ_each_time_and_are_the_same_name() {
        let (one, two) = (request(Letters::Mixed, Edns::With), request(Letters::Mixed, Edns::With));
        assert_ne!(one.question(), two.question());
        assert!(one.question().eq_ignore_ascii_case(two.question()));
    }
}

//! A question as upstreams get it, in bytes.
//!
//! What upstreams cannot take is left out, as far as they are known ([`habits`](super::habits)): the OPT record, letters
//! of random case. Ids are put in when it is sent.

use std::io;

use super::Question;
use crate::{
    dns::{HEADER_BYTES, flags, message::QUESTION_TAIL_BYTES, name::MAX_NAME_BYTES, rtype, writer::write},
    policy::target::Role,
    zones::query::MAX_UDP_BYTES,
};

/// The longest of them: the longest name, and an OPT record without options.
const MAX_REQUEST_BYTES: usize = HEADER_BYTES + MAX_NAME_BYTES + QUESTION_TAIL_BYTES + 11;

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
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let flags = flag(role == Role::Recursive, flags::RD)
            | flag(validation == Validation::Believed, flags::AD)
            | flag(question.checking_disabled, flags::CD);
        let mut asked = question.name.as_wire().to_vec();
        if style.letters == Letters::Mixed {
            mix(&mut asked);
        }
        asked.extend_from_slice(&question.qtype.to_be_bytes());
        asked.extend_from_slice(&rtype::CLASS_IN.to_be_bytes());
        let bytes = write(MAX_REQUEST_BYTES, |writer| {
            writer.put_head(0, flags, &asked);
            if style.edns == Edns::With {
                writer.put_only_opt(MAX_UDP_BYTES, flag(question.dnssec_ok, flags::DO), None);
            }
        });
        let question_end = HEADER_BYTES + asked.len();
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
    let mut bits = [0; MAX_NAME_BYTES / 8 + 1];
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

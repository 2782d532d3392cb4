//! Plain queries, read straight from a datagram.
//!
//! Plain is what nearly every client sends: a header without surprises, one question in class IN with an uncompressed
//! name, at most an OPT record without options that ask for something, and nothing behind. Whatever else is in a
//! datagram makes it [`Unusual`], and the full path reads it; so nothing is refused here, and nothing repaired.

use crate::{
    dname::{MAX_LABEL_BYTES, MAX_NAME_BYTES},
    query::{MAX_UDP_BYTES, MIN_UDP_BYTES},
    rtype,
};

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 12;
/// Bytes of type and class behind the name of a question.
const QUESTION_TAIL_BYTES: usize = 4;
/// Bytes of an OPT record without its options (RFC 6891 §6.1.2).
pub(super) const OPT_BYTES: usize = 11;
/// The deepest name read here. Deeper ones are legal, and nobody's home page.
const MAX_LABELS: usize = 16;
/// The RD bit, in the third byte.
pub(super) const RD: u8 = 0x01;
/// QR and the four bits of the opcode, in the third byte.
const QR_AND_OPCODE: u8 = 0xf8;
/// The DO bit, in the third byte of an OPT record's TTL.
const DO: u8 = 0x80;
/// Options that change nothing here: cookies (RFC 7873), which the guard has read; TCP keepalive (RFC 7828); padding
/// (RFC 7830).
const IGNORED_OPTIONS: [u16; 3] = [10, 11, 12];

/// A plain query.
#[derive(Debug)]
pub(super) struct PlainQuery<'d> {
    /// The first four bytes of the header: id and flags.
    pub(super) id_and_flags: [u8; 4],
    /// Name, type and class as sent.
    pub(super) question: &'d [u8],
    /// The type.
    pub(super) qtype: u16,
    /// Whether there is an OPT record.
    pub(super) has_edns: bool,
    /// The longest answer that may be sent, in bytes.
    pub(super) limit: usize,
}

/// What makes a datagram unfit for the fast path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unusual {
    /// A response, an opcode other than QUERY, or other counts than one question and at most one additional record.
    Header,
    /// The name is compressed, too long, deep, or ends early.
    Name,
    /// A class other than IN.
    Class,
    /// The additional record is no OPT record, or a damaged one, or of a version other than 0.
    Additional,
    /// An EDNS option that may ask for something.
    Option,
    /// Signatures are asked for.
    DnssecOk,
    /// Bytes follow the message, or it ends early.
    Length,
}

impl<'d> PlainQuery<'d> {
    /// Reads a datagram.
    pub(super) fn parse(datagram: &'d [u8]) -> Result<Self, Unusual> {
        let (header, body) = datagram.split_first_chunk::<HEADER_BYTES>().ok_or(Unusual::Length)?;
        let [id_0, id_1, flags_0, flags_1, counts @ ..] = *header;
        let has_edns = match counts {
            [0, 1, 0, 0, 0, 0, 0, additional @ (0 | 1)] => additional == 1,
            _ => return Err(Unusual::Header),
        };
        if flags_0 & QR_AND_OPCODE != 0 {
            return Err(Unusual::Header);
        }
        let question_bytes = name_bytes(body)? + QUESTION_TAIL_BYTES;
        let (question, rest) = body.split_at_checked(question_bytes).ok_or(Unusual::Length)?;
        let [.., type_0, type_1, class_0, class_1] = *question else { return Err(Unusual::Length) };
        if u16::from_be_bytes([class_0, class_1]) != rtype::CLASS_IN {
            return Err(Unusual::Class);
        }
        let limit = match has_edns {
            true => read_opt(rest)?.clamp(MIN_UDP_BYTES, MAX_UDP_BYTES),
            false if rest.is_empty() => MIN_UDP_BYTES,
            false => return Err(Unusual::Length),
        };
        Ok(Self {
            id_and_flags: [id_0, id_1, flags_0, flags_1],
            question,
            qtype: u16::from_be_bytes([type_0, type_1]),
            has_edns,
            limit: usize::from(limit),
        })
    }

    /// The name as sent, without its root byte.
    pub(super) fn relative_name(&self) -> &'d [u8] {
        &self.question[..self.question.len() - QUESTION_TAIL_BYTES - 1]
    }
}

/// The length of the name that `bytes` begin with, with its root byte.
fn name_bytes(bytes: &[u8]) -> Result<usize, Unusual> {
    let mut at = 0;
    for _ in 0..=MAX_LABELS {
        match bytes.get(at).copied().map(usize::from) {
            Some(0) if at < MAX_NAME_BYTES => return Ok(at + 1),
            Some(len @ 1..=MAX_LABEL_BYTES) => at += 1 + len,
            Some(_) | None => return Err(Unusual::Name),
        }
    }
    Err(Unusual::Name)
}

/// Reads the OPT record that `record` consists of, and gives the size of answers that the client can take.
fn read_opt(record: &[u8]) -> Result<u16, Unusual> {
    let (fixed, options) = record.split_first_chunk::<OPT_BYTES>().ok_or(Unusual::Length)?;
    let [0, type_0, type_1, size_0, size_1, 0, 0, flags, _, len_0, len_1] = *fixed else {
        return Err(Unusual::Additional);
    };
    if u16::from_be_bytes([type_0, type_1]) != rtype::OPT {
        return Err(Unusual::Additional);
    }
    if usize::from(u16::from_be_bytes([len_0, len_1])) != options.len() {
        return Err(Unusual::Length);
    }
    if flags & DO != 0 {
        return Err(Unusual::DnssecOk);
    }
    read_options(options)?;
    Ok(u16::from_be_bytes([size_0, size_1]))
}

fn read_options(mut options: &[u8]) -> Result<(), Unusual> {
    while !options.is_empty() {
        let (&[code_0, code_1, len_0, len_1], rest) = options.split_first_chunk().ok_or(Unusual::Additional)?;
        if !IGNORED_OPTIONS.contains(&u16::from_be_bytes([code_0, code_1])) {
            return Err(Unusual::Option);
        }
        let len = usize::from(u16::from_be_bytes([len_0, len_1]));
        options = rest.get(len..).ok_or(Unusual::Additional)?;
    }
    Ok(())
}

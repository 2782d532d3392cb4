//! Plain queries, read straight from a datagram.
//!
//! Plain is what nearly every client sends: a header without surprises, one question in class IN with an uncompressed
//! name, at most an OPT record without options that ask for something, and nothing behind. Whatever else is in a
//! datagram makes it [`Unusual`], and the full path reads it; so nothing is refused here, and nothing repaired.

use crate::{
    dns::{
        HEADER_BYTES, flags,
        message::{Message, QUESTION_TAIL_BYTES, Record, Section},
        name::ancestors,
        option, rtype,
    },
    zones::query::{MAX_UDP_BYTES, MIN_UDP_BYTES},
};

/// The deepest name read here. Deeper ones are legal, and nobody's home page.
const MAX_LABELS: usize = 16;
/// Options that change nothing here; the guard has read the cookie.
const IGNORED_OPTIONS: [u16; 3] = [option::COOKIE, option::KEEPALIVE, option::PADDING];

/// A plain query.
#[derive(Debug)]
pub(super) struct PlainQuery<'d> {
    pub(super) id: u16,
    pub(super) flags: u16,
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
        let message = Message::new(datagram).ok_or(Unusual::Length)?;
        let additionals = message.count(Section::Additional);
        let has_answers = message.count(Section::Answer) != 0 || message.count(Section::Authority) != 0;
        if !message.is_query() || message.questions() != 1 || has_answers || additionals > 1 {
            return Err(Unusual::Header);
        }
        let name = message.plain_name().filter(|name| ancestors(&name[..name.len() - 1]).nth(MAX_LABELS + 1).is_none());
        name.ok_or(Unusual::Name)?;
        let question = message.question().ok_or(Unusual::Length)?;
        if question.qclass != rtype::CLASS_IN {
            return Err(Unusual::Class);
        }
        let rest = HEADER_BYTES + question.bytes.len();
        let limit = match additionals {
            0 if rest == datagram.len() => MIN_UDP_BYTES,
            0 => return Err(Unusual::Length),
            _ => {
                let record = message.record_at(rest, Section::Additional).ok_or(Unusual::Length)?;
                payload(&record, datagram.len())?.clamp(MIN_UDP_BYTES, MAX_UDP_BYTES)
            }
        };
        Ok(Self {
            id: message.id(),
            flags: message.flags(),
            question: question.bytes,
            qtype: question.qtype,
            has_edns: additionals == 1,
            limit: usize::from(limit),
        })
    }

    /// The name as sent, without its root byte.
    pub(super) fn relative_name(&self) -> &'d [u8] {
        &self.question[..self.question.len() - QUESTION_TAIL_BYTES - 1]
    }
}

/// The size of answers that the client can take, from the record that a datagram of `end` bytes ends with.
fn payload(record: &Record<'_>, end: usize) -> Result<u16, Unusual> {
    if !record.is_opt() {
        return Err(Unusual::Additional);
    }
    let opt = record.as_opt();
    if (opt.rcode, opt.version) != (0, 0) {
        return Err(Unusual::Additional);
    }
    if record.data_at.end != end {
        return Err(Unusual::Length);
    }
    if opt.flags & flags::DO != 0 {
        return Err(Unusual::DnssecOk);
    }
    let mut options = opt.options;
    if options.by_ref().any(|(code, _)| !IGNORED_OPTIONS.contains(&code)) {
        return Err(Unusual::Option);
    }
    options.as_bytes().is_empty().then_some(opt.payload).ok_or(Unusual::Additional)
}

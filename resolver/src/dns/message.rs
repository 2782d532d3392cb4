//! Reads messages over their bytes: nothing is copied, and nothing is read before somebody asks for it.
//!
//! Guarantees: no panic for any bytes, no allocation but for names that are asked for, and work that is linear in the number
//! of bytes, whatever the counts in a header say.

use std::ops::Range;

use super::{
    HEADER_BYTES,
    compressed::{self, NameRead, NoName},
    flags,
};
use crate::dns::{name::Dname, rtype};

/// Bytes of type and class behind the name of a question.
pub(crate) const QUESTION_TAIL_BYTES: usize = 4;
/// Bytes of type, class, TTL and data length behind the owner of a record.
const RECORD_TAIL_BYTES: usize = 10;

/// A message: at least a header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'m> {
    bytes: &'m [u8],
    header: &'m [u8; HEADER_BYTES],
}

/// The sections of records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Section {
    Answer,
    Authority,
    Additional,
}

impl Section {
    /// Where a header says how many records there are.
    pub(super) fn count_at(self) -> usize {
        match self {
            Self::Answer => 6,
            Self::Authority => 8,
            Self::Additional => 10,
        }
    }
}

/// The only question of a message, with a name that is written out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Question<'m> {
    /// Name, type and class as they came.
    pub(crate) bytes: &'m [u8],
    pub(crate) qtype: u16,
    pub(crate) qclass: u16,
}

/// A record, data not looked into.
#[derive(Clone, Debug)]
pub(crate) struct Record<'m> {
    pub(crate) section: Section,
    pub(crate) rtype: u16,
    pub(crate) class: u16,
    /// Four bytes that are a time in seconds, but for pseudo-records.
    pub(crate) ttl: [u8; 4],
    /// Where the data are in the message.
    pub(crate) data_at: Range<usize>,
    message: &'m [u8],
    owner_at: usize,
}

/// The OPT record (RFC 6891 §6.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Opt<'m> {
    /// The longest datagram that the sender takes.
    pub(crate) payload: u16,
    /// The high bits of the response code.
    pub(crate) rcode: u8,
    pub(crate) version: u8,
    pub(crate) flags: u16,
    pub(crate) options: Options<'m>,
}

/// EDNS options, one after the other; each is a code, a length, and as many bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Options<'m>(&'m [u8]);

/// A message ends too early, or what should be a name is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the message cannot be read")]
pub(crate) struct Unreadable;

impl<'m> Message<'m> {
    pub(crate) fn new(bytes: &'m [u8]) -> Option<Self> {
        Some(Self { bytes, header: bytes.first_chunk()? })
    }

    fn field(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.header[at], self.header[at + 1]])
    }

    pub(crate) fn id(&self) -> u16 {
        self.field(0)
    }

    pub(crate) fn flags(&self) -> u16 {
        self.field(2)
    }

    /// Whether it is a query with the opcode QUERY.
    pub(crate) fn is_query(&self) -> bool {
        self.flags() & (flags::QR | flags::OPCODE) == 0
    }

    /// Whether it is a response to one.
    pub(crate) fn is_response(&self) -> bool {
        self.flags() & (flags::QR | flags::OPCODE) == flags::QR
    }

    pub(crate) fn is_truncated(&self) -> bool {
        self.flags() & flags::TC != 0
    }

    /// The response code, without the bits that EDNS adds.
    pub(crate) fn rcode(&self) -> u16 {
        self.flags() & flags::RCODE
    }

    /// How many questions the header tells of.
    pub(crate) fn questions(&self) -> u16 {
        self.field(4)
    }

    /// How many records the header tells of.
    pub(crate) fn count(&self, section: Section) -> u16 {
        self.field(section.count_at())
    }

    /// The name behind the header, if it is written out.
    pub(crate) fn plain_name(&self) -> Option<&'m [u8]> {
        let body = &self.bytes[HEADER_BYTES..];
        body.get(..compressed::plain_len(body)?)
    }

    /// The question, if it is the only one and can be read. Its name is not compressed: there is nothing before it.
    pub(crate) fn question(&self) -> Option<Question<'m>> {
        if self.questions() != 1 {
            return None;
        }
        let bytes = self.bytes[HEADER_BYTES..].get(..self.plain_name()?.len() + QUESTION_TAIL_BYTES)?;
        let &[type_0, type_1, class_0, class_1] = bytes.last_chunk()?;
        let qtype = u16::from_be_bytes([type_0, type_1]);
        Some(Question { bytes, qtype, qclass: u16::from_be_bytes([class_0, class_1]) })
    }

    /// Where the records begin. Questions may be compressed, and as many as the header says.
    fn records_at(&self) -> Option<usize> {
        let mut at = HEADER_BYTES;
        for _ in 0..self.questions() {
            at = compressed::skip(self.bytes, at)? + QUESTION_TAIL_BYTES;
        }
        (at <= self.bytes.len()).then_some(at)
    }

    /// The records of all sections in their order, up to the first that cannot be read. Where the questions before them
    /// cannot, that is the first.
    pub(crate) fn records(&self) -> Records<'m> {
        let sections = [Section::Answer, Section::Authority, Section::Additional];
        let mut left = sections.map(|section| (section, self.count(section)));
        let at = self.records_at();
        if at.is_none() {
            left[0].1 = 1;
        }
        Records { message: self.bytes, at, left }
    }

    /// The record at a place where one begins.
    pub(crate) fn record_at(&self, at: usize, section: Section) -> Option<Record<'m>> {
        Record::read(self.bytes, at, section)
    }

    /// The OPT record: the first one of the additional section whose owner is the root, which it must be.
    pub(crate) fn opt(&self) -> Option<Opt<'m>> {
        if self.count(Section::Additional) == 0 {
            return None;
        }
        let is_opt = |record: &Record<'_>| record.section == Section::Additional && record.is_opt();
        self.records().map_while(Result::ok).find(is_opt).map(|record| record.as_opt())
    }

    /// Its options, none if there is no such record.
    pub(crate) fn options(&self) -> Options<'m> {
        self.opt().map_or(Options(&[]), |opt| opt.options)
    }
}

/// Iterator over the records of a message.
#[derive(Clone, Debug)]
pub(crate) struct Records<'m> {
    message: &'m [u8],
    /// Where the next one begins; `None` behind one that cannot be read.
    at: Option<usize>,
    left: [(Section, u16); 3],
}

impl<'m> Iterator for Records<'m> {
    type Item = Result<Record<'m>, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        let (section, left) = self.left.iter_mut().find(|(_, left)| *left > 0)?;
        *left -= 1;
        let read = self.at.and_then(|at| Record::read(self.message, at, *section));
        if read.is_none() {
            self.left.iter_mut().for_each(|(_, left)| *left = 0);
        }
        self.at = read.as_ref().map(|record| record.data_at.end);
        Some(read.ok_or(Unreadable))
    }
}

impl<'m> Record<'m> {
    fn read(message: &'m [u8], owner_at: usize, section: Section) -> Option<Self> {
        let tail_at = compressed::skip(message, owner_at)?;
        let tail: &[u8; RECORD_TAIL_BYTES] = message.get(tail_at..)?.first_chunk()?;
        let start = tail_at + RECORD_TAIL_BYTES;
        let end = start + usize::from(u16::from_be_bytes([tail[8], tail[9]]));
        (end <= message.len()).then_some(Self {
            section,
            rtype: u16::from_be_bytes([tail[0], tail[1]]),
            class: u16::from_be_bytes([tail[2], tail[3]]),
            ttl: [tail[4], tail[5], tail[6], tail[7]],
            data_at: start..end,
            message,
            owner_at,
        })
    }

    /// The whole record as it came.
    pub(crate) fn bytes(&self) -> &'m [u8] {
        &self.message[self.owner_at..self.data_at.end]
    }

    /// Where it begins in the message.
    pub(crate) fn starts_at(&self) -> usize {
        self.owner_at
    }

    /// Its data as they came.
    pub(crate) fn data(&self) -> &'m [u8] {
        &self.message[self.data_at.clone()]
    }

    /// Its data from that place of the message on.
    pub(crate) fn data_from(&self, at: usize) -> Option<&'m [u8]> {
        self.message.get(at..self.data_at.end)
    }

    /// Appends the name at that place of its data to `wire`, read through pointers.
    pub(crate) fn read_name(&self, at: usize, wire: &mut Vec<u8>) -> Result<NameRead, NoName> {
        compressed::read(self.message, at, self.data_at.end, wire)
    }

    /// Its owner, read through pointers.
    pub(crate) fn owner(&self) -> Result<Dname, Unreadable> {
        let mut wire = Vec::with_capacity(32);
        compressed::read(self.message, self.owner_at, self.message.len(), &mut wire).map_err(|_| Unreadable)?;
        Dname::from_wire(&wire).map_err(|_| Unreadable)
    }

    /// Whether it is an OPT record as they have to be (RFC 6891 §6.1.2).
    pub(crate) fn is_opt(&self) -> bool {
        self.rtype == rtype::OPT && self.message[self.owner_at] == 0
    }

    /// What an OPT record says.
    pub(crate) fn as_opt(&self) -> Opt<'m> {
        let [rcode, version, flags_0, flags_1] = self.ttl;
        let flags = u16::from_be_bytes([flags_0, flags_1]);
        Opt { payload: self.class, rcode, version, flags, options: Options(self.data()) }
    }
}

impl<'m> Options<'m> {
    /// Their bytes as they came.
    pub(crate) fn as_bytes(self) -> &'m [u8] {
        self.0
    }

    /// Whether they end where the last one does (RFC 6891 §6.1.2).
    pub(crate) fn add_up(self) -> bool {
        let mut rest = self;
        rest.by_ref().for_each(drop);
        rest.0.is_empty()
    }

    /// The data of the first option with that code. Later ones do not count.
    pub(crate) fn first(self, code: u16) -> Option<&'m [u8]> {
        let mut options = self;
        options.find(|option| option.0 == code).map(|option| option.1)
    }
}

impl<'m> Iterator for Options<'m> {
    /// Code and data.
    type Item = (u16, &'m [u8]);

    /// `None` also before bytes that are no option, which stay.
    fn next(&mut self) -> Option<Self::Item> {
        let (&[code_0, code_1, len_0, len_1], rest) = self.0.split_first_chunk()?;
        let (data, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([len_0, len_1])))?;
        self.0 = rest;
        Some((u16::from_be_bytes([code_0, code_1]), data))
    }
}

#[cfg(test)]
mod tests;

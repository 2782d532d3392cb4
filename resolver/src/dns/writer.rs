//! Writes messages up to a size, in the order of their bytes. What does not fit is not written, and remembered.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::message::Section;
use crate::dns::{name::ancestors, rtype};

/// Bytes of code and length before the data of an option.
pub(crate) const OPTION_HEAD_BYTES: usize = 4;
/// How far pointers reach (RFC 1035 §4.1.4).
const POINTER_REACH: usize = 1 << 14;

/// Names that were written, and where, so that others can point to them or to their ends.
#[derive(Debug, Default)]
pub(crate) struct Names<'n>(HashMap<&'n [u8], usize, RandomState>);

impl<'n> Names<'n> {
    /// Notes a name that was written out at `at`, without its root byte.
    pub(crate) fn note(&mut self, name: &'n [u8], at: usize) {
        self.note_before(name, &[], at);
    }

    /// Writes a name, without its root byte, as short as it can be.
    pub(crate) fn put(&mut self, writer: &mut Writer<'_>, name: &'n [u8]) {
        let known = ancestors(name).find_map(|tail| Some((tail, *self.0.get(tail)?)));
        let tail = known.map_or(&[][..], |(tail, _)| tail);
        let at = writer.len();
        writer.put(&name[..name.len() - tail.len()]);
        match known {
            Some((_, at)) => writer.put_pointer(at),
            None => writer.put(&[0]),
        }
        self.note_before(name, tail, at);
    }

    /// Notes those ends of a name at `at` that were not there before, down to `tail`.
    fn note_before(&mut self, name: &'n [u8], tail: &[u8], at: usize) {
        for end in ancestors(name).take_while(|end| end.len() > tail.len()) {
            let end_at = at + name.len() - end.len();
            if end_at < POINTER_REACH {
                self.0.entry(end).or_insert(end_at);
            }
        }
    }
}

/// Writes one message, or a part of it.
#[derive(Debug)]
pub(crate) struct Writer<'o> {
    out: &'o mut [u8],
    at: usize,
    overflows: bool,
}

/// Writes a message of at most `max_bytes`; what does not fit makes it empty.
pub(crate) fn write(max_bytes: usize, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = vec![0; max_bytes];
    let mut writer = Writer::new(&mut bytes);
    write(&mut writer);
    let len = writer.finish().unwrap_or(0);
    bytes.truncate(len);
    bytes
}

impl<'o> Writer<'o> {
    pub(crate) fn new(out: &'o mut [u8]) -> Self {
        Self { out, at: 0, overflows: false }
    }

    /// The length of what was written; `None` if it was more than there is room for.
    pub(crate) fn finish(&self) -> Option<usize> {
        (!self.overflows).then_some(self.at)
    }

    /// The length of what was written so far.
    pub(crate) fn len(&self) -> usize {
        self.at
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        match self.out.get_mut(self.at..self.at + bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.at += bytes.len();
            }
            None => self.overflows = true,
        }
    }

    pub(crate) fn put_u16(&mut self, number: u16) {
        self.put(&number.to_be_bytes());
    }

    /// A header with no records yet; with a question if there are bytes of one.
    pub(crate) fn put_head(&mut self, id: u16, flags: u16, question: &[u8]) {
        self.put_u16(id);
        self.put_u16(flags);
        self.put_u16(u16::from(!question.is_empty()));
        self.put(&[0; 6]);
        self.put(question);
    }

    /// How many records of a section there are.
    pub(crate) fn set_count(&mut self, section: Section, count: u16) {
        if let Some(place) = self.out.get_mut(section.count_at()..).and_then(<[u8]>::first_chunk_mut) {
            *place = count.to_be_bytes();
        }
    }

    /// A pointer to the name that was written at `at`, which is among the first 16 KiB (RFC 1035 §4.1.4).
    pub(crate) fn put_pointer(&mut self, at: usize) {
        self.put_u16(0xc000 | at as u16);
    }

    /// Everything of a record of class IN but its owner.
    pub(crate) fn put_record(&mut self, rtype: u16, ttl_s: u32, data: &[u8]) {
        self.put_record_of(rtype, rtype::CLASS_IN, ttl_s, data);
    }

    /// The same of any class.
    pub(crate) fn put_record_of(&mut self, rtype: u16, class: u16, ttl_s: u32, data: &[u8]) {
        self.put_u16(rtype);
        self.put_u16(class);
        self.put(&ttl_s.to_be_bytes());
        self.put_u16(data.len() as u16);
        self.put(data);
    }

    /// The only additional record: an OPT record with at most one option.
    pub(crate) fn put_only_opt(&mut self, payload: u16, flags: u16, option: Option<(u16, &[u8])>) {
        self.put_opt(payload, 0, flags, option.as_slice());
        self.set_count(Section::Additional, 1);
    }

    /// An OPT record (RFC 6891 §6.1.2) of version 0, which says `payload`, `flags` and the high bits of a response code.
    pub(crate) fn put_opt(&mut self, payload: u16, rcode: u8, flags: u16, options: &[(u16, &[u8])]) {
        self.put(&[0]);
        self.put_u16(rtype::OPT);
        self.put_u16(payload);
        self.put(&[rcode, 0]);
        self.put_u16(flags);
        self.put_u16(options.iter().map(|(_, data)| OPTION_HEAD_BYTES + data.len()).sum::<usize>() as u16);
        for (code, data) in options {
            self.put_u16(*code);
            self.put_u16(data.len() as u16);
            self.put(data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{HEADER_BYTES, flags, message::Message, option};

    const QUESTION: &[u8] = b"\x01a\x03p2p\0\0\x01\0\x01";

    fn answer(writer: &mut Writer<'_>) {
        writer.put_head(0x1234, flags::QR | flags::AA, QUESTION);
        writer.put_pointer(HEADER_BYTES);
        writer.put_record(rtype::A, 60, &[192, 0, 2, 1]);
        writer.set_count(Section::Answer, 1);
        writer.put_opt(1_232, 1, flags::DO, &[(option::NSID, b""), (option::COOKIE, b"12345678")]);
        writer.set_count(Section::Additional, 1);
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = write(512, answer);
        let message = Message::new(&bytes).expect("a header");
        assert_eq!((message.id(), message.flags()), (0x1234, 0x8400));
        assert_eq!(message.question().map(|question| question.bytes), Some(QUESTION));
        let record = message.records().next().expect("a record").expect("readable");
        assert_eq!(
            (record.owner().map(|name| name.to_string()), record.data()),
            (Ok("a.p2p.".into()), &[192, 0, 2, 1][..])
        );
        let opt = message.opt().expect("EDNS");
        assert_eq!(
            (opt.payload, opt.flags, opt.options.first(option::COOKIE)),
            (1_232, flags::DO, Some(&b"12345678"[..]))
        );
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let whole = write(512, answer);
        assert_eq!(write(whole.len(), answer), whole);
        (0..whole.len()).for_each(|max_bytes| assert!(write(max_bytes, answer).is_empty(), "{max_bytes}"));
    }
}

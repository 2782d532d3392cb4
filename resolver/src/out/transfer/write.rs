//! Packs the records of a transfer into messages, one at a time (RFC 5936 §2.2).
//!
//! Each message repeats the question, so that every owner can point at the zone's name in it; records of one owner
//! point at the first of them.

use std::iter::Peekable;

use super::{request::Request, tsig::Signing, zone::ZoneRecord};
use crate::{
    dns::{HEADER_BYTES, flags, message::Section, writer::write},
    policy::guard::scan::Claims,
};

/// Bytes of a message before its signature. Pointers reach 16 KiB.
const MESSAGE_BYTES: usize = 16_000;

/// The messages of a transfer.
pub(super) struct Messages<I: Iterator<Item = ZoneRecord>> {
    id: u16,
    flags: u16,
    question: Vec<u8>,
    records: Peekable<I>,
    signing: Option<Signing>,
}

impl<I: Iterator<Item = ZoneRecord>> Messages<I> {
    pub(super) fn new(request: &Request, claims: Claims, records: I, signing: Option<Signing>) -> Self {
        let flags = flags::QR | flags::AA | request.flags | claims.flags() & flags::RA;
        let question = request.question.clone();
        Self { id: request.id, flags, question, records: records.peekable(), signing }
    }
}

impl<I: Iterator<Item = ZoneRecord>> Iterator for Messages<I> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        // A record that is longer than the others together comes alone.
        let first = HEADER_BYTES + self.question.len() + record_bytes(self.records.peek()?);
        let mut message = write(first.max(MESSAGE_BYTES), |writer| {
            writer.put_head(self.id, self.flags, &self.question);
            let (mut count, mut last): (u16, Option<(Vec<u8>, usize)>) = (0, None);
            while let Some(record) =
                self.records.next_if(|record| writer.len() + record_bytes(record) <= MESSAGE_BYTES || count == 0)
            {
                match &last {
                    Some((owner, at)) if *owner == record.owner => writer.put_pointer(*at),
                    _ => {
                        let at = writer.len();
                        writer.put(&record.owner);
                        writer.put_pointer(HEADER_BYTES);
                        last = Some((record.owner, at));
                    }
                }
                writer.put_record(record.rtype, record.ttl_s, &record.data);
                count += 1;
            }
            writer.set_count(Section::Answer, count);
        });
        if let Some(signing) = &mut self.signing {
            signing.sign(&mut message);
        }
        Some(message)
    }
}

fn record_bytes(record: &ZoneRecord) -> usize {
    record.owner.len() + 2 + 10 + record.data.len()
}

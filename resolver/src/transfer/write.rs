//! Packs the records of a transfer into messages, one at a time (RFC 5936 §2.2).
//!
//! Each message repeats the question, so that every owner can point at the zone's name in it; records of one owner
//! point at the first of them.

use std::iter::Peekable;

use super::{read::Request, tsig::Signing, zone::ZoneRecord};
use crate::{guard::scan::Claims, rtype};

/// Bytes of a message before its signature. Pointers reach 16 KiB.
const MESSAGE_BYTES: usize = 16_000;
/// A pointer to the name in the question.
const ZONE_POINTER: u16 = 0xc00c;
/// QR and AA.
const ANSWER_FLAGS: u8 = 0x84;

/// The messages of a transfer.
pub(super) struct Messages<I: Iterator<Item = ZoneRecord>> {
    head: Vec<u8>,
    records: Peekable<I>,
    signing: Option<Signing>,
}

impl<I: Iterator<Item = ZoneRecord>> Messages<I> {
    pub(super) fn new(request: &Request, claims: Claims, records: I, signing: Option<Signing>) -> Self {
        let [id_0, id_1] = request.id;
        let recursion_available = if claims.recursion_available { 0x80 } else { 0 };
        let header =
            [id_0, id_1, ANSWER_FLAGS | request.recursion_desired, recursion_available, 0, 1, 0, 0, 0, 0, 0, 0];
        Self { head: [&header[..], &request.question].concat(), records: records.peekable(), signing }
    }
}

impl<I: Iterator<Item = ZoneRecord>> Iterator for Messages<I> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        self.records.peek()?;
        let mut message = Vec::with_capacity(MESSAGE_BYTES + 512);
        message.extend_from_slice(&self.head);
        let (mut count, mut last): (u16, Option<(Vec<u8>, usize)>) = (0, None);
        while let Some(record) =
            self.records.next_if(|record| message.len() + record_bytes(record) <= MESSAGE_BYTES || count == 0)
        {
            match &last {
                Some((owner, at)) if *owner == record.owner => message.extend_from_slice(&pointer(*at)),
                _ => {
                    let at = message.len();
                    message.extend_from_slice(&record.owner);
                    message.extend_from_slice(&ZONE_POINTER.to_be_bytes());
                    last = Some((record.owner, at));
                }
            }
            message.extend_from_slice(&record.rtype.to_be_bytes());
            message.extend_from_slice(&rtype::CLASS_IN.to_be_bytes());
            message.extend_from_slice(&record.ttl_s.to_be_bytes());
            message.extend_from_slice(&(record.data.len() as u16).to_be_bytes());
            message.extend_from_slice(&record.data);
            count += 1;
        }
        message[6..8].copy_from_slice(&count.to_be_bytes());
        if let Some(signing) = &mut self.signing {
            signing.sign(&mut message);
        }
        Some(message)
    }
}

fn record_bytes(record: &ZoneRecord) -> usize {
    record.owner.len() + 2 + 10 + record.data.len()
}

fn pointer(at: usize) -> [u8; 2] {
    (0xc000 | at as u16).to_be_bytes()
}

//! The records of one name as the resolver keeps them: checked for shape, in one compact piece of memory.
//!
//! A [`RecordSet`] is made from the ledger's canonical [`Records`] when a block changes a name. Records whose data
//! would break an answer are left out then and counted, so that nothing has to be doubted while answering. The byte
//! layout is private and may change with any release: it is never stored or sent.

use bytes::{BufMut as _, Bytes};
use ledger::record::Records;

use crate::dns::{rdata, rtype};

/// Bytes before the owner and between owner and data: owner length, type, TTL, data length.
const FRAME_BYTES: usize = 1 + 2 + 4 + 2;

/// The servable records of one name, in the ledger's canonical order (owner bytes, type, data).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordSet(Bytes);

/// A [`RecordSet`] in memory that belongs to somebody else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordsRef<'a>(&'a [u8]);

/// One record of a [`RecordSet`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordRef<'a> {
    /// Owner below the name, in wire labels without the root byte; empty for the name itself.
    pub sub: &'a [u8],
    /// Type number.
    pub rtype: u16,
    /// Time to live in seconds, as the owner wishes it.
    pub ttl_s: u32,
    /// Wire form of the data.
    pub data: &'a [u8],
}

impl RecordSet {
    /// Takes every record that can be served.
    pub fn new(records: &Records) -> Self {
        let kept = records.as_slice().iter().filter(|r| is_servable(&r.sub, r.rtype, &r.rdata));
        let skipped = records.as_slice().len() - kept.clone().count();
        // Exact, so that the memory is taken over as it is.
        let length = 1 + kept.clone().map(|record| FRAME_BYTES + record.sub.len() + record.rdata.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(length);
        bytes.put_u8(u8::try_from(skipped).unwrap_or(u8::MAX));
        for record in kept {
            bytes.put_u8(record.sub.len() as u8);
            bytes.put_slice(&record.sub);
            bytes.put_u16(record.rtype);
            bytes.put_u32(record.ttl);
            bytes.put_u16(record.rdata.len() as u16);
            bytes.put_slice(&record.rdata);
        }
        Self(Bytes::from(bytes))
    }

    /// Takes back what [`RecordSet::as_bytes`] gave.
    pub(crate) fn from_bytes(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many records were left out because a client could not have read them.
    pub fn skipped(&self) -> u8 {
        self.0.first().copied().unwrap_or(0)
    }

    /// The records in order.
    pub fn iter(&self) -> impl Iterator<Item = RecordRef<'_>> + Clone {
        RecordsRef(&self.0).iter()
    }

    /// Shares the memory of `part`, which must come from this set.
    pub(crate) fn share(&self, part: &[u8]) -> Bytes {
        self.0.slice_ref(part)
    }
}

impl<'a> RecordsRef<'a> {
    /// Takes back what [`RecordSet::as_bytes`] gave.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The records in order.
    pub fn iter(&self) -> impl Iterator<Item = RecordRef<'a>> + Clone + use<'a> {
        let mut rest = self.0.get(1..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (record, tail) = read(rest)?;
            rest = tail;
            Some(record)
        })
    }
}

/// Well formed, and not of a type whose meaning at a wildcard is undefined (RFC 4592 §4.2, §4.4, §4.6).
fn is_servable(sub: &[u8], rtype: u16, data: &[u8]) -> bool {
    let at_wildcard = sub.starts_with(b"\x01*");
    let delegates = matches!(rtype, rtype::NS | rtype::DNAME | rtype::DS);
    rdata::is_well_formed(rtype, data) && !(at_wildcard && delegates)
}

fn read(bytes: &[u8]) -> Option<(RecordRef<'_>, &[u8])> {
    let sub_len = usize::from(*bytes.first()?);
    let (head, rest) = bytes.split_at_checked(FRAME_BYTES + sub_len)?;
    let (sub, frame) = head[1..].split_at(sub_len);
    let rtype = u16::from_be_bytes([frame[0], frame[1]]);
    let ttl_s = u32::from_be_bytes([frame[2], frame[3], frame[4], frame[5]]);
    let (data, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([frame[6], frame[7]])))?;
    Some((RecordRef { sub, rtype, ttl_s, data }, rest))
}

#[cfg(test)]
mod tests {
    use ledger::record::Record;

    use super::*;

    fn set(records: &[(&[u8], u16, &[u8])]) -> RecordSet {
        let records = records.iter().map(|(sub, rtype, rdata)| Record {
            sub: sub.to_vec(),
            rtype: *rtype,
            ttl: 300,
            rdata: rdata.to_vec(),
        });
        RecordSet::new(&Records::new(records.collect()).expect("canonical"))
    }

    #[test]
    fn what_goes_in_comes_out() {
        let set = set(&[(b"", rtype::A, b"abcd"), (b"\x03www", 65_280, b"")]);
        let records: Vec<_> = set.iter().collect();
        assert_eq!(records[0], RecordRef { sub: b"", rtype: rtype::A, ttl_s: 300, data: b"abcd" });
        assert_eq!(records[1], RecordRef { sub: b"\x03www", rtype: 65_280, ttl_s: 300, data: b"" });
        assert_eq!((records.len(), set.skipped()), (2, 0));
    }

    #[test]
    fn malformed_records_are_counted_not_kept() {
        let set = set(&[(b"", rtype::MX, b"x"), (b"\x01*", rtype::NS, b"\x01a\x00"), (b"", rtype::A, b"abcd")]);
        assert_eq!((set.iter().count(), set.skipped()), (1, 2));
    }

    #[test]
    fn damaged_bytes_end_the_list() {
        let bytes = set(&[(b"", rtype::A, b"abcd")]).0;
        for len in 0..bytes.len() {
            assert_eq!(RecordSet::from_bytes(bytes.slice(..len)).iter().count(), 0, "{len}");
        }
    }
}

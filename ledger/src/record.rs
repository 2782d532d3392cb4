//! DNS records as an entry carries them (protocol §4.5).
//!
//! A [`Records`] is a canonical byte string: sorted, unique, bounded. Consensus looks no further into it than this
//! file does. That a CNAME stands alone, that an MX target is a host and the like are for wallets and the resolver.

use std::fmt;

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer};

/// The longest encoding of a record set, in bytes.
pub const MAX_RECORDS_BYTES: usize = 1024;
/// The most records in a set.
pub const MAX_RECORDS: usize = 32;
/// The longest relative owner name, in wire bytes without the root.
pub const MAX_SUB_BYTES: usize = 63;
/// The longest record data, in bytes.
pub const MAX_RDATA_BYTES: usize = 512;
/// The shortest time to live, in seconds.
pub const MIN_TTL: u32 = 60;
/// The longest time to live, in seconds (one week).
pub const MAX_TTL: u32 = 604_800;

/// Record types that an entry may hold: mnemonic and IANA number, ascending by number.
pub const RECORD_TYPES: [(&str, u16); 19] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("LOC", 29),
    ("SRV", 33),
    ("NAPTR", 35),
    ("DNAME", 39),
    ("DS", 43),
    ("SSHFP", 44),
    ("TLSA", 52),
    ("SMIMEA", 53),
    ("OPENPGPKEY", 61),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("URI", 256),
    ("CAA", 257),
];

/// Private-use type numbers, allowed with opaque data.
pub const PRIVATE_TYPES: std::ops::RangeInclusive<u16> = 65_280..=65_534;

/// One record, relative to the name that holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Owner below the name in DNS wire labels without the root byte; empty for the name itself (the apex).
    pub sub: Vec<u8>,
    /// IANA type number.
    pub rtype: u16,
    /// Time to live, in seconds.
    pub ttl: u32,
    /// Uncompressed wire form of the data. Names inside it are absolute.
    pub rdata: Vec<u8>,
}

/// Why records cannot be held by an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// More than [`MAX_RECORDS`].
    #[error("at most {MAX_RECORDS} records are allowed, this has {0}")]
    TooMany(usize),
    /// The whole set is too long.
    #[error("a record set has at most {MAX_RECORDS_BYTES} bytes, this has {0}")]
    TooLong(usize),
    /// The owner is not a sequence of lower-case wire labels of at most 63 bytes.
    #[error("record {0}: the owner name is malformed, in upper case, or longer than {MAX_SUB_BYTES} bytes")]
    Sub(usize),
    /// A type that entries do not carry.
    #[error("record {0}: type {1} is not allowed")]
    Type(usize, u16),
    /// Time to live outside its bounds.
    #[error("record {0}: the TTL must be from {MIN_TTL} to {MAX_TTL} seconds")]
    Ttl(usize),
    /// Data too long, or an address of the wrong length.
    #[error("record {0}: the data has the wrong length")]
    Rdata(usize),
    /// Not strictly ascending by owner, type and data.
    #[error("record {0}: out of order, or the same as the one before")]
    Order(usize),
}

/// A canonical set of records.
#[derive(Clone, PartialEq, Eq)]
pub struct Records(Vec<Record>);

impl Records {
    /// The set without a record; its bytes are `00`.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// Sorts and checks `records`.
    pub fn new(mut records: Vec<Record>) -> Result<Self, RecordError> {
        records.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
        Self::from_sorted(records)
    }

    fn from_sorted(records: Vec<Record>) -> Result<Self, RecordError> {
        if records.len() > MAX_RECORDS {
            return Err(RecordError::TooMany(records.len()));
        }
        for (index, record) in records.iter().enumerate() {
            check(index, record)?;
            if index > 0 && sort_key(&records[index - 1]) >= sort_key(record) {
                return Err(RecordError::Order(index));
            }
        }
        let set = Self(records);
        match set.byte_len() {
            0..=MAX_RECORDS_BYTES => Ok(set),
            long => Err(RecordError::TooLong(long)),
        }
    }

    /// The records, ascending by owner bytes, type and data.
    pub fn as_slice(&self) -> &[Record] {
        &self.0
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Length of the encoding, in bytes.
    pub fn byte_len(&self) -> usize {
        1 + self.0.iter().map(|r| 9 + r.sub.len() + r.rdata.len()).sum::<usize>()
    }

    /// Reads the content of a records field, all of `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let count = r.u8("record count")?;
        let mut records = Vec::with_capacity(usize::from(count).min(MAX_RECORDS));
        for _ in 0..count {
            records.push(Record {
                sub: r.b8(MAX_SUB_BYTES, "record owner")?.to_vec(),
                rtype: r.u16("record type")?,
                ttl: r.u32("record ttl")?,
                rdata: r.b16(MAX_RDATA_BYTES, "record data")?.to_vec(),
            });
        }
        r.finish()?;
        Self::from_sorted(records).map_err(|_| DecodeError::Invalid("records"))
    }

    /// The content of a records field, without its length.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(self.byte_len());
        w.u8(self.0.len() as u8);
        for record in &self.0 {
            w.b8(&record.sub).u16(record.rtype).u32(record.ttl).b16(&record.rdata);
        }
        w.finish()
    }
}

impl Default for Records {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl Encode for Records {
    fn encode(&self, w: &mut Writer) {
        w.b16(&self.to_bytes());
    }
}

impl Decode for Records {
    const MAX_BYTES: usize = 2 + MAX_RECORDS_BYTES;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_bytes(r.b16(MAX_RECORDS_BYTES, "records")?)
    }
}

/// Number of a type mnemonic (`"AAAA"`, or `"TYPE65280"` for the private range), whatever its case.
pub fn type_number(mnemonic: &str) -> Option<u16> {
    let upper = mnemonic.to_ascii_uppercase();
    if let Some(number) = upper.strip_prefix("TYPE").and_then(|digits| digits.parse().ok()) {
        return is_allowed_type(number).then_some(number);
    }
    RECORD_TYPES.iter().find(|(name, _)| *name == upper).map(|(_, number)| *number)
}

/// Mnemonic of a type number, in the generic form of RFC 3597 where it has none here.
pub fn type_mnemonic(number: u16) -> String {
    match RECORD_TYPES.iter().find(|(_, n)| *n == number) {
        Some((name, _)) => (*name).to_owned(),
        None => format!("TYPE{number}"),
    }
}

/// Whether entries may carry records of this type.
pub fn is_allowed_type(number: u16) -> bool {
    PRIVATE_TYPES.contains(&number) || RECORD_TYPES.binary_search_by_key(&number, |(_, n)| *n).is_ok()
}

fn sort_key(record: &Record) -> (&[u8], u16, &[u8]) {
    (&record.sub, record.rtype, &record.rdata)
}

fn check(index: usize, record: &Record) -> Result<(), RecordError> {
    if !sub_is_wire_labels(&record.sub) {
        return Err(RecordError::Sub(index));
    }
    if !is_allowed_type(record.rtype) {
        return Err(RecordError::Type(index, record.rtype));
    }
    if !(MIN_TTL..=MAX_TTL).contains(&record.ttl) {
        return Err(RecordError::Ttl(index));
    }
    let length_fits = match record.rtype {
        1 => record.rdata.len() == 4,
        28 => record.rdata.len() == 16,
        _ => record.rdata.len() <= MAX_RDATA_BYTES,
    };
    if length_fits { Ok(()) } else { Err(RecordError::Rdata(index)) }
}

/// Whole labels of 1–63 bytes without A–Z, `*` only as the whole first label, at most [`MAX_SUB_BYTES`] in all.
fn sub_is_wire_labels(sub: &[u8]) -> bool {
    let mut rest = sub;
    while let Some((&len, tail)) = rest.split_first() {
        let len = usize::from(len);
        if len == 0 || len > 63 || len > tail.len() || tail[..len].iter().any(u8::is_ascii_uppercase) {
            return false;
        }
        let is_first = rest.len() == sub.len();
        if &tail[..len] == b"*" && !is_first {
            return false;
        }
        rest = &tail[len..];
    }
    sub.len() <= MAX_SUB_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sub: &[u8], rtype: u16, rdata: &[u8]) -> Record {
        Record { sub: sub.to_vec(), rtype, ttl: 3600, rdata: rdata.to_vec() }
    }

    #[test]
    fn a_set_is_sorted_and_round_trips() {
        let set = Records::new(vec![record(b"\x03www", 1, &[127, 0, 0, 1]), record(b"", 16, b"\x02hi")]).expect("fits");
        assert_eq!(set.as_slice()[0].rtype, 16);
        assert_eq!(Records::from_bytes(&set.to_bytes()), Ok(set.clone()));
        assert_eq!(set.to_bytes().len(), set.byte_len());
    }

    #[test]
    fn each_bound_is_refused_and_its_neighbour_is_not() {
        let ok = |r: Record| Records::new(vec![r]).map(|_| ());
        assert_eq!(ok(record(b"", 1, &[0; 4])), Ok(()));
        assert_eq!(ok(record(b"", 1, &[0; 5])), Err(RecordError::Rdata(0)));
        assert_eq!(ok(record(b"", 28, &[0; 16])), Ok(()));
        assert_eq!(ok(record(b"", 28, &[0; 4])), Err(RecordError::Rdata(0)));
        assert_eq!(ok(record(b"", 16, &[0; 512])), Ok(()));
        assert_eq!(ok(record(b"", 16, &[0; 513])), Err(RecordError::Rdata(0)));
        assert_eq!(ok(record(b"", 6, b"")), Err(RecordError::Type(0, 6)));
        assert_eq!(ok(record(b"", 65_535, b"")), Err(RecordError::Type(0, 65_535)));
        assert_eq!(ok(record(b"", 65_534, b"")), Ok(()));
        assert_eq!(ok(record(b"\x01A", 16, b"")), Err(RecordError::Sub(0)));
        assert_eq!(ok(record(b"\x01*\x01a", 16, b"")), Ok(()));
        assert_eq!(ok(record(b"\x01a\x01*", 16, b"")), Err(RecordError::Sub(0)));
        assert_eq!(ok(record(b"\x05a", 16, b"")), Err(RecordError::Sub(0)));
        assert_eq!(ok(Record { ttl: 59, ..record(b"", 16, b"") }), Err(RecordError::Ttl(0)));
        assert_eq!(ok(Record { ttl: 604_801, ..record(b"", 16, b"") }), Err(RecordError::Ttl(0)));
        let twice = vec![record(b"", 16, b""), Record { ttl: 60, ..record(b"", 16, b"") }];
        assert_eq!(Records::new(twice), Err(RecordError::Order(1)));
        let many = (0..33u8).map(|i| record(b"", 16, &[i])).collect();
        assert_eq!(Records::new(many), Err(RecordError::TooMany(33)));
        let long = vec![record(b"", 16, &[0; 512]), record(b"", 16, &[1; 512])];
        assert_eq!(Records::new(long), Err(RecordError::TooLong(1043)));
    }

    #[test]
    fn mnemonics() {
        assert_eq!(type_number("aaaa"), Some(28));
        assert_eq!(type_number("TYPE65280"), Some(65_280));
        assert_eq!(type_number("SOA"), None);
        assert_eq!(type_mnemonic(257), "CAA");
    }
}

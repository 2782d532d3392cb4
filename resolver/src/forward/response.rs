//! What an upstream sends, read over its bytes. The only reader of responses.
//!
//! Record data passes as bytes: a forwarder is no judge of it (RFC 3597 §3). Names inside the types that may be compressed
//! (RFC 3597 §4) are written out; nothing else is touched, and data that has not the form of its type passes as it is.
//!
//! Bounded: pointers lead backwards, at most [`MAX_POINTERS`] for a name; at most [`MAX_RECORDS`] records. Of the
//! additional section only the OPT record is looked for, and damage there does no harm.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    Question,
    request::{HEADER_BYTES, Request},
};
use crate::{
    answer::{Ede, EdeCode},
    dname::{Dname, MAX_LABEL_BYTES, MAX_NAME_BYTES, ancestors, ends_with_labels},
    rtype,
};

/// The most records that are read: as many addresses as fit into a message. More is an attack.
const MAX_RECORDS: usize = 4_096;
/// The most pointers of one name.
const MAX_POINTERS: usize = 64;
/// Largest TTL (RFC 2181 §8); what is above counts as 0.
const MAX_TTL_S: u32 = i32::MAX as u32;
/// The longest text of an extended error that is passed on, in bytes.
const MAX_EDE_TEXT_BYTES: usize = 200;
/// Number of the extended-error option (RFC 8914 §2).
const EDE_OPTION: u16 = 15;
const QR: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const AA: u16 = 0x0400;
const TC: u16 = 0x0200;
const AD: u16 = 0x0020;

/// The code of success.
pub(super) const NOERROR: u16 = 0;
/// The codes of RFC 1035 §4.1.1 and RFC 6891 §9 that upstreams fail with.
pub(super) const FORMERR: u16 = 1;
pub(super) const SERVFAIL: u16 = 2;
pub(super) const NXDOMAIN: u16 = 3;
pub(super) const NOTIMP: u16 = 4;
pub(super) const REFUSED: u16 = 5;
/// A name that a DNAME makes too long (RFC 6672 §2.2).
pub(super) const YXDOMAIN: u16 = 6;
pub(super) const BADVERS: u16 = 16;

/// The beginning of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) id: u16,
    flags: u16,
    counts: [u16; 4],
}

/// Whether a response repeats the question (RFC 5452 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Repeats {
    Exactly,
    /// With letters of another case.
    OtherCase,
    /// There is no question section.
    Absent,
    Other,
}

/// A whole response.
#[derive(Clone, Debug, Default)]
pub(super) struct Response {
    /// Response code, with the high bits of EDNS.
    pub(super) rcode: u16,
    pub(super) authoritative: bool,
    pub(super) authentic_data: bool,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    /// Whether there is an OPT record.
    pub(super) has_edns: bool,
    /// Why the upstream has failed, in its own words.
    pub(super) ede: Option<Ede>,
}

/// One record, data without compression.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub(super) owner: Dname,
    pub(super) rtype: u16,
    pub(super) class: u16,
    pub(super) ttl_s: u32,
    pub(super) data: Bytes,
}

/// The message ends too early, or its names are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the response cannot be read")]
pub(super) struct Unreadable;

impl Header {
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let head = message.get(..HEADER_BYTES)?;
        let field = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        Some(Self { id: field(0), flags: field(2), counts: [4, 6, 8, 10].map(field) })
    }

    /// Whether it is a response to a query.
    pub(super) fn is_response(&self) -> bool {
        self.flags & QR != 0 && self.flags & OPCODE == 0
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.flags & TC != 0
    }

    /// The low bits of the response code.
    pub(super) fn rcode(&self) -> u16 {
        self.flags & 15
    }
}

/// Whether `message` repeats the question of `request`.
pub(super) fn repeats(header: &Header, message: &[u8], request: &Request) -> Repeats {
    let asked = request.question();
    let came = message.get(HEADER_BYTES..HEADER_BYTES + asked.len());
    let fixed = asked.len() - 4;
    match (header.counts[0], came) {
        (0, _) => Repeats::Absent,
        (1, Some(came)) if came == asked => Repeats::Exactly,
        // Length bytes are below all letters, so this compares names.
        (1, Some(came)) if came[fixed..] == asked[fixed..] && came.eq_ignore_ascii_case(asked) => Repeats::OtherCase,
        _ => Repeats::Other,
    }
}

impl Response {
    /// A response of a code and nothing else.
    pub(super) fn bare(rcode: u16) -> Self {
        Self { rcode, ..Self::default() }
    }

    /// Reads a message that answers `question`.
    pub(super) fn read(message: &[u8], question: &Question) -> Result<Self, Unreadable> {
        let header = Header::read(message).ok_or(Unreadable)?;
        let mut reader = Reader { message, at: HEADER_BYTES, question, left: MAX_RECORDS };
        for _ in 0..header.counts[0] {
            reader.name()?;
            reader.take(4)?;
        }
        let flag = |bit| header.flags & bit != 0;
        let mut response = Self {
            rcode: header.rcode(),
            authoritative: flag(AA),
            authentic_data: flag(AD),
            answers: reader.section(header.counts[1])?,
            authorities: reader.section(header.counts[2])?,
            ..Self::default()
        };
        response.read_edns(reader, header.counts[3]);
        Ok(response)
    }

    fn read_edns(&mut self, mut reader: Reader<'_>, count: u16) {
        for _ in 0..count {
            let Ok(record) = reader.record() else { return };
            if record.rtype == rtype::OPT {
                self.has_edns = true;
                // The TTL's first byte extends the code (RFC 6891 §6.1.3). It is not a time: nothing capped it.
                self.rcode |= u16::from(record.raw_ttl[0]) << 4;
                self.ede = extended_error(&record.data);
                return;
            }
        }
    }

    /// Whether the upstream will not, or could not, answer.
    pub(super) fn is_refusal(&self) -> bool {
        !matches!(self.rcode, NOERROR | NXDOMAIN | YXDOMAIN)
    }

    /// Drops what a server says about names outside the zone that it speaks for.
    pub(super) fn keep_within(&mut self, zone: &Dname) {
        self.answers.retain(|record| record.owner.is_within(zone));
        self.authorities.retain(|record| record.owner.is_within(zone));
    }

    /// Whether this is no answer but a hint to others: name servers without the SOA that an absence has, from somebody
    /// who does not speak for the zone (RFC 2308 §2.2).
    pub(super) fn is_referral(&self) -> bool {
        let has = |rtype| self.authorities.iter().any(|record| record.rtype == rtype);
        self.rcode == NOERROR && self.answers.is_empty() && !self.authoritative && has(rtype::NS) && !has(rtype::SOA)
    }
}

/// A record as it is read; the TTL may be something else.
struct RawRecord {
    owner: Dname,
    rtype: u16,
    class: u16,
    raw_ttl: [u8; 4],
    data: Bytes,
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
    question: &'a Question,
    // Records that may still be read.
    left: usize,
}

impl Reader<'_> {
    fn section(&mut self, count: u16) -> Result<Vec<Record>, Unreadable> {
        // Not as many as the header says: it may lie.
        let mut records = Vec::new();
        for _ in 0..count {
            let raw = self.record()?;
            let ttl_s = u32::from_be_bytes(raw.raw_ttl);
            let ttl_s = if ttl_s > MAX_TTL_S { 0 } else { ttl_s };
            records.push(Record { owner: raw.owner, rtype: raw.rtype, class: raw.class, ttl_s, data: raw.data });
        }
        Ok(records)
    }

    fn record(&mut self) -> Result<RawRecord, Unreadable> {
        self.left = self.left.checked_sub(1).ok_or(Unreadable)?;
        let owner = self.name()?;
        let fixed: [u8; 10] = self.take(10)?.try_into().map_err(|_| Unreadable)?;
        let rtype = u16::from_be_bytes([fixed[0], fixed[1]]);
        let start = self.at;
        self.take(usize::from(u16::from_be_bytes([fixed[8], fixed[9]])))?;
        let data = data(self.message, start..self.at, rtype, self.question)?;
        let raw_ttl = [fixed[4], fixed[5], fixed[6], fixed[7]];
        Ok(RawRecord { owner, rtype, class: u16::from_be_bytes([fixed[2], fixed[3]]), raw_ttl, data })
    }

    fn name(&mut self) -> Result<Dname, Unreadable> {
        let mut wire = Vec::with_capacity(32);
        let read = name(self.message, self.at, self.message.len(), &mut wire).map_err(|_| Unreadable)?;
        self.at = read.next;
        Dname::from_wire(&wire).map_err(|_| Unreadable)
    }

    fn take(&mut self, count: usize) -> Result<&[u8], Unreadable> {
        let bytes = self.message.get(self.at..self.at + count).ok_or(Unreadable)?;
        self.at += count;
        Ok(bytes)
    }
}

/// What was learnt from reading a name.
struct NameRead {
    /// Where the bytes behind it are.
    next: usize,
    is_compressed: bool,
}

/// Not a name; whether it got as far as a pointer.
struct NoName {
    is_compressed: bool,
}

/// Appends the name at `at` to `wire`, uncompressed and in its own letters. Up to its first pointer it lies before `end`.
fn name(message: &[u8], mut at: usize, mut end: usize, wire: &mut Vec<u8>) -> Result<NameRead, NoName> {
    let start = wire.len();
    let (mut next, mut pointers, mut lowest) = (None, 0, at);
    let fail = |next: Option<usize>| Err(NoName { is_compressed: next.is_some() });
    loop {
        let Some(&len) = message.get(at).filter(|_| at < end) else { return fail(next) };
        match usize::from(len) {
            0 => break,
            len @ 1..=MAX_LABEL_BYTES => {
                let Some(label) = message.get(at..=at + len).filter(|_| at + len < end) else { return fail(next) };
                wire.extend_from_slice(label);
                at += 1 + len;
            }
            high if high & 0xc0 == 0xc0 => {
                let Some(&low) = message.get(at + 1).filter(|_| at + 1 < end) else { return fail(next) };
                next = next.or(Some(at + 2));
                at = (high & 0x3f) << 8 | usize::from(low);
                pointers += 1;
                // Only backwards, so it comes to an end; not into the header.
                if at >= lowest || at < HEADER_BYTES || pointers > MAX_POINTERS {
                    return fail(next);
                }
                (lowest, end) = (at, message.len());
            }
            _ => return fail(next),
        }
        if wire.len() - start >= MAX_NAME_BYTES {
            return fail(next);
        }
    }
    wire.push(0);
    Ok(NameRead { next: next.unwrap_or(at + 1), is_compressed: next.is_some() })
}

/// A part of record data in front of or between names.
#[derive(Clone, Copy)]
enum Part {
    Name,
    Bytes(usize),
    /// A length and as many bytes.
    String,
}

/// The types whose names may be compressed (RFC 3597 §4), up to their last name.
fn parts(rtype: u16) -> &'static [Part] {
    use Part::{Bytes, Name, String};
    match rtype {
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, NXT.
        2..=5 | 7..=9 | 12 | 30 => &[Name],
        // SOA, MINFO, RP.
        6 | 14 | 17 => &[Name, Name],
        // MX, AFSDB, RT.
        15 | 18 | 21 => &[Bytes(2), Name],
        // SIG.
        24 => &[Bytes(18), Name],
        // PX.
        26 => &[Bytes(2), Name, Name],
        rtype::SRV => &[Bytes(6), Name],
        rtype::NAPTR => &[Bytes(4), String, String, String, Name],
        _ => &[],
    }
}

/// Record data with its names written out. What has not the form of its type stays as it is, unless it points elsewhere.
fn data(message: &[u8], place: std::ops::Range<usize>, rtype: u16, question: &Question) -> Result<Bytes, Unreadable> {
    let (raw, end) = (Bytes::copy_from_slice(&message[place.clone()]), place.end);
    let mut at = place.start;
    let (mut out, mut is_compressed) = (Vec::new(), false);
    for part in parts(rtype) {
        let size = match part {
            Part::Name => {
                let start = out.len();
                match name(message, at, end, &mut out) {
                    Ok(read) => {
                        if read.is_compressed {
                            settle_case(&mut out[start..], &question.name);
                        }
                        is_compressed |= read.is_compressed;
                        at = read.next;
                        continue;
                    }
                    Err(failed) if failed.is_compressed || is_compressed => return Err(Unreadable),
                    Err(_) => return Ok(raw),
                }
            }
            Part::Bytes(size) => *size,
            Part::String => message.get(at).map_or(0, |len| 1 + usize::from(*len)),
        };
        match message.get(at..at + size).filter(|_| at + size <= end && size > 0) {
            Some(bytes) => out.extend_from_slice(bytes),
            None if is_compressed => return Err(Unreadable),
            None => return Ok(raw),
        }
        at += size;
    }
    if !is_compressed {
        return Ok(raw);
    }
    out.extend_from_slice(&message[at..end]);
    Ok(Bytes::from(out.into_boxed_slice()))
}

/// A name that was compressed against the question has its letters, which are random: what they share is lower-cased.
fn settle_case(name: &mut [u8], question: &Dname) {
    let lower = name.to_ascii_lowercase();
    let (lower, end) = (&lower[..lower.len() - 1], name.len() - 1);
    let asked = question.as_wire();
    let shared = ancestors(&asked[..asked.len() - 1]).find(|tail| ends_with_labels(lower, tail)).unwrap_or_default();
    name[end - shared.len()..end].copy_from_slice(shared);
}

/// The extended error among options.
fn extended_error(mut options: &[u8]) -> Option<Ede> {
    loop {
        let (head, rest) = options.split_at_checked(4)?;
        let (data, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([head[2], head[3]])))?;
        if u16::from_be_bytes([head[0], head[1]]) != EDE_OPTION {
            options = rest;
            continue;
        }
        let (code, text) = data.split_at_checked(2)?;
        let code = EdeCode::from_number(u16::from_be_bytes([code[0], code[1]]))?;
        let text = text.get(..MAX_EDE_TEXT_BYTES).unwrap_or(text);
        let text: String = String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).collect();
        return Some(Ede { code, text: Cow::Owned(format!("upstream: {text}")) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        let name = "www.example".parse().expect("a name");
        Question { name, qtype: rtype::A, dnssec_ok: false, checking_disabled: false, authority: None }
    }

    /// A response to the question, in letters of mixed case, whose question is at 12 and whose answers begin at 29.
    fn message(counts: [u16; 3], records: &[&[u8]]) -> Vec<u8> {
        let mut message = vec![0, 7, 0x81, 0xa0, 0, 1];
        counts.iter().for_each(|count| message.extend(count.to_be_bytes()));
        message.extend(b"\x03wWw\x07eXAmple\0\0\x01\0\x01");
        records.iter().for_each(|record| message.extend_from_slice(record));
        message
    }

    fn record(owner: &[u8], rtype: u16, ttl_s: u32, data: &[u8]) -> Vec<u8> {
        let len = (data.len() as u16).to_be_bytes();
        [owner, &rtype.to_be_bytes(), &[0, 1], &ttl_s.to_be_bytes(), &len, data].concat()
    }

    fn read(message: &[u8]) -> Result<Response, Unreadable> {
        Response::read(message, &question())
    }

    /// The data of the only answer.
    fn passed(rtype: u16, data: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let response = read(&message([1, 0, 0], &[&record(b"\xc0\x0c", rtype, 60, data)]))?;
        assert_eq!(response.answers[0].owner, question().name);
        Ok(response.answers[0].data.to_vec())
    }

    #[test]
    fn data_of_any_type_and_length_passes() {
        let https = |parameters: &[u8]| [b"\0\x01\0", parameters].concat();
        let odd: [(u16, Vec<u8>); 22] = [
            (257, b"\0\x10abcdefghijklmnop".to_vec()),
            (257, b"\0\x05a-tagx".to_vec()),
            (65, https(b"\0\x01\0\x03\x02\xff\xfe")),
            (65, https(b"\0\0\0\0")),
            (65, https(b"\0\x03\0\x03\x01\xbb\0")),
            (65, https(b"\0\x03\0\x02\x01\xbb\0\x01\0\x03\x02h2")),
            (65, https(b"\0\x04\0\x05\x09\x09\x09\x09\x09")),
            (64, b"\0\x01\xc0\x0c".to_vec()),
            (35, b"\0\x64\0\x0a\x02x-\0\0\x01a\x07example\0".to_vec()),
            (52, b"\x03\0".to_vec()),
            (37, b"\0\x06\0\0\0".to_vec()),
            (62, b"\0\0\0\x01\0\x07\0\x01\x40".to_vec()),
            (65_305, b"\xc0\x0c anything".to_vec()),
            (65_280, vec![]),
            (42, vec![]),
            (1, vec![]),
            (1, vec![9, 9, 9, 9, 9]),
            (5, vec![]),
            (15, b"\0\x0a".to_vec()),
            (6, b"\x01a\0".to_vec()),
            (33, b"\0\0\0".to_vec()),
            // Uncompressed names keep their letters, and what follows them stays.
            (15, b"\0\x0a\x04mAil\x07EXAMPLE\0tail".to_vec()),
        ];
        for (rtype, data) in odd {
            assert_eq!(passed(rtype, &data), Ok(data.clone()), "type {rtype}");
        }
    }

    #[test]
    fn names_are_written_out_where_they_may_be_compressed() {
        // 16 is "eXAmple" of the question: random letters do not come back.
        for (rtype, data, expected) in [
            (5, &b"\x03FTP\xc0\x10"[..], &b"\x03FTP\x07example\0"[..]),
            (2, b"\xc0\x0c", b"\x03www\x07example\0"),
            (12, b"\x02Pc\xc0\x10", b"\x02Pc\x07example\0"),
            (15, b"\0\x0a\x01m\xc0\x10", b"\0\x0a\x01m\x07example\0"),
            (6, b"\x02ns\xc0\x10\xc0\x10........", b"\x02ns\x07example\0\x07example\0........"),
            (33, b"\0\0\0\0\0\x01\xc0\x0c", b"\0\0\0\0\0\x01\x03www\x07example\0"),
            (35, b"\0\0\0\0\x01u\0\0\xc0\x0c", b"\0\0\0\0\x01u\0\0\x03www\x07example\0"),
            (24, b"0123456789abcdefgh\xc0\x0csignature", b"0123456789abcdefgh\x03www\x07example\0signature"),
            (26, b"\0\x01\xc0\x0c\xc0\x10", b"\0\x01\x03www\x07example\0\x07example\0"),
            // Not these.
            (39, b"\xc0\x0c", b"\xc0\x0c"),
            (46, b"0123456789abcdefgh\xc0\x0c", b"0123456789abcdefgh\xc0\x0c"),
        ] {
            assert_eq!(passed(rtype, data).as_deref(), Ok(expected), "type {rtype}");
        }
    }

    #[test]
    fn pointers_that_lead_nowhere() {
        // 41 is where the data begins: forwards, at itself, into the header, beyond the message, cut in half.
        for data in [&b"\xc0\x29"[..], b"\xc0\x40", b"\xc0\x0b", b"\xff\xff", b"\x01a\xc0\x29"] {
            assert_eq!(passed(5, data), Err(Unreadable), "{data:?}");
        }
        assert_eq!(passed(5, b"\xc0").as_deref(), Ok(&b"\xc0"[..]));
        assert_eq!(passed(6, b"\xc0\x0c\xc0"), Err(Unreadable));
        // As many pointers as a message can hold, each to the one before.
        let mut chain = b"\xc0\x0c".to_vec();
        (0..8_000u16).for_each(|i| chain.extend((0xc000 | (41 + 2 * i)).to_be_bytes()));
        let owner = (0xc000u16 | (41 + 16_000)).to_be_bytes();
        let two = [record(b"\xc0\x0c", 65_280, 60, &chain), record(&owner, 1, 60, &[9, 9, 9, 9])];
        assert!(read(&message([2, 0, 0], &[&two[0], &two[1]])).is_err());
        assert!(read(&message([1, 0, 0], &[&two[0]])).is_ok());
    }

    #[test]
    fn what_is_cut_or_lies_is_unreadable_but_for_the_end() {
        let address = record(b"\xc0\x0c", 1, u32::MAX, &[9, 9, 9, 9]);
        let whole = message([1, 0, 1], &[&address, &record(b"\0", 41, 0, b"\0\x0f\0\x06\0\x06bad\x07")]);
        let read_whole = read(&whole).expect("it is whole");
        assert_eq!((read_whole.answers[0].ttl_s, read_whole.has_edns), (0, true));
        assert_eq!(read_whole.ede.map(|ede| ede.text.into_owned()), Some("upstream: bad".to_owned()));
        let additional_at = whole.len() - 11 - 10;
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]).is_ok(), end >= additional_at, "{end}");
        }
        assert!(read(&message([2, 0, 0], &[&address])).is_err());
        assert!(read(&message([u16::MAX, u16::MAX, u16::MAX], &[&address])).is_err());
    }

    #[test]
    fn codes_above_15_come_with_edns() {
        let extended = message([0, 0, 1], &[&record(b"\0", 41, 0x0100_0000, b"")]);
        assert_eq!(read(&extended).expect("readable").rcode, 16);
    }

    #[test]
    fn a_referral_is_no_absence() {
        let ns = record(b"\xc0\x10", rtype::NS, 60, b"\x02ns\xc0\x10");
        let soa = record(b"\xc0\x10", rtype::SOA, 60, b"\0\0....................");
        let address = record(b"\xc0\x0c", 1, 60, &[9, 9, 9, 9]);
        for (message, expected) in [
            (message([0, 1, 0], &[&ns]), true),
            (message([0, 2, 0], &[&ns, &soa]), false),
            (message([1, 1, 0], &[&address, &ns]), false),
            (message([0, 0, 0], &[]), false),
        ] {
            assert_eq!(read(&message).expect("readable").is_referral(), expected);
            let mut authority = message.clone();
            authority[2] |= 4;
            assert!(!read(&authority).expect("readable").is_referral());
        }
    }
}

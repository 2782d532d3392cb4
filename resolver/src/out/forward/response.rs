//! What an upstream says.
//!
//! Record data passes as bytes: a forwarder is no judge of it (RFC 3597 §3). Names inside the types that may be compressed
//! (RFC 3597 §4) are written out; nothing else is touched, and data that has not the form of its type passes as it is.
//!
//! Bounded: at most [`MAX_RECORDS`] records are kept. Of the additional section only the OPT record is looked for, and in
//! referrals addresses, of which [`MAX_GLUE`] are kept; damage there does no harm.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Question, request::Request};
use crate::dns::{
    ede::{Ede, EdeCode},
    flags,
    message::{self, Message, QUESTION_TAIL_BYTES, Section, Unreadable},
    name::{Dname, ancestors, ends_with_labels},
    option, rtype,
};

/// The most records that are read: as many addresses as fit into a message. More is an attack.
const MAX_RECORDS: usize = 4_096;
/// The most addresses of a referral that are read: those of 32 name servers.
const MAX_GLUE: usize = 64;
/// Largest TTL (RFC 2181 §8); what is above counts as 0.
const MAX_TTL_S: u32 = i32::MAX as u32;
/// The longest text of an extended error that is passed on, in bytes.
const MAX_EDE_TEXT_BYTES: usize = 200;
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
    /// Addresses that come with a referral of delegated servers.
    pub(super) glue: Vec<Record>,
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

/// Whether `message` repeats the question of `request`.
pub(super) fn repeats(message: &Message<'_>, request: &Request) -> Repeats {
    let asked = request.question();
    let fixed = asked.len() - QUESTION_TAIL_BYTES;
    match (message.questions(), message.question()) {
        (0, _) => Repeats::Absent,
        (1, Some(came)) if came.bytes == asked => Repeats::Exactly,
        // Length bytes are below all letters, so this compares names.
        (1, Some(came)) if came.bytes.eq_ignore_ascii_case(asked) && came.bytes[fixed..] == asked[fixed..] => {
            Repeats::OtherCase
        }
        _ => Repeats::Other,
    }
}

impl Response {
    /// A response of a code and nothing else.
    pub(super) fn bare(rcode: u16) -> Self {
        Self { rcode, ..Self::default() }
    }

    /// Reads a message that answers `question`.
    pub(super) fn read(message: &Message<'_>, question: &Question) -> Result<Self, Unreadable> {
        let flag = |bit| message.flags() & bit != 0;
        let mut response = Self {
            rcode: message.rcode(),
            authoritative: flag(flags::AA),
            authentic_data: flag(flags::AD),
            ..Self::default()
        };
        let [answers, authorities] = [Section::Answer, Section::Authority].map(|section| message.count(section));
        let count = usize::from(answers) + usize::from(authorities);
        if count > MAX_RECORDS {
            return Err(Unreadable);
        }
        for record in message.records().take(count) {
            let record = record?;
            let section = match record.section {
                Section::Answer => &mut response.answers,
                _ => &mut response.authorities,
            };
            section.push(Record::read(&record, question)?);
        }
        if let Some(opt) = message.opt() {
            response.has_edns = true;
            response.rcode |= u16::from(opt.rcode) << 4;
            response.ede = opt.options.first(option::EDE).and_then(extended_error);
        }
        if question.authority.is_some() && response.is_referral() {
            let additional = message.records().skip(count).map_while(Result::ok);
            let is_address = |record: &message::Record<'_>| {
                matches!(record.rtype, rtype::A | rtype::AAAA) && record.class == rtype::CLASS_IN
            };
            let addresses = additional.filter(is_address).map_while(|record| Record::read(&record, question).ok());
            response.glue = addresses.take(MAX_GLUE).collect();
        }
        Ok(response)
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

impl Record {
    fn read(record: &message::Record<'_>, question: &Question) -> Result<Self, Unreadable> {
        let ttl_s = u32::from_be_bytes(record.ttl);
        Ok(Self {
            owner: record.owner()?,
            rtype: record.rtype,
            class: record.class,
            ttl_s: if ttl_s > MAX_TTL_S { 0 } else { ttl_s },
            data: data(record, question)?,
        })
    }
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
fn data(record: &message::Record<'_>, question: &Question) -> Result<Bytes, Unreadable> {
    let raw = Bytes::copy_from_slice(record.data());
    let mut at = record.data_at.start;
    let (mut out, mut is_compressed) = (Vec::new(), false);
    for part in parts(record.rtype) {
        let size = match part {
            Part::Name => {
                let start = out.len();
                match record.read_name(at, &mut out) {
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
            Part::String => record.data_from(at).and_then(<[u8]>::first).map_or(0, |len| 1 + usize::from(*len)),
        };
        match record.data_from(at).and_then(|rest| rest.get(..size)).filter(|_| size > 0) {
            Some(bytes) => out.extend_from_slice(bytes),
            None if is_compressed => return Err(Unreadable),
            None => return Ok(raw),
        }
        at += size;
    }
    if !is_compressed {
        return Ok(raw);
    }
    out.extend_from_slice(record.data_from(at).unwrap_or_default());
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

/// The extended error in the data of its option.
fn extended_error(data: &[u8]) -> Option<Ede> {
    let (code, text) = data.split_first_chunk()?;
    let code = EdeCode::from_number(u16::from_be_bytes(*code))?;
    let text = text.get(..MAX_EDE_TEXT_BYTES).unwrap_or(text);
    let text: String = String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).collect();
    Some(Ede { code, text: Cow::Owned(format!("upstream: {text}")) })
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
        Response::read(&Message::new(message).ok_or(Unreadable)?, &question())
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

//! Reads what a transfer request says, straight from its bytes.

use crate::{
    dname::{Dname, MAX_NAME_BYTES},
    rtype,
};

pub(super) use crate::envelope::be16;

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 12;
/// Bytes of type, class, TTL and data length.
const FRAME_BYTES: usize = 10;
/// Pointers in one name: as many as there can be labels (RFC 1035 §3.1). More is a way to make others work.
const MAX_POINTERS: usize = 127;
/// Bytes of the numbers of an SOA record.
const SOA_NUMBERS: usize = 20;

/// A request for a zone.
#[derive(Debug)]
pub(super) struct Request {
    /// The header's ID and first byte of flags.
    pub(super) id: [u8; 2],
    pub(super) recursion_desired: u8,
    /// The question as it came: never compressed.
    pub(super) question: Vec<u8>,
    pub(super) name: Dname,
    pub(super) kind: Kind,
}

/// What is asked for.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// All of it.
    Axfr,
    /// What changed since the version that the client has.
    Ixfr(ClientSoa),
    /// The same, but the version cannot be read.
    IxfrOfNothing,
}

/// The SOA record of an IXFR request.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct ClientSoa {
    pub(super) name_server: Dname,
    pub(super) mailbox: Dname,
    pub(super) serial: u32,
    /// Uncompressed, in the case that it came in.
    pub(super) data: Vec<u8>,
}

impl ClientSoa {
    /// Whether it says a serial and nothing else, as PowerDNS and `dig IXFR=n` do: RFC 1995 asks for no more.
    pub(super) fn is_bare(&self) -> bool {
        self.name_server == Dname::root() && self.mailbox == Dname::root()
    }
}

/// A record in a message.
pub(super) struct Record {
    pub(super) rtype: u16,
    pub(super) class: u16,
    pub(super) ttl_s: u32,
    /// Where its data begins.
    pub(super) data_at: usize,
    pub(super) end: usize,
}

/// Whether these bytes ask for a zone: a query with one question of type AXFR or IXFR in class IN.
pub(super) fn request(bytes: &[u8]) -> Option<Request> {
    let header = bytes.get(..HEADER_BYTES)?;
    let is_query = header[2] & 0xf8 == 0;
    if !is_query || header[4..6] != [0, 1] {
        return None;
    }
    let (name, rest) = Dname::split_wire(&bytes[HEADER_BYTES..]).ok()?;
    let (qtype, qclass) = (be16(rest, 0)?, be16(rest, 2)?);
    let after = bytes.len() - rest.len() + 4;
    let kind = match (qclass, qtype) {
        (rtype::CLASS_IN, rtype::AXFR) => Kind::Axfr,
        (rtype::CLASS_IN, rtype::IXFR) => client_soa(bytes, after, &name).map_or(Kind::IxfrOfNothing, Kind::Ixfr),
        _ => return None,
    };
    let question = bytes[HEADER_BYTES..after].to_vec();
    Some(Request { id: [header[0], header[1]], recursion_desired: header[2] & 1, question, name, kind })
}

/// The SOA record that opens the authority section (RFC 1995 §3).
fn client_soa(bytes: &[u8], at: usize, zone: &Dname) -> Option<ClientSoa> {
    if be16(bytes, 6)? != 0 || be16(bytes, 8)? == 0 {
        return None;
    }
    let (owner, _) = name(bytes, at)?;
    let soa = record(bytes, at)?;
    if soa.rtype != rtype::SOA || Dname::from_wire(&owner).ok()? != *zone {
        return None;
    }
    let (name_server, next) = name(bytes, soa.data_at)?;
    let (mailbox, next) = name(bytes, next)?;
    let numbers = bytes.get(next..soa.end).filter(|numbers| numbers.len() == SOA_NUMBERS)?;
    Some(ClientSoa {
        serial: u32::from_be_bytes(numbers[..4].try_into().ok()?),
        data: [&name_server, &mailbox, numbers].concat(),
        name_server: Dname::from_wire(&name_server).ok()?,
        mailbox: Dname::from_wire(&mailbox).ok()?,
    })
}

/// The record whose owner begins at `at`.
pub(super) fn record(bytes: &[u8], at: usize) -> Option<Record> {
    let at = skip_name(bytes, at)?;
    let frame = bytes.get(at..at + FRAME_BYTES)?;
    let data_at = at + FRAME_BYTES;
    let end = data_at + usize::from(be16(frame, 8)?);
    let ttl_s = u32::from_be_bytes(frame[4..8].try_into().ok()?);
    (end <= bytes.len()).then_some(Record { rtype: be16(frame, 0)?, class: be16(frame, 2)?, ttl_s, data_at, end })
}

/// The uncompressed form of the name at `at`, and where the bytes behind it begin. Pointers lead only backwards, and
/// there are at most [`MAX_POINTERS`].
pub(super) fn name(bytes: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut wire = Vec::new();
    let mut end = None;
    let mut pointers_left = MAX_POINTERS;
    loop {
        let length = *bytes.get(at)?;
        match length {
            0 => break,
            1..=63 => {
                wire.extend_from_slice(bytes.get(at..=at + usize::from(length))?);
                at += 1 + usize::from(length);
            }
            0xc0.. => {
                end.get_or_insert(at + 2);
                pointers_left = pointers_left.checked_sub(1)?;
                let target = usize::from(be16(bytes, at)? & 0x3fff);
                if target >= at {
                    return None;
                }
                at = target;
            }
            _ => return None,
        }
        if wire.len() >= MAX_NAME_BYTES {
            return None;
        }
    }
    wire.push(0);
    Some((wire, end.unwrap_or(at + 1)))
}

pub(super) fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IXFR: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\x01\0\0\x03P2P\0\0\xfb\0\x01\
        \xc0\x0c\0\x06\0\x01\0\0\0\0\0\x1d\x02ns\xc0\x0c\x01h\xc0\x0c\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    #[test]
    fn an_ixfr_request_is_read_through_its_pointers() {
        let request = request(IXFR).expect("a request");
        assert_eq!((request.id, request.recursion_desired), ([0x12, 0x34], 1));
        assert_eq!(
            (request.name.to_string(), &request.question[..]),
            ("p2p.".to_owned(), &b"\x03P2P\0\0\xfb\0\x01"[..])
        );
        let Kind::Ixfr(soa) = request.kind else { panic!("IXFR") };
        assert_eq!((soa.serial, soa.mailbox.to_string()), (7, "h.p2p.".to_owned()));
        assert!(soa.data.starts_with(b"\x02ns\x03P2P\0\x01h\x03P2P\0\0\0\0\x07"));
    }

    #[test]
    fn names_are_read_through_as_many_pointers_as_there_can_be_labels() {
        // Each label points to the one before, and then pointers to pointers.
        let mut bytes = b"\x01a\0".to_vec();
        let mut last = 0;
        for _ in 0..MAX_POINTERS {
            let at = bytes.len();
            bytes.extend_from_slice(&(0xc000 | last as u16).to_be_bytes());
            last = at;
        }
        assert_eq!(name(&bytes, last), Some((b"\x01a\0".to_vec(), bytes.len())));
        bytes.extend_from_slice(&(0xc000 | last as u16).to_be_bytes());
        assert_eq!(name(&bytes, last + 2), None);
    }

    #[test]
    fn what_is_cut_or_altered_tells_of_no_version_and_does_not_panic() {
        for len in 0..IXFR.len() {
            let kind = request(&IXFR[..len]).map(|request| request.kind);
            let expected = (len >= 21).then_some(Kind::IxfrOfNothing);
            assert_eq!(kind, expected, "{len}");
        }
        for at in 0..IXFR.len() {
            for value in [0, 1, 0x40, 0xc0, 0xff] {
                let mut altered = IXFR.to_vec();
                altered[at] = value;
                drop(request(&altered));
                drop(name(&altered, at));
            }
        }
    }
}

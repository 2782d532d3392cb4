//! What a transfer request asks for.

use crate::dns::{
    flags,
    message::{Message, Section},
    name::Dname,
    rtype,
};

/// Bytes of the numbers of an SOA record.
const SOA_NUMBERS: usize = 20;

/// A request for a zone.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: u16,
    /// Those flags of its header that come back.
    pub(super) flags: u16,
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

/// Whether these bytes ask for a zone: a query with one question of type AXFR or IXFR in class IN.
pub(super) fn request(bytes: &[u8]) -> Option<Request> {
    let message = Message::new(bytes).filter(Message::is_query)?;
    let question = message.question()?;
    let (name, _) = Dname::split_wire(question.bytes).ok()?;
    let kind = match (question.qclass, question.qtype) {
        (rtype::CLASS_IN, rtype::AXFR) => Kind::Axfr,
        (rtype::CLASS_IN, rtype::IXFR) => client_soa(&message, &name).map_or(Kind::IxfrOfNothing, Kind::Ixfr),
        _ => return None,
    };
    let flags = message.flags() & flags::RD;
    Some(Request { id: message.id(), flags, question: question.bytes.to_vec(), name, kind })
}

/// The SOA record that opens the authority section (RFC 1995 §3), and nothing is before it.
fn client_soa(message: &Message<'_>, zone: &Dname) -> Option<ClientSoa> {
    let soa = message.records().next()?.ok()?;
    if soa.section != Section::Authority || soa.rtype != rtype::SOA || soa.owner().ok()? != *zone {
        return None;
    }
    let mut data = Vec::new();
    let first = soa.read_name(soa.data_at.start, &mut data).ok()?;
    let mailbox_at = data.len();
    let second = soa.read_name(first.next, &mut data).ok()?;
    let numbers_at = data.len();
    data.extend_from_slice(soa.data_from(second.next)?);
    let numbers = data[numbers_at..].first_chunk().filter(|_| data.len() == numbers_at + SOA_NUMBERS)?;
    Some(ClientSoa {
        serial: u32::from_be_bytes(*numbers),
        name_server: Dname::from_wire(&data[..mailbox_at]).ok()?,
        mailbox: Dname::from_wire(&data[mailbox_at..numbers_at]).ok()?,
        data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const IXFR: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\x01\0\0\x03P2P\0\0\xfb\0\x01\
        \xc0\x0c\0\x06\0\x01\0\0\0\0\0\x1d\x02ns\xc0\x0c\x01h\xc0\x0c\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    #[test]
    fn an_ixfr_request_is_read_through_its_pointers() {
        let request = request(IXFR).expect("a request");
        assert_eq!((request.id, request.flags), (0x1234, flags::RD));
        assert_eq!(
            (request.name.to_string(), &request.question[..]),
            ("p2p.".to_owned(), &b"\x03P2P\0\0\xfb\0\x01"[..])
        );
        let Kind::Ixfr(soa) = request.kind else { panic!("IXFR") };
        assert_eq!((soa.serial, soa.mailbox.to_string()), (7, "h.p2p.".to_owned()));
        assert!(soa.data.starts_with(b"\x02ns\x03P2P\0\x01h\x03P2P\0\0\0\0\x07"));
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
            }
        }
    }
}

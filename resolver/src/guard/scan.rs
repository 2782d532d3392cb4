//! What the guard reads in a message before anybody parses it, and the shortest answer, made without a parser.

use super::cookie::COOKIE_BYTES;
use crate::{
    dname::{MAX_LABEL_BYTES, MAX_NAME_BYTES},
    query::MAX_UDP_BYTES,
    rtype,
};

/// Bytes of a header.
const HEADER_BYTES: usize = 12;
/// Number of the COOKIE option (RFC 7873 §4).
pub(crate) const COOKIE_OPTION: u16 = 10;
/// Bytes of type, class, TTL and length of a record.
const RECORD_BYTES: usize = 10;
/// Bytes of type and class of a question.
const QUESTION_BYTES: usize = 4;
/// QR and the opcode, in the third byte of a header.
const QR_AND_OPCODE: u8 = 0xf8;
/// QR, TC and RD, in the third byte of a header.
const QR: u8 = 0x80;
const TC: u8 = 0x02;
const RD: u8 = 0x01;
/// AA, in the third byte of a header.
const AA: u8 = 0x04;
/// RA and CD, in the fourth byte of a header.
const RA: u8 = 0x80;
const CD: u8 = 0x10;
/// DO, in the third byte of an OPT record's TTL.
const DO: u8 = 0x80;

/// An OPT record.
#[derive(Clone, Copy)]
struct Opt<'m> {
    dnssec_ok: bool,
    options: &'m [u8],
}

/// The first COOKIE option of a message; later ones are to be ignored (RFC 7873 §5.2).
pub(super) fn cookie(message: &[u8]) -> Option<&[u8]> {
    let mut options = opt(message)?.options;
    loop {
        let (&[code_0, code_1, len_0, len_1], rest) = options.split_first_chunk()?;
        let (data, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([len_0, len_1])))?;
        if u16::from_be_bytes([code_0, code_1]) == COOKIE_OPTION {
            return Some(data);
        }
        options = rest;
    }
}

/// What an answer says of itself besides its records. One without records that has neither bit is a lame referral to stub
/// resolvers, whatever else it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Claims {
    /// The AA bit.
    pub(crate) authoritative: bool,
    /// The RA bit.
    pub(crate) recursion_available: bool,
}

impl Claims {
    /// Those of a response; of what is no response, none.
    pub(crate) fn of(response: &[u8]) -> Self {
        let has = |at: usize, bit: u8| response.get(at).is_some_and(|byte| byte & bit != 0);
        Self { authoritative: has(2, AA), recursion_available: has(3, RA) }
    }
}

/// Writes the answer that only says "come by TCP": header with TC and `claims`, question, and an OPT record if there was
/// one, with `cookie`. `None` if `datagram` is no query with one question, and deserves nothing.
pub(crate) fn truncated(
    datagram: &[u8],
    claims: Claims,
    cookie: Option<&[u8; COOKIE_BYTES]>,
    out: &mut [u8],
) -> Option<usize> {
    let (&[id_0, id_1, flags_0, flags_1, 0, 1, ..], body) = datagram.split_first_chunk::<HEADER_BYTES>()? else {
        return None;
    };
    if flags_0 & QR_AND_OPCODE != 0 {
        return None;
    }
    let name = plain_name_bytes(body)?;
    let question = body.get(..name + QUESTION_BYTES)?;
    let opt = opt(datagram);
    let mut message = [0; HEADER_BYTES + MAX_NAME_BYTES + QUESTION_BYTES + 11 + 4 + COOKIE_BYTES];
    let mut len = 0;
    let mut put = |bytes: &[u8]| {
        if let Some(place) = message.get_mut(len..len + bytes.len()) {
            place.copy_from_slice(bytes);
            len += bytes.len();
        }
    };
    let first = QR | TC | (flags_0 & RD) | if claims.authoritative { AA } else { 0 };
    let second = (flags_1 & CD) | if claims.recursion_available { RA } else { 0 };
    put(&[id_0, id_1, first, second, 0, 1, 0, 0, 0, 0, 0, u8::from(opt.is_some())]);
    put(question);
    if let Some(opt) = opt {
        let [size_0, size_1] = MAX_UDP_BYTES.to_be_bytes();
        let option_bytes = cookie.map_or(0, |cookie| 4 + cookie.len() as u8);
        let flags = if opt.dnssec_ok { DO } else { 0 };
        put(&[0, 0, rtype::OPT as u8, size_0, size_1, 0, 0, flags, 0, 0, option_bytes]);
        if let Some(cookie) = cookie {
            put(&[0, COOKIE_OPTION as u8, 0, COOKIE_BYTES as u8]);
            put(cookie);
        }
    }
    out.get_mut(..len)?.copy_from_slice(&message[..len]);
    Some(len)
}

/// The first OPT record of a message. Every step consumes bytes, so that no count in a header makes this long.
fn opt(message: &[u8]) -> Option<Opt<'_>> {
    let (header, mut rest) = message.split_first_chunk::<HEADER_BYTES>()?;
    let [.., questions_0, questions_1, answers_0, answers_1, authority_0, authority_1, more_0, more_1] = *header;
    if [more_0, more_1] == [0, 0] {
        return None;
    }
    for _ in 0..u16::from_be_bytes([questions_0, questions_1]) {
        rest = rest.get(name_bytes(rest)? + QUESTION_BYTES..)?;
    }
    let before = [[answers_0, answers_1], [authority_0, authority_1]].map(|count| u32::from(u16::from_be_bytes(count)));
    let before = before[0] + before[1];
    for index in 0..before + u32::from(u16::from_be_bytes([more_0, more_1])) {
        let (fixed, data) = rest.get(name_bytes(rest)?..)?.split_first_chunk::<RECORD_BYTES>()?;
        let [type_0, type_1, _, _, _, _, flags, _, len_0, len_1] = *fixed;
        let (data, next) = data.split_at_checked(usize::from(u16::from_be_bytes([len_0, len_1])))?;
        if index >= before && u16::from_be_bytes([type_0, type_1]) == rtype::OPT {
            return Some(Opt { dnssec_ok: flags & DO != 0, options: data });
        }
        rest = next;
    }
    None
}

/// The length of the name that `bytes` begin with, which may end in a pointer.
fn name_bytes(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            0xc0.. => return Some(at + 2),
            0 => return Some(at + 1),
            len if usize::from(*len) <= MAX_LABEL_BYTES => at += 1 + usize::from(*len),
            _ => return None,
        }
    }
}

/// The same for a name without a pointer, of a length that names can have.
fn plain_name_bytes(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match usize::from(*bytes.get(at)?) {
            0 => return (at < MAX_NAME_BYTES).then_some(at + 1),
            len if len <= MAX_LABEL_BYTES => at += 1 + len,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::{op::Message, rr::rdata::opt::EdnsCode};
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const NO_CLAIMS: Claims = Claims { authoritative: false, recursion_available: false };
    const QUESTION: &[u8] = b"\x05alice\x03p2p\0\0\x01\0\x01";

    fn message(counts: [u8; 4], rest: &[&[u8]]) -> Vec<u8> {
        let [questions, answers, authority, more] = counts;
        let header = [7, 8, 1, 0x10, 0, questions, 0, answers, 0, authority, 0, more];
        [&header, &rest.concat()[..]].concat()
    }

    fn opt_record(flags: u8, options: &[u8]) -> Vec<u8> {
        [&[0, 0, 41, 4, 0, 0, 0, flags, 0, 0, options.len() as u8], options].concat()
    }

    #[test]
    fn the_first_cookie_of_the_first_opt_record() {
        let opt = opt_record(0, b"\0\x03\0\0\0\x0a\0\x0812345678\0\x0a\0\x08abcdefgh");
        assert_eq!(cookie(&message([1, 0, 0, 1], &[QUESTION, &opt])), Some(&b"12345678"[..]));
        // Behind records with a pointer, and behind another additional record.
        let record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x01\0\x04\x01\x02\x03\x04";
        assert_eq!(cookie(&message([1, 1, 1, 2], &[QUESTION, record, record, record, &opt])), Some(&b"12345678"[..]));
        assert_eq!(cookie(&message([0, 0, 0, 1], &[&opt])), Some(&b"12345678"[..]));
        // In another section it is no OPT record.
        assert_eq!(cookie(&message([1, 1, 0, 1], &[QUESTION, &opt, record])), None);
        assert_eq!(cookie(&message([1, 0, 0, 0], &[QUESTION])), None);
        assert_eq!(cookie(&message([1, 0, 0, 1], &[QUESTION, &opt_record(0, b"")])), None);
        assert_eq!(cookie(&message([1, 0, 0, 1], &[QUESTION, &opt_record(0, b"\0\x0a\0\x09short")])), None);
        assert_eq!(cookie(&message([1, 0, 0, 1], &[QUESTION, &opt_record(0, b"\0\x0a\0\0")])), Some(&b""[..]));
        assert_eq!(cookie(&message([1, 0, 0, 1], &[QUESTION])), None);
    }

    #[test]
    fn the_shortest_answer() {
        let mut out = [0; 512];
        let plain = message([1, 0, 0, 0], &[QUESTION]);
        let len = truncated(&plain, NO_CLAIMS, Some(&[9; 24]), &mut out).expect("a query");
        assert_eq!(out[..len], [&[7, 8, 0x83, 0x10, 0, 1, 0, 0, 0, 0, 0, 0], QUESTION].concat());
        // Stub resolvers take an answer without records, AA and RA for a lame referral, and do not come by TCP.
        for (authoritative, recursion_available, flags) in
            [(true, false, [0x87, 0x10]), (false, true, [0x83, 0x90]), (true, true, [0x87, 0x90])]
        {
            let claims = Claims { authoritative, recursion_available };
            truncated(&plain, claims, None, &mut out).expect("a query");
            assert_eq!(out[2..4], flags);
            assert_eq!(Claims::of(&out), claims);
        }
        let with_opt = message([1, 0, 0, 1], &[QUESTION, &opt_record(0x80, b"")]);
        let len = truncated(&with_opt, NO_CLAIMS, Some(&[9; 24]), &mut out).expect("a query");
        let answer = Message::from_vec(&out[..len]).expect("a message");
        assert!(answer.metadata.truncation && answer.answers.is_empty() && answer.queries.len() == 1);
        let edns = answer.edns.expect("EDNS");
        assert!(edns.flags().dnssec_ok && edns.option(EdnsCode::Cookie).is_some());
        let len = truncated(&with_opt, NO_CLAIMS, None, &mut out).expect("a query");
        assert_eq!(
            Message::from_vec(&out[..len]).expect("a message").edns.map(|edns| edns.options().as_ref().len()),
            Some(0)
        );
    }

    #[test]
    fn what_is_no_query_deserves_nothing() {
        let mut out = [0; 512];
        let plain = message([1, 0, 0, 0], &[QUESTION]);
        let with = |at: usize, byte: u8| [&plain[..at], &[byte], &plain[at + 1..]].concat();
        for datagram in [with(2, 0x81), with(2, 0x29), with(5, 2), with(5, 0), with(12, 0xc0), plain[..20].to_vec()] {
            assert_eq!(truncated(&datagram, NO_CLAIMS, None, &mut out), None, "{datagram:?}");
        }
    }

    proptest! {
        /// Only the cookie is longer than in the question: by what the server adds.
        #[test]
        fn hardly_longer_than_the_question(bytes in vec(any::<u8>(), 0..80), more in 0..3_u8) {
            let mut out = [0; 512];
            let datagram = message([1, 0, 0, more], &[QUESTION, &bytes]);
            let cookie = cookie(&datagram).filter(|cookie| cookie.len() >= 8).map(|_| [1; 24]);
            let len = truncated(&datagram, NO_CLAIMS, cookie.as_ref(), &mut out).expect("a query");
            prop_assert!(len <= datagram.len() + 16);
            let datagram = [&datagram[..12], &bytes].concat();
            if let Some(len) = truncated(&datagram, NO_CLAIMS, None, &mut out) {
                prop_assert!(len <= datagram.len());
                prop_assert!(Message::from_vec(&out[..len]).is_ok());
            }
        }
    }
}

//! What the guard reads in a message before anybody parses it, and the shortest answer, made without a parser.

use super::cookie::COOKIE_BYTES;
use crate::{
    dns::{flags, message::Message, option, writer::Writer},
    zones::query::MAX_UDP_BYTES,
};

/// The first COOKIE option of a message; later ones are to be ignored (RFC 7873 §5.2).
pub(super) fn cookie(message: &[u8]) -> Option<&[u8]> {
    Message::new(message)?.options().first(option::COOKIE)
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
        let flags = Message::new(response).map_or(0, |message| message.flags());
        Self { authoritative: flags & flags::AA != 0, recursion_available: flags & flags::RA != 0 }
    }

    /// As the flags of a header.
    pub(crate) fn flags(self) -> u16 {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        flag(self.authoritative, flags::AA) | flag(self.recursion_available, flags::RA)
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
    let query = Message::new(datagram).filter(Message::is_query)?;
    let question = query.question()?;
    let mut writer = Writer::new(out);
    let kept = query.flags() & (flags::RD | flags::CD);
    writer.put_head(query.id(), flags::QR | flags::TC | kept | claims.flags(), question.bytes);
    if let Some(opt) = query.opt() {
        writer.put_only_opt(MAX_UDP_BYTES, opt.flags & flags::DO, cookie.map(|cookie| (option::COOKIE, &cookie[..])));
    }
    writer.finish()
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

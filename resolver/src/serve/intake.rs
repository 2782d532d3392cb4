//! What arrives is bounded before it is understood: which messages are read at all, and what of them is kept.
//!
//! A query has one question, at most an OPT and a TSIG record behind it, and is short (RFC 9619, RFC 6891 §6.1.1). All
//! else in it is work and memory that its sender chooses: names in records can be chains of compression pointers, and a
//! parsed record takes many times its bytes. So what is larger is refused before a record is read, and of what is let
//! in only header, question and OPT record go to the parser. No name in those is compressed.
//!
//! Guarantees: no panic for any bytes, and work that is linear in their number.

use crate::dns::{
    flags,
    message::{Message, Section},
    option, rtype,
};

/// The longest message that is read, in bytes: the longest name, the largest cookie, a signature, and a thousand bytes of padding many
/// times over.
pub(crate) const MAX_QUERY_BYTES: usize = 4_096;
/// OPT and TSIG.
const MAX_ADDITIONALS: u16 = 2;
/// Options of more bytes are not kept as they came.
const MAX_KEPT_OPTION_BYTES: usize = 64;
/// The options whose presence means something to the answer.
const KEPT_OPTIONS: [u16; 3] = [option::NSID, option::KEEPALIVE, option::PADDING];

/// Whether a message is no larger than its opcode allows. Only queries are ever read further than their question and
/// OPT record, so only they have limits for their sections: an UPDATE is refused whatever is in it.
pub(crate) fn is_bounded(message: &[u8]) -> bool {
    let is_short = message.len() <= MAX_QUERY_BYTES;
    let Some(message) = Message::new(message).filter(|_| is_short) else { return false };
    if message.flags() & flags::OPCODE != 0 {
        return true;
    }
    // The version that a secondary has stands in the authority section (RFC 1995 §3).
    let asks_for_increment = || message.question().is_some_and(|question| question.qtype == rtype::IXFR);
    let authorities = message.count(Section::Authority);
    let max_authorities = u16::from(authorities > 0 && asks_for_increment());
    message.questions() <= 1
        && message.count(Section::Answer) == 0
        && authorities <= max_authorities
        && message.count(Section::Additional) <= MAX_ADDITIONALS
}

/// Header, question and OPT record of a message, with counts that say so. `None` if the question is compressed, a record
/// cannot be passed over, or there is an OPT record too many or of another owner than the root (RFC 6891 §6.1.1, §6.1.2).
pub(crate) fn reduced(bytes: &[u8]) -> Option<Vec<u8>> {
    let message = Message::new(bytes)?;
    // Several questions get no answer and do not come back (RFC 9619).
    let question = match message.questions() {
        1 => message.question()?.bytes,
        _ => &[],
    };
    let mut opt: Option<&[u8]> = None;
    for record in message.records() {
        let record = record.ok()?;
        if record.rtype == rtype::OPT {
            let is_right = record.section == Section::Additional && record.is_opt() && opt.is_none();
            is_right.then_some(())?;
            opt = Some(record.bytes());
        }
    }
    let counts = [0, u8::from(!question.is_empty()), 0, 0, 0, 0, 0, u8::from(opt.is_some())];
    Some([&bytes[..4], &counts, question, opt.unwrap_or_default()].concat())
}

/// The same message for as long as its answer takes: of many options only those that matter, without their data. To be
/// given what [`reduced`] made, with options that add up.
pub(crate) fn lean(reduced: &[u8]) -> Option<Vec<u8>> {
    let options = Message::new(reduced)?.opt()?.options;
    if options.as_bytes().len() <= MAX_KEPT_OPTION_BYTES {
        return None;
    }
    let mut kept = Vec::new();
    for code in options.map(|(code, _)| code).filter(|code| KEPT_OPTIONS.contains(code)) {
        if !kept.contains(&code) {
            kept.push(code);
        }
    }
    let kept: Vec<u8> = kept.iter().flat_map(|code| [code.to_be_bytes(), [0; 2]]).flatten().collect();
    let head = &reduced[..reduced.len() - options.as_bytes().len() - 2];
    Some([head, &(kept.len() as u16).to_be_bytes(), &kept].concat())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const QUESTION: &[u8] = b"\x01a\x03p2p\0\0\x01\0\x01";
    const IXFR_QUESTION: &[u8] = b"\x03p2p\0\0\xfb\0\x01";

    fn message(opcode: u8, counts: [u8; 4], body: &[u8]) -> Vec<u8> {
        let [questions, answers, authorities, additionals] = counts;
        let header = [7, 8, opcode << 3 | 1, 0, 0, questions, 0, answers, 0, authorities, 0, additionals];
        [&header[..], body].concat()
    }

    fn opt(options: &[u8]) -> Vec<u8> {
        [b"\0\0\x29\x04\xd0\0\0\0\0", &(options.len() as u16).to_be_bytes()[..], options].concat()
    }

    #[test]
    fn each_limit_and_its_neighbour() {
        let check = |expected, message: Vec<u8>| assert_eq!(is_bounded(&message), expected, "{:?}", &message[..12]);
        check(true, message(0, [1, 0, 0, 0], QUESTION));
        check(true, message(0, [0, 0, 0, 1], &opt(b"")));
        check(false, message(0, [2, 0, 0, 0], &[QUESTION, QUESTION].concat()));
        check(false, message(0, [1, 1, 0, 0], QUESTION));
        check(false, message(0, [1, 0, 1, 0], QUESTION));
        check(true, message(0, [1, 0, 1, 0], IXFR_QUESTION));
        check(false, message(0, [1, 0, 2, 0], IXFR_QUESTION));
        check(false, message(0, [1, 1, 1, 0], IXFR_QUESTION));
        check(true, message(0, [1, 0, 0, 2], QUESTION));
        check(false, message(0, [1, 0, 0, 3], QUESTION));
        let mut long = message(0, [1, 0, 0, 0], QUESTION);
        long.resize(MAX_QUERY_BYTES, 0);
        check(true, long.clone());
        long.push(0);
        check(false, long.clone());
        long[2] = 5 << 3;
        check(false, long);
        check(true, message(4, [1, 1, 0, 0], QUESTION));
        assert!(!is_bounded(&[0; crate::dns::HEADER_BYTES - 1]));
    }

    #[test]
    fn question_and_opt_are_kept_and_nothing_else() {
        let record = b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04abcd";
        let whole = message(5, [1, 2, 1, 2], &[QUESTION, record, record, record, record, &opt(b"xy"), b"zz"].concat());
        assert_eq!(reduced(&whole), Some(message(5, [1, 0, 0, 1], &[QUESTION, &opt(b"xy")].concat())));
        let two = message(5, [2, 0, 0, 0], &[QUESTION, QUESTION].concat());
        assert_eq!(reduced(&two), Some(message(5, [0; 4], b"")));
        for bad in [
            message(0, [1, 0, 0, 2], &[QUESTION, &opt(b""), &opt(b"")].concat()),
            message(0, [1, 0, 0, 1], &[QUESTION, b"\x01a", &opt(b"")].concat()),
            message(5, [1, 1, 0, 0], &[QUESTION, &opt(b"")].concat()),
            message(0, [1, 0, 0, 1], QUESTION),
            message(0, [1, 0, 0, 0], &QUESTION[..8]),
            message(0, [1, 0, 0, 0], b"\x40a\0\0\x01\0\x01"),
            message(0, [1, 0, 0, 0], b"\x01a\xc0\0\0\x01\0\x01"),
        ] {
            assert_eq!(reduced(&bad), None, "{bad:02x?}");
        }
    }

    #[test]
    fn many_options_do_not_stay() {
        let few = message(0, [1, 0, 0, 1], &[QUESTION, &opt(b"\0\x03\0\0")].concat());
        assert_eq!(lean(&few), None);
        let options = [&b"\0\x03\0\0".repeat(200)[..], b"\0\x0c\x02\0", &[0; 512], b"\xfd\xe9\0\x01z"].concat();
        let many = message(0, [1, 0, 0, 1], &[QUESTION, &opt(&options)].concat());
        let expected = message(0, [1, 0, 0, 1], &[QUESTION, &opt(b"\0\x03\0\0\0\x0c\0\0")].concat());
        assert_eq!(lean(&many), Some(expected));
        assert_eq!(
            lean(&message(0, [0, 0, 0, 1], &opt(&options))),
            Some(message(0, [0, 0, 0, 1], &opt(b"\0\x03\0\0\0\x0c\0\0")))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_reduced_or_refused(bytes in vec(any::<u8>(), 0..200), body in vec(any::<u8>(), 0..100)) {
            for bytes in [bytes, message(0, [1, 0, 0, 1], &[QUESTION, &body].concat())] {
                is_bounded(&bytes);
                if let Some(reduced) = reduced(&bytes) {
                    prop_assert!(reduced.len() <= bytes.len());
                    lean(&reduced);
                    prop_assert_eq!(super::reduced(&reduced), Some(reduced), "nothing more to leave out");
                }
            }
        }
    }
}

//! What the reader finds in whole and damaged messages, and that another reader finds the same.

use domain::base::{Message as Other, ToName, UnknownRecordData};
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::dns::option;

const QUESTION: &[u8] = b"\x01a\x03p2p\0\0\x01\0\x01";
const ADDRESS: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04abcd";

/// A message of these counts and bytes.
fn message(counts: [u8; 4], body: &[&[u8]]) -> Vec<u8> {
    let [questions, answers, authorities, additionals] = counts;
    let header = [0, 1, 1, 0, 0, questions, 0, answers, 0, authorities, 0, additionals];
    [&header[..], &body.concat()].concat()
}

fn opt(options: &[u8]) -> Vec<u8> {
    [b"\0\0\x29\x04\xd0\0\0\0\0\0", &[options.len() as u8][..], options].concat()
}

#[test]
fn question_and_options_are_found() {
    let check = |message: &[u8], question: Option<&[u8]>, options: Option<&[u8]>| {
        let read = Message::new(message).expect("a header");
        assert_eq!(read.question().map(|question| question.bytes), question, "{message:02x?}");
        assert_eq!(read.opt().map(|opt| opt.options.as_bytes()), options, "{message:02x?}");
    };
    check(&message([1, 0, 0, 0], &[QUESTION]), Some(QUESTION), None);
    check(&message([1, 0, 0, 1], &[QUESTION, &opt(b"xy")]), Some(QUESTION), Some(b"xy"));
    check(&message([0, 0, 0, 1], &[&opt(b"")]), None, Some(b""));
    check(&message([1, 1, 1, 2], &[QUESTION, ADDRESS, ADDRESS, ADDRESS, &opt(b"z")]), Some(QUESTION), Some(b"z"));
    check(&message([2, 0, 0, 1], &[QUESTION, QUESTION, &opt(b"z")]), None, Some(b"z"));
    // Not in the answer section, and not of another owner.
    check(&message([1, 1, 0, 0], &[QUESTION, &opt(b"z")]), Some(QUESTION), None);
    check(&message([1, 0, 0, 1], &[QUESTION, b"\x01a", &opt(b"z")]), Some(QUESTION), None);
    // Counts that promise more than there is.
    check(&message([1, 0, 9, 1], &[QUESTION, &opt(b"z")]), Some(QUESTION), None);
    check(&message([1, 0, 0, 1], &[QUESTION]), Some(QUESTION), None);
    check(&message([1, 0, 0, 0], &[&QUESTION[..QUESTION.len() - 1]]), None, None);
    assert!(Message::new(&[0; HEADER_BYTES - 1]).is_none());
}

#[test]
fn records_end_with_the_first_that_cannot_be_read() {
    let count = |message: &[u8]| {
        let records: Vec<_> = Message::new(message).expect("a header").records().collect();
        (records.iter().filter(|record| record.is_ok()).count(), records.len())
    };
    assert_eq!(count(&message([1, 1, 1, 0], &[QUESTION, ADDRESS, ADDRESS])), (2, 2));
    assert_eq!(count(&message([1, 1, 1, 0], &[QUESTION, ADDRESS, &ADDRESS[1..]])), (1, 2));
    assert_eq!(count(&message([1, 0, 200, 200], &[QUESTION, ADDRESS])), (1, 2));
    // Also without any record, if the questions cannot be passed over.
    assert_eq!(count(&message([2, 0, 0, 0], &[QUESTION])), (0, 1));
    assert_eq!(count(&message([1, 0, 0, 0], &[QUESTION])), (0, 0));
}

#[test]
fn options_must_add_up() {
    for (options, expected) in [
        (&b""[..], true),
        (b"\0\x03\0\0", true),
        (b"\0\x03\0\0\xfd\xe9\0\x01z", true),
        (b"\0", false),
        (b"\0\x03\0", false),
        (b"\0\x03\0\x01", false),
        (b"\0\x03\0\0\xfd\xe9\0\x02z", false),
    ] {
        assert_eq!(Options(options).add_up(), expected, "{options:02x?}");
    }
    let options = Options(b"\0\x0a\0\x02ab\0\x0a\0\x02cd\0\x03");
    assert_eq!((options.first(option::COOKIE), options.first(option::NSID)), (Some(&b"ab"[..]), None));
}

/// Parts of messages, whole and damaged.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let whole = [
        QUESTION,
        ADDRESS,
        b"\x03P2P\0\0\xfb\0\x01",
        b"\0\0\x29\x04\xd0\0\0\x80\0\0\x0c\0\x0a\0\x0812345678",
        b"\x01a\0\0\x29\x04\xd0\0\0\0\0\0\0",
        b"\x02ns\xc0\x0c\0\x02\0\x01\0\0\x0e\x10\0\x02\xc0\x0c",
        b"\x01k\0\0\xfa\0\xff\0\0\0\0\0\0",
    ];
    prop_oneof![3 => select(whole.to_vec()).prop_map(<[u8]>::to_vec), 1 => vec(any::<u8>(), 0..12)]
}

fn messages() -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    ([0..3_u8, 0..3, 0..3, 0..4], vec(part(), 0..8), changes, any::<bool>()).prop_map(
        |(counts, parts, changes, begins)| {
            let question = if begins { QUESTION } else { &[] };
            let mut message = message(counts, &[question, &parts.concat()]);
            for (at, byte) in changes {
                let at = at.index(message.len());
                message[at] = byte;
            }
            message
        },
    )
}

/// What of a message both readers tell, as text.
type Told = Vec<String>;

fn told(section: impl std::fmt::Debug, owner: impl std::fmt::Display, numbers: (u16, u16, u32), data: &[u8]) -> String {
    format!("{section:?} {owner} {numbers:?} {data:02x?}").to_ascii_lowercase()
}

fn by_us(message: &[u8]) -> Told {
    let records = Message::new(message).expect("a header").records();
    let readable = records.map_while(|record| {
        let record = record.ok()?;
        let numbers = (record.rtype, record.class, u32::from_be_bytes(record.ttl));
        Some(told(record.section, record.owner().ok()?, numbers, record.data()))
    });
    readable.collect()
}

fn by_others(message: &[u8]) -> Told {
    let read = Other::from_slice(message).expect("a header");
    read.iter()
        .map_while(Result::ok)
        .map(|(record, section)| {
            let owner = Dname::from_wire(record.owner().to_cow().as_slice()).expect("a name");
            let numbers = (record.rtype().to_int(), record.class().to_int(), record.ttl().as_secs());
            let data = record.to_record::<UnknownRecordData<_>>().expect("any data").expect("of any type");
            told(section, owner, numbers, data.data().data())
        })
        .collect()
}

proptest! {
    /// Another reader, which shares no line with this one, finds the same. It also follows pointers into the header and into
    /// the name that they are part of, so it may read further.
    #[test]
    fn another_reader_agrees(message in messages()) {
        let (ours, theirs) = (by_us(&message), by_others(&message));
        prop_assert!(theirs.starts_with(&ours), "{ours:#?}\n{theirs:#?}");
    }

    #[test]
    fn any_bytes_are_read(bytes in vec(any::<u8>(), HEADER_BYTES..200)) {
        let message = Message::new(&bytes).expect("a header");
        message.question();
        message.options().add_up();
        prop_assert!(message.records().count() <= bytes.len());
        message.records().flatten().for_each(|record| drop(record.owner()));
    }
}

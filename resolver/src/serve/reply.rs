//! From what to say to what is sent: EDNS, and what to leave out when it does not fit.
//!
//! A response that is too long loses the text of its extended error (RFC 8914 §3), then whole record sets from the back:
//! first additional records, silently; then glue, authority and answers, with the TC bit, so that the client asks again
//! over TCP (RFC 2181 §9, RFC 9471). If even that is not enough, it does not say which server it is from. What is left
//! fits any datagram: with the longest question, an extended error and a cookie it is 316 bytes.

use hickory_proto::op::ResponseCode;
use hickory_server::server::Request;

use crate::{
    dns::{
        HEADER_BYTES,
        answer::{Answer, Origin},
        ede::Ede,
        flags,
        message::Section,
        name::Dname,
        option,
        rrset::RrSet,
        writer::{Names, OPTION_HEAD_BYTES, Writer},
    },
    policy::guard::cookie::COOKIE_BYTES,
    zones::query::{MAX_UDP_BYTES, MIN_UDP_BYTES, Query},
};

/// Bytes of the number of an extended error, before its text.
const EDE_NUMBER_BYTES: usize = 2;
/// Padded responses are multiples of so many bytes (RFC 8467 §4.1).
const PADDING_BLOCK_BYTES: usize = 468;
/// The largest response code that a header can say without an OPT record (RFC 6891 §6.1.3).
const MAX_HEADER_CODE: u16 = 15;
/// Bytes of a record besides owner and data.
const RECORD_BYTES: usize = 10;
/// Bytes of an OPT record without options.
const OPT_BYTES: usize = 11;

/// A response before it is cut to size.
pub(crate) struct Reply {
    pub(crate) rcode: ResponseCode,
    pub(crate) authoritative: bool,
    pub(crate) recursion_available: bool,
    pub(crate) authentic_data: bool,
    pub(crate) ede: Option<Ede>,
    pub(crate) origin: Origin,
    /// The COOKIE option to send back.
    pub(crate) cookie: Option<[u8; COOKIE_BYTES]>,
    /// The longest message to send, in bytes, even if the client can take more.
    pub(crate) max_bytes: u16,
    /// Whether the client is to come by TCP even if everything fits.
    pub(crate) truncated: bool,
    /// Answer, authority, glue and additional records.
    pub(crate) sections: [Vec<RrSet>; 4],
}

/// What a response carries for the sake of its transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Extras {
    /// Whether its length is to be hidden (RFC 7830).
    pub(crate) padded: bool,
    /// The idle time to announce, in units of 100 ms (RFC 7828).
    pub(crate) keepalive: Option<u16>,
    /// Bytes to leave for a transaction signature, which comes behind everything.
    pub(crate) reserved: usize,
}

/// A response cut to size.
pub(crate) struct Fitted {
    pub(crate) message: Vec<u8>,
    /// Whether the TC bit is set.
    pub(crate) is_truncated: bool,
}

/// What a response repeats of its request.
#[derive(Clone, Copy)]
struct Asked<'r> {
    id: u16,
    /// Opcode, RD and CD.
    flags: u16,
    /// The question as it came, so that owner names can point into it. Several do not come back: nobody needs them, and a
    /// whole datagram of them would go wherever its sender wishes.
    question: &'r [u8],
}

/// The OPT record of a response.
struct Edns {
    flags: u16,
    /// Code and data.
    options: Vec<(u16, Vec<u8>)>,
}

impl Reply {
    /// The answer as it is, not truncated.
    pub(crate) fn from_answer(answer: Answer) -> Self {
        Self {
            rcode: answer.rcode,
            authoritative: answer.authoritative,
            recursion_available: false,
            authentic_data: answer.authentic,
            sections: [answer.answer, answer.authority, answer.glue, answer.additional],
            ede: answer.ede,
            origin: answer.origin,
            cookie: None,
            max_bytes: u16::MAX,
            truncated: false,
        }
    }

    /// "Come by TCP", and nothing else.
    pub(crate) fn come_by_tcp(origin: Origin) -> Self {
        Self { truncated: true, ..Self::from_answer(Answer::empty(ResponseCode::NoError, origin)) }
    }

    /// The code as it can be said: without an OPT record only its low four bits would go out, and those of an extended
    /// code mean something else, often "no error". What an upstream says in such a code is about the question that we
    /// asked it, never about the client's.
    pub(crate) fn settle_code(&mut self, request: &Request) {
        let is_extended = u16::from(self.rcode) > MAX_HEADER_CODE;
        if is_extended && (request.edns.is_none() || self.origin == Origin::Upstream) {
            self.rcode = ResponseCode::ServFail;
        }
    }

    /// Cuts the reply to what the client can take. `query` is absent if the question could not be understood. `None` if it
    /// is longer than any message can be.
    pub(crate) fn fit(
        self,
        request: &Request,
        query: Option<&Query>,
        server_id: Option<&str>,
        extras: Extras,
    ) -> Option<Fitted> {
        let limit = usize::from(query.map_or(MIN_UDP_BYTES, Query::max_answer_bytes).min(self.max_bytes));
        let limit = limit.saturating_sub(extras.reserved);
        let asked = Asked::of(request);
        let mut edns = request.edns.as_ref().map(|_| self.edns(query, server_id, extras));
        let (mut fitted, dropped) = self.cut(limit, asked, edns.as_mut())?;
        if let Some(edns) = edns.as_mut().filter(|_| extras.padded)
            && edns.pad(fitted.message.len(), limit)
        {
            fitted = self.without(dropped, limit, asked, Some(edns))?;
        }
        Some(fitted)
    }

    /// The message, and how many record sets were left out of it.
    fn cut(&self, limit: usize, asked: Asked<'_>, mut edns: Option<&mut Edns>) -> Option<(Fitted, usize)> {
        let whole = |edns: Option<&Edns>| Some((self.without(0, limit, asked, edns)?, 0));
        if let Some(fitted) = whole(edns.as_deref()) {
            return Some(fitted);
        }
        if edns.as_mut().is_some_and(|edns| edns.drop_ede_text())
            && let Some(fitted) = whole(edns.as_deref())
        {
            return Some(fitted);
        }
        if let Some(fitted) = self.drop_sets(limit, asked, edns.as_deref()) {
            return Some(fitted);
        }
        if let Some(edns) = &mut edns {
            edns.options.retain(|(code, _)| *code != option::NSID);
        }
        self.drop_sets(limit, asked, edns.as_deref()).or_else(|| {
            // The longest question beside the room for a signature can be more than a datagram holds; silence is no answer.
            let all = self.sections.iter().map(Vec::len).sum();
            Some((self.without(all, usize::from(u16::MAX), asked, edns.as_deref())?, all))
        })
    }

    /// Drops as few record sets as it takes, if that can be enough.
    fn drop_sets(&self, limit: usize, asked: Asked<'_>, edns: Option<&Edns>) -> Option<(Fitted, usize)> {
        let cut = |dropped| self.without(dropped, limit, asked, edns);
        // Dropping more never makes the message longer, so halving finds the fewest sets to drop.
        let (mut low, mut high) = (0, self.sections.iter().map(Vec::len).sum());
        while low < high {
            let middle = low + (high - low) / 2;
            match cut(middle) {
                Some(_) => high = middle,
                None => low = middle + 1,
            }
        }
        Some((cut(high)?, high))
    }

    /// The message without so many record sets; `None` if it is longer than `limit`.
    fn without(&self, dropped: usize, limit: usize, asked: Asked<'_>, edns: Option<&Edns>) -> Option<Fitted> {
        let mut dropped_left = dropped;
        let mut kept = [0; 4];
        for (index, section) in self.sections.iter().enumerate().rev() {
            let drop_here = dropped_left.min(section.len());
            dropped_left -= drop_here;
            kept[index] = section.len() - drop_here;
        }
        let is_truncated = self.truncated || dropped > self.sections[3].len();
        let [answer, authority, glue, additional] = std::array::from_fn(|index| &self.sections[index][..kept[index]]);
        let sets = || [answer, authority, glue, additional].into_iter().flatten();
        let longest = HEADER_BYTES
            + asked.question.len()
            + sets().map(byte_len).sum::<usize>()
            + edns.map_or(0, |edns| OPT_BYTES + edns.byte_len());
        let mut message = vec![0; longest.min(limit)];
        let mut writer = Writer::new(&mut message);
        writer.put_head(asked.id, self.flags(asked, is_truncated), asked.question);
        let mut names = Names::default();
        let asked_name = Dname::split_wire(asked.question).ok().map(|(name, _)| name);
        let asked_name = asked_name.filter(|name| *name != Dname::root());
        if let Some(name) = &asked_name {
            names.note(&asked.question[..name.without_root().len()], HEADER_BYTES);
        }
        let sections = [
            (Section::Answer, [answer, &[]]),
            (Section::Authority, [authority, &[]]),
            (Section::Additional, [glue, additional]),
        ];
        for (section, sets) in sections {
            let mut count = 0_u16;
            for (set, data) in sets.into_iter().flatten().flat_map(|set| set.data.iter().map(move |data| (set, data))) {
                // What answers the name asked for has its letters; other names have ours.
                match &asked_name {
                    Some(name) if *name == set.owner => writer.put_pointer(HEADER_BYTES),
                    _ => names.put(&mut writer, set.owner.without_root()),
                }
                writer.put_record_of(set.rtype, set.class, set.ttl_s, data);
                count = count.saturating_add(1);
            }
            if let Some(edns) = edns.filter(|_| section == Section::Additional) {
                edns.put(&mut writer, self.rcode);
                count = count.saturating_add(1);
            }
            writer.set_count(section, count);
        }
        let len = writer.finish()?;
        message.truncate(len);
        Some(Fitted { message, is_truncated })
    }

    fn flags(&self, asked: Asked<'_>, is_truncated: bool) -> u16 {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        // CD is between validators: it comes back from upstreams, and an authority clears it (RFC 4035 §3.1.6, §3.2.2).
        let cleared = flag(self.origin != Origin::Upstream, flags::CD);
        flags::QR
            | asked.flags & !cleared
            | flag(self.authoritative, flags::AA)
            | flag(is_truncated, flags::TC)
            | flag(self.recursion_available, flags::RA)
            | flag(self.authentic_data, flags::AD)
            | u16::from(self.rcode) & flags::RCODE
    }

    fn edns(&self, query: Option<&Query>, server_id: Option<&str>, extras: Extras) -> Edns {
        let mut options = Vec::new();
        if let Some(ede) = &self.ede {
            options.push((option::EDE, [&(ede.code as u16).to_be_bytes()[..], ede.text.as_bytes()].concat()));
        }
        let wants_nsid = query.and_then(|query| query.edns).is_some_and(|edns| edns.wants_nsid);
        if let Some(id) = server_id.filter(|_| wants_nsid) {
            options.push((option::NSID, id.as_bytes().to_vec()));
        }
        if let Some(cookie) = self.cookie {
            options.push((option::COOKIE, cookie.to_vec()));
        }
        if let Some(units) = extras.keepalive {
            options.push((option::KEEPALIVE, units.to_be_bytes().to_vec()));
        }
        let flags = if query.is_some_and(Query::dnssec_ok) { flags::DO } else { 0 };
        Edns { flags, options }
    }
}

impl<'r> Asked<'r> {
    fn of(request: &'r Request) -> Self {
        let metadata = &request.metadata;
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let question = if request.queries.len() == 1 { request.queries.as_bytes() } else { &[] };
        Self {
            id: metadata.id,
            flags: u16::from(u8::from(metadata.op_code)) << 11
                | flag(metadata.recursion_desired, flags::RD)
                | flag(metadata.checking_disabled, flags::CD),
            question,
        }
    }
}

impl Edns {
    fn byte_len(&self) -> usize {
        self.options.iter().map(|(_, data)| OPTION_HEAD_BYTES + data.len()).sum()
    }

    fn put(&self, writer: &mut Writer<'_>, rcode: ResponseCode) {
        let options: Vec<_> = self.options.iter().map(|(code, data)| (*code, &data[..])).collect();
        writer.put_opt(MAX_UDP_BYTES, rcode.high(), self.flags, &options);
    }

    /// Leaves the number of an extended error, and says whether there was a text.
    fn drop_ede_text(&mut self) -> bool {
        let ede = self.options.iter_mut().find(|(code, _)| *code == option::EDE);
        let Some((_, data)) = ede.filter(|(_, data)| data.len() > EDE_NUMBER_BYTES) else { return false };
        data.truncate(EDE_NUMBER_BYTES);
        true
    }

    /// Makes a message of `len` bytes a multiple of the block, or as near as the limit allows. Says whether it can.
    fn pad(&mut self, len: usize, limit: usize) -> bool {
        let with_option = len + OPTION_HEAD_BYTES;
        let Some(room) = limit.checked_sub(with_option) else { return false };
        let padding = with_option.next_multiple_of(PADDING_BLOCK_BYTES) - with_option;
        self.options.push((option::PADDING, vec![0; padding.min(room)]));
        true
    }
}

/// The most bytes that a set takes.
fn byte_len(set: &RrSet) -> usize {
    set.data.iter().map(|data| set.owner.as_wire().len() + RECORD_BYTES + data.len()).sum()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use bytes::Bytes;
    use hickory_net::xfer::Protocol;

    use super::*;
    use crate::{
        dns::{message::Message, rtype},
        zones::query::{Recursion, Transport},
    };

    /// The response over a connection to a question for `www.Alice.p2p`.
    fn fit(sections: [Vec<RrSet>; 4]) -> Fitted {
        fit_with(sections, Extras::default())
    }

    fn fit_with(sections: [Vec<RrSet>; 4], extras: Extras) -> Fitted {
        let message = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03www\x05Alice\x03p2p\0\0\x10\0\x01".to_vec();
        let src = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let request = Request::from_bytes(message, src, Protocol::Tcp).expect("a query");
        let query = Query {
            name: "www.alice.p2p".parse().expect("a name"),
            qtype: rtype::TXT,
            qclass: rtype::CLASS_IN,
            transport: Transport::Stream,
            recursion: Recursion::Desired,
            edns: None,
        };
        let reply = Reply { sections, ..Reply::from_answer(Answer::empty(ResponseCode::NoError, Origin::Ledger)) };
        reply.fit(&request, Some(&query), None, extras).expect("it fits a message")
    }

    fn set(owner: &str, bytes: usize) -> RrSet {
        RrSet::one(owner.parse().expect("a name"), rtype::TXT, 60, Bytes::from(vec![7; bytes]))
    }

    /// Owners and lengths of data, and the length that is left if no pointer saves anything.
    fn read(message: &[u8]) -> Vec<(String, usize)> {
        let records = Message::new(message).expect("a header").records();
        let read = records.map(|record| record.expect("readable"));
        read.map(|record| (record.owner().expect("a name").to_string(), record.data().len())).collect()
    }

    #[test]
    fn pointers_reach_16_kib_and_names_beyond_are_whole() {
        let owners = ["www.alice.p2p", "mail.alice.p2p", "alice.p2p", "a.example"];
        let sets: Vec<_> =
            (0..40).map(|n| set(owners[n % 4], 1_000)).chain([set("b.new", 1), set("c.new", 1)]).collect();
        let expected: Vec<_> = sets.iter().map(|set| (set.owner.to_string(), set.data[0].len())).collect();
        let fitted = fit([sets, Vec::new(), Vec::new(), Vec::new()]);
        assert_eq!(read(&fitted.message), expected);
        assert!(!fitted.is_truncated);
        // The last names have ends that were written where no pointer reaches.
        assert!(fitted.message.ends_with(b"\x01c\x03new\0\0\x10\0\x01\0\0\0\x3c\0\x01\x07"));
        // The name asked for is pointed to, in letters of the question; the end of another name is not, for it is ours.
        assert_eq!(fitted.message[31..33], [0xc0, 12]);
        let second = 31 + 2 + 10 + 1_000;
        assert_eq!(fitted.message[second..second + 13], *b"\x04mail\x05alice\xc0\x16");
    }

    #[test]
    fn what_cannot_be_cut_to_size_is_sent_without_records() {
        let sets = [vec![set("www.alice.p2p", 100)], Vec::new(), Vec::new(), Vec::new()];
        let extras = Extras { reserved: 65_520, ..Extras::default() };
        let fitted = fit_with(sets, extras);
        assert!(fitted.is_truncated && read(&fitted.message).is_empty());
    }

    #[test]
    fn what_is_longer_than_a_message_loses_whole_sets() {
        let sets = |count: usize| (0..count).map(|_| set("www.alice.p2p", 1_000)).collect::<Vec<_>>();
        let fitted = fit([sets(60), sets(10), Vec::new(), sets(2)]);
        assert!(fitted.is_truncated && fitted.message.len() <= 65_535);
        assert_eq!(read(&fitted.message).len(), 64);
        // Additional records may be left out silently.
        let fitted = fit([sets(60), Vec::new(), Vec::new(), sets(20)]);
        assert_eq!((fitted.is_truncated, read(&fitted.message).len()), (false, 64));
    }
}

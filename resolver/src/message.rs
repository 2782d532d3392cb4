//! From what to say to what is sent: records in hickory's types, EDNS, and what to leave out when it does not fit.
//!
//! A response that is too long loses the text of its extended error (RFC 8914 §3), then whole record sets from the back:
//! first additional records, silently; then glue, authority and answers, with the TC bit, so that the client asks again
//! over TCP (RFC 2181 §9, RFC 9471). If even that is not enough, it does not say which server it is from. What is left
//! fits any datagram: with the longest question, an extended error and a cookie it is 316 bytes.

use hickory_proto::{
    ProtoError,
    op::{Edns, EmitAndCount, Metadata, ResponseCode, emit_message_parts},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{
            NULL,
            opt::{EdnsCode, EdnsOption, NSIDPayload},
        },
    },
    serialize::binary::{BinDecodable, BinEncoder},
};
use hickory_server::{server::Request, zone_handler::Queries};

use crate::{
    answer::{Answer, Ede, Origin, RrSet},
    dname::{Dname, ancestors},
    dns::option,
    guard::cookie::COOKIE_BYTES,
    query::{MAX_UDP_BYTES, MIN_UDP_BYTES, Query},
};

/// Bytes of the number in it, before its text.
const EDE_NUMBER_BYTES: usize = 2;
/// Padded responses are multiples of so many bytes (RFC 8467 §4.1).
const PADDING_BLOCK_BYTES: usize = 468;
/// The largest response code that a header can say without an OPT record (RFC 6891 §6.1.3).
const MAX_HEADER_CODE: u16 = 15;
/// Bytes of an option without data.
const OPTION_BYTES: usize = 4;

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
    /// Answer, authority, glue and additional records, as record sets.
    pub(crate) sections: [Vec<Vec<Record>>; 4],
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
    metadata: Metadata,
    edns: Option<Edns>,
    answer: Vec<Record>,
    authority: Vec<Record>,
    additional: Vec<Record>,
    /// Length of the message in bytes.
    pub(crate) bytes: usize,
}

impl Reply {
    /// The answer, with owners in the case that the question used.
    pub(crate) fn from_answer(answer: Answer, question: Option<&Name>) -> Self {
        let convert = |sets: &[RrSet]| sets.iter().map(|set| records(set, question)).collect();
        let sections = [&answer.answer, &answer.authority, &answer.glue, &answer.additional];
        Self {
            rcode: answer.rcode,
            authoritative: answer.authoritative,
            recursion_available: false,
            authentic_data: answer.authentic,
            sections: sections.map(|sets| convert(sets)),
            ede: answer.ede,
            origin: answer.origin,
            cookie: None,
            max_bytes: u16::MAX,
            truncated: false,
        }
    }

    /// "Come by TCP", and nothing else.
    pub(crate) fn come_by_tcp(origin: Origin) -> Self {
        Self { truncated: true, ..Self::from_answer(Answer::empty(ResponseCode::NoError, origin), None) }
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

    /// Cuts the reply to what the client can take. `query` is absent if the question could not be understood.
    pub(crate) fn fit(
        self,
        request: &Request,
        query: Option<&Query>,
        server_id: Option<&str>,
        extras: Extras,
    ) -> Fitted {
        let limit = usize::from(query.map_or(MIN_UDP_BYTES, Query::max_answer_bytes).min(self.max_bytes));
        let limit = limit.saturating_sub(extras.reserved);
        let mut edns = request.edns.as_ref().map(|_| self.edns(query, server_id));
        if let (Some(edns), Some(units)) = (&mut edns, extras.keepalive) {
            edns.options_mut().insert(EdnsOption::Unknown(option::KEEPALIVE, units.to_be_bytes().to_vec()));
        }
        let mut fitted = self.cut(limit, request, edns);
        if extras.padded {
            fitted.pad(limit, request);
        }
        fitted
    }

    fn cut(self, limit: usize, request: &Request, mut edns: Option<Edns>) -> Fitted {
        let mut fitted = self.without(0, request, edns.as_ref());
        if fitted.bytes > limit && edns.as_mut().is_some_and(drop_ede_text) {
            fitted = self.without(0, request, edns.as_ref());
        }
        if fitted.bytes > limit {
            fitted = self.drop_sets(limit, request, edns.as_ref());
        }
        if fitted.bytes > limit && edns.as_mut().is_some_and(drop_nsid) {
            fitted = self.drop_sets(limit, request, edns.as_ref());
        }
        fitted
    }

    /// Drops as few record sets as it takes, if that can be enough.
    fn drop_sets(&self, limit: usize, request: &Request, edns: Option<&Edns>) -> Fitted {
        let cut = |dropped| self.without(dropped, request, edns);
        // Dropping more never makes the message longer, so halving finds the fewest sets to drop.
        let (mut low, mut high) = (0, self.sections.iter().map(Vec::len).sum());
        while low < high {
            let middle = low + (high - low) / 2;
            match cut(middle).bytes <= limit {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        cut(high)
    }

    fn without(&self, dropped: usize, request: &Request, edns: Option<&Edns>) -> Fitted {
        let mut dropped_left = dropped;
        let mut kept = [0; 4];
        for (index, section) in self.sections.iter().enumerate().rev() {
            let drop_here = dropped_left.min(section.len());
            dropped_left -= drop_here;
            kept[index] = section.len() - drop_here;
        }
        let take = |index: usize| self.sections[index].iter().take(kept[index]).flatten().cloned();
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = self.rcode;
        metadata.authoritative = self.authoritative;
        metadata.recursion_available = self.recursion_available;
        // CD is between validators: it comes back from upstreams, and an authority clears it (RFC 4035 §3.1.6, §3.2.2).
        metadata.checking_disabled &= self.origin == Origin::Upstream;
        metadata.authentic_data = self.authentic_data;
        metadata.truncation = self.truncated || dropped > self.sections[3].len();
        let mut fitted = Fitted {
            metadata,
            edns: edns.cloned(),
            answer: take(0).collect(),
            authority: take(1).collect(),
            additional: take(2).chain(take(3)).collect(),
            bytes: 0,
        };
        fitted.bytes = fitted.measure(request);
        fitted
    }

    fn edns(&self, query: Option<&Query>, server_id: Option<&str>) -> Edns {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP_BYTES).set_dnssec_ok(query.is_some_and(Query::dnssec_ok));
        if let Some(ede) = &self.ede {
            let mut data = (ede.code as u16).to_be_bytes().to_vec();
            data.extend_from_slice(ede.text.as_bytes());
            edns.options_mut().insert(EdnsOption::Unknown(option::EDE, data));
        }
        let wants_nsid = query.and_then(|query| query.edns).is_some_and(|edns| edns.wants_nsid);
        if let Some(id) = server_id.filter(|_| wants_nsid).and_then(|id| NSIDPayload::new(id).ok()) {
            edns.options_mut().insert(EdnsOption::NSID(id));
        }
        if let Some(cookie) = self.cookie {
            edns.options_mut().insert(EdnsOption::Unknown(option::COOKIE, cookie.to_vec()));
        }
        edns
    }
}

impl Fitted {
    /// Whether the TC bit is set.
    pub(crate) fn is_truncated(&self) -> bool {
        self.metadata.truncation
    }

    /// The response as a message; `None` if it is longer than any message can be.
    pub(crate) fn encode(&self, request: &Request) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::from(MIN_UDP_BYTES));
        emit_message_parts(
            &self.metadata,
            &mut AskedNames(&request.queries),
            &mut self.answer.iter(),
            &mut self.authority.iter(),
            &mut self.additional.iter(),
            self.edns.as_ref(),
            None,
            &mut BinEncoder::new(&mut bytes),
        )
        .ok()?;
        Some(bytes)
    }

    /// Makes the length a multiple of the block, or as near as the limit allows. Only with EDNS.
    fn pad(&mut self, limit: usize, request: &Request) {
        let Some(edns) = &mut self.edns else { return };
        let with_option = self.bytes + OPTION_BYTES;
        let Some(room) = limit.checked_sub(with_option) else { return };
        let padding = with_option.next_multiple_of(PADDING_BLOCK_BYTES) - with_option;
        edns.options_mut().insert(EdnsOption::Unknown(option::PADDING, vec![0; padding.min(room)]));
        self.bytes = self.measure(request);
    }

    fn measure(&self, request: &Request) -> usize {
        self.encode(request).map_or(usize::MAX, |bytes| bytes.len())
    }
}

/// Leaves the number of an extended error, and says whether there was a text.
fn drop_ede_text(edns: &mut Edns) -> bool {
    let code = EdnsCode::from(option::EDE);
    let Some(EdnsOption::Unknown(_, data)) = edns.option(code) else { return false };
    let Some((number, [_, ..])) = data.split_first_chunk::<EDE_NUMBER_BYTES>() else { return false };
    let number_only = EdnsOption::Unknown(option::EDE, number.to_vec());
    edns.options_mut().remove(code);
    edns.options_mut().insert(number_only);
    true
}

/// Leaves out the name of the server, and says whether there was one.
fn drop_nsid(edns: &mut Edns) -> bool {
    let is_there = edns.option(EdnsCode::NSID).is_some();
    edns.options_mut().remove(EdnsCode::NSID);
    is_there
}

/// The question section as it came, so that owner names can point into it. hickory's own takes it for one long label.
/// Several questions do not come back: nobody needs them, and a whole datagram of them would go wherever its sender
/// wishes.
struct AskedNames<'a>(&'a Queries);

impl EmitAndCount for AskedNames<'_> {
    fn emit(&mut self, encoder: &mut BinEncoder<'_>) -> Result<usize, ProtoError> {
        if self.0.len() != 1 {
            return Ok(0);
        }
        let (start, bytes) = (encoder.offset(), self.0.as_bytes());
        encoder.emit_vec(bytes)?;
        if let Ok((name, _)) = Dname::split_wire(bytes) {
            let end = name.as_wire().len() - 1;
            for tail in ancestors(&name.as_wire()[..end]).filter(|tail| !tail.is_empty()) {
                encoder.store_label_pointer(start + end - tail.len(), start + end);
            }
        }
        Ok(self.0.len())
    }
}

fn records(set: &RrSet, question: Option<&Name>) -> Vec<Record> {
    let Ok(name) = Name::from_bytes(set.owner.as_wire()) else { return Vec::new() };
    let name = question.filter(|asked| **asked == name).cloned().unwrap_or(name);
    let record = |data: &bytes::Bytes| {
        // Not `NULL::with`, which asserts that there is data: private types may have none.
        let mut opaque = NULL::new();
        opaque.anything = data.to_vec();
        let data = RData::Unknown { code: RecordType::from(set.rtype), rdata: opaque };
        let mut record = Record::from_rdata(name.clone(), set.ttl_s, data);
        record.dns_class = DNSClass::from(set.class);
        record
    };
    set.data.iter().map(record).collect()
}

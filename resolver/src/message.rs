//! From what to say to what is sent: records in hickory's types, EDNS, and what to leave out when it does not fit.
//!
//! A response that is too long loses whole record sets from the back: first additional records, silently; then glue,
//! authority and answers, with the TC bit, so that the client asks again over TCP (RFC 2181 §9, RFC 9471).

use hickory_proto::{
    ProtoError,
    op::{Edns, EmitAndCount, Message, Metadata, ResponseCode, emit_message_parts},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{
            NULL,
            opt::{EdnsOption, NSIDPayload},
        },
    },
    serialize::binary::{BinDecodable, BinEncoder},
};
use hickory_server::{server::Request, zone_handler::Queries};

use crate::{
    answer::{Answer, Ede, Origin, RrSet},
    dname::{Dname, ancestors},
    query::{MAX_UDP_BYTES, MIN_UDP_BYTES, Query},
};

/// Number of the extended-error option (RFC 8914 §2).
const EDE_OPTION: u16 = 15;

/// A response before it is cut to size.
pub(crate) struct Reply {
    pub(crate) rcode: ResponseCode,
    pub(crate) authoritative: bool,
    pub(crate) recursion_available: bool,
    pub(crate) ede: Option<Ede>,
    pub(crate) origin: Origin,
    /// Answer, authority, glue and additional records, as record sets.
    pub(crate) sections: [Vec<Vec<Record>>; 4],
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
            sections: sections.map(|sets| convert(sets)),
            ede: answer.ede,
            origin: answer.origin,
        }
    }

    /// What an upstream answered.
    pub(crate) fn from_upstream(message: Message) -> Self {
        Self {
            rcode: message.metadata.response_code,
            authoritative: false,
            recursion_available: true,
            ede: None,
            origin: Origin::Upstream,
            sections: [sets(message.answers), sets(message.authorities), Vec::new(), sets(message.additionals)],
        }
    }

    /// Appends what an upstream knows about the end of our alias chain (RFC 6604: its code, our AA).
    pub(crate) fn continue_with(&mut self, message: Message) {
        let rest = Self::from_upstream(message);
        self.rcode = rest.rcode;
        for (section, more) in self.sections.iter_mut().zip(rest.sections) {
            section.extend(more);
        }
    }

    /// Cuts the reply to what the client can take, less `reserved` bytes for what comes behind it. `query` is absent if the question could not be understood.
    pub(crate) fn fit(
        self,
        request: &Request,
        query: Option<&Query>,
        server_id: Option<&str>,
        reserved: usize,
    ) -> Fitted {
        let limit = usize::from(query.map_or(MIN_UDP_BYTES, Query::max_answer_bytes)).saturating_sub(reserved);
        let edns = request.edns.as_ref().map(|_| self.edns(query, server_id));
        let cut = |dropped| self.without(dropped, request, edns.as_ref());
        let whole = cut(0);
        if whole.bytes <= limit {
            return whole;
        }
        // Dropping more never makes the message longer, so halving finds the fewest sets to drop.
        let (mut low, mut high) = (1, self.sections.iter().map(Vec::len).sum());
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
        metadata.truncation = dropped > self.sections[3].len();
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
            let mut option = (ede.code as u16).to_be_bytes().to_vec();
            option.extend_from_slice(ede.text.as_bytes());
            edns.options_mut().insert(EdnsOption::Unknown(EDE_OPTION, option));
        }
        let wants_nsid = query.and_then(|query| query.edns).is_some_and(|edns| edns.wants_nsid);
        if let Some(id) = server_id.filter(|_| wants_nsid).and_then(|id| NSIDPayload::new(id).ok()) {
            edns.options_mut().insert(EdnsOption::NSID(id));
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

    fn measure(&self, request: &Request) -> usize {
        self.encode(request).map_or(usize::MAX, |bytes| bytes.len())
    }
}

/// The question section as it came, so that owner names can point into it. hickory's own takes it for one long label.
struct AskedNames<'a>(&'a Queries);

impl EmitAndCount for AskedNames<'_> {
    fn emit(&mut self, encoder: &mut BinEncoder<'_>) -> Result<usize, ProtoError> {
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
        let data = RData::Unknown { code: RecordType::from(set.rtype), rdata: NULL::with(data.to_vec()) };
        let mut record = Record::from_rdata(name.clone(), set.ttl_s, data);
        record.dns_class = DNSClass::from(set.class);
        record
    };
    set.data.iter().map(record).collect()
}

/// Neighbours with the same owner and type are one set.
fn sets(records: Vec<Record>) -> Vec<Vec<Record>> {
    let mut sets: Vec<Vec<Record>> = Vec::new();
    for record in records {
        match sets.last_mut() {
            Some(set) if set[0].name == record.name && set[0].record_type() == record.record_type() => {
                set.push(record);
            }
            _ => sets.push(vec![record]),
        }
    }
    sets
}

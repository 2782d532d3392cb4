//! Screening: what of a message is kept, and whether it is a question that can be answered.

use hickory_proto::{
    op::{Edns, OpCode, ResponseCode},
    rr::rdata::opt::EdnsCode,
};
use hickory_server::server::Request;

use crate::{
    dns::{
        answer::{Answer, Origin},
        message::Message,
        name::Dname,
    },
    policy::guard::cookie::Cookie,
    serve::intake,
    zones::{
        exchange::{Client, Via},
        query::{ClientEdns, Query, Recursion},
    },
};

/// The CO bit among the EDNS flags (RFC 9824 §5.1).
const COMPACT_OK: u16 = 1 << 14;

/// A message as it is kept while its answer is made.
pub(super) struct Asked {
    pub(super) request: Request,
    /// Whether its EDNS options do not add up.
    pub(super) has_damaged_options: bool,
}

impl Asked {
    /// Reads what counts of a message, and keeps no more of it. `None` if it is damaged.
    pub(super) fn read(bytes: &[u8], client: Client) -> Option<Self> {
        let reduced = intake::reduced(bytes)?;
        let has_damaged_options = !Message::new(&reduced)?.options().add_up();
        let lean = (!has_damaged_options).then(|| intake::lean(&reduced)).flatten();
        let parse = |bytes| Request::from_bytes(bytes, client.addr, client.via.protocol()).ok();
        // What is wrong with an option is found before options are left out.
        let whole = parse(reduced)?;
        let request = match lean {
            Some(lean) => parse(lean)?,
            None => whole,
        };
        Some(Self { request, has_damaged_options })
    }
}

/// Takes the question out of a request, or says what else there is to say, mostly what is wrong with it.
pub(super) fn screen(asked: &Asked, via: Via, cookie: &Cookie) -> Result<Query, Box<Answer>> {
    let request = &asked.request;
    let refuse = |rcode| Err(Box::new(Answer::empty(rcode, Origin::Policy)));
    match request.metadata.op_code {
        OpCode::Query => {}
        // The ledger changes by transactions only, and we are nobody's secondary.
        OpCode::Update | OpCode::Notify => return refuse(ResponseCode::Refused),
        OpCode::Status | OpCode::Unknown(_) => return refuse(ResponseCode::NotImp),
    }
    if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return refuse(ResponseCode::BADVERS);
    }
    if asked.has_damaged_options {
        return Err(Box::new(malformed()));
    }
    // RFC 9619: a query has exactly one question, or none if it is about a cookie.
    let question = match request.queries.queries() {
        [question] => question,
        [] => return refuse(without_question(cookie)),
        _ => return refuse(ResponseCode::FormErr),
    };
    let Ok(name) = Dname::from_labels(question.original().name().iter()) else { return Err(Box::new(malformed())) };
    Ok(Query {
        name,
        qtype: u16::from(question.query_type()),
        qclass: u16::from(question.query_class()),
        transport: via.transport(),
        recursion: match request.metadata.recursion_desired {
            true => Recursion::Desired,
            false => Recursion::NotDesired,
        },
        edns: request.edns.as_ref().map(client_edns),
    })
}

/// The answer to a query without a question, with which clients learn a cookie or see whether theirs is good (RFC 7873
/// §5.4).
fn without_question(cookie: &Cookie) -> ResponseCode {
    match cookie {
        Cookie::Absent | Cookie::Malformed => ResponseCode::FormErr,
        Cookie::Fresh(_) | Cookie::Valid(_) => ResponseCode::NoError,
        Cookie::Invalid(_) => ResponseCode::BADCOOKIE,
    }
}

fn client_edns(edns: &Edns) -> ClientEdns {
    ClientEdns {
        version: edns.version(),
        payload: edns.max_payload(),
        dnssec_ok: edns.flags().dnssec_ok,
        compact_ok: edns.flags().z & COMPACT_OK != 0,
        wants_nsid: edns.option(EdnsCode::NSID).is_some(),
    }
}

pub(super) fn malformed() -> Answer {
    Answer::empty(ResponseCode::FormErr, Origin::Policy)
}

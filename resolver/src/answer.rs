//! DNS semantics as a pure function: a [`Query`], a snapshot and the [`Site`] go in, an [`Answer`] comes out.
//!
//! Everything that decides what an answer *says* is here; what it looks like on the wire and how it travels is not.
//! The order of decisions is that of RFC 1034 §4.3.2 with its successors: RFC 2308 (negative answers), RFC 4592
//! (wildcards), RFC 6604 (codes of alias chains), RFC 6672 (DNAME), RFC 8020 (what NXDOMAIN means), RFC 8482 (ANY),
//! RFC 8914 (extended errors), RFC 9471 (glue), RFC 9824 (what is absent from a signed zone).
//!
//! Guarantees: no panic for any records and any query; work and size are bounded by [`MAX_CHAIN`] entries; one call
//! reads one snapshot.

mod chain;
mod chaos;
mod denial;
mod entry;
mod plain;
mod special;

use std::borrow::Cow;

use bytes::Bytes;
use hickory_proto::op::ResponseCode;

use crate::{
    dname::Dname,
    query::Query,
    rtype,
    site::Site,
    source::{NameView, Readiness},
};

pub(crate) use chain::is_single;
pub use plain::NotPlain;
pub(crate) use plain::{Plain, Set, plain};

/// The most aliases (CNAME or DNAME) followed for one query.
pub const MAX_CHAIN: usize = 8;

/// Whose question it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Answered here.
    Local(Answer),
    /// Neither ours nor special: to be forwarded or refused.
    Elsewhere,
}

/// What to say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Response code.
    pub rcode: ResponseCode,
    /// The AA bit: whether we are the authority for the first owner name.
    pub authoritative: bool,
    /// Answer section.
    pub answer: Vec<RrSet>,
    /// Authority section.
    pub authority: Vec<RrSet>,
    /// Glue without which a referral cannot be followed: if it does not fit, TC is set (RFC 9471).
    pub glue: Vec<RrSet>,
    /// Additional records that may be left out.
    pub additional: Vec<RrSet>,
    /// Extended error, for clients with EDNS.
    pub ede: Option<Ede>,
    /// Where an alias leads out of our zones: a resolver that may forward completes the answer from there.
    pub elsewhere: Option<Dname>,
    /// Which part of the resolver spoke.
    pub origin: Origin,
}

/// Records with one owner, class and type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RrSet {
    /// Owner, lower-cased.
    pub owner: Dname,
    /// Class number.
    pub class: u16,
    /// Type number.
    pub rtype: u16,
    /// Time to live of all records, in seconds.
    pub ttl_s: u32,
    /// Uncompressed data of each record; at least one.
    pub data: Vec<Bytes>,
}

/// An extended DNS error (RFC 8914).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ede {
    /// Why, by number.
    pub code: EdeCode,
    /// Why, in words.
    pub text: Cow<'static, str>,
}

/// The extended errors in use (RFC 8914 §4, RFC 9824 §6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum EdeCode {
    /// None of the others.
    Other = 0,
    /// The server is not yet able to answer.
    NotReady = 14,
    /// The client may not ask this here.
    Prohibited = 18,
    /// The zone is not ours.
    NotAuthoritative = 20,
    /// The server does not do this.
    NotSupported = 21,
    /// No upstream gave an answer.
    NoReachableAuthority = 22,
    /// The network failed.
    NetworkError = 23,
    /// The type cannot be asked for.
    InvalidQueryType = 30,
}

/// The parts of the resolver that answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The ledger.
    Ledger,
    /// Special-use names (RFC 6761, RFC 6303).
    Special,
    /// The server speaking about itself (class CH).
    Status,
    /// An upstream.
    Upstream,
    /// A refusal before any of these was asked.
    Policy,
}

/// Answers `query` from one snapshot.
pub fn answer(query: &Query, view: &dyn NameView, site: &Site) -> Verdict {
    match query.qclass {
        rtype::CLASS_IN => {}
        rtype::CLASS_CH => return Verdict::Local(chaos::answer(query, &view.facts(), site)),
        _ => return refused(EdeCode::NotSupported, "only classes IN and CH are served"),
    }
    if let Some(refusal) = refuse_type(query.qtype) {
        return Verdict::Local(refusal);
    }
    if site.zone_of(&query.name).is_some() {
        return Verdict::Local(match view.facts().readiness {
            Readiness::Ready => chain::follow(query, view, site),
            Readiness::NotReady { height, target } => not_ready(height, target),
        });
    }
    match special::answer(&query.name, query.qtype) {
        Some(answer) => Verdict::Local(answer),
        None => Verdict::Elsewhere,
    }
}

impl Answer {
    /// An answer of no records.
    pub fn empty(rcode: ResponseCode, origin: Origin) -> Self {
        Self {
            rcode,
            authoritative: false,
            answer: Vec::new(),
            authority: Vec::new(),
            glue: Vec::new(),
            additional: Vec::new(),
            ede: None,
            elsewhere: None,
            origin,
        }
    }

    /// A failure with its reason.
    pub fn failure(rcode: ResponseCode, origin: Origin, code: EdeCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { ede: Some(Ede { code, text: text.into() }), ..Self::empty(rcode, origin) }
    }
}

impl RrSet {
    /// A set of one record in class IN.
    pub fn one(owner: Dname, rtype: u16, ttl_s: u32, data: impl Into<Bytes>) -> Self {
        Self { owner, class: rtype::CLASS_IN, rtype, ttl_s, data: vec![data.into()] }
    }
}

fn refused(code: EdeCode, text: &'static str) -> Verdict {
    Verdict::Local(Answer::failure(ResponseCode::Refused, Origin::Policy, code, text))
}

/// Types that are no question about data. Every other number is one, known or not (RFC 3597).
fn refuse_type(qtype: u16) -> Option<Answer> {
    let (rcode, code, text) = match qtype {
        rtype::OPT | rtype::NXNAME | rtype::TKEY | rtype::TSIG => {
            (ResponseCode::FormErr, EdeCode::InvalidQueryType, "this type cannot be asked for")
        }
        rtype::AXFR | rtype::IXFR => (ResponseCode::Refused, EdeCode::Prohibited, "zone transfer is not offered"),
        _ => return None,
    };
    Some(Answer::failure(rcode, Origin::Policy, code, text))
}

/// "No such name" while the ledger is incomplete would be a guess, and would be cached.
fn not_ready(height: u32, target: Option<u32>) -> Answer {
    let text = match target {
        Some(target) => format!("ledger at height {height} of {target}"),
        None => format!("ledger at height {height}, looking for peers"),
    };
    Answer::failure(ResponseCode::ServFail, Origin::Ledger, EdeCode::NotReady, text)
}

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
mod local;
mod plain;
mod special;

use std::borrow::Cow;

use bytes::Bytes;
use hickory_proto::op::ResponseCode;

use crate::{
    dname::Dname,
    hosts::{Hosts, HostsView},
    query::Query,
    rtype,
    site::Site,
    source::{NameView, Readiness},
};

pub(crate) use chain::is_single;
pub use plain::NotPlain;
pub(crate) use plain::{Plain, Set, plain};
pub(crate) use special::{must_stay, zone_of as special_zone_of};

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
    /// The AD bit: an upstream that can be believed has validated this.
    pub authentic: bool,
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
    /// The answer is older than its TTL.
    StaleAnswer = 3,
    /// The upstream could not decide whether the answer is valid.
    DnssecIndeterminate = 5,
    /// The upstream found the answer to be forged or broken.
    DnssecBogus = 6,
    /// Signatures have expired.
    SignatureExpired = 7,
    /// Signatures are not valid yet.
    SignatureNotYetValid = 8,
    /// The key of a delegation is missing.
    DnskeyMissing = 9,
    /// Signatures are missing.
    RrsigsMissing = 10,
    /// No key may sign a zone.
    NoZoneKeyBit = 11,
    /// The proof of absence is missing.
    NsecMissing = 12,
    /// A failure is remembered.
    CachedError = 13,
    /// The server is not yet able to answer.
    NotReady = 14,
    /// The operator's policy withholds the answer.
    Blocked = 15,
    /// Somebody above the operator withholds the answer.
    Censored = 16,
    /// The client's wish withholds the answer.
    Filtered = 17,
    /// The client may not ask this here.
    Prohibited = 18,
    /// The name did not exist when its upstream was last heard of.
    StaleNxdomain = 19,
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

impl EdeCode {
    /// Whether the reason is that an answer is not, or not provably, what its zone says.
    pub(crate) fn is_of_validation(self) -> bool {
        (Self::DnssecIndeterminate as u16..=Self::NsecMissing as u16).contains(&(self as u16))
    }

    /// The codes that an upstream may give as its reason, and that are passed on.
    pub(crate) fn from_number(number: u16) -> Option<Self> {
        use EdeCode::{
            Blocked, CachedError, Censored, DnskeyMissing, DnssecBogus, DnssecIndeterminate, Filtered, NetworkError,
            NoReachableAuthority, NoZoneKeyBit, NsecMissing, Other, Prohibited, RrsigsMissing, SignatureExpired,
            SignatureNotYetValid, StaleAnswer, StaleNxdomain,
        };
        let known = [
            Other,
            StaleAnswer,
            DnssecIndeterminate,
            DnssecBogus,
            SignatureExpired,
            SignatureNotYetValid,
            DnskeyMissing,
            RrsigsMissing,
            NoZoneKeyBit,
            NsecMissing,
            CachedError,
            Blocked,
            Censored,
            Filtered,
            Prohibited,
            StaleNxdomain,
            NoReachableAuthority,
            NetworkError,
        ];
        known.into_iter().find(|code| *code as u16 == number)
    }
}

/// The parts of the resolver that answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A HOSTS file of the operator.
    Hosts,
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
    answer_with_hosts(query, view, site, Hosts::none())
}

/// The same with names from HOSTS files, which come before all others.
pub fn answer_with_hosts<'h>(
    query: &Query,
    view: &dyn NameView,
    site: &Site,
    hosts: impl Into<HostsView<'h>>,
) -> Verdict {
    let hosts = hosts.into();
    match query.qclass {
        rtype::CLASS_IN => {}
        rtype::CLASS_CH => return Verdict::Local(chaos::answer(query, &view.facts(), site)),
        _ => return refused(EdeCode::NotSupported, "only classes IN and CH are served"),
    }
    if let Some(refusal) = refuse_type(query.qtype) {
        return Verdict::Local(refusal);
    }
    if let Some(answer) = local::answer(&query.name, query, hosts) {
        return Verdict::Local(answer);
    }
    if let Some(zone) = site.zone_of(&query.name) {
        return Verdict::Local(match view.facts().readiness {
            Readiness::Ready => chain::follow(query, view, site, hosts),
            // It says that this is the right resolver, which it is from the start.
            Readiness::NotReady { .. } if zone.is_probe(&query.name) => chain::follow(query, view, site, hosts),
            Readiness::NotReady { height, target } => not_ready(height, target),
        });
    }
    match special::answer(&query.name, query.qtype, site) {
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
            authentic: false,
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
        // Those that are allowed never come here.
        rtype::AXFR | rtype::IXFR => {
            let text = "zone transfer: not over this transport, or not for you";
            (ResponseCode::Refused, EdeCode::Prohibited, text)
        }
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

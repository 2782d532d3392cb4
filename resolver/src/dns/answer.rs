//! What an answer says, before it is a message.

use std::borrow::Cow;

use hickory_proto::op::ResponseCode;

use super::{
    ede::{Ede, EdeCode},
    rrset::RrSet,
};
use crate::dns::name::Dname;

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

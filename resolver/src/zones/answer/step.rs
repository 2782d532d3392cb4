//! What one name leads to, on the way to an answer.

use crate::{
    dns::{ede::Ede, name::Dname, rrset::RrSet, rtype},
    zones::query::{Query, Transport},
};

/// What one name leads to.
pub(super) enum Step {
    /// Records of the wanted type.
    Data(Vec<RrSet>),
    /// The name exists with the given types, but not with the wanted one.
    NoData { types: Vec<u16> },
    /// The name does not exist.
    NxDomain(Option<Ede>),
    /// Another name is meant.
    Alias { sets: Vec<RrSet>, target: Dname },
    /// Others are responsible from here on.
    Cut(Referral),
    /// A DNAME whose substitution is no name (RFC 6672 §2.2).
    TooLong(RrSet),
}

/// Where others are responsible.
pub(super) struct Referral {
    /// The NS set at the cut.
    pub(super) name_servers: RrSet,
    /// The DS set at the cut.
    pub(super) signer: Option<RrSet>,
    /// Addresses of name servers at or below the cut.
    pub(super) glue: Vec<RrSet>,
    /// Name servers elsewhere.
    pub(super) siblings: Vec<Dname>,
}

/// ANY in minimal form (RFC 8482 §4.1): over UDP, and wherever each set costs a signature, the first set; else all.
pub(super) fn any(mut sets: Vec<RrSet>, query: &Query) -> Step {
    if query.transport == Transport::Datagram || query.dnssec_ok() {
        sets.truncate(1);
    }
    if sets.is_empty() { Step::NoData { types: Vec::new() } } else { Step::Data(sets) }
}

/// Whether a type may hold one record per owner only (RFC 2181 §10.1, RFC 6672 §2.4).
pub(crate) fn is_single(rtype: u16) -> bool {
    matches!(rtype, rtype::CNAME | rtype::DNAME)
}

//! What most queries want, found without an allocation: the records at one node of one entry, or that there are none.
//!
//! This is the part of [`answer`](super::answer) that needs nothing but one entry. It says [`Plain::Other`] to
//! whatever could change an answer from elsewhere (aliases, cuts, wildcards, the zone's own names, names out of
//! service), and the caller asks [`answer`](super::answer) then. Where it does speak, both say the same.

use crate::{
    dns::{
        name::{ends_with_labels, split_last_label},
        rtype,
    },
    names::{
        records::RecordsRef,
        view::{Facts, NameView, Status},
    },
    zones::site::SERVICE_LABEL,
};

/// RRSIG and NSEC: they stand beside any type, so questions for them follow rules of their own (RFC 4035 §2.5).
const SIGNATURE_TYPES: [u16; 2] = [46, 47];

/// A plain answer.
#[derive(Debug)]
pub(crate) enum Plain<'a> {
    /// The records of one type at one node.
    Data(Set<'a>),
    /// The name exists, the type does not.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// Not as simple as that.
    Other(NotPlain),
}

/// Records of one type at one node of an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Set<'a> {
    records: RecordsRef<'a>,
    sub: &'a [u8],
    rtype: u16,
    /// How many there are.
    pub(crate) count: u16,
    /// Time to live of all of them, in seconds.
    pub(crate) ttl_s: u32,
}

/// Why a query of a ledger zone has no plain answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotPlain {
    /// ANY, RRSIG, NSEC, or a type that is no question about data.
    Type,
    /// The zone's own names: its apex, and what is below `nic`.
    Apex,
    /// The name is registered, but not in DNS now.
    OutOfService,
    /// An NS, CNAME or DNAME record stands at the node or above it.
    Redirected,
    /// The node does not exist, and a wildcard may stand for it.
    Wildcard,
}

/// Looks for `rtype` at `relative`, which is lower-cased and stands below the apex of a zone.
pub(crate) fn plain<'a>(relative: &'a [u8], rtype: u16, view: &'a dyn NameView, facts: &Facts) -> Plain<'a> {
    let is_meta = rtype == rtype::ANY || SIGNATURE_TYPES.contains(&rtype);
    if is_meta || super::types::refuse(rtype).is_some() {
        return Plain::Other(NotPlain::Type);
    }
    let Some((sub, label)) = split_last_label(relative).filter(|(_, label)| *label != SERVICE_LABEL) else {
        return Plain::Other(NotPlain::Apex);
    };
    let Some(entry) = view.find(label) else { return Plain::NxDomain };
    if !matches!(entry.life.status(facts.height.saturating_add(1)), Status::Active | Status::Grace) {
        return Plain::Other(NotPlain::OutOfService);
    }
    let mut seen = Seen::default();
    let mut set = Set { records: entry.records, sub, rtype, count: 0, ttl_s: u32::MAX };
    for record in entry.records.iter() {
        seen.look_at(record.sub, record.rtype, sub);
        if record.sub == sub && record.rtype == rtype {
            set.count += 1;
            set.ttl_s = set.ttl_s.min(entry.life.ttl_s(record.ttl_s, facts));
        }
    }
    seen.judge(set)
}

impl<'a> Set<'a> {
    /// The data of each record, in order.
    pub(crate) fn data(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let Self { records, sub, rtype, .. } = *self;
        records.iter().filter(move |record| record.rtype == rtype && record.sub == sub).map(|record| record.data)
    }
}

/// What the records of an entry say about one node.
#[derive(Default)]
struct Seen {
    any: bool,
    exists: bool,
    redirected: bool,
    wildcard: bool,
}

impl Seen {
    fn look_at(&mut self, owner: &[u8], rtype: u16, node: &[u8]) {
        self.any = true;
        self.exists |= ends_with_labels(owner, node);
        self.redirected |= matches!(rtype, rtype::NS | rtype::CNAME | rtype::DNAME) && ends_with_labels(node, owner);
        // Also true of some owners that are no wildcards; the caller then looks more closely.
        self.wildcard |= owner.windows(2).any(|pair| pair == b"\x01*");
    }

    fn judge(self, set: Set<'_>) -> Plain<'_> {
        if !self.any {
            Plain::Other(NotPlain::OutOfService)
        } else if self.redirected {
            Plain::Other(NotPlain::Redirected)
        } else if set.count > 0 {
            Plain::Data(set)
        } else if self.exists {
            Plain::NoData
        } else if self.wildcard {
            Plain::Other(NotPlain::Wildcard)
        } else {
            Plain::NxDomain
        }
    }
}

//! One ledger name and what is below it: nodes, cuts, aliases, wildcards.
//!
//! An entry is a small tree. Its nodes are the owners of its records and their ancestors, so a node may be empty (an
//! empty non-terminal: it exists, without data). The walk goes from the name itself downwards, as RFC 1034 §4.3.2
//! step 3 prescribes: a cut ends it with a referral, a DNAME redirects what is below, a missing node tries the
//! wildcard of its closest ancestor (RFC 4592 §3.3).
//!
//! Owners can write contradictions. Then: NS hides everything else at and below its owner except DS and glue; CNAME
//! hides all other types, DNAME included; of several CNAMEs or DNAMEs at one owner the first in canonical order counts.

use super::step::{Referral, Step, any, is_single};
use crate::{
    dns::{
        name::{Dname, ancestors, ends_with_labels},
        rdata,
        rrset::RrSet,
        rtype,
    },
    names::{
        records::RecordRef,
        view::{Entry, Facts},
    },
    zones::query::Query,
};

/// An entry in its place.
pub(super) struct Node<'a> {
    pub(super) entry: &'a Entry,
    /// The ledger name as a domain name: what relative owners stand below.
    pub(super) base: &'a Dname,
    pub(super) facts: &'a Facts,
}

impl Node<'_> {
    /// What the name `sub` below the entry leads to. `name` is the same name in full.
    pub(super) fn resolve(&self, sub: &[u8], name: &Dname, query: &Query) -> Step {
        let path: Vec<&[u8]> = ancestors(sub).collect();
        let mut closest: &[u8] = b"";
        for &at in path.iter().rev() {
            if !self.exists(at) {
                return self.wildcard(closest, name, query);
            }
            let asks_parent = at == sub && query.qtype == rtype::DS;
            if !asks_parent && let Some(name_servers) = self.set_below(at, rtype::NS) {
                return Step::Cut(self.referral(at, name_servers));
            }
            if at == sub {
                return self.exact(at, name, query);
            }
            if let Some(dname) = self.dname(at) {
                return redirect(dname, &sub[..sub.len() - at.len()], name, query.qtype);
            }
            closest = at;
        }
        Step::NxDomain(None)
    }

    /// A and AAAA records at exactly `sub`, whatever hides them.
    pub(super) fn addresses(&self, sub: &[u8], owner: &Dname) -> Vec<RrSet> {
        [rtype::A, rtype::AAAA].into_iter().filter_map(|rtype| self.set(sub, owner, rtype)).collect()
    }

    /// A node exists if a record is there or below.
    fn exists(&self, sub: &[u8]) -> bool {
        self.entry.records.iter().any(|record| ends_with_labels(record.sub, sub))
    }

    /// The node `at`, answering as `owner`: itself, or what a wildcard stands for.
    fn exact(&self, at: &[u8], owner: &Dname, query: &Query) -> Step {
        let is_cut = self.set(at, owner, rtype::NS).is_some();
        if is_cut {
            // Only a question for DS comes this far, and nothing but DS is on our side of the cut.
            let no_signer = Step::NoData { types: vec![rtype::NS] };
            return self.set(at, owner, rtype::DS).map_or(no_signer, |set| Step::Data(vec![set]));
        }
        select(self.sets(at, owner), query)
    }

    fn wildcard(&self, closest: &[u8], name: &Dname, query: &Query) -> Step {
        let source = [b"\x01*", closest].concat();
        match self.exists(&source) {
            true => select(self.sets(&source, name), query),
            false => Step::NxDomain(None),
        }
    }

    fn referral(&self, cut: &[u8], name_servers: RrSet) -> Referral {
        let mut referral =
            Referral { signer: self.set_below(cut, rtype::DS), name_servers, glue: Vec::new(), siblings: Vec::new() };
        for target in referral.name_servers.data.iter().filter_map(|data| rdata::target(data).ok()) {
            match target.relative_to(self.base).filter(|sub| ends_with_labels(sub, cut)) {
                Some(sub) => referral.glue.extend(self.addresses(sub, &target)),
                None => referral.siblings.push(target),
            }
        }
        referral
    }

    /// The DNAME set at the node `sub`, if it counts. No secondary could hold both aliases (RFC 6672 §2.4).
    fn dname(&self, sub: &[u8]) -> Option<RrSet> {
        let set = self.set_below(sub, rtype::DNAME)?;
        let is_hidden = self.at(sub).any(|record| record.rtype == rtype::CNAME);
        (!is_hidden).then_some(set)
    }

    /// The set of `rtype` at the node `sub`, under the node's own name.
    fn set_below(&self, sub: &[u8], rtype: u16) -> Option<RrSet> {
        // Most nodes have no NS and no DNAME: look before the owner name is built.
        self.at(sub).any(|record| record.rtype == rtype).then_some(())?;
        self.set(sub, &self.base.with_prefix(sub).ok()?, rtype)
    }

    fn set(&self, sub: &[u8], owner: &Dname, rtype: u16) -> Option<RrSet> {
        self.group(self.at(sub).filter(|record| record.rtype == rtype), owner).pop()
    }

    fn sets(&self, sub: &[u8], owner: &Dname) -> Vec<RrSet> {
        self.group(self.at(sub), owner)
    }

    fn at(&self, sub: &[u8]) -> impl Iterator<Item = RecordRef<'_>> {
        self.entry.records.iter().filter(move |record| record.sub == sub)
    }

    /// Sets of records that come ordered by type. A set has one TTL, the shortest (RFC 2181 §5.2).
    fn group<'r>(&self, records: impl Iterator<Item = RecordRef<'r>>, owner: &Dname) -> Vec<RrSet> {
        let mut sets: Vec<RrSet> = Vec::new();
        for record in records {
            let ttl_s = self.entry.life.ttl_s(record.ttl_s, self.facts);
            let data = self.entry.records.share(record.data);
            match sets.last_mut().filter(|set| set.rtype == record.rtype) {
                Some(_) if is_single(record.rtype) => {}
                Some(set) => {
                    set.ttl_s = set.ttl_s.min(ttl_s);
                    set.data.push(data);
                }
                None => sets.push(RrSet::one(owner.clone(), record.rtype, ttl_s, data)),
            }
        }
        sets
    }
}

/// Chooses from all sets of one node what answers the query.
pub(super) fn select(mut sets: Vec<RrSet>, query: &Query) -> Step {
    if sets.iter().any(|set| set.rtype == rtype::CNAME) {
        sets.retain(|set| set.rtype == rtype::CNAME);
    }
    if query.qtype == rtype::ANY {
        return any(sets, query);
    }
    let types = sets.iter().map(|set| set.rtype).collect();
    let wanted = match (query.qtype, sets.first()) {
        // What stands beside any type, a CNAME too, is not sought at its target (RFC 4035 §2.5).
        (rtype::NSEC | rtype::RRSIG, _) => return Step::NoData { types },
        (_, Some(set)) if set.rtype == rtype::CNAME => rtype::CNAME,
        (qtype, _) => qtype,
    };
    sets.retain(|set| set.rtype == wanted);
    if sets.is_empty() {
        return Step::NoData { types };
    }
    match sets[0].data.first().map(|data| rdata::target(data)) {
        Some(Ok(target)) if wanted != query.qtype => Step::Alias { sets, target },
        _ => Step::Data(sets),
    }
}

/// Replaces the DNAME's owner by its target in `name`, and says so with a CNAME (RFC 6672 §3.1).
fn redirect(dname: RrSet, prefix: &[u8], name: &Dname, qtype: u16) -> Step {
    let target = dname.data.first().and_then(|data| rdata::target(data).ok());
    let Some(Ok(target)) = target.map(|target| target.with_prefix(prefix)) else {
        return Step::TooLong(dname);
    };
    let cname = RrSet::one(name.clone(), rtype::CNAME, dname.ttl_s, target.as_wire().to_vec());
    match qtype {
        rtype::CNAME | rtype::ANY => Step::Data(vec![dname, cname]),
        _ => Step::Alias { sets: vec![dname, cname], target },
    }
}

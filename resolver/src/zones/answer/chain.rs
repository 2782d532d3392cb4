//! From a name in one of our zones to an answer, across aliases.
//!
//! Each round finds the zone, the entry and the node of one name. An alias starts another round with its target, in
//! whichever of our zones that is; leaving them, running in a circle or exceeding [`MAX_CHAIN`] ends the walk with
//! what was found so far. The code is that of the last name, the AA bit that of the first (RFC 6604).

use hickory_proto::op::ResponseCode;
use ledger::name::Name;

use super::{
    denial,
    entry::{self, Node},
    local, special,
    step::{Referral, Step},
};
use crate::{
    dns::{
        answer::{Answer, Origin},
        ede::{Ede, EdeCode},
        name::{Dname, split_last_label},
        rrset::RrSet,
        rtype,
    },
    names::view::{Entry, Facts, NameView, Status},
    zones::{
        hosts::HostsView,
        query::Query,
        site::{PROBE_LABEL, SERVICE_LABEL, Site, Zone},
    },
};

/// The most aliases (CNAME or DNAME) followed for one query.
pub const MAX_CHAIN: usize = 8;
/// Name servers of a referral whose addresses are looked up in other entries.
const MAX_SIBLINGS: usize = 8;

/// The name at which the walk ended, and its zone.
struct Place<'a> {
    name: &'a Dname,
    zone: &'a Zone,
}

/// Answers a query whose name is in one of the site's zones.
pub(super) fn follow(query: &Query, view: &dyn NameView, site: &Site, hosts: HostsView<'_>) -> Answer {
    let facts = view.facts();
    let mut answer = Answer { authoritative: true, ..Answer::empty(ResponseCode::NoError, Origin::Ledger) };
    let mut seen = vec![query.name.clone()];
    loop {
        let name = &seen[seen.len() - 1];
        if let Some(rest) = local::answer(name, query, hosts) {
            // Signed as a whole or not at all, and HOSTS files are not the ledger's word.
            answer.origin = rest.origin;
            return join(answer, rest);
        }
        let Some(zone) = site.zone_for(name, query.qtype) else {
            return leave(answer, name.clone(), query.qtype, site);
        };
        match step(name, zone, query, view, site, &facts) {
            Step::Alias { sets, target } => {
                answer.answer.extend(sets);
                if let Some(text) = why_stop(&seen, &target) {
                    answer.ede = Some(Ede { code: EdeCode::Other, text: text.into() });
                    return answer;
                }
                seen.push(target);
            }
            last => return finish(answer, last, &Place { name, zone }, query, view, site),
        }
    }
}

fn why_stop(seen: &[Dname], target: &Dname) -> Option<&'static str> {
    if seen.contains(target) {
        Some("the aliases run in a circle")
    } else if seen.len() > MAX_CHAIN {
        Some("too many aliases")
    } else {
        None
    }
}

/// Finds what `name` leads to within `zone`.
fn step(name: &Dname, zone: &Zone, query: &Query, view: &dyn NameView, site: &Site, facts: &Facts) -> Step {
    let relative = name.relative_to(zone.apex()).unwrap_or_default();
    if let Some(inner) = site.zone_of(name).filter(|inner| inner.apex() != zone.apex()) {
        return inner.signer().map_or(Step::NoData { types: vec![rtype::NS] }, |set| Step::Data(vec![set]));
    }
    let Some((sub, label)) = split_last_label(relative) else {
        return entry::select(zone.apex_sets(facts), query);
    };
    if label == SERVICE_LABEL {
        return match sub {
            b"" => Step::NoData { types: Vec::new() },
            b"\x02ns" => entry::select(zone.name_server_sets(), query),
            PROBE_LABEL => entry::select(zone.probe_sets(), query),
            _ => Step::NxDomain(None),
        };
    }
    let entry = match find(label, view, facts) {
        Ok(entry) => entry,
        Err(reason) => return Step::NxDomain(reason),
    };
    match zone.apex().with_prefix(&relative[sub.len()..]) {
        Ok(base) => Node { entry: &entry, base: &base, facts }.resolve(sub, name, query),
        Err(_) => Step::NxDomain(None),
    }
}

/// The entry that `label` names, if it is in DNS now; else perhaps why not.
fn find(label: &[u8], view: &dyn NameView, facts: &Facts) -> Result<Entry, Option<Ede>> {
    let name = std::str::from_utf8(label).ok().and_then(|text| Name::new(text).ok()).ok_or(None)?;
    let entry = view.lookup(&name).ok_or(None)?;
    let why_not = match entry.life.status(facts.height.saturating_add(1)) {
        Status::Active | Status::Grace if entry.records.iter().next().is_none() => "the name holds no records",
        Status::Active | Status::Grace => return Ok(entry),
        Status::Pending => "the registration can still be contested",
        Status::Revoked => "the name is revoked",
        Status::Released => "the name has expired",
    };
    Err(Some(Ede { code: EdeCode::Other, text: why_not.into() }))
}

fn finish(mut answer: Answer, last: Step, at: &Place, query: &Query, view: &dyn NameView, site: &Site) -> Answer {
    match last {
        Step::Data(sets) => answer.answer.extend(sets),
        Step::NoData { types } => deny_type(&mut answer, types, at, query, &view.facts()),
        Step::NxDomain(ede) => {
            answer.ede = ede;
            deny_name(&mut answer, at, query, &view.facts());
        }
        Step::Cut(referral) => refer(&mut answer, referral, at.zone, query, view, site),
        Step::TooLong(dname) => {
            answer.rcode = ResponseCode::YXDomain;
            answer.answer.push(dname);
        }
        // `follow` takes every alias itself.
        Step::Alias { sets, .. } => answer.answer.extend(sets),
    }
    answer
}

fn deny_type(answer: &mut Answer, types: Vec<u16>, at: &Place, query: &Query, facts: &Facts) {
    match wants_proof(at.zone, query) {
        true => prove(answer, denial::of_type(at.name, at.zone, types, facts), at, query, facts),
        false => answer.authority.push(at.zone.soa(facts)),
    }
}

/// A validator reads from the NSEC record that the name is absent. To others in between, which know that record only
/// as proof of an absent type, NXDOMAIN would be a contradiction (RFC 9824 §3.1, §5).
fn deny_name(answer: &mut Answer, at: &Place, query: &Query, facts: &Facts) {
    if !wants_proof(at.zone, query) {
        answer.rcode = ResponseCode::NXDomain;
        return answer.authority.push(at.zone.soa(facts));
    }
    prove(answer, denial::of_name(at.name, at.zone, facts), at, query, facts);
    if query.compact_ok() {
        answer.rcode = ResponseCode::NXDomain;
    }
}

/// Every name of a signed zone has an NSEC record once it is asked about, so questions for NSEC, or for the RRSIG that
/// comes with it, are answered by it and not denied.
fn prove(answer: &mut Answer, nsec: RrSet, at: &Place, query: &Query, facts: &Facts) {
    match query.qtype {
        rtype::NSEC | rtype::RRSIG => answer.answer.push(nsec),
        _ => answer.authority.extend([at.zone.soa(facts), nsec]),
    }
}

fn wants_proof(zone: &Zone, query: &Query) -> bool {
    zone.is_signed() && query.dnssec_ok()
}

fn refer(answer: &mut Answer, referral: Referral, zone: &Zone, query: &Query, view: &dyn NameView, site: &Site) {
    if answer.answer.is_empty() {
        answer.authoritative = false;
    }
    let cut = referral.name_servers.owner.clone();
    answer.authority.push(referral.name_servers);
    match referral.signer {
        // In a zone without signatures a DS would be nobody's word (RFC 4035 §3.1.4 speaks of signed zones).
        _ if !wants_proof(zone, query) => {}
        Some(signer) => answer.authority.push(signer),
        None => answer.authority.push(denial::of_signer(&cut, zone, &view.facts())),
    }
    answer.glue = referral.glue;
    let siblings = referral.siblings.iter().take(MAX_SIBLINGS);
    answer.additional = siblings.flat_map(|target| addresses(target, view, site)).collect();
}

/// The addresses of a name server that is in one of our zones but not below the cut.
fn addresses(target: &Dname, view: &dyn NameView, site: &Site) -> Vec<RrSet> {
    let facts = view.facts();
    let sets = || {
        let apex = site.zone_of(target)?.apex();
        let relative = target.relative_to(apex)?;
        let (sub, label) = split_last_label(relative)?;
        let entry = find(label, view, &facts).ok()?;
        let base = apex.with_prefix(&relative[sub.len()..]).ok()?;
        Some(Node { entry: &entry, base: &base, facts: &facts }.addresses(sub, target))
    };
    sets().unwrap_or_default()
}

/// An alias led out of our zones: to a special-use name, which we know, or to where others answer.
fn leave(mut answer: Answer, name: Dname, qtype: u16, site: &Site) -> Answer {
    match special::answer(&name, qtype, site) {
        Some(rest) => join(answer, rest),
        None => {
            answer.elsewhere = Some(name);
            answer
        }
    }
}

/// The code is that of the last name, the AA bit that of the first (RFC 6604).
fn join(mut answer: Answer, rest: Answer) -> Answer {
    answer.rcode = rest.rcode;
    answer.answer.extend(rest.answer);
    answer.authority = rest.authority;
    answer
}

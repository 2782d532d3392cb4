//! What the ledger would take but DNS would not answer as meant.

use std::collections::{BTreeMap, BTreeSet};

use ledger::record::{Record, Records, type_mnemonic};

use super::{name, origin::Origin};

const NS: u16 = 2;
const CNAME: u16 = 5;
const MX: u16 = 15;
const SRV: u16 = 33;
const DNAME: u16 = 39;
const DS: u16 = 43;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Will not be answered as written.
    Error,
    /// Probably not what was meant.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What and why, one sentence.
    pub text: String,
}

/// Looks through a record set.
pub fn lint(records: &Records, origin: &Origin) -> Vec<Finding> {
    let mut sets: BTreeMap<(&[u8], u16), Vec<&Record>> = BTreeMap::new();
    for record in records.as_slice() {
        sets.entry((&record.sub, record.rtype)).or_default().push(record);
    }
    let mut found = Vec::new();
    for ((sub, rtype), members) in &sets {
        let owner = name::display_sub(sub);
        aliases_stand_alone(&owner, sub, *rtype, members.len(), &sets, &mut found);
        one_ttl_per_set(&owner, *rtype, members, &mut found);
        if matches!(*rtype, NS | DNAME | DS) && sub.starts_with(b"\x01*") {
            let text = format!("{owner} {}: has no meaning at a wildcard and is not answered", type_mnemonic(*rtype));
            found.push(Finding { severity: Severity::Error, text });
        }
        if *rtype == DS && !sets.contains_key(&(*sub, NS)) {
            let text = format!("{owner} DS: there is no NS record beside it, so nothing is delegated");
            found.push(Finding { severity: Severity::Warning, text });
        }
        for record in members {
            targets_have_addresses(record, &owner, &sets, origin, &mut found);
        }
    }
    nothing_below_a_cut(&sets, &mut found);
    found.sort_by_key(|finding| finding.severity);
    found
}

type Sets<'a> = BTreeMap<(&'a [u8], u16), Vec<&'a Record>>;

fn aliases_stand_alone(owner: &str, sub: &[u8], rtype: u16, count: usize, sets: &Sets<'_>, found: &mut Vec<Finding>) {
    if matches!(rtype, CNAME | DNAME) && count > 1 {
        let text = format!("{owner} {}: only one can stand at an owner (RFC 1034 §3.6.2)", type_mnemonic(rtype));
        found.push(Finding { severity: Severity::Error, text });
    }
    let others = sets.keys().filter(|(other, kind)| *other == sub && *kind != CNAME).count();
    if rtype == CNAME && others > 0 {
        let text = format!("{owner} CNAME: other records of {owner} are hidden behind it (RFC 1034 §3.6.2)");
        found.push(Finding { severity: Severity::Error, text });
    }
}

fn one_ttl_per_set(owner: &str, rtype: u16, members: &[&Record], found: &mut Vec<Finding>) {
    let ttls: BTreeSet<u32> = members.iter().map(|record| record.ttl).collect();
    if let (true, Some(least)) = (ttls.len() > 1, ttls.first()) {
        let text = format!("{owner} {}: the TTLs differ, {least} will be answered for all", type_mnemonic(rtype));
        found.push(Finding { severity: Severity::Warning, text });
    }
}

fn targets_have_addresses(record: &Record, owner: &str, sets: &Sets<'_>, origin: &Origin, found: &mut Vec<Finding>) {
    let skip = match record.rtype {
        NS | CNAME => 0,
        MX => 2,
        SRV => 6,
        _ => return,
    };
    let Some(target) = record.rdata.get(skip..) else { return };
    let Some(sub) = name::below(target, origin.wire()) else { return };
    let answered = sets.keys().any(|(other, rtype)| {
        let wildcard = other.strip_prefix(b"\x01*").is_some_and(|parent| sub.ends_with(parent));
        (*other == sub || wildcard) && matches!(rtype, 1 | 5 | 28 | 64 | 65)
    });
    if !answered {
        let (kind, target) = (type_mnemonic(record.rtype), name::absolute(target));
        let text =
            format!("{owner} {kind}: its target {target} has no address here; outside names need a dot at their end");
        found.push(Finding { severity: Severity::Warning, text });
    }
}

fn nothing_below_a_cut(sets: &Sets<'_>, found: &mut Vec<Finding>) {
    for (cut, _) in sets.keys().filter(|(_, rtype)| *rtype == NS) {
        let hidden = sets.keys().filter(|(sub, rtype)| {
            let at = sub == cut && !matches!(*rtype, NS | DS);
            let below = sub.len() > cut.len() && sub.ends_with(cut) && !matches!(*rtype, 1 | 28);
            at || below
        });
        if let Some((sub, rtype)) = hidden.into_iter().next() {
            let (owner, cut) = (name::display_sub(sub), name::display_sub(cut));
            let text = format!(
                "{owner} {}: {cut} is delegated by NS, so its servers are asked instead",
                type_mnemonic(*rtype)
            );
            found.push(Finding { severity: Severity::Warning, text });
        }
    }
}

//! Whether an answer is what its zone says (RFC 4033 to 4035, RFC 5155): signatures by keys that the zone's parent vouches
//! for, and proofs of what is absent. A pure function of records, keys and a time; who fetches them is
//! [`secure`](super::secure).
//!
//! What is checked is the answer in our own form, as it is served: nothing else of a response counts. Work is bounded by
//! [`Budget`], whatever a response holds.

mod budget;
mod denial;
mod key;
mod outcome;
mod signature;

#[cfg(test)]
mod tests;

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hickory_proto::op::ResponseCode;

use super::Question;
use crate::dns::{answer::Answer, ede::EdeCode, name::Dname, rdata, rrset::RrSet, rtype};
pub(super) use budget::Budget;
use budget::MAX_KEYS;
pub(super) use denial::{NSEC3, Proofs, parent};
pub(super) use key::{Key, Zone, is_signed};
pub(super) use outcome::{Bogus, Status};
pub(super) use signature::Signature;

/// The most sets of proofs that are looked at: three are enough for any (RFC 5155 §7.2.1), and an alias has its own.
const MAX_PROOFS: usize = 8;

/// The time on the wall as signatures have it.
pub(super) fn now_s() -> u32 {
    // A clock before 1970 is as wrong as any: signatures are of its future.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32)
}

/// Those keys in an answer that may sign its zone. For answers that have been checked.
pub(super) fn keys_in(answer: &Answer) -> Vec<Key> {
    let set = answer.answer.iter().find(|set| set.rtype == rtype::DNSKEY);
    set.map_or(&[][..], |set| &set.data).iter().filter_map(Key::read).take(MAX_KEYS).collect()
}

/// Checks the keys of the zone `apex`, all of them signed by one that `signers`, its DS records, name.
pub(super) fn check_keys(
    answer: &mut Answer,
    apex: &Dname,
    signers: &[Bytes],
    now_s: u32,
    budget: &mut Budget,
) -> Result<(), Bogus> {
    let missing = |why: &str| Bogus::new(EdeCode::DnskeyMissing, format!("{apex} {why}"));
    let at = answer.answer.iter().position(|set| set.rtype == rtype::DNSKEY && set.owner == *apex);
    let at = at.ok_or_else(|| missing("has DS records, but its servers tell no key"))?;
    if answer.answer[at].data.len() > MAX_KEYS {
        return Err(missing("has too many keys"));
    }
    let keys = key::vouched_for(apex, signers, &keys_in(answer))?;
    let zone = Zone { apex, keys: &keys, now_s };
    let verified = signature::verify(&answer.answer[at], signature::behind(&answer.answer, at), &zone, budget)?;
    answer.answer.retain(|set| set.owner == *apex && matches!(set.rtype, rtype::DNSKEY | rtype::RRSIG));
    answer.authority.clear();
    answer.rcode = ResponseCode::NoError;
    limit(answer, verified.lifetime_s);
    Ok(())
}

/// Checks an answer to `question`, which has signatures and proofs whoever asked, and gives it no longer a life than they
/// have. `proofs` are the sets of NSEC and NSEC3 records, with their signatures, that came with it.
pub(super) fn check(
    question: &Question,
    answer: &mut Answer,
    proofs: &[RrSet],
    zone: &Zone<'_>,
    budget: &mut Budget,
) -> Result<Status, Bogus> {
    let (proven, mut lifetime_s) = check_proofs(proofs, zone, budget);
    let proofs = Proofs::read(zone.apex, &proven);
    let mut statuses = Vec::new();
    for (at, set) in answer.answer.iter().enumerate().filter(|(_, set)| set.rtype != rtype::RRSIG) {
        let signatures = signature::behind(&answer.answer, at);
        if signatures.is_none() && is_made_from_dname(&answer.answer, at) {
            continue;
        }
        let verified = signature::verify(set, signatures, zone, budget)?;
        lifetime_s = lifetime_s.min(verified.lifetime_s);
        if let Some(encloser) = verified.wildcard_below {
            statuses.push(proofs.nothing_closer(&set.owner, &encloser, budget)?);
        }
    }
    for (at, set) in answer.authority.iter().enumerate().filter(|(_, set)| set.rtype == rtype::SOA) {
        let verified = signature::verify(set, signature::behind(&answer.authority, at), zone, budget)?;
        lifetime_s = lifetime_s.min(verified.lifetime_s);
    }
    statuses.extend(check_absence(question, answer, &proofs, zone, budget)?);
    keep_proven(answer, &proven);
    limit(answer, lifetime_s);
    Ok(if statuses.contains(&Status::Insecure) { Status::Insecure } else { Status::Secure })
}

/// What is said to be absent at the end of the aliases must be proven so. Where nothing is, the code says so too: no
/// signature covers it, and it may have been changed on the way.
fn check_absence(
    question: &Question,
    answer: &mut Answer,
    proofs: &Proofs,
    zone: &Zone<'_>,
    budget: &mut Budget,
) -> Result<Option<Status>, Bogus> {
    let answers = |set: &RrSet| set.rtype == question.qtype || question.qtype == rtype::ANY;
    let is_data = |set: &RrSet| set.rtype != rtype::RRSIG && answers(set);
    let has_data = answer.answer.iter().any(is_data);
    let end = end_of(question, answer);
    if has_data || answer.elsewhere.is_some() || !end.is_within(zone.apex) {
        answer.rcode = ResponseCode::NoError;
        return Ok(None);
    }
    match answer.rcode {
        ResponseCode::NXDomain => proofs.no_name(&end, budget).map(Some),
        ResponseCode::YXDomain => {
            Err(Bogus::new(EdeCode::DnssecBogus, format!("nothing shows which alias makes {end} too long")))
        }
        _ => proofs.no_data(&end, question.qtype, budget).map(Some),
    }
}

/// Where the aliases of an answer lead.
fn end_of(question: &Question, answer: &Answer) -> Dname {
    let aliases = answer.answer.iter().filter(|set| set.rtype == rtype::CNAME);
    aliases.fold(question.name.clone(), |name, set| match set.data.first().map(|data| rdata::target(data)) {
        Some(Ok(target)) if set.owner == name => target,
        _ => name,
    })
}

/// Those sets of proofs that are what the zone says, each followed by its signatures, and for how long they hold. Made
/// from a wildcard, they prove nothing.
fn check_proofs(sets: &[RrSet], zone: &Zone<'_>, budget: &mut Budget) -> (Vec<RrSet>, u32) {
    let (mut proven, mut lifetime_s) = (Vec::new(), u32::MAX);
    let proofs = sets.iter().enumerate().filter(|(_, set)| matches!(set.rtype, rtype::NSEC | NSEC3));
    for (at, set) in proofs.take(MAX_PROOFS) {
        let signatures = signature::behind(sets, at);
        if let Ok(verified) = signature::verify(set, signatures, zone, budget)
            && verified.wildcard_below.is_none()
        {
            lifetime_s = lifetime_s.min(verified.lifetime_s).min(set.ttl_s);
            proven.push(set.clone());
            proven.extend(signatures.cloned());
        }
    }
    (proven, lifetime_s)
}

/// Takes the place of the proofs that came: those that prove nothing are not passed on.
fn keep_proven(answer: &mut Answer, proven: &[RrSet]) {
    let had_proofs = answer.authority.iter().any(|set| matches!(set.rtype, rtype::NSEC | NSEC3));
    let soas = answer.authority.iter().position(|set| set.rtype == rtype::SOA);
    let kept = soas.map_or(0..0, |at| at..at + 1 + usize::from(signature::behind(&answer.authority, at).is_some()));
    let soa = answer.authority[kept].to_vec();
    answer.authority = if had_proofs { [&soa, proven].concat() } else { soa };
}

/// Whether the set is the alias that the DNAME in front of it makes, which nobody signs (RFC 6672 §5.3.1).
fn is_made_from_dname(sets: &[RrSet], at: usize) -> bool {
    let set = &sets[at];
    let dname = sets[..at].iter().rev().find(|before| before.rtype != rtype::RRSIG);
    let Some(dname) = dname.filter(|dname| dname.rtype == rtype::DNAME && set.rtype == rtype::CNAME) else {
        return false;
    };
    let prefix = set.owner.relative_to(&dname.owner).filter(|prefix| !prefix.is_empty());
    let made = || rdata::target(dname.data.first()?).ok()?.with_prefix(prefix?).ok();
    let said = || rdata::target(set.data.first()?).ok();
    made().is_some_and(|made| said() == Some(made))
}

/// Gives an answer no longer a life than what vouches for it.
pub(super) fn limit(answer: &mut Answer, lifetime_s: u32) {
    for set in answer.answer.iter_mut().chain(&mut answer.authority) {
        set.ttl_s = set.ttl_s.min(lifetime_s);
    }
}

/// Leaves out what only those asked for who validate.
pub(super) fn strip(question: &Question, answer: &mut Answer) {
    if question.dnssec_ok {
        return;
    }
    answer.answer.retain(|set| set.rtype != rtype::RRSIG || question.qtype == rtype::RRSIG);
    answer.authority.retain(|set| set.rtype == rtype::SOA);
}

//! DNSSEC: signs, while answering, what is said about our zones (RFC 4034, RFC 4035, RFC 6605).
//!
//! Each node has a key of its own ([`ZoneKey`]) and signs with it the moment it answers, so there is no signed zone to
//! keep in step with the ledger. A signature therefore says "this node said so", no more; the ledger's own word is a
//! Merkle proof. What an answer says, NSEC records included, is decided in [`answer`](crate::zones::answer); here signatures
//! are added to it.
//!
//! - [`key`]: the key and its DNSKEY and DS forms; [`mod@file`]: the key in the data directory.
//! - `canonical`: the bytes that a signature covers; `cache`: signatures made before.
//! - [`anchor`]: the key as a trust anchor, in the formats of validators.
//!
//! Except for [`mod@file`] this is sans-IO. Signatures are deterministic (RFC 6979) and their times are whole hours, so
//! within one hour the same records get the same signature, and a cached one is as good as a new one.
//!
//! Not signed: NS records and addresses at and below a delegation, which are the child's; additional addresses of name
//! servers, which no validator needs signed; CNAME records made from a DNAME (RFC 6672 §5.3.1); records from outside
//! our zones.

pub mod anchor;
pub mod file;
pub mod key;

mod algorithm;
mod cache;
pub(crate) mod canonical;

#[cfg(test)]
mod tests;

pub use key::ZoneKey;

use crate::{
    dns::{answer::Answer, name::Dname, rrset::RrSet, rtype},
    zones::{
        query::Query,
        site::{Site, Zone},
    },
};
use cache::{Digest, SignatureCache};

/// Signatures begin to hold at the whole hour before the one they are made in, for clients whose clocks are behind.
const HOUR_S: u64 = 3_600;
/// How long signatures hold, in seconds from the hour they are made in. Long enough for caches and slow clocks; short
/// because an old answer can be replayed for as long.
const VALIDITY_S: u64 = 48 * HOUR_S;

/// The longest a signed answer may be cached, in seconds: so that caches that do not look at signatures give out none
/// that have ended.
const MAX_TTL_S: u32 = 24 * HOUR_S as u32;

/// Signs answers.
#[derive(Debug)]
pub struct Signer {
    key: ZoneKey,
    cache: SignatureCache,
}

/// An answer with its signatures, some of which are still to be made.
#[derive(Debug)]
pub(crate) struct Begun {
    answer: Answer,
    /// Where in the answer and authority sections RRSIG records have no signature yet, and what is to be signed.
    missing: Vec<(usize, Digest)>,
}

impl Begun {
    /// How many signatures have to be made.
    pub(crate) fn missing(&self) -> u32 {
        u32::try_from(self.missing.len()).unwrap_or(u32::MAX)
    }
}

impl Signer {
    /// A signer with an empty cache.
    pub fn new(key: ZoneKey) -> Self {
        Self { key, cache: SignatureCache::default() }
    }

    /// The key that signs.
    pub fn key(&self) -> &ZoneKey {
        &self.key
    }

    /// Adds to `answer` the signatures that belong in it. `now_s` is the time in Unix seconds.
    pub fn sign_answer(&self, answer: &mut Answer, query: &Query, site: &Site, now_s: u64) {
        let empty = Answer::empty(answer.rcode, answer.origin);
        let begun = self.begin(std::mem::replace(answer, empty), query, site, now_s);
        *answer = self.finish(begun);
    }

    /// Adds what can be added without signing anything: signatures made before.
    pub(crate) fn begin(&self, mut answer: Answer, query: &Query, site: &Site, now_s: u64) -> Begun {
        for set in answer.answer.iter_mut().chain(&mut answer.authority) {
            set.ttl_s = set.ttl_s.min(MAX_TTL_S);
        }
        let (records, authority) = (std::mem::take(&mut answer.answer), std::mem::take(&mut answer.authority));
        let mut missing = Vec::new();
        for (index, set) in records.iter().enumerate() {
            let zone = zone_of(set, site).filter(|_| !is_synthesised(set, &records[..index]));
            // A question for signatures gets no records of proof beside them.
            if query.qtype != rtype::RRSIG || set.rtype != rtype::NSEC {
                answer.answer.push(set.clone());
            }
            if let Some(apex) = zone {
                let (rrsig, digest) = self.rrsig_made_before(set, apex, now_s);
                missing.extend(digest.map(|digest| (answer.answer.len(), digest)));
                answer.answer.push(rrsig);
            }
        }
        for set in authority {
            // In this section NS records are referrals: the child's data, not ours.
            let zone = zone_of(&set, site).filter(|_| set.rtype != rtype::NS);
            let signed = zone.map(|apex| self.rrsig_made_before(&set, apex, now_s));
            answer.authority.push(set);
            if let Some((rrsig, digest)) = signed {
                let place = answer.answer.len() + answer.authority.len();
                missing.extend(digest.map(|digest| (place, digest)));
                answer.authority.push(rrsig);
            }
        }
        Begun { answer, missing }
    }

    /// Makes the signatures that are missing.
    pub(crate) fn finish(&self, Begun { mut answer, missing }: Begun) -> Answer {
        let mut missing = missing.into_iter().peekable();
        for (place, rrsig) in answer.answer.iter_mut().chain(&mut answer.authority).enumerate() {
            if let Some((_, digest)) = missing.next_if(|(missing, _)| *missing == place) {
                let signature = self.cache.get_or_insert_with(digest, || self.key.sign_digest(&digest));
                rrsig.data = vec![[&rrsig.data.concat(), &signature[..]].concat().into()];
            }
        }
        answer
    }

    /// The RRSIG of `set`, which belongs to the zone `apex`.
    pub fn rrsig(&self, set: &RrSet, apex: &Dname, now_s: u64) -> RrSet {
        let (mut data, digest) = self.to_sign(set, apex, now_s);
        data.extend_from_slice(&self.cache.get_or_insert_with(digest, || self.key.sign_digest(&digest)));
        RrSet::one(set.owner.clone(), rtype::RRSIG, set.ttl_s, data)
    }

    /// The RRSIG of `set`, without its signature if that was not made before, and then with what is to be signed.
    fn rrsig_made_before(&self, set: &RrSet, apex: &Dname, now_s: u64) -> (RrSet, Option<Digest>) {
        let (mut data, digest) = self.to_sign(set, apex, now_s);
        let found = self.cache.find(&digest);
        data.extend(found.iter().flatten());
        (RrSet::one(set.owner.clone(), rtype::RRSIG, set.ttl_s, data), found.is_none().then_some(digest))
    }

    /// The data of an RRSIG up to its signature, and what that signs.
    fn to_sign(&self, set: &RrSet, apex: &Dname, now_s: u64) -> (Vec<u8>, Digest) {
        let hour_s = now_s - now_s % HOUR_S;
        let terms = canonical::Terms {
            key_tag: self.key.tag(),
            signer: apex,
            // Serial numbers: they wrap in 2106, and validators compare them as such (RFC 4034 §3.1.5).
            inception: hour_s.wrapping_sub(HOUR_S) as u32,
            expiration: hour_s.wrapping_add(VALIDITY_S) as u32,
        };
        let data = terms.rdata_before_signature(set);
        let digest = canonical::digest(&data, set);
        (data, digest)
    }
}

/// The apex of the zone of ours that `set` belongs to.
fn zone_of<'s>(set: &RrSet, site: &'s Site) -> Option<&'s Dname> {
    let zone = site.zone_for(&set.owner, set.rtype).filter(|_| set.class == rtype::CLASS_IN);
    zone.map(Zone::apex)
}

/// Whether `set` is a CNAME that was made from a DNAME before it.
fn is_synthesised(set: &RrSet, before: &[RrSet]) -> bool {
    let covers =
        |dname: &RrSet| dname.rtype == rtype::DNAME && set.owner != dname.owner && set.owner.is_within(&dname.owner);
    set.rtype == rtype::CNAME && before.iter().any(covers)
}

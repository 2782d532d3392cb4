//! DNSSEC: signs, while answering, what is said about our zones (RFC 4034, RFC 4035, RFC 6605).
//!
//! Each node has a key of its own ([`ZoneKey`]) and signs with it the moment it answers, so there is no signed zone to
//! keep in step with the ledger. A signature therefore says "this node said so", no more; the ledger's own word is a
//! Merkle proof. What an answer says, NSEC records included, is decided in [`answer`](crate::answer); here signatures
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

mod cache;
pub(crate) mod canonical;

#[cfg(test)]
mod tests;

pub use key::ZoneKey;

use std::convert::Infallible;

use crate::{
    answer::{Answer, RrSet},
    dname::Dname,
    query::Query,
    rtype,
    site::Site,
};
use cache::SignatureCache;

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
        let Ok(()) = self.try_sign_answer(answer, query, (site, now_s), || Ok::<_, Infallible>(()));
    }

    /// Like [`Signer::sign_answer`], asking `may_sign` before each signature that was not made before. If that refuses,
    /// `answer` is in pieces; what was signed until then is remembered.
    pub(crate) fn try_sign_answer<E>(
        &self,
        answer: &mut Answer,
        query: &Query,
        (site, now_s): (&Site, u64),
        may_sign: impl Fn() -> Result<(), E>,
    ) -> Result<(), E> {
        for set in answer.answer.iter_mut().chain(&mut answer.authority) {
            set.ttl_s = set.ttl_s.min(MAX_TTL_S);
        }
        let records = std::mem::take(&mut answer.answer);
        for (index, set) in records.iter().enumerate() {
            let signature = match is_synthesised(set, &records[..index]) {
                true => None,
                false => self.sign_ours(set, (site, now_s), &may_sign)?,
            };
            // A question for signatures gets no records of proof beside them.
            if query.qtype != rtype::RRSIG || set.rtype != rtype::NSEC {
                answer.answer.push(set.clone());
            }
            answer.answer.extend(signature);
        }
        for set in std::mem::take(&mut answer.authority) {
            // In this section NS records are referrals: the child's data, not ours.
            let signature = match set.rtype {
                rtype::NS => None,
                _ => self.sign_ours(&set, (site, now_s), &may_sign)?,
            };
            answer.authority.push(set);
            answer.authority.extend(signature);
        }
        Ok(())
    }

    fn sign_ours<E>(
        &self,
        set: &RrSet,
        (site, now_s): (&Site, u64),
        may_sign: impl Fn() -> Result<(), E>,
    ) -> Result<Option<RrSet>, E> {
        let zone = site.zone_for(&set.owner, set.rtype).filter(|_| set.class == rtype::CLASS_IN);
        zone.map(|zone| self.try_rrsig(set, zone.apex(), now_s, may_sign)).transpose()
    }

    /// The RRSIG of `set`, which belongs to the zone `apex`.
    pub fn rrsig(&self, set: &RrSet, apex: &Dname, now_s: u64) -> RrSet {
        let Ok(rrsig) = self.try_rrsig(set, apex, now_s, || Ok::<_, Infallible>(()));
        rrsig
    }

    fn try_rrsig<E>(
        &self,
        set: &RrSet,
        apex: &Dname,
        now_s: u64,
        may_sign: impl Fn() -> Result<(), E>,
    ) -> Result<RrSet, E> {
        let hour_s = now_s - now_s % HOUR_S;
        let terms = canonical::Terms {
            key_tag: self.key.tag(),
            signer: apex,
            // Serial numbers: they wrap in 2106, and validators compare them as such (RFC 4034 §3.1.5).
            inception: hour_s.wrapping_sub(HOUR_S) as u32,
            expiration: hour_s.wrapping_add(VALIDITY_S) as u32,
        };
        let mut data = terms.rdata_before_signature(set);
        let digest = canonical::digest(&data, set);
        let sign = || may_sign().map(|()| self.key.sign_digest(&digest));
        data.extend_from_slice(&self.cache.get_or_try_insert_with(digest, sign)?);
        Ok(RrSet::one(set.owner.clone(), rtype::RRSIG, set.ttl_s, data))
    }
}

/// Whether `set` is a CNAME that was made from a DNAME before it.
fn is_synthesised(set: &RrSet, before: &[RrSet]) -> bool {
    let covers =
        |dname: &RrSet| dname.rtype == rtype::DNAME && set.owner != dname.owner && set.owner.is_within(&dname.owner);
    set.rtype == rtype::CNAME && before.iter().any(covers)
}

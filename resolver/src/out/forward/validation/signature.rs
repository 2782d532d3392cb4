//! Signatures of record sets (RRSIG): what they cover, when they hold, and whether a key of the zone made them (RFC 4034
//! §3.1, RFC 4035 §5.3).

use hickory_proto::rr::RecordType;

use super::{
    budget::{Budget, MAX_KEYS_PER_TAG},
    key::Zone,
    outcome::Bogus,
};
use crate::{
    dns::{ede::EdeCode, name::Dname, rrset::RrSet, rtype},
    zones::sign::canonical::canonical_data,
};

/// Bytes of RRSIG data in front of the signer's name.
const HEAD_BYTES: usize = 18;

/// A set that is what its zone says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Verified {
    /// For how long, in seconds: no longer than its signature holds, and than the zone says.
    pub(super) lifetime_s: u32,
    /// The name below which a wildcard stands that made it, if one did.
    pub(super) wildcard_below: Option<Dname>,
}

/// RRSIG data.
pub(crate) struct Signature<'a> {
    covered: u16,
    algorithm: u8,
    labels: u8,
    original_ttl_s: u32,
    expiration: u32,
    inception: u32,
    key_tag: u16,
    /// The zone that signed.
    pub(crate) signer: Dname,
    head: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Signature<'a> {
    pub(crate) fn read(data: &'a [u8]) -> Option<Self> {
        let (head, rest) = data.split_at_checked(HEAD_BYTES)?;
        let (signer, bytes) = Dname::split_wire(rest).ok()?;
        let short = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let long = |at: usize| u32::from(short(at)) << 16 | u32::from(short(at + 2));
        Some(Self {
            covered: short(0),
            algorithm: head[2],
            labels: head[3],
            original_ttl_s: long(4),
            expiration: long(8),
            inception: long(12),
            key_tag: short(16),
            signer,
            head,
            bytes,
        })
    }

    /// Whether it can be of `set` at all.
    fn is_about(&self, set: &RrSet, zone: &Zone<'_>) -> bool {
        self.covered == set.rtype && self.signer == *zone.apex && usize::from(self.labels) <= label_count(&set.owner)
    }

    /// Whether it holds at a time (RFC 4034 §3.1.5: numbers that wrap around).
    fn is_in_time(&self, now_s: u32) -> Result<(), EdeCode> {
        let is_before = |one: u32, other: u32| one != other && other.wrapping_sub(one) < 1 << 31;
        match () {
            () if is_before(now_s, self.inception) => Err(EdeCode::SignatureNotYetValid),
            () if is_before(self.expiration, now_s) => Err(EdeCode::SignatureExpired),
            () => Ok(()),
        }
    }

    /// The bytes that are signed (RFC 4034 §3.1.8.1); `data` is in canonical form and order.
    fn message(&self, owner: &Dname, set: &RrSet, data: &[Vec<u8>]) -> Vec<u8> {
        let mut message = [self.head, self.signer.as_wire()].concat();
        for data in data {
            message.extend_from_slice(owner.as_wire());
            message.extend_from_slice(&set.rtype.to_be_bytes());
            message.extend_from_slice(&set.class.to_be_bytes());
            message.extend_from_slice(&self.original_ttl_s.to_be_bytes());
            // It came in a message.
            message.extend_from_slice(&(data.len() as u16).to_be_bytes());
            message.extend_from_slice(data);
        }
        message
    }
}

/// Checks that `zone` says `set`, by one of the signatures in `signatures`.
pub(super) fn verify(
    set: &RrSet,
    signatures: Option<&RrSet>,
    zone: &Zone<'_>,
    budget: &mut Budget,
) -> Result<Verified, Bogus> {
    let all = signatures.map_or(&[][..], |set| &set.data);
    let of_set = || all.iter().filter_map(|data| Signature::read(data)).filter(|one| one.is_about(set, zone));
    if of_set().next().is_none() {
        return Err(bogus(EdeCode::RrsigsMissing, "no signature of its zone", set));
    }
    let mut data: Vec<Vec<u8>> = set.data.iter().map(|data| canonical_data(set.rtype, data)).collect();
    data.sort_unstable();
    data.dedup();
    let mut failure = (EdeCode::DnssecBogus, "no signature by a key of its zone");
    for signature in of_set() {
        if let Err(code) = signature.is_in_time(zone.now_s) {
            failure = (
                code,
                if code == EdeCode::SignatureExpired { "an expired signature" } else { "a signature of the future" },
            );
            continue;
        }
        let named = |key: &&super::Key| (key.tag, key.algorithm) == (signature.key_tag, signature.algorithm);
        for key in zone.keys.iter().filter(named).take(MAX_KEYS_PER_TAG) {
            budget.check()?;
            let wildcard_below = wildcard_below(&set.owner, signature.labels);
            let owner = wildcard_below
                .as_ref()
                .map_or_else(|| Some(set.owner.clone()), |below| below.with_prefix(b"\x01*").ok());
            let is_good =
                owner.is_some_and(|owner| key.has_signed(&signature.message(&owner, set, &data), signature.bytes));
            if is_good {
                let left_s = signature.expiration.wrapping_sub(zone.now_s);
                return Ok(Verified { lifetime_s: signature.original_ttl_s.min(left_s), wildcard_below });
            }
            budget.wrong()?;
            failure = (EdeCode::DnssecBogus, "a wrong signature");
        }
    }
    Err(bogus(failure.0, failure.1, set))
}

fn bogus(code: EdeCode, what: &str, set: &RrSet) -> Bogus {
    Bogus::new(code, format!("{} {} has {what}", set.owner, RecordType::from(set.rtype)))
}

/// Labels without the root and without a leading `*` (RFC 4034 §3.1.3).
fn label_count(owner: &Dname) -> usize {
    owner.labels().count() - usize::from(owner.as_wire().starts_with(b"\x01*"))
}

/// The last `labels` labels of a name that has more, which a wildcard below them stands for.
fn wildcard_below(owner: &Dname, labels: u8) -> Option<Dname> {
    let count = label_count(owner);
    if usize::from(labels) >= count {
        return None;
    }
    let all = owner.labels().count();
    Dname::from_labels(owner.labels().skip(all - usize::from(labels))).ok()
}

/// The signatures that stand behind `set` in a section, if they are its own.
pub(super) fn behind(sets: &[RrSet], at: usize) -> Option<&RrSet> {
    let next = sets.get(at + 1).filter(|next| next.rtype == rtype::RRSIG && sets[at].rtype != rtype::RRSIG)?;
    (next.owner == sets[at].owner).then_some(next)
}

//! The bytes that a signature covers (RFC 4034 §3.1.8.1, §6): RRSIG data, then the set in canonical form.

use sha2::{Digest as _, Sha256};

use super::algorithm::{ALGORITHM, DIGEST_BYTES};
use crate::dns::{name::Dname, rrset::RrSet, rtype};

/// What a signature says besides the records.
pub(super) struct Terms<'a> {
    pub(super) key_tag: u16,
    /// The zone.
    pub(super) signer: &'a Dname,
    pub(super) inception: u32,
    pub(super) expiration: u32,
}

impl Terms<'_> {
    /// RRSIG data up to the signature (RFC 4034 §3.1).
    pub(super) fn rdata_before_signature(&self, set: &RrSet) -> Vec<u8> {
        let mut data = Vec::with_capacity(18 + self.signer.as_wire().len() + 64);
        data.extend_from_slice(&set.rtype.to_be_bytes());
        data.extend_from_slice(&[ALGORITHM, label_count(&set.owner)]);
        for number in [set.ttl_s, self.expiration, self.inception] {
            data.extend_from_slice(&number.to_be_bytes());
        }
        data.extend_from_slice(&self.key_tag.to_be_bytes());
        data.extend_from_slice(self.signer.as_wire());
        data
    }
}

/// SHA-256 of `rdata_before_signature` and the canonical records: what ECDSA P-256 signs (RFC 6605 §4), and because it
/// covers all that a signature depends on, a signature's name.
pub(super) fn digest(rdata_before_signature: &[u8], set: &RrSet) -> [u8; DIGEST_BYTES] {
    let mut hash = Sha256::new();
    hash.update(rdata_before_signature);
    let mut all: Vec<Vec<u8>> = set.data.iter().map(|data| canonical_data(set.rtype, data)).collect();
    // RFC 4034 §6.3: in the order of their bytes, each once.
    all.sort_unstable();
    all.dedup();
    for data in all {
        hash.update(set.owner.as_wire());
        hash.update(set.rtype.to_be_bytes());
        hash.update(set.class.to_be_bytes());
        hash.update(set.ttl_s.to_be_bytes());
        hash.update((data.len() as u16).to_be_bytes());
        hash.update(&data);
    }
    hash.finalize().into()
}

/// Labels without the root and without a leading `*` (RFC 4034 §3.1.3). What a wildcard stands for is signed under the
/// name that was asked for, with all its labels: to a validator it is a name like any other, as signers that sign while they answer may present it (RFC 9824 §3.3).
fn label_count(owner: &Dname) -> u8 {
    let wildcard = usize::from(owner.as_wire().starts_with(b"\x01*"));
    // A name has at most 127 labels.
    (owner.labels().count() - wildcard) as u8
}

/// Record data with its names in lower case, for the types of RFC 4034 §6.2 that are signed data. RFC 6840 §5.1 took NSEC
/// off that list, and newer types were never on it. Data that has not its type's shape stays as it is.
pub(crate) fn canonical_data(rtype: u16, data: &[u8]) -> Vec<u8> {
    let names_at = match rtype {
        // MD, MF, MB, MG, MR, MINFO, RP, and those with names of their own here.
        3 | 4 | 7..=9 | 14 | 17 | rtype::NS | rtype::CNAME | rtype::DNAME | rtype::PTR | rtype::SOA => Some(0),
        // AFSDB, RT, PX, KX.
        18 | 21 | 26 | 36 | rtype::MX => Some(2),
        rtype::SRV => Some(6),
        rtype::NAPTR => replacement_at(data),
        _ => None,
    };
    // SOA, MINFO, RP, PX.
    let count = if matches!(rtype, rtype::SOA | 14 | 17 | 26) { 2 } else { 1 };
    names_at.and_then(|at| lower_names(data, at, count)).unwrap_or_else(|| data.to_vec())
}

fn lower_names(data: &[u8], at: usize, count: usize) -> Option<Vec<u8>> {
    let (head, mut rest) = data.split_at_checked(at)?;
    let mut lowered = head.to_vec();
    for _ in 0..count {
        let (name, tail) = Dname::split_wire(rest).ok()?;
        lowered.extend_from_slice(name.as_wire());
        rest = tail;
    }
    lowered.extend_from_slice(rest);
    Some(lowered)
}

/// Where NAPTR's name begins: behind two numbers and three strings (RFC 3403 §4.1).
fn replacement_at(data: &[u8]) -> Option<usize> {
    (0..3).try_fold(4, |at, _| Some(at + 1 + usize::from(*data.get(at)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(rtype: u16, data: &[&[u8]]) -> RrSet {
        let owner = "a.p2p".parse().expect("a name");
        let mut set = RrSet::one(owner, rtype, 300, Vec::new());
        set.data = data.iter().map(|data| bytes::Bytes::copy_from_slice(data)).collect();
        set
    }

    #[test]
    fn names_in_data_are_lowered_where_the_rfc_says_so() {
        let check = |rtype: u16, data: &[u8], expected: &[u8]| {
            assert_eq!(canonical_data(rtype, data), expected, "type {rtype}");
        };
        check(rtype::NS, b"\x02NS\x00", b"\x02ns\x00");
        check(rtype::CNAME, b"\x01A\x00", b"\x01a\x00");
        check(rtype::DNAME, b"\x01A\x00", b"\x01a\x00");
        check(rtype::MX, b"AB\x01A\x00", b"AB\x01a\x00");
        check(17, b"\x01A\x00\x01B\x00", b"\x01a\x00\x01b\x00");
        check(26, b"AB\x01A\x00\x01B\x00", b"AB\x01a\x00\x01b\x00");
        check(36, b"AB\x01A\x00", b"AB\x01a\x00");
        check(rtype::SRV, b"ABCDEF\x01A\x00", b"ABCDEF\x01a\x00");
        check(rtype::SOA, b"\x01A\x00\x01B\x00ABCD", b"\x01a\x00\x01b\x00ABCD");
        check(rtype::NAPTR, b"ABCD\x01S\x00\x02RE\x01A\x00", b"ABCD\x01S\x00\x02RE\x01a\x00");
        for rtype in [rtype::TXT, rtype::NSEC, rtype::SVCB, rtype::HTTPS, rtype::CAA, 65_280] {
            check(rtype, b"\x01A\x00", b"\x01A\x00");
        }
        check(rtype::NS, b"\x05A", b"\x05A");
        check(rtype::NAPTR, b"ABCD\x09S", b"ABCD\x09S");
    }

    #[test]
    fn order_and_repetition_do_not_matter() {
        let sorted = set(rtype::NS, &[b"\x01a\x00", b"\x01b\x00"]);
        let mixed = set(rtype::NS, &[b"\x01B\x00", b"\x01A\x00", b"\x01b\x00"]);
        assert_eq!(digest(b"", &sorted), digest(b"", &mixed));
        assert_ne!(digest(b"", &sorted), digest(b"", &set(rtype::NS, &[b"\x01a\x00"])));
    }

    /// RFC 4034 §6.3 sorts data as bytes, absent bytes first: not by length.
    #[test]
    fn everything_that_a_validator_sees_is_covered() {
        let base = set(rtype::TXT, &[b"\x01a"]);
        let others = [
            RrSet { ttl_s: 301, ..base.clone() },
            RrSet { class: rtype::CLASS_CH, ..base.clone() },
            RrSet { rtype: rtype::TXT + 1, ..base.clone() },
            RrSet { owner: "b.p2p".parse().expect("a name"), ..base.clone() },
            set(rtype::TXT, &[b"\x01b"]),
        ];
        for other in others {
            assert_ne!(digest(b"", &other), digest(b"", &base), "{other:?}");
        }
        assert_ne!(digest(b"x", &base), digest(b"", &base));
    }

    #[test]
    fn labels() {
        for (name, count) in [(".", 0), ("p2p", 1), ("a.p2p", 2), ("*.a.p2p", 2), ("a.*.p2p", 3)] {
            assert_eq!(label_count(&name.parse().expect("a name")), count, "{name}");
        }
    }
}

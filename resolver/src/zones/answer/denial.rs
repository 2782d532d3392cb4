//! What is absent from a signed zone, as one NSEC record: compact denial of existence (RFC 9824).
//!
//! The record stands at the very name that was asked for and reaches to the first name behind it, so that it says
//! nothing about any other name: the ledger is public, but a zone that cannot be walked is one thing less to explain.
//! A name that is absent gets the pseudo-type NXNAME; a name that exists gets the types it has.
//!
//! Names behind a name are sought in canonical order (RFC 4034 §6.1), in which `\000` is the smallest label and a name
//! precedes everything below it.

use crate::{
    dns::{
        name::{Dname, MAX_LABEL_BYTES},
        rrset::RrSet,
        rtype,
    },
    names::view::Facts,
    zones::site::Zone,
};

/// `owner` exists, with `types` and no others.
pub(super) fn of_type(owner: &Dname, zone: &Zone, types: Vec<u16>, facts: &Facts) -> RrSet {
    let next = match types.contains(&rtype::NS) && owner != zone.apex() {
        true => behind(owner, zone.apex()),
        false => next_name(owner, zone.apex()),
    };
    nsec(owner, &next, types, facts)
}

/// `owner` does not exist (RFC 9824 §3.1).
pub(super) fn of_name(owner: &Dname, zone: &Zone, facts: &Facts) -> RrSet {
    nsec(owner, &next_name(owner, zone.apex()), vec![rtype::NXNAME], facts)
}

/// The delegation at `cut` has no DS: the child is not signed (RFC 4035 §3.1.4.1).
pub(super) fn of_signer(cut: &Dname, zone: &Zone, facts: &Facts) -> RrSet {
    of_type(cut, zone, vec![rtype::NS], facts)
}

fn nsec(owner: &Dname, next: &Dname, mut types: Vec<u16>, facts: &Facts) -> RrSet {
    types.extend([rtype::RRSIG, rtype::NSEC]);
    let data = [next.as_wire(), &type_bitmap(types)].concat();
    RrSet::one(owner.clone(), rtype::NSEC, facts.negative_ttl_s(), data)
}

/// The first name behind `owner`: right below it, where that is still a name.
fn next_name(owner: &Dname, apex: &Dname) -> Dname {
    owner.with_prefix(b"\x01\x00").unwrap_or_else(|_| behind(owner, apex))
}

/// The first name behind `owner` and all that is below it. Names below a cut are not ours to speak about (RFC 9824
/// §3.4). Behind the last name of a zone comes its apex (RFC 4034 §4.1.1).
fn behind(owner: &Dname, apex: &Dname) -> Dname {
    let mut labels = owner.labels();
    let (Some(label), false) = (labels.next(), owner == apex) else { return apex.clone() };
    let beside = |label: &[u8]| Dname::from_labels(std::iter::once(label).chain(labels.clone()));
    if label.len() < MAX_LABEL_BYTES
        && let Ok(longer) = beside(&[label, b"\0"].concat())
    {
        return longer;
    }
    let kept = label.len() - label.iter().rev().take_while(|&&byte| byte == u8::MAX).count();
    let raised = label[..kept].split_last().map(|(&last, rest)| [rest, &[byte_behind(last)]].concat());
    match raised.map(|label| beside(&label)) {
        Some(Ok(next)) => next,
        _ => Dname::from_labels(labels).map_or_else(|_| apex.clone(), |parent| behind(&parent, apex)),
    }
}

/// Names are compared in lower case, so there is nothing where the capital letters would be.
fn byte_behind(byte: u8) -> u8 {
    match byte {
        b'@' => b'[',
        _ => byte.saturating_add(1),
    }
}

/// The types as a bitmap of 256-type windows (RFC 4034 §4.1.2).
fn type_bitmap(mut types: Vec<u16>) -> Vec<u8> {
    types.sort_unstable();
    types.dedup();
    let mut bitmap = Vec::new();
    for window in types.chunk_by(|a, b| a >> 8 == b >> 8) {
        let [number, _] = window[0].to_be_bytes();
        let mut bits = [0u8; 32];
        let mut len = 0;
        for rtype in window {
            let [_, bit] = rtype.to_be_bytes();
            bits[usize::from(bit / 8)] |= 0x80 >> (bit % 8);
            len = bit / 8 + 1;
        }
        bitmap.extend_from_slice(&[number, len]);
        bitmap.extend_from_slice(&bits[..usize::from(len)]);
    }
    bitmap
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Dname {
        text.parse().expect("a name")
    }

    /// The order of RFC 4034 §6.1.
    fn canonical(name: &Dname) -> Vec<Vec<u8>> {
        let mut labels: Vec<Vec<u8>> = name.labels().map(<[u8]>::to_vec).collect();
        labels.reverse();
        labels
    }

    #[test]
    fn the_bitmap_of_the_rfc() {
        // RFC 4034 §4.3: A MX RRSIG NSEC TYPE1234.
        let mut expected = b"\x00\x06\x40\x01\x00\x00\x00\x03\x04\x1b".to_vec();
        expected.extend([0; 26]);
        expected.push(0x20);
        assert_eq!(type_bitmap(vec![1_234, 15, 1, 46, 47, 1]), expected);
        assert_eq!(type_bitmap(vec![rtype::NXNAME]), [&[0, 17][..], &[0; 16], &[0x80]].concat());
        assert_eq!(type_bitmap(vec![65_280, 255]), [&[0, 32][..], &[0; 31], &[0x01, 255, 1, 0x80]].concat());
    }

    #[test]
    fn next_names() {
        let apex = name("p2p");
        assert_eq!(next_name(&apex, &apex).as_wire(), b"\x01\x00\x03p2p\x00");
        assert_eq!(next_name(&name("a.p2p"), &apex).as_wire(), b"\x01\x00\x01a\x03p2p\x00");
        assert_eq!(behind(&name("sub.a.p2p"), &apex).as_wire(), b"\x04sub\x00\x01a\x03p2p\x00");
        let full = "a".repeat(63);
        let raised = format!("{}b.p2p", "a".repeat(62));
        assert_eq!(behind(&name(&format!("{full}.p2p")), &apex), name(&raised));
    }

    /// Names so long that nothing fits below them.
    #[test]
    fn next_names_at_the_limit() {
        let apex = name("p2p");
        let long = |last: &[u8]| {
            let full = [b'm'; 63];
            // 3 × 64 + 5 for the zone and the root, and 58 for the last label.
            Dname::from_labels([last, &full, &full, &full, b"p2p"]).expect("a name")
        };
        for (last, next) in [
            (vec![b'a'; 57], [vec![b'a'; 56], vec![b'b']].concat()),
            (vec![b'@'; 57], [vec![b'@'; 56], vec![b'[']].concat()),
            ([vec![b'a'; 55], vec![255, 255]].concat(), [vec![b'a'; 54], vec![b'b']].concat()),
        ] {
            let owner = long(&last);
            assert_eq!(owner.as_wire().len(), 255);
            let found = next_name(&owner, &apex);
            assert_eq!(found, long(&next));
            assert!(canonical(&owner) < canonical(&found));
        }
        let last = long(&[255; 57]);
        let found = next_name(&last, &apex);
        assert_eq!(found.labels().next(), Some(&[vec![b'm'; 62], vec![b'n']].concat()[..]));
        assert!(canonical(&last) < canonical(&found));
        // Nothing is behind the last of all names but the apex.
        let edge = Dname::from_labels([&[255; 57][..], &[255; 63], &[255; 63], &[255; 63], b"p2p"]).expect("a name");
        assert_eq!(next_name(&edge, &apex), apex);
    }
}

//! The shape of record data, type by type.
//!
//! Consensus takes record data as opaque bytes (protocol §4.5), so an owner can write any. What does not have its
//! type's shape is not served: a client would reject the whole answer, and a secondary the whole zone. Judged is what
//! strict readers (BIND among them) check before they look at values: that each field is there, and that digests and
//! coordinates can be what they claim. Names inside data must be uncompressed and absolute.

mod naptr;
mod service;
mod string;

use string::skip_string;

use crate::dns::{
    name::{Dname, DnameError},
    rtype,
};

/// Whether `data` has the shape that records of type `rtype` have. Types not known here are opaque (RFC 3597).
pub fn is_well_formed(rtype: u16, data: &[u8]) -> bool {
    match rtype {
        rtype::A => data.len() == 4,
        rtype::AAAA => data.len() == 16,
        rtype::NS | rtype::CNAME | rtype::DNAME => name_follows(data, 0),
        rtype::MX => name_follows(data, 2),
        rtype::SRV => name_follows(data, 6),
        rtype::TXT => !data.is_empty() && strings_to_end(data),
        rtype::LOC => location(data).is_some(),
        rtype::NAPTR => naptr::is_well_formed(data),
        rtype::DS => digest_fits(data, 3, &[(1, 20), (2, 32), (4, 48)]),
        rtype::TLSA | rtype::SMIMEA => digest_fits(data, 2, &[(1, 32), (2, 64)]),
        rtype::SSHFP => digest_fits(data, 1, &[(1, 20), (2, 32)]),
        rtype::OPENPGPKEY => !data.is_empty(),
        rtype::SVCB | rtype::HTTPS => service::is_well_formed(data),
        rtype::URI => data.len() > 4,
        rtype::CAA => caa(data).is_some(),
        _ => true,
    }
}

/// The name that NS, CNAME and DNAME data consists of.
pub fn target(data: &[u8]) -> Result<Dname, DnameError> {
    Dname::from_wire(data)
}

/// One `<character-string>` (RFC 1035 §3.3); what is longer than 255 bytes is cut.
pub fn character_string(text: &str) -> Vec<u8> {
    let bytes = &text.as_bytes()[..text.len().min(255)];
    [&[bytes.len() as u8], bytes].concat()
}

fn name_follows(data: &[u8], fixed: usize) -> bool {
    data.get(fixed..).is_some_and(|name| Dname::from_wire(name).is_ok())
}

fn strings_to_end(mut data: &[u8]) -> bool {
    while !data.is_empty() {
        match skip_string(data) {
            Some(rest) => data = rest,
            None => return false,
        }
    }
    true
}

/// Something follows the byte at `kind_at`, of the length that the kind there stands for if it is a known one (IANA
/// registries of DS digest algorithms, TLSA matching types and SSHFP fingerprint types).
fn digest_fits(data: &[u8], kind_at: usize, lengths: &[(u8, usize)]) -> bool {
    let Some((head, digest)) = data.split_at_checked(kind_at + 1) else { return false };
    match lengths.iter().find(|(kind, _)| *kind == head[kind_at]) {
        Some((_, length)) => digest.len() == *length,
        None => !digest.is_empty(),
    }
}

/// Version 0, three sizes as digit and exponent, latitude and longitude on the globe (RFC 1876 §2).
fn location(data: &[u8]) -> Option<()> {
    const EQUATOR: u32 = 1 << 31;
    const DEGREE: u32 = 3_600_000;
    let fields: &[u8; 16] = data.try_into().ok()?;
    let coordinate = |at: usize| u32::from_be_bytes([fields[at], fields[at + 1], fields[at + 2], fields[at + 3]]);
    let sizes_are_decimal =
        fields[1..4].iter().all(|&size| size == 0 || (1..=9).contains(&(size >> 4)) && size & 15 <= 9);
    let is_on_globe = coordinate(4).abs_diff(EQUATOR) <= 90 * DEGREE && coordinate(8).abs_diff(EQUATOR) <= 180 * DEGREE;
    (fields[0] == 0 && sizes_are_decimal && is_on_globe).then_some(())
}

/// Flags, a tag of letters and digits, and a value (RFC 8659 §4.1).
fn caa(data: &[u8]) -> Option<()> {
    let (&len, rest) = data.get(1..)?.split_first()?;
    let tag = rest.get(..usize::from(len))?;
    (!tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric)).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let cases: &[(u16, &[u8], bool)] = &[
            (rtype::A, b"abcd", true),
            (rtype::A, b"abc", false),
            (rtype::AAAA, &[0; 16], true),
            (rtype::NS, b"\x01a\x00", true),
            (rtype::NS, b"\x01a", false),
            (rtype::CNAME, b"\xc0\x0c", false),
            (rtype::DNAME, b"\x00", true),
            (rtype::MX, b"\x00\x0a\x01a\x00", true),
            (rtype::MX, b"\x00", false),
            (rtype::SRV, b"\0\0\0\0\0\0\x00", true),
            (rtype::SRV, b"\0\0\0\0\0\x00", false),
            (rtype::TXT, b"\x00", true),
            (rtype::TXT, b"", false),
            (rtype::TXT, b"\x05abc", false),
            (rtype::TXT, b"\x03abc\x01d", true),
            (rtype::LOC, b"\0\x12\x16\x13\x80\0\0\0\x80\0\0\0\0\0\0\0", true),
            (rtype::LOC, b"\x01\x12\x16\x13\x80\0\0\0\x80\0\0\0\0\0\0\0", false),
            (rtype::LOC, b"\0\x1a\x16\x13\x80\0\0\0\x80\0\0\0\0\0\0\0", false),
            (rtype::LOC, b"\0\x12\x16\x13\x00\0\0\0\x80\0\0\0\0\0\0\0", false),
            (rtype::LOC, b"\0\x12\x16\x13\x80\0\0\0\x80\0\0\0\0\0\0", false),
            (rtype::NAPTR, b"\0\0\0\0\x01u\x00\x00\x00", true),
            (rtype::NAPTR, b"\0\0\0\0\x01u\x00\x00", false),
            (rtype::DS, b"\0\0\0\x09\x01", true),
            (rtype::DS, b"\0\0\0\x09", false),
            (rtype::DS, b"\0\0\0", false),
            (rtype::DS, b"\0\x01\x0d\x02\x01", false),
            (rtype::DS, &[&b"\0\x01\x0d\x02"[..], &[7; 32]].concat(), true),
            (rtype::TLSA, b"\x03\0\0\x01", true),
            (rtype::TLSA, b"\x03\0\0", false),
            (rtype::TLSA, b"\x03\x01\x01\x01", false),
            (rtype::SMIMEA, &[&b"\x03\x01\x01"[..], &[7; 32]].concat(), true),
            (rtype::SSHFP, b"\x04\x09\x01", true),
            (rtype::SSHFP, b"\x04\x02\x01", false),
            (rtype::SSHFP, &[&b"\x04\x01"[..], &[7; 20]].concat(), true),
            (rtype::OPENPGPKEY, b"", false),
            (rtype::URI, b"\0\0\0\0u", true),
            (rtype::URI, b"\0\0\0\0", false),
            (rtype::CAA, b"\0\x05issueca", true),
            (rtype::CAA, b"\0\x00ca", false),
            (rtype::CAA, b"\0\x05iss", false),
            (65_280, b"", true),
        ];
        for (rtype, data, expected) in cases {
            assert_eq!(is_well_formed(*rtype, data), *expected, "type {rtype}: {data:?}");
        }
    }
}

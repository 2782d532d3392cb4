//! The shape of SVCB and HTTPS data (RFC 9460 §2.2): priority, target, and parameters with strictly ascending keys.
//!
//! Parameters with a registered meaning must have the form given there (§7, §8); others are opaque.

use crate::dns::name::Dname;

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4_HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6_HINT: u16 = 6;
const DOHPATH: u16 = 7;
/// Reserved: never a key.
const INVALID: u16 = 65_535;

/// Whether `data` is a service binding that a client can read.
pub(super) fn is_well_formed(data: &[u8]) -> bool {
    let Some(parameters) = data.get(2..).and_then(|rest| read_parameters(Dname::split_wire(rest).ok()?.1)) else {
        return false;
    };
    let has = |key| parameters.iter().any(|(there, _)| *there == key);
    parameters.windows(2).all(|pair| pair[0].0 < pair[1].0)
        && (has(ALPN) || !has(NO_DEFAULT_ALPN))
        && parameters.iter().all(|(key, value)| match *key {
            MANDATORY => numbers(value).is_some_and(|keys| {
                keys.windows(2).all(|pair| pair[0] < pair[1]) && keys.iter().all(|key| *key != MANDATORY && has(*key))
            }),
            _ => value_fits(*key, value),
        })
}

fn read_parameters(mut rest: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let mut parameters = Vec::new();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at_checked(4)?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let (value, tail) = tail.split_at_checked(length)?;
        parameters.push((u16::from_be_bytes([head[0], head[1]]), value));
        rest = tail;
    }
    Some(parameters)
}

fn value_fits(key: u16, value: &[u8]) -> bool {
    match key {
        ALPN => protocol_ids(value).is_some(),
        NO_DEFAULT_ALPN => value.is_empty(),
        PORT => value.len() == 2,
        IPV4_HINT => !value.is_empty() && value.len().is_multiple_of(4),
        IPV6_HINT => !value.is_empty() && value.len().is_multiple_of(16),
        ECH => !value.is_empty(),
        DOHPATH => std::str::from_utf8(value).is_ok_and(|path| path.starts_with('/') && path.contains("{?dns}")),
        INVALID => false,
        _ => true,
    }
}

/// Two-byte numbers, at least one.
fn numbers(value: &[u8]) -> Option<Vec<u16>> {
    let is_whole = !value.is_empty() && value.len().is_multiple_of(2);
    is_whole.then(|| value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
}

/// Strings with a length byte, at least one and none empty.
fn protocol_ids(mut value: &[u8]) -> Option<()> {
    loop {
        let (&length, rest) = value.split_first()?;
        value = rest.get(usize::from(length)..).filter(|_| length > 0)?;
        if value.is_empty() {
            return Some(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parameters: &[(u16, &[u8])], expected: bool) {
        let mut data = b"\0\x01\0".to_vec();
        for (key, value) in parameters {
            data.extend_from_slice(&key.to_be_bytes());
            data.extend_from_slice(&(value.len() as u16).to_be_bytes());
            data.extend_from_slice(value);
        }
        assert_eq!(is_well_formed(&data), expected, "{parameters:?}");
    }

    #[test]
    fn parameters_have_their_forms() {
        check(&[], true);
        check(&[(ALPN, b"\x02h2\x02h3")], true);
        check(&[(ALPN, b"")], false);
        check(&[(ALPN, b"\x00")], false);
        check(&[(ALPN, b"\x03h2")], false);
        check(&[(ALPN, b"\x02h2"), (NO_DEFAULT_ALPN, b"")], true);
        check(&[(NO_DEFAULT_ALPN, b"")], false);
        check(&[(ALPN, b"\x02h2"), (NO_DEFAULT_ALPN, b"x")], false);
        check(&[(PORT, b"\x01\xbb")], true);
        check(&[(PORT, b"\x01")], false);
        check(&[(IPV4_HINT, &[1; 8])], true);
        check(&[(IPV4_HINT, &[1; 7])], false);
        check(&[(IPV4_HINT, b"")], false);
        check(&[(IPV6_HINT, &[1; 16])], true);
        check(&[(IPV6_HINT, &[1; 12])], false);
        check(&[(ECH, b"")], false);
        check(&[(DOHPATH, b"/dns-query{?dns}")], true);
        check(&[(DOHPATH, b"\xff")], false);
        check(&[(MANDATORY, b"\x00\x03"), (PORT, b"\x01\xbb")], true);
        check(&[(MANDATORY, b"\x00\x03")], false);
        check(&[(MANDATORY, b"\x00\x00")], false);
        check(&[(MANDATORY, b"\x00\x04\x00\x03"), (PORT, b"\x01\xbb"), (IPV4_HINT, &[1; 4])], false);
        check(&[(PORT, b"\x01\xbb"), (ALPN, b"\x02h2")], false);
        check(&[(PORT, b"\x01\xbb"), (PORT, b"\x01\xbb")], false);
        check(&[(667, b"anything")], true);
        check(&[(INVALID, b"")], false);
    }

    #[test]
    fn what_ends_early_is_refused() {
        let data = b"\0\x01\x01a\0\0\x01\0\x03\x02h2";
        assert!(is_well_formed(data));
        for len in 0..data.len() {
            // A target without parameters is whole too.
            assert_eq!(is_well_formed(&data[..len]), len == 5, "{len}");
        }
    }
}

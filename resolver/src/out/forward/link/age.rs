//! For how long HTTP caches have had a response (RFC 9111 §5.1). The TTLs in it have run since then (RFC 8484 §5.1).

use http::{HeaderMap, header};

use crate::{
    dns::rtype,
    out::forward::response::{Record, Response},
};

/// A message that came on a connection.
pub(super) struct Arrived {
    pub(super) message: Vec<u8>,
    /// For how long caches on the way have had it.
    pub(super) age_s: u32,
}

/// Where the field MINIMUM of SOA data is, from the end.
const SOA_MINIMUM_FROM_END: usize = 4;

/// Seconds that a response is old by its own word; 0 if it says nothing that can be read. Of a list the first counts, and
/// a number that is too large is as large as there is (RFC 9111 §1.2.2, §5.1).
pub(super) fn of(headers: &HeaderMap) -> u32 {
    let value = headers.get(header::AGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = value.split(',').next().unwrap_or_default().trim_matches([' ', '\t']);
    match !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit()) {
        true => first.parse().unwrap_or(u32::MAX),
        false => 0,
    }
}

/// Takes `age_s` off all TTLs, which end at 0. An absence has run as well, and its time may be shorter than the TTL of the
/// SOA that proves it (RFC 2308 §5).
pub(super) fn lower_ttls(response: &mut Response, age_s: u32) {
    if age_s == 0 {
        return;
    }
    for soa in response.authorities.iter_mut().filter(|record| record.rtype == rtype::SOA) {
        soa.ttl_s = soa.ttl_s.min(minimum(soa));
    }
    for record in response.answers.iter_mut().chain(&mut response.authorities) {
        record.ttl_s = record.ttl_s.saturating_sub(age_s);
    }
}

fn minimum(soa: &Record) -> u32 {
    soa.data.last_chunk::<SOA_MINIMUM_FROM_END>().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[&str], expected: u32) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AGE, value.parse().expect("a value"));
        }
        assert_eq!(of(&headers), expected, "{values:?}");
    }

    #[test]
    fn ages() {
        check(&[], 0);
        check(&["0"], 0);
        check(&["250"], 250);
        check(&["007"], 7);
        check(&[" 250\t"], 250);
        check(&["250, 3"], 250);
        check(&["250", "3"], 250);
        check(&["99999999999999999999"], u32::MAX);
        for malformed in ["", "-1", "+1", "1.5", "1 s", "x", ", 3", "0x10", "1e3", "\u{661}"] {
            check(&[malformed], 0);
        }
    }

    #[test]
    fn ttls_are_lowered_and_end_at_nothing() {
        let record = |rtype, ttl_s, minimum: u32| Record {
            owner: "a.example".parse().expect("a name"),
            rtype,
            class: 1,
            ttl_s,
            data: [&[0; 18][..], &minimum.to_be_bytes()].concat().into(),
        };
        let aged = |age_s| {
            let mut response = Response {
                answers: vec![record(rtype::A, 300, 0), record(rtype::SOA, 300, 60)],
                authorities: vec![record(rtype::SOA, 900, 300), record(rtype::NS, 200, 0)],
                ..Response::default()
            };
            lower_ttls(&mut response, age_s);
            response.answers.iter().chain(&response.authorities).map(|record| record.ttl_s).collect::<Vec<_>>()
        };
        assert_eq!(aged(0), [300, 300, 900, 200]);
        // An absence of 300 s whose SOA has a longer TTL.
        assert_eq!(aged(100), [200, 200, 200, 100]);
        assert_eq!(aged(250), [50, 50, 50, 0]);
        assert_eq!(aged(u32::MAX), [0; 4]);
    }
}

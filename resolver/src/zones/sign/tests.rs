//! The examples of RFC 4034 and RFC 6605, and signatures checked by another implementation's eyes.

use data_encoding::{BASE64, HEXLOWER};
use p256::{
    SecretKey,
    ecdsa::{Signature, VerifyingKey, signature::hazmat::PrehashVerifier as _},
    pkcs8::{EncodePrivateKey as _, LineEnding},
};

use hickory_proto::op::ResponseCode;

use super::{anchor::Format, *};
use crate::{
    dns::answer::Origin,
    policy::config::DnsConfig,
    zones::query::{ClientEdns, Recursion, Transport},
};

/// RFC 6605 §6.1.
const SECRET: &str = "GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/ok1s38Et6mQ=";
const PUBLIC: &str = "GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==";
const DS: &str = "b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17";
const SIGNATURE: &str = "qx6wLYqmh+l9oCKTN6qIc+bw6ya+KJ8oMz0YP107epXAyGmt+3SNruPFKG7tZoLBLlUzGGus7ZwmwWep666VCw==";

fn name(text: &str) -> Dname {
    text.parse().expect("a name")
}

fn example_key() -> ZoneKey {
    let secret = SecretKey::from_slice(&BASE64.decode(SECRET.as_bytes()).expect("base64")).expect("a scalar");
    ZoneKey::from_pem(&secret.to_pkcs8_pem(LineEnding::LF).expect("encodes")).expect("a key")
}

fn example_set() -> RrSet {
    RrSet::one(name("www.example.net"), rtype::A, 3_600, vec![192, 0, 2, 1])
}

fn verify(key: &ZoneKey, digest: &[u8], signature: &[u8]) -> bool {
    let point = [&[4], key.public()].concat();
    let public = VerifyingKey::from_sec1_bytes(&point).expect("a point");
    public.verify_prehash(digest, &Signature::from_slice(signature).expect("64 bytes")).is_ok()
}

#[test]
fn the_key_and_its_ds_in_rfc_6605() {
    let key = example_key();
    assert_eq!(BASE64.encode(key.public()), PUBLIC);
    assert_eq!(key.dnskey()[..4], [1, 1, 3, 13]);
    assert_eq!(key.tag(), 55_648);
    assert_eq!(HEXLOWER.encode(&key.ds_digest(&name("example.net"))), DS);
    assert_eq!(HEXLOWER.encode(&key.ds_digest(&name("EXAMPLE.net."))), DS);
}

/// Its nonce was random, so the same bytes cannot be made again; but what we would sign is what was signed there.
#[test]
fn the_signature_in_rfc_6605() {
    let signer = name("example.net");
    // 2010-08-12 10:04:39 and 2010-09-09 10:04:39 UTC.
    let terms =
        canonical::Terms { key_tag: 55_648, signer: &signer, inception: 1_281_607_479, expiration: 1_284_026_679 };
    let set = example_set();
    let signature = BASE64.decode(SIGNATURE.as_bytes()).expect("base64");
    let digest = canonical::digest(&terms.rdata_before_signature(&set), &set);
    assert!(verify(&example_key(), &digest, &signature));
    let later = canonical::Terms { expiration: terms.expiration + 1, ..terms };
    assert!(!verify(&example_key(), &canonical::digest(&later.rdata_before_signature(&set), &set), &signature));
}

/// RFC 4034 §5.4: a key of another algorithm, whose tag is 60485.
#[test]
fn the_key_tag_in_rfc_4034() {
    let key = "AQOeiiR0GOMYkDshWoSKz9XzfwJr1AYtsmx3TGkJaNXVbfi/2pHm822aJ5iI9BMzNXxeYCmZDRD99WYwYqUSdjMmmAphXdvxegXd\
               /M5+X7OrzKBaMbCVdFLUUh6DhweJBjEVv5f2wwjM9XzcnOf+EPbtG9DMBmADjFDc2w/rljwvFw==";
    let dnskey = [&[1, 0, 3, 5], &BASE64.decode(key.as_bytes()).expect("base64")[..]].concat();
    assert_eq!(key::key_tag(&dnskey), 60_485);
}

/// The nonces of RFC 6979 make signing repeatable: its A.2.5 example for SHA-256 of "sample".
#[test]
fn the_signature_in_rfc_6979() {
    let secret =
        HEXLOWER.decode(b"c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721").expect("hexadecimal");
    let secret = SecretKey::from_slice(&secret).expect("a scalar");
    let key = ZoneKey::from_pem(&secret.to_pkcs8_pem(LineEnding::LF).expect("encodes")).expect("a key");
    let digest =
        HEXLOWER.decode(b"af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf").expect("hexadecimal");
    let signature = key.sign_digest(&digest.try_into().expect("32 bytes"));
    assert_eq!(
        HEXLOWER.encode(&signature),
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
         f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
    );
}

#[test]
fn signatures_hold_from_the_hour_before_for_two_days() {
    let signer = Signer::new(example_key());
    let apex = name("example.net");
    let times = |now_s| {
        let rrsig = signer.rrsig(&example_set(), &apex, now_s);
        let number = |at: usize| u32::from_be_bytes(rrsig.data[0][at..at + 4].try_into().expect("4 bytes"));
        (number(12), number(8))
    };
    let hour = 1_800_000_000;
    assert_eq!(hour % HOUR_S, 0);
    let expected = (hour as u32 - 3_600, hour as u32 + 172_800);
    assert_eq!(times(hour), expected);
    assert_eq!(times(hour + 3_599), expected);
    assert_eq!(times(hour + 3_600), (expected.0 + 3_600, expected.1 + 3_600));
    // Serial numbers: in 2106 they begin again (4,294,967,296 = 1,193,046 hours and 1,696 s).
    let last_hour = (1 << 32) - 1_696;
    assert_eq!(times(last_hour), ((last_hour - 3_600) as u32, 172_800 - 1_696));
    // A clock that stands at the epoch must not be a panic.
    assert_eq!(times(0), (0u32.wrapping_sub(3_600), 172_800));
}

/// Signs `records` as the answer to a question of this type.
fn signed(qtype: u16, records: Vec<RrSet>) -> Vec<RrSet> {
    let edns = ClientEdns { version: 0, payload: 1232, dnssec_ok: true, compact_ok: false, wants_nsid: false };
    let query = Query {
        name: name("x.d.p2p"),
        qtype,
        qclass: rtype::CLASS_IN,
        transport: Transport::Stream,
        recursion: Recursion::NotDesired,
        edns: Some(edns),
    };
    let mut answer = Answer { answer: records, ..Answer::empty(ResponseCode::NoError, Origin::Ledger) };
    let site = DnsConfig::default().site().expect("the default is right");
    Signer::new(example_key()).sign_answer(&mut answer, &query, &site, 1_800_000_000);
    answer.answer
}

#[test]
fn no_answer_outlives_its_signature_in_a_cache() {
    for (ttl_s, expected) in [(604_800, 86_400), (86_401, 86_400), (300, 300)] {
        let records = signed(rtype::A, vec![RrSet::one(name("x.d.p2p"), rtype::A, ttl_s, vec![192, 0, 2, 1])]);
        let [set, rrsig] = &records[..] else { panic!("a set and its signature: {records:?}") };
        let original_ttl_s = u32::from_be_bytes(rrsig.data[0][4..8].try_into().expect("4 bytes"));
        assert_eq!((set.ttl_s, rrsig.ttl_s, original_ttl_s), (expected, expected, expected));
    }
}

#[test]
fn a_question_for_signatures_keeps_the_way_to_them_and_hides_the_proof() {
    let one = |owner: &str, rtype, data: &[u8]| RrSet::one(name(owner), rtype, 300, data.to_vec());
    let records = vec![
        one("d.p2p", rtype::DNAME, b"\x01e\x03p2p\0"),
        one("x.d.p2p", rtype::CNAME, b"\x01x\x01e\x03p2p\0"),
        one("x.e.p2p", rtype::NSEC, b"\x01\0\x01x\x01e\x03p2p\0\0\x01\x40"),
    ];
    let types = |records: &[RrSet]| records.iter().map(|set| set.rtype).collect::<Vec<_>>();
    let way = [rtype::DNAME, rtype::RRSIG, rtype::CNAME];
    assert_eq!(types(&signed(rtype::RRSIG, records.clone())), [&way[..], &[rtype::RRSIG]].concat());
    assert_eq!(types(&signed(rtype::A, records)), [&way[..], &[rtype::NSEC, rtype::RRSIG]].concat());
}

#[test]
fn within_an_hour_the_cached_signature_is_the_one_that_would_be_made() {
    let (warm, apex) = (Signer::new(example_key()), name("example.net"));
    let first = warm.rrsig(&example_set(), &apex, 1_800_000_000);
    assert_eq!(warm.rrsig(&example_set(), &apex, 1_800_000_900), first);
    assert_eq!(Signer::new(example_key()).rrsig(&example_set(), &apex, 1_800_000_900), first);
}

#[test]
fn debug_keeps_the_secret() {
    let shown = format!("{:?}", example_key());
    assert_eq!(shown, "ZoneKey { tag: 55648, .. }");
}

#[test]
fn anchors() {
    let zones = [name("p2p"), name("example.net")];
    let key = example_key();
    let p2p = data_encoding::HEXUPPER.encode(&key.ds_digest(&zones[0]));
    let net = DS.to_uppercase();
    let static_keys = format!(
        "trust-anchors {{\n    \"p2p.\" static-key 257 3 13 \"{PUBLIC}\";\n    \"example.net.\" static-key 257 3 13 \
         \"{PUBLIC}\";\n}};\n"
    );
    for (format, expected) in [
        (
            Format::Unbound,
            format!(
                "server:\n    trust-anchor: \"p2p. IN DS 55648 13 2 {p2p}\"\n    trust-anchor: \"example.net. IN DS \
                 55648 13 2 {net}\"\n"
            ),
        ),
        (Format::Bind, static_keys.clone()),
        (
            Format::Knot,
            format!(
                "trust_anchors.add('p2p. IN DS 55648 13 2 {p2p}')\ntrust_anchors.add('example.net. IN DS 55648 13 2 \
                 {net}')\n"
            ),
        ),
        (Format::Systemd, format!("p2p. IN DS 55648 13 2 {p2p}\nexample.net. IN DS 55648 13 2 {net}\n")),
        (Format::Delv, static_keys),
        (Format::Ds, format!("p2p. IN DS 55648 13 2 {p2p}\nexample.net. IN DS 55648 13 2 {net}\n")),
    ] {
        assert_eq!(anchor::export(format, &key, &zones), expected, "{format}");
    }
}

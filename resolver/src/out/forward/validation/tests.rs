//! Work is bounded, times count, and examples of the RFCs.

use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};

use super::*;
use crate::{dns::answer::Origin, zones::sign::key::key_tag};

const NOW_S: u32 = 1_000_000;

fn name(text: &str) -> Dname {
    text.parse().expect("a name")
}

/// A key pair of P-256 and its DNSKEY data.
fn pair() -> (EcdsaKeyPair, Bytes) {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
    let pair = pair.expect("a key");
    let data = [&[1, 1, 3, 13], &pair.public_key().as_ref()[1..]].concat();
    (pair, data.into())
}

/// Keys of the same tag that are none: bytes that a sum adds up are swapped.
fn same_tag(key: &Bytes, count: usize) -> Vec<Bytes> {
    (1..=count)
        .map(|i| {
            let mut data = key.to_vec();
            // Adding to one byte what another of the same column loses keeps the sum.
            let (one, other) = (4 + 2 * (i % 8), 4 + 2 * (8 + i / 8));
            let moved = 1.min(u8::MAX - data[one]).min(data[other]);
            data[one] += moved;
            data[other] -= moved;
            data.into()
        })
        .filter(|data: &Bytes| data != key && key_tag(data) == key_tag(key))
        .collect()
}

/// RRSIG data for an A record of `a.x` in the zone `x`, up to the signature.
fn head(key: &Bytes, inception: u32, expiration: u32) -> Vec<u8> {
    let mut data = vec![0, 1, key[3], 2];
    for number in [300, expiration, inception] {
        data.extend_from_slice(&number.to_be_bytes());
    }
    data.extend_from_slice(&key_tag(key).to_be_bytes());
    data.extend_from_slice(b"\x01x\x00");
    data
}

fn message(head: &[u8]) -> Vec<u8> {
    [head, b"\x01a\x01x\x00\0\x01\0\x01\0\0\x01\x2c\0\x04", &[192, 0, 2, 1]].concat()
}

fn question() -> Question {
    Question { name: name("a.x"), qtype: rtype::A, dnssec_ok: true, checking_disabled: false, authority: None }
}

fn answer(signatures: Vec<Vec<u8>>) -> Answer {
    let mut answer = Answer::empty(ResponseCode::NoError, Origin::Upstream);
    let mut signature_set = RrSet::one(name("a.x"), rtype::RRSIG, 300, Vec::new());
    signature_set.data = signatures.into_iter().map(Bytes::from).collect();
    answer.answer = vec![RrSet::one(name("a.x"), rtype::A, 300, vec![192, 0, 2, 1]), signature_set];
    answer
}

fn judge(keys: &[Bytes], signatures: Vec<Vec<u8>>) -> (Result<Status, EdeCode>, u32) {
    let keys: Vec<Key> = keys.iter().filter_map(Key::read).collect();
    let zone = Zone { apex: &name("x"), keys: &keys, now_s: NOW_S };
    let mut budget = Budget::new();
    let status = check(&question(), &mut answer(signatures), &[], &zone, &mut budget);
    (status.map_err(|bogus| bogus.code), budget.checked())
}

/// A signature that is one of the right size.
fn wrong(key: &Bytes, number: u8) -> Vec<u8> {
    [head(key, NOW_S - 1, NOW_S + 1), vec![number + 1; 64]].concat()
}

/// KeyTrap, CVE-2023-50387: many keys of one tag, many signatures, and both. Each pair would be a check.
#[test]
fn keys_and_signatures_do_not_multiply() {
    let (pair, key) = pair();
    let all = [vec![key.clone()], same_tag(&key, 63)].concat();
    assert!(all.len() > 10, "{}", all.len());
    let good = head(&key, NOW_S - 1, NOW_S + 1);
    let signature = pair.sign(&SystemRandom::new(), &message(&good)).expect("signed");
    let good = [good, signature.as_ref().to_vec()].concat();
    assert_eq!(judge(&all, vec![good.clone()]), (Ok(Status::Secure), 1));
    let many: Vec<Vec<u8>> = (0..200).map(|number| wrong(&key, number)).collect();
    for (keys, signatures) in [
        (&all[..1], many.clone()),
        (&all[1..], vec![good.clone()]),
        (&all[..], many.clone()),
        (&all[..], [many.clone(), vec![good.clone()]].concat()),
    ] {
        let (status, checked) = judge(keys, signatures);
        assert_eq!(status, Err(EdeCode::DnssecBogus));
        assert!(checked <= 9, "{checked}");
    }
    // Two of one tag are nobody's fault.
    let collision = [all[1].clone(), key.clone()];
    assert_eq!(judge(&collision, vec![good.clone()]), (Ok(Status::Secure), 2));
    // The signatures of another zone or type are no work.
    let others = many.iter().map(|data| [&[0, 2], &data[2..]].concat()).collect();
    assert_eq!(judge(&all, others), (Err(EdeCode::RrsigsMissing), 0));
}

/// The sets of one response together.
#[test]
fn wrong_proofs_are_bounded_together() {
    let (_, key) = pair();
    let proof = |number: u8| {
        let owner = name(&format!("n{number}.x"));
        let mut data = wrong(&key, number);
        data[..2].copy_from_slice(&rtype::NSEC.to_be_bytes());
        let nsec = RrSet::one(owner.clone(), rtype::NSEC, 60, b"\x01z\x01x\x00\0\x01\x40".to_vec());
        let mut signatures = RrSet::one(owner, rtype::RRSIG, 60, Vec::new());
        signatures.data = vec![data.into(); 5];
        [nsec, signatures]
    };
    let proofs: Vec<RrSet> = (0..100).flat_map(proof).collect();
    let keys = [Key::read(&key).expect("a key")];
    let (zone, mut budget) = (Zone { apex: &name("x"), keys: &keys, now_s: NOW_S }, Budget::new());
    let mut absent = Answer::empty(ResponseCode::NXDomain, Origin::Upstream);
    let status = check(&question(), &mut absent, &proofs, &zone, &mut budget);
    assert_eq!(status.map_err(|bogus| bogus.code), Err(EdeCode::NsecMissing));
    assert!(budget.checked() <= 9 + MAX_PROOFS as u32, "{}", budget.checked());
}

/// Keys that do not add up to the DS, and too many keys.
#[test]
fn keys_of_one_tag_are_few_for_ds_records_too() {
    let (_, key) = pair();
    let others = same_tag(&key, 63);
    let ds = Bytes::from(crate::zones::sign::key::ds(&name("x"), &key));
    let vouched = |keys: &[Bytes]| {
        let keys: Vec<Key> = keys.iter().filter_map(Key::read).collect();
        key::vouched_for(&name("x"), std::slice::from_ref(&ds), &keys).map(|found| found.len())
    };
    assert_eq!(vouched(&[others[0].clone(), key.clone()]), Ok(1));
    assert!(vouched(&[others, vec![key.clone()]].concat()).is_err());
    let mut answer = Answer::empty(ResponseCode::NoError, Origin::Upstream);
    let mut set = RrSet::one(name("x"), rtype::DNSKEY, 60, Vec::new());
    set.data = (0..=MAX_KEYS as u16).map(|i| [&key[..], &i.to_be_bytes()].concat().into()).collect();
    answer.answer.push(set);
    let too_many = check_keys(&mut answer, &name("x"), &[ds], NOW_S, &mut Budget::new());
    assert_eq!(too_many.map_err(|bogus| bogus.code), Err(EdeCode::DnskeyMissing));
}

#[test]
fn times_wrap_around() {
    let (pair, key) = pair();
    let of = |inception: u32, expiration: u32| {
        let head = head(&key, inception, expiration);
        let signature = pair.sign(&SystemRandom::new(), &message(&head)).expect("signed");
        judge(std::slice::from_ref(&key), vec![[head, signature.as_ref().to_vec()].concat()]).0
    };
    for (inception, expiration, expected) in [
        (NOW_S, NOW_S, Ok(Status::Secure)),
        (NOW_S - 100, NOW_S + 100, Ok(Status::Secure)),
        (NOW_S - 100, NOW_S - 1, Err(EdeCode::SignatureExpired)),
        (NOW_S + 1, NOW_S + 100, Err(EdeCode::SignatureNotYetValid)),
        (0u32.wrapping_sub(100), NOW_S + 100, Ok(Status::Secure)),
        (0u32.wrapping_sub(200), 0u32.wrapping_sub(100), Err(EdeCode::SignatureExpired)),
    ] {
        assert_eq!(of(inception, expiration), expected, "{inception} {expiration}");
    }
}

/// Ed25519 with the example of RFC 8080 §6.1: key, DS and the signature of an MX record.
#[test]
fn the_example_of_rfc_8080() {
    let base64 = |text: &str| data_encoding::BASE64.decode(text.as_bytes()).expect("base64");
    let public = base64("l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=");
    let key = Bytes::from([&[1, 1, 3, 15], &public[..]].concat());
    let digest = "3aa5ab37efce57f737fc1627013fee07bdf241bd10f3b1964ab55c78e79a304b";
    let digest = data_encoding::HEXLOWER.decode(digest.as_bytes()).expect("hex");
    let ds = Bytes::from([&3_613u16.to_be_bytes()[..], &[15, 2], &digest].concat());
    let keys = [Key::read(&key).expect("a key")];
    assert_eq!(key::vouched_for(&name("example.com"), &[ds], &keys).map(|found| found.len()), Ok(1));
    let signature = base64("oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg==");
    let head = [
        &rtype::MX.to_be_bytes()[..],
        &[15, 2],
        &3_600u32.to_be_bytes(),
        &1_440_021_600u32.to_be_bytes(),
        &1_438_207_200u32.to_be_bytes(),
        &3_613u16.to_be_bytes(),
        name("example.com").as_wire(),
    ]
    .concat();
    let mx = [&[0, 10], name("mail.example.com").as_wire()].concat();
    let owner = name("example.com");
    let sets = [
        RrSet::one(owner.clone(), rtype::MX, 3_600, mx),
        RrSet::one(owner.clone(), rtype::RRSIG, 3_600, [head, signature].concat()),
    ];
    let zone = Zone { apex: &owner, keys: &keys, now_s: 1_440_000_000 };
    let verified = signature::verify(&sets[0], Some(&sets[1]), &zone, &mut Budget::new()).expect("right");
    assert_eq!((verified.lifetime_s, verified.wildcard_below), (3_600, None));
}

/// What signs no zone is no key: flags, protocol, algorithm.
#[test]
fn which_keys_count() {
    let random = SystemRandom::new();
    let document = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key");
    let data = |flags: u16, protocol: u8, algorithm: u8| {
        Bytes::from([&flags.to_be_bytes()[..], &[protocol, algorithm], pair.public_key().as_ref()].concat())
    };
    let key = Key::read(&data(256, 3, 15)).expect("a key");
    assert!(key.has_signed(b"text", pair.sign(b"text").as_ref()));
    assert!(!key.has_signed(b"test", pair.sign(b"text").as_ref()));
    for (flags, protocol, algorithm) in [(0, 3, 15), (384, 3, 15), (256, 2, 15), (256, 3, 5), (256, 3, 16)] {
        assert_eq!(Key::read(&data(flags, protocol, algorithm)), None, "{flags} {protocol} {algorithm}");
    }
    assert_eq!(Key::read(&Bytes::from_static(b"\x01\x01\x03")), None);
}

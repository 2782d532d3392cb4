//! Keys of zones (DNSKEY), what their parents say of them (DS), and the arithmetic of signatures, which is ring's.
//!
//! SHA-1 is no algorithm here, neither for signatures nor for digests (RFC 9905): a zone that has nothing else counts as
//! unsigned, like one with algorithms that nobody has heard of (RFC 4035 §5.2, RFC 6840 §5.2).

use bytes::Bytes;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
    VerificationAlgorithm,
};
use sha2::{Digest as _, Sha256, Sha384};

use super::{budget::MAX_KEYS_PER_TAG, outcome::Bogus};
use crate::{
    dns::{ede::EdeCode, name::Dname},
    zones::sign::key::key_tag,
};

const RSASHA256: u8 = 8;
const RSASHA512: u8 = 10;
const ECDSAP256SHA256: u8 = 13;
const ECDSAP384SHA384: u8 = 14;
const ED25519_ALGORITHM: u8 = 15;
/// Digest types of DS records.
const SHA256: u8 = 2;
const SHA384: u8 = 4;
/// Flags of a key: it signs zones (RFC 4034 §2.1.1), or no longer anything (RFC 5011 §2.1).
const ZONE_KEY: u16 = 0x0100;
const REVOKED: u16 = 0x0080;
/// The only protocol there is (RFC 4034 §2.1.2).
const PROTOCOL: u8 = 3;
/// Bytes of a DNSKEY in front of the key itself, and of a DS in front of the digest.
const HEAD_BYTES: usize = 4;

/// A key that may sign a zone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    pub(super) tag: u16,
    pub(super) algorithm: u8,
    data: Bytes,
}

/// What a parent says of a key.
struct Signer<'a> {
    tag: u16,
    algorithm: u8,
    digest_type: u8,
    digest: &'a [u8],
}

impl Key {
    /// Reads DNSKEY data; `None` if it is no key that may sign a zone, or of an algorithm that is not known.
    pub(super) fn read(data: &Bytes) -> Option<Self> {
        let head = data.get(..HEAD_BYTES)?;
        let flags = u16::from_be_bytes([head[0], head[1]]);
        let may_sign = flags & ZONE_KEY != 0 && flags & REVOKED == 0 && head[2] == PROTOCOL;
        (may_sign && is_known(head[3])).then(|| Self { tag: key_tag(data), algorithm: head[3], data: data.clone() })
    }

    /// Whether `signature` of `message` is by this key.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let public = &self.data[HEAD_BYTES..];
        // SEC 1 puts a byte first that says how points are written (RFC 6605 §4).
        let point = || [&[4], public].concat();
        match self.algorithm {
            RSASHA256 => rsa(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, public, message, signature),
            RSASHA512 => rsa(&RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, public, message, signature),
            ECDSAP256SHA256 => plain(&ECDSA_P256_SHA256_FIXED, &point(), message, signature),
            ECDSAP384SHA384 => plain(&ECDSA_P384_SHA384_FIXED, &point(), message, signature),
            ED25519_ALGORITHM => plain(&ED25519, public, message, signature),
            _ => false,
        }
    }
}

impl<'a> Signer<'a> {
    /// Reads DS data; `None` if it says nothing that can be checked here.
    fn read(data: &'a [u8]) -> Option<Self> {
        let (head, digest) = data.split_at_checked(HEAD_BYTES)?;
        let tag = u16::from_be_bytes([head[0], head[1]]);
        let is_checkable = is_known(head[2]) && matches!(head[3], SHA256 | SHA384);
        is_checkable.then_some(Self { tag, algorithm: head[2], digest_type: head[3], digest })
    }

    fn is_of(&self, apex: &Dname, key: &Key) -> bool {
        match self.digest_type {
            SHA256 => Sha256::new().chain_update(apex.as_wire()).chain_update(&key.data).finalize()[..] == *self.digest,
            _ => Sha384::new().chain_update(apex.as_wire()).chain_update(&key.data).finalize()[..] == *self.digest,
        }
    }
}

/// Whether the DS records of a zone make it a signed one: at least one of them can be checked.
pub(crate) fn is_signed(signers: &[Bytes]) -> bool {
    signers.iter().any(|data| Signer::read(data).is_some())
}

/// Those keys of the zone `apex` that its parent vouches for.
pub(super) fn vouched_for(apex: &Dname, signers: &[Bytes], keys: &[Key]) -> Result<Vec<Key>, Bogus> {
    let mut found = Vec::new();
    for signer in signers.iter().filter_map(|data| Signer::read(data)) {
        let named = keys.iter().filter(|key| (key.tag, key.algorithm) == (signer.tag, signer.algorithm));
        let fitting = named.take(MAX_KEYS_PER_TAG).filter(|key| signer.is_of(apex, key) && !found.contains(*key));
        let fitting: Vec<Key> = fitting.cloned().collect();
        found.extend(fitting);
    }
    match found.is_empty() {
        true => {
            Err(Bogus::new(EdeCode::DnskeyMissing, format!("no key of {apex} is the one that its DS records name")))
        }
        false => Ok(found),
    }
}

fn is_known(algorithm: u8) -> bool {
    matches!(algorithm, RSASHA256 | RSASHA512 | ECDSAP256SHA256 | ECDSAP384SHA384 | ED25519_ALGORITHM)
}

fn plain(algorithm: &'static dyn VerificationAlgorithm, public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(algorithm, public).verify(message, signature).is_ok()
}

/// The exponent with its length, and the modulus (RFC 3110 §2). ring bounds both, and so the time.
fn rsa(parameters: &'static RsaParameters, public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let split = || {
        let (length, rest) = match public.split_first()? {
            (0, rest) => {
                let (length, rest) = rest.split_at_checked(2)?;
                (usize::from(u16::from_be_bytes([length[0], length[1]])), rest)
            }
            (length, rest) => (usize::from(*length), rest),
        };
        rest.split_at_checked(length)
    };
    let Some((e, n)) = split() else { return false };
    let trim = |number: &[u8]| number.iter().skip_while(|byte| **byte == 0).copied().collect::<Vec<u8>>();
    RsaPublicKeyComponents { n: trim(n), e: trim(e) }.verify(parameters, message, signature).is_ok()
}

/// A zone and the keys that sign it.
pub(crate) struct Zone<'a> {
    pub(crate) apex: &'a Dname,
    pub(crate) keys: &'a [Key],
    /// Seconds since 1970, modulo 2³², by the clock on the wall.
    pub(crate) now_s: u32,
}

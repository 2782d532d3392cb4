//! A zone's key: ECDSA P-256 with SHA-256, one key for everything (a combined signing key).
//!
//! Guarantees: the private half leaves only through [`ZoneKey::to_pem`]; `Debug` shows the key tag; memory is wiped when
//! the key is dropped.

use std::fmt;

use bytes::Bytes;
use p256::{
    SecretKey,
    ecdsa::{Signature, SigningKey, signature::hazmat::PrehashSigner as _},
    elliptic_curve::sec1::ToSec1Point as _,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding},
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

pub use super::algorithm::{ALGORITHM, DS_DIGEST, FLAGS, PROTOCOL};
use super::algorithm::{DIGEST_BYTES, SIGNATURE_BYTES};
use crate::dns::name::Dname;

/// The key that signs all zones of a node.
pub struct ZoneKey {
    signing: SigningKey,
    dnskey: Bytes,
    tag: u16,
}

/// Why text is not a zone key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it is not an intact P-256 private key in PKCS #8 PEM form")]
pub struct NotAKey;

impl ZoneKey {
    /// A new random key.
    pub fn generate() -> Result<Self, getrandom::Error> {
        loop {
            let mut seed = Zeroizing::new([0; 32]);
            getrandom::fill(&mut *seed)?;
            // About one draw in 2³² is no scalar of the curve.
            if let Ok(secret) = SecretKey::from_slice(&*seed) {
                return Ok(Self::new(&secret));
            }
        }
    }

    /// Reads what [`ZoneKey::to_pem`] wrote. The form holds the public half as well, and the two must belong together:
    /// a damaged file is noticed, and not used as some other key.
    pub fn from_pem(text: &str) -> Result<Self, NotAKey> {
        let key = Self::new(&SecretKey::from_pkcs8_pem(text).map_err(|_| NotAKey)?);
        match key.to_pem().as_deref() {
            Ok(written) if written == text => Ok(key),
            _ => Err(NotAKey),
        }
    }

    /// PKCS #8 in PEM form (RFC 5958, RFC 7468), as OpenSSL and others read it.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, NotAKey> {
        SecretKey::from(&self.signing).to_pkcs8_pem(LineEnding::LF).map_err(|_| NotAKey)
    }

    /// Data of the DNSKEY record (RFC 4034 §2.1).
    pub fn dnskey(&self) -> &Bytes {
        &self.dnskey
    }

    /// The public half alone, as DNSKEY holds it: both coordinates, without the byte that SEC 1 puts first.
    pub fn public(&self) -> &[u8] {
        &self.dnskey[4..]
    }

    /// The key tag (RFC 4034 appendix B).
    pub fn tag(&self) -> u16 {
        self.tag
    }

    /// The digest that a DS record for this key at `apex` holds (RFC 4034 §5.1.4, RFC 4509).
    pub fn ds_digest(&self, apex: &Dname) -> [u8; 32] {
        ds_digest(apex, &self.dnskey)
    }

    /// Signs a SHA-256 digest, with the nonce of RFC 6979.
    pub(super) fn sign_digest(&self, digest: &[u8; DIGEST_BYTES]) -> [u8; SIGNATURE_BYTES] {
        let signature: Signature = self.signing.sign_prehash(digest).expect("a digest of 32 bytes can be signed");
        signature.to_bytes().into()
    }

    fn new(secret: &SecretKey) -> Self {
        let [high, low] = FLAGS.to_be_bytes();
        let point = secret.public_key().to_sec1_point(false);
        let dnskey = Bytes::from([&[high, low, PROTOCOL, ALGORITHM], &point.as_bytes()[1..]].concat());
        Self { signing: SigningKey::from(secret), tag: key_tag(&dnskey), dnskey }
    }
}

impl fmt::Debug for ZoneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZoneKey").field("tag", &self.tag).finish_non_exhaustive()
    }
}

/// Data of the DS record for a key at `apex` (RFC 4034 §5.1); CDS has the same (RFC 7344 §3.1).
pub(crate) fn ds(apex: &Dname, dnskey: &[u8]) -> Vec<u8> {
    let [high, low] = key_tag(dnskey).to_be_bytes();
    [&[high, low, ALGORITHM, DS_DIGEST], &ds_digest(apex, dnskey)[..]].concat()
}

fn ds_digest(apex: &Dname, dnskey: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(apex.as_wire()).chain_update(dnskey).finalize().into()
}

/// The checksum by which a signature names its key (RFC 4034 appendix B).
pub(crate) fn key_tag(dnskey: &[u8]) -> u16 {
    let pairs = dnskey.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = pairs.sum();
    (sum + (sum >> 16)) as u16
}

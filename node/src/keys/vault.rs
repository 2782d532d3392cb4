//! A sealed box for secrets: Argon2id turns a passphrase into a key, XChaCha20-Poly1305 seals with it.
//!
//! ```text
//!  0 [8] magic "NSTDKEYS"    8 u8 version (1)    9 u8 kdf (1 = Argon2id v1.3)
//! 10 u32 memory_kib         14 u32 passes       18 u32 lanes       22 [16] salt      38 [24] nonce
//! 62 u32 length of what follows up to the checksum                 66 ciphertext and 16-byte tag
//!  … u32 CRC-32 of everything before it
//! ```
//! The header is authenticated with the text. The checksum adds no security; it tells a damaged file from a mistyped
//! passphrase. Costs read from a file are bounded before any memory is taken, so a forged file cannot stall us.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use ledger::codec::{DecodeError, Reader, Writer};
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"NSTDKEYS";
const VERSION: u8 = 1;
const KDF_ARGON2ID: u8 = 1;
const HEADER_BYTES: usize = 66;
const TAG_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 4;
/// The longest file that is read: a full wallet has 0.7 MB.
pub(super) const MAX_FILE_BYTES: usize = 1 << 20;
/// The shortest possible: nothing sealed.
const MIN_FILE_BYTES: usize = HEADER_BYTES + TAG_BYTES + CHECKSUM_BYTES;

/// What deriving the key from the passphrase costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KdfCost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl KdfCost {
    /// 64 MiB, three passes, four lanes: the second recommendation of RFC 9106, about a fifth of a second.
    pub const STANDARD: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };
    /// As cheap as a file may be. For tests: it protects nothing.
    pub const CHEAPEST: Self = Self { memory_kib: 8, passes: 1, lanes: 1 };

    /// At most 1 GiB, 16 passes and 16 lanes: a minute at the very worst, on the slowest machine that has the memory.
    fn is_in_bounds(&self) -> bool {
        (1..=16).contains(&self.lanes)
            && (1..=16).contains(&self.passes)
            && (8 * self.lanes..=1024 * 1024).contains(&self.memory_kib)
    }

    fn derive(&self, passphrase: &[u8], salt: &[u8; 16]) -> Zeroizing<[u8; 32]> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).expect("costs are in bounds");
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase, salt, &mut key[..])
            .expect("salt and output have allowed lengths");
        key
    }
}

/// Why a file gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// Something else wrote it.
    #[error("this is not a Namestead key file")]
    Foreign,
    /// A later release wrote it.
    #[error("the key file has version {0}; this program reads version {VERSION}")]
    Version(u8),
    /// Cut short, changed, or with costs out of bounds.
    #[error("the key file is damaged: {0}")]
    Damaged(&'static str),
    /// Intact, but sealed under another passphrase.
    #[error("wrong passphrase")]
    Passphrase,
}

impl From<DecodeError> for VaultError {
    fn from(_: DecodeError) -> Self {
        Self::Damaged("it ends too early")
    }
}

/// The key that a passphrase gives with one salt. Kept while a wallet is open, so that saving costs no second wait.
pub(super) struct VaultKey {
    cost: KdfCost,
    salt: [u8; 16],
    key: Zeroizing<[u8; 32]>,
}

impl VaultKey {
    /// A key under a fresh salt.
    pub(super) fn new(passphrase: &[u8], cost: KdfCost) -> Result<Self, getrandom::Error> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt)?;
        Ok(Self { cost, salt, key: cost.derive(passphrase, &salt) })
    }

    /// Seals `text` under a fresh nonce. 24 random bytes never meet twice, so one key may seal many versions.
    pub(super) fn seal(&self, text: &[u8]) -> Result<Vec<u8>, getrandom::Error> {
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce)?;
        let header = header(self.cost, &self.salt, &nonce, text.len() + TAG_BYTES);
        let payload = Payload { msg: text, aad: &header };
        let sealed = cipher(&self.key).encrypt(&XNonce::from(nonce), payload).expect("texts are far below the limit");
        let mut file = [header, sealed].concat();
        file.extend_from_slice(&crc32(&file).to_le_bytes());
        Ok(file)
    }

    /// Opens a file; gives the text and the key that seals the next version of it.
    pub(super) fn open(file: &[u8], passphrase: &[u8]) -> Result<(Self, Zeroizing<Vec<u8>>), VaultError> {
        let parts = Parts::read(file)?;
        let vault = Self { cost: parts.cost, salt: parts.salt, key: parts.cost.derive(passphrase, &parts.salt) };
        let text = vault.unseal(&parts)?;
        Ok((vault, text))
    }

    /// Opens another version of the file that this key is of.
    pub(super) fn open_again(&self, file: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        self.unseal(&Parts::read(file)?)
    }

    fn unseal(&self, parts: &Parts<'_>) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let payload = Payload { msg: parts.sealed, aad: parts.header };
        let text = cipher(&self.key).decrypt(&XNonce::from(parts.nonce), payload);
        text.map(Zeroizing::new).map_err(|_| VaultError::Passphrase)
    }
}

impl std::fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VaultKey(redacted)")
    }
}

/// A file taken apart, every bound checked.
struct Parts<'a> {
    cost: KdfCost,
    salt: [u8; 16],
    nonce: [u8; 24],
    header: &'a [u8],
    sealed: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(file: &'a [u8]) -> Result<Self, VaultError> {
        if !file.starts_with(MAGIC) {
            return Err(VaultError::Foreign);
        }
        let mut r = Reader::new(&file[MAGIC.len()..]);
        match r.u8("version")? {
            VERSION => {}
            other => return Err(VaultError::Version(other)),
        }
        if !(MIN_FILE_BYTES..=MAX_FILE_BYTES).contains(&file.len()) {
            return Err(VaultError::Damaged("its length is impossible"));
        }
        checksum_matches(file)?;
        if r.u8("kdf")? != KDF_ARGON2ID {
            return Err(VaultError::Damaged("unknown key derivation"));
        }
        let cost = KdfCost { memory_kib: r.u32("memory")?, passes: r.u32("passes")?, lanes: r.u32("lanes")? };
        if !cost.is_in_bounds() {
            return Err(VaultError::Damaged("the cost of its key derivation is out of bounds"));
        }
        let (salt, nonce) = (r.array("salt")?, r.array("nonce")?);
        let length = r.u32("length")? as usize;
        if length != file.len() - HEADER_BYTES - CHECKSUM_BYTES {
            return Err(VaultError::Damaged("its length field is wrong"));
        }
        Ok(Self { cost, salt, nonce, header: &file[..HEADER_BYTES], sealed: r.raw(length, "text")? })
    }
}

fn checksum_matches(file: &[u8]) -> Result<(), VaultError> {
    let (content, checksum) = file.split_at(file.len() - CHECKSUM_BYTES);
    if crc32(content).to_le_bytes() == checksum { Ok(()) } else { Err(VaultError::Damaged("its checksum is wrong")) }
}

fn header(cost: KdfCost, salt: &[u8; 16], nonce: &[u8; 24], sealed_len: usize) -> Vec<u8> {
    let mut w = Writer::with_capacity(HEADER_BYTES);
    w.raw(MAGIC).u8(VERSION).u8(KDF_ARGON2ID);
    w.u32(cost.memory_kib).u32(cost.passes).u32(cost.lanes).raw(salt).raw(nonce).u32(sealed_len as u32);
    w.finish()
}

fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.into())
}

/// CRC-32 as in Ethernet and zip, bit by bit: a key file is short.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealed(text: &[u8]) -> Vec<u8> {
        VaultKey::new(b"open sesame", KdfCost::CHEAPEST).and_then(|key| key.seal(text)).expect("randomness")
    }

    fn open(file: &[u8], passphrase: &[u8]) -> Result<Vec<u8>, VaultError> {
        VaultKey::open(file, passphrase).map(|(_, text)| text.to_vec())
    }

    #[test]
    fn crc_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn opens_with_its_passphrase_only() {
        let file = sealed(b"the text");
        assert_eq!(open(&file, b"open sesame"), Ok(b"the text".to_vec()));
        assert_eq!(open(&file, b"Open sesame"), Err(VaultError::Passphrase));
        assert!(!file.windows(8).any(|w| w == b"the text"));
    }

    #[test]
    fn two_seals_of_one_text_differ() {
        let key = VaultKey::new(b"x", KdfCost::CHEAPEST).expect("randomness");
        assert_ne!(key.seal(b"t").expect("randomness"), key.seal(b"t").expect("randomness"));
    }

    /// Every bit of every byte is covered by the checksum or the tag, also if the checksum is made to fit.
    #[test]
    fn every_changed_byte_is_refused() {
        let file = sealed(b"the text");
        for at in 0..file.len() {
            for flip in [1, 0x80] {
                let mut bad = file.clone();
                bad[at] ^= flip;
                assert!(open(&bad, b"open sesame").is_err(), "byte {at}");
                let content = bad.len() - CHECKSUM_BYTES;
                let crc = crc32(&bad[..content]).to_le_bytes();
                bad[content..].copy_from_slice(&crc);
                assert!(at >= content || open(&bad, b"open sesame").is_err(), "byte {at} with a fitting checksum");
            }
        }
    }

    #[test]
    fn cut_and_longer_files_are_refused() {
        let file = sealed(b"the text");
        for cut in 0..file.len() {
            assert!(open(&file[..cut], b"open sesame").is_err(), "{cut}");
        }
        assert!(open(&[&file[..], b"x"].concat(), b"open sesame").is_err());
        assert_eq!(open(b"PK\x03\x04", b""), Err(VaultError::Foreign));
        assert_eq!(open(b"NSTDKEYS\x09", b""), Err(VaultError::Version(9)));
    }

    #[test]
    fn costs_are_bounded_before_they_are_paid() {
        for cost in [
            KdfCost { memory_kib: u32::MAX, passes: 1, lanes: 1 },
            KdfCost { memory_kib: 8, passes: 17, lanes: 1 },
            KdfCost { memory_kib: 8, passes: 0, lanes: 1 },
            KdfCost { memory_kib: 8, passes: 1, lanes: 2 },
            KdfCost { memory_kib: 8, passes: 1, lanes: u32::MAX },
        ] {
            let mut file = header(cost, &[0; 16], &[0; 24], TAG_BYTES);
            file.extend_from_slice(&[0; TAG_BYTES]);
            file.extend_from_slice(&crc32(&file).to_le_bytes());
            assert!(matches!(open(&file, b""), Err(VaultError::Damaged(_))), "{cost:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused(tail in prop::collection::vec(any::<u8>(), 0..300), with_magic: bool) {
            let file = if with_magic { [&MAGIC[..], &[VERSION], &tail].concat() } else { tail };
            prop_assert!(open(&file, b"x").is_err());
        }

        #[test]
        fn any_text_round_trips(text in prop::collection::vec(any::<u8>(), 0..500)) {
            prop_assert_eq!(open(&sealed(&text), b"open sesame"), Ok(text));
        }
    }
}

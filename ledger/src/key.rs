//! Keys, policies, witnesses and addresses (protocol §2.3).
//!
//! A name belongs to a *policy*: M of N secp256k1 keys. State keeps only the policy's hash; the policy itself is
//! shown by the witness that satisfies it. Signatures are 64-byte ECDSA over a 32-byte digest with low S.

use std::fmt;

use bech32::{Bech32m, Hrp};
use k256::ecdsa::{
    Signature as EcdsaSignature, SigningKey, VerifyingKey,
    signature::hazmat::{PrehashSigner as _, PrehashVerifier as _},
};
use zeroize::Zeroizing;

use crate::{
    codec::{Decode, DecodeError, Encode, Reader, Writer, encode},
    hash::{self, BlockHash, Hash, PolicyHash, Tag, TxId},
    name::Name,
    params::Params,
};

/// Most keys in a policy.
pub const MAX_POLICY_KEYS: usize = 8;

/// A secret key. Zeroed when dropped, never printed.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// A key from its 32 bytes; `None` for zero and for values beyond the group order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        SigningKey::from_slice(bytes).ok().map(Self)
    }

    /// The 32 bytes, zeroed when dropped.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().into())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let point = self.0.verifying_key().to_sec1_point(true);
        PublicKey(point.as_bytes().try_into().expect("a compressed point has 33 bytes"))
    }

    /// Signs a digest. Deterministic (RFC 6979), low S.
    pub fn sign(&self, digest: &Hash) -> Signature {
        let signature: EcdsaSignature = self.0.sign_prehash(digest.as_ref()).expect("a 32-byte digest can be signed");
        Signature(signature.normalize_s().to_bytes().into())
    }

    /// The salt of a commit to `name`: derived, so that a restored key can finish a registration (protocol §4.3).
    /// `attempt` is [`Params::commit_attempt`] of the height of signing, one more while that commit stands spent.
    pub fn commit_salt(&self, chain_id: &Hash, attempt: u32, name: &Name) -> [u8; 16] {
        let secret = self.to_bytes();
        let digest = hash::hash(Tag::Salt, &[&secret[..], chain_id.as_ref(), &attempt.to_le_bytes(), name.as_bytes()]);
        digest.0[..16].try_into().expect("half of 32 bytes")
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(redacted, public {})", self.public())
    }
}

/// A public key in compressed SEC1 form. Only the first byte is checked here; a point off the curve verifies nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 33]);

impl PublicKey {
    /// Takes 33 bytes that begin with 02 or 03.
    pub fn from_bytes(bytes: [u8; 33]) -> Option<Self> {
        matches!(bytes[0], 2 | 3).then_some(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }

    /// Whether `signature` is this key's, has a low S, and covers `digest`.
    pub fn verifies(&self, digest: &Hash, signature: &Signature) -> bool {
        let Ok(key) = VerifyingKey::from_sec1_bytes(&self.0) else { return false };
        let Ok(parsed) = EcdsaSignature::from_slice(&signature.0) else { return false };
        signature.has_low_s(&parsed) && key.verify_prehash(digest.as_ref(), &parsed).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hash::to_hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", hash::to_hex(&self.0[..5]))
    }
}

/// A 64-byte ECDSA signature `r ‖ s`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl Signature {
    fn has_low_s(&self, parsed: &EcdsaSignature) -> bool {
        parsed.normalize_s() == *parsed
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}…)", hash::to_hex(&self.0[..4]))
    }
}

/// M of N keys. Its bytes are `m ‖ n ‖ keys`, keys strictly ascending.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    threshold: u8,
    keys: Vec<PublicKey>,
}

impl Policy {
    /// Sorts `keys`; `None` unless 1 ≤ threshold ≤ keys ≤ 8 and no key stands twice.
    pub fn new(threshold: u8, mut keys: Vec<PublicKey>) -> Option<Self> {
        keys.sort();
        Self::from_sorted(threshold, keys)
    }

    fn from_sorted(threshold: u8, keys: Vec<PublicKey>) -> Option<Self> {
        let in_bounds = threshold >= 1 && usize::from(threshold) <= keys.len() && keys.len() <= MAX_POLICY_KEYS;
        (in_bounds && keys.is_sorted_by(|a, b| a < b)).then_some(Self { threshold, keys })
    }

    /// The policy of a single key.
    pub fn single(key: PublicKey) -> Self {
        Self { threshold: 1, keys: vec![key] }
    }

    /// How many signatures are needed.
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// The keys, ascending.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// `H("policy", policy)`: what state and addresses hold.
    pub fn hash(&self) -> PolicyHash {
        hash::hash(Tag::Policy, &[&encode(self)]).into_other()
    }
}

impl Encode for Policy {
    fn encode(&self, w: &mut Writer) {
        w.u8(self.threshold).u8(self.keys.len() as u8);
        self.keys.iter().for_each(|key| {
            w.raw(&key.0);
        });
    }
}

impl Decode for Policy {
    const MAX_BYTES: usize = 2 + 33 * MAX_POLICY_KEYS;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let threshold = r.u8("policy m")?;
        let count = usize::from(r.u8("policy n")?);
        if count > MAX_POLICY_KEYS {
            return Err(DecodeError::Invalid("policy n"));
        }
        let keys = (0..count)
            .map(|_| PublicKey::from_bytes(r.array("policy key")?).ok_or(DecodeError::Invalid("policy key")))
            .collect::<Result<_, _>>()?;
        Self::from_sorted(threshold, keys).ok_or(DecodeError::Invalid("policy"))
    }
}

/// A policy and the signatures that satisfy it: exactly M, by ascending key index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Witness {
    policy: Policy,
    signatures: Vec<(u8, Signature)>,
}

impl Witness {
    /// Puts signatures to a policy; `None` unless there are exactly M with strictly ascending indices below N.
    pub fn new(policy: Policy, signatures: Vec<(u8, Signature)>) -> Option<Self> {
        let fits = signatures.len() == usize::from(policy.threshold)
            && signatures.is_sorted_by(|a, b| a.0 < b.0)
            && signatures.last().is_some_and(|(index, _)| usize::from(*index) < policy.keys.len());
        fits.then_some(Self { policy, signatures })
    }

    /// Signs with as many of `secrets` as the policy needs; `None` if they are too few.
    pub fn sign(policy: Policy, secrets: &[&SecretKey], digest: &Hash) -> Option<Self> {
        let mut signatures: Vec<(u8, Signature)> = Vec::new();
        for (index, key) in policy.keys.iter().enumerate() {
            if signatures.len() == usize::from(policy.threshold) {
                break;
            }
            if let Some(secret) = secrets.iter().find(|secret| secret.public() == *key) {
                signatures.push((index as u8, secret.sign(digest)));
            }
        }
        Self::new(policy, signatures)
    }

    /// Hash of the policy that signs.
    pub fn signer(&self) -> PolicyHash {
        self.policy.hash()
    }

    /// Whether every signature covers `digest`. Each signature is verified once.
    pub fn verifies(&self, digest: &Hash) -> bool {
        self.signatures
            .iter()
            .all(|(index, signature)| self.policy.keys[usize::from(*index)].verifies(digest, signature))
    }

    /// Number of signatures, each costing one verification.
    pub fn signature_count(&self) -> usize {
        self.signatures.len()
    }
}

impl Encode for Witness {
    fn encode(&self, w: &mut Writer) {
        w.put(&self.policy).u8(self.signatures.len() as u8);
        for (index, signature) in &self.signatures {
            w.u8(*index).raw(&signature.0);
        }
    }
}

impl Decode for Witness {
    const MAX_BYTES: usize = Policy::MAX_BYTES + 1 + 65 * MAX_POLICY_KEYS;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let policy: Policy = r.get()?;
        let count = r.u8("signature count")?;
        if count != policy.threshold {
            return Err(DecodeError::Invalid("signature count"));
        }
        let signatures = (0..count)
            .map(|_| Ok((r.u8("signature index")?, Signature(r.array("signature")?))))
            .collect::<Result<_, DecodeError>>()?;
        Self::new(policy, signatures).ok_or(DecodeError::Invalid("signature index"))
    }
}

/// What a witness signs: `H("sig", CHAIN_ID ‖ anchor_hash ‖ txid)`.
pub fn sighash(chain_id: &Hash, anchor: &BlockHash, txid: &TxId) -> Hash {
    hash::hash(Tag::Signature, &[chain_id.as_ref(), anchor.as_ref(), txid.as_ref()])
}

/// A text is not an address of this network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not bech32m, or a character was mistyped.
    #[error("not an address: a character is missing or mistyped")]
    Malformed,
    /// An address of another network.
    #[error("an address of another network: expected it to begin with {expected}1, not {got}1")]
    OtherNetwork {
        /// This network's prefix.
        expected: &'static str,
        /// The prefix found.
        got: String,
    },
}

/// The address of a policy: bech32m with the network's prefix.
pub fn to_address(params: &Params, policy: &PolicyHash) -> String {
    let prefix = Hrp::parse(params.address_prefix).expect("prefixes are short lower-case words");
    bech32::encode::<Bech32m>(prefix, policy.as_ref()).expect("32 bytes are far below the length limit")
}

/// The policy hash in an address of this network.
pub fn from_address(params: &Params, text: &str) -> Result<PolicyHash, AddressError> {
    let checked = bech32::primitives::decode::CheckedHrpstring::new::<Bech32m>(text.trim())
        .map_err(|_| AddressError::Malformed)?;
    let got = checked.hrp().to_lowercase();
    if got != params.address_prefix {
        return Err(AddressError::OtherNetwork { expected: params.address_prefix, got });
    }
    let bytes: Vec<u8> = checked.byte_iter().collect();
    let policy = PolicyHash(bytes.try_into().map_err(|_| AddressError::Malformed)?);
    // Four padding bits are left over; unless they are zero, two texts would stand for one policy.
    let is_canonical = to_address(params, &policy).eq_ignore_ascii_case(text.trim());
    if is_canonical { Ok(policy) } else { Err(AddressError::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec::decode, params::Network};

    fn secret(seed: u8) -> SecretKey {
        SecretKey::from_bytes(&[seed; 32]).expect("below the order")
    }

    #[test]
    fn two_of_three() {
        let secrets = [secret(1), secret(2), secret(3)];
        let policy = Policy::new(2, secrets.iter().map(SecretKey::public).collect()).expect("valid");
        let digest = hash::hash(Tag::Signature, &[b"x"]);
        let witness = Witness::sign(policy.clone(), &[&secrets[0], &secrets[2]], &digest).expect("two keys");
        assert!(witness.verifies(&digest) && witness.signer() == policy.hash());
        assert!(!witness.verifies(&hash::hash(Tag::Signature, &[b"y"])));
        assert_eq!(Witness::sign(policy, &[&secrets[1]], &digest), None);
        assert_eq!(decode::<Witness>(&encode(&witness)), Ok(witness));
    }

    #[test]
    fn high_s_is_refused() {
        let key = secret(7);
        let digest = hash::hash(Tag::Signature, &[b"x"]);
        let signature = key.sign(&digest);
        assert!(key.public().verifies(&digest, &signature));
        // s' = n − s is the other root; it verifies in plain ECDSA.
        let order = primitive_types::U256::from_big_endian(&hex_order());
        let s = primitive_types::U256::from_big_endian(&signature.0[32..]);
        let mut high = signature;
        high.0[32..].copy_from_slice(&(order - s).to_big_endian());
        assert!(!key.public().verifies(&digest, &high));
    }

    fn hex_order() -> Vec<u8> {
        hash::from_hex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").expect("hex")
    }

    #[test]
    fn addresses_round_trip_and_name_their_network() {
        let local = Network::Local.params();
        let policy = Policy::single(secret(1).public()).hash();
        let address = to_address(local, &policy);
        assert!(address.starts_with("lname1"));
        assert_eq!(from_address(local, &address), Ok(policy));
        assert!(matches!(from_address(Network::Main.params(), &address), Err(AddressError::OtherNetwork { .. })));
        let mut wrong = address.into_bytes();
        wrong[10] = if wrong[10] == b'q' { b'p' } else { b'q' };
        let wrong = String::from_utf8(wrong).expect("ascii");
        assert_eq!(from_address(local, &wrong), Err(AddressError::Malformed));
    }

    #[test]
    fn salts_depend_on_key_chain_attempt_and_name() {
        let [alice, bob] = ["alice", "bob"].map(|n| Name::new(n).expect("valid"));
        let chain = Network::Local.params().chain_id();
        let salt = |seed, attempt, name| secret(seed).commit_salt(&chain, attempt, name);
        assert_eq!(salt(1, 0, &alice), salt(1, 0, &alice));
        for other in [salt(1, 0, &bob), salt(2, 0, &alice), salt(1, 1, &alice)] {
            assert_ne!(salt(1, 0, &alice), other);
        }
    }
}

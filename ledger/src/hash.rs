//! Tagged hashing and the 32-byte hash newtypes (protocol §2.1).
//!
//! Every hash in the protocol is SHA3-256 under a tag of its own, so that bytes made for one purpose can never be
//! taken for another. The tag fills exactly one sponge block; its state is computed once and cloned, which makes a
//! 64-byte Merkle node cost a single permutation.

use std::{fmt, str::FromStr, sync::LazyLock};

use sha3::{Digest, Sha3_256};

/// Bytes of one SHA3-256 rate block, the length of the tag prefix.
const RATE: usize = 136;

/// The purpose of a hash. One variant per domain, in the order of protocol §2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
#[allow(missing_docs)]
pub enum Tag {
    Header,
    Extension,
    PowIn,
    PowOut,
    Chain,
    TxId,
    WitnessTxId,
    Share,
    Signature,
    Policy,
    Commit,
    Tie,
    Key,
    Leaf,
    Value,
    Node,
    TxLeaf,
    TxNode,
    MmrLeaf,
    MmrNode,
    MmrRoot,
    GossipId,
    ShortId,
    Salt,
    Claim,
    Params,
    FlyClient,
    ProofFile,
    Pick,
}

/// Tag strings, indexed by [`Tag`].
const TAGS: [&str; 29] = [
    "hdr", "ext", "pow-in", "pow-out", "chain", "txid", "wtx", "share", "sig", "policy", "commit", "tie", "key",
    "leaf", "val", "node", "txl", "txn", "mmr-leaf", "mmr-node", "mmr-root", "gid", "sid", "salt", "claim", "params",
    "fly", "file", "pick",
];

/// Sponge states after absorbing each tag's prefix block.
static PREFIXES: LazyLock<[Sha3_256; 29]> = LazyLock::new(|| TAGS.map(absorb_prefix));

fn absorb_prefix(tag: &str) -> Sha3_256 {
    let mut name = b"namestead/1/".to_vec();
    name.extend_from_slice(tag.as_bytes());
    let t: [u8; 32] = Sha3_256::digest(&name).into();
    let mut block = [0u8; RATE];
    block[..32].copy_from_slice(&t);
    block[32..64].copy_from_slice(&t);
    let mut hasher = Sha3_256::new();
    hasher.update(block);
    hasher
}

/// A hasher that has already absorbed the prefix of `tag`; feed it the message with `update`.
pub fn hasher(tag: Tag) -> Hasher {
    Hasher(PREFIXES[tag as usize].clone())
}

/// `H(tag, parts[0] ‖ parts[1] ‖ …)`.
pub fn hash(tag: Tag, parts: &[&[u8]]) -> Hash {
    let mut h = hasher(tag);
    for part in parts {
        h.update(part);
    }
    h.finish()
}

/// An incremental tagged hash.
#[derive(Clone)]
pub struct Hasher(Sha3_256);

impl Hasher {
    /// Absorbs more of the message.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The 32-byte digest.
    pub fn finish(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}

/// Lower-case hexadecimal of `bytes`.
pub fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Parses hexadecimal of either case; `None` unless it is an even number of hex digits.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| Some((char::from(pair[0]).to_digit(16)? * 16 + char::from(pair[1]).to_digit(16)?) as u8))
        .collect()
}

/// A text was not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
pub struct NotAHash;

macro_rules! hash_newtypes {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// All zero bytes: "none", the parent of genesis, the empty tree.
            pub const ZERO: Self = Self([0; 32]);

            /// The bytes, as hashed and stored.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Whether every byte is zero.
            pub fn is_zero(&self) -> bool {
                self.0 == [0; 32]
            }

            /// The first eight hexadecimal digits, for logs.
            pub fn short(&self) -> String {
                to_hex(&self.0[..4])
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&to_hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = NotAHash;

            fn from_str(text: &str) -> Result<Self, NotAHash> {
                let bytes = from_hex(text).ok_or(NotAHash)?;
                Ok(Self(bytes.try_into().map_err(|_| NotAHash)?))
            }
        }
    )+};
}

hash_newtypes! {
    /// A digest without a more specific meaning: Merkle roots and inner nodes, `share_commit`, CHAIN_ID.
    Hash,
    /// `H("hdr", core)`: names a block.
    BlockHash,
    /// `H("txid", …)`: names a transaction's meaning, whatever its anchor tag, work and signatures.
    TxId,
    /// `H("wtx", all bytes)`: names a transaction's exact bytes.
    WitnessTxId,
    /// `H("policy", policy)`: who may sign. Zero means "nobody" and is allowed for operators only.
    PolicyHash,
    /// The blinded name in a COMMIT.
    CommitHash,
    /// `H("key", …)`: where an entry stands in the state tree.
    Key,
}

impl Hash {
    /// The same bytes under another newtype.
    pub fn into_other<T: From<[u8; 32]>>(self) -> T {
        T::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloned_prefix_equals_hashing_the_whole_message() {
        for (index, tag) in TAGS.iter().enumerate() {
            let t: [u8; 32] = Sha3_256::digest(format!("namestead/1/{tag}")).into();
            let whole = [&t[..], &t, &[0; 72], b"message"].concat();
            let mut cloned = PREFIXES[index].clone();
            cloned.update(b"message");
            assert_eq!(cloned.finalize(), Sha3_256::digest(&whole), "{tag}");
        }
    }

    #[test]
    fn hex_round_trips_and_refuses_junk() {
        let hash = hash(Tag::Node, &[b"x"]);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for bad in ["", "0", "zz", &"0".repeat(63), &"0".repeat(66), "ä"] {
            assert_eq!(bad.parse::<Hash>(), Err(NotAHash), "{bad}");
        }
    }
}

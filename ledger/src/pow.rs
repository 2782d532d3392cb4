//! Proof of work: the three work functions, targets, and what a target is worth (protocol §3.2).
//!
//! The same function judges blocks and transactions ("two for one"): a transaction's share is a header that usually
//! fails to be a block. Evaluation takes its memory from the caller through [`Scratch`], so checking a batch
//! allocates once per thread.

mod argon2d;

use argon2::Block;
use primitive_types::U256;

use self::argon2d::Fill;
use crate::{
    codec::encode,
    hash::{self, Hash, Tag},
    header::HeaderCore,
};

/// A work function. A network has exactly one, named in each header's version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// Plain SHA3-256: one machine, no adversary.
    Sha3,
    /// Argon2d over 1 MiB (RFC 9106): narrows the advantage of special hardware.
    Argon2d,
    /// The value is read from the nonce, so that a simulator decides who finds what.
    #[cfg(feature = "testing")]
    Simulated,
}

impl Algorithm {
    /// Number in the top byte of the header version.
    pub const fn id(self) -> u8 {
        match self {
            Self::Sha3 => 0,
            Self::Argon2d => 1,
            #[cfg(feature = "testing")]
            Self::Simulated => 255,
        }
    }
}

/// Working memory for work evaluation; keep one per thread. Empty until Argon2d is first evaluated.
pub struct Scratch {
    fill: Fill,
    blocks: Vec<Block>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { fill: Fill::fastest(), blocks: Vec::new() }
    }
}

#[cfg(feature = "testing")]
impl Scratch {
    /// One that leaves Argon2d to the `argon2` crate, to compare our own code with.
    pub fn portable() -> Self {
        Self { fill: Fill::Portable, blocks: Vec::new() }
    }

    /// Whether Argon2d is computed by our own code, as this processor allows.
    pub fn is_accelerated(&self) -> bool {
        self.fill != Fill::Portable
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scratch({:?}, {} blocks)", self.fill, self.blocks.len())
    }
}

/// The work value of a header: the smaller, the rarer. `chain_id` salts Argon2d.
pub fn pow_value(algorithm: Algorithm, chain_id: &Hash, core: &HeaderCore, scratch: &mut Scratch) -> U256 {
    let inner = hash::hash(Tag::PowIn, &[&encode(core)]);
    let outer = match algorithm {
        Algorithm::Sha3 => hash::hash(Tag::PowOut, &[inner.as_ref()]),
        Algorithm::Argon2d => {
            let salt = chain_id.0.first_chunk().expect("16 of 32 bytes");
            let tag = argon2d::tag(scratch.fill, &inner.0, salt, &mut scratch.blocks);
            hash::hash(Tag::PowOut, &[inner.as_ref(), &tag])
        }
        #[cfg(feature = "testing")]
        Algorithm::Simulated => return U256::from(core.nonce) << 192,
    };
    U256::from_big_endian(outer.as_ref())
}

/// Expected evaluations to meet `target`: `floor(2^256 / (target + 1))`, at least 1.
pub fn work_of_target(target: U256) -> u128 {
    let divisor = match target.checked_add(U256::one()) {
        Some(divisor) => divisor,
        None => return 1,
    };
    // 2^256 / d == (2^256 - d) / d + 1, which fits.
    let work = (!target / divisor).saturating_add(U256::one());
    u128::try_from(work).unwrap_or(u128::MAX)
}

/// Whether a share of this value is worth `work` expected evaluations. Zero work is always met.
pub fn meets(value: U256, work: u64) -> bool {
    work == 0 || value <= U256::MAX / U256::from(work)
}

/// Bitcoin's compact form of a target: a byte of size and a mantissa of 23 bits, rounded down.
pub fn to_compact(target: U256) -> u32 {
    let size = target.bits().div_ceil(8) as u32;
    let mantissa = if size <= 3 {
        (target.low_u64() << (8 * (3 - size))) as u32
    } else {
        (target >> (8 * (size - 3))).low_u64() as u32
    };
    // The mantissa's top bit is a sign in Bitcoin and is never set: move one byte into the size instead.
    if mantissa & 0x0080_0000 != 0 { (size + 1) << 24 | mantissa >> 8 } else { size << 24 | mantissa }
}

/// The target that compact `bits` stand for, or `None` unless they are in canonical form and above zero.
pub fn from_compact(bits: u32) -> Option<U256> {
    let size = bits >> 24;
    let mantissa = U256::from(bits & 0x007f_ffff);
    if size > 33 {
        return None;
    }
    let target = if size <= 3 { mantissa >> (8 * (3 - size)) } else { mantissa << (8 * (size - 3)) };
    (!target.is_zero() && to_compact(target) == bits).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Network;

    #[test]
    fn compact_forms() {
        assert_eq!(to_compact(U256::one() << 244), 0x1f10_0000);
        assert_eq!(to_compact(U256::one() << 238), 0x1e40_0000);
        for shift in 0..=255u32 {
            let bits = to_compact(U256::one() << shift);
            assert_eq!(from_compact(bits), Some(U256::one() << shift), "{shift}");
        }
        for bad in [0, 0x1f80_0000, 0x0400_0001, 0x2300_0001, 0xff10_0000, 0x1f00_0000] {
            assert_eq!(from_compact(bad), None, "{bad:08x}");
        }
    }

    #[test]
    fn work_is_the_same_on_every_processor() {
        let mut core = Network::Main.params().genesis().core;
        let (mut fastest, mut portable) = (Scratch::default(), Scratch::portable());
        for nonce in 0..50 {
            core.nonce = nonce;
            let chain_id = hash::hash(Tag::Chain, &[&nonce.to_le_bytes()]);
            let value = pow_value(Algorithm::Argon2d, &chain_id, &core, &mut fastest);
            assert_eq!(value, pow_value(Algorithm::Argon2d, &chain_id, &core, &mut portable), "nonce {nonce}");
        }
    }

    #[test]
    fn work_and_its_inverse() {
        assert_eq!(work_of_target(U256::MAX), 1);
        assert_eq!(work_of_target(U256::one() << 255), 1);
        assert_eq!(work_of_target((U256::one() << 240) - 1), 1 << 16);
        assert!(meets(U256::MAX, 1) && meets(U256::MAX, 0));
        assert!(meets(U256::MAX / 1000, 1000) && !meets(U256::MAX / 1000 + 1, 1000));
    }
}

//! Argon2d with the one set of parameters of proof of work (protocol §3.2): version 0x13, 1 MiB, one pass, one lane, no
//! secret, 32 bytes out.
//!
//! Two ways to the same bytes, chosen at run time: the `argon2` crate everywhere, and our own fill of the memory where
//! the processor has AVX2. The crate is the judge: the tests here and the benchmark `pow` compare the two.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod ends;

use argon2::{Algorithm, Argon2, Block, Params, Version};

#[cfg(target_arch = "x86_64")]
use self::avx2::Avx2;

/// Memory of one evaluation, in KiB, which are blocks.
const MEMORY_KIB: u32 = 1024;

/// How the memory is filled. Every way gives the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fill {
    /// By the `argon2` crate, on any processor.
    Portable,
    /// By our own code for AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
}

impl Fill {
    /// The fastest that this processor is capable of.
    pub fn fastest() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = Avx2::detect() {
            return Self::Avx2(avx2);
        }
        Self::Portable
    }
}

/// The tag of `password` and `salt`. `memory` grows to 1 MiB when it is smaller; what it holds before does not matter.
pub fn tag(fill: Fill, password: &[u8; 32], salt: &[u8; 16], memory: &mut Vec<Block>) -> [u8; 32] {
    if memory.len() < MEMORY_KIB as usize {
        memory.resize(MEMORY_KIB as usize, Block::default());
    }
    let memory = &mut memory[..MEMORY_KIB as usize];
    match fill {
        Fill::Portable => portable(password, salt, memory),
        #[cfg(target_arch = "x86_64")]
        Fill::Avx2(avx2) => {
            let seed = ends::seed(password, salt, MEMORY_KIB);
            memory[0] = ends::start_block(&seed, 0);
            memory[1] = ends::start_block(&seed, 1);
            avx2.fill(memory);
            ends::tag(&memory[memory.len() - 1])
        }
    }
}

fn portable(password: &[u8; 32], salt: &[u8; 16], memory: &mut [Block]) -> [u8; 32] {
    let params = Params::new(MEMORY_KIB, 1, 1, Some(32)).expect("constants within Argon2's bounds");
    let mut tag = [0; 32];
    Argon2::new(Algorithm::Argon2d, Version::V0x13, params)
        .hash_password_into_with_memory(password, salt, &mut tag, memory)
        .expect("lengths and memory are fixed and sufficient");
    tag
}

#[cfg(test)]
mod tests {
    use blake2::{Blake2b512, Digest};

    use super::*;

    /// Every way there is on this machine.
    fn fills() -> Vec<Fill> {
        let mut fills = vec![Fill::Portable];
        fills.extend(Some(Fill::fastest()).filter(|fill| *fill != Fill::Portable));
        fills
    }

    /// Pseudo-random bytes, the same in every run.
    fn draw<const N: usize>(number: u32, what: u8) -> [u8; N] {
        let digest = Blake2b512::new().chain_update(number.to_le_bytes()).chain_update([what]).finalize();
        *digest.first_chunk().unwrap()
    }

    #[test]
    fn the_fastest_uses_avx2_where_it_is() {
        #[cfg(target_arch = "x86_64")]
        assert_eq!(Fill::fastest() != Fill::Portable, std::arch::is_x86_feature_detected!("avx2"));
        #[cfg(not(target_arch = "x86_64"))]
        assert_eq!(Fill::fastest(), Fill::Portable);
    }

    /// Tags of the reference implementation in C (docs/decisions/0019-argon2d-avx2.md says how to make them).
    #[test]
    fn tags_of_the_reference_implementation() {
        let counting = std::array::from_fn(|i| i as u8);
        let counting_high = std::array::from_fn(|i| 0x80 + i as u8);
        for (password, salt, tag_hex) in [
            ([0; 32], [0; 16], "1af31d6010729e4bedfe015dfcfc08f39b8dd042ad7167d83e17b12629468588"),
            ([0xff; 32], [0xff; 16], "61e8a227d5f7bb0ccf2b9ba1c935dabc6b5afd5733e0cecc882711b531c287b7"),
            (counting, counting_high, "431149bc444500f1be68c9d48f40699f2aaf46417d3380782d4e7e2806af1604"),
        ] {
            for fill in fills() {
                let tag = tag(fill, &password, &salt, &mut Vec::new());
                let hex: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(hex, tag_hex, "{fill:?}");
            }
        }
    }

    /// The whole memory is equal, and with it each intermediate block.
    #[test]
    fn every_block_is_equal() {
        let (password, salt) = (draw(0, b'p'), draw(0, b's'));
        let [mut ours, mut judge] = [Vec::new(), Vec::new()];
        tag(Fill::fastest(), &password, &salt, &mut ours);
        tag(Fill::Portable, &password, &salt, &mut judge);
        assert_eq!((ours.len(), judge.len()), (1024, 1024));
        for (number, (ours, judge)) in ours.iter().zip(&judge).enumerate() {
            assert_eq!(ours.as_ref(), judge.as_ref(), "block {number}");
        }
    }

    /// `cargo bench -p ledger --bench pow -- 100000` compares more.
    #[test]
    fn all_ways_agree_on_random_inputs() {
        let [mut ours, mut judge] = [Vec::new(), Vec::new()];
        for number in 0..500 {
            let (password, salt) = (draw(number, b'p'), draw(number, b's'));
            assert_eq!(
                tag(Fill::fastest(), &password, &salt, &mut ours),
                tag(Fill::Portable, &password, &salt, &mut judge),
                "{password:02x?} {salt:02x?}"
            );
        }
    }

    #[test]
    fn what_the_memory_holds_before_does_not_matter() {
        let (password, salt) = (draw(1, b'p'), draw(1, b's'));
        for fill in fills() {
            let clean = tag(fill, &password, &salt, &mut Vec::new());
            for (blocks, word) in [(1, u64::MAX), (1023, 1), (1024, u64::MAX), (1500, 0x0123_4567_89ab_cdef)] {
                let mut memory = vec![Block::default(); blocks];
                memory.iter_mut().for_each(|block| block.as_mut().fill(word));
                assert_eq!(
                    tag(fill, &password, &salt, &mut memory),
                    clean,
                    "{fill:?} over {blocks} blocks of {word:x}"
                );
                assert_eq!(tag(fill, &password, &salt, &mut memory), clean, "{fill:?}, used again");
            }
        }
    }
}

//! What comes before and after Argon2d's memory fill: hashes of BLAKE2b, where the `argon2` crate does not compute them.

use argon2::Block;
use blake2::{Blake2b256, Blake2b512, Digest};

/// Bytes in a block.
const BLOCK_BYTES: usize = 1024;

/// H₀ (RFC 9106 §3.2 step 1): the parameters and the inputs, each with its length.
pub fn seed(password: &[u8; 32], salt: &[u8; 16], memory_kib: u32) -> [u8; 64] {
    const LANES: u32 = 1;
    const TAG_BYTES: u32 = 32;
    const PASSES: u32 = 1;
    const VERSION: u32 = 0x13;
    const TYPE_D: u32 = 0;
    let mut hasher = Blake2b512::new();
    for number in [LANES, TAG_BYTES, memory_kib, PASSES, VERSION, TYPE_D] {
        hasher.update(number.to_le_bytes());
    }
    let (no_secret, no_data): (&[u8], &[u8]) = (&[], &[]);
    for input in [&password[..], &salt[..], no_secret, no_data] {
        hasher.update((input.len() as u32).to_le_bytes());
        hasher.update(input);
    }
    hasher.finalize().into()
}

/// One of the first two blocks: H′ of 1,024 bytes over the seed, the block's number and the lane's, 0 (RFC 9106 §3.2
/// steps 3 and 4, §3.3).
pub fn start_block(seed: &[u8; 64], number: u32) -> Block {
    let mut bytes = [0; BLOCK_BYTES];
    let mut digest = Blake2b512::new()
        .chain_update((BLOCK_BYTES as u32).to_le_bytes())
        .chain_update(seed)
        .chain_update(number.to_le_bytes())
        .chain_update(0u32.to_le_bytes())
        .finalize();
    // Half of each hash, and the last one whole.
    let mut at = 0;
    while at + 64 < BLOCK_BYTES {
        bytes[at..at + 32].copy_from_slice(&digest[..32]);
        digest = Blake2b512::digest(digest);
        at += 32;
    }
    bytes[at..].copy_from_slice(&digest);
    let mut block = Block::default();
    for (word, bytes) in block.as_mut().iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    block
}

/// H′ of 32 bytes over the last block (RFC 9106 §3.2 step 8, §3.3).
pub fn tag(block: &Block) -> [u8; 32] {
    let mut bytes = [0; BLOCK_BYTES];
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(block.as_ref()) {
        *bytes = word.to_le_bytes();
    }
    Blake2b256::new().chain_update(32u32.to_le_bytes()).chain_update(bytes).finalize().into()
}

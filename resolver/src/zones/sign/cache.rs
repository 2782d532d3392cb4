//! Signatures made before, found by the digest that they sign.
//!
//! The digest covers the records and the times of a signature, so an entry can be superfluous but never wrong, and
//! nothing has to be removed when a block comes or an hour passes. Two generations bound the memory: what is used goes
//! to the young one; when that is full it becomes the old one, and the old one is forgotten. Questions for random names
//! thus push out each other, and what many ask for stays.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, PoisonError},
};

use super::algorithm::{DIGEST_BYTES, SIGNATURE_BYTES};

/// Signatures per generation: about 6 MB each, and room for the 32,768 sets that are asked for most.
const GENERATION: usize = 1 << 15;

pub(super) type Digest = [u8; DIGEST_BYTES];
type Signature = [u8; SIGNATURE_BYTES];

/// A bounded map from digests to signatures.
#[derive(Debug, Default)]
pub(super) struct SignatureCache(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Digest, Signature>,
    old: HashMap<Digest, Signature>,
}

impl SignatureCache {
    /// The signature of `digest`, if it was made before and not forgotten.
    pub(super) fn find(&self, digest: &Digest) -> Option<Signature> {
        self.lock().find(digest)
    }

    /// The signature of `digest`, made by `sign` if it is not there. Two threads that miss at once both sign: signing is
    /// deterministic, and not worth holding up everybody else for.
    pub(super) fn get_or_insert_with(&self, digest: Digest, sign: impl FnOnce() -> Signature) -> Signature {
        self.find(&digest).unwrap_or_else(|| {
            let signature = sign();
            self.lock().insert(digest, signature);
            signature
        })
    }

    /// A panic elsewhere leaves the maps whole: each step is one insertion or one swap.
    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn find(&mut self, digest: &Digest) -> Option<Signature> {
        if let Some(signature) = self.young.get(digest) {
            return Some(*signature);
        }
        let signature = self.old.remove(digest)?;
        self.insert(*digest, signature);
        Some(signature)
    }

    fn insert(&mut self, digest: Digest, signature: Signature) {
        if self.young.len() >= GENERATION {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(digest, signature);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: usize) -> Digest {
        let mut digest = [0; DIGEST_BYTES];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        digest
    }

    #[test]
    fn what_is_used_stays_and_the_rest_is_bounded() {
        let cache = SignatureCache::default();
        let hot = digest(usize::MAX);
        cache.get_or_insert_with(hot, || [7; SIGNATURE_BYTES]);
        for number in 0..5 * GENERATION {
            cache.get_or_insert_with(digest(number), || [1; SIGNATURE_BYTES]);
            if number % 1_000 == 0 {
                let found = cache.get_or_insert_with(hot, || unreachable!("it is asked for often"));
                assert_eq!(found, [7; SIGNATURE_BYTES]);
            }
        }
        let generations = cache.lock();
        assert!(generations.young.len() <= GENERATION && generations.old.len() <= GENERATION);
    }

    #[test]
    fn what_is_not_used_is_made_again() {
        let cache = SignatureCache::default();
        for number in 0..=2 * GENERATION {
            cache.get_or_insert_with(digest(number), || [1; SIGNATURE_BYTES]);
        }
        assert_eq!(cache.get_or_insert_with(digest(0), || [2; SIGNATURE_BYTES]), [2; SIGNATURE_BYTES]);
    }
}

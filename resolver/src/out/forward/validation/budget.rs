//! What checking one response may cost.
//!
//! Keys, signatures and proofs come from servers that anybody chooses. Without bounds a single response makes a validator
//! work for hours: many keys of one tag and many signatures (KeyTrap, CVE-2023-50387), or many hashes (CVE-2023-50868).
//! The numbers are those that other validators have settled on, or larger; no honest zone comes near them.

use super::outcome::Bogus;
use crate::dns::ede::EdeCode;

/// The most keys of one tag and algorithm that are tried. Tags of honest zones collide once in 65,536.
pub(crate) const MAX_KEYS_PER_TAG: usize = 2;
/// The most keys of one zone.
pub(crate) const MAX_KEYS: usize = 64;
/// The most signatures checked for one response.
const MAX_CHECKS: u32 = 32;
/// The most signatures of one response that may turn out to be wrong.
const MAX_WRONG: u32 = 8;
/// The most rounds of NSEC3's hash for one response: forty names at the most iterations that count.
const MAX_ROUNDS: u32 = 2_048;

/// What is left.
#[derive(Debug)]
pub(crate) struct Budget {
    checks: u32,
    wrong: u32,
    rounds: u32,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self { checks: MAX_CHECKS, wrong: MAX_WRONG, rounds: MAX_ROUNDS }
    }

    /// Before a signature is checked.
    pub(super) fn check(&mut self) -> Result<(), Bogus> {
        take(&mut self.checks, 1, "it has too many signatures to check")
    }

    /// After one turned out to be wrong.
    pub(super) fn wrong(&mut self) -> Result<(), Bogus> {
        take(&mut self.wrong, 1, "too many of its signatures are wrong")
    }

    /// Before a name is hashed in so many rounds.
    pub(super) fn hash(&mut self, rounds: u32) -> Result<(), Bogus> {
        take(&mut self.rounds, rounds, "its NSEC3 records take too much work to check")
    }

    /// How many signatures were checked.
    #[cfg(test)]
    pub(super) fn checked(&self) -> u32 {
        MAX_CHECKS - self.checks
    }

    /// How many rounds of the hash were done.
    #[cfg(test)]
    pub(super) fn hashed(&self) -> u32 {
        MAX_ROUNDS - self.rounds
    }
}

fn take(left: &mut u32, count: u32, otherwise: &'static str) -> Result<(), Bogus> {
    *left = left.checked_sub(count).ok_or_else(|| Bogus::new(EdeCode::DnssecBogus, otherwise))?;
    Ok(())
}

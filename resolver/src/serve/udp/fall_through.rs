//! What the fast path leaves to the full one.

use super::parse::Unusual;
use crate::zones::answer::NotPlain;

/// Why a datagram is for the full path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FallThrough {
    /// It is no plain query.
    Unusual(Unusual),
    /// The name is in none of our zones.
    Elsewhere,
    /// The name is in a HOSTS file.
    Hosts,
    /// Its sender may not ask here.
    Refused,
    /// The snapshot is not fit to answer from.
    NotReady,
    /// More than one node of one entry decides.
    NotPlain(NotPlain),
    /// The answer does not fit, and something has to be left out.
    TooLong,
    /// Answers from the ledger are searched for local addresses.
    Guarded,
}

impl From<Unusual> for FallThrough {
    fn from(unusual: Unusual) -> Self {
        Self::Unusual(unusual)
    }
}

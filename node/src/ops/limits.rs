//! How many operations there may be.

/// Operations under way. Each costs a few reads per block and its turn at the miner.
pub(super) const MAX_ACTIVE: usize = 256;
/// Finished operations kept for their owners to look up; as many again are still watched for reorganisations.
pub(super) const MAX_FINISHED: usize = 1_000;

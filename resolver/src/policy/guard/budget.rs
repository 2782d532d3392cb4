//! How many new signatures there may be, of which [`signing`](super::signing) hands out.

use super::bucket::{Bucket, Rate};

/// Signatures that may be made at once: 4 ms of a thread that others wait for.
const BURST: u32 = 32;
/// As many for one network: more than any answer needs (eight aliases and what they lead to, each with a proof), and
/// less than all.
const NETWORK_BURST: u32 = 24;
/// Networks that together may have the whole rate.
pub(super) const NETWORKS: u32 = 4;

/// What all clients share.
pub(crate) struct SigningBudget {
    pub(super) rate: Rate,
    pub(super) network_rate: Rate,
    pub(super) datagrams: Bucket,
    pub(super) streams: Bucket,
}

impl SigningBudget {
    /// A full budget. `None` if there is no limit.
    pub(crate) fn new(per_second: u32) -> Option<Self> {
        let rate = Rate::new(per_second, BURST)?;
        let network_rate = Rate::new((per_second / NETWORKS).max(1), NETWORK_BURST)?;
        Some(Self { rate, network_rate, datagrams: Bucket::default(), streams: Bucket::default() })
    }
}

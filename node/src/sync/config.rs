//! What is fixed for one node.

use ledger::params::Params;

/// Times of one network.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How often a peer is asked for its status: the way a missed announcement is noticed.
    pub status_interval_ms: u64,
    /// Whether this node may call itself synced without ever having met a peer.
    pub company: Company,
}

/// Whether other nodes are needed to know that one is up to date.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Company {
    /// Yes: at least one peer has to have told its status.
    Needed,
    /// No: this is the only node, or the first.
    Solo,
}

impl Config {
    /// Fitting times for a network.
    pub fn of(params: &Params, company: Company) -> Self {
        let half = u64::from(params.block_interval) * 500;
        Self { status_interval_ms: half.clamp(1_000, 30_000), company }
    }

    /// For how long a peer's status is its word about now: some intervals, for an answer may be lost, and the way.
    pub fn told_for_ms(&self) -> u64 {
        self.status_interval_ms * TOLD_INTERVALS + TOLD_GRACE_MS
    }
}

/// See [`Config::told_for_ms`].
const TOLD_INTERVALS: u64 = 3;
const TOLD_GRACE_MS: u64 = 10_000;

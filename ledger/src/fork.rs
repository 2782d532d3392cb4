//! Fork choice (protocol §7): which of two valid tips to follow.
//!
//! The most work wins, and equal work never moves a node. A reorganisation deeper than a day of blocks that this node
//! saw arrive live needs a lead as well: rented hash power for an hour must not rewrite what people acted upon.

use crate::params::Params;

/// What the choice depends on. Work is in expected evaluations since genesis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fork {
    /// Work of the current tip.
    pub current_work: u128,
    /// Work of the candidate, whose bodies are all present and valid.
    pub candidate_work: u128,
    /// Blocks of the current chain above the common ancestor that arrived live (within two hours of their time).
    pub live_depth: u32,
    /// Mean work of the current chain's last 720 blocks.
    pub average_work: u128,
}

/// The choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// Keep the current tip.
    Stay,
    /// Follow the candidate.
    Adopt,
    /// Follow the candidate, and tell the operator that a day of blocks was replaced.
    AdoptDeep,
    /// Keep the current tip, and tell the operator, who may adopt the other by hand.
    RefuseDeep,
}

/// `may_reorg` of protocol §7.
pub fn choose(params: &Params, fork: &Fork) -> Choice {
    if fork.candidate_work <= fork.current_work {
        return Choice::Stay;
    }
    if fork.live_depth <= params.free_reorg {
        return Choice::Adopt;
    }
    let lead = fork.candidate_work - fork.current_work;
    let needed = fork.average_work.saturating_mul(u128::from(params.deep_lead));
    if lead >= needed { Choice::AdoptDeep } else { Choice::RefuseDeep }
}

/// Seconds between a block's time and its arrival within which it counts as live.
pub const LIVE_WITHIN_SECONDS: u64 = 7_200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Network;

    #[test]
    fn depth_and_lead() {
        let choice = |candidate_work, live_depth| {
            let fork = Fork { current_work: 1_000_000, candidate_work, live_depth, average_work: 100 };
            choose(Network::Main.params(), &fork)
        };
        assert_eq!(choice(999_999, 0), Choice::Stay);
        assert_eq!(choice(1_000_000, 0), Choice::Stay, "first seen wins");
        assert_eq!(choice(1_000_001, 720), Choice::Adopt);
        assert_eq!(choice(1_000_001, 721), Choice::RefuseDeep);
        assert_eq!(choice(1_215_999, 721), Choice::RefuseDeep);
        assert_eq!(choice(1_216_000, 721), Choice::AdoptDeep);
    }
}

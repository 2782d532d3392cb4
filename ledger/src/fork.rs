//! Fork choice (protocol §7): which of two valid tips to follow, and how much work is near enough to the tip.
//!
//! The most work wins, and equal work never moves a node. A reorganisation deeper than a day of blocks that this node
//! saw arrive live needs a lead as well: rented hash power for an hour must not rewrite what people acted upon. The
//! lead fades while the other chain stays the heavier one, so that two parted halves of the network meet again.

use primitive_types::U256;

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
    /// Blocks connected to the current chain while the candidate, or an ancestor of it above the common one, was here
    /// with all bodies and heavier than the current chain. Added up over restarts and over spells.
    pub outweighed: u32,
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
    if lead_is_enough(params, fork) { Choice::AdoptDeep } else { Choice::RefuseDeep }
}

/// `cand.work − cur.work ≥ lead × average` with `lead = deep_lead − deep_lead·k/lead_fades`, not below 0; multiplied
/// out, so that nothing is rounded.
fn lead_is_enough(params: &Params, fork: &Fork) -> bool {
    let gained = U256::from(fork.candidate_work - fork.current_work) * U256::from(params.lead_fades);
    let left = params.lead_fades.saturating_sub(fork.outweighed);
    let needed = U256::from(fork.average_work) * U256::from(u64::from(params.deep_lead) * u64::from(left));
    gained >= needed
}

/// Seconds between a block's time and its arrival within which it counts as live.
pub const LIVE_WITHIN_SECONDS: u64 = 7_200;

/// The average block of a chain is taken over its last so many.
pub const AVERAGE_OVER: u32 = 720;

/// Average blocks of work by which a chain may lie behind the tip's and still be relayed, and taken unasked.
pub const RELAY_BLOCKS: u32 = 144;

/// Average blocks of work by which a chain may lie behind the tip's and its headers still be stored at once.
pub const STORE_BLOCKS: u32 = 2_160;

/// The least work of a chain that lies behind a tip by at most `blocks` average blocks; never below 0.
pub fn work_near_tip(tip_work: u128, average_work: u128, blocks: u32) -> u128 {
    tip_work.saturating_sub(average_work.saturating_mul(u128::from(blocks)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Network;

    const CURRENT: u128 = 1_000_000;

    fn choice(gained: u128, live_depth: u32, outweighed: u32) -> Choice {
        let candidate_work = CURRENT + gained;
        let fork = Fork { current_work: CURRENT, candidate_work, live_depth, average_work: 100, outweighed };
        choose(Network::Main.params(), &fork)
    }

    #[test]
    fn depth_and_lead() {
        let lighter = Fork {
            current_work: CURRENT,
            candidate_work: CURRENT - 1,
            live_depth: 0,
            average_work: 100,
            outweighed: 9_999,
        };
        assert_eq!(choose(Network::Main.params(), &lighter), Choice::Stay);
        assert_eq!(choice(0, 0, 9_999), Choice::Stay, "whose last body was here first wins");
        assert_eq!(choice(1, 720, 0), Choice::Adopt);
        assert_eq!(choice(1, 721, 0), Choice::RefuseDeep);
        assert_eq!(choice(215_999, 721, 0), Choice::RefuseDeep);
        assert_eq!(choice(216_000, 721, 0), Choice::AdoptDeep);
    }

    #[test]
    fn the_lead_fades_to_nothing() {
        // 2160 − 2160·k/5040 average blocks of 100 each.
        for (outweighed, needed) in [(7, 215_700), (2_520, 108_000), (5_033, 300), (5_040, 1), (u32::MAX, 1)] {
            assert_eq!(choice(needed, 721, outweighed), Choice::AdoptDeep, "{outweighed}");
            assert_ne!(choice(needed - 1, 721, outweighed), Choice::AdoptDeep, "{outweighed}");
        }
        let one_block_short = 215_957; // 216000 − 216000/5040 = 215957.14…
        assert_eq!(choice(one_block_short, 721, 1), Choice::RefuseDeep);
        assert_eq!(choice(one_block_short + 1, 721, 1), Choice::AdoptDeep);
    }

    #[test]
    fn near_the_tip_is_a_matter_of_work() {
        assert_eq!(work_near_tip(1_000_000, 100, RELAY_BLOCKS), 985_600);
        assert_eq!(work_near_tip(1_000, 100, STORE_BLOCKS), 0);
        assert_eq!(work_near_tip(u128::MAX, u128::MAX, 2), 0);
    }
}

//! Difficulty: ASERT on a gap-clipped clock, with stall relief (protocol §3.3).
//!
//! The target of a block is a function of its parent alone, plus the block's own time for relief. No window is
//! kept, so a light client can check the difficulty of any header that it holds together with the parent.

use primitive_types::{U256, U512};

use crate::{header::HeaderCore, params::Params, pow::to_compact};

/// `vtime` of a block that follows `parent` at `time`: the clock with each gap clipped.
pub fn vtime_after(params: &Params, parent: &HeaderCore, time: u64) -> u32 {
    if parent.height == 0 {
        return 0;
    }
    let gap = time.saturating_sub(parent.time).min(u64::from(params.gap_clip));
    parent.vtime.saturating_add(gap as u32)
}

/// The compact target that a block following `parent` at `time` must carry.
pub fn expected_bits(params: &Params, parent: &HeaderCore, time: u64) -> u32 {
    if parent.height == 0 {
        return to_compact(params.genesis_target);
    }
    to_compact(relieved(params, asert(params, parent), time.saturating_sub(parent.time)))
}

/// The scheduled target after `parent`, whose height is at least 1.
fn asert(params: &Params, parent: &HeaderCore) -> U256 {
    let on_schedule = i128::from(params.block_interval) * i128::from(parent.height.saturating_sub(1));
    let exponent = (i128::from(parent.vtime) - on_schedule) * 65_536 / i128::from(params.tau);
    let shifts = exponent >> 16;
    let fraction = (exponent & 0xffff) as u64;
    // A cubic that approximates 2^x on [0, 1) in 16-bit fixed point; fits u64 for every fraction.
    let cubic = 195_766_423_245_049 * fraction
        + 971_821_376 * fraction * fraction
        + 5_127 * fraction * fraction * fraction
        + (1 << 47);
    let factor = 65_536 + (cubic >> 48);
    let scaled = U512::from(params.genesis_target) * U512::from(factor);
    let target = shift(scaled, shifts - 16);
    let bounded = target.clamp(U512::from(params.min_target), U512::from(params.pow_limit));
    U256::try_from(bounded).expect("clamped to a 256-bit limit")
}

/// Shifts left for positive `by`, saturating, and right for negative `by`.
fn shift(value: U512, by: i128) -> U512 {
    if by < 0 {
        return if by <= -512 { U512::zero() } else { value >> (-by) as usize };
    }
    if by as u128 >= u128::from(value.leading_zeros()) { U512::MAX } else { value << by as usize }
}

/// `target` eased for a block that comes `gap` seconds after its parent.
fn relieved(params: &Params, target: U256, gap: u64) -> U256 {
    if gap <= u64::from(params.relief_start) {
        return target;
    }
    let steps = (gap - u64::from(params.relief_start)) / u64::from(params.relief_step) + 1;
    let eased = shift(U512::from(target), i128::from(steps.min(64)));
    U256::try_from(eased.min(U512::from(params.pow_limit))).expect("bounded by a 256-bit limit")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{params::Network, pow::from_compact};

    fn parent(height: u32, vtime: u32) -> HeaderCore {
        HeaderCore { height, vtime, time: 1_000_000, ..Network::Main.params().genesis().core }
    }

    #[test]
    fn on_schedule_the_target_stays() {
        let p = Network::Main.params();
        assert_eq!(expected_bits(p, &parent(1, 0), 1_000_120), to_compact(p.genesis_target));
        assert_eq!(expected_bits(p, &parent(1_001, 120_000), 1_000_120), to_compact(p.genesis_target));
    }

    #[test]
    fn one_tau_behind_doubles_and_one_ahead_halves() {
        let p = Network::Main.params();
        assert_eq!(expected_bits(p, &parent(1_001, 127_200), 1_000_120), to_compact(p.genesis_target << 1));
        assert_eq!(expected_bits(p, &parent(1_001, 112_800), 1_000_120), to_compact(p.genesis_target >> 1));
    }

    #[test]
    fn extremes_stay_within_the_limits() {
        let p = Network::Main.params();
        let easy = expected_bits(p, &parent(2, u32::MAX), 1_000_120);
        let hard = expected_bits(p, &parent(u32::MAX, 0), 1_000_120);
        assert_eq!(from_compact(easy), Some(p.pow_limit));
        assert_eq!(from_compact(hard), Some(p.min_target));
        assert_eq!(from_compact(expected_bits(p, &parent(2, 120), u64::MAX)), Some(p.pow_limit));
    }

    #[test]
    fn relief_starts_after_a_silence_and_doubles() {
        let p = Network::Main.params();
        let at = |gap: u64| from_compact(expected_bits(p, &parent(1_001, 120_000), 1_000_000 + gap));
        assert_eq!(at(2_400), Some(p.genesis_target));
        assert_eq!(at(2_401), Some(p.genesis_target << 1));
        assert_eq!(at(3_600), Some(p.genesis_target << 2));
        assert_eq!(at(100_000), Some(p.pow_limit));
    }
}

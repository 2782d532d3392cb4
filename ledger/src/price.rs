//! What a transaction must pay in work (protocol §4.2, §4.4).
//!
//! Two prices, for bytes and for commits, stand in every header and follow demand by up to 1/64 per block. A
//! transaction pays by the prices of its anchor block, so a wallet knows the cost before it starts to work.

use crate::{
    header::{Header, HeaderExt},
    params::{BASE_PRICE, MAX_PRICE_BYTES, MAX_PRICE_COMMIT, MAX_RENEW_PRICE, PRICE_STEP, Params, TARGET_WEIGHT},
    transaction::Body,
};

/// The pair of prices in a header, in 1/256 of the base price.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prices {
    /// For each 256 bytes of an update and the like.
    pub bytes: u32,
    /// For commits and renewals.
    pub commit: u32,
}

impl From<&HeaderExt> for Prices {
    fn from(ext: &HeaderExt) -> Self {
        Self { bytes: ext.price_bytes, commit: ext.price_commit }
    }
}

/// The prices of the block that follows `parent`.
pub fn prices_after(params: &Params, parent: &Header) -> Prices {
    let floor = launch_floor(params, parent.core.height.saturating_add(1));
    let parent = &parent.ext;
    let commit_target = (parent.name_count >> 18).max(4);
    let bytes = adjust(parent.price_bytes, u64::from(parent.weight), u64::from(TARGET_WEIGHT));
    let commit = adjust(parent.price_commit, u64::from(parent.commit_count), commit_target);
    Prices {
        bytes: bytes.clamp(u64::from(BASE_PRICE), u64::from(MAX_PRICE_BYTES)) as u32,
        commit: commit.clamp(u64::from(floor), u64::from(MAX_PRICE_COMMIT)) as u32,
    }
}

/// Lower bound of `price_commit` at `height`: LAUNCH_PRICE in the genesis block, half as much after each
/// LAUNCH_HALVING blocks, linear between, and never below the base price.
pub fn launch_floor(params: &Params, height: u32) -> u32 {
    let (halvings, rest) = (height / params.launch_halving, height % params.launch_halving);
    let from = u64::from(params.launch_price >> halvings.min(31));
    let fallen = from * u64::from(rest) / (2 * u64::from(params.launch_halving));
    BASE_PRICE.max((from - fallen) as u32)
}

/// One step of at most 1/64 towards what demand asks for.
///
/// Any numbers will do: a proof file's first header has no parent that could vouch for its prices.
fn adjust(price: u32, used: u64, target: u64) -> u64 {
    let step = |off: u64| {
        let step = u128::from(price) * u128::from(off) / u128::from(target) / u128::from(PRICE_STEP);
        // At most a 64th of a price that has 32 bits.
        (step as u64).max(1)
    };
    let price = u64::from(price);
    if used > target {
        price + step((used - target).min(target))
    } else if used < target {
        price.saturating_sub(step(target - used))
    } else {
        price
    }
}

/// Expected work evaluations that a transaction with this body must show, given the prices at its anchor; `None` for
/// a REVEAL, whose price was paid by its COMMIT. Rounded up.
pub fn required_work(params: &Params, body: &Body, at_anchor: Prices) -> Option<u64> {
    let (p, op) = (u128::from(params.p_commit), u128::from(params.p_op));
    let bytes = u128::from(at_anchor.bytes);
    let (product, divisor) = match body {
        Body::Reveal { .. } => return None,
        Body::Commit { class, .. } => ((p << u32::from(*class).min(32)) * u128::from(at_anchor.commit), 256),
        Body::Update { .. } => (op * (body.encoded_len() as u128).div_ceil(256) * bytes, 256 * 256),
        Body::Transfer { .. } => (op * bytes, 128 * 256),
        Body::Cancel { .. } | Body::Revoke { .. } => (op, 1024),
        Body::Renew { name, .. } => {
            ((p << u32::from(name.price_class())) * u128::from(at_anchor.commit.min(MAX_RENEW_PRICE)), 256)
        }
        Body::Claim { .. } | Body::Roll { .. } => (op * bytes, 16 * 256),
    };
    Some(u64::try_from(product.div_ceil(divisor)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Network;

    fn after(price: u32, weight: u32, commits: u32, names: u64) -> Prices {
        let params = Network::Local.params();
        let ext = HeaderExt {
            price_bytes: price,
            price_commit: price,
            weight,
            commit_count: commits,
            name_count: names,
            ..HeaderExt::default()
        };
        prices_after(params, &Header { ext, ..params.genesis() })
    }

    #[test]
    fn prices_follow_demand_in_small_steps() {
        assert_eq!(after(256, 0, 0, 0), Prices { bytes: 256, commit: 256 });
        assert_eq!(after(256, 32_769, 5, 0), Prices { bytes: 257, commit: 257 });
        assert_eq!(after(6_400, 65_536, 8, 0), Prices { bytes: 4_096, commit: 6_500 });
        assert_eq!(after(16_384, 0, 1_000_000, 0).commit, 16_384);
        assert_eq!(after(2_560, 0, 0, 0), Prices { bytes: 2_520, commit: 2_520 });
        assert_eq!(after(300, 32_767, 5, 5 << 18), Prices { bytes: 299, commit: 300 }, "at its target it stays");
    }

    #[test]
    fn prices_that_no_chain_has_are_brought_back_into_their_bounds() {
        assert_eq!(after(0, 0, 0, 0), Prices { bytes: 256, commit: 256 });
        assert_eq!(after(u32::MAX, 0, 0, u64::MAX), Prices { bytes: 4_096, commit: 16_384 });
        assert_eq!(after(u32::MAX, u32::MAX, u32::MAX, u64::MAX), Prices { bytes: 4_096, commit: 16_384 });
    }

    #[test]
    fn the_floor_of_commits_halves_until_it_is_the_base_price() {
        let floor = |height| launch_floor(Network::Main.params(), height);
        let heights = [0, 1, 1_620, 3_239, 3_240, 6_480, 9_720, 12_959, 12_960, u32::MAX];
        assert_eq!(heights.map(floor), [4_096, 4_096, 3_072, 2_049, 2_048, 1_024, 512, 257, 256, 256]);
        assert_eq!(launch_floor(Network::Local.params(), 0), 256);
        let mut tip = Network::Main.params().genesis();
        assert_eq!(Prices::from(&tip.ext), Prices { bytes: 256, commit: 4_096 });
        tip.core.height = 3_239;
        assert_eq!(prices_after(Network::Main.params(), &tip).commit, 4_096 - 64, "falls no faster than 1/64");
        tip.ext.price_commit = 2_050;
        assert_eq!(prices_after(Network::Main.params(), &tip).commit, 2_048, "nor below the floor");
    }
}

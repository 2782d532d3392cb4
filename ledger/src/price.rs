//! What a transaction must pay in work (protocol §4.2, §4.4).
//!
//! Two prices, for bytes and for commits, stand in every header and follow demand by up to 1/64 per block. A
//! transaction pays by the prices of its anchor block, so a wallet knows the cost before it starts to work.

use crate::{
    block::HeaderExt,
    params::{BASE_PRICE, MAX_PRICE_BYTES, MAX_PRICE_COMMIT, Params, TARGET_WEIGHT},
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

/// The prices of the block that follows one with this extension.
pub fn prices_after(parent: &HeaderExt) -> Prices {
    let commit_target = (parent.name_count >> 18).max(4);
    let bytes = adjust(parent.price_bytes, u64::from(parent.weight), u64::from(TARGET_WEIGHT));
    let commit = adjust(parent.price_commit, u64::from(parent.commit_count), commit_target);
    Prices {
        bytes: bytes.clamp(u64::from(BASE_PRICE), u64::from(MAX_PRICE_BYTES)) as u32,
        commit: commit.clamp(u64::from(BASE_PRICE), u64::from(MAX_PRICE_COMMIT)) as u32,
    }
}

/// One step of at most 1/64 towards what demand asks for.
fn adjust(price: u32, used: u64, target: u64) -> u64 {
    let price = u64::from(price);
    if used > target {
        price + (price * (used - target).min(target) / target / 64).max(1)
    } else {
        price - price * (target - used) / target / 64
    }
}

/// Expected work evaluations that a transaction with this body must show, given the prices at its anchor; `None` for
/// a REVEAL, whose price was paid by its COMMIT. Rounded up.
pub fn required_work(params: &Params, body: &Body, at_anchor: Prices) -> Option<u64> {
    let p = u128::from(params.p_commit);
    let bytes = u128::from(at_anchor.bytes);
    let (product, divisor) = match body {
        Body::Reveal { .. } => return None,
        Body::Commit { class, .. } => ((p << u32::from(*class).min(32)) * u128::from(at_anchor.commit), 256),
        Body::Update { .. } => (p * (body.encoded_len() as u128).div_ceil(256) * bytes, 256 * 256),
        Body::Transfer { .. } => (p * bytes, 128 * 256),
        Body::Cancel { .. } | Body::Revoke { .. } => (p, 1024),
        Body::Renew { name, .. } => {
            ((p << u32::from(name.price_class())) * u128::from(at_anchor.commit.min(1024)), 256)
        }
        Body::Claim { .. } => (p * bytes, 16 * 256),
    };
    Some(u64::try_from(product.div_ceil(divisor)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(price: u32, weight: u32, commits: u32, names: u64) -> Prices {
        prices_after(&HeaderExt {
            price_bytes: price,
            price_commit: price,
            weight,
            commit_count: commits,
            name_count: names,
            ..HeaderExt::default()
        })
    }

    #[test]
    fn prices_follow_demand_in_small_steps() {
        assert_eq!(after(256, 0, 0, 0), Prices { bytes: 256, commit: 256 });
        assert_eq!(after(256, 32_769, 5, 0), Prices { bytes: 257, commit: 257 });
        assert_eq!(after(6_400, 65_536, 8, 0), Prices { bytes: 4_096, commit: 6_500 });
        assert_eq!(after(16_384, 0, 1_000_000, 0).commit, 16_384);
        assert_eq!(after(2_560, 0, 0, 0), Prices { bytes: 2_520, commit: 2_520 });
        assert_eq!(after(256, 0, 5, 5 << 18).commit, 256, "demand at its target leaves the price");
    }
}

//! Header rules (protocol §3.4), cheapest first: links and arithmetic before work.

use super::violation::{GotExpected, Violation};
use crate::{
    difficulty::{expected_bits, vtime_after},
    hash::{BlockHash, Hash},
    header::{Header, HeaderCore},
    history::{Leaf, Peaks},
    params::Params,
    pow::{Scratch, from_compact, pow_value, to_compact, work_of_target},
    price::{Prices, prices_after},
};

/// A header that follows the rules, with what its children need to be checked.
#[derive(Clone, Debug)]
pub struct HeaderContext {
    header: Header,
    hash: BlockHash,
    total_work: u128,
    peaks: Peaks,
}

impl HeaderContext {
    /// The genesis header, valid by definition. Its work was never done, but counts as its bits say, so that whoever
    /// derives work from bits needs no special case.
    pub fn genesis(params: &Params) -> Self {
        let header = params.genesis();
        Self::stored(header, 0, &Peaks::default())
    }

    /// A header that was checked before and kept: `parent_work` and `parent_peaks` are those before it. The caller
    /// answers for that.
    pub fn stored(header: Header, parent_work: u128, parent_peaks: &Peaks) -> Self {
        let hash = header.hash();
        let leaf = history_leaf(&header.core, hash);
        let mut peaks = parent_peaks.clone();
        peaks.append(&leaf).expect("heights follow each other, and MIN_TARGET bounds the work of 2^32 headers");
        Self { header, hash, total_work: parent_work.saturating_add(leaf.work), peaks }
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Its hash.
    pub fn hash(&self) -> BlockHash {
        self.hash
    }

    /// Its height.
    pub fn height(&self) -> u32 {
        self.header.core.height
    }

    /// Expected evaluations behind it and all its ancestors.
    pub fn total_work(&self) -> u128 {
        self.total_work
    }

    /// The header MMR over all blocks up to and including this one.
    pub fn peaks(&self) -> &Peaks {
        &self.peaks
    }
}

/// Why a header is not accepted now.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    /// Never valid.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// From the future: try again then. Neither invalid nor a reason for a penalty.
    #[error("the header's time is ahead of the clock; try again at {until}")]
    Deferred {
        /// Unix time from which the header can be judged.
        until: u64,
    },
}

/// A header that fits its parent; its work is not proved yet. Its children can be linked already, so that the work of
/// a whole batch can be proved on several cores.
#[derive(Clone, Debug)]
pub struct Linked(HeaderContext);

impl Linked {
    /// The context, good for linking children and nothing else.
    pub fn unproved(&self) -> &HeaderContext {
        &self.0
    }

    /// Proves the work.
    pub fn prove(self, params: &Params, chain_id: &Hash, scratch: &mut Scratch) -> Result<HeaderContext, Violation> {
        work_meets_target(params, chain_id, &self.0.header.core, scratch)?;
        Ok(self.0)
    }
}

/// Checks all rules.
pub fn check(
    params: &Params,
    chain_id: &Hash,
    header: &Header,
    parent: &HeaderContext,
    now: u64,
    scratch: &mut Scratch,
) -> Result<HeaderContext, HeaderError> {
    Ok(link(params, header, parent, now)?.prove(params, chain_id, scratch)?)
}

/// Checks all rules but work. `parent` must be the block that `header.core.prev` names.
pub fn link(params: &Params, header: &Header, parent: &HeaderContext, now: u64) -> Result<Linked, HeaderError> {
    parent_is_the_one_named(&header.core, parent.hash)?;
    place_follows_parent(params, &header.core, &parent.header.core)?;
    time_is_not_in_the_future(params, &header.core, now)?;
    schedules_follow_parent(params, header, &parent.header)?;
    history_root_covers_ancestors(header, &parent.peaks)?;
    Ok(Linked(HeaderContext::stored(*header, parent.total_work, &parent.peaks)))
}

/// Checks every rule that a header and its parent show, without a clock, the history before them, or work.
pub fn succeeds(params: &Params, header: &Header, parent: &Header) -> Result<(), Violation> {
    parent_is_the_one_named(&header.core, parent.hash())?;
    place_follows_parent(params, &header.core, &parent.core)?;
    schedules_follow_parent(params, header, parent)
}

/// Rules 1, 3 and the first half of 4.
fn place_follows_parent(params: &Params, core: &HeaderCore, parent: &HeaderCore) -> Result<(), Violation> {
    version_is_this_networks(params, core)?;
    height_follows_parent(core, parent)?;
    time_is_late_enough(params, core, parent)
}

/// Rules 5 and 6.
fn schedules_follow_parent(params: &Params, header: &Header, parent: &Header) -> Result<(), Violation> {
    difficulty_is_as_scheduled(params, &header.core, &parent.core)?;
    prices_follow_demand(params, header, parent)
}

/// Checks what a header shows without its parent: this network's version, bits that the rules can give, and work. The
/// genesis header needs neither.
pub fn stands_alone(params: &Params, chain_id: &Hash, header: &Header, scratch: &mut Scratch) -> Result<(), Violation> {
    if header.core.height == 0 && *header == params.genesis() {
        return Ok(());
    }
    version_is_this_networks(params, &header.core)?;
    target_is_no_easier_than_the_limit(params, &header.core)?;
    work_meets_target(params, chain_id, &header.core, scratch)
}

/// §3.4 rule 1: version and algorithm are this network's.
fn version_is_this_networks(params: &Params, core: &HeaderCore) -> Result<(), Violation> {
    let (got, expected) = (core.version, params.header_version());
    if got == expected { Ok(()) } else { Err(Violation::Version(GotExpected { got, expected })) }
}

/// §3.4 rule 2: the header follows this parent and no other.
fn parent_is_the_one_named(core: &HeaderCore, expected: BlockHash) -> Result<(), Violation> {
    let got = core.prev;
    if got == expected { Ok(()) } else { Err(Violation::Parent(GotExpected { got, expected })) }
}

/// §3.4 rule 3: height = parent + 1.
fn height_follows_parent(core: &HeaderCore, parent: &HeaderCore) -> Result<(), Violation> {
    let (got, expected) = (core.height, parent.height.saturating_add(1));
    if got == expected { Ok(()) } else { Err(Violation::Height(GotExpected { got, expected })) }
}

/// §3.4 rule 4: time ≥ parent.time + MIN_GAP.
fn time_is_late_enough(params: &Params, core: &HeaderCore, parent: &HeaderCore) -> Result<(), Violation> {
    let earliest = parent.time.saturating_add(u64::from(params.min_gap));
    if core.time >= earliest { Ok(()) } else { Err(Violation::TooSoon { got: core.time, earliest }) }
}

/// §3.4 rule 4: time > now + FTL defers.
fn time_is_not_in_the_future(params: &Params, core: &HeaderCore, now: u64) -> Result<(), HeaderError> {
    let limit = u64::from(params.future_limit);
    if core.time <= now.saturating_add(limit) {
        Ok(())
    } else {
        Err(HeaderError::Deferred { until: core.time.saturating_sub(limit) })
    }
}

/// §3.4 rule 5: vtime and bits.
fn difficulty_is_as_scheduled(params: &Params, core: &HeaderCore, parent: &HeaderCore) -> Result<(), Violation> {
    let (got, expected) = (core.vtime, vtime_after(params, parent, core.time));
    if got != expected {
        return Err(Violation::Vtime(GotExpected { got, expected }));
    }
    let (got, expected) = (core.bits, expected_bits(params, parent, core.time));
    if got == expected { Ok(()) } else { Err(Violation::Bits(GotExpected { got, expected })) }
}

/// §3.3: no schedule gives a target above POW_LIMIT.
fn target_is_no_easier_than_the_limit(params: &Params, core: &HeaderCore) -> Result<(), Violation> {
    if from_compact(core.bits).is_some_and(|target| target <= params.pow_limit) {
        return Ok(());
    }
    Err(Violation::Bits(GotExpected { got: core.bits, expected: to_compact(params.pow_limit) }))
}

/// §3.4 rule 6: prices (§4.4).
fn prices_follow_demand(params: &Params, header: &Header, parent: &Header) -> Result<(), Violation> {
    let Prices { bytes, commit } = prices_after(params, parent);
    if header.ext.price_bytes != bytes {
        return Err(Violation::PriceBytes(GotExpected { got: header.ext.price_bytes, expected: bytes }));
    }
    if header.ext.price_commit != commit {
        return Err(Violation::PriceCommit(GotExpected { got: header.ext.price_commit, expected: commit }));
    }
    Ok(())
}

/// §3.4 rule 7: `history_root` is the MMR root over blocks 0 to height − 1.
fn history_root_covers_ancestors(header: &Header, parent_peaks: &Peaks) -> Result<(), Violation> {
    let root = parent_peaks.root().expect("MIN_TARGET bounds the work of 2^32 headers");
    let (got, expected) = (header.ext.history_root, root);
    if got == expected { Ok(()) } else { Err(Violation::HistoryRoot(GotExpected { got, expected })) }
}

/// §3.4 rule 8: `pow_value ≤ expand(bits)`.
pub fn work_meets_target(
    params: &Params,
    chain_id: &Hash,
    core: &HeaderCore,
    scratch: &mut Scratch,
) -> Result<(), Violation> {
    let Some(target) = from_compact(core.bits) else { return Err(Violation::HeaderWork) };
    let value = pow_value(params.algorithm, chain_id, core, scratch);
    if value <= target { Ok(()) } else { Err(Violation::HeaderWork) }
}

/// What the history commits to for a header with this hash (protocol §5.3).
pub fn history_leaf(core: &HeaderCore, block_hash: BlockHash) -> Leaf {
    let HeaderCore { height, time, vtime, bits, .. } = *core;
    Leaf { block_hash, height, time, vtime, bits, work: claimed_work(core) }
}

/// Work that a header's bits stand for.
pub fn claimed_work(core: &HeaderCore) -> u128 {
    from_compact(core.bits).map_or(0, work_of_target)
}

//! What the chain shows to synchronisation: the tip, the branches that are heavier, and what others' claims come to.
//!
//! Plain values. A branch is looked at because somebody claims it; headers alone, whoever announced them, are none
//! (protocol §7, "headers are not blocks").

use ledger::hash::BlockHash;

/// A block with its height and the work of its chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Point {
    /// Height.
    pub height: u32,
    /// Hash.
    pub hash: BlockHash,
    /// Work of the chain up to and including it.
    pub work: u128,
}

/// The chain at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// The best block with a body.
    pub tip: Point,
    /// Height of the heaviest header known, whether or not its body can be had.
    pub header_height: u32,
    /// Whether a heavier chain is here that fork choice refuses to follow.
    pub is_refusing: bool,
    /// Hashes for a header question, highest first; empty before the chain was looked at for the first time.
    pub locator: Vec<BlockHash>,
    /// The branches that are heavier than the tip, claimed by somebody, and not complete here; heaviest first.
    pub branches: Vec<WantedBranch>,
    /// What was asked for, and what it comes to.
    pub claims: Vec<(BlockHash, Sight)>,
}

/// A branch whose bodies are missing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WantedBranch {
    /// Its last header that somebody claims to have the block of.
    pub end: Point,
    /// The last block below the first missing one.
    pub base: BlockHash,
    /// The first missing bodies, lowest first. Not empty.
    pub missing: Vec<(u32, BlockHash)>,
}

/// What a block that somebody claims to have is to this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sight {
    /// Its header is not known.
    Unknown,
    /// It is known to be invalid, or to build on something that is. Who claims it may not know.
    Invalid,
    /// Nothing is wanted of it: it is connected, no heavier than the tip, complete but refused, or out of reach.
    Settled,
    /// It is heavier than the tip, and some body on the way to it is missing.
    Wanted {
        /// Index of its branch in [`View::branches`].
        branch: usize,
        /// Its height.
        height: u32,
    },
}

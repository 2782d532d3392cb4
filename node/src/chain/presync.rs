//! Long chains of headers whose first ones alone have too little work to be stored (LIGHT E): they are walked twice.
//!
//! The first time every rule and all work is checked, and only the hash at the end of each full batch is kept, until the
//! chain has enough work. The second time a batch is stored that ends in one of those hashes: as each header names its
//! parent, that is the very chain that was walked before, whoever hands it over. So a flood of low work costs no row,
//! and a partition of any length still heals.

use ledger::{hash::BlockHash, rules::header::HeaderContext};

/// Chains that are walked at the same time. One that comes on top takes the place of the one with the least work.
const MAX: usize = 4;

/// A chain that is being walked.
#[derive(Debug)]
struct Walk {
    last: HeaderContext,
    /// The ends of full batches, 32 bytes for 2,000 headers.
    marks: Vec<BlockHash>,
    /// The work that it needs.
    enough: u128,
    has_enough: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Presync(Vec<Walk>);

impl Presync {
    /// The end of a walk, if `hash` is one.
    pub(super) fn context(&self, hash: &BlockHash) -> Option<&HeaderContext> {
        self.0.iter().map(|walk| &walk.last).find(|last| last.hash() == *hash)
    }

    /// Whether a batch that ends in `hash` belongs to a chain that was seen to have enough work.
    pub(super) fn vouches_for(&self, hash: &BlockHash) -> bool {
        self.0.iter().any(|walk| walk.has_enough && walk.marks.contains(hash))
    }

    /// Whether a batch that ends in `hash` was walked, in a chain that has not been seen to have enough work.
    pub(super) fn has_walked(&self, hash: &BlockHash) -> bool {
        self.0.iter().any(|walk| !walk.has_enough && walk.marks.contains(hash))
    }

    /// The work that a walk that ended in `parent` needs to be stored; 0 if there is none.
    pub(super) fn enough_after(&self, parent: &BlockHash) -> u128 {
        self.0.iter().find(|walk| walk.last.hash() == *parent).map_or(0, |walk| walk.enough)
    }

    /// Goes on with the walk that ended in `parent`, or begins one. Says whether the chain has `enough` work now.
    pub(super) fn go_on(&mut self, parent: BlockHash, last: HeaderContext, enough: u128) -> bool {
        let (mark, has_enough) = (last.hash(), last.total_work() >= enough);
        if let Some(walk) = self.0.iter_mut().find(|walk| walk.last.hash() == parent) {
            walk.marks.push(mark);
            (walk.last, walk.enough, walk.has_enough) = (last, enough, has_enough);
        } else if !self.0.iter().any(|walk| walk.marks.contains(&mark)) {
            self.make_room();
            self.0.push(Walk { last, marks: vec![mark], enough, has_enough });
        }
        has_enough
    }

    /// Forgets chains whose last header is stored by now.
    pub(super) fn forget(&mut self, is_stored: impl Fn(&BlockHash) -> bool) {
        self.0.retain(|walk| !is_stored(&walk.last.hash()));
    }

    fn make_room(&mut self) {
        if self.0.len() < MAX {
            return;
        }
        let least = self.0.iter().enumerate().min_by_key(|(_, walk)| walk.last.total_work()).map(|(index, _)| index);
        least.map(|index| self.0.swap_remove(index));
    }
}

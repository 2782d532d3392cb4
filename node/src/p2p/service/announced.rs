//! What is remembered of announced blocks.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use ledger::{
    block::{Block, Header},
    hash::{BlockHash, WitnessTxId},
};
use libp2p::{PeerId, request_response::ResponseChannel};

use crate::p2p::{
    compact::Rebuild,
    message::{Request, Response},
};

/// Announced headers remembered, 32 bytes each. More than that near the tip take the work of a thousand blocks.
const MAX_TOLD: usize = 1_024;

/// What is remembered of announced blocks.
#[derive(Default)]
pub struct Rebuilding {
    pub(super) told: Told,
    pub(super) under_way: BTreeMap<BlockHash, UnderWay>,
    pub(super) parked: Vec<Parked>,
    pub(super) fresh: VecDeque<(Instant, WitnessTxId)>,
    pub(super) recent: VecDeque<Arc<Block>>,
}

/// Headers that were announced, by this node or to it.
#[derive(Default)]
pub(super) struct Told {
    pub(super) order: VecDeque<BlockHash>,
    pub(super) all: BTreeSet<BlockHash>,
    /// Those among them whose announcements came to nothing here, and so perhaps elsewhere.
    pub(super) in_vain: BTreeSet<BlockHash>,
}

impl Told {
    /// Takes note; whether that is news.
    pub(super) fn note(&mut self, hash: BlockHash) -> bool {
        if !self.all.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > MAX_TOLD
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
            self.in_vain.remove(&oldest);
        }
        true
    }

    /// Takes note of a block that this node announces; whether others should hear of it. A liar who is the first to spell
    /// a header must not keep the block from being announced at all; others' spellings get no second chance, or there
    /// would be no end of them.
    pub(super) fn note_own(&mut self, hash: BlockHash) -> bool {
        self.note(hash) || self.in_vain.remove(&hash)
    }

    /// What was announced could not be made a block.
    pub(super) fn came_to_nothing(&mut self, hash: BlockHash) {
        if self.all.contains(&hash) {
            self.in_vain.insert(hash);
        }
    }
}

/// A block that is announced and not here.
pub(super) struct UnderWay {
    pub(super) header: Header,
    pub(super) from: PeerId,
    pub(super) since: Instant,
    pub(super) stage: Stage,
}

pub(super) enum Stage {
    /// A job looks for its transactions, or judges it.
    AtWork,
    /// Its announcer was asked for what is missing, so many transactions.
    Asked { rebuild: Box<Rebuild>, missing: usize, since: Instant },
    /// It is left to the synchronisation.
    Left,
}

/// A question about a block that is under way, answered when it is here.
pub(super) struct Parked {
    pub(super) block: BlockHash,
    pub(super) peer: PeerId,
    pub(super) since: Instant,
    pub(super) request: Request,
    pub(super) channel: ResponseChannel<Response>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_header_is_news_once_and_the_oldest_are_forgotten() {
        let mut told = Told::default();
        let hash = |number: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            BlockHash(bytes)
        };
        assert!(told.note(hash(0)) && !told.note(hash(0)));
        (1..=MAX_TOLD as u32).for_each(|number| assert!(told.note(hash(number))));
        assert_eq!((told.order.len(), told.all.len()), (MAX_TOLD, MAX_TOLD));
        assert!(told.note(hash(0)), "forgotten by now");
        assert!(!told.note(hash(MAX_TOLD as u32)));
    }

    #[test]
    fn a_block_whose_announcement_came_to_nothing_is_announced_again_once() {
        let (mut told, hash) = (Told::default(), BlockHash([7; 32]));
        told.came_to_nothing(hash);
        assert!(told.in_vain.is_empty(), "nobody spoke of it");
        assert!(told.note(hash) && !told.note_own(hash));
        told.came_to_nothing(hash);
        assert!(!told.note(hash), "no second spelling of others");
        assert!(told.note_own(hash) && !told.note_own(hash));
    }
}

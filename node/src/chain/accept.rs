//! Taking blocks in: the header first, then the body, and then the best chain is followed.

use std::sync::Arc;

use ledger::{
    block::{Block, Header},
    fork::LIVE_WITHIN_SECONDS,
    hash::BlockHash,
    rules::Violation,
};

use crate::store::StoreError;

use super::{
    core::ChainCore,
    index::Id,
    precheck::{Anchors, BodyFault, Prechecked},
    stats::{add, set},
    types::{Arrival, BlockOutcome, BlockReport, HeadersOutcome},
};

/// A block as handed over.
#[derive(Clone, Debug)]
pub enum BlockInput {
    /// Nothing has been checked.
    Raw(Arc<Block>),
    /// Everything that needs no state has been checked, against the anchors from [`ChainCore::admit`].
    Prechecked(Box<Prechecked>),
}

impl BlockInput {
    fn block(&self) -> &Arc<Block> {
        match self {
            Self::Raw(block) => block,
            Self::Prechecked(prechecked) => &prechecked.block,
        }
    }
}

impl From<Arc<Block>> for BlockInput {
    fn from(block: Arc<Block>) -> Self {
        Self::Raw(block)
    }
}

impl From<Prechecked> for BlockInput {
    fn from(prechecked: Prechecked) -> Self {
        Self::Prechecked(Box::new(prechecked))
    }
}

impl ChainCore {
    /// Takes one block, with its header if that is new, at time `now`.
    pub fn accept_block(
        &mut self,
        input: impl Into<BlockInput>,
        now: u64,
        arrival: Arrival,
    ) -> Result<BlockReport, StoreError> {
        let input = input.into();
        let hash = input.block().hash();
        let outcome = self.take_block(input, hash, now, arrival)?;
        add(&self.stats.blocks_invalid, u64::from(matches!(outcome, BlockOutcome::Invalid(_))));
        set(&self.stats.bodies_waiting, self.waiting.count() as u64);
        Ok(BlockReport { hash, outcome })
    }

    fn take_block(
        &mut self,
        input: BlockInput,
        hash: BlockHash,
        now: u64,
        arrival: Arrival,
    ) -> Result<BlockOutcome, StoreError> {
        let id = match self.admit_header(&input.block().header, hash, now, arrival)? {
            Ok(id) => id,
            Err(outcome) => return Ok(outcome),
        };
        match self.prechecked(input, id) {
            Ok(prechecked) => self.place(id, prechecked, now, arrival),
            Err(fault) => self.refuse(id, fault),
        }
    }

    /// Looks at a block before its expensive checks: takes its header in, and returns the anchors to check it against.
    /// `Err` if nothing is left to be checked.
    pub fn admit(
        &mut self,
        block: &Block,
        now: u64,
        arrival: Arrival,
    ) -> Result<Result<Anchors, BlockOutcome>, StoreError> {
        let admitted = self.admit_header(&block.header, block.hash(), now, arrival)?;
        Ok(admitted.map(|id| self.anchors(block, id)))
    }

    /// Takes note of what was found wrong with an admitted block.
    pub(super) fn refuse_body(&mut self, hash: &BlockHash, fault: BodyFault) -> Result<BlockOutcome, StoreError> {
        match self.index.find(hash) {
            Some(id) if !self.index.has_body(id) => self.refuse(id, fault),
            Some(_) => Ok(BlockOutcome::Known),
            None => Ok(BlockOutcome::UnknownParent),
        }
    }

    fn refuse(&mut self, id: Id, fault: BodyFault) -> Result<BlockOutcome, StoreError> {
        match fault {
            BodyFault::NotThisBody(violation) => Ok(BlockOutcome::WrongBody(violation)),
            BodyFault::BreaksRule(violation) => {
                self.condemn(id, &violation)?;
                Ok(BlockOutcome::Invalid(violation))
            }
        }
    }

    fn admit_header(
        &mut self,
        header: &Header,
        hash: BlockHash,
        now: u64,
        arrival: Arrival,
    ) -> Result<Result<Id, BlockOutcome>, StoreError> {
        if arrival == Arrival::Announced && self.is_far_from_tip(header) {
            return Ok(Err(BlockOutcome::FarFromTip));
        }
        let id = match self.header_of(header, hash, now)? {
            Ok(id) => id,
            Err(outcome) => return Ok(Err(outcome)),
        };
        if self.index.is_invalid(id) {
            return Ok(Err(BlockOutcome::Invalid(Violation::KnownInvalid { hash })));
        }
        if self.index.has_body(id) {
            // A write that failed for want of room is repeated when the block is offered again.
            self.follow_best()?;
            return Ok(Err(BlockOutcome::Known));
        }
        Ok(Ok(id))
    }

    /// The header's place in the index; takes the header in if it is new.
    fn header_of(
        &mut self,
        header: &Header,
        hash: BlockHash,
        now: u64,
    ) -> Result<Result<Id, BlockOutcome>, StoreError> {
        if let Some(id) = self.index.find(&hash) {
            return Ok(Ok(id));
        }
        let report = self.accept_headers(std::slice::from_ref(header), now)?;
        Ok(match report.outcome {
            HeadersOutcome::Ok => Ok(self.index.find(&hash).expect("the header was accepted just now")),
            HeadersOutcome::UnknownParent(_) => Err(BlockOutcome::UnknownParent),
            HeadersOutcome::Deferred { until } => Err(BlockOutcome::Deferred { until }),
            HeadersOutcome::Invalid(violation) => Err(BlockOutcome::Invalid(violation)),
            HeadersOutcome::InvalidParent(parent) => Err(BlockOutcome::InvalidParent(parent)),
            HeadersOutcome::FarFromTip => Err(BlockOutcome::FarFromTip),
            HeadersOutcome::LowWork | HeadersOutcome::Walked | HeadersOutcome::WalkedEnough => {
                Err(BlockOutcome::LowWork)
            }
        })
    }

    /// Keeps a checked body and follows the best chain.
    fn place(
        &mut self,
        id: Id,
        prechecked: Prechecked,
        now: u64,
        arrival: Arrival,
    ) -> Result<BlockOutcome, StoreError> {
        let age = now.saturating_sub(prechecked.block.header.core.time);
        if arrival.is_news() && age <= LIVE_WITHIN_SECONDS {
            self.index.set_live(id);
        }
        self.hold(id, prechecked, arrival)?;
        self.index.add_body(id);
        let (reorg_depth, broken) = self.follow_best()?;
        if let Some((_, violation)) = broken.into_iter().find(|(broken, _)| *broken == id) {
            return Ok(BlockOutcome::Invalid(violation));
        }
        Ok(if self.index.is_active(id) { BlockOutcome::Connected { reorg_depth } } else { BlockOutcome::Stored })
    }

    fn prechecked(&mut self, input: BlockInput, id: Id) -> Result<Prechecked, BodyFault> {
        match input {
            BlockInput::Prechecked(prechecked) => Ok(*prechecked),
            BlockInput::Raw(block) => {
                let anchors = self.anchors(&block, id);
                self.check(block, &anchors)
            }
        }
    }
}

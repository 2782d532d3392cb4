//! Bodies that are not connected: kept in memory or on disk, checked, and marked for good if they break a rule.

use std::sync::Arc;

use ledger::{
    block::Block,
    codec::{decode, encode},
    rules::{Violation, context::Ancestors, transaction::AnchorBlock},
};

use crate::store::{BodyKey, Durability, HeaderRow, Rows, StoreError, Table};

use super::{
    core::ChainCore,
    index::{Id, Status},
    precheck::{Anchors, BodyFault, PrecheckContext, Prechecked, precheck},
    state::Branch,
    types::Arrival,
};

/// A stored body, checked; or the rule that it breaks.
type Body = Result<(Prechecked, Arrival), Violation>;

impl ChainCore {
    /// Keeps a body in memory until its turn, when it is written together with all that it changes. Only what finds no
    /// room is written before. After a crash the others are asked for again.
    pub(super) fn hold(&mut self, id: Id, prechecked: Prechecked, arrival: Arrival) -> Result<(), StoreError> {
        for (other, evicted) in self.waiting.put(id, prechecked, arrival) {
            self.store_body(other, &evicted)?;
        }
        Ok(())
    }

    /// Writes the bodies of a complete branch that is not followed: it may be for weeks, and over restarts.
    pub(super) fn keep_bodies(&mut self, end: Id) -> Result<(), StoreError> {
        for id in self.index.branch(end) {
            if let Some((prechecked, _)) = self.waiting.take(id) {
                self.store_body(id, &prechecked)?;
            }
        }
        Ok(())
    }

    fn store_body(&self, id: Id, prechecked: &Prechecked) -> Result<(), StoreError> {
        let mut batch = self.store.batch();
        batch.put(Table::Bodies, BodyKey(self.index.height(id), prechecked.hash).to_bytes(), &prechecked.bytes);
        let status = self.index.status(id).to_row() | Status::BODY;
        let row = HeaderRow { header: prechecked.block.header, total_work: self.index.work(id), status };
        batch.put(Table::Headers, prechecked.hash, encode(&row));
        batch.write(Durability::Buffered)
    }

    /// A stored body, checked again if it was not kept in memory. `None` if it is not stored after all.
    pub(super) fn checked_body(&mut self, id: Id) -> Result<Option<Body>, StoreError> {
        if let Some(held) = self.waiting.take(id) {
            return Ok(Some(Ok(held)));
        }
        let Some(block) = self.block(id)? else { return Ok(None) };
        let anchors = self.anchors(&block, id);
        let checked = self.check(Arc::new(block), &anchors);
        Ok(Some(match checked {
            Ok(prechecked) => Ok((prechecked, Arrival::Sync)),
            Err(BodyFault::BreaksRule(violation)) => Err(violation),
            Err(BodyFault::NotThisBody(violation)) => {
                return Err(StoreError::corrupt(format!("the body at height {}: {violation}", self.index.height(id))));
            }
        }))
    }

    /// A stored block.
    pub(super) fn block(&self, id: Id) -> Result<Option<Block>, StoreError> {
        let (height, hash) = (self.index.height(id), self.index.hash(id));
        let Some(bytes) = self.store.body(height, &hash)? else { return Ok(None) };
        Ok(Some(decode(&bytes).map_err(|error| StoreError::corrupt(format!("block {hash}: {error}")))?))
    }

    /// Marks a header whose body breaks a rule, for good, with all its descendants.
    pub(super) fn condemn(&mut self, id: Id, violation: &Violation) -> Result<(), StoreError> {
        if let Violation::AncestorUnknown { height } = violation {
            // Every header here has all its ancestors, so this is a gap of our own and says nothing of the block.
            return Err(StoreError::corrupt(format!("an ancestor at height {height} is not in the index")));
        }
        let mut row = HeaderRow { header: self.header(id)?, total_work: self.index.work(id), status: 0 };
        row.status = Status::INVALID;
        let mut batch = self.store.batch();
        batch.put(Table::Headers, self.index.hash(id), encode(&row));
        batch.delete(Table::Bodies, BodyKey(self.index.height(id), self.index.hash(id)).to_bytes());
        batch.write(Durability::Buffered)?;
        tracing::info!(height = self.index.height(id), hash = %self.index.hash(id), "block_invalid");
        for doomed in self.index.mark_invalid(id) {
            self.waiting.take(doomed);
        }
        Ok(())
    }

    /// The anchors of a block on the branch that `id` is on.
    pub(super) fn anchors(&self, block: &Block, id: Id) -> Anchors {
        let branch = Branch { index: &self.index, end: id };
        Anchors::of(block, |height| anchor_at(&branch, height))
    }

    pub(super) fn check(&self, block: Arc<Block>, anchors: &Anchors) -> Result<Prechecked, BodyFault> {
        let cx = PrecheckContext {
            params: self.params,
            chain_id: &self.chain_id,
            known: &self.known,
            threads: self.options.threads,
        };
        precheck(&cx, block, anchors)
    }
}

/// The block at `height` of a branch, as an anchor.
fn anchor_at(branch: &Branch<'_>, height: u32) -> Option<AnchorBlock> {
    Some(AnchorBlock { hash: branch.hash_at(height)?, prices: branch.prices_at(height)? })
}

//! For how long a branch that is not followed has been the heavier one: what lets its needed lead fade (protocol §7).
//!
//! At each block that is connected, one is counted to the lowest block of every refused branch that is heavier than the
//! new tip. What a candidate has is the sum over itself and its ancestors above the fork. So a block counts for the
//! candidates that contain it and for no others, nothing counts while a branch is behind, and spells add up. The counts
//! are kept in the database, in the batch of the block that was connected.

use std::collections::{BTreeSet, HashMap};

use ledger::hash::BlockHash;

use crate::store::{Batch, Read, Store, StoreError, Table, fixed};

use super::index::{Id, Index};

/// Where counts stand in [`Table::Meta`], before the hash of their block.
const PREFIX: &[u8] = b"lead/";

/// Spans of fading after which a count that is so far below the tip is dropped.
const KEPT_SPANS: u32 = 4;

/// The counts, and which branches the operator was told of.
#[derive(Debug, Default)]
pub(super) struct Leads {
    counts: HashMap<Id, u32>,
    told: BTreeSet<Id>,
}

impl Leads {
    /// Reads the counts back. One whose block is gone from the index counts for nothing.
    pub(super) fn load(store: &Store, index: &Index) -> Result<Self, StoreError> {
        let mut leads = Self::default();
        store.scan_prefix(Table::Meta, PREFIX, &mut |key, value| {
            let hash = BlockHash(fixed("a lead's block", &key[PREFIX.len()..])?);
            let count = u32::from_le_bytes(fixed("a lead", value)?);
            leads.counts.extend(index.find(&hash).map(|id| (id, count)));
            Ok(std::ops::ControlFlow::Continue(()))
        })?;
        Ok(leads)
    }

    /// What counts for a candidate.
    pub(super) fn of(&self, index: &Index, candidate: Id) -> u32 {
        if self.counts.is_empty() {
            return 0;
        }
        let path = index.branch(candidate);
        path.iter().filter_map(|id| self.counts.get(id)).fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Writes one more for each of `heavier`, and drops what is too old: `fades` blocks are one span.
    pub(super) fn stage(&self, batch: &mut Batch<'_>, index: &Index, heavier: &BTreeSet<Id>, tip: u32, fades: u32) {
        for id in heavier {
            let count = self.counts.get(id).map_or(1, |count| count.saturating_add(1));
            batch.put(Table::Meta, row_key(index, *id), count.to_le_bytes());
        }
        for id in self.old(index, tip, fades) {
            batch.delete(Table::Meta, row_key(index, id));
        }
    }

    /// Takes over what was written.
    pub(super) fn note(&mut self, index: &Index, heavier: &BTreeSet<Id>, tip: u32, fades: u32) {
        for id in heavier {
            let count = self.counts.entry(*id).or_default();
            *count = count.saturating_add(1);
        }
        for id in self.old(index, tip, fades) {
            self.counts.remove(&id);
        }
    }

    fn old(&self, index: &Index, tip: u32, fades: u32) -> Vec<Id> {
        let lowest = tip.saturating_sub(fades.saturating_mul(KEPT_SPANS));
        self.counts.keys().copied().filter(|id| index.height(*id) < lowest).collect()
    }

    /// Whether the operator is to be told of the branch that begins with `root`: once since the start.
    pub(super) fn is_news(&mut self, root: Id) -> bool {
        self.told.insert(root)
    }
}

fn row_key(index: &Index, id: Id) -> Vec<u8> {
    [PREFIX, index.hash(id).as_ref()].concat()
}

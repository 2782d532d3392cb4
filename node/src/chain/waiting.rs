//! Checked blocks that wait in memory until they are connected.

use std::collections::BTreeMap;

use super::{index::Id, precheck::Prechecked, types::Arrival};

/// Bodies that wait for an ancestor's body stay checked in memory up to this many bytes; more are checked again when
/// their turn comes. A sync window of 1,024 ordinary blocks fits.
const WAITING_BYTES: usize = 32 << 20;

/// Checked blocks that wait for their turn.
#[derive(Default)]
pub(super) struct Waiting {
    blocks: BTreeMap<Id, Held>,
    bytes: usize,
}

/// A checked block that waits.
struct Held {
    prechecked: Prechecked,
    arrival: Arrival,
}

impl Waiting {
    /// Returns what finds no room any more.
    pub(super) fn put(&mut self, id: Id, prechecked: Prechecked, arrival: Arrival) -> Vec<(Id, Prechecked)> {
        self.take(id);
        self.bytes += prechecked.weight();
        self.blocks.insert(id, Held { prechecked, arrival });
        let mut evicted = Vec::new();
        // What came last is furthest from its turn in a sync from below.
        while self.bytes > WAITING_BYTES {
            let Some(last) = self.blocks.keys().copied().rfind(|other| *other != id) else { break };
            evicted.extend(self.take(last).map(|(prechecked, _)| (last, prechecked)));
        }
        evicted
    }

    pub(super) fn take(&mut self, id: Id) -> Option<(Prechecked, Arrival)> {
        let held = self.blocks.remove(&id)?;
        self.bytes -= held.prechecked.weight();
        Some((held.prechecked, held.arrival))
    }

    pub(super) fn count(&self) -> usize {
        self.blocks.len()
    }
}

//! Versions of the zone, and what lies between them: what a secondary needs to be led from one to the next.
//!
//! A version is a snapshot with a serial that is larger than all before it (decision 0016). [`Versions`] belongs to the
//! writer of a table and decides which snapshots become versions; [`Published`] is what readers see: the newest
//! version, and for each of a bounded number of older ones the entries that have changed since the one before.
//!
//! Guarantee: for two versions of one history, every name that the zone holds differently in them is in a [`Step`]
//! between them, be it by a transaction, a reorganisation, or the height alone.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use ledger::name::Name;

use super::snapshot::{SHARDS, Table, shard_of};
use crate::names::{
    records::RecordSet,
    view::{Entry, NameView as _, Readiness, Version},
};

/// The most blocks that wait for the height to rise above the serial; the next is a version whatever its height.
pub(crate) const MAX_WAITING: u32 = 6;
/// What a step takes besides names and records, in bytes: lengths, heights, pointers.
const TOUCHED_BYTES: usize = 96;

/// How much is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HistoryLimits {
    /// Versions to lead secondaries on from.
    pub versions: usize,
    /// Bytes of names and records.
    pub bytes: usize,
}

/// The newest version and how it came to be.
#[derive(Debug)]
pub struct Published {
    /// The version's snapshot.
    pub table: Arc<Table>,
    /// What led to it, the oldest first.
    pub steps: Vec<Arc<Step>>,
    // Its serial is not given out yet: it was made from nothing, at a height that gives none.
    is_provisional: bool,
}

/// What happened to one version.
#[derive(Debug)]
pub struct Step {
    /// The version before.
    pub from: Version,
    /// Its height.
    pub height: u32,
    /// The names that the next version may hold otherwise, with what they were.
    pub touched: Vec<(Name, Option<Entry>)>,
    // Whether the version was given out by this run, so that its serial means nothing else.
    is_given_out: bool,
    bytes: usize,
}

/// A block of the past and the entries before it, for remembering what happened before a start.
#[derive(Debug)]
pub struct PastBlock {
    /// The hash of the block *before* it.
    pub parent: [u8; 32],
    /// The names that it changed, with what they were.
    pub before: Vec<(Name, Option<Entry>)>,
}

/// Which snapshots become versions. One writer.
pub(super) struct Versions {
    limits: Option<HistoryLimits>,
    last: Option<Version>,
    // Changed since the newest version.
    pending: HashSet<Name>,
    // Height of the newest version.
    height: u32,
    // What the newest snapshot's block is called.
    tip: Option<u64>,
    contents: Contents,
    // Whether no version tells of what the table holds: it was made from nothing, at a height that gives no serial.
    is_provisional: bool,
    // Whether blocks of the newest version have been undone since.
    is_astray: bool,
    // For each shard, a block before which no entry in it changes by height alone.
    wakes: Vec<u32>,
}

/// Where the names come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Contents {
    /// Nobody has put any in.
    New,
    /// All were forgotten, and none have come since.
    Cleared,
    /// Somebody has.
    Filled,
}

impl Published {
    pub(super) fn nothing(table: Arc<Table>) -> Self {
        Self { table, steps: Vec::new(), is_provisional: false }
    }

    /// The newest version's name; `None` if there is nothing that may be fetched.
    pub fn version(&self) -> Option<Version> {
        self.table.facts.version.filter(|_| !self.is_provisional)
    }
}

impl Versions {
    pub(super) fn new() -> Self {
        Self {
            limits: None,
            last: None,
            pending: HashSet::new(),
            height: 0,
            tip: None,
            contents: Contents::New,
            is_provisional: true,
            is_astray: false,
            wakes: vec![u32::MAX; SHARDS],
        }
    }

    pub(super) fn set_limits(&mut self, limits: HistoryLimits, newest: &Table) {
        self.limits = Some(limits);
        self.wake_all(newest);
    }

    pub(super) fn limits(&self) -> Option<HistoryLimits> {
        self.limits
    }

    /// Goes on from a version of an earlier run: serials never return to what was given out.
    pub(super) fn resume(&mut self, last: Version) {
        self.last = Some(last);
    }

    /// Forgets what the table holds, but not the serials.
    pub(super) fn clear(&mut self) {
        self.pending.clear();
        self.contents = Contents::Cleared;
        (self.is_provisional, self.is_astray) = (true, false);
    }

    /// Whether the table is empty only because all was forgotten.
    pub(super) fn is_cleared(&self) -> bool {
        self.contents == Contents::Cleared
    }

    /// Takes note of a snapshot that follows another by a block or its undoing, and gives its version; the snapshot *is*
    /// a version if that is true.
    pub(super) fn follow(&mut self, old: &Table, new: &Table, tag: Option<u64>, names: &[Name]) -> (Version, bool) {
        (self.contents, self.tip) = (Contents::Filled, tag);
        if self.limits.is_some() {
            self.pending.extend(names.iter().cloned());
            self.note_turns(new, names);
        }
        let height = new.facts.height;
        let Some(last) = self.last.filter(|last| height <= last.serial) else {
            return (self.begin(height, height), true);
        };
        if tag.is_some() && tag == last.tag {
            self.is_astray = false;
            return match self.is_provisional {
                true => (self.begin(last.serial, height), true),
                false => (last, false),
            };
        }
        self.is_astray |= height <= old.facts.height;
        let is_ready = new.facts.readiness == Readiness::Ready;
        match is_ready && (self.is_provisional || self.lags_behind(height)) {
            true => (self.begin(last.serial.saturating_add(1), height), true),
            false => (last, false),
        }
    }

    /// The version of a snapshot that was made from nothing. At a height that gives no serial it is provisional until
    /// the table is ready: a node that fetches the chain anew begins far below what it gave out in an earlier life.
    pub(super) fn start(&mut self, new: &Table, tag: Option<u64>) -> Version {
        (self.contents, self.tip) = (Contents::Filled, tag);
        self.pending.clear();
        if self.limits.is_some() {
            self.wake_all(new);
        }
        let height = new.facts.height;
        match self.last {
            Some(last) if tag.is_some() && tag == last.tag => self.begin(last.serial, height),
            Some(last) if height <= last.serial => {
                let serial = last.serial.saturating_add(1);
                if new.facts.readiness == Readiness::Ready {
                    return self.begin(serial, height);
                }
                (self.is_provisional, self.is_astray) = (true, false);
                Version { serial, tag }
            }
            _ => self.begin(height, height),
        }
    }

    /// Whether a ready table rests on blocks that no version tells of, at a height that gives no serial. If so, the
    /// version to make of it.
    pub(super) fn settle(&mut self, height: u32) -> Option<Version> {
        let last = self.last.filter(|_| self.contents == Contents::Filled)?;
        let is_untold = self.is_provisional || self.is_astray || self.lags_behind(height);
        is_untold.then(|| self.begin(last.serial.saturating_add(1), height))
    }

    fn lags_behind(&self, height: u32) -> bool {
        height.saturating_sub(self.height) > MAX_WAITING
    }

    fn begin(&mut self, serial: u32, height: u32) -> Version {
        let version = Version { serial, tag: self.tip };
        (self.last, self.height) = (Some(version), height);
        (self.is_provisional, self.is_astray) = (false, false);
        version
    }

    /// What readers see of `table`, which was made from nothing.
    pub(super) fn publish_first(&self, table: Arc<Table>) -> Published {
        Published { is_provisional: self.is_provisional, ..Published::nothing(table) }
    }

    /// What readers see of `table`, which has become a version.
    pub(super) fn publish(&mut self, before: &Published, table: Arc<Table>) -> Published {
        let Some(limits) = self.limits else { return Published::nothing(table) };
        let mut names = std::mem::take(&mut self.pending);
        self.add_turned(&mut names, before.table.facts.height, &table);
        let Some(from) = before.table.facts.version else { return Published::nothing(table) };
        let touched = names.into_iter().map(|name| {
            let was = before.table.lookup(&name).map(detached);
            (name, was)
        });
        let mut steps = before.steps.clone();
        let step = Step::new(from, before.table.facts.height, touched.collect());
        steps.push(Arc::new(Step { is_given_out: true, ..step }));
        forget(&mut steps, limits);
        Published { table, steps, is_provisional: false }
    }

    /// Puts steps before the only version there is. `blocks` are those below it, the newest first.
    pub(super) fn remember(&self, now: &Published, blocks: impl IntoIterator<Item = PastBlock>) -> Published {
        let &Published { ref table, ref steps, is_provisional } = now;
        let (Some(limits), Some(newest)) = (self.limits, table.facts.version) else {
            return Published { table: table.clone(), steps: steps.clone(), is_provisional };
        };
        let blocks: Vec<PastBlock> = blocks.into_iter().take(limits.versions).collect();
        let tip = now.table.facts.height;
        let mut turned: Vec<HashSet<Name>> = vec![HashSet::new(); blocks.len()];
        for (name, entry) in now.table.shards.iter().flat_map(|shard| shard.entries()) {
            for turn in entry.life.turns() {
                let back = tip.saturating_add(1).checked_sub(turn).map(|back| back as usize);
                if let Some(names) = back.and_then(|back| turned.get_mut(back)) {
                    names.extend(to_name(name));
                }
            }
        }
        // What names were before the blocks looked at so far.
        let mut earlier: HashMap<Name, Option<Entry>> = HashMap::new();
        let steps = blocks.into_iter().zip(turned).enumerate().map(|(back, (block, turned))| {
            let height = tip.saturating_sub(back as u32 + 1);
            let mut touched = block.before;
            earlier.extend(touched.iter().cloned());
            let known: HashSet<&Name> = touched.iter().map(|(name, _)| name).collect();
            let more: Vec<(Name, Option<Entry>)> = turned
                .into_iter()
                .filter(|name| !known.contains(name))
                .map(|name| {
                    let was = earlier.get(&name).cloned();
                    let was = was.unwrap_or_else(|| now.table.lookup(&name).map(detached));
                    (name, was)
                })
                .collect();
            touched.extend(more);
            let from = Version { serial: height.min(newest.serial), tag: Some(tag_of(&block.parent)) };
            Arc::new(Step::new(from, height, touched))
        });
        let mut steps: Vec<Arc<Step>> = steps.collect();
        steps.reverse();
        forget(&mut steps, limits);
        Published { table: now.table.clone(), steps, is_provisional }
    }

    fn wake_all(&mut self, table: &Table) {
        let block = table.facts.height.saturating_add(1);
        self.wakes = (0..SHARDS).map(|shard| wake(table, shard, block)).collect();
    }

    /// Lowers the wakes of shards whose entries now change earlier.
    fn note_turns(&mut self, new: &Table, names: &[Name]) {
        let block = new.facts.height.saturating_add(1);
        for name in names {
            let shard = shard_of(new.hash(name.as_bytes()));
            let turn = new.find(name.as_bytes()).and_then(|entry| entry.life.next_turn(block));
            self.wakes[shard] = self.wakes[shard].min(turn.unwrap_or(u32::MAX));
        }
    }

    /// Adds the names that height alone changes between the tips `from` and that of `table`.
    fn add_turned(&mut self, names: &mut HashSet<Name>, from: u32, table: &Table) {
        let (from, to) = (from.saturating_add(1), table.facts.height.saturating_add(1));
        if from == to {
            return;
        }
        for shard in 0..SHARDS {
            if to > from && self.wakes[shard] > to {
                continue;
            }
            let (above, upto) = (from.min(to), from.max(to));
            let turned = table.shards[shard].entries().filter(|(_, entry)| entry.life.turns_within(above, upto));
            names.extend(turned.filter_map(|(name, _)| to_name(name)));
            self.wakes[shard] = wake(table, shard, to);
        }
    }
}

impl Step {
    /// Whether a secondary that names a version by its serial alone can mean this one: it was given out by this run. What
    /// is remembered from before may be of another branch than what was given out then.
    pub(crate) fn has_serial(&self, serial: u32) -> bool {
        self.is_given_out && self.from.serial == serial
    }

    fn new(from: Version, height: u32, touched: Vec<(Name, Option<Entry>)>) -> Self {
        let size = |(name, was): &(Name, Option<Entry>)| {
            let records = was.as_ref().map_or(0, |entry| entry.records.as_bytes().len());
            TOUCHED_BYTES + name.as_bytes().len() + records
        };
        let bytes = touched.iter().map(size).sum();
        Self { from, height, touched, is_given_out: false, bytes }
    }
}

/// Drops the oldest until the limits are kept.
fn forget(steps: &mut Vec<Arc<Step>>, limits: HistoryLimits) {
    let (mut bytes, mut kept) = (0, 0);
    for step in steps.iter().rev().take(limits.versions) {
        bytes += step.bytes;
        if bytes > limits.bytes {
            break;
        }
        kept += 1;
    }
    steps.drain(..steps.len() - kept);
}

/// The first block above `block` with which an entry of a shard changes by itself.
fn wake(table: &Table, shard: usize, block: u32) -> u32 {
    table.shards[shard].entries().filter_map(|(_, entry)| entry.life.next_turn(block)).min().unwrap_or(u32::MAX)
}

/// A name out of the table, where it came from a [`Name`].
fn to_name(bytes: &[u8]) -> Option<Name> {
    std::str::from_utf8(bytes).ok().and_then(|text| Name::new(text).ok())
}

/// A copy that does not keep a whole shard in memory.
fn detached(entry: Entry) -> Entry {
    Entry { records: RecordSet::from_bytes(Bytes::copy_from_slice(entry.records.as_bytes())), ..entry }
}

/// A block hash, short enough for a label.
pub(super) fn tag_of(hash: &[u8; 32]) -> u64 {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(hash).iter().take(8).fold(0, |tag, &byte| tag << 8 | u64::from(byte))
}

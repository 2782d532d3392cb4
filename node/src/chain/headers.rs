//! Taking headers in: link each to its parent, prove their work on all cores, keep them.

use ledger::{
    block::Header,
    hash::BlockHash,
    history::{self, Leaf, Peaks},
    price::Prices,
    rules::{
        Violation,
        header::{HeaderContext, HeaderError, Linked, claimed_work, link},
    },
};

use crate::store::{Durability, HeaderRow, Rows, StoreError, Table};

use super::{
    ChainCore, HeadersOutcome, HeadersReport,
    index::{Entry, Id, Status},
    precheck::with_scratch,
    stats::add,
};

/// How many headers have their work proved together. Small at first, so that whoever sends headers without work costs
/// one evaluation and not thousands; then as many as keep both cores busy for some 40 ms.
const BATCHES: [usize; 4] = [1, 16, 64, 256];

/// Peaks of unconnected headers are remembered at every so many heights: a bound on the walk to the next known ones.
const PEAKS_EVERY: u32 = 64;

/// Headers linked but not proved yet, and how far a run has come.
struct Run {
    linked: Vec<Linked>,
    batch: usize,
    last: Option<HeaderContext>,
    report: HeadersReport,
}

impl ChainCore {
    /// Judges a run of headers, each the parent of the next, at time `now`, and keeps the valid ones.
    pub fn accept_headers(&mut self, headers: &[Header], now: u64) -> Result<HeadersReport, StoreError> {
        let report = HeadersReport { accepted: 0, known: 0, best: self.best_header(), outcome: HeadersOutcome::Ok };
        let mut run = Run { linked: Vec::new(), batch: 0, last: None, report };
        for header in headers {
            if let Some(end) = self.take_header(header, now, &mut run)? {
                self.prove(&mut run)?;
                if run.report.outcome == HeadersOutcome::Ok {
                    run.report.outcome = end;
                }
                break;
            }
            if run.linked.len() >= BATCHES[run.batch] {
                self.prove(&mut run)?;
            }
            if run.report.outcome != HeadersOutcome::Ok {
                break;
            }
        }
        self.prove(&mut run)?;
        run.report.best = self.best_header();
        add(&self.stats.headers_accepted, run.report.accepted as u64);
        add(&self.stats.headers_invalid, u64::from(matches!(run.report.outcome, HeadersOutcome::Invalid(_))));
        Ok(run.report)
    }

    /// Height, hash and work of the best header.
    pub fn best_header(&self) -> (u32, BlockHash, u128) {
        let best = self.index.best();
        (self.index.height(best), self.index.hash(best), self.index.work(best))
    }

    /// Links one header; returns how the run ends if it cannot go on.
    fn take_header(&mut self, header: &Header, now: u64, run: &mut Run) -> Result<Option<HeadersOutcome>, StoreError> {
        let hash = header.hash();
        if let Some(id) = self.index.find(&hash) {
            if self.index.is_invalid(id) {
                return Ok(Some(HeadersOutcome::Invalid(Violation::KnownInvalid { hash })));
            }
            run.report.known += 1;
            return Ok(None);
        }
        let parent = match run.last.take().filter(|last| last.hash() == header.core.prev) {
            Some(parent) => parent,
            None => match self.index.find(&header.core.prev) {
                None => return Ok(Some(HeadersOutcome::UnknownParent(header.core.prev))),
                Some(id) if self.index.is_invalid(id) => {
                    return Ok(Some(HeadersOutcome::InvalidParent(header.core.prev)));
                }
                Some(id) => self.context(id)?,
            },
        };
        match link(self.params, header, &parent, now) {
            Ok(linked) => {
                run.last = Some(linked.unproved().clone());
                run.linked.push(linked);
                Ok(None)
            }
            Err(HeaderError::Deferred { until }) => Ok(Some(HeadersOutcome::Deferred { until })),
            Err(HeaderError::Violation(violation)) => Ok(Some(HeadersOutcome::Invalid(violation))),
        }
    }

    /// Proves the work of what is linked so far and keeps what has it, up to the first that has not.
    fn prove(&mut self, run: &mut Run) -> Result<(), StoreError> {
        let linked = std::mem::take(&mut run.linked);
        run.batch = (run.batch + 1).min(BATCHES.len() - 1);
        let mut proved = Vec::with_capacity(linked.len());
        for result in self.prove_all(linked) {
            match result {
                Ok(context) => proved.push(context),
                Err(violation) => {
                    run.report.outcome = HeadersOutcome::Invalid(violation);
                    run.last = None;
                    break;
                }
            }
        }
        run.report.accepted += proved.len();
        self.keep(proved)
    }

    fn prove_all(&self, linked: Vec<Linked>) -> Vec<Result<HeaderContext, Violation>> {
        let one = |linked: Linked| with_scratch(|scratch| linked.prove(self.params, &self.chain_id, scratch));
        let threads = self.options.threads.min(linked.len() / 8);
        if threads <= 1 {
            return linked.into_iter().map(one).collect();
        }
        let share = linked.len().div_ceil(threads);
        let (mut rest, mut parts) = (linked, Vec::new());
        while !rest.is_empty() {
            let tail = rest.split_off(rest.len().min(share));
            parts.push(std::mem::replace(&mut rest, tail));
        }
        let (params, chain_id) = (self.params, &self.chain_id);
        std::thread::scope(|scope| {
            let prove = |part: Vec<Linked>| {
                let one = move |linked: Linked| with_scratch(|scratch| linked.prove(params, chain_id, scratch));
                scope.spawn(move || part.into_iter().map(one).collect::<Vec<_>>())
            };
            let running: Vec<_> = parts.into_iter().map(prove).collect();
            running.into_iter().flat_map(|thread| thread.join().expect("proving does not panic")).collect()
        })
    }

    /// Writes new headers and adds them to the index.
    fn keep(&mut self, contexts: Vec<HeaderContext>) -> Result<(), StoreError> {
        if contexts.is_empty() {
            return Ok(());
        }
        let mut batch = self.store.batch();
        for context in &contexts {
            let row = HeaderRow { header: *context.header(), total_work: context.total_work(), status: 0 };
            batch.put(Table::Headers, context.hash(), crate::store::row(&row));
        }
        // A header lost in a power failure is asked for again, so nothing waits for the disk here.
        batch.write(Durability::Buffered)?;
        for context in contexts {
            let id = self.index.insert(entry(context.header(), context.hash(), context.total_work(), 0));
            let id = id.expect("the run began at a known parent, and each header follows the one before");
            if context.height().is_multiple_of(PEAKS_EVERY) {
                self.peaks.insert(id, context.peaks().clone());
            }
            self.contexts.put(id, context, 1);
            self.consider(id)?;
        }
        Ok(())
    }

    /// A known header with what its children need.
    pub(super) fn context(&mut self, id: Id) -> Result<HeaderContext, StoreError> {
        if let Some(context) = self.contexts.get(&id) {
            return Ok(context);
        }
        let peaks = self.peaks_before(id)?;
        let header = self.header(id)?;
        let parent_work = self.index.parent(id).map_or(0, |parent| self.index.work(parent));
        let context = HeaderContext::stored(header, parent_work, &peaks);
        self.contexts.put(id, context.clone(), 1);
        Ok(context)
    }

    /// The header MMR over the ancestors of `id`: from the nodes of the connected chain, and above it from the nearest
    /// peaks that are remembered.
    pub(super) fn peaks_before(&self, id: Id) -> Result<Peaks, StoreError> {
        let (mut above, mut at) = (Vec::new(), id);
        let mut peaks = loop {
            let Some(parent) = self.index.parent(at) else { break Peaks::default() };
            if self.index.is_active(parent) {
                break self.connected_peaks(self.index.height(parent) + 1)?;
            }
            if let Some(peaks) = self.peaks.get(&parent) {
                break peaks.clone();
            }
            above.push(parent);
            at = parent;
        };
        for ancestor in above.into_iter().rev() {
            let leaf = mmr_leaf(&self.header(ancestor)?, self.index.hash(ancestor));
            peaks.append(&leaf).map_err(StoreError::corrupt)?;
        }
        Ok(peaks)
    }

    fn connected_peaks(&self, count: u32) -> Result<Peaks, StoreError> {
        history::peaks_at(count, |position| {
            let missing = || StoreError::corrupt(format!("node {position:?} of the history is missing"));
            self.store.mmr_node(position)?.ok_or_else(missing)
        })
    }

    pub(super) fn header(&self, id: Id) -> Result<Header, StoreError> {
        let hash = self.index.hash(id);
        let row = self.store.header_row(&hash)?;
        Ok(row.ok_or_else(|| StoreError::corrupt(format!("header {hash} is missing")))?.header)
    }

    /// Forgets peaks of headers that are connected now: the database has their nodes.
    pub(super) fn forget_connected_peaks(&mut self, id: Id) {
        self.peaks.remove(&id);
    }
}

/// What the index is told of a header.
pub(super) fn entry(header: &Header, hash: BlockHash, work: u128, status: u8) -> Entry {
    Entry {
        hash,
        prev: header.core.prev,
        height: header.core.height,
        work,
        prices: Prices::from(&header.ext),
        status: Status::from_row(status),
    }
}

/// What the header MMR commits to for a header.
pub(super) fn mmr_leaf(header: &Header, block_hash: BlockHash) -> Leaf {
    let core = &header.core;
    let work = claimed_work(core);
    Leaf { block_hash, height: core.height, time: core.time, vtime: core.vtime, bits: core.bits, work }
}

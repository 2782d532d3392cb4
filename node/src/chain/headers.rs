//! Taking headers in: link each to its parent, prove their work on all cores, keep them.

use ledger::{
    block::{Header, HeaderBatch},
    fork::{RELAY_BLOCKS, STORE_BLOCKS},
    hash::BlockHash,
    history::{self, Peaks},
    rules::{
        Violation,
        header::{HeaderContext, HeaderError, Linked, check, claimed_work, history_leaf, link},
    },
};

use crate::{
    headers::{batches, prove_all, with_scratch},
    store::{Durability, HeaderRow, Rows, StoreError, Table},
};

use super::{
    ChainCore, HeadersOutcome, HeadersReport,
    index::{Entry, Id},
    stats::add,
};

/// A block with less than this part of the work of the one that it competes with is not taken for an honest rival. Relief
/// doubles in steps, and what is found at the same time is no more than a few of them apart.
const CHEAPER: u128 = 8;

/// Peaks of unconnected headers are remembered at every so many heights: a bound on the walk to the next known ones.
const PEAKS_EVERY: u32 = 64;

/// A run of as many headers as an answer can hold may have more behind it.
const FULL_BATCH: usize = HeaderBatch::MAX_HEADERS;

/// How far ahead of the clock a header may be and still have its work proved before it is put off. What is put off is
/// kept somewhere until its time comes, so it must have cost its maker something; and a clock that is off by more than
/// this is no clock to wait for.
pub const WORTH_WAITING_SECONDS: u64 = 600;

/// How far a run of headers has come.
struct Run {
    /// Linked, and not proved yet.
    linked: Vec<Linked>,
    /// Proved, and not stored before their chain is seen to have enough work.
    proved: Vec<HeaderContext>,
    /// The work that is enough.
    enough: u128,
    last: Option<HeaderContext>,
    /// Its first parent is not stored, so nothing of it can be.
    is_walk: bool,
    report: HeadersReport,
}

impl ChainCore {
    /// Judges a run of headers that was asked for, each the parent of the next, at time `now`, and keeps the valid
    /// ones, if their chain has enough work to be stored (`STORE_BLOCKS`).
    pub fn accept_headers(&mut self, headers: &[Header], now: u64) -> Result<HeadersReport, StoreError> {
        let report = HeadersReport { accepted: 0, known: 0, best: self.best_header(), outcome: HeadersOutcome::Ok };
        if self.is_walked_again(headers) {
            let is_full = headers.len() >= FULL_BATCH;
            let outcome = if is_full { HeadersOutcome::Walked } else { HeadersOutcome::LowWork };
            return Ok(HeadersReport { outcome, ..report });
        }
        let mut run = Run { linked: Vec::new(), proved: Vec::new(), enough: 0, last: None, is_walk: false, report };
        let mut end = HeadersOutcome::Ok;
        for header in headers {
            if let Some(why) = self.take_header(header, now, &mut run)? {
                end = why;
                break;
            }
        }
        self.judge_run(headers, &mut run, end)?;
        if run.report.accepted > 0 {
            let index = &self.index;
            self.presync.forget(|hash| index.find(hash).is_some());
        }
        run.report.best = self.best_header();
        add(&self.stats.headers_accepted, run.report.accepted as u64);
        add(&self.stats.headers_invalid, u64::from(matches!(run.report.outcome, HeadersOutcome::Invalid(_))));
        Ok(run.report)
    }

    /// Whether these headers were walked before. What they hang on need not be proved again for whoever sends them too.
    fn is_walked_again(&self, headers: &[Header]) -> bool {
        let is_walked = headers.last().is_some_and(|last| self.presync.has_walked(&last.hash()));
        is_walked && headers.windows(2).all(|pair| pair[1].core.prev == pair[0].hash())
    }

    /// Proves a run that is linked as far as it goes, and keeps or notes it. How much work it claims is known by now, so
    /// what would not be kept anyway costs no proof.
    fn judge_run(&mut self, headers: &[Header], run: &mut Run, end: HeadersOutcome) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (headers.first(), run.linked.last()) else {
            run.report.outcome = end;
            return Ok(());
        };
        let needed = self.work_needed(&first.core.prev, &run.linked);
        // What was walked before, and had enough work in the end, is stored now.
        let is_second_walk = headers.last().is_some_and(|last| self.presync.vouches_for(&last.hash()));
        run.enough = if is_second_walk { 0 } else { needed };
        // The end of a chain counts whatever its length, if it is the end of what was walked.
        let may_go_on = headers.len() >= FULL_BATCH || self.presync.context(&first.core.prev).is_some();
        if last.unproved().total_work() < run.enough && !may_go_on {
            run.report.outcome = match end {
                HeadersOutcome::Invalid(_) | HeadersOutcome::InvalidParent(_) => end,
                _ => HeadersOutcome::LowWork,
            };
            return Ok(());
        }
        self.prove(run)?;
        if run.report.outcome == HeadersOutcome::Ok {
            run.report.outcome = end;
        }
        if let Some(last) = run.proved.pop().filter(|_| run.report.outcome == HeadersOutcome::Ok) {
            run.report.outcome = self.walk(headers, first.core.prev, last, needed);
        }
        Ok(())
    }

    /// The work that the chain of a run needs to be stored: it must be near the tip's, and if some of it is much cheaper
    /// than the blocks that it competes with, more than the tip's.
    fn work_needed(&self, parent: &BlockHash, linked: &[Linked]) -> u128 {
        let near = self.work_near_tip(STORE_BLOCKS).max(self.presync.enough_after(parent));
        let tip = self.index.tip();
        let is_eased = |linked: &Linked| self.is_cheap_rival(linked.unproved().header());
        if linked.iter().any(is_eased) { near.max(self.index.work(tip).saturating_add(1)) } else { near }
    }

    /// Whether a header has less than an eighth of the work of the block of the active chain at its height. Stall relief
    /// makes a header easy whose time is long after its parent's, and where a fork begins its maker chooses: without
    /// this, siblings of old blocks would cost next to nothing. Two that are found at once after a real stall are both
    /// easy.
    fn is_cheap_rival(&self, header: &Header) -> bool {
        let rival = self.index.active_at(header.core.height);
        if header.core.prev == self.index.hash(self.index.tip()) {
            return false;
        }
        let parent_of = |id| self.index.parent(id).map_or(0, |parent| self.index.work(parent));
        let usual = rival.map_or_else(|| self.average_work(), |id| self.index.work(id) - parent_of(id));
        claimed_work(&header.core).saturating_mul(CHEAPER) < usual
    }

    /// Notes the end of a run that is not stored, if there may be more of it.
    fn walk(&mut self, headers: &[Header], parent: BlockHash, last: HeaderContext, enough: u128) -> HeadersOutcome {
        if self.presync.go_on(parent, last, enough) {
            HeadersOutcome::WalkedEnough
        } else if headers.len() >= FULL_BATCH {
            HeadersOutcome::Walked
        } else {
            HeadersOutcome::LowWork
        }
    }

    /// The same for one header that a peer announced: it is looked at only if it is near the tip (protocol §7).
    pub fn accept_announced(&mut self, header: &Header, now: u64) -> Result<HeadersReport, StoreError> {
        if self.is_far_from_tip(header) {
            let (best, outcome) = (self.best_header(), HeadersOutcome::FarFromTip);
            return Ok(HeadersReport { accepted: 0, known: 0, best, outcome });
        }
        self.accept_headers(std::slice::from_ref(header), now)
    }

    /// Whether a header whose parent is known is none to be relayed or taken unasked: too little work by what its bits
    /// claim, much less than the block that it competes with, or a fork below what is kept. What its bits claim is judged afterwards.
    pub(super) fn is_far_from_tip(&self, header: &Header) -> bool {
        let Some(parent) = self.index.find(&header.core.prev) else { return false };
        let work = self.index.work(parent).saturating_add(claimed_work(&header.core));
        let is_cheap = work <= self.index.work(self.index.tip()) && self.is_cheap_rival(header);
        let fork_height = self.index.height(self.index.fork_point(parent));
        is_cheap || work < self.work_near_tip(RELAY_BLOCKS) || fork_height + 1 < self.kept_from
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
                None => match self.presync.context(&header.core.prev) {
                    None => return Ok(Some(HeadersOutcome::UnknownParent(header.core.prev))),
                    Some(last) => {
                        run.is_walk = true;
                        last.clone()
                    }
                },
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
            Err(HeaderError::Deferred { until }) => Ok(Some(self.put_off(header, &parent, until, now))),
            Err(HeaderError::Violation(violation)) => Ok(Some(HeadersOutcome::Invalid(violation))),
        }
    }

    /// A header of the future, which somebody will keep until its time comes: only if it is a header at all.
    fn put_off(&self, header: &Header, parent: &HeaderContext, until: u64, now: u64) -> HeadersOutcome {
        if until.saturating_sub(now) > WORTH_WAITING_SECONDS {
            return HeadersOutcome::Deferred { until };
        }
        let work = parent.total_work().saturating_add(claimed_work(&header.core));
        if work <= self.index.work(self.index.tip()) && self.is_cheap_rival(header) {
            return HeadersOutcome::LowWork;
        }
        let then = header.core.time;
        match with_scratch(|scratch| check(self.params, &self.chain_id, header, parent, then, scratch)) {
            Ok(_) | Err(HeaderError::Deferred { .. }) => HeadersOutcome::Deferred { until },
            Err(HeaderError::Violation(violation)) => HeadersOutcome::Invalid(violation),
        }
    }

    /// Proves the work of what is linked, up to the first that has not, and keeps it once there is enough.
    fn prove(&mut self, run: &mut Run) -> Result<(), StoreError> {
        for batch in batches(std::mem::take(&mut run.linked)) {
            if run.report.outcome != HeadersOutcome::Ok {
                break;
            }
            self.prove_batch(batch, run)?;
        }
        Ok(())
    }

    fn prove_batch(&mut self, linked: Vec<Linked>, run: &mut Run) -> Result<(), StoreError> {
        for result in prove_all(self.params, &self.chain_id, linked, self.options.threads) {
            match result {
                Ok(context) => run.proved.push(context),
                Err(violation) => {
                    run.report.outcome = HeadersOutcome::Invalid(violation);
                    break;
                }
            }
        }
        if run.is_walk || run.proved.last().is_none_or(|last| last.total_work() < run.enough) {
            return Ok(());
        }
        run.report.accepted += run.proved.len();
        self.keep(std::mem::take(&mut run.proved))
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
            let id = self.index.insert(Entry::of(context.header(), context.hash(), context.total_work(), 0));
            let id = id.expect("the run began at a known parent, and each header follows the one before");
            if context.height().is_multiple_of(PEAKS_EVERY) {
                self.peaks.insert(id, context.peaks().clone());
            }
            self.contexts.put(id, context, 1);
            self.index.consider(id);
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
            let leaf = history_leaf(&self.header(ancestor)?.core, self.index.hash(ancestor));
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

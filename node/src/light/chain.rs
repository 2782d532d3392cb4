//! A chain of headers that are checked as they come: where one peer leads.
//!
//! Only the last headers are kept whole: a fork that starts further back is refused, so that memory does not grow with
//! the age of the chain (32 bytes per block remain, to say what is known).

use std::collections::VecDeque;

use ledger::{
    block::Header,
    hash::{BlockHash, Hash},
    params::Params,
    pow::Scratch,
    rules::{
        Violation,
        header::{HeaderContext, HeaderError, Linked, link},
    },
};

/// Headers kept whole: deeper forks than this need a full node's judgement anyway (protocol §7).
const KEPT: usize = 1_024;

/// Why headers were not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainProblem {
    /// They do not follow anything known, or fork off too far back.
    #[error("the headers do not connect to the chain known so far")]
    Unconnected,
    /// One of them breaks a rule.
    #[error("a header breaks a rule: {0}")]
    Invalid(#[from] Violation),
}

/// The chain that one peer shows. Which peer's is the heaviest is for the caller to compare.
#[derive(Clone, Debug)]
pub struct Chain {
    params: &'static Params,
    chain_id: Hash,
    /// Hashes from the start up to the tip.
    hashes: Vec<BlockHash>,
    /// The last headers, oldest first; never empty.
    kept: VecDeque<HeaderContext>,
}

impl Chain {
    /// A chain that begins with a header that is trusted.
    pub fn new(params: &'static Params, start: HeaderContext) -> Self {
        Self { params, chain_id: params.chain_id(), hashes: vec![start.hash()], kept: VecDeque::from([start]) }
    }

    /// The last header.
    pub fn tip(&self) -> &HeaderContext {
        self.kept.back().expect("the start is never dropped without a successor")
    }

    /// Hashes for a header question: ten single steps back, then doubling ones, then the start.
    pub fn locator(&self) -> Vec<BlockHash> {
        let (mut index, mut step, mut locator) = (self.hashes.len() - 1, 1, Vec::new());
        while index > 0 && locator.len() < 60 {
            locator.push(self.hashes[index]);
            step = if locator.len() < 10 { 1 } else { step * 2 };
            index = index.saturating_sub(step);
        }
        locator.push(self.hashes[0]);
        locator
    }

    /// The kept header with this hash.
    pub fn find(&self, hash: &BlockHash) -> Option<&HeaderContext> {
        self.kept.iter().rev().find(|context| context.hash() == *hash)
    }

    /// Headers above `height` that are kept, oldest first.
    pub fn after(&self, height: u32) -> Vec<Header> {
        self.kept.iter().filter(|context| context.height() > height).map(|context| *context.header()).collect()
    }

    /// Checks a run of headers and follows it, also onto a branch. Headers from the future end the run without blame.
    /// Returns how many headers were new.
    pub fn extend(&mut self, headers: &[Header], now: u64) -> Result<usize, ChainProblem> {
        let new: Vec<_> = headers.iter().skip_while(|header| self.find(&header.hash()).is_some()).copied().collect();
        let Some(first) = new.first() else { return Ok(0) };
        let parent = self.find(&first.core.prev).ok_or(ChainProblem::Unconnected)?;
        let branch = self.check(&new, parent.clone(), now)?;
        let count = branch.len();
        self.adopt(branch);
        Ok(count)
    }

    /// Links headers one after the other, then proves their work on all cores.
    fn check(&self, headers: &[Header], parent: HeaderContext, now: u64) -> Result<Vec<HeaderContext>, ChainProblem> {
        let (mut parent, mut linked) = (parent, Vec::with_capacity(headers.len()));
        for header in headers {
            if header.core.prev != parent.hash() {
                return Err(ChainProblem::Unconnected);
            }
            match link(self.params, header, &parent, now) {
                Ok(next) => {
                    parent = next.unproved().clone();
                    linked.push(next);
                }
                Err(HeaderError::Deferred { .. }) => break,
                Err(HeaderError::Violation(violation)) => return Err(violation.into()),
            }
        }
        Ok(self.prove(linked)?)
    }

    fn prove(&self, linked: Vec<Linked>) -> Result<Vec<HeaderContext>, Violation> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let share = linked.len().div_ceil(cores).max(1);
        let mut rest = linked.into_iter();
        let shares: Vec<Vec<Linked>> = (0..cores).map(|_| rest.by_ref().take(share).collect()).collect();
        let prove = |share: Vec<Linked>| -> Result<Vec<_>, Violation> {
            let mut scratch = Scratch::default();
            share.into_iter().map(|linked| linked.prove(self.params, &self.chain_id, &mut scratch)).collect()
        };
        let proved = std::thread::scope(|scope| {
            let workers: Vec<_> = shares.into_iter().map(|share| scope.spawn(|| prove(share))).collect();
            workers.into_iter().map(|worker| worker.join().expect("the rules do not panic")).collect::<Vec<_>>()
        });
        proved.into_iter().try_fold(Vec::new(), |mut all, share| {
            all.extend(share?);
            Ok(all)
        })
    }

    fn adopt(&mut self, branch: Vec<HeaderContext>) {
        let Some(first) = branch.first() else { return };
        let fork = first.header().core.prev;
        while self.tip().hash() != fork && self.kept.len() > 1 {
            self.kept.pop_back();
            self.hashes.pop();
        }
        self.hashes.extend(branch.iter().map(HeaderContext::hash));
        self.kept.extend(branch);
        while self.kept.len() > KEPT {
            self.kept.pop_front();
        }
    }
}

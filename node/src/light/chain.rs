//! A chain of headers that are checked as they come: where one peer leads.
//!
//! Only the last headers are kept whole: a fork that starts further back is refused, so that memory does not grow with
//! the age of the chain (32 bytes per block remain, to say what is known).

use std::collections::VecDeque;

use ledger::{
    block::Header,
    hash::{BlockHash, Hash},
    params::Params,
    rules::{
        Violation,
        header::{HeaderContext, HeaderError, Linked, link},
    },
};

use crate::headers::{batches, prove_all, thinned};

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
        thinned(self.hashes.len() as u32 - 1, 0).map(|index| self.hashes[index as usize]).collect()
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
        let proved = batches(linked).flat_map(|batch| prove_all(self.params, &self.chain_id, batch, cores));
        proved.collect()
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

#[cfg(test)]
mod tests {
    use ledger::testing::{TestChain, tiny_params};

    use super::*;

    /// A time after every block of these tests.
    const LATE: u64 = 4_000_000_000;

    /// A chain of empty blocks, each `seconds` after the one before.
    fn grown(from: &TestChain, blocks: u32, seconds: u64) -> TestChain {
        let mut chain = from.clone();
        for _ in 0..blocks {
            let block = chain.build_at(chain.tip().header().core.time + seconds, Vec::new()).expect("valid");
            chain.connect(&block).expect("valid");
        }
        chain
    }

    fn headers(chain: &TestChain) -> Vec<Header> {
        chain.blocks().map(|block| block.header).collect()
    }

    fn start() -> Chain {
        Chain::new(tiny_params(), HeaderContext::genesis(tiny_params()))
    }

    fn following(chain: &TestChain) -> Chain {
        let mut shown = start();
        assert_eq!(shown.extend(&headers(chain), LATE), Ok(headers(chain).len()));
        shown
    }

    /// What a peer on `theirs` sends to this locator.
    fn answer(theirs: &TestChain, locator: &[BlockHash]) -> Vec<Header> {
        let all = headers(theirs);
        let known = locator.iter().find_map(|hash| all.iter().position(|header| header.hash() == *hash));
        all[known.map_or(0, |index| index + 1)..].to_vec()
    }

    #[test]
    fn a_fork_is_followed_from_where_it_left() {
        let common = grown(&TestChain::new(tiny_params()), 20, 2);
        let (one, other) = (grown(&common, 5, 2), grown(&common, 8, 3));
        let mut chain = following(&one);
        let sent = answer(&other, &chain.locator());
        assert!(sent.len() < 20, "the locator names a block shortly before the fork");
        assert_eq!(chain.extend(&sent, LATE), Ok(8));
        assert_eq!((chain.tip().hash(), chain.tip().total_work()), (other.tip().hash(), other.tip().total_work()));
        assert_eq!(chain.after(20), headers(&other)[20..], "nothing of the first branch is left");
        assert!(one.tip().total_work() < chain.tip().total_work());
        assert!(chain.find(&one.tip().hash()).is_none() && chain.find(&common.tip().hash()).is_some());
        assert_eq!(chain.extend(&sent, LATE), Ok(0), "what is known is not new");
    }

    /// A lie costs the peer that tells it its own chain; the one known so far stays as it is.
    fn check_lie(lie: impl FnOnce(&mut Vec<Header>), expected: impl FnOnce(&ChainProblem) -> bool) {
        let honest = grown(&TestChain::new(tiny_params()), 6, 2);
        let mut chain = following(&honest);
        let mut sent = headers(&grown(&honest, 6, 2))[6..].to_vec();
        lie(&mut sent);
        let problem = chain.extend(&sent, LATE).expect_err("a lie");
        assert!(expected(&problem), "{problem:?}");
        assert_eq!((chain.tip().hash(), chain.after(0)), (honest.tip().hash(), headers(&honest)));
        assert_eq!(
            chain.extend(&headers(&grown(&honest, 2, 2)), LATE),
            Ok(2),
            "and honest headers are taken as before"
        );
    }

    #[test]
    fn lies_do_not_hinder_the_honest() {
        let is_work = |problem: &ChainProblem| *problem == ChainProblem::Invalid(Violation::HeaderWork);
        // The last of many: all before it are sound, and none is taken.
        check_lie(|sent| sent[5].core.nonce = u64::MAX, is_work);
        let is_gap = |problem: &ChainProblem| *problem == ChainProblem::Unconnected;
        check_lie(|sent| sent.rotate_left(1), is_gap);
        check_lie(|sent| sent[2..].rotate_left(1), is_gap);
        // Every header claims what it likes, but difficulty and time follow from the parent.
        check_lie(|sent| sent[0].core.bits -= 1, |problem| matches!(problem, ChainProblem::Invalid(_)));
        check_lie(|sent| sent[0].core.time = 0, |problem| matches!(problem, ChainProblem::Invalid(_)));
        // Another state makes another header, whose successor the next one is not. (The wire form has no `ext_root` that
        // could disagree with the extension.)
        let forge = |sent: &mut Vec<Header>| {
            sent[0].ext.state_root.0[0] ^= 1;
            sent[0].core.ext_root = sent[0].ext.root();
        };
        check_lie(forge, is_gap);
    }

    #[test]
    fn headers_from_the_future_end_the_run_without_blame() {
        let far = grown(&TestChain::new(tiny_params()), 40, 100);
        let mut chain = start();
        let now = headers(&far)[19].core.time;
        let taken = chain.extend(&headers(&far), now).expect("nobody's fault");
        assert!((20..40).contains(&taken), "{taken}");
        assert_eq!(chain.extend(&headers(&far)[taken..], LATE), Ok(40 - taken), "they are taken when their time comes");
    }

    #[test]
    fn a_fork_from_before_what_is_kept_is_refused() {
        let common = grown(&TestChain::new(tiny_params()), 2, 2);
        let long = grown(&common, KEPT as u32 + 10, 2);
        let mut chain = following(&long);
        let other = headers(&grown(&common, 5, 3));
        assert_eq!(chain.extend(&other[2..], LATE), Err(ChainProblem::Unconnected));
        assert_eq!(chain.tip().hash(), long.tip().hash());
    }
}

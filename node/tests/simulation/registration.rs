//! What a wallet and its node do to register a name, until it is registered.

use std::sync::Arc;

use ledger::{
    name::Name,
    params::Params,
    state::commit_key,
    testing::{TestChain, owner, records},
    transaction::{Body, Transaction},
};

use super::desk::Offered;

/// How long it waits before it pays an eighth more for a commit that no block took.
const PATIENCE_MS: u64 = 8_000;

/// A registration.
pub struct Registration {
    pub host: usize,
    pub name: Name,
    pub seed: u64,
    commit: Option<(Arc<Offered>, u64)>,
    /// Work for the commit over the required one, in 1/256.
    ratio: u64,
    /// Anchored at genesis, so one signature does for all branches and times.
    reveal: Option<Arc<Offered>>,
}

impl Registration {
    pub fn new(host: usize, name: Name, seed: u64) -> Self {
        Self { host, name, seed, commit: None, ratio: 256, reveal: None }
    }

    /// What is to be sent now, as the chain stands.
    pub fn next(&mut self, chain: &TestChain, now_ms: u64) -> Option<Arc<Offered>> {
        if chain.state(&self.name).is_some_and(|state| state.owner == owner(self.seed)) {
            return None;
        }
        let body = chain.maker().commit_body(&self.name, self.seed);
        let Body::Commit { class, commit_hash } = &body else { unreachable!("it is a commit's") };
        if chain.leaves().contains_key(&commit_key(*class, commit_hash)) {
            let make = || Arc::new(chain.maker().reveal(&self.name, self.seed, records("simulated")).into());
            return Some(self.reveal.get_or_insert_with(make).clone());
        }
        let is_stale = |(tx, made): &(Arc<Offered>, u64)| {
            now_ms - made > PATIENCE_MS || !is_anchored(chain.params(), chain, &tx.tx)
        };
        if self.commit.as_ref().is_none_or(is_stale) {
            let tx = chain.maker().make_worth(body, self.seed, self.ratio);
            self.ratio += self.ratio.div_ceil(8);
            self.commit = Some((Arc::new(tx.into()), now_ms));
        }
        self.commit.as_ref().map(|(tx, _)| tx.clone())
    }
}

fn is_anchored(params: &Params, chain: &TestChain, tx: &Transaction) -> bool {
    let anchor = tx.anchor();
    let fits = |height| chain.height() + 1 - height <= params.anchor_window;
    let block = chain.context_at(anchor.height);
    block.is_some_and(|block| anchor.matches(&block.hash()) && fits(anchor.height))
}

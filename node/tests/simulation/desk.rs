//! The mempool of a simulated node, with the real judgement, the real places and the real builder: what the chain thread
//! does with it, without threads.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use ledger::{
    block::Block,
    hash::{BlockHash, Hash, Key, TxId, WitnessTxId},
    params::Params,
    rules::{
        Violation,
        apply::touched_keys,
        context::anchor_height_is_allowed,
        transaction::{AnchorBlock, CheckedTransaction, Stated, check},
    },
    testing::TestChain,
    transaction::{Body, Transaction},
};
use node::{
    chain::{ChainCore, ChainEvent, Draft, TxRejection},
    mempool::{Admission, Candidate, Limits, Mempool, PoolRefusal, TxOrigin},
};

/// Room in a simulated mempool: little, so that a spammer can fill it.
pub const LIMITS: Limits = Limits { bytes: 1 << 20, count: 300, peer_percent: 25 };
/// For how long gossip remembers a message: as in the network shell.
const HEARD_MS: u64 = 300_000;
/// Transactions judged again after each block: all.
const RECHECK: usize = LIMITS.count;

/// What signatures and work came to, shared by all hosts: each of them would find the same.
pub type Verified = Rc<RefCell<BTreeMap<(WitnessTxId, BlockHash), Result<CheckedTransaction, Violation>>>>;

/// A transaction with its ids, which every host would find again.
#[derive(Debug)]
pub struct Offered {
    pub tx: Transaction,
    pub txid: TxId,
    pub wtxid: WitnessTxId,
}

impl From<Transaction> for Offered {
    fn from(tx: Transaction) -> Self {
        Self { txid: tx.txid(), wtxid: tx.wtxid(), tx }
    }
}

/// A mempool and what belongs to it.
pub struct Desk {
    params: &'static Params,
    chain_id: Hash,
    pub pool: Mempool,
    pub verified: Verified,
    draft: Option<Draft>,
    revision: u64,
    due: Option<(BlockHash, u32, Vec<Key>)>,
    /// What gossip brought, and when.
    heard: BTreeMap<WitnessTxId, u64>,
}

impl Desk {
    pub fn new(params: &'static Params, verified: Verified) -> Self {
        let (chain_id, pool) = (params.chain_id(), Mempool::new(params, LIMITS));
        Self { params, chain_id, pool, verified, draft: None, revision: 0, due: None, heard: BTreeMap::new() }
    }

    /// Whether gossip brings a transaction for the first time in a while. Without that, one that is pushed out of one
    /// mempool and back into another would go round for ever.
    pub fn is_news(&mut self, wtxid: &WitnessTxId, now_ms: u64) -> bool {
        self.heard.retain(|_, since| now_ms.saturating_sub(*since) < HEARD_MS);
        let is_news = !self.heard.contains_key(wtxid);
        self.heard.entry(*wtxid).or_insert(now_ms);
        is_news
    }

    /// Looks at a transaction and takes it in: what the chain thread does, cheapest first (protocol §10).
    pub fn offer(
        &mut self,
        core: &ChainCore,
        offered: &Offered,
        origin: TxOrigin,
        now: u64,
    ) -> Result<(), TxRejection> {
        let Offered { tx, txid, wtxid } = offered;
        let (txid, wtxid) = (*txid, *wtxid);
        if self.pool.knows(&txid, &wtxid) {
            return Err(PoolRefusal::Known.into());
        }
        let anchor = self.anchor_of(core, tx)?;
        let (height, due) = self.due(core);
        let judged = core.judge_at(Stated::of(tx, anchor.hash), height, due).expect("memory does not fail");
        let verdict = judged.map_err(TxRejection::Violation)?;
        let candidate = Candidate { transaction: tx, txid, wtxid, purpose: verdict.purpose, origin };
        let room = self.pool.room_for(&candidate)?;
        let checked = self.verify(offered, &anchor).map_err(TxRejection::Violation)?;
        room.admits(checked.work_ratio())?;
        self.pool.insert(checked, Admission { origin, now, verdict })?;
        self.revision += 1;
        Ok(())
    }

    fn anchor_of(&self, core: &ChainCore, tx: &Transaction) -> Result<AnchorBlock, TxRejection> {
        let at = tx.anchor();
        anchor_height_is_allowed(self.params, core.tip().height + 1, tx).map_err(TxRejection::Violation)?;
        let unknown = TxRejection::UnknownAnchor { height: at.height };
        match tx.body() {
            Body::Reveal { .. } => core.active_anchor(0).ok_or(unknown),
            _ => core.active_anchor(at.height).filter(|anchor| at.matches(&anchor.hash)).ok_or(unknown),
        }
    }

    /// The next height and what is deleted there, looked up once per tip.
    fn due(&mut self, core: &ChainCore) -> (u32, &[Key]) {
        let tip = core.tip().hash;
        if self.due.as_ref().is_none_or(|(at, _, _)| *at != tip) {
            let (height, due) = core.next_height_and_due().expect("memory does not fail");
            self.due = Some((tip, height, due));
        }
        self.due.as_ref().map(|(_, height, due)| (*height, due.as_slice())).expect("just looked up")
    }

    fn verify(&self, offered: &Offered, anchor: &AnchorBlock) -> Result<CheckedTransaction, Violation> {
        let make = || check(self.params, &self.chain_id, offered.tx.clone(), anchor, &mut Default::default());
        self.verified.borrow_mut().entry((offered.wtxid, anchor.hash)).or_insert_with(make).clone()
    }

    /// What the model finds of a transaction of a block.
    pub fn check(&self, model: &TestChain, tx: &Transaction) -> Result<CheckedTransaction, Violation> {
        let height = tx.anchor().height;
        anchor_height_is_allowed(self.params, model.height() + 1, tx)?;
        let context = model.context_at(height).ok_or(Violation::AncestorUnknown { height })?;
        if let Some(found) = self.verified.borrow().get(&(tx.wtxid(), context.hash())) {
            return found.clone();
        }
        let found = model.check(tx.clone());
        self.verified.borrow_mut().insert((tx.wtxid(), context.hash()), found.clone());
        found
    }

    /// Brings the mempool up to date with what the chain did.
    pub fn follow(&mut self, core: &ChainCore, events: &[ChainEvent], now: u64) {
        let (mut keys, mut released, mut has_left_blocks) = (std::collections::BTreeSet::new(), Vec::new(), false);
        for event in events {
            match event {
                ChainEvent::Connected(connected) => {
                    let transactions = &connected.block.transactions;
                    keys.extend(touched_keys(transactions, &self.chain_id));
                    transactions.iter().for_each(|tx| drop(self.pool.remove(&tx.txid())));
                }
                ChainEvent::Disconnected(gone) => {
                    has_left_blocks = true;
                    keys.extend(touched_keys(&gone.transactions, &self.chain_id));
                    released.extend(gone.transactions.iter().cloned());
                }
                ChainEvent::TransactionAdded(_) | ChainEvent::TransactionRemoved { .. } | ChainEvent::Alarm(_) => {}
            }
        }
        if events.is_empty() {
            return;
        }
        self.revision += 1;
        self.pool.expire(core.tip().height + 1);
        if has_left_blocks {
            self.pool.leave_branch(|height| core.active_anchor(height).map(|anchor| anchor.hash));
        }
        keys.extend(self.pool.ripe_at(core.tip().height + 1));
        let (height, due) = core.next_height_and_due().expect("memory does not fail");
        self.pool.recheck(&keys, RECHECK, |entry| {
            core.judge_at(entry.checked.stated(), height, &due).expect("memory does not fail")
        });
        for tx in released {
            // Most of them are in the blocks of the other branch.
            let _ = self.offer(core, &tx.into(), TxOrigin::Local, now);
        }
        assert!(self.pool.count() <= LIMITS.count && self.pool.bytes() <= LIMITS.bytes, "no unbounded queue");
    }

    /// A block on the tip, made by the default builder.
    pub fn build(&mut self, core: &mut ChainCore, now: u64) -> Block {
        let template = core.template(&self.pool, self.revision, &mut self.draft, now, Hash::ZERO);
        let template = template.expect("memory does not fail");
        template.with_core(template.header.core)
    }
}

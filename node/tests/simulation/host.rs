//! One simulated node: a real chain, the ledger's own test chain beside it as the model, and a real `Sync`.

use std::{collections::BTreeMap, sync::Arc};

use ledger::{
    block::{Block, Header, HeaderBatch},
    codec::decode,
    hash::{BlockHash, TxId},
    params::Params,
    testing::TestChain,
    transaction::Transaction,
};
use node::{
    chain::{Arrival, ChainCore, ChainEvent, ChainOptions, Tip},
    store::Store,
    sync::{Claim, Company, Config, Judged, Millis, Output, Point, Sync, View, WINDOW},
};

/// How a node behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// By the protocol.
    Honest,
    /// Tells its status and answers nothing else.
    Staller,
    /// Answers with bodies that do not belong to their headers.
    WrongBodies,
    /// Answers with headers without work.
    WorthlessHeaders,
    /// Claims endless work and has no headers to show.
    Boaster,
}

/// A question between hosts.
#[derive(Clone, Debug)]
pub enum Question {
    Status(Claim, u64),
    Headers(Vec<BlockHash>),
    Bodies(u64, Vec<BlockHash>),
}

/// An answer between hosts.
#[derive(Clone, Debug)]
pub enum Answer {
    Status(Claim, u64),
    Headers(Vec<Header>),
    Bodies(u64, Vec<Option<Arc<Block>>>),
}

/// What came of the host's own work, for the world to pass on.
#[derive(Debug)]
pub enum News {
    Block(Arc<Block>),
}

/// A simulated node.
pub struct Host {
    pub role: Role,
    pub core: ChainCore,
    /// The same chain by the shortest correct shell around the ledger: the model to compare with.
    pub model: TestChain,
    pub sync: Sync<usize>,
    pub pool: BTreeMap<TxId, Transaction>,
    pub clock_offset_s: i64,
    pub deepest_reorg: u32,
    pub bans: Vec<usize>,
}

impl Host {
    pub fn new(role: Role, params: &'static Params) -> Self {
        let store = Store::in_memory(params).expect("memory is there");
        let config = Config { status_interval_ms: 2_000, company: Company::Needed };
        Self {
            role,
            core: ChainCore::open(store, params, ChainOptions::single_threaded()).expect("a fresh chain opens"),
            model: TestChain::new(params),
            sync: Sync::new(config),
            pool: BTreeMap::new(),
            clock_offset_s: 0,
            deepest_reorg: 0,
            bans: Vec::new(),
        }
    }

    pub fn tip(&self) -> Tip {
        self.core.tip()
    }

    pub fn is_synced(&self) -> bool {
        self.sync.verdict().is_synced()
    }

    pub fn unix(&self, true_unix: u64) -> u64 {
        true_unix.saturating_add_signed(self.clock_offset_s)
    }

    pub fn claim(&self) -> Claim {
        let tip = self.tip();
        match self.role {
            Role::Boaster => Point { height: tip.height + 1_000, hash: BlockHash([7; 32]), work: u128::MAX / 2 },
            Role::Honest | Role::Staller | Role::WrongBodies | Role::WorthlessHeaders => {
                Point { height: tip.height, hash: tip.hash, work: tip.total_work }
            }
        }
    }

    pub fn view(&mut self) -> View {
        let tip = self.tip();
        let (height, hash, work) = self.core.best_header();
        View {
            tip: Point { height: tip.height, hash: tip.hash, work: tip.total_work },
            best_header: Point { height, hash, work },
            refused_work: tip.refused_work,
            locator: self.core.locator(),
            wanted: self.core.wanted_bodies(WINDOW),
        }
    }

    pub fn judge_headers(&mut self, headers: &[Header], unix: u64) -> Judged {
        Judged::from(&self.core.accept_headers(headers, unix).expect("memory does not fail"))
    }

    pub fn judge_block(&mut self, block: &Arc<Block>, unix: u64) -> (Judged, Vec<News>) {
        let arrival = if self.is_synced() { Arrival::Live } else { Arrival::Sync };
        let report = self.core.accept_block(block.clone(), unix, arrival).expect("memory does not fail");
        (Judged::from(&report), self.follow_events())
    }

    /// Brings the model to where the chain is, block by block, and compares.
    fn follow_events(&mut self) -> Vec<News> {
        let (mut news, mut depth) = (Vec::new(), 0);
        for event in self.core.take_events() {
            match event {
                ChainEvent::Connected(connected) => {
                    self.model.connect(&connected.block).expect("the model takes every block the chain takes");
                    connected.block.transactions.iter().for_each(|tx| drop(self.pool.remove(&tx.txid())));
                    if connected.arrival == Arrival::Live {
                        news.push(News::Block(connected.block.clone()));
                    }
                }
                ChainEvent::Disconnected(_) => {
                    depth += 1;
                    let block = self.model.disconnect().expect("the model has the block that is taken back");
                    self.pool.extend(block.transactions.into_iter().map(|tx| (tx.txid(), tx)));
                }
                ChainEvent::TransactionAdded(_) | ChainEvent::TransactionRemoved { .. } | ChainEvent::Alarm(_) => {}
            }
        }
        self.deepest_reorg = self.deepest_reorg.max(depth);
        assert_eq!(self.model.tip().hash(), self.tip().hash, "chain and model are at the same block");
        assert_eq!(self.model.root(), self.tip().state_root, "equal tip, equal root, equal to the model");
        news
    }

    /// A block on the tip with whatever of the pool fits.
    pub fn build_block(&self, unix: u64) -> Arc<Block> {
        let earliest = self.tip().time + u64::from(self.model.params().min_gap);
        let mut chosen: Vec<Transaction> = Vec::new();
        for tx in self.pool.values() {
            chosen.push(tx.clone());
            chosen.sort_by_key(Transaction::txid);
            if self.model.judge(&chosen).is_err() {
                chosen.retain(|other| other.txid() != tx.txid());
            }
        }
        Arc::new(self.model.build_at(unix.max(earliest), chosen).expect("judged valid together"))
    }

    /// What this host answers; `None` if it keeps silent.
    pub fn answer(&self, question: Question, unix: u64) -> Option<Answer> {
        match (self.role, question) {
            (_, Question::Status(..)) => Some(Answer::Status(self.claim(), unix)),
            (Role::Staller, Question::Headers(_) | Question::Bodies(..)) => None,
            (Role::Boaster, Question::Headers(_)) => Some(Answer::Headers(Vec::new())),
            (Role::WorthlessHeaders, Question::Headers(locator)) => {
                let mut headers = self.headers_after(&locator);
                headers.iter_mut().for_each(|header| header.core.nonce = u64::MAX);
                headers.truncate(1);
                Some(Answer::Headers(headers))
            }
            (_, Question::Headers(locator)) => Some(Answer::Headers(self.headers_after(&locator))),
            (role, Question::Bodies(batch, hashes)) => {
                let bodies = hashes.iter().map(|hash| self.body(hash).map(|block| spoil(role, block))).collect();
                Some(Answer::Bodies(batch, bodies))
            }
        }
    }

    fn headers_after(&self, locator: &[BlockHash]) -> Vec<Header> {
        self.core.headers_after(locator, HeaderBatch::MAX_HEADERS).expect("memory does not fail")
    }

    fn body(&self, hash: &BlockHash) -> Option<Block> {
        let bytes = self.core.body(hash).expect("memory does not fail")?;
        Some(decode(&bytes).expect("stored blocks decode"))
    }

    pub fn handle(
        &mut self,
        now: Millis,
        rng: &mut rand::rngs::StdRng,
        input: node::sync::Input<usize>,
    ) -> Vec<Output<usize>> {
        self.sync.handle(now, rng, input)
    }
}

/// A body that is not the header's, if that is the host's way.
fn spoil(role: Role, mut block: Block) -> Arc<Block> {
    if role == Role::WrongBodies {
        let maker = TestChain::new(ledger::testing::tiny_params()).maker();
        block.transactions.push(maker.commit(&ledger::testing::name("forged"), 1));
    }
    Arc::new(block)
}

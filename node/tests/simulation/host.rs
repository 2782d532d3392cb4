//! One simulated node: a real chain, the ledger's own test chain beside it as the model, and a real `Sync`.

use std::{collections::BTreeMap, sync::Arc};

use ledger::{
    block::{Block, Header, HeaderBatch},
    codec::decode,
    hash::{BlockHash, Hash, TxId},
    params::Params,
    rules::{
        block::{Content, assemble},
        header::HeaderContext,
    },
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
    /// Claims endless work and is busy when asked for it.
    BusyBoaster,
    /// Claims endless work and keeps silent when asked for it.
    SilentBoaster,
    /// Shows headers of blocks that it made, and gives nobody the bodies.
    Withholder,
    /// Follows the chain, and announces blocks that are invalid for a reason that shows only on connecting them.
    Poisoner,
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
    Busy,
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
    /// A withholder's own blocks, above its tip as it was.
    pub secret: Vec<Block>,
    pub secret_work: u128,
}

impl Host {
    pub fn new(role: Role, params: &'static Params) -> Self {
        let store = Store::in_memory(params).expect("memory is there");
        let config = Config { status_interval_ms: 2_000, ..Config::of(params, Company::Needed) };
        Self {
            role,
            core: ChainCore::open(store, params, ChainOptions::single_threaded()).expect("a fresh chain opens"),
            model: TestChain::new(params),
            sync: Sync::new(config),
            pool: BTreeMap::new(),
            clock_offset_s: 0,
            deepest_reorg: 0,
            bans: Vec::new(),
            secret: Vec::new(),
            secret_work: 0,
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
            Role::Boaster | Role::BusyBoaster | Role::SilentBoaster => {
                Point { height: tip.height + 1_000, hash: BlockHash([7; 32]), work: u128::MAX / 2 }
            }
            Role::Withholder if !self.secret.is_empty() => {
                let last = self.secret.last().expect("not empty");
                Point { height: last.header.core.height, hash: last.hash(), work: self.secret_work }
            }
            Role::Honest
            | Role::Staller
            | Role::WrongBodies
            | Role::WorthlessHeaders
            | Role::Withholder
            | Role::Poisoner => Point { height: tip.height, hash: tip.hash, work: tip.total_work },
        }
    }

    pub fn view(&mut self, claims: &[BlockHash]) -> View {
        self.core.view(claims, WINDOW).expect("memory does not fail")
    }

    pub fn judge_headers(&mut self, headers: &[Header], unix: u64) -> Judged {
        Judged::from(&self.core.accept_headers(headers, unix).expect("memory does not fail"))
    }

    /// What was asked for, or made here.
    pub fn judge_block(&mut self, block: &Arc<Block>, unix: u64) -> (Judged, Vec<News>) {
        let arrival = if self.is_synced() { Arrival::Live } else { Arrival::Sync };
        self.judge_arrived(block, unix, arrival)
    }

    pub fn judge_arrived(&mut self, block: &Arc<Block>, unix: u64, arrival: Arrival) -> (Judged, Vec<News>) {
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
                    if connected.arrival.is_news() {
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
            (Role::SilentBoaster, Question::Headers(_)) => None,
            (Role::BusyBoaster, Question::Headers(_)) => Some(Answer::Busy),
            (Role::Boaster, Question::Headers(_)) => Some(Answer::Headers(Vec::new())),
            (Role::Withholder, Question::Headers(locator)) => {
                // What lies below its branch is on the honest chain, which everybody has.
                let fork = self.secret.first().map(|block| block.header.core.prev);
                let is_above = fork.is_some_and(|fork| locator.contains(&fork));
                let own: Vec<_> = self.secret.iter().map(|block| block.header).collect();
                Some(Answer::Headers(if is_above { own } else { self.headers_after(&locator) }))
            }
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

    /// Makes `count` blocks on the tip that it will show the headers of, and nothing more.
    pub fn withhold(&mut self, unix: u64, count: u32) {
        let mut branch = self.model.clone();
        self.secret.clear();
        for _ in 0..count {
            let earliest = branch.tip().header().core.time + u64::from(branch.params().min_gap);
            let block = branch.build_at(unix.max(earliest), Vec::new()).expect("an empty block is valid");
            branch.connect(&block).expect("an empty block is valid");
            self.secret.push(block);
        }
        self.secret_work = branch.tip().total_work();
    }

    /// Two blocks on the tip: one whose state is wrong, and a child of it. All that shows in headers is right.
    pub fn poison(&self, unix: u64) -> [Arc<Block>; 2] {
        let tip = self.model.tip();
        let gap = u64::from(self.model.params().min_gap);
        let mut bad = self.model.build_at(unix.max(tip.header().core.time + gap), Vec::new()).expect("valid so far");
        bad.header.ext.state_root = Hash([9; 32]);
        bad.header = self.model.seal(bad.header);
        let parent = HeaderContext::stored(bad.header, tip.total_work(), tip.peaks());
        let time = bad.header.core.time + gap;
        let (content, ext) = (Content::of([]), bad.header.ext);
        let header = assemble(self.model.params(), &parent, time, &content, ext.name_count, ext.state_root, Hash::ZERO);
        let child = Block { header: self.model.seal(header), transactions: Vec::new() };
        [Arc::new(bad), Arc::new(child)]
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

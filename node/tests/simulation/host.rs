//! One simulated node: a real chain, a real mempool and a real `Sync`; beside them the ledger's own test chain as the model.

use std::sync::Arc;

use ledger::{
    block::{Block, Header, HeaderBatch},
    codec::decode,
    hash::BlockHash,
    params::Params,
    rules::{block::Content, header::HeaderContext},
    testing::TestChain,
};
use node::{
    chain::{Arrival, ChainCore, ChainEvent, ChainOptions, Tip},
    mempool::Mempool,
    store::Store,
    sync::{Claim, Company, Config, Judged, Millis, Output, Point, Sync, View, WINDOW},
};

use super::{
    desk::{Desk, Verified},
    players::{Role, spoil},
};

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

/// How hosts are set up.
#[derive(Clone, Copy, Debug)]
pub struct HostConfig {
    pub params: &'static Params,
    pub status_interval_ms: u64,
}

impl HostConfig {
    fn sync(&self) -> Sync<usize> {
        let config = Config::of(self.params, Company::Needed);
        Sync::new(Config { status_interval_ms: self.status_interval_ms, ..config })
    }
}

/// A simulated node.
pub struct Host {
    pub role: Role,
    config: HostConfig,
    pub core: ChainCore,
    /// The same chain by the shortest correct shell around the ledger: the model to compare with.
    pub model: TestChain,
    pub sync: Sync<usize>,
    pub desk: Desk,
    pub clock_offset_s: i64,
    pub deepest_reorg: u32,
    pub bans: Vec<usize>,
    /// How often it was started: what an earlier life was waiting for comes to nobody.
    pub life: u32,
    /// Alarms that it raised about its clock.
    pub clock_alarms: u32,
    /// A player's own branch: what it keeps to itself, or shows without bodies.
    pub secret: Option<Branch>,
}

/// Blocks that one host made and that are not, or not yet, everybody's.
pub struct Branch {
    pub chain: TestChain,
    pub blocks: Vec<Block>,
}

impl Branch {
    pub fn on(chain: TestChain) -> Self {
        Self { chain, blocks: Vec::new() }
    }

    /// One more block, empty.
    pub fn extend(&mut self, unix: u64) -> &Block {
        let earliest = self.chain.tip().header().core.time + u64::from(self.chain.params().min_gap);
        let block = self.chain.build_at(unix.max(earliest), Vec::new()).expect("an empty block is valid");
        self.chain.connect(&block).expect("an empty block is valid");
        self.blocks.push(block);
        self.blocks.last().expect("just pushed")
    }

    /// Where it ends.
    pub fn end(&self) -> Point {
        let tip = self.chain.tip();
        Point { height: tip.height(), hash: tip.hash(), work: tip.total_work() }
    }
}

impl Host {
    pub fn new(role: Role, config: HostConfig, genesis: TestChain, verified: Verified) -> Self {
        let desk = Desk::new(config.params, verified);
        let store = Store::in_memory(config.params).expect("memory is there");
        Self {
            role,
            config,
            core: open(store, config.params, &desk.pool),
            model: genesis,
            sync: config.sync(),
            desk,
            clock_offset_s: 0,
            deepest_reorg: 0,
            bans: Vec::new(),
            life: 0,
            clock_alarms: 0,
            secret: None,
        }
    }

    /// The process dies and is started again on the same database.
    pub fn crash(&mut self) {
        let before = self.tip();
        self.desk = Desk::new(self.config.params, self.desk.verified.clone());
        self.core = open(self.core.store().clone(), self.config.params, &self.desk.pool);
        let after = self.tip();
        assert_eq!((after.hash, after.state_root), (before.hash, before.state_root), "nothing is lost");
        self.sync = self.config.sync();
        self.life += 1;
    }

    pub fn tip(&self) -> Tip {
        self.core.tip()
    }

    pub fn is_synced(&self) -> bool {
        self.sync.verdict().is_synced()
    }

    /// Whether a node in this state mines for its own sake (protocol §7).
    pub fn mines(&self) -> bool {
        let verdict = self.sync.verdict();
        verdict.is_synced() && !verdict.clock_alarm
    }

    pub fn unix(&self, true_unix: u64) -> u64 {
        true_unix.saturating_add_signed(self.clock_offset_s)
    }

    pub fn claim(&self) -> Claim {
        let tip = self.tip();
        let own = Point { height: tip.height, hash: tip.hash, work: tip.total_work };
        self.role.claim(own, self.secret.as_ref())
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
        (Judged::from(&report), self.follow_events(unix))
    }

    /// Brings the model and the mempool to where the chain is, block by block, and compares.
    fn follow_events(&mut self, unix: u64) -> Vec<News> {
        let (mut news, mut depth) = (Vec::new(), 0);
        let events = self.core.take_events();
        for event in &events {
            match event {
                ChainEvent::Connected(connected) => {
                    let desk = &self.desk;
                    let model = self.model.connect_by(&connected.block, |model, tx| desk.check(model, tx));
                    model.expect("the model takes every block the chain takes");
                    if connected.arrival.is_news() {
                        news.push(News::Block(connected.block.clone()));
                    }
                }
                ChainEvent::Disconnected(_) => {
                    depth += 1;
                    self.model.disconnect().expect("the model has the block that is taken back");
                }
                ChainEvent::TransactionAdded(_) | ChainEvent::TransactionRemoved { .. } | ChainEvent::Alarm(_) => {}
            }
        }
        self.deepest_reorg = self.deepest_reorg.max(depth);
        assert_eq!(self.model.tip().hash(), self.tip().hash, "chain and model are at the same block");
        assert_eq!(self.model.root(), self.tip().state_root, "equal tip, equal root, equal to the model");
        self.desk.follow(&self.core, &events, unix);
        news
    }

    /// A block on the tip with whatever of the mempool the default builder takes.
    pub fn build_block(&mut self, unix: u64) -> Arc<Block> {
        Arc::new(self.desk.build(&mut self.core, unix))
    }

    /// What this host answers; `None` if it keeps silent.
    pub fn answer(&self, question: Question, unix: u64) -> Option<Answer> {
        match (self.role, question) {
            (_, Question::Status(..)) => Some(Answer::Status(self.claim(), unix)),
            (Role::Staller, Question::Headers(_) | Question::Bodies(..)) => None,
            (Role::SilentBoaster, Question::Headers(_)) => None,
            (Role::BusyBoaster, Question::Headers(_)) => Some(Answer::Busy),
            (Role::Boaster, Question::Headers(_)) => Some(Answer::Headers(Vec::new())),
            (Role::Withholder | Role::LowWork, Question::Headers(locator)) => {
                Some(Answer::Headers(self.secret_headers(&locator)))
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

    /// Headers of the secret branch behind the newest block of the locator that it has; what lies below it is on the honest
    /// chain, which everybody has.
    fn secret_headers(&self, locator: &[BlockHash]) -> Vec<Header> {
        let Some(secret) = &self.secret else { return self.headers_after(locator) };
        let known = |block: &Block| locator.contains(&block.hash());
        let from = match secret.blocks.iter().rposition(known) {
            Some(at) => at + 1,
            None if secret.blocks.first().is_some_and(|block| locator.contains(&block.header.core.prev)) => 0,
            None => return self.headers_after(locator),
        };
        secret.blocks[from..].iter().take(HeaderBatch::MAX_HEADERS).map(|block| block.header).collect()
    }

    /// Two blocks on the tip: one whose state is wrong, and a child of it. All that shows in headers is right.
    pub fn poison(&self, unix: u64) -> [Arc<Block>; 2] {
        use ledger::{hash::Hash, rules::block::assemble};
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

fn open(store: Store, params: &'static Params, pool: &Mempool) -> ChainCore {
    let options = ChainOptions::single_threaded();
    ChainCore::open_with(store, params, options, pool.view()).expect("a chain in memory opens")
}

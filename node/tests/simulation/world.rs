//! The simulated network: one queue of events, one source of randomness, no threads, no wall clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ledger::{
    block::{Block, Header},
    hash::{self, BlockHash, Hash, Tag},
    name::Name,
    params::Params,
    testing::{key, owner, records, tiny_params},
    transaction::{Body, Transaction, commit_hash},
};
use node::chain::Arrival;
use node::sync::{Direction, Failure, Input, Judged, Millis, Output, Relay, Source, View, relay_of};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::host::{Answer, Host, News, Question, Role};

/// Time between ticks of a host.
const TICK_MS: u64 = 250;
/// Mining is drawn in slots; with this chance per slot the network finds a block every two seconds on average.
const SLOT_MS: u64 = 100;
const SLOTS_PER_BLOCK: u64 = 20;
/// A question without an answer fails after this.
const REQUEST_TIMEOUT_MS: u64 = 10_000;
/// Longest time until a host learns what its own chain said: in a real node both are tasks of their own, so what it
/// learns may be overtaken by then.
const JOB_MS: u64 = 60;

#[derive(Debug)]
enum Event {
    Tick(usize),
    Slot,
    Question { from: usize, to: usize, id: u64, question: Question },
    Answer { from: usize, to: usize, id: u64, answer: Answer },
    Timeout { asker: usize, peer: usize, id: u64 },
    HeadersJudged { host: usize, source: Source<usize>, headers: Vec<Header>, judged: Judged },
    View { host: usize, view: View },
    Block { from: usize, to: usize, block: Arc<Block> },
    Transaction { to: usize, tx: Box<Transaction> },
    Reveal { host: usize, name: Name, seed: u64 },
}

/// A network of hosts.
pub struct World {
    seed: u64,
    now: u64,
    start_unix: u64,
    rng: StdRng,
    queue: BTreeMap<(u64, u64), Event>,
    next: u64,
    hosts: Vec<Host>,
    /// Side of the partition that each host is on.
    side: Vec<u8>,
    open: BTreeMap<u64, (usize, usize, node::sync::Question)>,
    latency: (u64, u64),
    loss_percent: u64,
    mining: bool,
    banned: Vec<(usize, usize)>,
    seen: BTreeMap<(usize, BlockHash), ()>,
    trace: hash::Hasher,
    params: &'static Params,
}

impl World {
    pub fn new(seed: u64, roles: &[Role]) -> Self {
        let params = tiny_params();
        let mut world = Self {
            seed,
            now: 0,
            start_unix: params.genesis_time + 1_000,
            rng: StdRng::seed_from_u64(seed),
            queue: BTreeMap::new(),
            next: 0,
            hosts: Vec::new(),
            side: Vec::new(),
            open: BTreeMap::new(),
            latency: (5, 120),
            loss_percent: 0,
            mining: true,
            banned: Vec::new(),
            seen: BTreeMap::new(),
            trace: hash::hasher(Tag::GossipId),
            params,
        };
        for role in roles {
            world.join(*role);
        }
        world.schedule(SLOT_MS, Event::Slot);
        world
    }

    /// Adds a host, connected to all others.
    pub fn join(&mut self, role: Role) -> usize {
        let index = self.hosts.len();
        self.hosts.push(Host::new(role, self.params));
        self.side.push(0);
        self.schedule(1 + index as u64, Event::Tick(index));
        for other in 0..index {
            self.connect(index, other);
        }
        index
    }

    fn connect(&mut self, dialler: usize, other: usize) {
        self.feed(dialler, Input::Connected { peer: other, direction: Direction::Outbound });
        self.feed(other, Input::Connected { peer: dialler, direction: Direction::Inbound });
    }

    pub fn host(&self, index: usize) -> &Host {
        &self.hosts[index]
    }

    pub fn honest(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.role == Role::Honest)
    }

    pub fn height(&self) -> u32 {
        self.hosts[0].tip().height
    }

    pub fn set_latency(&mut self, least_ms: u64, most_ms: u64) {
        self.latency = (least_ms, most_ms);
    }

    pub fn set_loss_percent(&mut self, percent: u64) {
        self.loss_percent = percent;
    }

    pub fn set_clock_offset(&mut self, host: usize, seconds: i64) {
        self.hosts[host].clock_offset_s = seconds;
    }

    /// A withholder makes blocks, and tells everybody of their headers by its status.
    pub fn withhold(&mut self, host: usize, count: u32) {
        let unix = self.host_unix(host);
        self.hosts[host].withhold(unix, count);
    }

    /// A poisoner shows a bad block to some hosts while it is the best there is, to the others once they have a better
    /// one, and then its child to all.
    pub fn poison(&mut self, host: usize, first: &[usize], wait_ms: u64) {
        let [bad, child] = self.hosts[host].poison(self.host_unix(host));
        let all: Vec<_> = (0..self.hosts.len()).filter(|to| *to != host).collect();
        let (early, late): (Vec<_>, Vec<_>) = all.iter().copied().partition(|to| first.contains(to));
        for (after, targets, block) in [(0, early, &bad), (wait_ms, late, &bad), (2 * wait_ms, all, &child)] {
            for to in targets {
                self.schedule(after + 1, Event::Block { from: host, to, block: block.clone() });
            }
        }
    }

    pub fn stop_mining(&mut self) {
        self.mining = false;
    }

    /// Cuts the network in two: the first `left` hosts and the rest.
    pub fn partition(&mut self, left: usize) {
        self.side.iter_mut().enumerate().for_each(|(index, side)| *side = u8::from(index >= left));
    }

    pub fn heal(&mut self) {
        self.side.iter_mut().for_each(|side| *side = 0);
    }

    /// Runs for this long.
    pub fn run_for(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.step(event);
        }
        self.now = end;
    }

    /// Lets the network come to rest without new blocks; with one more if two tips have equal work, which nobody leaves
    /// for the other (protocol §7).
    pub fn settle(&mut self, ms: u64) {
        let mining = std::mem::replace(&mut self.mining, false);
        self.run_for(ms);
        if self.has_a_tie() {
            let miner = self.hosts.iter().position(|host| host.role == Role::Honest).expect("an honest host");
            self.find_block(miner);
            self.run_for(ms);
        }
        self.mining = mining;
    }

    fn has_a_tie(&self) -> bool {
        let tips: Vec<_> = self.honest().map(|host| host.tip()).collect();
        let most = tips.iter().map(|tip| tip.total_work).max();
        let heaviest: BTreeSet<_> =
            tips.iter().filter(|tip| Some(tip.total_work) == most).map(|tip| tip.hash).collect();
        heaviest.len() > 1
    }

    fn schedule(&mut self, after_ms: u64, event: Event) {
        self.next += 1;
        self.queue.insert((self.now + after_ms, self.next), event);
    }

    fn schedule_job(&mut self, end: Event) {
        let after_ms = self.rng.random_range(0..=JOB_MS);
        self.schedule(after_ms, end);
    }

    fn delay(&mut self) -> u64 {
        self.rng.random_range(self.latency.0..=self.latency.1)
    }

    /// Sends something over the network, if it gets through.
    fn send(&mut self, from: usize, to: usize, event: Event) {
        let delay = self.delay();
        let lost = self.rng.random_range(0..100) < self.loss_percent;
        if !lost && self.side[from] == self.side[to] && !self.is_banned(from, to) {
            self.schedule(delay, event);
        }
    }

    fn is_banned(&self, a: usize, b: usize) -> bool {
        self.banned.iter().any(|pair| *pair == (a, b) || *pair == (b, a))
    }

    fn unix(&self) -> u64 {
        self.start_unix + self.now / 1_000
    }

    fn host_unix(&self, host: usize) -> u64 {
        self.hosts[host].unix(self.unix())
    }

    fn note(&mut self, kind: u8, a: usize, b: usize, what: &[u8]) {
        self.trace.update(&self.now.to_le_bytes());
        self.trace.update(&[kind, a as u8, b as u8]);
        self.trace.update(what);
    }

    /// A hash over everything that happened.
    pub fn trace(&self) -> Hash {
        self.trace.clone().finish()
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Tick(host) => {
                let unix_now = self.host_unix(host);
                self.feed(host, Input::Tick { unix_now });
                self.schedule(TICK_MS, Event::Tick(host));
            }
            Event::Slot => self.slot(),
            Event::Question { from, to, id, question } => self.question(from, to, id, question),
            Event::Answer { from, to, id, answer } => self.answered(from, to, id, answer),
            Event::Timeout { asker, peer, id } => {
                if let Some((_, _, question)) = self.open.remove(&id) {
                    self.feed(asker, Input::Failed { peer, question, why: Failure::Timeout });
                }
            }
            Event::HeadersJudged { host, source, headers, judged } => {
                self.feed(host, Input::HeadersJudged { source, headers, judged });
            }
            Event::View { host, view } => self.feed(host, Input::View(view)),
            Event::Block { from, to, block } => self.block_announced(from, to, &block),
            Event::Transaction { to, tx } => self.transaction(to, *tx),
            Event::Reveal { host, name, seed } => self.try_reveal(host, name, seed),
        }
    }

    fn slot(&mut self) {
        self.schedule(SLOT_MS, Event::Slot);
        let found = self.rng.random_range(0..SLOTS_PER_BLOCK) == 0;
        let miner = self.rng.random_range(0..self.hosts.len());
        if found && self.mining && self.hosts[miner].role == Role::Honest {
            self.find_block(miner);
        }
    }

    fn find_block(&mut self, miner: usize) {
        let block = self.hosts[miner].build_block(self.host_unix(miner));
        self.note(1, miner, 0, block.hash().as_ref());
        self.judge(miner, miner, &block);
    }

    fn question(&mut self, from: usize, to: usize, id: u64, question: Question) {
        let unix = self.host_unix(to);
        if let Question::Status(claim, sent) = &question {
            let clock_offset_s = *sent as i64 - unix as i64;
            self.feed(to, Input::Status { peer: from, claim: *claim, lowest_body: 1, clock_offset_s });
        }
        if let Some(answer) = self.hosts[to].answer(question, unix) {
            self.send(to, from, Event::Answer { from: to, to: from, id, answer });
        }
    }

    fn answered(&mut self, from: usize, to: usize, id: u64, answer: Answer) {
        let Some((_, _, question)) = self.open.remove(&id) else { return };
        let input = match answer {
            Answer::Status(claim, sent) => {
                let clock_offset_s = sent as i64 - self.host_unix(to) as i64;
                Input::Status { peer: from, claim, lowest_body: 1, clock_offset_s }
            }
            Answer::Headers(headers) => Input::Headers { peer: from, headers },
            Answer::Bodies(batch, bodies) => Input::Bodies { peer: from, batch, bodies },
            Answer::Busy => Input::Failed { peer: from, question, why: Failure::Busy },
        };
        self.feed(to, input);
    }

    fn block_announced(&mut self, from: usize, to: usize, block: &Arc<Block>) {
        if self.seen.insert((to, block.hash()), ()).is_some() {
            return;
        }
        self.note(2, from, to, block.hash().as_ref());
        let unix = self.host_unix(to);
        let (judged, news) = self.hosts[to].judge_arrived(block, unix, Arrival::Announced);
        self.after_judging(to, from, news);
        if relay_of(judged) == Relay::Accept {
            self.announce(to, block);
        }
        self.feed(to, Input::BlockJudged { source: Source::Gossip(from), block: block.clone(), judged });
    }

    /// Lets a host's chain judge a block and tells everybody what it connects.
    fn judge(&mut self, host: usize, from: usize, block: &Arc<Block>) -> Judged {
        let unix = self.host_unix(host);
        let (judged, news) = self.hosts[host].judge_block(block, unix);
        self.after_judging(host, from, news);
        judged
    }

    fn after_judging(&mut self, host: usize, from: usize, news: Vec<News>) {
        for News::Block(block) in news {
            self.announce(host, &block);
        }
        self.feed(host, Input::ChainMoved);
        self.note(3, host, from, &self.hosts[host].tip().hash.0);
    }

    fn announce(&mut self, host: usize, block: &Arc<Block>) {
        self.seen.insert((host, block.hash()), ());
        for to in (0..self.hosts.len()).filter(|to| *to != host) {
            self.send(host, to, Event::Block { from: host, to, block: block.clone() });
        }
    }

    fn feed(&mut self, host: usize, input: Input<usize>) {
        let outputs = self.hosts[host].handle(Millis(self.now), &mut self.rng, input);
        outputs.into_iter().for_each(|output| self.carry_out(host, output));
    }

    fn carry_out(&mut self, host: usize, output: Output<usize>) {
        match output {
            Output::AskStatus { peer } => {
                let question = Question::Status(self.hosts[host].claim(), self.host_unix(host));
                self.ask(host, peer, question, node::sync::Question::Status);
            }
            Output::AskHeaders { peer, locator } => {
                self.ask(host, peer, Question::Headers(locator), node::sync::Question::Headers);
            }
            Output::AskBodies { peer, batch, hashes } => {
                self.ask(host, peer, Question::Bodies(batch, hashes), node::sync::Question::Bodies(batch));
            }
            Output::SubmitHeaders { source, headers } => {
                let unix = self.host_unix(host);
                let judged = self.hosts[host].judge_headers(&headers, unix);
                self.schedule_job(Event::HeadersJudged { host, source, headers, judged });
            }
            Output::SubmitBlock { source, block } => {
                let judged = self.judge(host, source.peer(), &block);
                self.feed(host, Input::BlockJudged { source, block, judged });
            }
            Output::RefreshView { claims } => {
                let view = self.hosts[host].view(&claims);
                self.schedule_job(Event::View { host, view });
            }
            Output::Disconnect { peer } => self.reconnect(host, peer),
            Output::Ban { peer, .. } => self.ban(host, peer),
            Output::ClockAlarm(_) | Output::Replace { .. } => {}
        }
    }

    fn ask(&mut self, from: usize, to: usize, question: Question, kind: node::sync::Question) {
        self.next += 1;
        let id = self.next;
        self.open.insert(id, (from, to, kind));
        self.send(from, to, Event::Question { from, to, id, question });
        self.schedule(REQUEST_TIMEOUT_MS, Event::Timeout { asker: from, peer: to, id });
    }

    /// The shell dials again at once.
    fn reconnect(&mut self, host: usize, peer: usize) {
        self.feed(host, Input::Disconnected { peer });
        self.feed(peer, Input::Disconnected { peer: host });
        self.connect(host, peer);
    }

    fn ban(&mut self, host: usize, peer: usize) {
        self.note(4, host, peer, &[]);
        self.banned.push((host, peer));
        self.hosts[host].bans.push(peer);
        self.feed(host, Input::Disconnected { peer });
        self.feed(peer, Input::Disconnected { peer: host });
    }

    /// Registers a name at a host: commits now, reveals as soon as the commit is ripe.
    pub fn register(&mut self, host: usize, name: &Name, seed: u64) {
        let commit = self.hosts[host].model.maker().commit(name, seed);
        self.transaction(host, commit);
        self.schedule(1_000, Event::Reveal { host, name: name.clone(), seed });
    }

    fn try_reveal(&mut self, host: usize, name: Name, seed: u64) {
        let model = &self.hosts[host].model;
        let reveal = model.maker().reveal(&name, seed, records("simulated"));
        if model.judge(std::slice::from_ref(&reveal)).is_ok() {
            self.transaction(host, reveal);
        }
        // Again, for the case that a reorganisation takes it back.
        self.schedule(1_000, Event::Reveal { host, name, seed });
    }

    fn transaction(&mut self, host: usize, tx: Transaction) {
        if self.hosts[host].pool.contains_key(&tx.txid()) {
            return;
        }
        self.note(5, host, 0, tx.txid().as_ref());
        self.hosts[host].pool.insert(tx.txid(), tx.clone());
        for to in (0..self.hosts.len()).filter(|to| *to != host) {
            self.send(host, to, Event::Transaction { to, tx: Box::new(tx.clone()) });
        }
    }

    /// Connected honest nodes share a tip, and with it the state; every one of them equals its model already.
    pub fn check_agreement(&self) {
        let tips: Vec<_> = self.honest().map(|host| host.tip()).collect();
        for tip in &tips {
            assert_eq!((tip.hash, tip.state_root), (tips[0].hash, tips[0].state_root), "at {} ms: {tips:#?}", self.now);
        }
    }

    pub fn deepest_reorg(&self) -> u32 {
        self.hosts.iter().map(|host| host.deepest_reorg).max().unwrap_or(0)
    }

    /// Nobody honest holds anything against anybody honest.
    pub fn check_honest_are_blameless(&self) {
        let is_honest = |host: &usize| self.hosts[*host].role == Role::Honest;
        for host in (0..self.hosts.len()).filter(is_honest) {
            for peer in (0..self.hosts.len()).filter(is_honest) {
                let score = self.hosts[host].sync.score_of(Millis(self.now), &peer);
                assert_eq!(score, 0, "host {host} against {peer}");
            }
            assert!(!self.hosts[host].bans.iter().any(is_honest), "host {host} bans {:?}", self.hosts[host].bans);
        }
    }

    pub fn bans_of(&self, role: Role) -> usize {
        self.bans_where(|peer| peer == role)
    }

    /// Bans by honest hosts, of whomever.
    pub fn all_bans(&self) -> usize {
        self.bans_where(|_| true)
    }

    fn bans_where(&self, pick: impl Fn(Role) -> bool) -> usize {
        let honest = self.hosts.iter().filter(|host| host.role == Role::Honest);
        honest.flat_map(|host| &host.bans).filter(|peer| pick(self.hosts[**peer].role)).count()
    }

    /// Of all who committed to `name` on the surviving chain and revealed in time, the earliest owns it.
    pub fn check_earliest_commit_owns(&self, name: &Name, seeds: &[u64]) {
        let model = &self.hosts[0].model;
        let revealed = |seed: &&u64| {
            model.blocks().flat_map(|block| &block.transactions).any(
                |tx| matches!(tx.body(), Body::Reveal { name: n, owner: o, .. } if n == name && *o == owner(**seed)),
            )
        };
        let rank = |seed: u64| {
            let salt = key(seed).commit_salt(&self.params.chain_id(), 0, name);
            let hash = commit_hash(&self.params.chain_id(), &salt, &owner(seed), name);
            let made_in = model.blocks().find(|block| {
                block
                    .transactions
                    .iter()
                    .any(|tx| matches!(tx.body(), Body::Commit { commit_hash: there, .. } if *there == hash))
            })?;
            let tie = hash::hash(Tag::Tie, &[hash.as_ref(), made_in.hash().as_ref()]);
            Some((made_in.header.core.height, tie))
        };
        let best = seeds.iter().filter(revealed).filter_map(|seed| Some((rank(*seed)?, *seed))).min();
        let (_, winner) = best.expect("somebody registered the name");
        for host in self.honest() {
            assert_eq!(host.model.state(name).map(|state| state.owner), Some(owner(winner)));
        }
    }
}

impl Drop for World {
    /// Says how to see a failure again: a run depends on nothing but the test and its seed.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let test = std::thread::current().name().unwrap_or("TEST").to_owned();
            let seed = self.seed;
            eprintln!("seed {seed}: SIMULATION_SEED={seed} cargo nextest run -p node --test simulation {test}");
        }
    }
}

//! The simulated network: one queue of events, one source of randomness, no threads, no wall clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use ledger::{
    block::{Block, Header},
    hash::{self, BlockHash, Hash, Tag},
    name::Name,
    params::Params,
    testing::{TestChain, params_with},
};
use node::p2p::relay_of_rejection;
use node::sync::{Direction, Failure, Input, Judged, Millis, Output, Relay, Source, View, relay_of};
use node::{chain::Arrival, mempool::TxOrigin};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IteratorRandom};

use super::{
    desk::{Offered, Verified},
    host::{Answer, Host, HostConfig, News, Question},
    players::Role,
    registration::Registration,
};

/// Time between ticks of a host.
const TICK_MS: u64 = 250;
/// Mining is drawn in slots; with this chance per slot the network finds a block every two seconds on average.
const SLOT_MS: u64 = 100;
const SLOTS_PER_BLOCK: u64 = 20;
/// Blocks that a flooder with little work makes at most.
const MAX_LOW_WORK: u64 = 400;
/// A question without an answer fails after this.
const REQUEST_TIMEOUT_MS: u64 = 10_000;
/// Longest time until a host learns what its own chain said: in a real node both are tasks of their own, so what it
/// learns may be overtaken by then.
const JOB_MS: u64 = 60;

/// Parameters of simulated networks: no name runs out while a network is looked at.
pub fn params() -> &'static Params {
    static PARAMS: LazyLock<&'static Params> =
        LazyLock::new(|| params_with(|params| (params.term, params.renew_window) = (4_000, 200)));
    &PARAMS
}

#[derive(Debug)]
enum Event {
    Tick(usize),
    Slot,
    Question { from: usize, to: usize, id: u64, question: Question },
    Answer { from: usize, to: usize, id: u64, answer: Answer },
    Timeout { asker: usize, peer: usize, id: u64 },
    HeadersJudged { host: usize, life: u32, source: Source<usize>, headers: Vec<Header>, judged: Judged },
    View { host: usize, life: u32, view: View },
    Block { from: usize, to: usize, block: Arc<Block> },
    Transaction { from: usize, to: usize, tx: Arc<Offered> },
    Register(usize),
    Turn { host: usize, number: u64 },
}

/// How a world is set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub seed: u64,
    pub params: &'static Params,
    /// Earlier hosts that each new one dials; all of them if there are no more.
    pub degree: usize,
    /// How often hosts ask each other for their status.
    pub status_interval_ms: u64,
    pub tick_ms: u64,
}

impl Setup {
    /// A small network, each connected to each.
    pub fn small(seed: u64) -> Self {
        let params = params();
        Self { seed, params, degree: usize::MAX, status_interval_ms: 2_000, tick_ms: TICK_MS }
    }
}

/// A network of hosts.
pub struct World {
    setup: Setup,
    pub(super) now: u64,
    start_unix: u64,
    rng: StdRng,
    queue: BTreeMap<(u64, u64), Event>,
    next: u64,
    pub(super) hosts: Vec<Host>,
    /// Who is connected to whom.
    links: Vec<BTreeSet<usize>>,
    /// Side of the partition that each host is on.
    side: Vec<u8>,
    open: BTreeMap<u64, (usize, usize, node::sync::Question)>,
    latency: (u64, u64),
    loss_percent: u64,
    mining: bool,
    banned: BTreeSet<(usize, usize)>,
    seen: BTreeSet<(usize, BlockHash)>,
    pub(super) registrations: Vec<Registration>,
    /// What the flooder with little work has announced.
    pub(super) low_work: Vec<BlockHash>,
    trace: hash::Hasher,
    genesis: TestChain,
    verified: Verified,
}

/// Milliseconds of honest nodes that this process has simulated.
static HONEST_MS: AtomicU64 = AtomicU64::new(0);

/// Hours that honest nodes have lived in all simulations of this process, counted in blocks as on main: thirty an hour.
pub fn honest_node_hours() -> u64 {
    let intervals = HONEST_MS.load(Ordering::Relaxed) / (1_000 * u64::from(params().block_interval));
    intervals / 30
}

impl World {
    /// A small network.
    pub fn new(seed: u64, roles: &[Role]) -> Self {
        Self::with(Setup::small(seed), roles)
    }

    pub fn with(setup: Setup, roles: &[Role]) -> Self {
        let mut world = Self {
            setup,
            now: 0,
            start_unix: setup.params.genesis_time + 1_000,
            rng: StdRng::seed_from_u64(setup.seed),
            queue: BTreeMap::new(),
            next: 0,
            hosts: Vec::new(),
            links: Vec::new(),
            side: Vec::new(),
            open: BTreeMap::new(),
            latency: (5, 120),
            loss_percent: 0,
            mining: true,
            banned: BTreeSet::new(),
            seen: BTreeSet::new(),
            registrations: Vec::new(),
            low_work: Vec::new(),
            trace: hash::hasher(Tag::GossipId),
            genesis: TestChain::new(setup.params),
            verified: Verified::default(),
        };
        for role in roles {
            world.join(*role);
        }
        world.schedule(SLOT_MS, Event::Slot);
        world
    }

    /// Adds a host, connected to all others or to as many as the setup says.
    pub fn join(&mut self, role: Role) -> usize {
        let count = self.setup.degree.min(self.hosts.len());
        let mut others = (0..self.hosts.len()).choose_multiple(&mut self.rng, count);
        others.sort_unstable();
        self.join_to(role, &others)
    }

    /// Adds a host that dials these.
    pub fn join_to(&mut self, role: Role, others: &[usize]) -> usize {
        let index = self.hosts.len();
        let Setup { params, status_interval_ms, .. } = self.setup;
        let config = HostConfig { params, status_interval_ms };
        self.hosts.push(Host::new(role, config, self.genesis.clone(), self.verified.clone()));
        self.side.push(0);
        self.links.push(BTreeSet::new());
        self.schedule(1 + index as u64, Event::Tick(index));
        for other in others {
            self.connect(index, *other);
        }
        index
    }

    fn connect(&mut self, dialler: usize, other: usize) {
        self.links[dialler].insert(other);
        self.links[other].insert(dialler);
        self.feed(dialler, Input::Connected { peer: other, direction: Direction::Outbound });
        self.feed(other, Input::Connected { peer: dialler, direction: Direction::Inbound });
    }

    /// Lets players of the kinds that act by themselves do so from now on.
    pub fn let_players_act(&mut self) {
        for host in 0..self.hosts.len() {
            self.schedule(1_000 + host as u64, Event::Turn { host, number: 0 });
        }
    }

    /// A host's process dies and comes back at once: its database is as it was, all else is gone.
    pub fn crash(&mut self, host: usize) {
        self.note(6, host, 0, &[]);
        self.open.retain(|_, (asker, _, _)| *asker != host);
        self.hosts[host].crash();
        for peer in self.links[host].clone() {
            self.feed(peer, Input::Disconnected { peer: host });
            if !self.is_banned(host, peer) {
                self.connect(host, peer);
            }
        }
    }

    pub fn host(&self, index: usize) -> &Host {
        &self.hosts[index]
    }

    pub fn honest(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.role == Role::Honest)
    }

    /// The tips of honest hosts.
    pub fn tips(&self) -> BTreeSet<BlockHash> {
        self.honest().map(|host| host.tip().hash).collect()
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

    /// Cuts off a share of the hosts, at random.
    pub fn partition_at_random(&mut self, share: f64) {
        for side in &mut self.side {
            *side = u8::from(self.rng.random_bool(share));
        }
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
        HONEST_MS.fetch_add(ms * self.honest().count() as u64, Ordering::Relaxed);
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

    /// The same, but no longer than it takes until all honest hosts are on one tip.
    pub fn settle_within(&mut self, ms: u64) {
        let mining = std::mem::replace(&mut self.mining, false);
        let end = self.now + ms;
        while self.now < end && self.tips().len() > 1 {
            self.run_for(4_000);
        }
        self.mining = mining;
        if self.tips().len() > 1 {
            self.settle(ms);
        }
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
        self.banned.contains(&(a, b)) || self.banned.contains(&(b, a))
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
                self.schedule(self.setup.tick_ms, Event::Tick(host));
            }
            Event::Slot => self.slot(),
            Event::Question { from, to, id, question } => self.question(from, to, id, question),
            Event::Answer { from, to, id, answer } => self.answered(from, to, id, answer),
            Event::Timeout { asker, peer, id } => {
                if let Some((_, _, question)) = self.open.remove(&id) {
                    self.feed(asker, Input::Failed { peer, question, why: Failure::Timeout });
                }
            }
            Event::HeadersJudged { host, life, source, headers, judged } if life == self.hosts[host].life => {
                self.feed(host, Input::HeadersJudged { source, headers, judged });
            }
            Event::View { host, life, view } if life == self.hosts[host].life => self.feed(host, Input::View(view)),
            // Whoever asked for it is dead.
            Event::HeadersJudged { .. } | Event::View { .. } => {}
            Event::Block { from, to, block } => self.block_announced(from, to, &block),
            Event::Transaction { from, to, tx } => self.transaction_came(from, to, &tx),
            Event::Register(index) => self.go_on_registering(index),
            Event::Turn { host, number } => self.turn(host, number),
        }
    }

    fn slot(&mut self) {
        self.schedule(SLOT_MS, Event::Slot);
        let found = self.rng.random_range(0..SLOTS_PER_BLOCK) == 0;
        let is_miner = |host: &usize| matches!(self.hosts[*host].role, Role::Honest | Role::Selfish);
        let miners: Vec<_> = (0..self.hosts.len()).filter(is_miner).collect();
        let miner = miners[self.rng.random_range(0..miners.len())];
        if !found || !self.mining {
            return;
        }
        match self.hosts[miner].role {
            Role::Honest if self.hosts[miner].mines() => self.find_block(miner),
            Role::Selfish => {
                let unix = self.host_unix(miner);
                self.hosts[miner].mine_in_secret(unix);
            }
            _ => {}
        }
    }

    /// What a player does once a second.
    fn turn(&mut self, host: usize, number: u64) {
        let unix = self.host_unix(host);
        match self.hosts[host].role {
            Role::LowWork if number < MAX_LOW_WORK => {
                let block = self.hosts[host].low_work(&self.genesis);
                self.low_work.push(block.hash());
                self.announce(host, &block);
            }
            Role::Withholder if number % 8 == 1 => self.hosts[host].withhold(unix, 7),
            Role::Poisoner if number % 6 == 1 => {
                let first: Vec<_> = (0..self.hosts.len()).filter(|_| self.rng.random()).collect();
                self.poison(host, &first, 1_500);
            }
            Role::Spammer if number % 2 == 1 => {
                let names: Vec<_> = self.registrations.iter().map(|one| one.name.clone()).collect();
                for tx in self.hosts[host].spam(number, &names) {
                    self.tell(host, &Arc::new(tx.into()));
                }
            }
            _ => {}
        }
        self.schedule(1_000, Event::Turn { host, number: number + 1 });
    }

    fn find_block(&mut self, miner: usize) {
        let unix = self.host_unix(miner);
        let block = self.hosts[miner].build_block(unix);
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
        if !self.hosts[to].role.relays() || !self.seen.insert((to, block.hash())) {
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
        if self.hosts[to].role == Role::Selfish {
            for block in self.hosts[to].selfish_turn() {
                self.judge(to, to, &block);
            }
        }
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
        self.seen.insert((host, block.hash()));
        for to in self.links[host].clone() {
            self.send(host, to, Event::Block { from: host, to, block: block.clone() });
        }
    }

    fn feed(&mut self, host: usize, input: Input<usize>) {
        // One that does nothing with what it hears needs no mind.
        if !self.hosts[host].role.relays() {
            return;
        }
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
                let life = self.hosts[host].life;
                self.schedule_job(Event::HeadersJudged { host, life, source, headers, judged });
            }
            Output::SubmitBlock { source, block } => {
                let judged = self.judge(host, source.peer(), &block);
                self.feed(host, Input::BlockJudged { source, block, judged });
            }
            Output::RefreshView { claims } => {
                let view = self.hosts[host].view(&claims);
                let life = self.hosts[host].life;
                self.schedule_job(Event::View { host, life, view });
            }
            Output::Disconnect { peer } => self.reconnect(host, peer),
            Output::Ban { peer, .. } => self.ban(host, peer),
            Output::ClockAlarm(offset) => self.hosts[host].clock_alarms += u32::from(offset.is_some()),
            Output::Replace { .. } => {}
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
        self.banned.insert((host, peer));
        self.hosts[host].bans.push(peer);
        self.feed(host, Input::Disconnected { peer });
        self.feed(peer, Input::Disconnected { peer: host });
    }

    /// Registers a name at a host: commits now, reveals as soon as the commit is ripe, and looks again every second, for
    /// the case that a reorganisation takes something back or that others pay more.
    pub fn register(&mut self, host: usize, name: &Name, seed: u64) {
        self.registrations.push(Registration::new(host, name.clone(), seed));
        self.go_on_registering(self.registrations.len() - 1);
    }

    fn go_on_registering(&mut self, index: usize) {
        let registration = &mut self.registrations[index];
        let host = registration.host;
        if let Some(tx) = registration.next(&self.hosts[host].model, self.now) {
            self.own_transaction(host, &tx);
        }
        self.schedule(1_000, Event::Register(index));
    }

    /// What a host made itself goes to all, whether or not it found room here.
    fn own_transaction(&mut self, host: usize, tx: &Arc<Offered>) {
        let unix = self.host_unix(host);
        let Host { desk, core, .. } = &mut self.hosts[host];
        // Refused by its own mempool only while it is there already, or while the branch changes.
        let _ = desk.offer(core, tx, TxOrigin::Local, unix);
        self.tell(host, tx);
    }

    fn tell(&mut self, host: usize, tx: &Arc<Offered>) {
        for to in self.links[host].clone() {
            self.send(host, to, Event::Transaction { from: host, to, tx: tx.clone() });
        }
    }

    fn transaction_came(&mut self, from: usize, to: usize, tx: &Arc<Offered>) {
        if !self.hosts[to].role.relays() {
            return;
        }
        let (unix, now) = (self.host_unix(to), self.now);
        let Host { desk, core, .. } = &mut self.hosts[to];
        if !desk.is_news(&tx.wtxid, now) {
            return;
        }
        match desk.offer(core, tx, TxOrigin::Peer(from as u64), unix) {
            Ok(()) => {
                self.note(5, from, to, tx.txid.as_ref());
                self.tell(to, tx);
            }
            Err(rejection) => {
                if let (_, Some(offence)) = relay_of_rejection(&rejection) {
                    self.feed(to, Input::Misbehaved { peer: from, offence });
                }
            }
        }
    }
}

impl Drop for World {
    /// Says how to see a failure again: a run depends on nothing but the test and its seed.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let test = std::thread::current().name().unwrap_or("TEST").to_owned();
            let seed = self.setup.seed;
            eprintln!("seed {seed}: SIMULATION_SEED={seed} cargo nextest run -p node --test simulation {test}");
        }
    }
}

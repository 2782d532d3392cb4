//! The state machine alone, with hand-made events.

use std::sync::Arc;

use ledger::{
    block::{Block, Header},
    hash::BlockHash,
    params::Network,
    rules::Fault,
};
use rand::{RngCore, SeedableRng, rngs::StdRng};

use super::*;

mod bodies;
mod headers;
mod verdict;

const SECOND: u64 = 1_000;
/// The time of every tip of the bench, and of its wall clock at the start.
const UNIX: u64 = 2_000_000_000;

/// A node, driven by hand, that knows the blocks of one chain up to some height by header and to a lower one by body,
/// and perhaps a second branch. It answers the questions for a view itself, unless it is told not to.
struct Bench {
    sync: Sync<u32>,
    rng: StdRng,
    now: Millis,
    blocks: Vec<Arc<Block>>,
    tip: u32,
    best: u32,
    /// A branch of other blocks: known by header alone, from this height on.
    beside_from: u32,
    beside: Vec<Arc<Block>>,
    answers_views: bool,
    asked_claims: Vec<BlockHash>,
    /// Questions for headers, and when they were put.
    asked_headers: Vec<(u64, u32)>,
    /// Questions for bodies that were put.
    asked_bodies: Vec<(u32, u64, Vec<BlockHash>)>,
    /// The last block of that branch that has come, if any.
    came: Option<BlockHash>,
    /// Answers that crawled up the chain of others so far.
    crawled: u32,
}

impl Bench {
    fn new() -> Self {
        let config = Config { status_interval_ms: 1_000, company: Company::Needed };
        let mut bench = Self {
            sync: Sync::new(config),
            rng: StdRng::seed_from_u64(1),
            now: Millis(0),
            blocks: blocks(BlockHash::ZERO, 0..200, 0),
            tip: 0,
            best: 0,
            beside_from: 0,
            beside: Vec::new(),
            answers_views: true,
            asked_claims: Vec::new(),
            asked_headers: Vec::new(),
            asked_bodies: Vec::new(),
            came: None,
            crawled: 0,
        };
        bench.tick();
        bench
    }

    /// A node at `tip` without peers.
    fn alone(tip: u32) -> Self {
        let mut bench = Self::new();
        (bench.tip, bench.best) = (tip, tip);
        bench.give(Input::ChainMoved);
        bench
    }

    /// A node at `tip` that is connected to these outbound peers, which told nothing yet.
    fn among(tip: u32, peers: std::ops::RangeInclusive<u32>) -> Self {
        let mut bench = Self::alone(tip);
        peers.for_each(|peer| bench.connect(peer, Direction::Outbound));
        bench
    }

    fn connect(&mut self, peer: u32, direction: Direction) {
        self.give(Input::Connected { peer, direction });
    }

    fn give(&mut self, input: Input<u32>) -> Vec<Output<u32>> {
        let mut out = self.sync.handle(self.now, &mut self.rng, input);
        let mut asked = self.note_question(&out);
        while asked && self.answers_views {
            let view = self.view();
            let more = self.sync.handle(self.now, &mut self.rng, Input::View(view));
            asked = self.note_question(&more);
            out.extend(more);
        }
        out
    }

    fn note_question(&mut self, out: &[Output<u32>]) -> bool {
        let asked = out.iter().rev().find_map(|output| match output {
            Output::RefreshView { claims } => Some(claims.clone()),
            _ => None,
        });
        self.asked_headers.extend(out.iter().filter_map(|output| match output {
            Output::AskHeaders { peer, .. } => Some((self.now.0, *peer)),
            _ => None,
        }));
        self.asked_bodies.extend(asked_bodies(out));
        let is_asked = asked.is_some();
        self.asked_claims = asked.unwrap_or(std::mem::take(&mut self.asked_claims));
        is_asked
    }

    fn tick(&mut self) -> Vec<Output<u32>> {
        let unix_now = UNIX + self.now.0 / 1_000;
        self.give(Input::Tick { unix_now })
    }

    /// Lets time pass in steps of a quarter of a second.
    fn pass(&mut self, ms: u64) -> Vec<Output<u32>> {
        let (end, mut out) = (self.now.0 + ms, Vec::new());
        while self.now.0 < end {
            self.now = Millis(self.now.0 + 250);
            out.extend(self.tick());
        }
        out
    }

    fn point(&self, height: u32) -> Point {
        Point { height, hash: self.hash(height), work: u128::from(height) * 10 }
    }

    /// What the chain says now.
    fn view(&self) -> View {
        let mut branches = Vec::new();
        if !self.beside.is_empty() {
            let height = |index: usize| self.beside_from + index as u32;
            let missing = self.beside.iter().enumerate().map(|(index, block)| (height(index), block.hash())).collect();
            let end = height(self.beside.len() - 1);
            let hash = self.beside.last().expect("not empty").hash();
            let end = Point { height: end, hash, work: u128::from(end) * 10 + 5 };
            let base = self.came.unwrap_or_else(|| self.hash(self.beside_from - 1));
            branches.push(WantedBranch { end, base, missing });
        }
        if self.best > self.tip {
            let missing = (self.tip + 1..=self.best).map(|height| (height, self.hash(height))).collect();
            branches.push(WantedBranch { end: self.point(self.best), base: self.hash(self.tip), missing });
        }
        let sight = |hash: &BlockHash| {
            let on = |branch: &WantedBranch| branch.missing.iter().find(|(_, other)| other == hash).map(|at| at.0);
            let wanted = branches.iter().enumerate().find_map(|(branch, found)| Some((branch, on(found)?)));
            let is_ours = (0..=self.tip).any(|height| self.hash(height) == *hash);
            match wanted {
                Some((branch, height)) => Sight::Wanted { branch, height },
                None if is_ours => Sight::Settled,
                None => Sight::Unknown,
            }
        };
        View {
            tip: self.point(self.tip),
            is_refusing: false,
            header_height: self.best,
            locator: vec![self.hash(0)],
            claims: self.asked_claims.iter().map(|hash| (*hash, sight(hash))).collect(),
            branches,
        }
    }

    fn hash(&self, height: u32) -> BlockHash {
        self.blocks[height as usize].hash()
    }

    fn block_of(&self, hash: &BlockHash) -> Arc<Block> {
        let mut all = self.blocks.iter().chain(&self.beside);
        all.find(|block| block.hash() == *hash).expect("a block of the bench").clone()
    }

    fn claims_at(&mut self, peer: u32, claim: Claim) -> Vec<Output<u32>> {
        self.give(Input::Status { peer, claim, lowest_body: 1, clock_offset_s: 0 })
    }

    fn claims(&mut self, peer: u32, height: u32) -> Vec<Output<u32>> {
        self.claims_at(peer, self.point(height))
    }

    fn meet(&mut self, peer: u32, height: u32) -> Vec<Output<u32>> {
        let mut out = self.give(Input::Connected { peer, direction: Direction::Outbound });
        out.extend(self.claims(peer, height));
        out
    }

    /// A peer answers with these headers, and the chain says this of them and has them from now on.
    fn answer_headers(
        &mut self,
        peer: u32,
        heights: std::ops::RangeInclusive<u32>,
        judged: Judged,
    ) -> Vec<Output<u32>> {
        let headers: Vec<_> = heights.clone().map(|height| self.blocks[height as usize].header).collect();
        let mut out = self.give(Input::Headers { peer, headers: headers.clone() });
        let source = Source::Answer(peer);
        assert!(out.iter().any(|o| matches!(o, Output::SubmitHeaders { .. })), "peer {peer} was not asked");
        if judged == Judged::Accepted {
            self.best = self.best.max(*heights.end());
        }
        out.extend(self.give(Input::HeadersJudged { source, headers, judged }));
        out
    }

    /// A peer gives what it was asked for, and the chain takes it; of the main chain it becomes the tip.
    fn deliver(&mut self, peer: u32, batch: u64, hashes: &[BlockHash]) -> Vec<Output<u32>> {
        let blocks: Vec<_> = hashes.iter().map(|hash| self.block_of(hash)).collect();
        let mut out = self.give(Input::Bodies { peer, batch, bodies: blocks.iter().cloned().map(Some).collect() });
        for block in blocks {
            if self.hash(self.tip + 1) == block.hash() {
                self.tip += 1;
            }
            let (source, judged) = (Source::Answer(peer), Judged::Accepted);
            out.extend(self.give(Input::BlockJudged { source, block, judged }));
        }
        out
    }

    /// Puts another branch beside the main one, of which only headers are known.
    fn withhold(&mut self, heights: std::ops::Range<u32>) {
        self.beside_from = heights.start;
        self.beside = blocks(self.hash(heights.start - 1), heights, 1);
    }

    /// The lowest blocks of that branch come, from whoever was asked for them first.
    fn deliver_beside(&mut self, count: usize) {
        let (peer, batch, hashes) = self.asked_bodies.remove(0);
        for hash in &hashes[..count] {
            let block = self.block_of(hash);
            self.give(Input::Bodies { peer, batch, bodies: vec![Some(block.clone())] });
            // What has come is missing no more.
            (self.beside_from, self.came) = (self.beside_from + 1, Some(*hash));
            self.beside.remove(0);
            self.give(Input::BlockJudged { source: Source::Answer(peer), block, judged: Judged::Accepted });
        }
    }

    fn is_synced(&self) -> bool {
        self.sync.verdict().is_synced()
    }
}

/// Blocks on top of each other that differ from all others; nothing here checks rules.
fn blocks(mut parent: BlockHash, heights: std::ops::Range<u32>, branch: u64) -> Vec<Arc<Block>> {
    let one = |height| {
        let mut header: Header = Network::Local.params().genesis();
        (header.core.height, header.core.nonce, header.core.prev) = (height, branch, parent);
        parent = header.hash();
        Arc::new(Block { header, transactions: Vec::new() })
    };
    heights.map(one).collect()
}

fn asked_bodies(out: &[Output<u32>]) -> Vec<(u32, u64, Vec<BlockHash>)> {
    out.iter()
        .filter_map(|o| match o {
            Output::AskBodies { peer, batch, hashes } => Some((*peer, *batch, hashes.clone())),
            _ => None,
        })
        .collect()
}

fn is_ban(out: &[Output<u32>]) -> bool {
    out.iter().any(|o| matches!(o, Output::Ban { .. }))
}

fn asks_headers_of(out: &[Output<u32>], peer: u32) -> bool {
    out.iter().any(|o| matches!(o, Output::AskHeaders { peer: asked, .. } if *asked == peer))
}

#[test]
fn blocks_from_the_future_wait_and_cost_nothing() {
    let mut bench = Bench::among(0, 1..=1);
    bench.claims(1, 0);
    let block = bench.blocks[1].clone();
    let judged = Judged::Deferred { until: UNIX + 5 };
    bench.give(Input::BlockJudged { source: Source::Gossip(1), block, judged });
    let submits = |out: &[Output<u32>]| out.iter().any(|o| matches!(o, Output::SubmitBlock { .. }));
    assert!(!submits(&bench.give(Input::Tick { unix_now: UNIX + 4 })));
    assert!(submits(&bench.give(Input::Tick { unix_now: UNIX + 5 })));
    assert!(!submits(&bench.give(Input::Tick { unix_now: UNIX + 6 })));
}

#[test]
fn an_unknown_parent_leads_to_a_question() {
    let mut bench = Bench::among(0, 1..=1);
    bench.claims(1, 0);
    let judged = Judged::UnknownParent(BlockHash::ZERO);
    let block = bench.blocks[5].clone();
    let out = bench.give(Input::BlockJudged { source: Source::Gossip(1), block, judged });
    assert!(asks_headers_of(&out, 1));
}

#[test]
fn the_clock_alarm_needs_five_outbound_peers() {
    let mut bench = Bench::new();
    for peer in 0..5 {
        bench.connect(peer, Direction::Outbound);
        let out = bench.give(Input::Status { peer, claim: Claim::default(), lowest_body: 1, clock_offset_s: 90 });
        assert_eq!(out.iter().any(|o| matches!(o, Output::ClockAlarm(Some(90)))), peer == 4);
    }
    assert!(bench.sync.verdict().clock_alarm);
}

#[test]
fn relaying_follows_the_fault() {
    let invalid = |fault| Judged::Invalid { fault, code: "x" };
    assert_eq!(relay_of(Judged::Accepted), Relay::Accept);
    assert_eq!(relay_of(invalid(Fault::Relayer)), Relay::Reject);
    assert_eq!(relay_of(invalid(Fault::Sender)), Relay::Ignore);
    assert_eq!(relay_of(invalid(Fault::Nobody)), Relay::Ignore);
    assert_eq!(relay_of(Judged::Deferred { until: 1 }), Relay::Ignore);
    assert_eq!(relay_of(Judged::OnInvalid), Relay::Ignore);
    assert_eq!(relay_of(Judged::FarFromTip), Relay::Ignore);
}

/// What only some nodes can know to be invalid is held against nobody, a thousand times over.
#[test]
fn nobody_is_blamed_for_what_it_may_not_know() {
    let mut bench = Bench::among(0, 1..=1);
    bench.claims(1, 0);
    let judgements = [
        Judged::OnInvalid,
        Judged::FarFromTip,
        Judged::LowWork,
        Judged::Invalid { fault: Fault::Sender, code: "state_root" },
        Judged::Invalid { fault: Fault::Nobody, code: "anchor_tag" },
        Judged::UnknownParent(BlockHash::ZERO),
        Judged::Unjudged,
    ];
    for round in 0..1_000 {
        let judged = judgements[round % judgements.len()];
        for source in [Source::Gossip(1), Source::Answer(1), Source::Waited(1)] {
            let block = bench.blocks[7].clone();
            let headers = vec![block.header];
            assert!(!is_ban(&bench.give(Input::BlockJudged { source, block, judged })));
            assert!(!is_ban(&bench.give(Input::HeadersJudged { source, headers, judged })));
        }
    }
    assert_eq!(bench.sync.score_of(bench.now, &1), 0);
    let (source, block) = (Source::Gossip(1), bench.blocks[7].clone());
    let judged = Judged::Invalid { fault: Fault::Relayer, code: "header_work" };
    assert!(is_ban(&bench.give(Input::BlockJudged { source, block, judged })), "but what shows to everybody is");
}

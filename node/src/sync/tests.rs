//! The state machine alone, with hand-made events.

use std::sync::Arc;

use ledger::{
    block::{Block, Header},
    hash::BlockHash,
    params::Network,
    rules::Fault,
};
use rand::{SeedableRng, rngs::StdRng};

use super::*;

/// A node whose chain is at genesis, driven by hand.
struct Bench {
    sync: Sync<u32>,
    rng: StdRng,
    now: Millis,
    blocks: Vec<Arc<Block>>,
}

impl Bench {
    fn new() -> Self {
        let config = Config { status_interval_ms: 1_000, company: Company::Needed };
        let blocks = (0..200).map(block).collect();
        Self { sync: Sync::new(config), rng: StdRng::seed_from_u64(1), now: Millis(0), blocks }
    }

    fn give(&mut self, input: Input<u32>) -> Vec<Output<u32>> {
        self.sync.handle(self.now, &mut self.rng, input)
    }

    fn view(&self, tip: u32, best: u32) -> View {
        let point = |height: u32| Point { height, hash: self.hash(height), work: u128::from(height) * 10 };
        View {
            tip: point(tip),
            best_header: point(best),
            refused_work: 0,
            locator: vec![self.hash(0)],
            wanted: (tip + 1..=best).map(|height| (height, self.hash(height))).collect(),
        }
    }

    fn hash(&self, height: u32) -> BlockHash {
        self.blocks[height as usize].hash()
    }

    fn block_of(&self, hash: &BlockHash) -> Arc<Block> {
        self.blocks.iter().find(|block| block.hash() == *hash).expect("a block of the bench").clone()
    }

    /// A peer answers with these headers, and the chain says this of them.
    fn answer_headers(
        &mut self,
        peer: u32,
        heights: std::ops::RangeInclusive<u32>,
        judged: Judged,
    ) -> Vec<Output<u32>> {
        let headers: Vec<_> = heights.map(|height| self.blocks[height as usize].header).collect();
        let mut out = self.give(Input::Headers { peer, headers: headers.clone() });
        let source = Source::Answer(peer);
        assert!(out.iter().any(|o| matches!(o, Output::SubmitHeaders { .. })), "peer {peer} was not asked");
        out.extend(self.give(Input::HeadersJudged { source, headers, judged }));
        out
    }

    /// A node at genesis that is connected to these peers, which told nothing yet.
    fn among(peers: std::ops::RangeInclusive<u32>) -> Self {
        let mut bench = Self::new();
        for peer in peers {
            bench.give(Input::Connected { peer, direction: Direction::Outbound });
        }
        let view = bench.view(0, 0);
        bench.give(Input::View(view));
        bench
    }

    fn claims(&mut self, peer: u32, height: u32) -> Vec<Output<u32>> {
        let claim = Claim { height, hash: BlockHash::ZERO, work: u128::from(height) * 10 };
        self.give(Input::Status { peer, claim, clock_offset_s: 0 })
    }

    fn meet(&mut self, peer: u32, height: u32) -> Vec<Output<u32>> {
        self.give(Input::Connected { peer, direction: Direction::Outbound });
        self.claims(peer, height)
    }
}

/// A block that differs from all others; nothing here checks rules.
fn block(height: u32) -> Arc<Block> {
    let mut header: Header = Network::Local.params().genesis();
    header.core.height = height;
    Arc::new(Block { header, transactions: Vec::new() })
}

fn asked_bodies(out: &[Output<u32>]) -> Vec<(u32, u64, Vec<BlockHash>)> {
    out.iter()
        .filter_map(|o| match o {
            Output::AskBodies { peer, batch, hashes } => Some((*peer, *batch, hashes.clone())),
            _ => None,
        })
        .collect()
}

#[test]
fn headers_are_asked_of_the_best_claim() {
    let mut bench = Bench::new();
    let view = bench.view(0, 0);
    bench.give(Input::View(view));
    assert!(!bench.meet(1, 0).iter().any(|o| matches!(o, Output::AskHeaders { .. })), "no more work than ours");
    assert!(bench.meet(2, 50).iter().any(|o| matches!(o, Output::AskHeaders { peer: 2, .. })));
}

#[test]
fn bodies_come_from_several_peers_within_limits() {
    let mut bench = Bench::new();
    for peer in 1..=4 {
        bench.meet(peer, 150);
    }
    let view = bench.view(0, 150);
    let asked = asked_bodies(&bench.give(Input::View(view)));
    for peer in 1..=4 {
        let count: usize = asked.iter().filter(|(p, ..)| *p == peer).map(|(.., hashes)| hashes.len()).sum();
        assert_eq!(count, bodies::PER_PEER, "peer {peer}");
    }
    let mut hashes: Vec<_> = asked.into_iter().flat_map(|(.., hashes)| hashes).collect();
    let all = hashes.len();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), all, "no block is asked of two peers at once");
}

#[test]
fn a_staller_is_replaced_after_two_seconds() {
    let mut bench = Bench::new();
    bench.meet(1, 1);
    let view = bench.view(0, 1);
    assert_eq!(asked_bodies(&bench.give(Input::View(view)))[0].0, 1);
    bench.meet(2, 1);
    bench.now = Millis(1_900);
    assert!(asked_bodies(&bench.give(Input::Tick { unix_now: 0 })).is_empty());
    bench.now = Millis(2_100);
    assert_eq!(asked_bodies(&bench.give(Input::Tick { unix_now: 0 }))[0].0, 2);
}

#[test]
fn a_block_that_a_peer_lacks_is_asked_of_another() {
    let mut bench = Bench::new();
    bench.meet(1, 1);
    let view = bench.view(0, 1);
    let (_, batch, _) = asked_bodies(&bench.give(Input::View(view))).remove(0);
    bench.meet(2, 1);
    let out = bench.give(Input::Bodies { peer: 1, batch, bodies: vec![None] });
    assert_eq!(asked_bodies(&out)[0].0, 2);
}

#[test]
fn wrong_bodies_ban_and_the_block_comes_from_elsewhere() {
    let mut bench = Bench::new();
    bench.meet(1, 1);
    let view = bench.view(0, 1);
    let (_, batch, hashes) = asked_bodies(&bench.give(Input::View(view))).remove(0);
    bench.meet(2, 1);
    let block = bench.block_of(&hashes[0]);
    let out = bench.give(Input::Bodies { peer: 1, batch, bodies: vec![Some(block.clone())] });
    assert!(matches!(out[0], Output::SubmitBlock { .. }));
    let judged = Judged::WrongBody { code: "tx_root" };
    let out = bench.give(Input::BlockJudged { source: Source::Answer(1), block, judged });
    assert!(out.iter().any(|o| matches!(o, Output::Ban { peer: 1, offence: Offence::WrongBody, .. })));
    assert_eq!(asked_bodies(&out)[0].0, 2);
}

#[test]
fn bodies_nobody_asked_for_are_an_offence() {
    let mut bench = Bench::new();
    bench.meet(1, 2);
    let view = bench.view(0, 1);
    let (_, batch, _) = asked_bodies(&bench.give(Input::View(view))).remove(0);
    let other = bench.blocks[2].clone();
    let out = bench.give(Input::Bodies { peer: 1, batch, bodies: vec![Some(other)] });
    assert!(!out.iter().any(|o| matches!(o, Output::SubmitBlock { .. })));
}

fn is_ban(out: &[Output<u32>]) -> bool {
    out.iter().any(|o| matches!(o, Output::Ban { .. }))
}

fn asks_headers_of(out: &[Output<u32>], peer: u32) -> bool {
    out.iter().any(|o| matches!(o, Output::AskHeaders { peer: asked, .. } if *asked == peer))
}

/// How peer 1, which claims 99 blocks and has none, answers.
fn check_empty_claim(answer: impl Fn(&mut Bench) -> Vec<Output<u32>>) {
    let mut bench = Bench::among(1..=1);
    let mut banned = false;
    for round in 0..5u64 {
        bench.now = Millis(round * 11_000);
        assert!(asks_headers_of(&bench.claims(1, 99), 1), "round {round}");
        let out = answer(&mut bench);
        assert!(!is_ban(&out) && bench.sync.claim_of(&1).is_some(), "not before the chain is looked at");
        let view = bench.view(0, 0);
        let out = bench.give(Input::View(view));
        banned |= is_ban(&out);
        assert!(!asks_headers_of(&out, 1));
        assert_eq!(bench.sync.verdict().target_height, 0);
    }
    assert!(banned);
}

#[test]
fn an_empty_claim_is_forgotten_and_in_the_end_punished() {
    check_empty_claim(|bench| bench.give(Input::Headers { peer: 1, headers: Vec::new() }));
}

#[test]
fn old_headers_do_not_fill_a_claim() {
    check_empty_claim(|bench| bench.answer_headers(1, 1..=1, Judged::Known));
}

#[test]
fn headers_that_hang_in_the_air_do_not_fill_a_claim() {
    check_empty_claim(|bench| bench.answer_headers(1, 98..=99, Judged::UnknownParent(BlockHash::ZERO)));
}

/// A peer on a fork that is refused here has more work than this node's chain, and nothing new to tell of it.
#[test]
fn peers_on_a_refused_fork_are_no_liars_and_hide_nobody() {
    let mut bench = Bench::among(1..=2);
    let view = View { refused_work: 990, ..bench.view(0, 0) };
    bench.give(Input::View(view.clone()));
    for round in 0..8u64 {
        bench.now = Millis(round * 11_000);
        assert!(asks_headers_of(&bench.claims(1, 99), 1), "round {round}");
        bench.answer_headers(1, 1..=1, Judged::Known);
        let out = bench.give(Input::View(view.clone()));
        assert!(!is_ban(&out) && !asks_headers_of(&out, 1));
        assert_eq!(bench.sync.claim_of(&1), None);
    }
    assert!(asks_headers_of(&bench.claims(2, 10), 2), "our own chain, lighter than the fork");
    assert_eq!((bench.sync.verdict().target_height, bench.sync.verdict().synced), (10, false));
}

/// Two peers are asked the same; whose answer is second has told nothing new, and has kept its word.
#[test]
fn a_twin_answer_costs_nothing() {
    let mut bench = Bench::among(1..=2);
    for height in 1..=20 {
        bench.claims(1, height);
        bench.claims(2, height);
        bench.answer_headers(1, height..=height, Judged::Accepted);
        let early = bench.view(0, height - 1);
        let out = bench.answer_headers(2, height..=height, Judged::Known);
        assert!(!is_ban(&out) && !asks_headers_of(&out, 1) && !asks_headers_of(&out, 2), "the same question again");
        // The view that was asked for after the first judgement may be a view from before the second.
        assert!(!is_ban(&bench.give(Input::View(early))));
        let view = bench.view(0, height);
        assert!(!is_ban(&bench.give(Input::View(view))));
        assert!(bench.sync.claim_of(&2).is_some());
    }
}

/// What a peer claims after it was asked cannot be in its answer.
#[test]
fn a_claim_that_rose_meanwhile_is_not_empty() {
    let mut bench = Bench::among(1..=1);
    for height in (1..=40).step_by(2) {
        bench.claims(1, height);
        bench.claims(1, height + 1);
        bench.answer_headers(1, height..=height, Judged::Known);
        let view = bench.view(0, height);
        assert!(asks_headers_of(&bench.give(Input::View(view)), 1), "there is more at {height}");
        bench.answer_headers(1, height + 1..=height + 1, Judged::Accepted);
        let view = bench.view(0, height + 1);
        bench.give(Input::View(view));
    }
    assert!(bench.sync.claim_of(&1).is_some() && !bench.sync.is_banned(bench.now, &1));
}

#[test]
fn headers_from_the_future_make_the_peer_rest_and_cost_nothing() {
    let mut bench = Bench::among(1..=1);
    let view = bench.view(0, 0);
    assert!(asks_headers_of(&bench.claims(1, 50), 1));
    for round in 0..20u64 {
        bench.now = Millis(round * 1_000);
        let unix = 100 + round;
        bench.answer_headers(1, 1..=1, Judged::Deferred { until: unix });
        assert!(!asks_headers_of(&bench.give(Input::View(view.clone())), 1), "asked at once for the same");
        // They were judged again in time, and by then they had come from somebody else.
        let out = bench.give(Input::Tick { unix_now: unix });
        let again = out.iter().find_map(|o| match o {
            Output::SubmitHeaders { source, headers } => Some((*source, headers.clone())),
            _ => None,
        });
        let (source, headers) = again.expect("what waited is judged again");
        bench.give(Input::HeadersJudged { source, headers, judged: Judged::Known });
        assert!(!is_ban(&bench.give(Input::View(view.clone()))));
        assert!(bench.sync.claim_of(&1).is_some());
        bench.now = Millis(round * 1_000 + 999);
        assert!(!asks_headers_of(&bench.give(Input::Tick { unix_now: unix }), 1));
        bench.now = Millis(round * 1_000 + 1_000);
        assert!(asks_headers_of(&bench.give(Input::Tick { unix_now: unix }), 1));
    }
}

/// A peer on a branch that is longer than one answer, while our own chain stands at a height that it reaches in the end.
fn bench_beside_a_long_branch() -> (Bench, View) {
    let mut bench = Bench::among(1..=1);
    bench.blocks.extend((200..5_000).map(block));
    let mut view = bench.view(0, 0);
    view.best_header = Point { height: 4_400, hash: BlockHash([9; 32]), work: 44_000 };
    bench.give(Input::View(view.clone()));
    assert!(asks_headers_of(&bench.claims(1, 4_500), 1));
    (bench, view)
}

fn header_locator(out: &[Output<u32>]) -> Option<Vec<BlockHash>> {
    out.iter().find_map(|o| match o {
        Output::AskHeaders { locator, .. } => Some(locator.clone()),
        _ => None,
    })
}

#[test]
fn a_branch_longer_than_an_answer_is_walked_to_its_end() {
    let (mut bench, view) = bench_beside_a_long_branch();
    for (heights, judged) in [(1..=2_000, Judged::Known), (2_001..=4_000, Judged::Accepted)] {
        let end = bench.hash(*heights.end());
        bench.answer_headers(1, heights, judged);
        let locator = header_locator(&bench.give(Input::View(view.clone()))).expect("asked for the rest");
        assert_eq!(locator, [end, bench.hash(0)]);
    }
    bench.answer_headers(1, 4_001..=4_500, Judged::Accepted);
    let view = bench.view(0, 4_500);
    assert!(!asks_headers_of(&bench.give(Input::View(view)), 1));
    assert_eq!(header_locator(&bench.claims(1, 4_501)), Some(vec![bench.hash(0)]), "where the best chain is left");
}

#[test]
fn the_same_full_answer_again_does_not_fill_a_claim() {
    let (mut bench, view) = bench_beside_a_long_branch();
    bench.answer_headers(1, 1..=2_000, Judged::Known);
    assert!(asks_headers_of(&bench.give(Input::View(view.clone())), 1));
    bench.answer_headers(1, 1..=2_000, Judged::Known);
    assert!(!asks_headers_of(&bench.give(Input::View(view)), 1));
    assert!(bench.sync.claim_of(&1).is_none() && bench.sync.score_of(bench.now, &1) > 0);
}

/// A slow answer is an answer, and nobody is asked twice meanwhile.
#[test]
fn an_overdue_answer_is_used() {
    let mut bench = Bench::among(1..=3);
    (1..=3).for_each(|peer| drop(bench.claims(peer, 50)));
    bench.now = Millis(4_100);
    assert!(bench.give(Input::Tick { unix_now: 0 }).iter().any(|o| matches!(o, Output::AskHeaders { .. })));
    bench.now = Millis(30_000);
    let out = bench.give(Input::Tick { unix_now: 0 });
    assert!(!out.iter().any(|o| matches!(o, Output::AskHeaders { .. })), "all three owe an answer");
    let headers = vec![bench.blocks[1].header];
    let out = bench.give(Input::Headers { peer: 1, headers });
    assert!(out.iter().any(|o| matches!(o, Output::SubmitHeaders { source: Source::Answer(1), .. })));
}

#[test]
fn blocks_from_the_future_wait_and_cost_nothing() {
    let mut bench = Bench::new();
    bench.meet(1, 0);
    let block = bench.blocks[1].clone();
    let judged = Judged::Deferred { until: 500 };
    bench.give(Input::BlockJudged { source: Source::Gossip(1), block, judged });
    assert!(!bench.give(Input::Tick { unix_now: 499 }).iter().any(|o| matches!(o, Output::SubmitBlock { .. })));
    assert!(bench.give(Input::Tick { unix_now: 500 }).iter().any(|o| matches!(o, Output::SubmitBlock { .. })));
    assert!(!bench.give(Input::Tick { unix_now: 501 }).iter().any(|o| matches!(o, Output::SubmitBlock { .. })));
}

#[test]
fn an_unknown_parent_leads_to_a_question() {
    let mut bench = Bench::new();
    let view = bench.view(0, 0);
    bench.give(Input::View(view));
    bench.meet(1, 0);
    let judged = Judged::UnknownParent(BlockHash::ZERO);
    let block = bench.blocks[5].clone();
    let out = bench.give(Input::BlockJudged { source: Source::Gossip(1), block, judged });
    assert!(out.iter().any(|o| matches!(o, Output::AskHeaders { peer: 1, .. })));
}

#[test]
fn synced_needs_company_and_does_not_waver() {
    let mut bench = Bench::new();
    let view = bench.view(0, 0);
    bench.give(Input::View(view));
    assert!(!bench.sync.verdict().is_synced());
    bench.meet(1, 0);
    assert!(bench.sync.verdict().is_synced());
    bench.meet(2, 100);
    assert!(bench.sync.verdict().is_synced(), "a claim alone proves nothing");
    let view = bench.view(0, 100);
    bench.give(Input::View(view));
    assert!(!bench.sync.verdict().is_synced());
    assert_eq!(bench.sync.verdict().target_height, 100);
}

#[test]
fn the_clock_alarm_needs_five_outbound_peers() {
    let mut bench = Bench::new();
    for peer in 0..5 {
        bench.give(Input::Connected { peer, direction: Direction::Outbound });
        let claim = Claim::default();
        let out = bench.give(Input::Status { peer, claim, clock_offset_s: 90 });
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
}

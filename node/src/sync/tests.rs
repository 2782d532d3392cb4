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

    fn meet(&mut self, peer: u32, height: u32) -> Vec<Output<u32>> {
        self.give(Input::Connected { peer, direction: Direction::Outbound });
        let claim = Claim { height, hash: BlockHash::ZERO, work: u128::from(height) * 10 };
        self.give(Input::Status { peer, claim, clock_offset_s: 0 })
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

#[test]
fn an_empty_claim_is_forgotten_and_in_the_end_punished() {
    let mut bench = Bench::new();
    let view = bench.view(0, 0);
    bench.give(Input::View(view));
    let mut banned = false;
    for round in 0..5u64 {
        bench.now = Millis(round * 11_000);
        assert!(bench.meet(1, 99).iter().any(|o| matches!(o, Output::AskHeaders { peer: 1, .. })));
        let out = bench.give(Input::Headers { peer: 1, headers: Vec::new() });
        banned |= out.iter().any(|o| matches!(o, Output::Ban { .. }));
        assert_eq!(bench.sync.verdict().target_height, 0);
    }
    assert!(banned);
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

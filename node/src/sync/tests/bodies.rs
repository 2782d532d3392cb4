//! Questions for bodies: along every heavier branch, withheld or not.

use super::*;

/// A node that knows all headers up to `best`, which these peers claim.
fn behind(best: u32, peers: std::ops::RangeInclusive<u32>) -> (Bench, Vec<Output<u32>>) {
    let mut bench = Bench::alone(0);
    bench.best = best;
    let out = peers.flat_map(|peer| bench.meet(peer, best)).collect();
    (bench, out)
}

#[test]
fn bodies_come_from_several_peers_within_limits() {
    let (mut bench, _) = behind(0, 1..=4);
    bench.best = 150;
    let mut asked = Vec::new();
    for peer in 1..=4 {
        asked.extend(asked_bodies(&bench.claims(peer, 150)));
    }
    for peer in 1..=4 {
        let count: usize = asked.iter().filter(|(p, ..)| *p == peer).map(|(.., hashes)| hashes.len()).sum();
        assert_eq!(count, crate::sync::bodies::PER_PEER, "peer {peer}");
    }
    let mut hashes: Vec<_> = asked.into_iter().flat_map(|(.., hashes)| hashes).collect();
    let all = hashes.len();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), all, "no block is asked of two peers at once");
}

#[test]
fn a_staller_is_replaced_after_two_seconds() {
    let (mut bench, out) = behind(1, 1..=1);
    assert_eq!(asked_bodies(&out)[0].0, 1);
    bench.meet(2, 1);
    assert!(asked_bodies(&bench.pass(1_750)).is_empty());
    assert_eq!(asked_bodies(&bench.pass(500))[0].0, 2);
}

#[test]
fn a_block_that_a_peer_lacks_is_asked_of_another() {
    let (mut bench, out) = behind(1, 1..=1);
    let (_, batch, _) = asked_bodies(&out).remove(0);
    bench.meet(2, 1);
    let out = bench.give(Input::Bodies { peer: 1, batch, bodies: vec![None] });
    assert_eq!(asked_bodies(&out)[0].0, 2);
}

#[test]
fn wrong_bodies_ban_and_the_block_comes_from_elsewhere() {
    let (mut bench, out) = behind(1, 1..=1);
    let (_, batch, hashes) = asked_bodies(&out).remove(0);
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
    let (mut bench, out) = behind(1, 1..=1);
    let (_, batch, _) = asked_bodies(&out).remove(0);
    let other = bench.blocks[2].clone();
    let out = bench.give(Input::Bodies { peer: 1, batch, bodies: vec![Some(other)] });
    assert!(!out.iter().any(|o| matches!(o, Output::SubmitBlock { .. })));
    assert!(bench.sync.score_of(bench.now, &1) > 0);
}

#[test]
fn nobody_is_asked_for_what_it_does_not_keep() {
    let mut bench = Bench::among(0, 1..=2);
    bench.best = 5;
    let claim = bench.point(5);
    bench.give(Input::Status { peer: 1, claim, lowest_body: 4, clock_offset_s: 0 });
    bench.give(Input::Status { peer: 2, claim, lowest_body: 1, clock_offset_s: 0 });
    let asked = asked_bodies(&bench.pass(SECOND));
    let of_one: Vec<_> = asked.iter().filter(|(peer, ..)| *peer == 1).flat_map(|(.., hashes)| hashes).collect();
    assert!(of_one.iter().all(|hash| **hash == bench.hash(4) || **hash == bench.hash(5)), "{of_one:?}");
}

/// A node at 5 that knows seven headers more whose bodies the peers 2 to `liars` + 1 claim, and the honest peer 1.
fn withheld(liars: u32) -> Bench {
    let mut bench = Bench::among(5, 1..=liars + 1);
    bench.claims(1, 5);
    assert!(bench.is_synced());
    bench.withhold(6..13);
    let end = bench.view().branches[0].end;
    (2..=liars + 1).for_each(|peer| drop(bench.claims_at(peer, end)));
    bench
}

impl Bench {
    /// Lets time pass; whoever is not honest, so everybody but peer 1, has not what it is asked for. Returns whom it asked.
    fn pass_refused(&mut self, ms: u64) -> Vec<u32> {
        let (end, mut asked) = (self.now.0 + ms, Vec::new());
        while self.now.0 < end {
            self.now = Millis(self.now.0 + 250);
            self.tick();
            let (honest, liars): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.asked_bodies).into_iter().partition(|(peer, ..)| *peer == 1);
            self.asked_bodies = honest;
            for (peer, batch, hashes) in liars {
                asked.push(peer);
                self.give(Input::Bodies { peer, batch, bodies: vec![None; hashes.len()] });
            }
        }
        asked
    }

    /// The honest peer gives what it was asked for, until there is nothing more.
    fn deliver_asked(&mut self) {
        while let Some(index) = self.asked_bodies.iter().position(|(peer, ..)| *peer == 1) {
            let (peer, batch, hashes) = self.asked_bodies.remove(index);
            self.deliver(peer, batch, &hashes);
        }
    }
}

/// While the disk is full a body is not fetched again and again.
#[test]
fn what_could_not_be_judged_is_asked_for_again_after_a_rest() {
    let (mut bench, _) = behind(1, 1..=1);
    let (peer, batch, hashes) = bench.asked_bodies.remove(0);
    let block = bench.block_of(&hashes[0]);
    bench.give(Input::Bodies { peer, batch, bodies: vec![Some(block.clone())] });
    let out = bench.give(Input::BlockJudged { source: Source::Answer(peer), block, judged: Judged::Unjudged });
    assert!(out.iter().any(|o| matches!(o, Output::RefreshView { .. })), "the chain may have taken it after all");
    assert!(asked_bodies(&bench.pass(9 * SECOND)).is_empty());
    assert_eq!(asked_bodies(&bench.pass(2 * SECOND)).len(), 1);
    assert!(!is_ban(&out) && bench.sync.score_of(bench.now, &1) == 0);
}

#[test]
fn withheld_bodies_change_neither_synced_nor_what_else_is_asked_for() {
    for silent in [false, true] {
        let mut bench = withheld(3);
        for _ in 0..200 {
            if silent {
                bench.pass(SECOND);
            } else {
                bench.pass_refused(SECOND);
            }
            bench.claims(1, 5);
            assert!(bench.is_synced(), "{:?}", bench.sync.verdict());
        }
        // The next honest block, which is lighter than those headers: its body is asked for, comes, and connects.
        bench.best = 6;
        bench.asked_bodies.clear();
        bench.claims(1, 6);
        bench.pass(SECOND);
        let asked = &bench.asked_bodies;
        assert!(asked.iter().any(|(peer, _, hashes)| *peer == 1 && hashes[..] == [bench.hash(6)]), "{asked:?}");
        bench.deliver_asked();
        assert_eq!(bench.tip, 6);
        assert!(bench.is_synced(), "{:?}", bench.sync.verdict());
    }
}

#[test]
fn a_withheld_branch_is_not_asked_for_again_and_again() {
    let mut bench = withheld(3);
    let early = bench.pass_refused(120 * SECOND);
    assert!((2..=4).all(|peer| early.contains(&peer)), "{early:?}");
    assert!(early.len() < 30, "a few questions to each: {early:?}");
    let later = bench.pass_refused(450 * SECOND);
    assert!(later.is_empty(), "and then none: {later:?}");
    let all = bench.pass_refused(60 * SECOND);
    assert!((2..=4).all(|peer| all.contains(&peer)), "but every ten minutes of all: {all:?}");
}

#[test]
fn a_withheld_branch_is_asked_of_every_new_claimant_and_when_a_body_comes() {
    let mut bench = withheld(3);
    bench.pass_refused(120 * SECOND);
    let end = bench.view().branches[0].end;
    bench.connect(9, Direction::Inbound);
    bench.claims_at(9, end);
    let asked = bench.pass_refused(20 * SECOND);
    assert!(asked.contains(&9), "{asked:?}");
    bench.pass_refused(120 * SECOND);
    // A body of it arrives, by gossip or whatever way.
    let (source, block, judged) = (Source::Gossip(9), bench.beside[3].clone(), Judged::Accepted);
    bench.give(Input::BlockJudged { source, block, judged });
    let asked = bench.pass_refused(20 * SECOND);
    assert!([2, 3, 4, 9].iter().all(|peer| asked.contains(peer)), "all are asked again: {asked:?}");
}

/// A peer that passed a header on before it had the block is asked again once it claims the block; one that claims this
/// and that is not asked more for it.
#[test]
fn a_peer_that_had_not_the_block_yet_is_asked_again_when_it_claims_it() {
    let mut bench = Bench::alone(5);
    bench.connect(2, Direction::Outbound);
    bench.claims(2, 5);
    bench.best = 6;
    let (source, headers) = (Source::Gossip(2), vec![bench.blocks[6].header]);
    bench.give(Input::HeadersJudged { source, headers, judged: Judged::Accepted });
    assert_eq!(bench.pass_refused(30 * SECOND), [2; 3], "it has not the block");
    bench.claims(2, 6);
    assert_eq!(bench.pass_refused(30 * SECOND), [2; 3]);
    for _ in 0..15 {
        bench.claims(2, 5);
        bench.claims(2, 6);
        bench.pass_refused(SECOND);
    }
    assert!(bench.pass_refused(30 * SECOND).is_empty(), "once a minute");
}

/// Silent liars claim the same branch as one honest peer; it is asked before they have used up much time.
#[test]
fn silent_liars_cannot_keep_the_honest_claimant_from_being_asked() {
    for liars in [1, 3, 20] {
        let mut bench = Bench::alone(5);
        bench.best = 12;
        for liar in 10..10 + liars {
            bench.connect(liar, Direction::Inbound);
            bench.claims(liar, 12);
        }
        bench.pass(30 * SECOND);
        bench.meet(1, 12);
        let mut waited = 0;
        while bench.tip < 12 && waited < 120 {
            bench.pass(SECOND);
            bench.deliver_asked();
            waited += 1;
        }
        assert_eq!(bench.tip, 12, "{liars} liars");
    }
}

/// Nobody connected keeps what is needed: outbound places are given up, two at a time, and kept by who delivers.
#[test]
fn places_are_given_up_for_a_peer_with_old_bodies() {
    let replaced = |out: &[Output<u32>]| -> Vec<u32> {
        out.iter().filter_map(|o| if let Output::Replace { peer } = o { Some(*peer) } else { None }).collect()
    };
    let mut bench = Bench::among(0, 1..=8);
    bench.best = 150;
    let claim = bench.point(150);
    let pruned =
        |bench: &mut Bench, peer| bench.give(Input::Status { peer, claim, lowest_body: 100, clock_offset_s: 0 });
    (1..=8).for_each(|peer| drop(pruned(&mut bench, peer)));
    let leaving = replaced(&bench.pass(30 * SECOND));
    assert_eq!(leaving.len(), 2, "{leaving:?}");
    assert_eq!(bench.sync.verdict().missing_body, Some(1));
    // One place goes to a peer that lacks it too, which leaves at once; the other one's peer stays, as it is an anchor.
    bench.give(Input::Disconnected { peer: leaving[0] });
    bench.connect(20, Direction::Outbound);
    pruned(&mut bench, 20);
    assert_eq!(replaced(&bench.pass(2 * SECOND)), [20]);
    bench.give(Input::Disconnected { peer: 20 });
    let next = replaced(&bench.pass(60 * SECOND));
    assert!(!next.is_empty() && next.len() <= 2 && !next.contains(&leaving[1]), "{next:?}");
    // Somebody claims to keep all and gives nothing: that place is not its own.
    next.iter().for_each(|peer| drop(bench.give(Input::Disconnected { peer: *peer })));
    bench.connect(30, Direction::Outbound);
    let mut out = bench.claims(30, 150);
    out.extend(bench.pass(SECOND));
    assert_eq!(bench.sync.verdict().missing_body, None);
    out.extend(bench.pass(130 * SECOND));
    assert!(replaced(&out).contains(&30));
    bench.give(Input::Disconnected { peer: 30 });
    // And one that delivers keeps it.
    bench.connect(40, Direction::Outbound);
    let out = bench.claims(40, 150);
    let (_, batch, hashes) = asked_bodies(&out).into_iter().find(|(peer, ..)| *peer == 40).expect("asked");
    bench.deliver(40, batch, &hashes);
    assert!(!replaced(&bench.pass(130 * SECOND)).contains(&40));
}

/// A peer that came by itself and is then chosen counts as outbound: it has a place, and gives it up like the others.
#[test]
fn a_peer_that_is_chosen_later_counts_as_outbound() {
    let is_replaced = |out: &[Output<u32>]| out.iter().any(|o| matches!(o, Output::Replace { peer: 1 }));
    let mut bench = Bench::alone(0);
    bench.best = 150;
    bench.connect(1, Direction::Inbound);
    let claim = bench.point(150);
    bench.give(Input::Status { peer: 1, claim, lowest_body: 100, clock_offset_s: 0 });
    assert!(!is_replaced(&bench.pass(30 * SECOND)), "it has no outbound place to give up");
    bench.give(Input::Chosen { peer: 1 });
    assert!(is_replaced(&bench.pass(30 * SECOND)));
    // Whoever is not connected has nothing to be changed.
    bench.give(Input::Chosen { peer: 2 });
    assert_eq!(bench.sync.peers.len(), 1);
}

/// While an announced block is being put together from the mempool, its body is not asked for; afterwards it is, whether
/// the shell says that it failed or is never heard of again.
#[test]
fn a_block_that_is_being_put_together_is_not_asked_for() {
    let mut bench = Bench::alone(0);
    let hash = bench.blocks[1].hash();
    bench.give(Input::RebuildBegan { hash });
    bench.best = 1;
    assert!(asked_bodies(&bench.meet(1, 1)).is_empty());
    assert!(asked_bodies(&bench.pass(3_000)).is_empty());
    assert_eq!(asked_bodies(&bench.give(Input::RebuildFailed { hash })).len(), 1);

    let mut bench = Bench::alone(0);
    bench.give(Input::RebuildBegan { hash });
    bench.best = 1;
    bench.meet(1, 1);
    assert!(asked_bodies(&bench.pass(9_000)).is_empty());
    assert_eq!(asked_bodies(&bench.pass(2_000)).len(), 1);
}

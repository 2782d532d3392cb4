//! When a node calls itself synced.

use super::*;

#[test]
fn synced_needs_company_and_does_not_waver() {
    let mut bench = Bench::alone(5);
    assert_eq!(bench.sync.verdict().reason, Some(Reason::NoPeers));
    bench.meet(1, 5);
    assert!(bench.is_synced());
    bench.meet(2, 100);
    assert!(bench.is_synced(), "a claim alone proves nothing");
    bench.best = 100;
    bench.give(Input::ChainMoved);
    assert!(bench.is_synced(), "nor do headers");
}

#[test]
fn a_heavier_branch_whose_bodies_come_ends_it() {
    let mut bench = Bench::among(5, 1..=1);
    bench.claims(1, 5);
    assert!(bench.is_synced());
    bench.best = 100;
    let out = bench.claims(1, 100);
    let (_, batch, hashes) = asked_bodies(&out).remove(0);
    assert!(bench.is_synced());
    bench.deliver(1, batch, &hashes[..1]);
    assert!(bench.is_synced(), "one block may be news");
    let hashes = [bench.hash(7)];
    bench.deliver(1, batch, &hashes);
    assert_eq!((bench.tip, bench.sync.verdict().reason), (7, Some(Reason::Behind)));
    assert_eq!(bench.sync.verdict().target_height, 100);
    // And when they stop coming, and nobody else shows more, the tip is the best there is.
    bench.give(Input::Disconnected { peer: 1 });
    bench.meet(2, 7);
    bench.pass(61 * SECOND);
    assert!(bench.is_synced());
}

#[test]
fn an_old_tip_needs_two_chosen_peers_that_agree() {
    let mut bench = Bench::among(5, 1..=3);
    bench.claims(1, 5);
    assert_eq!((bench.is_synced(), bench.sync.verdict().state), (true, State::Fresh));
    (2..=3).for_each(|peer| drop(bench.claims(peer, 5)));
    let later = |bench: &mut Bench, s: u64| {
        bench.now = Millis(bench.now.0 + s * 1_000);
        bench.tick();
    };
    later(&mut bench, 2_401);
    assert_eq!(bench.sync.verdict().reason, Some(Reason::TipOld), "they were silent all the time");
    assert_eq!(bench.sync.verdict().state, State::Offline);
    bench.claims(1, 5);
    assert!(!bench.is_synced(), "one is not enough where others were chosen as well");
    bench.claims(2, 5);
    assert_eq!((bench.is_synced(), bench.sync.verdict().state), (true, State::Quiet));
    later(&mut bench, 2_401);
    (10..20).for_each(|peer| bench.connect(peer, Direction::Inbound));
    (10..20).for_each(|peer| drop(bench.claims(peer, 5)));
    assert!(!bench.is_synced(), "whoever comes by itself says nothing");
}

#[test]
fn in_a_network_of_two_one_peer_is_enough() {
    let mut bench = Bench::among(5, 1..=1);
    bench.claims(1, 5);
    bench.now = Millis(9_000_000);
    bench.tick();
    assert!(!bench.is_synced());
    bench.claims(1, 5);
    assert!(bench.is_synced());
}

/// After a week asleep nothing that was said before counts, however short that was ago by the clock for waits.
#[test]
fn a_machine_that_slept_is_not_synced() {
    let mut bench = Bench::among(5, 1..=3);
    (1..=3).for_each(|peer| drop(bench.claims(peer, 5)));
    bench.pass(5 * SECOND);
    (1..=3).for_each(|peer| drop(bench.claims(peer, 5)));
    assert!(bench.is_synced());
    let out = bench.give(Input::Tick { unix_now: UNIX + 7 * 86_400 });
    assert_eq!(bench.sync.verdict().reason, Some(Reason::TipOld));
    assert_eq!(out.iter().filter(|o| matches!(o, Output::AskStatus { .. })).count(), 3, "all are asked at once");
}

//! When a node calls itself synced.

use super::*;

#[test]
fn synced_needs_company_and_does_not_waver() {
    let mut bench = Bench::alone(5);
    assert!(!bench.is_synced());
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
    assert_eq!((bench.tip, bench.is_synced()), (7, false));
    assert_eq!(bench.sync.verdict().target_height, 100);
    // And when they stop coming, and nobody else shows more, the tip is the best there is.
    bench.give(Input::Disconnected { peer: 1 });
    bench.meet(2, 7);
    bench.pass(61 * SECOND);
    assert!(bench.is_synced());
}

/// Heavier is what counts: a branch whose bodies come ends it also where it is not higher than the tip.
#[test]
fn a_heavier_branch_need_not_be_higher() {
    let mut bench = Bench::among(30, 1..=1);
    bench.claims(1, 30);
    assert!(bench.is_synced());
    bench.withhold(10..31);
    let end = bench.view().branches[0].end;
    assert_eq!(end.height, bench.tip);
    bench.claims_at(1, end);
    bench.deliver_beside(2);
    assert!(!bench.is_synced(), "{:?}", bench.sync.verdict());
}

/// Withheld blocks on top of an honest branch do not make the honest blocks part of theirs.
#[test]
fn blocks_of_others_below_withheld_ones_are_no_branch_that_comes() {
    let mut bench = Bench::among(30, 1..=2);
    (1..=2).for_each(|peer| drop(bench.claims(peer, 30)));
    bench.withhold(29..40);
    let point = |height: u32, hash| Point { height, hash, work: u128::from(height) * 10 + 5 };
    let honest = point(31, bench.beside[2].hash());
    bench.claims_at(1, honest);
    bench.claims_at(2, bench.view().branches[0].end);
    bench.deliver_beside(3);
    assert_eq!(bench.beside_from, 32, "all that the peer claims came");
    assert!(bench.is_synced(), "{:?}", bench.sync.verdict());
}

#[test]
fn peers_agree_that_this_node_chose_and_that_said_so_lately() {
    let mut bench = Bench::among(5, 1..=3);
    let agreeing = |bench: &Bench| bench.sync.agreeing().copied().collect::<Vec<_>>();
    (1..=3).for_each(|peer| drop(bench.claims(peer, 5)));
    (10..20).for_each(|peer| bench.connect(peer, Direction::Inbound));
    (10..20).for_each(|peer| drop(bench.claims(peer, 5)));
    assert_eq!(agreeing(&bench), [1, 2, 3], "whoever comes by itself says nothing");
    bench.now = Millis(bench.now.0 + 60 * SECOND);
    bench.tick();
    assert_eq!(agreeing(&bench), Vec::<u32>::new(), "they were silent all the time");
    bench.claims(2, 5);
    assert_eq!(agreeing(&bench), [2]);
    bench.claims(3, 100);
    assert_eq!(agreeing(&bench), [2], "one that claims more does not agree");
}

#[test]
fn in_a_network_of_two_the_only_peer_counts() {
    let mut bench = Bench::alone(5);
    bench.connect(1, Direction::Inbound);
    bench.claims(1, 5);
    assert_eq!(bench.sync.agreeing().count(), 1);
}

/// After a week asleep nothing that was said before counts, however short that was ago by the clock for waits.
#[test]
fn a_machine_that_slept_asks_everybody_at_once() {
    let mut bench = Bench::among(5, 1..=3);
    (1..=3).for_each(|peer| drop(bench.claims(peer, 5)));
    bench.pass(5 * SECOND);
    (1..=3).for_each(|peer| drop(bench.claims(peer, 5)));
    assert_eq!(bench.sync.agreeing().count(), 3);
    let out = bench.give(Input::Tick { unix_now: UNIX + 7 * 86_400 });
    assert_eq!(bench.sync.agreeing().count(), 0);
    assert_eq!(out.iter().filter(|o| matches!(o, Output::AskStatus { .. })).count(), 3);
}

//! The pool on its own: bounds, order, eviction.

use std::collections::BTreeSet;

use ledger::{
    params::Params,
    rules::{Violation, transaction::CheckedTransaction},
    testing::{TestChain, name, records, tiny_params},
    transaction::Body,
};

use super::*;
use crate::chain::TxOrigin;

fn pool(limits: Limits) -> Mempool {
    Mempool::new(tiny_params(), limits)
}

/// A chain with one block, so that there is something to anchor at.
fn chain() -> TestChain {
    let mut chain = TestChain::new(tiny_params());
    let block = chain.build(Vec::new()).expect("valid");
    chain.connect(&block).expect("valid");
    chain
}

fn admission(origin: TxOrigin, work_ratio: u64) -> Admission {
    Admission { origin, now: 0, standing: Standing::Ready, work_ratio }
}

fn commit(chain: &TestChain, n: u64) -> CheckedTransaction {
    chain.check(chain.maker().commit(&name(&format!("name-number-{n}")), n)).expect("valid by itself")
}

fn update(chain: &TestChain, text: &str, seq: u64) -> CheckedTransaction {
    let body = Body::Update { name: name(text), seq, operator: None, records: Some(records("x")) };
    chain.check(chain.maker().make(body, 1)).expect("valid by itself")
}

#[test]
fn four_per_name_and_one_per_commit() {
    let (mut pool, chain) = (pool(Limits::default()), chain());
    for seq in 1..=4 {
        pool.insert(update(&chain, "alice", seq), admission(TxOrigin::Local, 256)).expect("room");
    }
    let fifth = pool.insert(update(&chain, "alice", 5), admission(TxOrigin::Local, 256));
    assert_eq!(fifth.err(), Some(PoolRefusal::NameFull { max: 4 }));
    pool.insert(update(&chain, "bobby", 5), admission(TxOrigin::Local, 256)).expect("another name");

    pool.insert(commit(&chain, 1), admission(TxOrigin::Local, 256)).expect("room");
    assert_eq!(pool.insert(commit(&chain, 1), admission(TxOrigin::Local, 256)).err(), Some(PoolRefusal::Known));
    let mut later = chain;
    let block = later.build(Vec::new()).expect("valid");
    later.connect(&block).expect("valid");
    let same_commit = pool.insert(commit(&later, 1), admission(TxOrigin::Local, 256));
    assert_eq!(same_commit.err(), Some(PoolRefusal::CommitTaken));
    let reveal = later.check(later.maker().reveal(&name("name-number-1"), 1, records("x"))).expect("valid by itself");
    assert_eq!(pool.insert(reveal, admission(TxOrigin::Local, 256)).err(), Some(PoolRefusal::CommitTaken));
}

#[test]
fn a_peer_has_a_quarter() {
    let (mut pool, chain) = (pool(Limits { count: 16, ..Limits::default() }), chain());
    for n in 0..4 {
        pool.insert(commit(&chain, n), admission(TxOrigin::Peer(7), 256)).expect("within its share");
    }
    let fifth = pool.insert(commit(&chain, 4), admission(TxOrigin::Peer(7), 256));
    assert_eq!(fifth.err(), Some(PoolRefusal::PeerShare));
    pool.insert(commit(&chain, 4), admission(TxOrigin::Peer(8), 256)).expect("another peer");
    pool.remove(&commit(&chain, 0).txid()).expect("is there");
    pool.insert(commit(&chain, 5), admission(TxOrigin::Peer(7), 256)).expect("its share is free again");
    for n in 6..12 {
        pool.insert(commit(&chain, n), admission(TxOrigin::Local, 256)).expect("our own have no such bound");
    }
}

#[test]
fn a_full_pool_keeps_what_shows_most_work() {
    let (mut pool, chain) = (pool(Limits { count: 3, ..Limits::default() }), chain());
    for (n, ratio) in [(1, 300), (2, 900), (3, 600)] {
        pool.insert(commit(&chain, n), admission(TxOrigin::Local, ratio)).expect("room");
    }
    let low = pool.insert(commit(&chain, 4), admission(TxOrigin::Local, 300));
    assert_eq!(low.err(), Some(PoolRefusal::Full), "the older one of two equals stays");
    let (_, evicted) = pool.insert(commit(&chain, 4), admission(TxOrigin::Local, 400)).expect("ranks higher");
    assert_eq!(evicted.iter().map(|entry| entry.txid()).collect::<Vec<_>>(), [commit(&chain, 1).txid()]);
    let order: Vec<_> = pool.candidates().map(|entry| entry.work_ratio).collect();
    assert_eq!(order, [900, 600, 400]);
    assert_eq!((pool.count(), pool.view().count()), (3, 3));
    assert_eq!(pool.bytes(), pool.view().bytes());
}

#[test]
fn bytes_are_bounded_too() {
    let chain = chain();
    let one = commit(&chain, 1).transaction().byte_len();
    let mut pool = pool(Limits { bytes: 2 * one, ..Limits::default() });
    for n in 1..=2 {
        pool.insert(commit(&chain, n), admission(TxOrigin::Local, 256)).expect("room");
    }
    assert_eq!(pool.insert(commit(&chain, 3), admission(TxOrigin::Local, 256)).err(), Some(PoolRefusal::Full));
    assert_eq!(pool.bytes(), 2 * one);
}

#[test]
fn nothing_outlives_its_anchor() {
    let (mut pool, mut chain) = (pool(Limits::default()), chain());
    pool.insert(commit(&chain, 1), admission(TxOrigin::Local, 256)).expect("room");
    let block = chain.build(Vec::new()).expect("valid");
    chain.connect(&block).expect("valid");
    pool.insert(commit(&chain, 2), admission(TxOrigin::Local, 256)).expect("room");
    let window = params().anchor_window;
    assert!(pool.expire(1 + window).is_empty(), "the anchor at height 1 is good up to there");
    assert_eq!(pool.expire(2 + window).len(), 1);
    assert_eq!(pool.expire(3 + window).len(), 1);
    assert_eq!((pool.count(), pool.bytes(), pool.view().count()), (0, 0, 0));
}

#[test]
fn the_lower_sequence_number_goes_first() {
    let (mut pool, chain) = (pool(Limits::default()), chain());
    for (seq, ratio) in [(3, 900), (2, 256)] {
        pool.insert(update(&chain, "alice", seq), admission(TxOrigin::Local, ratio)).expect("room");
    }
    let seqs: Vec<_> = pool.candidates().filter_map(|entry| entry.transaction().body().seq()).collect();
    assert_eq!(seqs, [2]);
}

#[test]
fn rechecking_drops_restates_and_stays_within_its_bound() {
    let (mut pool, chain) = (pool(Limits::default()), chain());
    for n in 0..10 {
        pool.insert(commit(&chain, n), admission(TxOrigin::Local, 256 + n)).expect("room");
    }
    let bad = commit(&chain, 0);
    let keys: BTreeSet<_> = ledger::rules::apply::touched_keys([bad.transaction()], &params().chain_id());
    let mut asked = 0;
    let removed = pool.recheck(&keys, 3, |checked| {
        asked += 1;
        if checked.txid() == bad.txid() { Err(Violation::CommitExists) } else { Ok(Standing::WaitsUntil(9)) }
    });
    assert_eq!(asked, 3);
    assert_eq!(removed.len(), 1, "what a block touched is asked about first, though it ranks lowest");
    assert_eq!(removed[0].1, Removal::Invalid(Violation::CommitExists));
    assert_eq!(pool.candidates().count(), 7, "two wait, one is gone");
    let waiting = pool.view().all().into_iter().filter(|entry| entry.standing == Standing::WaitsUntil(9)).count();
    assert_eq!(waiting, 2);
}

fn params() -> &'static Params {
    tiny_params()
}

//! The pool on its own: places, order, eviction.

use std::{collections::BTreeSet, convert::Infallible};

use ledger::{
    hash::PolicyHash,
    params::Params,
    rules::{Violation, transaction::CheckedTransaction},
    testing::{TestChain, name, owner, records, tiny_params},
    transaction::{Body, RevokeMode},
};

use super::*;

/// Just enough work.
const ENOUGH: u64 = 256;

fn pool(limits: Limits) -> Mempool {
    Mempool::new(tiny_params(), limits)
}

/// A chain with one block, so that there is something to anchor at.
fn chain() -> TestChain {
    let mut chain = TestChain::new(tiny_params());
    chain.mine_empty(1);
    chain
}

/// A transaction with about this ratio of work.
fn worked(chain: &TestChain, body: Body, signer: u64, ratio: u64) -> CheckedTransaction {
    chain.check(chain.maker().make_worth(body, signer, ratio)).expect("valid by itself")
}

fn commit(chain: &TestChain, n: u64, ratio: u64) -> CheckedTransaction {
    worked(chain, chain.maker().commit_body(&name(&format!("name-number-{n}")), n), n, ratio)
}

fn update(chain: &TestChain, text: &str, seq: u64, ratio: u64) -> CheckedTransaction {
    let body = Body::Update { name: name(text), seq, operator: None, records: Some(records("x")) };
    worked(chain, body, 1, ratio)
}

fn reveal(chain: &TestChain, text: &str, seed: u64) -> CheckedTransaction {
    chain.check(chain.maker().reveal(&name(text), seed, records("x"))).expect("valid by itself")
}

fn place(commit: u32, tie: u8) -> RevealPlace {
    RevealPlace { precedence: (commit, [tie; 16]), is_contested: false }
}

/// Inserts what can go into the next block and is what it looks like, signed by its owner.
fn put(
    pool: &mut Mempool,
    checked: CheckedTransaction,
    origin: TxOrigin,
) -> Result<Vec<CheckedTransaction>, PoolRefusal> {
    let signer = checked.signer();
    let purpose = Purpose::of_change(checked.transaction().body(), &signer, Some(&owner(1)));
    put_for(pool, checked, origin, purpose.unwrap_or(Purpose::Reveal(place(1, 0))))
}

fn put_for(
    pool: &mut Mempool,
    checked: CheckedTransaction,
    origin: TxOrigin,
    purpose: Purpose,
) -> Result<Vec<CheckedTransaction>, PoolRefusal> {
    let admission = Admission { origin, now: 0, verdict: Verdict { standing: Standing::Ready, purpose } };
    let (_, left) = pool.insert(checked, admission)?;
    assert_eq!((pool.count(), pool.bytes()), (pool.view().count(), pool.view().bytes()));
    Ok(left.iter().map(|entry| entry.checked.clone()).collect())
}

fn put_own(pool: &mut Mempool, checked: CheckedTransaction) -> Result<Vec<CheckedTransaction>, PoolRefusal> {
    put(pool, checked, TxOrigin::Local)
}

/// What a builder takes, when the state takes everything.
fn chosen(pool: &Mempool, room: BlockRoom) -> Vec<CheckedTransaction> {
    let chosen = select(pool, room, |_| Ok::<_, Infallible>(true));
    let Ok(chosen) = chosen;
    chosen.iter().map(|entry| entry.checked.clone()).collect()
}

const WHOLE_BLOCK: BlockRoom = BlockRoom { bytes: 262_144, count: 2_048 };

#[test]
fn each_kind_has_two_places_of_its_own() {
    let (mut pool, chain) = (pool(Limits::default()), chain());
    let alice = || name("alice");
    let revoke = |seq, mode| Body::Revoke { name: alice(), seq, mode };
    let transfer = |seq| Body::Transfer { name: alice(), seq, owner: owner(2), operator: PolicyHash::ZERO };
    type Make<'a> = Box<dyn Fn(u64) -> Body + 'a>;
    let kinds: [(Kind, u64, Make<'_>); 7] = [
        (Kind::Burn, 1, Box::new(|n| revoke(n, RevokeMode::Burn))),
        (Kind::Release, 1, Box::new(|n| revoke(n, RevokeMode::Release))),
        (Kind::Cancel, 1, Box::new(|n| Body::Cancel { name: alice(), seq: n })),
        (Kind::Transfer, 1, Box::new(transfer)),
        (Kind::Renew, 1, Box::new(|n| Body::Renew { name: alice(), expires_at: n as u32 })),
        (Kind::OwnerUpdate, 1, Box::new(update_body)),
        (Kind::OperatorUpdate, 5, Box::new(update_body)),
    ];
    fn update_body(seq: u64) -> Body {
        Body::Update { name: name("alice"), seq, operator: None, records: Some(records("x")) }
    }
    // Strangers were here first, with more work than anybody else.
    for (kind, signer, body) in &kinds {
        for n in 1..=2 {
            let entered = worked(&chain, body(n * 10 + signer), *signer, ENOUGH);
            assert_eq!(put_own(&mut pool, entered), Ok(Vec::new()), "{kind:?}");
        }
        let third = |ratio| worked(&chain, body(30 + signer), *signer, ratio);
        let full = PoolRefusal::KindFull { places: 2, least_ratio: 288 };
        assert_eq!(put_own(&mut pool, third(280)), Err(full), "{kind:?}");
        let left = put_own(&mut pool, third(290)).expect("an eighth more");
        assert_eq!(left.len(), 1, "{kind:?}: of equals the younger one gives way");
        assert_eq!(left[0].transaction().body(), &body(20 + signer), "{kind:?}");
    }
    assert_eq!(pool.count(), 14);
    assert_eq!(put_own(&mut pool, update(&chain, "bobby", 5, ENOUGH)), Ok(Vec::new()), "another name");
}

#[test]
fn reveals_are_kept_by_precedence() {
    let (mut pool, chain) = (pool(Limits::default()), chain());
    let mut put = |seed: u64, commit: u32, tie: u8| {
        let purpose = Purpose::Reveal(place(commit, tie));
        put_for(&mut pool, reveal(&chain, "alice", seed), TxOrigin::Local, purpose)
            .map(|left| left.iter().map(CheckedTransaction::signer).collect::<Vec<_>>())
    };
    for (seed, commit) in [(1, 5), (2, 9), (3, 7), (4, 6)] {
        assert_eq!(put(seed, commit, 0), Ok(vec![]));
    }
    assert_eq!(put(5, 9, 0), Err(PoolRefusal::LaterReveal { places: 4 }), "equality keeps what is there");
    assert_eq!(put(6, 8, 9), Ok(vec![owner(2)]));
    assert_eq!(put(7, 8, 1), Ok(vec![owner(6)]), "the tie decides");
    assert_eq!(put(2, 9, 0), Err(PoolRefusal::LaterReveal { places: 4 }));
}

#[test]
fn one_per_commit() {
    let (mut pool, mut chain) = (pool(Limits::default()), chain());
    assert_eq!(put_own(&mut pool, commit(&chain, 1, ENOUGH)), Ok(vec![]));
    assert_eq!(put_own(&mut pool, commit(&chain, 1, ENOUGH)), Err(PoolRefusal::Known));
    chain.mine_empty(1);
    assert_eq!(put_own(&mut pool, commit(&chain, 1, ENOUGH)), Err(PoolRefusal::CommitTaken));
    let left = put_own(&mut pool, commit(&chain, 1, 290)).expect("an eighth more work");
    assert_eq!((left.len(), pool.count()), (1, 1));
    assert_eq!(put_own(&mut pool, reveal(&chain, "name-number-1", 1)), Err(PoolRefusal::CommitTaken));
}

/// A stranger can put other work under a signed transaction.
#[test]
fn the_same_transaction_gives_way_to_itself_with_an_eighth_more_work() {
    let (mut pool, chain) = (pool(Limits::default()), chain());
    assert_eq!(put_own(&mut pool, update(&chain, "alice", 5, ENOUGH)), Ok(vec![]));
    assert_eq!(put_own(&mut pool, update(&chain, "alice", 5, 280)), Err(PoolRefusal::Known));
    let left = put_own(&mut pool, update(&chain, "alice", 5, 400)).expect("enough more");
    assert_eq!((left.len(), pool.count()), (1, 1));
    let bytes = [256, 400].map(|ratio| update(&chain, "alice", 5, ratio).wtxid());
    let found: Vec<_> = pool.view().with_bytes(&bytes).iter().map(|entry| entry.wtxid()).collect();
    assert_eq!(found, bytes[1..], "only what is there now is found by its bytes");
    assert_eq!(put_own(&mut pool, update(&chain, "alice", 5, ENOUGH)), Err(PoolRefusal::Known));
    // Other work under a REVEAL there is none.
    let purpose = Purpose::Reveal(place(1, 0));
    assert_eq!(put_for(&mut pool, reveal(&chain, "alice", 1), TxOrigin::Local, purpose), Ok(vec![]));
    assert_eq!(put_for(&mut pool, reveal(&chain, "alice", 1), TxOrigin::Local, purpose), Err(PoolRefusal::Known));
}

#[test]
fn a_peer_has_a_quarter() {
    let (mut pool, chain) = (pool(Limits { count: 16, ..Limits::default() }), chain());
    for n in 0..4 {
        put(&mut pool, commit(&chain, n, ENOUGH), TxOrigin::Peer(7)).expect("within its share");
    }
    assert_eq!(put(&mut pool, commit(&chain, 4, ENOUGH), TxOrigin::Peer(7)), Err(PoolRefusal::PeerShare));
    put(&mut pool, commit(&chain, 4, ENOUGH), TxOrigin::Peer(8)).expect("another peer");
    pool.remove(&commit(&chain, 0, ENOUGH).txid()).expect("is there");
    put(&mut pool, commit(&chain, 5, ENOUGH), TxOrigin::Peer(7)).expect("its share is free again");
    for n in 6..12 {
        put_own(&mut pool, commit(&chain, n, ENOUGH)).expect("our own have no such bound");
    }
}

#[test]
fn a_full_pool_keeps_what_shows_most_work() {
    let (mut pool, chain) = (pool(Limits { count: 3, ..Limits::default() }), chain());
    for (n, ratio) in [(1, 300), (2, 900), (3, 600)] {
        put_own(&mut pool, commit(&chain, n, ratio)).expect("room");
    }
    let low = put_own(&mut pool, commit(&chain, 4, 300)).expect_err("the older one of two equals stays");
    assert!(matches!(low, PoolRefusal::Full { .. }) && low.least_ratio().is_some(), "{low:?}");
    let left = put_own(&mut pool, commit(&chain, 4, 400)).expect("ranks higher");
    assert_eq!(left[0].txid(), commit(&chain, 1, 300).txid());
    let order: Vec<_> = chosen(&pool, WHOLE_BLOCK).iter().map(CheckedTransaction::txid).collect();
    assert_eq!(order, [(2, 900), (3, 600), (4, 400)].map(|(n, ratio)| commit(&chain, n, ratio).txid()));
}

#[test]
fn a_full_pool_gives_up_what_ends_a_theft_last() {
    let (mut pool, chain) = (pool(Limits { count: 3, ..Limits::default() }), chain());
    let burn =
        |text, ratio| worked(&chain, Body::Revoke { name: name(text), seq: 5, mode: RevokeMode::Burn }, 1, ratio);
    let cancel = worked(&chain, Body::Cancel { name: name("alice"), seq: 5 }, 1, ENOUGH);
    for (n, ratio) in [(1, 9_000), (2, 8_000), (3, 7_000)] {
        put_own(&mut pool, commit(&chain, n, ratio)).expect("room");
    }
    for protected in [burn("alice", ENOUGH), cancel, reveal(&chain, "bobby", 2)] {
        assert_eq!(put_own(&mut pool, protected).expect("kept longest").len(), 1);
    }
    let full = put_own(&mut pool, commit(&chain, 4, 60_000));
    assert_eq!(full, Err(PoolRefusal::Full { least_ratio: u64::MAX }), "no work is enough");
    assert_eq!(put_own(&mut pool, burn("bobby", 300)).expect("more work of the same rank").len(), 1);
    let last = put_own(&mut pool, reveal(&chain, "carol", 3));
    assert_eq!(last, Err(PoolRefusal::Full { least_ratio: u64::MAX }));
}

#[test]
fn bytes_are_bounded_too() {
    let chain = chain();
    let one = commit(&chain, 1, ENOUGH).transaction().byte_len();
    let mut pool = pool(Limits { bytes: 2 * one, ..Limits::default() });
    for n in 1..=2 {
        put_own(&mut pool, commit(&chain, n, ENOUGH)).expect("room");
    }
    assert!(matches!(put_own(&mut pool, commit(&chain, 3, ENOUGH)), Err(PoolRefusal::Full { .. })));
    assert_eq!(pool.bytes(), 2 * one);
}

#[test]
fn nothing_outlives_its_anchor_nor_a_reveal_its_commit() {
    let (mut pool, mut chain) = (pool(Limits::default()), chain());
    put_own(&mut pool, commit(&chain, 1, ENOUGH)).expect("room");
    let purpose = Purpose::Reveal(place(3, 0));
    put_for(&mut pool, reveal(&chain, "alice", 9), TxOrigin::Local, purpose).expect("room");
    chain.mine_empty(1);
    put_own(&mut pool, commit(&chain, 2, ENOUGH)).expect("room");
    let Params { anchor_window, commit_ttl, .. } = *params();
    assert!(pool.expire(1 + anchor_window).is_empty(), "the anchor at height 1 is good up to there");
    assert_eq!(pool.expire(2 + anchor_window).len(), 1);
    assert_eq!(pool.expire(3 + anchor_window).len(), 1);
    assert!(pool.expire(3 + commit_ttl).is_empty(), "the commit of height 3 can be revealed up to there");
    assert_eq!(pool.expire(4 + commit_ttl).len(), 1);
    assert_eq!((pool.count(), pool.bytes(), pool.view().count()), (0, 0, 0));
}

#[test]
fn what_is_anchored_on_another_branch_leaves() {
    let (mut pool, mut chain) = (pool(Limits::default()), chain());
    put_own(&mut pool, commit(&chain, 1, ENOUGH)).expect("room");
    chain.mine_empty(1);
    put_own(&mut pool, commit(&chain, 2, ENOUGH)).expect("room");
    let left =
        pool.leave_branch(|height| chain.context_at(height).filter(|_| height < 2).map(|context| context.hash()));
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].transaction().anchor().height, 2);
}

#[test]
fn of_one_name_the_first_kind_goes_into_the_block() {
    let (mut pool, chain) = (pool(Limits::default()), chain());
    let alice = || name("alice");
    let revoke = |mode| Body::Revoke { name: alice(), seq: 3, mode };
    // From last to first, the later ones with more work.
    let bodies = [
        (Body::Update { name: alice(), seq: 1, operator: None, records: Some(records("x")) }, 5),
        (Body::Update { name: alice(), seq: 2, operator: None, records: Some(records("y")) }, 1),
        (Body::Renew { name: alice(), expires_at: 40 }, 1),
        (Body::Transfer { name: alice(), seq: 3, owner: owner(2), operator: PolicyHash::ZERO }, 1),
        (revoke(RevokeMode::Release), 1),
        (Body::Cancel { name: alice(), seq: 3 }, 1),
        (revoke(RevokeMode::Burn), 1),
    ];
    for (n, (body, signer)) in (0u64..).zip(&bodies) {
        put_own(&mut pool, worked(&chain, body.clone(), *signer, 9_000 - 1_000 * n)).expect("room");
        let [first] = &chosen(&pool, WHOLE_BLOCK)[..] else { panic!("one per name") };
        assert_eq!(first.transaction().body(), body);
    }
    put_own(&mut pool, reveal(&chain, "alice", 3)).expect("room");
    assert!(matches!(chosen(&pool, WHOLE_BLOCK)[0].transaction().body(), Body::Reveal { .. }));
    // What the state refuses makes way for the next one of the same name.
    let Ok(others) = select(&pool, WHOLE_BLOCK, |entry| Ok::<_, Infallible>(entry.kind() > Kind::Burn));
    let [next] = &others[..] else { panic!("one per name") };
    assert_eq!(next.kind(), Kind::Cancel);
}

#[test]
fn within_a_kind_work_decides_then_age() {
    let (mut pool, chain) = (pool(Limits::default()), chain());
    put_own(&mut pool, update(&chain, "alice", 3, ENOUGH)).expect("room");
    put_own(&mut pool, update(&chain, "alice", 2, ENOUGH)).expect("room");
    let seq = |pool: &Mempool| chosen(pool, WHOLE_BLOCK)[0].transaction().body().seq();
    assert_eq!(seq(&pool), Some(3), "the older one");
    put_own(&mut pool, update(&chain, "alice", 9, 900)).expect("more work");
    assert_eq!(seq(&pool), Some(9));
}

/// Neither a flood of REVEALs nor one of REVOKEs, nor one of anything else with much work, delays the others.
#[test]
fn quarters_of_the_block_are_kept() {
    let (mut pool, chain) = (pool(Limits::default()), chain());
    let burn = |n: u64| Body::Revoke { name: name(&format!("burnt-{n}")), seq: 5, mode: RevokeMode::Burn };
    for n in 0..40 {
        put_own(&mut pool, commit(&chain, n, 60_000)).expect("room");
        put_own(&mut pool, worked(&chain, burn(n), 1, 300)).expect("room");
        put_own(&mut pool, reveal(&chain, &format!("taken-{n}"), n)).expect("room");
    }
    let count = |chosen: &[CheckedTransaction], kind: u8| {
        chosen.iter().filter(|checked| checked.transaction().body().type_id() == kind).count()
    };
    let block = chosen(&pool, BlockRoom { count: 16, ..WHOLE_BLOCK });
    assert_eq!((count(&block, 2), count(&block, 7), count(&block, 1)), (4, 4, 8));
    // What the quarters leave is for everybody.
    let block = chosen(&pool, BlockRoom { count: 110, ..WHOLE_BLOCK });
    assert_eq!((count(&block, 2), count(&block, 7), count(&block, 1)), (30, 40, 40));
    let reveal_bytes = reveal(&chain, "taken-1", 1).transaction().byte_len();
    let block = chosen(&pool, BlockRoom { bytes: 9 * reveal_bytes, ..WHOLE_BLOCK });
    assert_eq!(count(&block, 2), 2, "bytes are counted like places");
}

#[test]
fn reveals_of_names_in_their_contest_go_first() {
    let (mut pool, chain) = (pool(Limits::default()), chain());
    for (n, is_contested) in [(1, false), (2, true), (3, false)] {
        let purpose = Purpose::Reveal(RevealPlace { is_contested, ..place(n as u32, 0) });
        put_for(&mut pool, reveal(&chain, &format!("taken-{n}"), n), TxOrigin::Local, purpose).expect("room");
    }
    let order: Vec<_> = chosen(&pool, WHOLE_BLOCK).iter().map(CheckedTransaction::signer).collect();
    assert_eq!(order, [owner(2), owner(1), owner(3)]);
}

#[test]
fn rechecking_drops_restates_and_stays_within_its_bound() {
    let (mut pool, chain) = (pool(Limits::default()), chain());
    for n in 0..10 {
        put_own(&mut pool, commit(&chain, n, 300 + 100 * n)).expect("room");
    }
    let bad = commit(&chain, 0, 300);
    let keys: BTreeSet<_> = ledger::rules::apply::touched_keys([bad.transaction()], &params().chain_id());
    assert_eq!(pool.count_at(&keys), 1);
    let mut asked = 0;
    let removed = pool.recheck(&keys, 3, |entry| {
        asked += 1;
        let verdict = Verdict { standing: Standing::WaitsUntil(9), ..entry.verdict() };
        if entry.txid() == bad.txid() { Err(Violation::CommitExists) } else { Ok(verdict) }
    });
    assert_eq!(asked, 3);
    assert_eq!(removed.len(), 1, "what a block touched is asked about first, though it ranks lowest");
    assert_eq!(removed[0].1, Removal::Invalid(Violation::CommitExists));
    assert_eq!(chosen(&pool, WHOLE_BLOCK).len(), 7, "two wait, one is gone");
    let waiting = pool.view().all().into_iter().filter(|entry| entry.standing == Standing::WaitsUntil(9)).count();
    assert_eq!(waiting, 2);
}

/// No block touches a commit for it to become ripe.
#[test]
fn reveals_that_become_ripe_are_told_by_height() {
    let (mut pool, chain) = (pool(Limits::default()), chain());
    for (text, height) in [("alice", 7), ("bobby", 8)] {
        let verdict = Verdict { standing: Standing::WaitsUntil(height), purpose: Purpose::Reveal(place(1, 0)) };
        let admission = Admission { origin: TxOrigin::Local, now: 0, verdict };
        pool.insert(reveal(&chain, text, 1), admission).expect("room");
    }
    assert!(pool.ripe_at(6).is_empty());
    assert_eq!(pool.ripe_at(7), BTreeSet::from([name("alice").key()]));
    assert!(
        pool.recheck(&pool.ripe_at(7), 1, |entry| Ok(Verdict { standing: Standing::Ready, ..entry.verdict() }))
            .is_empty()
    );
    assert!(pool.ripe_at(7).is_empty());
    assert_eq!((pool.ripe_at(8).len(), chosen(&pool, WHOLE_BLOCK).len()), (1, 1));
}

#[test]
fn an_operator_who_became_the_owner_changes_kind_and_keeps_its_age() {
    let (mut pool, chain) = (pool(Limits::default()), chain());
    let body = |seq| Body::Update { name: name("alice"), seq, operator: None, records: Some(records("x")) };
    let first = worked(&chain, body(1), 5, ENOUGH);
    put_own(&mut pool, first.clone()).expect("room");
    put_own(&mut pool, worked(&chain, body(2), 1, ENOUGH)).expect("room");
    assert_eq!(chosen(&pool, WHOLE_BLOCK)[0].signer(), owner(1), "an owner's goes before an operator's");
    let keys = BTreeSet::from([name("alice").key()]);
    let none =
        pool.recheck(&keys, 2, |entry| Ok(Verdict { purpose: Purpose::Other(Kind::OwnerUpdate), ..entry.verdict() }));
    assert!(none.is_empty());
    assert_eq!(chosen(&pool, WHOLE_BLOCK)[0].txid(), first.txid(), "now the older one of two equals");
    assert_eq!(pool.count(), pool.view().count());
}

fn params() -> &'static Params {
    tiny_params()
}

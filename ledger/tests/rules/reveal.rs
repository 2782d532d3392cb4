//! Rules for COMMIT and REVEAL at their place in the chain, and for keys (protocol §4.6, §5.1, §6).

use ledger::{
    hash::{CommitHash, Key},
    name::Name,
    record::Records,
    rules::apply::apply,
    rules::context::{commit_is_ripe, precedence},
    state::delta::Loaded,
    state::{CommitState, Leaf, NameState, Status, commit_key, name_state::FLAG_CLAIMED},
    testing::{TestChain, name, params_with, tiny_params},
    transaction::{Body, RevokeMode, Transaction},
};

use crate::{Case, Outcome, case};

pub const CASES: &[Case] = &[
    case("key_touched_twice", "two commits alike", || in_one_block(twice), || in_one_block(commits_of_two)),
    case("key_touched_twice", "two reveals of a name", || in_one_block(rivals), || in_one_block(strangers)),
    case("key_touched_twice", "two updates", || in_one_block(two_updates), || in_one_block(one_update)),
    case("key_touched_twice", "a name deleted by age", || at_deletion(0), || at_deletion(1)),
    case("key_touched_twice", "a commit deleted by age", || reveal_after(ttl() + 1), || reveal_after(ttl())),
    case("key_collision", "a commit at a name's key", || under_name_key(a_commit()), under_name_key_its_own),
    case("key_collision", "another name at a name's key", || under_name_key(a_name()), under_name_key_its_own),
    case("key_collision", "a name at a commit's key", || under_commit_key(Some(a_name())), || under_commit_key(None)),
    case("key_collision", "another commit there", || under_commit_key(Some(a_commit())), || under_commit_key(None)),
    case("commit_exists", "again", || recommit(1), || recommit(2)),
    case("commit_exists", "of a spent commit", recommit_spent, || recommit(2)),
    case("commit_missing", "none was made", || reveal_by(2), || reveal_by(1)),
    case("commit_missing", "the commit has died", || reveal_after(ttl() + 2), || reveal_after(ttl())),
    case("commit_missing", "for another class", || reveal_class(2), || reveal_class(0)),
    case("commit_spent", "revealed twice", || reveal_again(1), || reveal_again(2)),
    case("commit_unripe", "a block early", || reveal_after(maturity() - 1), || reveal_after(maturity())),
    case("commit_expired", "a block late", || ripe(5 + ttl() + 1), || ripe(5 + ttl())),
    case("name_taken", "active", || late_rival(|c| c.height() + 1), || late_rival(release)),
    case("name_taken", "in grace", || late_rival(|c| release(c) - 1), || late_rival(release)),
    case("name_taken", "burned", || burned(0), || burned(1)),
    case("name_taken", "pending by a claim", || claimed(FLAG_CLAIMED), || claimed(0)),
    case("later_commit", "in the contest", || contest(&[1, 2]), || contest(&[2, 1])),
    case("later_commit", "a block's worse tie", || tied(true), || tied(false)),
    case("commit_before_release", "by a block", || drop_catch(1), || drop_catch(0)),
    case("commit_before_release", "in the contest", || drop_catch_contest(1), || drop_catch_contest(0)),
];

fn ttl() -> u32 {
    tiny_params().commit_ttl
}

fn maturity() -> u32 {
    tiny_params().maturity
}

fn alice() -> Name {
    name("alice-in-chains")
}

fn reveal(chain: &TestChain, name: &Name, seed: u64) -> Transaction {
    chain.maker().reveal(name, seed, Records::empty())
}

fn try_reveal(chain: &TestChain, name: &Name, seed: u64) -> Outcome {
    chain.judge(&[reveal(chain, name, seed)]).map(drop)
}

/// A chain in whose next block the commits of seeds 1 and 2 to two names, made in blocks 2 and 3, are both ripe.
fn ripe_commits() -> TestChain {
    let mut chain = TestChain::new(tiny_params());
    chain.mine_empty(1);
    for seed in [1, 2] {
        let maker = chain.maker();
        chain.mine(vec![maker.commit(&alice(), seed), maker.commit(&name("bob-in-chains"), seed)]).expect("new");
    }
    chain.mine_empty(maturity() - 1);
    chain
}

fn in_one_block(transactions: fn(&mut TestChain) -> Vec<Transaction>) -> Outcome {
    let mut chain = ripe_commits();
    let mut transactions = transactions(&mut chain);
    let forwards = chain.judge(&transactions).map(drop);
    transactions.reverse();
    assert_eq!(forwards, chain.judge(&transactions).map(drop), "the order inside a block has no effect");
    forwards
}

fn twice(chain: &mut TestChain) -> Vec<Transaction> {
    [0, 1].map(|below| chain.maker_at(chain.height() - below).commit(&alice(), 3)).to_vec()
}

fn commits_of_two(chain: &mut TestChain) -> Vec<Transaction> {
    [3, 4].map(|seed| chain.maker().commit(&alice(), seed)).to_vec()
}

fn rivals(chain: &mut TestChain) -> Vec<Transaction> {
    [1, 2].map(|seed| reveal(chain, &alice(), seed)).to_vec()
}

fn strangers(chain: &mut TestChain) -> Vec<Transaction> {
    vec![reveal(chain, &alice(), 1), reveal(chain, &name("bob-in-chains"), 2)]
}

fn update(chain: &TestChain, seq: u64) -> Transaction {
    chain.transaction(Body::Update { name: alice(), seq, operator: None, records: Some(Records::empty()) }, 3)
}

fn one_update(chain: &mut TestChain) -> Vec<Transaction> {
    chain.register(&alice(), 3);
    vec![update(chain, 2)]
}

fn two_updates(chain: &mut TestChain) -> Vec<Transaction> {
    chain.register(&alice(), 3);
    vec![update(chain, 2), update(chain, 3)]
}

fn release(chain: &TestChain) -> u32 {
    chain.state(&alice()).expect("registered").release_height(chain.params())
}

/// Reveals a released name so many blocks after the height of its deletion.
fn at_deletion(blocks_late: u32) -> Outcome {
    let mut chain = TestChain::new(tiny_params());
    chain.register(&alice(), 1);
    let deletion = release(&chain) + chain.params().delete_after;
    chain.mine_until(deletion - 4);
    chain.mine(vec![chain.maker().commit(&alice(), 2)])?;
    chain.mine_until(deletion + blocks_late - 1);
    try_reveal(&chain, &alice(), 2)
}

/// Reveals so many blocks after the commit.
fn reveal_after(blocks: u32) -> Outcome {
    let mut chain = TestChain::new(tiny_params());
    chain.mine(vec![chain.maker().commit(&alice(), 1)])?;
    chain.mine_empty(blocks - 1);
    try_reveal(&chain, &alice(), 1)
}

fn reveal_by(seed: u64) -> Outcome {
    let mut chain = TestChain::new(tiny_params());
    chain.mine(vec![chain.maker().commit(&alice(), 1)])?;
    chain.mine_empty(maturity());
    try_reveal(&chain, &alice(), seed)
}

/// Reveals as of this class what was committed as class 0.
fn reveal_class(shown: u8) -> Outcome {
    let mut chain = TestChain::new(tiny_params());
    chain.mine(vec![chain.maker().commit(&alice(), 1)])?;
    chain.mine_empty(maturity());
    let mut body = chain.maker().reveal_body(&alice(), 1, Records::empty());
    if let Body::Reveal { class, .. } = &mut body {
        *class = shown;
    }
    chain.judge(&[chain.transaction(body, 1)]).map(drop)
}

/// Reveals with the first commit, then with this one.
fn reveal_again(seed: u64) -> Outcome {
    let mut chain = ripe_commits();
    let other = if seed == 1 { alice() } else { name("bob-in-chains") };
    chain.mine(vec![reveal(&chain, &alice(), 1)])?;
    try_reveal(&chain, &other, seed)
}

fn recommit(seed: u64) -> Outcome {
    let mut chain = TestChain::new(tiny_params());
    chain.mine(vec![chain.maker().commit(&alice(), 1)])?;
    chain.judge(&[chain.maker().commit(&alice(), seed)]).map(drop)
}

fn recommit_spent() -> Outcome {
    let mut chain = ripe_commits();
    chain.mine(vec![reveal(&chain, &alice(), 1)])?;
    chain.judge(&[chain.maker().commit(&alice(), 1)]).map(drop)
}

fn ripe(height: u32) -> Outcome {
    commit_is_ripe(tiny_params(), height, 5)
}

/// Somebody else commits and reveals at the height that `when` says, long after the registration.
fn late_rival(when: fn(&TestChain) -> u32) -> Outcome {
    let mut chain = TestChain::new(tiny_params());
    chain.register(&alice(), 1);
    let height = when(&chain).max(chain.height() + 1 + maturity());
    let commit = if height >= release(&chain) { release(&chain) } else { height - maturity() };
    chain.mine_until(commit - 1);
    chain.mine(vec![chain.maker().commit(&alice(), 2)])?;
    chain.mine_until(height.max(commit + maturity()) - 1);
    try_reveal(&chain, &alice(), 2)
}

/// Reveals a burned name in its last burned block, or so many blocks later.
fn burned(later: u32) -> Outcome {
    let mut chain = TestChain::new(tiny_params());
    chain.register(&alice(), 1);
    chain.mine(vec![chain.transaction(Body::Revoke { name: alice(), seq: 2, mode: RevokeMode::Burn }, 1)])?;
    let free = release(&chain);
    let commit = if later == 0 { free - 1 - maturity() } else { free };
    chain.mine_until(commit - 1);
    chain.mine(vec![chain.maker().commit(&alice(), 2)])?;
    chain.mine_empty(maturity() - 1);
    try_reveal(&chain, &alice(), 2)
}

/// A reveal with the earlier commit, in the contest of an entry with these flags.
fn claimed(flags: u8) -> Outcome {
    let mut chain = ripe_commits();
    chain.mine(vec![reveal(&chain, &alice(), 2)])?;
    let held = NameState { flags, ..chain.state(&alice()).cloned().expect("revealed") };
    assert_eq!(held.status(chain.params(), chain.height() + 1), Status::Pending);
    judge_over(&chain, reveal(&chain, &alice(), 1), |loaded| {
        loaded.insert(alice().key(), Some(Leaf::Name(held.clone())));
    })
}

/// Judges one transaction over entries that no chain would give.
fn judge_over(
    chain: &TestChain,
    transaction: Transaction,
    change: impl Fn(&mut std::collections::BTreeMap<Key, Option<Leaf>>),
) -> Outcome {
    let keys = ledger::rules::apply::touched_keys([&transaction], &chain.chain_id());
    let mut leaves = keys.into_iter().map(|key| (key, chain.leaves().get(&key).cloned())).collect();
    change(&mut leaves);
    let (height, loaded) = (chain.height() + 1, Loaded { leaves, due: vec![] });
    let checked = chain.check(transaction)?;
    apply(chain.params(), &chain.chain_id(), chain, height, 9, &[checked], &loaded).map(drop)
}

fn a_commit() -> Leaf {
    Leaf::Commit(CommitState { class: 0, commit_hash: CommitHash([9; 32]), height: 1, spent: false })
}

fn a_name() -> Leaf {
    let mut chain = ripe_commits();
    chain.mine(vec![reveal(&chain, &name("bob-in-chains"), 1)]).expect("ripe");
    Leaf::Name(chain.state(&name("bob-in-chains")).cloned().expect("revealed"))
}

/// An update of a name at whose key this stands.
fn under_name_key(leaf: Leaf) -> Outcome {
    let mut chain = TestChain::new(tiny_params());
    chain.register(&alice(), 3);
    judge_over(&chain, update(&chain, 2), |leaves| {
        leaves.insert(alice().key(), Some(leaf.clone()));
    })?;
    unreachable!("the entry is not this name's")
}

fn under_name_key_its_own() -> Outcome {
    let mut chain = TestChain::new(tiny_params());
    chain.register(&alice(), 3);
    judge_over(&chain, update(&chain, 2), |_| {})
}

/// A commit at whose key this stands.
fn under_commit_key(standing: Option<Leaf>) -> Outcome {
    let chain = TestChain::new(tiny_params());
    let body = Body::Commit { class: 0, commit_hash: CommitHash([1; 32]) };
    judge_over(&chain, chain.transaction(body, 1), |leaves| {
        leaves.insert(commit_key(0, &CommitHash([1; 32])), standing.clone());
    })
}

/// Both have committed, 1 before 2; they reveal in this order.
fn contest(order: &[u64; 2]) -> Outcome {
    let mut chain = ripe_commits();
    chain.mine(vec![reveal(&chain, &alice(), order[0])])?;
    try_reveal(&chain, &alice(), order[1])
}

/// Two commits of one block; the one with the smaller tie reveals first, or second.
fn tied(better_first: bool) -> Outcome {
    let mut chain = TestChain::new(tiny_params());
    chain.mine([1, 2].map(|seed| chain.maker().commit(&alice(), seed)).to_vec())?;
    chain.mine_empty(maturity() - 1);
    let mut seeds = [1, 2];
    seeds.sort_by_key(|seed| {
        let Body::Commit { class, commit_hash } = chain.maker().commit_body(&alice(), *seed) else { unreachable!() };
        precedence(&chain, &CommitState { class, commit_hash, height: 1, spent: false }).expect("block 1 is known")
    });
    if !better_first {
        seeds.reverse();
    }
    chain.mine(vec![reveal(&chain, &alice(), seeds[0])])?;
    try_reveal(&chain, &alice(), seeds[1])
}

/// A chain on which seed 2 committed to a registered name so many blocks before its release.
fn committed_before_release(blocks: u32) -> TestChain {
    let mut chain = TestChain::new(tiny_params());
    chain.register(&alice(), 1);
    chain.mine_until(release(&chain) - blocks - 1);
    chain.mine(vec![chain.maker().commit(&alice(), 2)]).expect("new");
    chain
}

fn drop_catch(blocks: u32) -> Outcome {
    let mut chain = committed_before_release(blocks);
    chain.mine_empty(maturity());
    try_reveal(&chain, &alice(), 2)
}

/// The same in the contest that an honest commit has opened.
fn drop_catch_contest(blocks: u32) -> Outcome {
    let mut chain = committed_before_release(blocks);
    chain.mine_empty(1);
    chain.mine(vec![chain.maker().commit(&alice(), 3)])?;
    chain.mine_empty(maturity() - 1);
    chain.mine(vec![reveal(&chain, &alice(), 3)])?;
    try_reveal(&chain, &alice(), 2)
}

#[test]
fn the_contest_ends_with_its_last_block() {
    let contest = tiny_params().contest;
    for (blocks_later, wins) in [(1, true), (contest - 1, true), (contest, false)] {
        let mut chain = ripe_commits();
        chain.mine(vec![reveal(&chain, &alice(), 2)]).unwrap();
        chain.mine_empty(blocks_later - 1);
        assert_eq!(try_reveal(&chain, &alice(), 1).is_ok(), wins, "{blocks_later} blocks after the first reveal");
    }
}

#[test]
fn whoever_wins_the_contest_keeps_its_end() {
    let mut chain = ripe_commits();
    chain.mine(vec![reveal(&chain, &alice(), 2)]).unwrap();
    let held = chain.state(&alice()).cloned().unwrap();
    chain.mine_empty(1);
    chain.mine(vec![reveal(&chain, &alice(), 1)]).unwrap();
    let won = chain.state(&alice()).cloned().unwrap();
    assert_eq!((won.active_from, won.expires_at, won.not_before), (held.active_from, held.expires_at, held.not_before));
    assert_eq!((won.seq, won.registered, won.commit_height), (2, chain.height(), 2));
    assert_ne!(won.owner, held.owner);
}

#[test]
fn nobody_can_prepare_a_drop_catch_even_through_the_deletion() {
    // The oldest commit that can still be revealed once the entry is gone was made after the release.
    for delete_after in [ttl() - 1, ttl()] {
        let params = params_with(|p| p.delete_after = delete_after);
        let mut chain = TestChain::new(params);
        chain.register(&alice(), 1);
        let free = release(&chain);
        let first_reveal = free + params.delete_after + 1;
        chain.mine_until(first_reveal - params.commit_ttl - 1);
        chain.mine(vec![chain.maker().commit(&alice(), 2)]).unwrap();
        let prepared = chain.height() < free + 1;
        chain.mine_until(first_reveal - 1);
        assert!(chain.state(&alice()).is_none() && try_reveal(&chain, &alice(), 2).is_ok());
        assert_eq!(prepared, delete_after < params.commit_ttl, "why DELETE_AFTER must be at least COMMIT_TTL");
    }
}

//! Who gets through when others stand in the way (protocol §6 "Builders", §10 "Slots per name"), and what a flood costs.
//!
//! Every trial is a name of its own on one chain: owner, operator, a thief who has the owner's key, and strangers send
//! in an order drawn at random, everybody but the one who is to get through with twenty times the work.

use std::time::{Duration, Instant};

use ledger::{
    block::Block,
    hash::Hash,
    key::{Policy, Witness, sighash},
    name::Name,
    testing::{TestChain, key, name, owner, records},
    transaction::{Anchor, Body, RevokeMode, Transaction, txid},
};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{
    service::{memory, mine, send, start, submit, within},
    *,
};
use crate::chain::{ChainHandle, ChainService, TxRejection};
use crate::mempool::TxOrigin;

const OWNER: u64 = 1;
/// Has the owner's key.
const THIEF: u64 = OWNER;
const OPERATOR: u64 = 5;
const STRANGER: u64 = 9;
/// Just enough work.
const ENOUGH: u64 = 256;
/// What those who stand in the way show.
const MUCH: u64 = 20 * ENOUGH;
/// Names, each with an order of its own.
const TRIALS: usize = 32;

/// A chain on which every name belongs to the same owner and operator, and its node.
struct Contest {
    service: ChainService,
    model: TestChain,
    names: Vec<Name>,
}

type Move = (Body, u64, u64);

impl Contest {
    async fn new() -> Self {
        let names: Vec<Name> = (0..TRIALS).map(|n| name(&format!("wanted-by-all-{n}"))).collect();
        let mut model = TestChain::new(params());
        model.mine_empty(1);
        let commits = names.iter().map(|name| model.maker().commit(name, OWNER)).collect();
        model.mine(commits).expect("new commits");
        model.mine_empty(params().maturity - 1);
        let reveals = names.iter().map(|name| model.maker().make(reveal_of(&model, name), OWNER)).collect();
        model.mine(reveals).expect("free names");
        model.mine_empty(params().contest - 1);
        let contest = Self { service: start(memory()), model, names };
        for block in contest.model.blocks() {
            submit(&contest.chain(), block).await;
        }
        contest
    }

    fn chain(&self) -> ChainHandle {
        self.service.handle()
    }

    /// Mines in the model and hands the block on.
    async fn extend(&mut self, transactions: Vec<Transaction>) {
        let block = self.model.build(transactions).expect("valid");
        self.model.connect(&block).expect("valid");
        submit(&self.chain(), &block).await;
    }

    async fn extend_until(&mut self, height: u32) {
        while self.model.height() < height {
            self.extend(Vec::new()).await;
        }
    }

    /// Everybody sends, for each name in another order.
    async fn send_all(&self, moves: impl Fn(&Name, u64) -> Vec<Move>) {
        let chain = self.chain();
        for (seed, name) in (0..).zip(&self.names) {
            let seq = self.model.state(name).expect("registered").seq;
            let mut moves = moves(name, seq);
            moves.shuffle(&mut StdRng::seed_from_u64(seed));
            for (body, signer, ratio) in moves {
                // Strangers' transactions are anchored at several blocks, or they would all be one.
                let depth = (ratio % 3) as u32;
                let maker = self.model.maker_at(self.model.height() - depth);
                let transaction = maker.make_worth(body, signer, ratio);
                let sent = within(chain.submit_transaction(transaction, TxOrigin::Peer(signer + ratio))).await;
                if let Err(rejection) = sent {
                    assert!(matches!(rejection, TxRejection::Pool(_) | TxRejection::Violation(_)), "{rejection}");
                }
            }
        }
    }

    /// The next block of an honest miner.
    async fn mine(&mut self) -> Block {
        let chain = self.chain();
        mine(&chain, &mut self.model).await
    }

    async fn stop(self) {
        within(self.service.shutdown()).await;
    }
}

/// A REVEAL with an operator.
fn reveal_of(model: &TestChain, of: &Name) -> Body {
    let Body::Reveal { class, name, salt, owner: by, .. } = model.maker().reveal_body(of, OWNER, records("first"))
    else {
        unreachable!("the body of a REVEAL")
    };
    Body::Reveal { class, name, salt, owner: by, operator: owner(OPERATOR), records: records("first") }
}

fn update(name: &Name, seq: u64, text: &str) -> Body {
    Body::Update { name: name.clone(), seq, operator: None, records: Some(records(text)) }
}

fn revoke(name: &Name, seq: u64, mode: RevokeMode) -> Body {
    Body::Revoke { name: name.clone(), seq, mode }
}

/// Three of each: one more than there are places.
fn three(signer: u64, make: impl Fn(u64) -> Body) -> Vec<Move> {
    (1..=3).map(|n| (make(n), signer, MUCH + n)).collect()
}

/// What a thief with the owner's key can do against a REVOKE or CANCEL, and what operator and strangers add.
fn everything_in_the_way(name: &Name, seq: u64, expires_at: u32) -> Vec<Move> {
    let transfer =
        |n| Body::Transfer { name: name.clone(), seq: seq + n, owner: owner(STRANGER), operator: owner(STRANGER) };
    [
        three(THIEF, transfer),
        three(THIEF, |n| update(name, seq + n, "a thief's")),
        three(THIEF, |n| revoke(name, seq + n, RevokeMode::Release)),
        three(OPERATOR, |n| update(name, seq + 1, &format!("an operator's {n}"))),
        three(STRANGER, |_| Body::Renew { name: name.clone(), expires_at }),
        three(STRANGER, |n| update(name, seq + n, "a stranger's")),
        three(STRANGER, |n| revoke(name, seq + n, RevokeMode::Burn)),
    ]
    .concat()
}

#[tokio::test]
async fn an_owners_burn_is_in_the_next_block() {
    let mut contest = Contest::new().await;
    let window = contest.model.state(&contest.names[0]).expect("registered").expires_at;
    contest.extend_until(window - params().renew_window).await;
    contest
        .send_all(|name, seq| {
            let mut moves = everything_in_the_way(name, seq, window);
            moves.push((revoke(name, seq + 2_048, RevokeMode::Burn), OWNER, ENOUGH));
            moves
        })
        .await;
    contest.mine().await;
    for name in &contest.names {
        assert!(contest.model.state(name).expect("registered").is_burnt(), "{name}");
    }
    contest.stop().await;
}

#[tokio::test]
async fn an_owners_cancel_is_in_the_next_block() {
    let mut contest = Contest::new().await;
    let window = contest.model.state(&contest.names[0]).expect("registered").expires_at;
    contest.extend_until(window - params().renew_window).await;
    let stolen = |name: &Name| {
        let seq = contest.model.state(name).expect("registered").seq + 1;
        let to = owner(STRANGER);
        contest.model.maker().make(Body::Transfer { name: name.clone(), seq, owner: to, operator: to }, THIEF)
    };
    let transfers = contest.names.iter().map(stolen).collect();
    contest.extend(transfers).await;
    contest
        .send_all(|name, seq| {
            let mut moves = everything_in_the_way(name, seq, window);
            moves.push((Body::Cancel { name: name.clone(), seq: seq + 1_024 }, OWNER, ENOUGH));
            moves
        })
        .await;
    contest.mine().await;
    for name in &contest.names {
        assert_eq!(contest.model.state(name).expect("registered").pending, None, "{name}");
    }
    contest.stop().await;
}

/// A thief who released the name to take it again is answered by burning, however much else he sends.
#[tokio::test]
async fn a_thiefs_release_is_answered_by_burning() {
    let mut contest = Contest::new().await;
    let release = |name: &Name| {
        let seq = contest.model.state(name).expect("registered").seq + 1;
        contest.model.maker().make(revoke(name, seq, RevokeMode::Release), THIEF)
    };
    let releases = contest.names.iter().map(release).collect();
    contest.extend(releases).await;
    contest
        .send_all(|name, seq| {
            let mut moves = everything_in_the_way(name, seq, 0);
            moves.push((revoke(name, seq + 2_048, RevokeMode::Burn), OWNER, ENOUGH));
            moves
        })
        .await;
    contest.mine().await;
    for name in &contest.names {
        assert!(contest.model.state(name).expect("registered").is_burnt(), "{name}");
    }
    contest.stop().await;
}

/// Against an operator and strangers the owner's change gets through, and so does whoever pays for a renewal.
#[tokio::test]
async fn a_renewal_and_then_the_owners_change_get_through() {
    let mut contest = Contest::new().await;
    let window = contest.model.state(&contest.names[0]).expect("registered").expires_at;
    contest.extend_until(window - params().renew_window).await;
    contest
        .send_all(|name, seq| {
            let mine = update(name, seq + 256, "the owner's");
            let mut moves = [
                three(OPERATOR, |n| update(name, seq + 1, &format!("an operator's {n}"))),
                three(STRANGER, |n| update(name, seq + n, "a stranger's")),
                three(STRANGER, |n| revoke(name, seq + n, RevokeMode::Burn)),
            ]
            .concat();
            // A stranger puts other work under the owner's own transaction, less than an eighth more and much more.
            moves.extend([ENOUGH, ENOUGH + 21, MUCH + 1].map(|ratio| (mine.clone(), OWNER, ratio)));
            moves.push((Body::Renew { name: name.clone(), expires_at: window }, STRANGER, ENOUGH));
            moves
        })
        .await;
    contest.mine().await;
    for name in &contest.names {
        assert_eq!(contest.model.state(name).expect("registered").expires_at, window + params().term, "{name}");
    }
    contest.mine().await;
    for name in &contest.names {
        assert_eq!(contest.model.state(name).expect("registered").records, records("the owner's"), "{name}");
    }
    contest.stop().await;
}

/// Protocol §10: a REVEAL whose commit is not ripe waits only where the name will be open to it.
#[tokio::test]
async fn a_reveal_waits_only_where_the_name_will_be_open() {
    let mut contest = Contest::new().await;
    let (held, free, late) = (contest.names[0].clone(), name("free-for-all"), name("contested"));
    let commit = |contest: &Contest, of: &Name, by| contest.model.maker().commit(of, by);
    let ours = commit(&contest, &late, OWNER);
    contest.extend(vec![ours]).await;
    contest.extend_until(contest.model.height() + params().maturity - 1).await;
    let taken = contest.model.maker().reveal(&late, OWNER, records("first"));
    contest.extend(vec![taken]).await;
    // The contest is over before this commit is ripe.
    contest.extend_until(contest.model.height() + params().contest - params().maturity).await;
    let commits = [&held, &free, &late].map(|of| commit(&contest, of, STRANGER));
    contest.extend(commits.to_vec()).await;
    let chain = contest.chain();
    for (of, expected) in [(&held, Some("name_taken")), (&late, Some("name_taken")), (&free, None)] {
        let reveal = contest.model.maker().reveal(of, STRANGER, records("x"));
        let refused = send(&chain, reveal).await.err();
        assert_eq!(refused.as_ref().map(TxRejection::code), expected, "{of}");
    }
    assert_eq!(contest.mine().await.transactions.len(), 0, "its commit is not ripe");
    assert_eq!(contest.mine().await.transactions.len(), 1);
    contest.stop().await;
}

/// REVEALs without a commit, each with eight signatures that nobody made.
fn free_reveals(model: &TestChain, count: u64) -> Vec<Transaction> {
    let secrets: Vec<_> = (100..108).map(key).collect();
    let mut keys: Vec<_> = secrets.iter().map(|secret| secret.public()).collect();
    keys.sort();
    let policy = Policy::new(8, keys).expect("eight keys");
    let body = |n: u64| {
        let salt = [n.to_le_bytes(), n.to_le_bytes()].concat().try_into().expect("16 bytes");
        let (name, by) = (name(&format!("nobody-paid-{n}")), policy.hash());
        Body::Reveal { class: 0, name, salt, owner: by, operator: by, records: records("x") }
    };
    let mut ordered: Vec<_> = secrets.iter().collect();
    ordered.sort_by_key(|secret| secret.public());
    let digest = sighash(&params().chain_id(), &params().genesis_hash(), &txid(0, &body(0)));
    let witness = Witness::sign(policy.clone(), &ordered, &digest).expect("all eight");
    let anchor = Anchor::to_genesis(&model.context_at(0).expect("genesis").hash());
    (0..count).map(|n| Transaction::new(anchor, body(n), None, Some(witness.clone())).expect("complete")).collect()
}

/// Protocol §10: whether a commit stands is looked up before any signature is checked, and blocks have a budget of
/// their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_free_reveals_delays_no_block() {
    const FLOOD: u64 = 5_000;
    let service = start(memory());
    let (chain, mut model) = (service.handle(), TestChain::new(params()));
    mine(&chain, &mut model).await;
    let flood = free_reveals(&model, FLOOD);
    let began = Instant::now();
    let flooding: Vec<_> = flood
        .into_iter()
        .map(|reveal| {
            let chain = chain.clone();
            tokio::spawn(async move { chain.submit_transaction(reveal, TxOrigin::Peer(1)).await })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    while !flooding.iter().all(|sent| sent.is_finished()) {
        let block = model.build(Vec::new()).expect("valid");
        model.connect(&block).expect("valid");
        let asked = Instant::now();
        submit(&chain, &block).await;
        slowest = slowest.max(asked.elapsed());
    }
    let took = began.elapsed();
    for sent in flooding {
        let rejection = sent.await.expect("no panic").expect_err("nobody paid");
        assert_eq!(rejection.code(), "commit_missing");
    }
    assert_eq!(chain.stats().transactions_checked, 0, "no signature was looked at");
    assert!(slowest.as_secs_f64() < 1.0, "a block took {slowest:?} in a flood of {FLOOD} in {took:?}");
    within(service.shutdown()).await;
}

/// Junk shares cost work to look at, but only from a budget of their own: the next block does not wait for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_threads_of_transactions_are_not_those_of_blocks() {
    let service = start(memory());
    let (chain, mut model) = (service.handle(), TestChain::new(params()));
    mine(&chain, &mut model).await;
    let commit = |n| model.maker().commit(&name(&format!("a-commit-{n}")), n);
    let sent: Vec<_> = (0..600)
        .map(|n| {
            let (chain, commit) = (chain.clone(), commit(n));
            tokio::spawn(async move { send(&chain, commit).await })
        })
        .collect();
    let block = model.build(Vec::new()).expect("valid");
    model.connect(&block).expect("valid");
    let asked = Instant::now();
    submit(&chain, &block).await;
    assert!(asked.elapsed().as_secs_f64() < 1.0);
    for sent in sent {
        sent.await.expect("no panic").expect("taken");
    }
    assert_eq!(chain.mempool().count(), 600);
    let template = within(chain.template(Hash::ZERO)).await.expect("the chain runs");
    assert!(template.transactions.len() > 500);
    within(service.shutdown()).await;
}

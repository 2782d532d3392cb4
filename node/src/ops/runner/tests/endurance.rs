//! What an operation outlasts: slow work, rising prices, strangers in its places, older reveals of its owner.

use ledger::{
    params::MAX_PRICE_COMMIT,
    testing::{owner, records},
    transaction::Body,
};

use super::*;
use crate::ops::sight::deepest_anchor;

/// Blocks that no signature with an anchor of its own outlives.
const LONG: u32 = 40;

impl World {
    /// Mines, and says in which states the operation was seen meanwhile.
    async fn watch(&mut self, id: OpId, blocks: u32) -> Vec<OperationState> {
        let mut seen = Vec::new();
        for _ in 0..blocks {
            self.mine(1, Vec::new()).await;
            let state = self.says(id).0;
            if seen.last() != Some(&state) {
                seen.push(state);
            }
        }
        seen
    }

    /// Mines what the mempool holds of an operation.
    async fn mine_pooled(&mut self) {
        let template = self.chain.handle().template(ledger::hash::Hash::ZERO).await.expect("the chain runs");
        let transactions = template.transactions.to_vec();
        assert!(!transactions.is_empty(), "there is something to mine");
        self.mine(1, transactions).await;
    }

    /// From the share on, alone: commit, wait, reveal, contest.
    async fn finish(&mut self, id: OpId) {
        let found = self.share(id);
        self.runner.take_share(found).await;
        assert_eq!(self.says(id), (OperationState::Broadcast, None));
        self.mine_pooled().await;
        while self.says(id).0 == OperationState::Maturing {
            let reveal = self.record(id).signed().expect("a registration").txid();
            assert!(!self.chain.handle().mempool().contains(&reveal), "shown before a block can take it");
            self.mine(1, Vec::new()).await;
        }
        assert_eq!(self.says(id), (OperationState::Revealing, None));
        self.mine_pooled().await;
        assert_eq!(self.says(id), (OperationState::Contest, None));
        let contest = self.runner.rules.params.contest;
        self.watch(id, contest).await;
    }

    fn commit_price(&self, height: u32) -> u32 {
        self.model.maker_at(height).anchor.prices.commit
    }

    fn commit_anchor(&self, id: OpId) -> u32 {
        self.record(id).unsigned().expect("a registration").0.height
    }

    /// A registered name, and the runner at its height.
    async fn with_name(text: &str) -> Self {
        let mut world = World::new().await;
        world.model.register(&name(text), 1);
        let blocks: Vec<Block> = world.model.blocks().cloned().collect();
        for block in &blocks {
            world.submit(block).await;
        }
        world.mine(1, Vec::new()).await;
        world
    }
}

#[tokio::test]
async fn a_slow_registration_of_a_short_name_finishes_alone() {
    let mut world = World::new().await;
    let id = world.register("ab", 1).await;
    assert_eq!(world.watch(id, LONG).await, [OperationState::Working], "nobody is asked to sign again");
    world.finish(id).await;
    assert_eq!(world.says(id), (OperationState::Done, None));
    assert_eq!(world.model.state(&name("ab")).expect("registered").owner, owner(1));
    world.stop().await;
}

/// From the base price to the highest, 64 times as much, in the steps that the rules allow.
#[tokio::test]
async fn a_registration_whose_price_rises_64_times_finishes_alone() {
    let mut world = World::new().await;
    let id = world.register("alice-and-bob", 1).await;
    let (first, mut rushed) = (world.commit_price(world.model.height()), 0);
    while world.commit_price(world.model.height()) < MAX_PRICE_COMMIT {
        let commits =
            (rushed..rushed + 8).map(|n| world.model.maker().commit(&name(&format!("rush-{n}")), n)).collect();
        rushed += 8;
        world.mine(1, commits).await;
        assert_eq!(world.says(id), (OperationState::Working, None), "at height {}", world.model.height());
        // Wallets anchor where it costs least: here as deep as there is time left for getting into a block.
        let (tip, params) = (world.model.height(), world.runner.rules.params);
        let window = tip.saturating_sub(deepest_anchor(params))..=tip.saturating_sub(params.anchor_depth);
        let cheapest = window.map(|height| world.commit_price(height)).min().expect("not empty");
        assert_eq!(world.commit_price(world.commit_anchor(id)), cheapest, "at height {tip}");
    }
    assert_eq!(world.commit_price(world.model.height()), 64 * first);
    world.watch(id, LONG).await;
    world.finish(id).await;
    assert_eq!(world.says(id), (OperationState::Done, None));
    world.stop().await;
}

/// Nobody signs a renewal: the node renews the name of somebody whose keys it never saw.
#[tokio::test]
async fn a_name_is_renewed_without_a_key() {
    let mut world = World::with_name("alice").await;
    let held = |world: &World| world.model.state(&name("alice")).expect("registered").clone();
    let request = || Request::Renew { name: name("alice") };
    let refused = world.runner.start(request()).await;
    assert!(matches!(&refused, Err(OpsError::Forbidden(failure)) if failure.code == "too_early"), "{refused:?}");
    let before = held(&world);
    let window = before.expires_at - world.runner.rules.params.renew_window;
    world.mine(window - world.model.height(), Vec::new()).await;
    let id = world.runner.start(request()).await.expect("accepted").record.id;
    let again = world.runner.start(request()).await.expect("the same").record.id;
    assert_eq!(id, again, "asked for twice, it is done once");
    assert_eq!(world.watch(id, LONG / 4).await, [OperationState::Working], "and follows the cheapest anchor");
    let found = world.share(id);
    world.runner.take_share(found).await;
    world.mine_pooled().await;
    assert_eq!(world.says(id), (OperationState::Done, None));
    assert_eq!(held(&world).expires_at, before.expires_at + world.runner.rules.params.term);
    assert_eq!(held(&world).owner, before.owner);
    world.stop().await;
}

#[tokio::test]
async fn a_renewal_that_another_guard_made_is_done() {
    let mut world = World::with_name("alice").await;
    let expires_at = world.model.state(&name("alice")).expect("registered").expires_at;
    let window = expires_at - world.runner.rules.params.renew_window;
    world.mine(window - world.model.height(), Vec::new()).await;
    let id = world.runner.start(Request::Renew { name: name("alice") }).await.expect("accepted").record.id;
    let theirs = world.model.maker().make(Body::Renew { name: name("alice"), expires_at }, 9);
    world.mine(1, vec![theirs]).await;
    assert_eq!(world.says(id), (OperationState::Done, None));
    world.stop().await;
}

/// Protocol §10: own transactions refused for a full slot get more work and are sent again.
#[tokio::test]
async fn a_change_without_a_place_gets_more_work() {
    let mut world = World::with_name("alice").await;
    let update =
        |text: &str, seq| Body::Update { name: name("alice"), seq, operator: None, records: Some(records(text)) };
    // Somebody with the same key was faster, and showed twice the work.
    for seq in [300, 301] {
        let theirs = world.model.maker().make_worth(update("theirs", seq), 1, 512);
        world.chain.handle().submit_transaction(theirs, TxOrigin::Local).await.expect("a free place");
    }
    let mine = world.model.maker().make(update("mine", 257), 1);
    let id = world.runner.start(Request::Change { transaction: Box::new(mine) }).await.expect("accepted").record.id;
    let Plan::Change(plan) = world.record(id).plan else { panic!("no change") };
    let body = plan.transaction.body().clone();
    let reader = world.chain.handle().reader();
    let block = look::block_at(&reader.view(), plan.anchor.height).expect("memory does not fail").expect("mined");
    let order = world.runner.rules.order(&body, &block).expect("it needs work");
    let share = |world: &World, ratio| {
        *world.model.maker_at(plan.anchor.height).make_worth(body.clone(), 1, ratio).share().expect("worked")
    };
    let found = Worked { id, order, share: share(&world, 256) };
    world.runner.take_share(found).await;
    let txid = plan.transaction.txid();
    assert!(!world.chain.handle().mempool().contains(&txid), "there is no place for it");
    assert_eq!(world.says(id), (OperationState::Broadcast, None));
    let more = order.times(576);
    assert!(world.runner.active[&id].is_searching_for(&more), "an eighth more than the weaker of the two");
    // A new tip changes nothing about that.
    world.mine(1, Vec::new()).await;
    assert!(world.runner.active[&id].is_searching_for(&more));
    let found = Worked { id, order: more, share: share(&world, 580) };
    world.runner.take_share(found).await;
    assert!(world.chain.handle().mempool().contains(&txid));
    world.mine_pooled().await;
    assert_eq!(world.says(id), (OperationState::Done, None));
    world.stop().await;
}

/// Protocol §4.1: a copy of an old REVEAL may win the name for its signer, with the contents of long ago.
#[tokio::test]
async fn an_older_reveal_is_put_right_by_a_signed_update() {
    let mut world = World::new().await;
    let old_commit = world.model.maker().commit(&name("alice"), 1);
    world.mine(1, vec![old_commit]).await;
    // The same owner with another salt, as a later attempt has it.
    let maker = world.model.maker();
    let Body::Reveal { class, name: text, owner: by, operator, .. } =
        maker.reveal_body(&name("alice"), 1, Records::empty())
    else {
        panic!("no reveal")
    };
    let body = Body::Reveal { class, name: text, salt: [7; 16], owner: by, operator, records: records("new") };
    let reveal = maker.make(body, 1);
    let commit_hash = ledger::transaction::commit_hash(&world.runner.rules.chain_id, &[7; 16], &by, &name("alice"));
    let request =
        Request::Register { name: name("alice"), class, commit_hash, commit_anchor: 1, reveal: Box::new(reveal) };
    let id = world.runner.start(request).await.expect("accepted").record.id;
    let found = world.share(id);
    world.runner.take_share(found).await;
    world.mine_pooled().await;
    let theirs = world.model.maker().reveal(&name("alice"), 1, records("old"));
    world.mine(1, vec![theirs]).await;
    let contest = world.runner.rules.params.contest;
    let seen = world.watch(id, contest).await;
    assert_eq!(seen.last(), Some(&OperationState::NeedsSignature), "{seen:?}");
    assert_eq!(world.says(id).1.as_deref(), Some("older_reveal"));
    let seq = world.model.state(&name("alice")).expect("registered").seq + 256;
    let update = Body::Update { name: name("alice"), seq, operator: Some(operator), records: Some(records("new")) };
    let transaction = Some(Box::new(world.model.maker().make(update, 1)));
    world.runner.resume(id, ResumeRequest { transaction }).await.expect("signed");
    assert_eq!(world.says(id), (OperationState::Working, None));
    let found = world.share(id);
    world.runner.take_share(found).await;
    world.mine_pooled().await;
    assert_eq!(world.says(id), (OperationState::Done, None));
    assert_eq!(world.model.state(&name("alice")).expect("registered").records, records("new"));
    world.stop().await;
}

#[tokio::test]
async fn a_change_that_outlives_its_anchor_is_signed_again() {
    let mut world = World::with_name("alice").await;
    let update = |world: &World| {
        let body = Body::Update { name: name("alice"), seq: 257, operator: None, records: Some(records("mine")) };
        Box::new(world.model.maker().make(body, 1))
    };
    let request = Request::Change { transaction: update(&world) };
    let id = world.runner.start(request).await.expect("accepted").record.id;
    let seen = world.watch(id, world.runner.rules.params.anchor_window).await;
    assert_eq!(seen, [OperationState::Working, OperationState::NeedsSignature]);
    let failure = world.record(id).failure.expect("it says so");
    assert_eq!(failure.fix, [format!("namectl ops resume {id}")]);
    let transaction = Some(update(&world));
    world.runner.resume(id, ResumeRequest { transaction }).await.expect("signed");
    let found = world.share(id);
    world.runner.take_share(found).await;
    world.mine_pooled().await;
    assert_eq!(world.says(id), (OperationState::Done, None));
    world.stop().await;
}

//! The runner on a chain of its own, step by step: nothing runs but what a test calls. Work is simulated, so the miner
//! searches in vain, and beside another chain lest it come across a block; the tests make the shares.

mod endurance;

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::{
    chain::{Arrival, ChainOptions, ChainService, ServiceOptions},
    mempool::Limits,
    miner::{Conditions, Miner, MiningConfig, MiningMode},
    ops::{journal::Row, record::RegisterPlan, sight::Place},
    store::Store,
};
use ledger::{
    block::Block,
    params::Params,
    record::Records,
    testing::{TestChain, name, params_with, records},
    transaction::{Body, RevokeMode},
};

/// Blocks that bury, in these tests.
const FREE_REORG: u32 = 8;

/// Rows in a database that can be told to fail.
struct Disk {
    rows: Kv,
    is_full: Arc<AtomicBool>,
}

impl Rows for Disk {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(StoreError::Corrupt { what: "the test's disk is full".to_owned() });
        }
        Rows::put(&self.rows, key, value)
    }

    fn delete(&self, key: &[u8]) -> Result<(), StoreError> {
        Rows::delete(&self.rows, key)
    }

    fn list(&self, max: usize) -> Result<Vec<Row>, StoreError> {
        Rows::list(&self.rows, max)
    }
}

struct World {
    model: TestChain,
    chain: ChainService,
    beside: ChainService,
    miner: Miner,
    synced: watch::Sender<bool>,
    disk_is_full: Arc<AtomicBool>,
    /// Where the searches send to.
    _worked: mpsc::Receiver<Worked>,
    runner: Runner,
}

fn service(params: &'static Params) -> (ChainService, Store) {
    let store = Store::in_memory(params).expect("memory opens");
    let chain = ChainOptions { threads: 1, ..ChainOptions::single_threaded() };
    let options = ServiceOptions { chain, mempool: Limits::default(), workers: 1, clock: || 4_000_000_000 };
    (ChainService::start(store.clone(), params, options).expect("starts"), store)
}

impl World {
    async fn new() -> Self {
        let params = params_with(|params| params.free_reorg = FREE_REORG);
        let ((chain, store), (beside, _)) = (service(params), service(params));
        let config = MiningConfig { mode: MiningMode::Off, threads: Some(1), ..MiningConfig::default() };
        let conditions = watch::channel(Conditions::default()).1;
        let miner = Miner::start(&config, params, beside.handle(), conditions).expect("threads start");
        let (synced, is_synced) = watch::channel(true);
        let disk_is_full = Arc::new(AtomicBool::new(false));
        let disk = Disk { rows: store.operations(), is_full: disk_is_full.clone() };
        let (runner, _worked) = Runner::open(params, Box::new(disk), chain.handle(), miner.handle(), is_synced)
            .expect("memory does not fail");
        let model = TestChain::new(params);
        let mut world = Self { model, chain, beside, miner, synced, disk_is_full, _worked, runner };
        world.mine(2, Vec::new()).await;
        world
    }

    async fn stop(self) {
        self.miner.shutdown().await;
        self.chain.shutdown().await;
        self.beside.shutdown().await;
    }

    async fn submit(&self, block: &Block) {
        let report = self.chain.handle().submit_block(Arc::new(block.clone()), Arrival::Live).await;
        report.expect("the chain runs");
    }

    /// Mines blocks, the first with these transactions, and takes the steps that follow.
    async fn mine(&mut self, blocks: u32, transactions: Vec<Transaction>) {
        let mut transactions = Some(transactions);
        for _ in 0..blocks {
            let block = self.model.build(transactions.take().unwrap_or_default()).expect("valid");
            self.model.connect(&block).expect("valid");
            self.submit(&block).await;
        }
        assert_eq!(self.chain.handle().tip().hash, self.model.tip().hash());
        self.runner.advance_all().await;
    }

    /// Takes blocks back in the model, for a heavier branch without them.
    fn take_back(&mut self, blocks: u32) {
        (0..blocks).for_each(|_| drop(self.model.disconnect()));
    }

    /// Replaces the last blocks by as many empty ones and one more.
    async fn reorganise(&mut self, depth: u32) {
        self.take_back(depth);
        let mut branch = vec![self.model.build_at(self.model.tip().header().core.time + 7, Vec::new()).expect("valid")];
        self.model.connect(&branch[0]).expect("valid");
        for _ in 0..depth {
            let block = self.model.build(Vec::new()).expect("valid");
            self.model.connect(&block).expect("valid");
            branch.push(block);
        }
        for block in &branch {
            self.submit(block).await;
        }
        assert_eq!(self.chain.handle().tip().hash, self.model.tip().hash(), "the longer branch has won");
        self.runner.advance_all().await;
    }

    async fn register(&mut self, text: &str, owner: u64) -> OpId {
        let maker = self.model.maker();
        let reveal = maker.reveal(&name(text), owner, Records::empty());
        let Body::Commit { class, commit_hash } = maker.commit_body(&name(text), owner) else { panic!("no commit") };
        let request = Request::Register {
            name: name(text),
            class,
            commit_hash,
            commit_anchor: maker.height,
            reveal: Box::new(reveal),
        };
        self.runner.start(request).await.expect("accepted").record.id
    }

    /// The share that is searched for.
    fn share(&self, id: OpId) -> Worked {
        let rules = self.runner.rules;
        let (body, anchor) = match self.record(id).plan {
            Plan::Register(RegisterPlan { correction: Some(change), .. }) | Plan::Change(change) => {
                (change.transaction.body().clone(), change.anchor)
            }
            Plan::Register(plan) => (plan.terms(&rules.chain_id).commit_body(), plan.commit_anchor),
            Plan::Renew(plan) => (plan.body(), plan.anchor),
        };
        let reader = self.chain.handle().reader();
        let block = look::block_at(&reader.view(), anchor.height).expect("memory does not fail").expect("mined");
        let order = rules.order(&body, &block).expect("it needs work");
        assert!(self.runner.active[&id].is_searching_for(&order));
        Worked { id, order, share: self.model.maker_at(anchor.height).work(&body, order.required_work) }
    }

    fn record(&self, id: OpId) -> Record {
        self.runner.view(id).record.clone()
    }

    fn has_commit(&self, id: OpId) -> bool {
        matches!(self.record(id).plan, Plan::Register(plan) if plan.commit.is_some())
    }

    fn commit_of(&self, id: OpId) -> Transaction {
        match self.record(id).plan {
            Plan::Register(plan) => plan.commit.expect("worked for"),
            Plan::Change(_) | Plan::Renew(_) => panic!("no registration"),
        }
    }

    fn look(&self, id: OpId) -> Sight {
        self.runner.look(&self.record(id)).expect("memory does not fail")
    }

    fn is_watched(&self, id: OpId) -> bool {
        self.runner.active.contains_key(&id)
    }

    fn says(&self, id: OpId) -> (OperationState, Option<String>) {
        let record = self.record(id);
        (record.state, record.failure.map(|failure| failure.code))
    }
}

/// Somebody else's registration of the name that is committed to and revealed before ours is.
async fn taken_by_another() -> (World, OpId) {
    let mut world = World::new().await;
    let theirs = world.model.maker().commit(&name("alice"), 2);
    world.mine(2, vec![theirs]).await;
    let id = world.register("alice", 1).await;
    let reveal = world.model.maker().reveal(&name("alice"), 2, records("theirs"));
    world.mine(1, vec![reveal]).await;
    (world, id)
}

#[tokio::test]
async fn a_sight_is_one_moment() {
    let (mut world, id) = taken_by_another().await;
    let (reader, before) = (world.chain.handle().reader(), world.look(id));
    assert!(before.name.is_some());
    let view = reader.view();
    world.reorganise(1).await;
    let record = world.record(id);
    let cheapest = look::cheapest_anchor(&view, world.runner.rules.params).expect("memory does not fail");
    let later = look::look(&view, &reader.mempool(), &world.runner.rules, &record, cheapest);
    let later = later.expect("memory does not fail");
    assert_eq!(later, before, "a view that was taken before the reorganisation shows none of it");
    let now = world.look(id);
    assert_eq!((now.next, now.name), (before.next + 1, None));
    drop(view);
    world.stop().await;
}

#[tokio::test]
async fn a_failure_is_told_at_once_and_undone_by_a_reorganisation() {
    let (mut world, id) = taken_by_another().await;
    assert_eq!(world.says(id), (OperationState::Failed, Some("name_taken".to_owned())));
    assert!(world.is_watched(id));
    world.reorganise(1).await;
    assert_eq!(world.says(id), (OperationState::Working, None), "the name is free on this branch");
    let found = world.share(id);
    world.runner.take_share(found).await;
    assert_eq!(world.says(id), (OperationState::Broadcast, None));
    world.stop().await;
}

#[tokio::test]
async fn a_failure_is_settled_when_its_cause_is_buried() {
    let (mut world, id) = taken_by_another().await;
    let since = world.model.state(&name("alice")).expect("registered").last_update;
    while world.model.height() + 2 < since + FREE_REORG {
        world.mine(1, Vec::new()).await;
        assert!(world.is_watched(id), "at height {}", world.model.height());
    }
    world.mine(1, Vec::new()).await;
    assert!(!world.is_watched(id));
    let record = world.record(id);
    assert_eq!((record.state, record.is_settled), (OperationState::Failed, true));
    world.stop().await;
}

#[tokio::test]
async fn what_failed_can_be_cancelled_and_not_resumed() {
    let (mut world, id) = taken_by_another().await;
    let refused = world.runner.resume(id, ResumeRequest::default()).await;
    assert!(matches!(refused, Err(OpsError::WrongState("failed"))), "{refused:?}");
    world.runner.cancel(id).expect("it could go on, so it can be stopped");
    world.reorganise(1).await;
    assert_eq!(world.says(id).0, OperationState::Cancelled);
    world.stop().await;
}

#[tokio::test]
async fn what_failed_can_be_asked_for_again_when_nothing_forbids_it() {
    let (mut world, id) = taken_by_another().await;
    // The name becomes free while the runner does not look: it would go on with the old operation otherwise.
    world.synced.send_replace(false);
    world.reorganise(1).await;
    world.synced.send_replace(true);
    let again = world.register("alice", 1).await;
    assert_ne!(again, id);
    assert!(!world.is_watched(id) && world.is_watched(again), "one of them works for the commit");
    world.stop().await;
}

#[tokio::test]
async fn an_expired_commit_stays_expired_when_its_entry_is_deleted() {
    let mut world = World::new().await;
    let id = world.register("alice", 1).await;
    let found = world.share(id);
    world.runner.take_share(found).await;
    let commit = world.commit_of(id);
    world.mine(1, vec![commit.clone()]).await;
    assert_eq!(world.says(id).0, OperationState::Maturing);
    let until = world.model.height() + world.model.params().commit_ttl;
    world.mine(until - world.model.height(), Vec::new()).await;
    let expired = (OperationState::Failed, Some("commit_expired".to_owned()));
    assert_eq!(world.says(id), expired);
    world.mine(1, Vec::new()).await;
    assert_eq!((world.look(id).commit, world.look(id).unsigned_place), (None, Place::Block(3)));
    assert_eq!(world.says(id), expired);
    assert_eq!(world.commit_of(id), commit, "no new work was begun");
    // Asked for once more, it is begun anew.
    assert_ne!(world.register("alice", 1).await, id);
    world.stop().await;
}

#[tokio::test]
async fn no_step_is_taken_while_the_node_is_not_synced() {
    let mut world = World::new().await;
    let id = world.register("alice", 1).await;
    let found = world.share(id);
    world.synced.send_replace(false);
    world.runner.take_share(found).await;
    assert!(world.has_commit(id), "the share is kept");
    assert_eq!(world.says(id).0, OperationState::Working);
    world.runner.resume(id, ResumeRequest::default()).await.expect("taken note of");
    assert_eq!(world.says(id).0, OperationState::Working);
    assert!(!world.chain.handle().mempool().contains(&world.commit_of(id).txid()), "nothing is published");
    world.synced.send_replace(true);
    world.runner.advance_all().await;
    assert_eq!(world.says(id).0, OperationState::Broadcast);
    assert!(world.chain.handle().mempool().contains(&world.commit_of(id).txid()));
    world.stop().await;
}

#[tokio::test]
async fn a_share_for_an_old_signature_is_not_put_into_a_change_signed_anew() {
    let mut world = World::new().await;
    world.model.register(&name("alice"), 1);
    let blocks: Vec<Block> = world.model.blocks().cloned().collect();
    for block in &blocks {
        world.submit(block).await;
    }
    let release = |world: &World| {
        let body = Body::Revoke { name: name("alice"), seq: 2, mode: RevokeMode::Release };
        Box::new(world.model.maker().make(body, 1))
    };
    let request = Request::Change { transaction: release(&world) };
    let id = world.runner.start(request).await.expect("accepted").record.id;
    let found = world.share(id);
    world.synced.send_replace(false);
    world.mine(1, Vec::new()).await;
    let transaction = Some(release(&world));
    world.runner.resume(id, ResumeRequest { transaction }).await.expect("signed anew");
    world.runner.take_share(found).await;
    let Plan::Change(plan) = world.record(id).plan else { panic!("no change") };
    assert!(!plan.is_worked, "the share pays for the old anchor");
    world.stop().await;
}

#[tokio::test]
async fn a_share_survives_a_full_disk() {
    let mut world = World::new().await;
    let id = world.register("alice", 1).await;
    let found = world.share(id);
    let found_order = found.order;
    world.disk_is_full.store(true, Ordering::Relaxed);
    world.runner.take_share(found).await;
    world.mine(1, Vec::new()).await;
    world.runner.write_shares().await;
    assert!(!world.has_commit(id), "nothing is shown or published that is not on disk");
    assert!(world.runner.active[&id].is_searching_for(&found_order), "and no second search was begun");
    world.disk_is_full.store(false, Ordering::Relaxed);
    world.runner.write_shares().await;
    assert!(world.has_commit(id));
    assert_eq!(world.says(id).0, OperationState::Broadcast);
    world.stop().await;
}

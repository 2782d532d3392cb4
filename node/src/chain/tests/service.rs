//! The thread, the handle and the mempool together.

use std::{sync::Arc, time::Duration};

use ledger::{
    block::Block,
    hash::Hash,
    rules::Violation,
    testing::{Maker, TestChain, name, owner, records},
    transaction::{Body, Transaction},
};
use tokio::time::timeout;

use super::*;
use crate::{
    chain::{
        Arrival, BlockOutcome, ChainEvent, ChainHandle, ChainOptions, ChainService, HeadersOutcome, ServiceOptions,
        TransactionStatus, TxRejection,
    },
    mempool::{Limits, PoolRefusal, Removal, Standing, TxOrigin},
    store::Store,
};

/// No step of these tests takes longer on a machine that works.
const DEADLINE: Duration = Duration::from_secs(30);

pub(super) fn options() -> ServiceOptions {
    let chain = ChainOptions { threads: 2, ..ChainOptions::single_threaded() };
    ServiceOptions { chain, mempool: Limits::default(), workers: 2, clock: || LATE }
}

pub(super) fn start(store: Store) -> ChainService {
    ChainService::start(store, params(), options()).expect("starts")
}

pub(super) fn memory() -> Store {
    Store::in_memory(params()).expect("memory opens")
}

pub(super) async fn within<T>(step: impl Future<Output = T>) -> T {
    timeout(DEADLINE, step).await.expect("within the deadline")
}

pub(super) async fn submit(chain: &ChainHandle, block: &Block) -> BlockOutcome {
    let report = within(chain.submit_block(Arc::new(block.clone()), Arrival::Live)).await;
    report.expect("the chain runs").outcome
}

/// Mines a block from the node's own template; the model follows.
pub(super) async fn mine(chain: &ChainHandle, model: &mut TestChain) -> Block {
    let template = within(chain.template(Hash::ZERO)).await.expect("the chain runs");
    let mut header = template.header;
    header.core.time = model.tip().header().core.time + 2;
    header.core.vtime = ledger::difficulty::vtime_after(params(), &model.tip().header().core, header.core.time);
    header.core.bits = ledger::difficulty::expected_bits(params(), &model.tip().header().core, header.core.time);
    let block = template.with_core(model.seal(header).core);
    model.connect(&block).expect("the template is a valid block");
    assert_eq!(submit(chain, &block).await, BlockOutcome::Connected { reorg_depth: 0 });
    block
}

pub(super) async fn send(chain: &ChainHandle, transaction: Transaction) -> Result<(), TxRejection> {
    within(chain.submit_transaction(transaction, TxOrigin::Peer(1))).await.map(|_| ())
}

#[tokio::test]
async fn a_name_lives_through_mempool_and_templates() {
    let service = start(memory());
    let (chain, mut model) = (service.handle(), TestChain::new(params()));
    let alice = name("alice-at-home");
    let mut events = chain.events();
    mine(&chain, &mut model).await;
    send(&chain, model.maker().commit(&alice, 1)).await.expect("taken");
    assert_eq!(chain.mempool().count(), 1);
    assert_eq!(mine(&chain, &mut model).await.transactions.len(), 1);
    assert_eq!(chain.mempool().count(), 0);

    // The reveal is early: it waits in the pool and in no template.
    let reveal = model.maker().reveal(&alice, 1, records("hello"));
    send(&chain, reveal.clone()).await.expect("taken");
    let pooled = chain.mempool().get(&reveal.txid()).expect("is there");
    assert_eq!(pooled.standing, Standing::WaitsUntil(4));
    assert_eq!(mine(&chain, &mut model).await.transactions.len(), 0);
    assert_eq!(chain.mempool().get(&reveal.txid()).expect("is there").standing, Standing::Ready);
    assert_eq!(mine(&chain, &mut model).await.transactions, std::slice::from_ref(&reveal));
    let reader = chain.reader();
    assert_eq!(reader.name_state(&alice).expect("reads").as_ref(), model.state(&alice));
    let status = reader.transaction(&reveal.txid()).expect("reads");
    assert!(matches!(status, Some(TransactionStatus::Mined { height: 4, .. })));
    assert!(matches!(send(&chain, reveal).await, Err(TxRejection::Mined { height: 4 })));

    let mut story = Vec::new();
    while let Ok(event) = events.try_recv() {
        story.push(match &*event {
            ChainEvent::Connected(connected) => format!("{}:{}", connected.tip.height, connected.changes.len()),
            ChainEvent::Disconnected(_) => "back".into(),
            ChainEvent::TransactionAdded(_) => "+".into(),
            ChainEvent::TransactionRemoved { reason: Removal::Mined { .. }, .. } => "-".into(),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(story, ["1:0", "+", "2:0", "-", "+", "3:0", "4:1", "-"]);
    assert_eq!(chain.stats().transaction_checks_saved, 2, "nothing mined was verified again");
    within(service.shutdown()).await;
    let mut tips = chain.watch();
    within(async { while tips.changed().await.is_ok() {} }).await;
}

#[tokio::test]
async fn refusals_say_what_is_wrong() {
    let service = start(memory());
    let (chain, mut model) = (service.handle(), TestChain::new(params()));
    mine(&chain, &mut model).await;
    let maker = model.maker();
    let alice = name("alice-at-home");
    let violation = |result: Result<(), TxRejection>| match result {
        Err(TxRejection::Violation(violation)) => violation.code(),
        other => panic!("expected a violation, got {other:?}"),
    };
    assert_eq!(violation(send(&chain, maker.reveal(&alice, 1, records("x"))).await), "commit_missing");
    let update = Body::Update { name: alice.clone(), seq: 1, operator: None, records: Some(records("x")) };
    assert_eq!(violation(send(&chain, maker.make(update, 1)).await), "name_missing");
    let elsewhere = Maker {
        anchor: ledger::rules::transaction::AnchorBlock { hash: ledger::hash::BlockHash([7; 32]), ..maker.anchor },
        ..maker
    };
    let unknown = send(&chain, elsewhere.commit(&alice, 1)).await;
    assert!(matches!(unknown, Err(TxRejection::UnknownAnchor { height: 1 })));
    let commit = maker.commit(&alice, 1);
    send(&chain, commit.clone()).await.expect("taken");
    assert!(matches!(send(&chain, commit).await, Err(TxRejection::Pool(PoolRefusal::Known))));
    let share = maker.work(&maker.commit_body(&alice, 2), 1);
    let lazy = maker.assemble(
        maker.commit_body(&alice, 2),
        Some(ledger::transaction::Share { nonce: u64::MAX, ..share }),
        None,
    );
    assert_eq!(violation(send(&chain, lazy).await), "share_work");
    within(service.shutdown()).await;
}

#[tokio::test]
async fn a_reorganisation_releases_what_it_took_back() {
    let service = start(memory());
    let chain = service.handle();
    let mut ours = TestChain::new(params());
    mine(&chain, &mut ours).await;
    let mut theirs = ours.clone();
    let commit = ours.maker().commit(&name("alice-at-home"), 1);
    send(&chain, commit.clone()).await.expect("taken");
    mine(&chain, &mut ours).await;
    let anchored_above = ours.maker().commit(&name("bob-at-home"), 2);
    send(&chain, anchored_above.clone()).await.expect("taken");

    let mut events = chain.events();
    for _ in 0..2 {
        let block = theirs.build(Vec::new()).expect("valid");
        theirs.connect(&block).expect("valid");
        submit(&chain, &block).await;
    }
    assert_eq!(chain.tip().hash, theirs.tip().hash());
    // What the lost block held comes back; what was anchored in it is gone for good.
    within(async {
        loop {
            if let ChainEvent::TransactionAdded(entry) = &*events.recv().await.expect("the chain runs") {
                assert_eq!(entry.txid(), commit.txid());
                break;
            }
        }
    })
    .await;
    assert!(!chain.mempool().contains(&anchored_above.txid()));
    assert_eq!(mine(&chain, &mut theirs).await.transactions, [commit]);
    within(service.shutdown()).await;
}

#[tokio::test]
async fn the_mempool_survives_a_restart() {
    let store = memory();
    let service = start(store.clone());
    let (chain, mut model) = (service.handle(), TestChain::new(params()));
    mine(&chain, &mut model).await;
    let commits: Vec<_> = (0..5).map(|n| model.maker().commit(&name(&format!("name-number-{n}")), n)).collect();
    for commit in &commits {
        send(&chain, commit.clone()).await.expect("taken");
    }
    within(service.shutdown()).await;
    let service = start(store);
    let chain = service.handle();
    let mut events = chain.events();
    while chain.mempool().count() < 5 {
        within(events.recv()).await.expect("the chain runs");
    }
    assert!(commits.iter().all(|commit| chain.mempool().contains(&commit.txid())));
    assert_eq!(mine(&chain, &mut model).await.transactions.len(), 5);
    within(service.shutdown()).await;
}

#[tokio::test]
async fn blocks_checked_out_of_order_connect_in_order() {
    let mut model = TestChain::new(params());
    grow(&mut model, 60, 1);
    let service = start(memory());
    let chain = service.handle();
    let headers: Vec<_> = model.blocks().map(|block| block.header).collect();
    let report = within(chain.submit_headers(headers)).await.expect("the chain runs");
    assert_eq!(report.outcome, HeadersOutcome::Ok);
    let view = within(chain.view(vec![model.tip().hash()], 100)).await.expect("the chain runs");
    assert_eq!(view.branches[0].missing.len(), 60);
    let submissions: Vec<_> = model
        .blocks()
        .map(|block| {
            let (chain, block) = (chain.clone(), Arc::new(block.clone()));
            tokio::spawn(async move { chain.submit_block(block, Arrival::Sync).await })
        })
        .collect();
    for submission in submissions {
        let report = within(submission).await.expect("does not panic").expect("the chain runs");
        assert!(matches!(report.outcome, BlockOutcome::Connected { .. } | BlockOutcome::Stored), "{report:?}");
    }
    assert_eq!((chain.tip().height, chain.tip().state_root), (60, model.root()));
    within(service.shutdown()).await;
}

#[tokio::test]
async fn of_two_reveals_the_earlier_commit_is_taken_first() {
    let service = start(memory());
    let (chain, mut model) = (service.handle(), TestChain::new(params()));
    let prize = name("wanted-by-two");
    mine(&chain, &mut model).await;
    send(&chain, model.maker().commit(&prize, 1)).await.expect("taken");
    mine(&chain, &mut model).await;
    send(&chain, model.maker().commit(&prize, 2)).await.expect("taken");
    for _ in 0..params().maturity {
        mine(&chain, &mut model).await;
    }
    let (first, second) =
        (model.maker().reveal(&prize, 1, records("1")), model.maker().reveal(&prize, 2, records("2")));
    send(&chain, second.clone()).await.expect("taken");
    send(&chain, first.clone()).await.expect("taken");
    assert_eq!(mine(&chain, &mut model).await.transactions, [first]);
    assert_eq!(model.state(&prize).expect("registered").owner, owner(1));
    assert!(!chain.mempool().contains(&second.txid()), "it lost for good");
    assert!(matches!(send(&chain, second).await, Err(TxRejection::Violation(Violation::LaterCommit { .. }))));
    within(service.shutdown()).await;
}

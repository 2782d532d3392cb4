//! Tests of the feed: events made by hand, on a chain that stands still.

use futures::FutureExt as _;
use ledger::testing::params_with;
use resolver::{NameSource as _, Readiness};
use tokio::time::timeout;

use super::*;
use crate::{
    chain::{Alarm, BlockDisconnected, ChainOptions, ChainService, ServiceOptions},
    mempool::Limits,
    store::Store,
};

const DEADLINE: Duration = Duration::from_secs(20);

fn chain(params: &'static Params) -> ChainService {
    let store = Store::in_memory(params).expect("memory opens");
    let chain = ChainOptions { threads: 1, ..ChainOptions::single_threaded() };
    let options = ServiceOptions { chain, mempool: Limits::default(), workers: 1, clock: || 4_000_000_000 };
    ChainService::start(store, params, options).expect("starts")
}

fn serial(table: &SharedTable) -> Option<u32> {
    table.published().and_then(|published| published.version()).map(|version| version.serial)
}

/// The mempool of a busy network never rests, and secondaries shall leave the abandoned branch all the same.
#[tokio::test]
async fn a_reorganisation_settles_while_other_things_happen() {
    let params = params_with(|_| {});
    let chain = chain(params);
    let table = SharedTable::new(120);
    table.publish_block(&Block { height: 5, time: 0, hash: Some([5; 32]) }, []);
    table.set_readiness(Readiness::Ready);
    let dir = tempfile::tempdir().expect("a directory");
    let mut serials = SerialFile::load(dir.path().join("dns.serial"), 0);
    let (sender, events) = broadcast::channel(64);
    let genesis = chain.handle().tip();
    let tip = Tip { height: 4, ..*genesis };
    let undone = BlockDisconnected { hash: tip.hash, height: 5, tip, changes: Vec::new(), transactions: Vec::new() };
    sender.send(Arc::new(ChainEvent::Disconnected(undone))).expect("somebody listens");
    let mut feed = Feed { params, table: &table, serials: &mut serials, events };
    let noise = async {
        let mut ticks = interval(Duration::from_millis(100));
        while serial(&table) != Some(6) {
            ticks.tick().await;
            sender.send(Arc::new(ChainEvent::Alarm(Alarm::DiskFull))).expect("somebody listens");
        }
    };
    timeout(DEADLINE, async {
        tokio::select! {
            _ = feed.follow() => panic!("nothing is missed, and the chain goes on"),
            () = noise => {}
        }
    })
    .await
    .expect("it settles");
    chain.shutdown().await;
}

/// Otherwise a node that is stopped while it starts would read all names to the end first.
#[test]
fn a_filling_that_nobody_waits_for_is_given_up() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    runtime.expect("a runtime").block_on(async {
        let params = params_with(|_| {});
        let chain = chain(params);
        let (handle, table) = (chain.handle(), Arc::new(SharedTable::new(120)));
        // The only thread that could read is busy until the filling is dropped: one message.
        let (go, gate) = std::sync::mpsc::sync_channel::<()>(1);
        let busy = tokio::task::spawn_blocking(move || gate.recv().is_ok());
        assert!(fill(params, &handle, &table).now_or_never().is_none(), "it waits for its turn");
        go.send(()).expect("it waits");
        assert!(busy.await.expect("no panic"));
        tokio::task::spawn_blocking(|| ()).await.expect("whoever was before has had its turn");
        assert_eq!(serial(&table), None, "given up");
        fill(params, &handle, &table).await.expect("fills");
        assert_eq!(serial(&table), Some(0));
        chain.shutdown().await;
    });
}

#[tokio::test]
async fn names_that_cannot_be_read_are_read_again() {
    let params = params_with(|_| {});
    let chain = chain(params);
    let (handle, table) = (chain.handle(), Arc::new(SharedTable::new(120)));
    let mut attempts = 0;
    let attempt = || {
        attempts += 1;
        let (handle, table, fails) = (handle.clone(), table.clone(), attempts < 3);
        async move {
            match fails {
                true => Err(StoreError::Io { message: "a bad sector".to_owned() }),
                false => fill(params, &handle, &table).await,
            }
        }
    };
    let filled = filled_at_last(&handle, attempt, Duration::from_millis(1));
    let (_, start) = timeout(DEADLINE, filled).await.expect("it comes to an end");
    assert_eq!((attempts, start.height), (3, 0));
    chain.shutdown().await;
}

//! The operator's word in a fork that is too deep to be followed alone: over the interface of a node on a network of its
//! own, whose work is simulated.

use std::{path::Path, sync::Arc, time::Duration};

use ledger::{
    params::Params,
    testing::{TestChain, params_with},
};
use node::{
    api::{
        client::Client,
        server::{ApiServer, ApiState, Parts},
    },
    chain::{Alarm, Arrival, ChainEvent, ChainHandle, ChainOptions, ChainService, ServiceOptions},
    config::{ApiConfig, Toggle},
    health::Health,
    metrics::Metrics,
    miner::{Conditions, Miner, MiningConfig, MiningMode},
    ops::Ops,
    p2p,
    reload::ReloadHandle,
    store::Store,
    sync::Company,
};
use resolver::{DnsConfig, DnsMetrics, out::forward::Forwarder};
use tokio::sync::watch;

use crate::harness::{in_time, refused};

const DEADLINE: Duration = Duration::from_secs(60);
/// For each part to stop in.
const STOP: Duration = Duration::from_secs(5);

/// Free up to 10 live blocks, then a lead of 20.
fn steep() -> &'static Params {
    params_with(|p| (p.free_reorg, p.deep_lead, p.lead_fades) = (10, 20, 30))
}

/// Blocks of these tests are minutes old at most.
fn clock() -> u64 {
    steep().genesis().core.time + 600
}

/// A chain of empty blocks; `first_gap` tells two of them apart.
fn grown(blocks: u32, first_gap: u64) -> TestChain {
    let mut chain = TestChain::new(steep());
    for index in 0..blocks {
        let gap = if index == 0 { first_gap } else { 2 };
        let block = chain.build_at(chain.tip().header().core.time + gap, Vec::new()).expect("valid");
        chain.connect(&block).expect("valid");
    }
    chain
}

/// The parts of a node that the interface shows.
struct World {
    chain: ChainService,
    p2p: p2p::P2pHandle,
    miner: Miner,
    ops: Ops,
    api: ApiServer,
}

impl World {
    async fn start(dir: &Path) -> Self {
        let params = steep();
        let store = Store::in_memory(params).expect("memory opens");
        let chain = ChainOptions::single_threaded();
        let options = ServiceOptions { chain, workers: 1, clock, ..ServiceOptions::default() };
        let chain = ChainService::start(store.clone(), params, options).expect("starts");
        let handle = chain.handle();
        let config = p2p::Config {
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")],
            mdns: Some(false),
            ..p2p::Config::default()
        };
        let deps = p2p::Deps { params, chain: handle.clone(), data_dir: dir.to_owned(), company: Company::Solo };
        let p2p = p2p::spawn(config, deps).await.expect("listens");
        let mining = MiningConfig { mode: MiningMode::Off, ..MiningConfig::default() };
        let (_, conditions) = watch::channel(Conditions::default());
        let miner = Miner::start(&mining, params, handle.clone(), conditions).expect("starts");
        let (_, synced) = watch::channel(true);
        let ops = Ops::start(params, store.operations(), handle.clone(), miner.handle(), synced).expect("starts");
        let (_, health) = watch::channel(Health::default());
        let metrics = Metrics::new().expect("registers");
        let dns_metrics = DnsMetrics::new(metrics.registry()).expect("registers");
        let state = ApiState::new(Parts {
            params,
            chain: handle,
            p2p: p2p.clone(),
            miner: miner.handle(),
            ops: ops.handle(),
            metrics: Arc::new(metrics),
            health,
            reload: ReloadHandle::default(),
            forwarder: Forwarder::new(&DnsConfig::default(), Arc::new(dns_metrics)).expect("valid"),
            dns_listen: Vec::new(),
            suffixes: Vec::new(),
        });
        let config = ApiConfig {
            socket: Some(dir.join("api.sock")),
            listen: Toggle::Off,
            token_file: Some(dir.join("api.token")),
        };
        let api = ApiServer::bind(&config, 4, state).await.expect("listens");
        Self { chain, p2p, miner, ops, api }
    }

    async fn stop(self) {
        self.api.shutdown(STOP).await;
        self.ops.shutdown().await;
        self.miner.shutdown().await;
        self.p2p.shutdown(STOP).await;
        self.chain.shutdown().await;
    }
}

async fn give(chain: &ChainHandle, blocks: &TestChain, arrival: Arrival) {
    for block in blocks.blocks() {
        chain.submit_block(Arc::new(block.clone()), arrival).await.expect("the chain runs");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deep_fork_is_followed_when_its_operator_says_so() {
    in_time(DEADLINE, async {
        let dir = tempfile::tempdir().expect("a directory");
        let world = World::start(dir.path()).await;
        let (chain, client) = (world.chain.handle(), Client::unix(dir.path().join("api.sock")));
        let (ours, theirs) = (grown(12, 2), grown(20, 3));
        give(&chain, &ours, Arrival::Live).await;
        let mut events = chain.events();
        give(&chain, &theirs, Arrival::Sync).await;
        let candidate = loop {
            if let ChainEvent::Alarm(Alarm::DeepFork { fork_height: 0, candidate }) =
                &*events.recv().await.expect("told")
            {
                break *candidate;
            }
        };
        assert_eq!(chain.tip().hash, ours.tip().hash(), "not by itself");

        refused(client.adopt_fork("tip").await, 400, "bad_request");
        refused(client.adopt_fork(&"7".repeat(64)).await, 404, "block_not_found");
        refused(client.adopt_fork(&ours.tip().hash().to_string()).await, 409, "already_active");
        let adopted = client.adopt_fork(&candidate.to_string()).await.expect("it has more work");
        // What stands on the block that was named is followed as well.
        let tip = chain.tip();
        assert_eq!((adopted.hash, adopted.height, adopted.disconnected), (tip.hash.to_string(), 20, 12));
        assert_eq!(tip.hash, theirs.tip().hash());
        refused(client.adopt_fork(&ours.tip().hash().to_string()).await, 409, "not_heavier");
        drop((chain, client, events));
        world.stop().await;
    })
    .await;
}

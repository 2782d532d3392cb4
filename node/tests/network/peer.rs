//! One node without API and DNS: chain and network, everything in a temporary directory.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ledger::{
    hash::{BlockHash, Hash, TxId},
    params::{Network, Params},
    pow::{Scratch, pow_value},
    price::Prices,
    rules::transaction::AnchorBlock,
    testing::{Maker, TestChain},
    transaction::Transaction,
};
use node::{
    chain::{Arrival, BlockOutcome, ChainHandle, ChainService, ServiceOptions},
    mempool::TxOrigin,
    p2p::{self, Config, Deps, Multiaddr, P2pHandle},
    store::Store,
    sync::Company,
};
use tempfile::TempDir;
use tokio::time::sleep;

/// The deadline of everything a test waits for.
const DEADLINE: Duration = Duration::from_secs(40);

/// Which transport a node listens on.
#[derive(Clone, Copy, Debug)]
pub enum Wire {
    Tcp,
    Quic,
}

/// A running node.
pub struct Peer {
    pub chain: ChainHandle,
    pub p2p: P2pHandle,
    params: &'static Params,
    service: ChainService,
    dir: TempDir,
    address: Multiaddr,
    wire: Wire,
}

impl Peer {
    /// Starts a node of the local network that dials `others`.
    pub async fn start(wire: Wire, others: &[&Peer]) -> Self {
        Self::start_on(Network::Local.params(), wire, others).await
    }

    /// Starts a node of any network that dials `others`.
    pub async fn start_on(params: &'static Params, wire: Wire, others: &[&Peer]) -> Self {
        let peers = others.iter().map(|other| other.address.clone()).collect();
        Self::start_in(params, tempfile::tempdir().expect("a temporary directory"), wire, peers).await
    }

    /// Starts a node of the local network with a changed configuration.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_at(Network::Local.params(), tempfile::tempdir().expect("a temporary directory"), change).await
    }

    /// The same in a directory that is there already.
    pub async fn start_at(params: &'static Params, dir: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Self::config(Wire::Tcp, Vec::new());
        change(&mut config);
        Self::start_from(params, dir, Wire::Tcp, config).await
    }

    async fn start_in(params: &'static Params, dir: TempDir, wire: Wire, peers: Vec<Multiaddr>) -> Self {
        Self::start_from(params, dir, wire, Self::config(wire, peers)).await
    }

    fn config(wire: Wire, peers: Vec<Multiaddr>) -> Config {
        let ip = Ipv4Addr::LOCALHOST.into();
        let listen = match wire {
            Wire::Tcp => p2p::config::tcp(ip, 0),
            Wire::Quic => p2p::config::quic(ip, 0),
        };
        Config { listen: vec![listen], peers, mdns: Some(false), ..Config::default() }
    }

    async fn start_from(params: &'static Params, dir: TempDir, wire: Wire, config: Config) -> Self {
        let store = Store::in_memory(params).expect("memory is there");
        let service = ChainService::start(store, params, ServiceOptions::default()).expect("the chain starts");
        let chain = service.handle();
        let deps = Deps { params, chain: chain.clone(), data_dir: dir.path().to_owned(), company: Company::Needed };
        let p2p = p2p::spawn(config, deps).await.expect("the network starts");
        let listens = p2p.listen_addresses().await;
        let address = listens.into_iter().next().unwrap_or_else(Multiaddr::empty);
        Self { params, chain, p2p, service, dir, address, wire }
    }

    /// Where to dial it; empty if it listens nowhere.
    pub async fn address(&self) -> Multiaddr {
        self.address.clone()
    }

    /// Where its files are.
    pub fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its TCP socket.
    pub fn socket(&self) -> SocketAddr {
        let text = self.address.to_string();
        let port = text.split('/').nth(4).and_then(|port| port.parse().ok()).expect("/ip4/…/tcp/PORT/p2p/ID");
        (Ipv4Addr::LOCALHOST, port).into()
    }

    pub fn tip(&self) -> BlockHash {
        self.chain.tip().hash
    }

    /// Hands the node all blocks of a chain.
    pub async fn load(&self, history: &TestChain) {
        for block in history.blocks() {
            self.chain.submit_block(block.clone().into(), Arrival::Sync).await.expect("judged");
        }
        assert_eq!(self.tip(), history.tip().hash());
    }

    /// Mines and connects blocks with real work.
    pub async fn mine(&self, blocks: u32) {
        for _ in 0..blocks {
            self.mine_one().await;
        }
    }

    /// Makes transactions anchored at a block of this node's chain.
    pub fn maker(&self, height: u32) -> Maker<'static> {
        let placed = self.chain.reader().header_at(height).expect("reads").expect("is there");
        let anchor = AnchorBlock { hash: placed.hash, prices: Prices::from(&placed.header.ext) };
        let params = self.params;
        Maker { params, chain_id: params.chain_id(), height, anchor }
    }

    /// Hands the node a transaction of its own.
    pub async fn submit(&self, tx: Transaction) -> TxId {
        self.chain.submit_transaction(tx, TxOrigin::Local).await.expect("it is valid")
    }

    async fn mine_one(&self) {
        let params = self.params;
        let mut template = self.chain.template(Hash::ZERO).await.expect("a template");
        let (chain_id, mut scratch) = (params.chain_id(), Scratch::default());
        while pow_value(params.algorithm, &chain_id, &template.header.core, &mut scratch) > template.target {
            template.header.core.nonce += 1;
        }
        let block = template.with_core(template.header.core);
        let report = self.chain.submit_block(block.into(), Arrival::Live).await.expect("judged");
        assert!(matches!(report.outcome, BlockOutcome::Connected { .. }), "{report:?}");
    }

    /// Stops the network and starts a new one in the same directory.
    pub async fn restart(self) -> Self {
        self.p2p.shutdown(Duration::from_secs(5)).await;
        self.service.shutdown().await;
        Self::start_in(self.params, self.dir, self.wire, Vec::new()).await
    }

    pub async fn stop(self) {
        self.p2p.shutdown(Duration::from_secs(5)).await;
        self.service.shutdown().await;
    }
}

/// The wall clock.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Waits for something to become true, or fails at the deadline saying what did not happen.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    eventually_async(what, async || holds()).await;
}

/// The same for a question that has to be awaited.
pub async fn eventually_async(what: &str, holds: impl AsyncFn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds().await {
        assert!(Instant::now() < end, "in {DEADLINE:?} it never came true that {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

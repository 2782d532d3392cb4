//! The composition root: puts the parts together, starts them in order, stops them in order.
//!
//! When [`Node::start`] returns, everything listens. [`Node::shutdown`] goes the other way round, each part with a
//! deadline: first nobody new comes in, then work stops, then the chain writes its last block. Dying instead, at any
//! moment, loses nothing that was acknowledged.

mod alarms;
mod feed;
mod verdicts;

use std::{
    fs, io,
    net::{SocketAddr, UdpSocket},
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ledger::params::{Network, Params};
use resolver::{
    DnsMetrics, Dnssec, Resolver, SharedTable,
    sign::{ZoneKey, file::load_or_create},
};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::{
    api::server::{ApiError, ApiServer, ApiState, MonitorServer, Parts},
    chain::{ChainHandle, ChainOptions, ChainService, Retention, ServiceOptions},
    config::{Config, Role},
    metrics::Metrics,
    miner::{Miner, MinerHandle},
    ops::{Ops, OpsHandle},
    p2p::{self, P2pHandle},
    store::{Space, Store, StoreError},
    sync::Company,
};

/// How long each part may take to stop.
const PART_DEADLINE: Duration = Duration::from_secs(2);

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data directory.
    #[error("cannot use the data directory {}: {error}", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network.
    #[error(transparent)]
    P2p(#[from] p2p::P2pError),
    /// DNS.
    #[error(transparent)]
    Dns(#[from] resolver::server::BindError),
    /// The key that signs DNS answers.
    #[error("cannot use the DNSSEC key {0}")]
    DnsKey(#[from] resolver::sign::file::KeyFileError),
    /// The HTTP interface or the metrics.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A thread or a metric could not be made.
    #[error("cannot start: {0}")]
    System(String),
}

/// A running node.
pub struct Node {
    chain: ChainService,
    p2p: P2pHandle,
    miner: Miner,
    ops: Ops,
    dns: Resolver,
    api: ApiServer,
    monitor: Option<MonitorServer>,
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    /// Starts every part. On return, all of them listen.
    pub async fn start(config: Config) -> Result<Self, NodeError> {
        let params = config.network.params();
        make_data_dir(&config)?;
        // A key that cannot be used is found before anything runs.
        let key = dnssec_key(&config)?;
        let metrics = Arc::new(Metrics::new().map_err(|error| NodeError::System(error.to_string()))?);
        metrics.describe_build(config.network.as_str(), config.role.as_str());
        let (store, chain) = open_chain(&config, params).await?;
        let handle = chain.handle();
        let p2p = p2p::spawn(config.p2p.clone(), deps(&config, params, handle.clone())).await?;
        let table = Arc::new(SharedTable::new(params.block_interval));
        let serials = prepare_zone(&config, &table);
        let dns = bind_dns(&config, table.clone(), &metrics, key).await?;
        let signals = verdicts::Signals::new();
        let miner = Miner::start(&config.mining, params, handle.clone(), signals.conditions())
            .map_err(|error| NodeError::System(error.to_string()))?;
        let ops = Ops::start(params, store.kv(Space::Ops), handle.clone(), miner.handle(), signals.synced())?;
        let state = ApiState::new(Parts {
            params,
            chain: handle.clone(),
            p2p: p2p.clone(),
            miner: miner.handle(),
            ops: ops.handle(),
            metrics: metrics.clone(),
            dns_listen: dns.local_addrs().to_vec(),
            suffixes: config.dns.suffixes.clone(),
        });
        let filled = tokio::sync::watch::channel(false);
        let tasks = vec![
            tokio::spawn(alarms::run(handle.clone(), metrics)),
            tokio::spawn(feed::run(params, handle.clone(), table.clone(), serials, filled.0)),
            tokio::spawn(verdicts::follow(signals, p2p.watch_verdict(), handle.clone(), table, filled.1)),
        ];
        let api = ApiServer::bind(&config.api, state.clone()).await?;
        let monitor = match config.metrics.listen.address() {
            Some(address) => Some(MonitorServer::bind(address, state).await?),
            None => None,
        };
        let node = Self { chain, p2p, miner, ops, dns, api, monitor, tasks };
        node.announce(&config);
        Ok(node)
    }

    fn announce(&self, config: &Config) {
        let tip = self.chain.handle().tip();
        info!(
            version = env!("CARGO_PKG_VERSION"),
            network = config.network.as_str(),
            height = tip.height,
            data_dir = %config.data_dir.display(),
            api = ?self.api.local_addr(),
            dns = ?self.dns.local_addrs(),
            metrics = ?self.monitor_addr(),
            "node started"
        );
    }

    /// The chain.
    pub fn chain(&self) -> ChainHandle {
        self.chain.handle()
    }

    /// The network.
    pub fn p2p(&self) -> P2pHandle {
        self.p2p.clone()
    }

    /// The operations.
    pub fn ops(&self) -> OpsHandle {
        self.ops.handle()
    }

    /// The miner.
    pub fn miner(&self) -> MinerHandle {
        self.miner.handle()
    }

    /// Where the HTTP interface listens on TCP.
    pub fn api_addr(&self) -> Option<SocketAddr> {
        self.api.local_addr()
    }

    /// The token for writes over TCP.
    pub fn api_token(&self) -> &str {
        self.api.token()
    }

    /// Where DNS is answered.
    pub fn dns_addrs(&self) -> &[SocketAddr] {
        self.dns.local_addrs()
    }

    /// Where metrics are.
    pub fn monitor_addr(&self) -> Option<SocketAddr> {
        self.monitor.as_ref().and_then(MonitorServer::local_addr)
    }

    /// Waits until a part without which the node is useless has stopped by itself, and says which.
    pub async fn failed(&mut self) -> String {
        let mut tips = self.chain.handle().watch();
        let chain_stopped = async move { while tips.changed().await.is_ok() {} };
        tokio::select! {
            () = chain_stopped => "the chain has stopped because its database failed".to_owned(),
            error = self.dns.failed() => error.to_string(),
        }
    }

    /// Stops every part in order.
    pub async fn shutdown(self) {
        self.api.shutdown(PART_DEADLINE).await;
        self.ops.shutdown().await;
        self.miner.shutdown().await;
        if let Err(error) = self.dns.shutdown(PART_DEADLINE).await {
            warn!(%error, "DNS did not stop in order");
        }
        self.p2p.shutdown(PART_DEADLINE).await;
        self.tasks.iter().for_each(JoinHandle::abort);
        if let Some(monitor) = self.monitor {
            monitor.shutdown(PART_DEADLINE).await;
        }
        self.chain.shutdown().await;
        info!("node stopped");
    }
}

/// Makes the data directory, for this user only.
fn make_data_dir(config: &Config) -> Result<(), NodeError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.data_dir)
        .map_err(|error| NodeError::DataDir { path: config.data_dir.clone(), error })
}

/// Opens database and chain where waiting for the disk holds nobody up.
async fn open_chain(config: &Config, params: &'static Params) -> Result<(Store, ChainService), NodeError> {
    let (path, retention) = (config.database_dir(), retention(config.role));
    let opened = tokio::task::spawn_blocking(move || {
        let store = Store::open(path, params)?;
        let defaults = ServiceOptions::default();
        let options = ServiceOptions { chain: ChainOptions { retention, ..defaults.chain }, ..defaults };
        Ok((store.clone(), ChainService::start(store, params, options)?))
    });
    opened.await.map_err(|error| NodeError::System(error.to_string()))?
}

fn retention(role: Role) -> Retention {
    match role {
        Role::Full => Retention::Recent,
        Role::Archive => Retention::Archive,
    }
}

fn deps(config: &Config, params: &'static Params, chain: ChainHandle) -> p2p::Deps {
    // The first node of a local network has nobody to ask.
    let is_first = config.network == Network::Local && config.p2p.peers.is_empty();
    let company = if config.mining.solo || is_first { Company::Solo } else { Company::Needed };
    p2p::Deps { params, chain, data_dir: config.data_dir.clone(), company }
}

/// The key that signs DNS answers, if they are to be signed.
fn dnssec_key(config: &Config) -> Result<Option<ZoneKey>, NodeError> {
    let signs = config.dns.dnssec == Dnssec::On && !config.dns.listen.is_empty();
    Ok(signs.then(|| load_or_create(&config.dnssec_key_file())).transpose()?)
}

/// Before anything is published: what was given out before, and how much is remembered for secondaries.
fn prepare_zone(config: &Config, table: &SharedTable) -> feed::SerialFile {
    if let Some(limits) = config.dns.transfer.history() {
        table.keep_history(limits);
    }
    let serials = feed::SerialFile::load(config.data_dir.join("dns.serial"));
    if let Some(last) = serials.last() {
        table.resume(last);
    }
    serials
}

async fn bind_dns(
    config: &Config,
    table: Arc<SharedTable>,
    metrics: &Metrics,
    key: Option<ZoneKey>,
) -> Result<Resolver, NodeError> {
    let dns_metrics = DnsMetrics::new(metrics.registry()).map_err(|error| NodeError::System(error.to_string()))?;
    let mut dns = config.dns.clone();
    // The default names both loopbacks; a machine without IPv6 shall not fail for that.
    if dns.listen == resolver::DnsConfig::default().listen && UdpSocket::bind("[::1]:0").is_err() {
        dns.listen.retain(SocketAddr::is_ipv4);
    }
    Ok(Resolver::bind_with_key(&dns, table, Arc::new(dns_metrics), key).await?)
}

//! The composition root: puts the parts together, starts them in order, stops them in order.
//!
//! When [`Node::start`] returns, everything listens. [`Node::shutdown`] goes the other way round, each part with a
//! deadline: first nobody new comes in, then work stops, then the chain writes its last block and the database is
//! closed. Dying instead, at any moment, loses nothing that was acknowledged.

mod feed;
mod reload;
mod running;
mod serial;
mod verdicts;

pub use feed::fill as fill_table;

use std::{
    fs, io,
    net::{SocketAddr, UdpSocket},
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    sync::Arc,
};

use ledger::params::{Network, Params};
use resolver::{
    DnsMetrics, Dnssec, Resolver, SharedTable,
    serve::{
        certificate::Certificate,
        server::{Equipment, GivenSockets},
    },
    zones::sign::file::load_or_create,
};
use tracing::{info, warn};

use running::Running;
use serial::SerialFile;

use crate::{
    api::server::{ApiError, ApiServer, ApiState, MonitorServer, Parts},
    chain::{ChainHandle, ChainOptions, ChainService, Retention, ServiceOptions},
    config::{Config, Role},
    descriptors::{self, API_CONNECTIONS, Budget},
    health::Rules,
    metrics::Metrics,
    miner::{Miner, MinerHandle},
    ops::{Ops, OpsHandle},
    p2p::{self, P2pHandle},
    reload::{ReloadHandle, ReloadRequests, Reloaded},
    store::{OPEN_FILES, Store, StoreError},
    sync::Company,
};

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
    Dns(#[from] resolver::serve::server::BindError),
    /// The key that signs DNS answers.
    #[error("cannot use the DNSSEC key {0}")]
    DnsKey(#[from] resolver::zones::sign::file::KeyFileError),
    /// Socket activation.
    #[error(transparent)]
    Given(#[from] resolver::serve::server::GivenError),
    /// The certificate of encrypted DNS.
    #[error("cannot use a certificate for encrypted DNS: {0}")]
    DnsCertificate(#[from] resolver::serve::certificate::CertificateError),
    /// The HTTP interface or the metrics.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A thread or a metric could not be made.
    #[error("cannot start: {0}")]
    System(String),
}

/// A running node.
pub struct Node {
    /// As it was written, with what was taken over since.
    config: Config,
    running: Running,
    chain: ChainHandle,
    p2p: P2pHandle,
    miner: MinerHandle,
    ops: OpsHandle,
    reload: ReloadHandle,
    api_addr: Option<SocketAddr>,
    api_token: String,
    dns_addrs: Vec<SocketAddr>,
}

impl Node {
    /// Starts every part. On return, all of them listen; after an error, those that had started have stopped again.
    pub async fn start(mut config: Config) -> Result<Self, NodeError> {
        let written = config.clone();
        let budget = fit_to_descriptors(&mut config);
        let sockets = given_sockets(&mut config)?;
        make_data_dir(&config)?;
        // A key that cannot be used is found before anything runs.
        let equipment = dns_equipment(&config, sockets)?;
        let mut running = Running::default();
        match Self::start_parts(&config, budget, equipment, &mut running).await {
            Ok(with) => {
                let node = with(written, running);
                node.announce(&config);
                Ok(node)
            }
            Err(error) => {
                running.shutdown().await;
                Err(error)
            }
        }
    }

    /// Starts the parts and puts each into `running` at once; the node is made of them when all are there.
    async fn start_parts(
        config: &Config,
        budget: Budget,
        equipment: Equipment,
        running: &mut Running,
    ) -> Result<impl FnOnce(Config, Running) -> Self + use<>, NodeError> {
        let params = config.network.params();
        let metrics = Arc::new(Metrics::new().map_err(|error| NodeError::System(error.to_string()))?);
        metrics.describe_build(config.network.as_str(), config.role.as_str());
        let (store, service) = open_chain(config, params, budget).await?;
        running.database = Some(store.closed());
        let chain = running.chain.insert(service).handle();
        let deps = deps(config, params, chain.clone());
        let rules = Rules::of(params, deps.company);
        let p2p = p2p::spawn(config.p2p.clone(), deps).await?;
        let p2p = running.p2p.insert(p2p).clone();
        let table = Arc::new(SharedTable::new(params.block_interval));
        let serials = prepare_zone(config, &table);
        let dns = bind_dns(config, table.clone(), &metrics, equipment).await?;
        let dns = running.dns.insert(dns);
        let (dns_addrs, forwarder) = (dns.local_addrs().to_vec(), dns.forwarder().clone());
        let reload = ReloadHandle::default();
        let signals = verdicts::Signals::new();
        let miner = Miner::start(&config.mining, params, chain.clone(), signals.conditions())
            .map_err(|error| NodeError::System(error.to_string()))?;
        let miner = running.miner.insert(miner).handle();
        let ops = Ops::start(params, store.operations(), chain.clone(), miner.clone(), signals.synced())?;
        let ops = running.ops.insert(ops).handle();
        let state = ApiState::new(Parts {
            params,
            chain: chain.clone(),
            p2p: p2p.clone(),
            miner: miner.clone(),
            ops: ops.clone(),
            metrics,
            health: signals.health(),
            reload: reload.clone(),
            forwarder,
            dns_listen: dns_addrs.clone(),
            suffixes: config.dns.suffixes.clone(),
        });
        let (is_filled, filled) = tokio::sync::watch::channel(false);
        let facts = verdicts::Facts { verdicts: p2p.watch_verdict(), chain: chain.clone(), filled };
        running.tasks = vec![
            tokio::spawn(feed::run(params, chain.clone(), table.clone(), serials, is_filled)),
            tokio::spawn(verdicts::follow(signals, rules, facts, table)),
        ];
        let api = running.api.insert(ApiServer::bind(&config.api, budget.api, state.clone()).await?);
        let (api_addr, api_token) = (api.local_addr(), api.token().to_owned());
        if let Some(address) = config.metrics.listen.address() {
            running.monitor = Some(MonitorServer::bind(address, budget.api, state).await?);
        }
        Ok(move |config, running| Self {
            config,
            running,
            chain,
            p2p,
            miner,
            ops,
            reload,
            api_addr,
            api_token,
            dns_addrs,
        })
    }

    fn announce(&self, config: &Config) {
        let tip = self.chain.tip();
        info!(
            version = env!("CARGO_PKG_VERSION"),
            network = config.network.as_str(),
            height = tip.height,
            data_dir = %config.data_dir.display(),
            api = ?self.api_addr,
            dns = ?self.dns_addrs,
            metrics = ?self.monitor_addr(),
            "node started"
        );
    }

    /// The chain.
    pub fn chain(&self) -> ChainHandle {
        self.chain.clone()
    }

    /// The network.
    pub fn p2p(&self) -> P2pHandle {
        self.p2p.clone()
    }

    /// The operations.
    pub fn ops(&self) -> OpsHandle {
        self.ops.clone()
    }

    /// The miner.
    pub fn miner(&self) -> MinerHandle {
        self.miner.clone()
    }

    /// Where the HTTP interface listens on TCP.
    pub fn api_addr(&self) -> Option<SocketAddr> {
        self.api_addr
    }

    /// The token for writes over TCP.
    pub fn api_token(&self) -> &str {
        &self.api_token
    }

    /// Where DNS is answered.
    pub fn dns_addrs(&self) -> &[SocketAddr] {
        &self.dns_addrs
    }

    /// Where metrics are.
    pub fn monitor_addr(&self) -> Option<SocketAddr> {
        self.running.monitor.as_ref().and_then(MonitorServer::local_addr)
    }

    /// Requests of the API to read the configuration again, for the program, which knows the file.
    pub fn reload_requests(&self) -> ReloadRequests {
        self.reload.requests()
    }

    /// Takes over of a new configuration what can be taken over, reads again the files that it points to, and says what
    /// had changed.
    pub async fn reload(&mut self, new: &Config) -> Reloaded {
        let (config, mut reloaded) = reload::reloaded(&self.config, new);
        self.config = config;
        self.miner.configure(&self.config.mining).await;
        self.p2p.set_peers(self.config.p2p.peers.clone()).await;
        if let Some(dns) = &self.running.dns {
            dns.set_access(&self.config.dns);
            reload::add(&mut reloaded, dns.read_again().await);
        }
        reloaded
    }

    /// Waits until a part without which the node is useless has stopped by itself, and says which.
    pub async fn failed(&mut self) -> String {
        let mut tips = self.chain.watch();
        let chain_stopped = async move { while tips.changed().await.is_ok() {} };
        let dns_failed = async {
            match &mut self.running.dns {
                Some(dns) => dns.failed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = chain_stopped => "the chain has stopped because its database failed".to_owned(),
            error = dns_failed => error.to_string(),
        }
    }

    /// Stops every part in order. On return the database is closed, unless the caller still holds a way to a part: that is
    /// waited for a moment, then a warning says so.
    pub async fn shutdown(self) {
        let Self { running, chain, p2p, miner, ops, .. } = self;
        // They lead to the database, which is not closed while they are here.
        drop((chain, p2p, miner, ops));
        running.shutdown().await;
        info!("node stopped");
    }
}

/// Raises the limit of file descriptors, and lowers those of the configuration that would not fit into it.
fn fit_to_descriptors(config: &mut Config) -> Budget {
    let (dns, p2p) = (&mut config.dns.connections.max, &mut config.p2p);
    let peers = p2p.max_peers.saturating_add(p2p.outbound);
    let wanted = Budget { dns: *dns, api: API_CONNECTIONS, peers, database: OPEN_FILES };
    let limit = match descriptors::raise_limit() {
        Ok(limit) => limit,
        Err(error) => {
            warn!(%error, "the limit of file descriptors cannot be read");
            return wanted;
        }
    };
    let budget = wanted.within(limit);
    budget.announce(&wanted, limit);
    *dns = budget.dns;
    if budget.peers < peers {
        // Connections of its own come first: they are what keeps a node in the network.
        p2p.outbound = p2p.outbound.min(budget.peers / 2);
        p2p.max_peers = budget.peers - p2p.outbound;
    }
    budget
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
async fn open_chain(
    config: &Config,
    params: &'static Params,
    budget: Budget,
) -> Result<(Store, ChainService), NodeError> {
    let (path, retention) = (config.database_dir(), retention(config.role));
    let opened = tokio::task::spawn_blocking(move || {
        let store = Store::open_with(path, params, budget.database)?;
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

/// Sockets for plain DNS that came with the process: where they listen is what counts, not what `dns.listen` says.
fn given_sockets(config: &mut Config) -> Result<Option<GivenSockets>, NodeError> {
    let given = GivenSockets::from_env()?;
    if let Some(given) = &given {
        config.dns.listen = given.addrs().map_err(|error| NodeError::System(error.to_string()))?;
    }
    Ok(given)
}

/// The key that signs DNS answers, if they are to be signed, and the certificate, if any transport is encrypted.
fn dns_equipment(config: &Config, sockets: Option<GivenSockets>) -> Result<Equipment, NodeError> {
    let is_on = !config.dns.listen.is_empty() || config.dns.tls.is_enabled();
    let signs = config.dns.dnssec == Dnssec::On && is_on;
    let zone_key = signs.then(|| load_or_create(&config.dnssec_key_file())).transpose()?;
    let certificate = Certificate::obtain(&config.dns, &config.data_dir)?;
    Ok(Equipment { zone_key, certificate, sockets })
}

/// Before anything is published: what was given out before, and how much is remembered for secondaries.
fn prepare_zone(config: &Config, table: &SharedTable) -> SerialFile {
    if let Some(limits) = config.dns.transfer.history() {
        table.keep_history(limits);
    }
    // The configuration was checked, so there are zones to tell apart.
    let digest = config.dns.zones_digest().unwrap_or_default();
    let serials = SerialFile::load(config.data_dir.join("dns.serial"), digest);
    if let Some(last) = serials.last() {
        table.resume(last);
    }
    serials
}

async fn bind_dns(
    config: &Config,
    table: Arc<SharedTable>,
    metrics: &Metrics,
    equipment: Equipment,
) -> Result<Resolver, NodeError> {
    let dns_metrics = DnsMetrics::new(metrics.registry()).map_err(|error| NodeError::System(error.to_string()))?;
    let mut dns = config.dns.clone();
    // The default names both loopbacks; a machine without IPv6 shall not fail for that.
    if dns.listen == resolver::DnsConfig::default().listen && UdpSocket::bind("[::1]:0").is_err() {
        dns.listen.retain(SocketAddr::is_ipv4);
    }
    Ok(Resolver::bind_with(&dns, table, Arc::new(dns_metrics), equipment).await?)
}

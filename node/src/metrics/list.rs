//! Every metric, and how they are made from the list.

use parking_lot::Mutex;
use prometheus::{
    Counter, Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::Collector,
};

/// Prefix of every name.
const PREFIX: &str = "namestead_";
/// Bounds of the times of API requests, in seconds.
const API_BUCKETS: [f64; 9] = [0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];

/// A kind of metric that can be made from name, help and labels.
trait Make: Collector + Clone + Sized + 'static {
    fn make(name: String, help: String, labels: &[&str]) -> prometheus::Result<Self>;
}

macro_rules! make_plain {
    ($($kind:ident),+) => {$(
        impl Make for $kind {
            fn make(name: String, help: String, _: &[&str]) -> prometheus::Result<Self> {
                $kind::new(name, help)
            }
        }
    )+};
}

macro_rules! make_labelled {
    ($($kind:ident),+) => {$(
        impl Make for $kind {
            fn make(name: String, help: String, labels: &[&str]) -> prometheus::Result<Self> {
                $kind::new(Opts::new(name, help), labels)
            }
        }
    )+};
}

make_plain!(IntGauge, Gauge, IntCounter, Counter);
make_labelled!(IntGaugeVec, IntCounterVec);

impl Make for HistogramVec {
    fn make(name: String, help: String, labels: &[&str]) -> prometheus::Result<Self> {
        HistogramVec::new(HistogramOpts::new(name, help).buckets(API_BUCKETS.to_vec()), labels)
    }
}

fn register<M: Make>(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<M> {
    let metric = M::make(format!("{PREFIX}{name}"), help.trim().to_owned(), labels)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

macro_rules! metrics {
    ($(#[doc = $help:literal] $name:ident: $kind:ident $([$($label:literal),+])?),+ $(,)?) => {
        /// Every metric of the node; the name of a field is the metric's name without prefix.
        pub struct Metrics {
            pub(super) registry: Registry,
            /// Counters are set from snapshots, so two scrapes must not do that at the same time.
            pub(super) scraping: Mutex<()>,
            $(#[doc = $help] pub(super) $name: $kind),+
        }

        impl Metrics {
            /// Makes and registers them, and those of the process.
            pub fn new() -> prometheus::Result<Self> {
                let registry = Registry::new();
                register_process(&registry)?;
                Ok(Self {
                    scraping: Mutex::default(),
                    $($name: register(&registry, stringify!($name), $help, &[$($($label),+)?])?,)+
                    registry,
                })
            }
        }
    };
}

metrics! {
    /// Always 1; the labels say what runs.
    build_info: IntGaugeVec ["version", "network", "role"],
    /// Height of the tip.
    chain_height: IntGauge,
    /// Height of the best header.
    chain_header_height: IntGauge,
    /// Height that the node works towards.
    chain_target_height: IntGauge,
    /// Unix time in the tip's header.
    chain_tip_timestamp_seconds: Gauge,
    /// Seconds since the time in the tip's header, by this machine's clock put right by the peers' clocks.
    chain_tip_age_seconds: Gauge,
    /// Whether the node's tip can be believed to be that of the network.
    chain_synced: IntGauge,
    /// How far what the node knows is the present: 1 for the state that holds.
    chain_state: IntGaugeVec ["state"],
    /// Blocks by what became of them.
    chain_blocks_total: IntCounterVec ["result"],
    /// Headers by what became of them.
    chain_headers_total: IntCounterVec ["result"],
    /// Bodies kept that are not connected yet.
    chain_bodies_waiting: IntGauge,
    /// Switches to another branch.
    chain_reorgs_total: IntCounter,
    /// Blocks disconnected by the deepest reorganisation since start.
    chain_reorg_depth_max_blocks: IntGauge,
    /// Names whose owner a reorganisation changed.
    chain_reorg_owner_changes_total: IntCounter,
    /// Times a heavier chain was refused because it forks off too deep.
    chain_deep_fork_alarms_total: IntCounter,
    /// Times stored state did not fit its header.
    chain_corruption_alarms_total: IntCounter,
    /// Seconds spent connecting blocks.
    chain_block_import_seconds_total: Counter,
    /// Registered names.
    chain_names: IntGauge,
    /// Price of bytes at the tip; 256 is the base price.
    chain_price_bytes: IntGauge,
    /// Price of commits at the tip; 256 is the base price.
    chain_price_commit: IntGauge,
    /// Expected evaluations in the whole chain.
    chain_work_hashes: Gauge,
    /// Checks of signatures and work of transactions, by whether they were made or saved by an earlier one.
    chain_transaction_checks_total: IntCounterVec ["result"],
    /// State tree pages by where they were found.
    chain_page_reads_total: IntCounterVec ["from"],
    /// Unconfirmed transactions.
    mempool_transactions: IntGauge,
    /// Bytes of unconfirmed transactions.
    mempool_bytes: IntGauge,
    /// Transactions offered to the mempool, by result.
    mempool_offers_total: IntCounterVec ["result"],
    /// Operations kept, by state.
    operations: IntGaugeVec ["state"],
    /// Whether mining threads search.
    miner_active: IntGauge,
    /// Threads that search.
    miner_threads: IntGauge,
    /// Evaluations since start.
    miner_hashes_total: IntCounter,
    /// Blocks found and accepted since start.
    miner_blocks_total: IntCounter,
    /// Orders for shares not filled yet.
    miner_orders: IntGauge,
    /// Connected peers, by who opened the connection.
    p2p_peers: IntGaugeVec ["direction"],
    /// Light clients connected now; they are no peers.
    p2p_clients: IntGauge,
    /// Configured peers that are not reached.
    p2p_configured_failing: IntGauge,
    /// Whether another node with this node's identity was noticed.
    p2p_identity_copied: IntGauge,
    /// Whether others can reach this node: 1 for the state that holds.
    p2p_reachable: IntGaugeVec ["state"],
    /// Reservations of others at this node, which is their relay.
    p2p_relay_reservations: IntGauge,
    /// Circuits of others through this node.
    p2p_relay_circuits: IntGauge,
    /// What others ask of this node as a relay, by result.
    p2p_relay_requests_total: IntCounterVec ["result"],
    /// Relays that lead others to this node.
    p2p_relays: IntGauge,
    /// Connections through relays.
    p2p_relayed_connections: IntGauge,
    /// Connections through relays that ended, by whether a direct one came of them.
    p2p_relayed_ended_total: IntCounterVec ["result"],
    /// Peers in the address book.
    p2p_known_addresses: IntGauge,
    /// Peers banned now.
    p2p_banned_peers: IntGauge,
    /// Connections since start, by event.
    p2p_connections_total: IntCounterVec ["event"],
    /// Requests since start, by what became of them.
    p2p_requests_total: IntCounterVec ["result"],
    /// Bytes of answers given to peers.
    p2p_answer_bytes_total: IntCounter,
    /// Gossip messages, by verdict.
    p2p_gossip_verdicts_total: IntCounterVec ["verdict"],
    /// Gossip messages received.
    p2p_gossip_received_total: IntCounter,
    /// Gossip messages published.
    p2p_gossip_published_total: IntCounter,
    /// Bytes of new blocks received: as compact blocks, as parts asked for to complete them, as whole blocks.
    p2p_block_bytes_received_total: IntCounterVec ["as"],
    /// Announced blocks, by how they were made whole: from what was here, by asking for parts, or fetched.
    p2p_announced_blocks_total: IntCounterVec ["made"],
    /// Offences noted.
    p2p_offences_total: IntCounter,
    /// Bans imposed.
    p2p_bans_total: IntCounter,
    /// Jobs running beside the network task.
    p2p_jobs: IntGauge,
    /// Median offset of the peers' clocks; 0 while too few have told theirs.
    clock_offset_seconds: Gauge,
    /// Whether that offset is too large to mine.
    clock_alarm: IntGauge,
    /// Bytes of the database on disk.
    store_bytes: IntGauge,
    /// Bytes that the file system of the database has left for this user.
    store_disk_free_bytes: IntGauge,
    /// Bytes of memory that the database uses.
    store_memory_bytes: IntGauge,
    /// Seconds spent writing blocks to the database.
    store_commit_seconds_total: Counter,
    /// Whether the disk is full and no block is connected.
    store_readonly: IntGauge,
    /// Requests to the HTTP interface, by route and status.
    api_requests_total: IntCounterVec ["route", "code"],
    /// Seconds from the head of a request to the head of its answer.
    api_request_seconds: HistogramVec ["route"],
}

impl Metrics {
    /// The registry, for parts that bring metrics of their own.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Says what runs.
    pub fn describe_build(&self, network: &str, role: &str) {
        self.build_info.with_label_values(&[env!("CARGO_PKG_VERSION"), network, role]).set(1);
    }

    /// Counts a request to the HTTP interface.
    pub fn api_request(&self, route: &str, code: u16, seconds: f64) {
        self.api_requests_total.with_label_values(&[route, &code.to_string()]).inc();
        self.api_request_seconds.with_label_values(&[route]).observe(seconds);
    }
}

#[cfg(target_os = "linux")]
fn register_process(registry: &Registry) -> prometheus::Result<()> {
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
}

#[cfg(not(target_os = "linux"))]
fn register_process(_: &Registry) -> prometheus::Result<()> {
    Ok(())
}

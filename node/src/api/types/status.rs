//! `GET /v1/status`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How far what the node knows is the present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncState {
    /// The chain is not all here yet.
    Syncing,
    /// A young tip that peers share.
    Fresh,
    /// An old tip, but peers know no younger one.
    Quiet,
    /// An old tip, and nobody to say whether there is a younger one.
    Offline,
    /// A heavier chain exists that the node does not follow by itself.
    Suspect,
}

impl SyncState {
    /// Whether the node's tip can be believed to be that of the network.
    pub fn is_synced(self) -> bool {
        matches!(self, Self::Fresh | Self::Quiet)
    }
}

/// The node at a glance, with all that a wallet needs to build transactions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Version of the interface, 1.
    pub v: u8,
    /// `main`, `test` or `local`.
    pub network: String,
    /// CHAIN_ID, hexadecimal.
    pub chain_id: String,
    /// Height of the tip.
    pub height: u32,
    /// Hash of the tip.
    pub hash: String,
    /// Time in the tip's header, RFC 3339.
    pub time: String,
    /// Expected evaluations in the whole chain, decimal.
    pub total_work: String,
    /// Seconds since that time: how old the present is that the node can tell of.
    pub tip_age_seconds: u64,
    /// How far what the node knows is the present.
    pub state: SyncState,
    /// Whether the node's tip can be believed to be that of the network: `state` is `fresh` or `quiet`.
    pub synced: bool,
    /// Why not, if not.
    #[serde(default)]
    pub sync_reason: Option<String>,
    /// The height that the node is working towards.
    pub target_height: u32,
    /// Connected peers.
    pub peers: u32,
    /// What is wrong with this node's place in the network, a sentence each: configured peers that are not reached,
    /// another node with this node's identity.
    #[serde(default)]
    pub network_problems: Vec<String>,
    /// Whether others can reach this node: `yes`, `no` or `unknown`.
    #[serde(default)]
    pub reachable: Option<String>,
    /// Registered names.
    pub names: u64,
    /// Price of bytes at the tip, in 1/256.
    pub price_bytes: u32,
    /// Price of commits at the tip, in 1/256.
    pub price_commit: u32,
    /// Unconfirmed transactions.
    pub mempool: MempoolSummary,
    /// Work being done here.
    pub mining: MiningStatus,
    /// Version of the program.
    pub version: String,
    /// Seconds since start.
    pub uptime_seconds: u64,
    /// The network's constants.
    pub params: ParamsView,
    /// The last blocks, newest first: as many as may serve as anchors.
    pub recent: Vec<RecentBlock>,
    /// Where DNS is answered, `address:port`.
    pub dns_listen: Vec<String>,
    /// Suffixes under which names are answered.
    pub suffixes: Vec<String>,
}

/// A recent block, as an anchor for transactions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecentBlock {
    /// Height.
    pub height: u32,
    /// Hash.
    pub hash: String,
    /// Price of bytes for transactions anchored here, in 1/256.
    pub price_bytes: u32,
    /// Price of commits for transactions anchored here, in 1/256.
    pub price_commit: u32,
}

/// Size of the mempool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MempoolSummary {
    /// Transactions.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// When the node mines on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MiningMode {
    /// Gently: one thread of lowest priority for a part of the time, while there are peers.
    Auto,
    /// With all threads given.
    On,
    /// Only for operations.
    Off,
}

/// What the miner does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MiningStatus {
    /// The configured mode.
    pub mode: MiningMode,
    /// Whether any thread searches right now.
    pub active: bool,
    /// Evaluations per second over the last seconds.
    pub hashrate: f64,
    /// Threads in use.
    #[serde(default)]
    pub threads: u32,
    /// Blocks found since start.
    #[serde(default)]
    pub blocks_found: u64,
}

/// Constants of the network that wallets need; spans in blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ParamsView {
    /// Blocks between a commit and its reveal.
    pub maturity: u32,
    /// Blocks after the reveal in which an earlier commit wins.
    pub contest: u32,
    /// Life of a commit.
    pub commit_ttl: u32,
    /// Length of a registration or renewal.
    pub term: u32,
    /// Blocks before expiry in which renewal is accepted.
    pub renew_window: u32,
    /// Blocks after expiry in which the owner may still act.
    pub grace: u32,
    /// Blocks until a transfer takes effect.
    pub transfer_delay: u32,
    /// Blocks until a released name is free.
    pub release_delay: u32,
    /// Blocks that a burned name stays blocked at least.
    #[serde(default)]
    pub burn_lock: u32,
    /// Oldest usable anchor.
    pub anchor_window: u32,
    /// Depth at which wallets anchor.
    pub anchor_depth: u32,
    /// Mean time between blocks, in seconds.
    pub block_interval_seconds: u32,
    /// Expected evaluations of the cheapest registration at base price.
    pub p_commit: u64,
}

//! Blocks: `GET /v1/blocks…`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::TransactionSummary;

/// A block without its transactions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockSummary {
    /// Height.
    pub height: u32,
    /// Hash.
    pub hash: String,
    /// Hash of the parent.
    pub prev: String,
    /// Time in the header, RFC 3339.
    pub time: String,
    /// Compact target, hexadecimal.
    pub bits: String,
    /// Expected evaluations to find it, decimal.
    pub work: String,
    /// Bytes of all transactions.
    pub weight: u32,
    /// Commits.
    pub commit_count: u32,
    /// Transactions; absent if the body is no longer kept.
    #[serde(default)]
    pub transaction_count: Option<u32>,
    /// Price of bytes for transactions anchored here, in 1/256.
    pub price_bytes: u32,
    /// Price of commits for transactions anchored here, in 1/256.
    pub price_commit: u32,
    /// Names after this block.
    pub name_count: u64,
    /// Whether its work also paid for an operation.
    pub share: bool,
}

/// `GET /v1/blocks`, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockList {
    /// Version of the interface, 1.
    pub v: u8,
    /// The blocks.
    pub blocks: Vec<BlockSummary>,
    /// Pass this as `before` for the next page.
    #[serde(default)]
    pub next: Option<u32>,
}

/// Body of `POST /v1/chain/adopt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdoptFork {
    /// Hash of the last block of the chain to follow, 64 hexadecimal digits.
    pub hash: String,
}

/// `POST /v1/chain/adopt`: the chain is followed now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdoptedFork {
    /// Version of the interface, 1.
    pub v: u8,
    /// Hash of the tip.
    pub hash: String,
    /// Height of the tip.
    pub height: u32,
    /// Blocks that were taken back.
    pub disconnected: u32,
}

/// `GET /v1/blocks/{height|hash}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockDetail {
    /// Version of the interface, 1.
    pub v: u8,
    /// The header's content.
    #[serde(flatten)]
    pub summary: BlockSummary,
    /// Blocks on top of it plus one, on the active chain; 0 if it is on no active chain.
    pub confirmations: u32,
    /// Difficulty clock, in seconds.
    pub vtime: u32,
    /// Nonce, decimal.
    pub nonce: String,
    /// Root of the state tree after this block.
    pub state_root: String,
    /// Merkle root of transaction ids.
    pub tx_root: String,
    /// Merkle root of witness transaction ids.
    pub witness_root: String,
    /// Root of the history MMR below this block.
    pub history_root: String,
    /// What the work also paid for, zeros if nothing.
    pub share_commit: String,
    /// The transactions; absent if the body is no longer kept.
    #[serde(default)]
    pub transactions: Option<Vec<TransactionSummary>>,
}

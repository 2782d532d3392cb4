//! Transactions and the mempool.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The essence of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionSummary {
    /// Transaction id.
    pub txid: String,
    /// `COMMIT`, `REVEAL`, `UPDATE`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The name, if the transaction shows one.
    #[serde(default)]
    pub name: Option<String>,
    /// Bytes.
    pub bytes: u32,
    /// Height of the anchor block.
    pub anchor_height: u32,
}

/// Where a transaction is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "place")]
pub enum TransactionPlace {
    /// Waiting for a block.
    Mempool,
    /// In the active chain.
    Block {
        /// Height of its block.
        height: u32,
        /// Hash of its block.
        hash: String,
        /// Blocks on top of its block, plus one.
        confirmations: u32,
    },
}

/// `GET /v1/transactions/{txid}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionView {
    /// Version of the interface, 1.
    pub v: u8,
    /// What it is.
    #[serde(flatten)]
    pub summary: TransactionSummary,
    /// Id of the exact bytes.
    pub wtxid: String,
    /// Where it is.
    #[serde(flatten)]
    pub place: TransactionPlace,
    /// Sequence number, for changes.
    #[serde(default)]
    pub seq: Option<u64>,
    /// Address that signed, if it is signed.
    #[serde(default)]
    pub signer: Option<String>,
    /// The bytes, hexadecimal.
    pub hex: String,
}

/// `GET /v1/mempool`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MempoolList {
    /// Version of the interface, 1.
    pub v: u8,
    /// Transactions in the mempool.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The first thousand.
    pub transactions: Vec<MempoolItem>,
}

/// One waiting transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MempoolItem {
    /// What it is.
    #[serde(flatten)]
    pub summary: TransactionSummary,
}

/// Body of `POST /v1/transactions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitTransaction {
    /// A complete transaction: anchored, signed and worked; hexadecimal.
    pub hex: String,
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Submitted {
    /// Version of the interface, 1.
    pub v: u8,
    /// Its id.
    pub txid: String,
}

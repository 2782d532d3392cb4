//! Operations: what the node finishes on a wallet's behalf (`/v1/operations…`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    failure::Failure,
    ops::{OperationState, TxRole},
};

/// Body of `POST /v1/operations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum NewOperation {
    /// Registers a name: work for the commit, wait, publish the reveal, wait out the contest.
    Register {
        /// The name, without suffix.
        name: String,
        /// The commit; it needs no signature, so the node may anchor it again by itself.
        commit: CommitRequest,
        /// The signed REVEAL, hexadecimal. It is anchored at genesis, so that its signature never grows old.
        reveal_hex: String,
    },
    /// Works for and publishes a signed change: update, transfer, cancel, revoke.
    Change {
        /// A signed transaction whose share is 96 zero bytes; hexadecimal.
        transaction_hex: String,
    },
    /// Renews a name, whoever owns it: that takes work and no signature.
    Renew {
        /// The name, without suffix.
        name: String,
    },
}

/// What a commit says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommitRequest {
    /// Price class.
    pub class: u8,
    /// The blinded name, 64 hexadecimal digits.
    pub commit_hash: String,
    /// Height of the block to anchor at first; the node moves to a cheaper one where there is one.
    pub anchor_height: u32,
}

/// Body of `POST /v1/commits`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommitQuery {
    /// Price class of all of them.
    pub class: u8,
    /// Blinded names, each 64 hexadecimal digits; 512 at most.
    pub commit_hashes: Vec<String>,
}

/// `POST /v1/commits`: which of the commits asked for stand on the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommitList {
    /// Version of the interface, 1.
    pub v: u8,
    /// Those that stand.
    pub commits: Vec<StandingCommit>,
    /// Height of the tip that this describes.
    pub height: u32,
}

/// A commit that stands on the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StandingCommit {
    /// The blinded name, 64 hexadecimal digits.
    pub commit_hash: String,
    /// Height of its block.
    pub commit_height: u32,
    /// Whether a reveal has used it.
    pub spent: bool,
}

/// Body of `POST /v1/operations/{id}/resume`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeOperation {
    /// Needed in state `needs_signature`; else absent. The change signed anew, its share 96 zero bytes; for a
    /// registration whose error is `older_reveal`, an UPDATE that sets operator and records.
    #[serde(default)]
    pub transaction_hex: Option<String>,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Registers a name.
    Register,
    /// Changes one.
    Change,
}

/// A transaction of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperationTx {
    /// Its part.
    pub role: TxRole,
    /// Its id. That of a commit changes when it is anchored again.
    pub txid: String,
}

/// Progress of the work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Evaluations so far.
    pub hashes_done: u64,
    /// Evaluations needed on average; a search has no memory, so it may take several times as many.
    pub expected_hashes: u64,
    /// Evaluations per second.
    pub rate_hps: f64,
    /// Mean time until the share is found from now on, in seconds; absent while the rate is unknown.
    #[serde(default)]
    pub eta_seconds: Option<u64>,
}

/// `GET /v1/operations/{id}`, and the answer to everything that makes or changes one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Operation {
    /// Version of the interface, 1.
    pub v: u8,
    /// Its id: 26 characters, ascending by time of creation.
    pub id: String,
    /// What it does.
    pub kind: OperationKind,
    /// `register`, or the change: `update`, `transfer`, `cancel`, `renew`, `revoke`.
    pub action: String,
    /// The name.
    pub name: String,
    /// How far it is.
    pub state: OperationState,
    /// Its transactions, as far as they exist.
    pub txids: Vec<OperationTx>,
    /// Height of the block with the commit or the change.
    #[serde(default)]
    pub commit_height: Option<u32>,
    /// Height of the block with the reveal.
    #[serde(default)]
    pub reveal_height: Option<u32>,
    /// First height at which the name is the registrant's for good.
    #[serde(default)]
    pub active_from: Option<u32>,
    /// Height that the next step waits for.
    #[serde(default)]
    pub next_height: Option<u32>,
    /// Last height at which the signed change can enter a block; a registration's signature does not grow old.
    #[serde(default)]
    pub signature_valid_until: Option<u32>,
    /// What its owner signed, hexadecimal: the REVEAL or the change; absent for a renewal. Needed to sign the same
    /// content anew.
    #[serde(default)]
    pub transaction_hex: Option<String>,
    /// Progress of the work, in state `working`, or in `broadcast` while more of it is searched for.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it last changed its state, RFC 3339.
    pub updated_at: String,
    /// Why it failed, or what it needs.
    #[serde(default)]
    pub error: Option<Failure>,
    /// Height of the tip that this describes.
    pub height: u32,
}

/// `GET /v1/operations`, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OperationList {
    /// Version of the interface, 1.
    pub v: u8,
    /// The operations.
    pub operations: Vec<Operation>,
}

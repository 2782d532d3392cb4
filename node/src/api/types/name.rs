//! Names: `GET /v1/names…`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::status::SyncState;

/// What can be said of a name, whether it exists or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NameStatus {
    /// Nobody has it.
    Free,
    /// Revealed; an earlier commit may still win.
    Pending,
    /// Owned.
    Active,
    /// Expired, still resolving; only the owner can act.
    Grace,
    /// Given up or burned.
    Revoked,
    /// Past its grace or lock: anybody may register it.
    Released,
    /// Can never be registered.
    Reserved,
    /// Only the owner of the DNS domain of that name may claim it.
    Locked,
}

/// `GET /v1/names/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NameAnswer {
    /// Version of the interface, 1.
    pub v: u8,
    /// The name, without suffix.
    pub name: String,
    /// Its status in the next block.
    pub status: NameStatus,
    /// The entry, if there is one.
    #[serde(default)]
    pub state: Option<NameEntry>,
    /// What registering it costs now.
    #[serde(default)]
    pub price: Option<NamePrice>,
    /// The DNS domain whose owner may claim it, for locked names.
    #[serde(default)]
    pub locked_to: Option<String>,
    /// Height of the tip that this describes.
    pub height: u32,
    /// Hash of that tip.
    pub hash: String,
    /// How old that tip is, in seconds.
    pub tip_age_seconds: u64,
    /// How far it is the present: `state` of the node's status. In a state that is not synced, this answer tells what was;
    /// that a name is absent then means nothing.
    pub sync_state: SyncState,
}

/// The cost of a registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NamePrice {
    /// Price class by length.
    pub class: u8,
    /// Expected evaluations, at the prices of the newest anchor that wallets use.
    pub expected_hashes: u64,
}

/// An entry of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NameEntry {
    /// Address of the owner.
    pub owner: String,
    /// Address of the operator, if there is one.
    #[serde(default)]
    pub operator: Option<String>,
    /// Sequence number of the last signed write.
    pub seq: u64,
    /// Height of the reveal.
    pub registered: u32,
    /// First height at which it is active.
    pub active_from: u32,
    /// Height at which it expires.
    pub expires_at: u32,
    /// When that will be at the intended pace, RFC 3339.
    pub expires_time: String,
    /// Height at which anybody may register it, unless renewed.
    pub grace_until: u32,
    /// Height of the last signed write.
    pub last_update: u32,
    /// Height of the commit that won it.
    pub commit_height: u32,
    /// Commits below this height cannot win it.
    pub not_before: u32,
    /// Whether it was revoked.
    #[serde(default)]
    pub revoked: bool,
    /// A transfer under way.
    #[serde(default)]
    pub pending: Option<PendingTransfer>,
    /// The records field, hexadecimal.
    pub records_hex: String,
    /// The records, readable.
    pub records: Vec<RecordView>,
}

/// A transfer that has not taken effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PendingTransfer {
    /// Address of the next owner.
    pub owner: String,
    /// Address of the next operator, if any.
    #[serde(default)]
    pub operator: Option<String>,
    /// Height at which it takes effect.
    pub at: u32,
}

/// One DNS record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordView {
    /// Owner below the name (`www`), or `@` for the name itself.
    pub sub: String,
    /// Type mnemonic.
    #[serde(rename = "type")]
    pub rtype: String,
    /// Time to live, in seconds.
    pub ttl: u32,
    /// Wire form of the data, hexadecimal.
    pub rdata_hex: String,
    /// Presentation form of the data; the generic form of RFC 3597 where the type has none here.
    pub text: String,
}

/// `GET /v1/names?owner=…&prefix=…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NameList {
    /// Version of the interface, 1.
    pub v: u8,
    /// The names, ascending.
    pub names: Vec<NameListItem>,
    /// Names with the prefix that nobody has and only the owner of a DNS domain may claim, ascending: a hundred at most, on
    /// the first page of a list by prefix alone.
    #[serde(default)]
    pub locked: Vec<LockedName>,
    /// Pass this as `after` for the next page.
    #[serde(default)]
    pub next: Option<String>,
    /// Height of the tip that this describes.
    pub height: u32,
    /// Hash of that tip.
    pub hash: String,
    /// How old that tip is, in seconds.
    pub tip_age_seconds: u64,
    /// How far it is the present: `state` of the node's status. In a state that is not synced, this answer tells what was;
    /// that a name is absent then means nothing.
    pub sync_state: SyncState,
}

/// A name that waits for the owner of a DNS domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LockedName {
    /// The name.
    pub name: String,
    /// The domain whose owner may claim it.
    pub locked_to: String,
}

/// One name in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NameListItem {
    /// The name.
    pub name: String,
    /// Its status in the next block.
    pub status: NameStatus,
    /// Address of the owner.
    pub owner: String,
    /// Sequence number.
    pub seq: u64,
    /// Height at which it expires.
    pub expires_at: u32,
    /// When that will be at the intended pace, RFC 3339.
    pub expires_time: String,
    /// Number of records.
    pub record_count: u32,
    /// The DNS domain whose owner alone may claim it, for locked names.
    #[serde(default)]
    pub locked_to: Option<String>,
}

/// `GET /v1/names/{name}/history`, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NameHistory {
    /// Version of the interface, 1.
    pub v: u8,
    /// The name.
    pub name: String,
    /// What happened to it.
    pub entries: Vec<HistoryEntry>,
}

/// One change of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryEntry {
    /// Height of the block.
    pub height: u32,
    /// Hash of the block, if it is still kept.
    #[serde(default)]
    pub hash: Option<String>,
    /// Time of the block, RFC 3339.
    #[serde(default)]
    pub time: Option<String>,
    /// The transaction, absent for deletions.
    #[serde(default)]
    pub txid: Option<String>,
    /// `reveal`, `update`, `transfer`, `cancel`, `renew`, `revoke`, `claim` or `deleted`.
    pub action: String,
    /// The owner afterwards, if known.
    #[serde(default)]
    pub owner: Option<String>,
    /// The sequence number afterwards, if known.
    #[serde(default)]
    pub seq: Option<u64>,
}

/// `GET /v1/names/{name}/proof`: presence or absence of a name under a header's state root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NameProof {
    /// Version of the interface, 1.
    pub v: u8,
    /// The name.
    pub name: String,
    /// Whether the entry exists.
    pub present: bool,
    /// Height of the header.
    pub height: u32,
    /// Hash of the header.
    pub hash: String,
    /// The header's wire form, hexadecimal.
    pub header_hex: String,
    /// The tree proof, hexadecimal.
    pub proof_hex: String,
}

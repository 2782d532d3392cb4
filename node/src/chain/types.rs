//! What the chain says to the rest of the node: the tip, what became of a submission, block templates.
//!
//! Plain values only. Nothing here reads the database or decides anything.

use std::sync::Arc;

use ledger::{
    block::{Block, Header, HeaderCore},
    hash::{BlockHash, Hash, TxId, WitnessTxId},
    price::Prices,
    rules::Violation,
    transaction::Transaction,
};
use primitive_types::U256;

use crate::{mempool::PoolRefusal, store::StoreError};

/// The end of the active chain: everything above it is headers only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tip {
    /// Distance from genesis.
    pub height: u32,
    /// The block.
    pub hash: BlockHash,
    /// Its time, in Unix seconds.
    pub time: u64,
    /// Expected evaluations spent on this chain, the tip included.
    pub total_work: u128,
    /// Prices for transactions anchored at this block.
    pub prices: Prices,
    /// Name leaves after this block.
    pub name_count: u64,
    /// Root of the state tree after this block.
    pub state_root: Hash,
    /// Height of the heaviest header known, at least `height` unless that chain is lighter. Its body may not exist.
    pub best_header: u32,
    /// Lowest height of the active chain above genesis from which on every body is stored.
    pub lowest_body: u32,
}

/// How a block reached this node. Only live blocks count against a later reorg (protocol §7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// Announced by a peer, unasked. It is taken only near the tip, and counts as live as below.
    Announced,
    /// Made here, or asked for within the normal course of things. It counts as live if it is also less than two hours
    /// old.
    Live,
    /// Asked for while catching up.
    Sync,
}

impl Arrival {
    /// Whether others should be told of the block.
    pub fn is_news(self) -> bool {
        match self {
            Self::Announced | Self::Live => true,
            Self::Sync => false,
        }
    }
}

/// What became of a run of headers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeadersReport {
    /// Headers that are new and valid.
    pub accepted: usize,
    /// Headers that were known already.
    pub known: usize,
    /// Height, hash and total work of the best header known now.
    pub best: (u32, BlockHash, u128),
    /// How the run ended.
    pub outcome: HeadersOutcome,
}

/// How a run of headers ended. Headers before the one that ended it are accepted or known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HeadersOutcome {
    /// All were accepted or known.
    Ok,
    /// The parent of the first header is not known, or a header does not follow the one before it.
    UnknownParent(BlockHash),
    /// A header is too far in the future to be judged. Nobody's fault.
    Deferred {
        /// When it can be judged, in Unix seconds.
        until: u64,
    },
    /// A header breaks a rule.
    Invalid(Violation),
    /// A header builds on a block that is known to be invalid.
    InvalidParent(BlockHash),
    /// It was announced, and its chain has too little work, or forks off too deep, to be of interest unasked.
    FarFromTip,
    /// All were right, and their chain has too little work to be stored. Nothing of it was.
    LowWork,
    /// The same, and where they end was noted: what follows will be judged.
    Walked,
    /// The same, and with what was walked before there is enough work by now: asked for again, all will be stored.
    WalkedEnough,
}

/// What became of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockReport {
    /// The block.
    pub hash: BlockHash,
    /// What became of it.
    pub outcome: BlockOutcome,
}

/// What became of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BlockOutcome {
    /// It is part of the active chain now.
    Connected {
        /// Blocks that had to be disconnected first.
        reorg_depth: u32,
    },
    /// Kept: on a side branch, or waiting for the body of an ancestor.
    Stored,
    /// It was known already.
    Known,
    /// Its header's parent is not known. Ask for headers.
    UnknownParent,
    /// Its header is too far in the future. Kept nowhere; try again later.
    Deferred {
        /// When it can be judged, in Unix seconds.
        until: u64,
    },
    /// It breaks a rule, or builds on a block that does. Its header is marked and never asked for again.
    Invalid(Violation),
    /// The body is not the one that its header commits to. The header is *not* marked: another peer may have the body.
    WrongBody(Violation),
    /// It builds on an invalid block.
    InvalidParent(BlockHash),
    /// It was announced, and its chain has too little work, or forks off too deep, to be of interest unasked.
    FarFromTip,
    /// It is right as far as anybody looked, and its chain has too little work to be stored.
    LowWork,
}

/// Why a chain that an operator decided for is not followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AdoptRefusal {
    /// No header with this hash is known.
    #[error("no block with this hash is known")]
    Unknown,
    /// It is on the active chain.
    #[error("the block is on the active chain already")]
    Active,
    /// A block of it breaks a rule.
    #[error("a block of that chain breaks a rule")]
    Invalid,
    /// It has no more work than the active chain.
    #[error("that chain has no more work than the active one")]
    NotHeavier,
    /// Not all of its bodies are here.
    #[error("that chain is not complete: bodies of it have not been received")]
    Incomplete,
    /// It forks off below what can be undone.
    #[error("that chain forks off below the blocks that this node can take back")]
    BelowUndo,
}

impl AdoptRefusal {
    /// Stable machine-readable code, `snake_case`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unknown => "block_not_found",
            Self::Active => "already_active",
            Self::Invalid => "invalid_chain",
            Self::NotHeavier => "not_heavier",
            Self::Incomplete => "incomplete_chain",
            Self::BelowUndo => "below_undo",
        }
    }
}

/// Why a transaction was not taken into the mempool.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TxRejection {
    /// Its anchor names a block that is not in the active chain: probably made on another fork.
    #[error("the anchor at height {height} is not a block of the active chain")]
    UnknownAnchor {
        /// The anchor's height.
        height: u32,
    },
    /// It breaks a rule in the next block.
    #[error(transparent)]
    Violation(Violation),
    /// The mempool cannot hold it.
    #[error(transparent)]
    Pool(#[from] PoolRefusal),
    /// It is in the active chain already.
    #[error("the transaction is in block {height} already")]
    Mined {
        /// The block's height.
        height: u32,
    },
    /// The node cannot take transactions now.
    #[error(transparent)]
    Unavailable(#[from] ChainError),
}

impl TxRejection {
    /// Work over required work that would have been enough, in 1/256, if the mempool lacks a place and more work helps.
    pub fn least_ratio(&self) -> Option<u64> {
        match self {
            Self::Pool(refusal) => refusal.least_ratio(),
            Self::UnknownAnchor { .. } | Self::Violation(_) | Self::Mined { .. } | Self::Unavailable(_) => None,
        }
    }

    /// Stable machine-readable code, `snake_case`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownAnchor { .. } => "unknown_anchor",
            Self::Violation(violation) => violation.code(),
            Self::Pool(refusal) => refusal.code(),
            Self::Mined { .. } => "already_mined",
            Self::Unavailable(error) => error.code(),
        }
    }
}

/// Why the chain did not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ChainError {
    /// The chain has stopped: the node is shutting down, or an earlier error was fatal.
    #[error("the chain has stopped")]
    Stopped,
    /// The database failed. With [`StoreError::DiskFull`] the chain goes on as soon as there is room again.
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
}

impl From<StoreError> for ChainError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl ChainError {
    /// Stable machine-readable code, `snake_case`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Store(error) => error.code(),
        }
    }
}

/// A block to be mined: everything but the nonce.
#[derive(Clone, Debug)]
pub struct Template {
    /// The header with nonce 0.
    pub header: Header,
    /// Ascending by txid.
    pub transactions: Arc<Vec<Transaction>>,
    /// The block is found when the work value is at most this.
    pub target: U256,
}

impl Template {
    /// The block with the nonce (and, where the miner moved it, the time) of `core`.
    pub fn with_core(&self, core: HeaderCore) -> Block {
        Block { header: Header { core, ext: self.header.ext }, transactions: self.transactions.to_vec() }
    }
}

/// A header with its place in the tree of headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlacedHeader {
    /// The header.
    pub header: Header,
    /// Its hash.
    pub hash: BlockHash,
    /// Expected evaluations spent on its chain, itself included.
    pub total_work: u128,
}

/// Where a transaction is.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // One at a time, for one answer.
pub enum TransactionStatus {
    /// Waiting in the mempool.
    Pooled(Arc<crate::mempool::PoolTransaction>),
    /// In a block of the active chain.
    Mined {
        /// The block's height.
        height: u32,
        /// The block.
        block: BlockHash,
        /// Place in the block.
        index: u16,
        /// The transaction, unless the body was pruned.
        transaction: Option<Transaction>,
    },
}

/// One change to a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HistoryEntry {
    /// The block that changed it.
    pub height: u32,
    /// What changed it.
    pub cause: HistoryCause,
}

/// What changed a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HistoryCause {
    /// A transaction.
    Transaction {
        /// Type number (protocol §4.2).
        type_id: u8,
        /// Its id.
        txid: TxId,
        /// Its exact bytes.
        wtxid: WitnessTxId,
    },
    /// It ran out and was deleted from the state.
    Deleted,
}

/// A proof of what a key holds under the state root of a recent header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateProof {
    /// The tip when the proof was made.
    pub header: Header,
    /// Bytes of protocol §5.2.
    pub bytes: Vec<u8>,
}

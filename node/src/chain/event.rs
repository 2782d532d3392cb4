//! What happens to the chain, told to everybody in the order in which it happens.
//!
//! A receiver that falls behind the bounded channel loses events and is told so; it then reads the present state from
//! [`ChainReader`](super::ChainReader) and goes on.

use std::sync::Arc;

use ledger::{
    block::Block,
    hash::{BlockHash, TxId},
    name::Name,
    state::NameState,
    transaction::Transaction,
};
use tracing::error;

use crate::mempool::{PoolTransaction, Removal};

use super::{Arrival, Tip};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum ChainEvent {
    /// A block became the tip.
    Connected(BlockConnected),
    /// The tip was taken back; its parent is the tip now.
    Disconnected(BlockDisconnected),
    /// A transaction entered the mempool.
    TransactionAdded(Arc<PoolTransaction>),
    /// A transaction left the mempool.
    TransactionRemoved {
        /// The transaction.
        txid: TxId,
        /// Why it left.
        reason: Removal,
    },
    /// An operator should look.
    Alarm(Alarm),
}

/// A block became the tip.
#[derive(Clone, Debug)]
pub struct BlockConnected {
    /// The block.
    pub block: Arc<Block>,
    /// The tip that it made.
    pub tip: Tip,
    /// How it arrived.
    pub arrival: Arrival,
    /// Every name that it changed: the state afterwards, `None` where the leaf was deleted. By key.
    pub changes: Vec<(Name, Option<NameState>)>,
}

/// The tip was taken back.
#[derive(Clone, Debug)]
pub struct BlockDisconnected {
    /// The block taken back.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// The tip now.
    pub tip: Tip,
    /// Every name that it had changed: the state as it was before. By key.
    pub changes: Vec<(Name, Option<NameState>)>,
    /// Its transactions.
    pub transactions: Vec<Transaction>,
}

/// Something an operator should look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Alarm {
    /// A heavier chain forks off deeper than this node reorganises by itself (protocol §7). The tip stays.
    DeepFork {
        /// Height of the common ancestor.
        fork_height: u32,
        /// The heavier chain's tip.
        candidate: BlockHash,
    },
    /// A chain that forks off deep was adopted because of its great lead.
    DeepReorg {
        /// Height of the common ancestor.
        fork_height: u32,
        /// Blocks disconnected.
        depth: u32,
    },
    /// A heavier chain forks off below the kept undo data. The tip stays.
    BelowUndo {
        /// Height of the common ancestor.
        fork_height: u32,
        /// The heavier chain's tip.
        candidate: BlockHash,
    },
    /// Stored state does not fit its header. The chain has stopped.
    Corruption {
        /// Height at which it was found.
        height: u32,
    },
    /// The disk is full: no block is connected until there is room.
    DiskFull,
}

impl Alarm {
    /// Puts it into the log. Whoever raises an alarm does this once: who hears of it later need not, and may not have
    /// been there in time.
    pub(super) fn log(&self) {
        match self {
            Self::DeepFork { fork_height, candidate } => {
                error!(alarm = "deep_fork", fork_height, %candidate, "a heavier chain forks off too deep to be followed");
            }
            Self::DeepReorg { fork_height, depth } => {
                error!(
                    alarm = "deep_reorg",
                    fork_height, depth, "a chain that forks off deep was followed for its lead"
                );
            }
            Self::BelowUndo { fork_height, candidate } => {
                error!(alarm = "below_undo", fork_height, %candidate, "a heavier chain forks off below what can be undone");
            }
            Self::Corruption { height } => {
                error!(alarm = "corruption", height, "stored state does not fit its header; the chain has stopped");
            }
            Self::DiskFull => {
                error!(alarm = "disk_full", "the disk is full; no block is connected until there is room")
            }
        }
    }
}

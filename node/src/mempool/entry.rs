//! One transaction of the mempool, and why transactions are refused or leave.

use std::cmp::Reverse;

use ledger::{
    codec::encode,
    hash::{Key, TxId, WitnessTxId},
    params::Params,
    rules::{Violation, transaction::CheckedTransaction},
    transaction::Transaction,
};

use super::{Kind, Purpose, Standing, Verdict};
/// Where a transaction came from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TxOrigin {
    /// This node's own operations and API: exempt from the share of one peer.
    Local,
    /// A peer, named by any number that stays the same for it.
    Peer(u64),
}

/// A transaction of the mempool.
#[derive(Clone, Debug)]
pub struct PoolTransaction {
    /// The transaction, checked against its anchor.
    pub checked: CheckedTransaction,
    /// Length of its encoding, in bytes.
    pub bytes: usize,
    /// When it came, in Unix seconds.
    pub added_at: u64,
    /// Where it came from.
    pub origin: TxOrigin,
    /// Whether it can go into the next block.
    pub standing: Standing,
    /// What it is for.
    pub purpose: Purpose,
    /// Key of its name, of its commit for a COMMIT, or zeros for a ROLL: those with the same one go into a block one at a time.
    pub(super) subject: Key,
    /// Order of arrival.
    pub(super) number: u64,
}

/// What decides who stays when the pool is full: the kinds kept longest, then work, then age.
pub(super) type Rank = (bool, u64, Reverse<u64>);

impl PoolTransaction {
    /// The transaction.
    pub fn transaction(&self) -> &Transaction {
        self.checked.transaction()
    }

    /// Its id.
    pub fn txid(&self) -> TxId {
        self.checked.txid()
    }

    /// The id of its exact bytes.
    pub fn wtxid(&self) -> WitnessTxId {
        self.checked.wtxid()
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self.transaction())
    }

    /// What the state said of it last.
    pub fn verdict(&self) -> Verdict {
        Verdict { standing: self.standing, purpose: self.purpose }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.purpose.kind()
    }

    /// Work shown over work required, in 1/256; 256 for a REVEAL, which needs none.
    pub fn work_ratio(&self) -> u64 {
        self.checked.work_ratio()
    }

    pub(super) fn rank(&self) -> Rank {
        (self.kind().is_kept_longest(), self.work_ratio(), Reverse(self.number))
    }

    /// The last block that could take it: a REVEAL lives as long as its commit, anything else as its anchor.
    pub(super) fn last_height(&self, params: &Params) -> u32 {
        match &self.purpose {
            Purpose::Reveal(place) => place.precedence.0.saturating_add(params.commit_ttl),
            Purpose::Other(_) => self.transaction().anchor().height.saturating_add(params.anchor_window),
        }
    }
}

/// Why the pool does not take a valid transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolRefusal {
    /// The same transaction is there, perhaps with other signatures or about as much work.
    #[error("the transaction is in the mempool already")]
    Known,
    /// The name has all its transactions of this kind, and they show more work.
    #[error(
        "the mempool holds {places} transactions of this kind for the name; \
         another must show {least_ratio}/256 of the work that the rules require"
    )]
    KindFull {
        /// Places for this kind.
        places: usize,
        /// Work over required work that would get in, in 1/256.
        least_ratio: u64,
    },
    /// The name has all its REVEALs, and their commits are earlier.
    #[error("the mempool holds {places} reveals for the name whose commits are earlier")]
    LaterReveal {
        /// Places for REVEALs.
        places: usize,
    },
    /// Another transaction for the same commit is there.
    #[error("the mempool already holds a transaction for this commit")]
    CommitTaken,
    /// The peer that sent it has its share.
    #[error("the peer has used up its share of the mempool")]
    PeerShare,
    /// Everything in the full pool shows more work.
    #[error("the mempool is full of transactions with more work; another must show {least_ratio}/256 of the required")]
    Full {
        /// Work over required work that would get in now, in 1/256; `u64::MAX` if no work would.
        least_ratio: u64,
    },
}

impl PoolRefusal {
    /// Stable machine-readable code, `snake_case`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Known => "already_in_mempool",
            Self::KindFull { .. } => "mempool_name_full",
            Self::LaterReveal { .. } => "mempool_later_reveal",
            Self::CommitTaken => "mempool_commit_taken",
            Self::PeerShare => "mempool_peer_share",
            Self::Full { .. } => "mempool_full",
        }
    }

    /// Work over required work that would have been enough, in 1/256, if more work helps.
    pub fn least_ratio(&self) -> Option<u64> {
        match self {
            Self::KindFull { least_ratio, .. } | Self::Full { least_ratio } => {
                Some(*least_ratio).filter(|ratio| *ratio < u64::MAX)
            }
            Self::Known | Self::LaterReveal { .. } | Self::CommitTaken | Self::PeerShare => None,
        }
    }
}

/// Why a transaction left the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is in this block of the active chain.
    Mined {
        /// The block's height.
        height: u32,
    },
    /// Its anchor is too old for any further block, or in a branch that was left; or a REVEAL's commit is.
    AnchorGone,
    /// It breaks a rule now.
    Invalid(Violation),
    /// Others show more work, or have earlier commits.
    Evicted,
}

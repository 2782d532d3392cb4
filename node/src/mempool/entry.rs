//! One transaction of the mempool, and why transactions are refused or leave.

use ledger::{
    block::HeaderCore,
    codec::encode,
    hash::{Hash, TxId, WitnessTxId},
    params::Params,
    pow::{Scratch, pow_value},
    price::{Prices, required_work},
    rules::{Violation, transaction::CheckedTransaction},
    transaction::{Body, Transaction, share_commit},
};
use primitive_types::U256;

use crate::chain::TxOrigin;

/// Whether a transaction can go into the next block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It can.
    Ready,
    /// It is a REVEAL whose commit matures at this height.
    WaitsUntil(u32),
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
    /// Work shown over work required, in 1/256; 256 for a REVEAL, which needs none.
    pub work_ratio: u64,
    /// Whether it can go into the next block.
    pub standing: Standing,
    /// Order of arrival.
    pub(super) number: u64,
}

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

    /// What decides who stays when the pool is full: reveals (paid for by their commits), then work, then age.
    pub(super) fn rank(&self) -> (bool, u64, std::cmp::Reverse<u64>) {
        let is_reveal = matches!(self.transaction().body(), Body::Reveal { .. });
        (is_reveal, self.work_ratio, std::cmp::Reverse(self.number))
    }
}

/// Work that a checked transaction shows over what it must show, in 1/256.
pub fn work_ratio(params: &Params, chain_id: &Hash, checked: &CheckedTransaction, at: Prices, s: &mut Scratch) -> u64 {
    let transaction = checked.transaction();
    let (Some(share), Some(required)) = (transaction.share(), required_work(params, transaction.body(), at)) else {
        return 256;
    };
    let core: HeaderCore = share.to_core(share_commit(chain_id, &checked.anchor(), &checked.txid()));
    let value = pow_value(params.algorithm, chain_id, &core, s);
    let done = U256::MAX / value.max(U256::one());
    let ratio = done.saturating_mul(U256::from(256)) / U256::from(required.max(1));
    u64::try_from(ratio).unwrap_or(u64::MAX)
}

/// Why the pool does not take a valid transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolRefusal {
    /// The same transaction is there, perhaps with other signatures or other work.
    #[error("the transaction is in the mempool already")]
    Known,
    /// The name has its share.
    #[error("the mempool already holds {max} transactions for this name")]
    NameFull {
        /// Most transactions per name.
        max: usize,
    },
    /// Another transaction for the same commit is there.
    #[error("the mempool already holds a transaction for this commit")]
    CommitTaken,
    /// The peer that sent it has its share.
    #[error("the peer has used up its share of the mempool")]
    PeerShare,
    /// Everything in the full pool shows more work.
    #[error("the mempool is full of transactions with more work")]
    Full,
}

impl PoolRefusal {
    /// Stable machine-readable code, `snake_case`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Known => "already_in_mempool",
            Self::NameFull { .. } => "mempool_name_full",
            Self::CommitTaken => "mempool_commit_taken",
            Self::PeerShare => "mempool_peer_share",
            Self::Full => "mempool_full",
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
    /// Its anchor is too old for any further block, or in a branch that was left.
    AnchorGone,
    /// It breaks a rule now.
    Invalid(Violation),
    /// Others show more work, and the pool is full.
    Evicted,
}

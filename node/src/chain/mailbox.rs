//! What is sent to the chain thread, and how much of it may be under way.

use std::sync::Arc;

use ledger::{
    block::{Block, Header},
    hash::{BlockHash, Hash, TxId},
    rules::transaction::CheckedTransaction,
    transaction::Transaction,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::mempool::TxOrigin;

use super::{
    precheck::{BodyFault, Prechecked},
    sight::View,
    types::{AdoptRefusal, Arrival, BlockReport, ChainError, HeadersReport, Template, TxRejection},
};

/// Header batches under way: each is up to 2,000 headers, and they are judged one after the other anyway.
const HEADER_PERMITS: usize = 8;
/// Blocks under way: at most 64 × 256 KiB of bodies, and enough for the workers to run ahead of the writer.
const BLOCK_PERMITS: usize = 64;
/// Transactions under way: 1,024 × 2.5 KiB; a burst of gossip beyond that waits.
const TRANSACTION_PERMITS: usize = 1_024;
/// Everything else (templates, locators): small and quick.
const OTHER_PERMITS: usize = 64;
/// Own checks under way (transactions that a reorganisation released, the mempool of the last run).
pub(super) const OWN_CHECKS: usize = 256;
/// One place per permit for the message and one for the worker's result, one per own check, and one for a retry: so
/// sending never finds the queue full.
pub(super) const QUEUE: usize =
    2 * (HEADER_PERMITS + BLOCK_PERMITS + TRANSACTION_PERMITS + OTHER_PERMITS) + OWN_CHECKS + 1;

/// A message's right to be under way; freed when the answer is given.
pub(super) type Permit = OwnedSemaphorePermit;

/// What the chain thread is asked to do.
pub(super) enum Request {
    Headers(Vec<Header>, oneshot::Sender<Result<HeadersReport, ChainError>>),
    AnnouncedHeader(Box<Header>, oneshot::Sender<Result<HeadersReport, ChainError>>),
    Block(Arc<Block>, Arrival, oneshot::Sender<Result<BlockReport, ChainError>>),
    Transaction(Box<Transaction>, TxOrigin, oneshot::Sender<Result<TxId, TxRejection>>),
    Template(Hash, oneshot::Sender<Result<Template, ChainError>>),
    View(Vec<BlockHash>, usize, oneshot::Sender<Result<View, ChainError>>),
    AdoptFork(BlockHash, oneshot::Sender<Result<Result<u32, AdoptRefusal>, ChainError>>),
    Shutdown(oneshot::Sender<()>),
}

/// What arrives at the chain thread.
pub(super) enum Message {
    Request(Request, Permit),
    BlockChecked(BlockChecked),
    TransactionChecked(Box<TransactionChecked>),
    Retry,
}

impl Message {
    /// Whether it goes before transactions. A request to stop does not: what was asked before it is answered.
    pub(super) fn is_urgent(&self) -> bool {
        match self {
            Self::Request(Request::Transaction(..) | Request::Shutdown(_), _) | Self::TransactionChecked(_) => false,
            Self::Request(
                Request::Headers(..)
                | Request::AnnouncedHeader(..)
                | Request::Block(..)
                | Request::Template(..)
                | Request::View(..)
                | Request::AdoptFork(..),
                _,
            )
            | Self::BlockChecked(_)
            | Self::Retry => true,
        }
    }
}

pub(super) type BlockReply = oneshot::Sender<Result<BlockReport, ChainError>>;
type TransactionReply = oneshot::Sender<Result<TxId, TxRejection>>;

/// A worker's word on a block.
pub(super) struct BlockChecked {
    pub(super) hash: BlockHash,
    pub(super) result: Result<Prechecked, BodyFault>,
    pub(super) arrival: Arrival,
    pub(super) reply: BlockReply,
    pub(super) _permit: Permit,
}

/// Who waits for a transaction to be judged.
pub(super) enum Waiter {
    /// A caller, with its permit.
    Caller(TransactionReply, #[allow(dead_code)] Permit),
    /// No caller: the node puts back a transaction of its own.
    Own,
}

/// A worker's word on a transaction.
pub(super) struct TransactionChecked {
    pub(super) result: Result<CheckedTransaction, TxRejection>,
    pub(super) origin: TxOrigin,
    pub(super) waiter: Waiter,
}

/// The permits of each kind of message.
pub(super) struct Permits {
    headers: Arc<Semaphore>,
    blocks: Arc<Semaphore>,
    transactions: Arc<Semaphore>,
    others: Arc<Semaphore>,
}

impl Permits {
    pub(super) fn new() -> Self {
        let permits = |count| Arc::new(Semaphore::new(count));
        Self {
            headers: permits(HEADER_PERMITS),
            blocks: permits(BLOCK_PERMITS),
            transactions: permits(TRANSACTION_PERMITS),
            others: permits(OTHER_PERMITS),
        }
    }

    /// Waits for a permit to send `request`.
    pub(super) async fn take_for(&self, request: &Request) -> Result<Permit, ChainError> {
        self.of(request).clone().acquire_owned().await.map_err(|_| ChainError::Stopped)
    }

    fn of(&self, request: &Request) -> &Arc<Semaphore> {
        match request {
            Request::Headers(..) | Request::AnnouncedHeader(..) => &self.headers,
            Request::Block(..) => &self.blocks,
            Request::Transaction(..) => &self.transactions,
            Request::Template(..) | Request::View(..) | Request::AdoptFork(..) | Request::Shutdown(_) => &self.others,
        }
    }
}

/// Hands a result to the chain thread. The queue has a place for everything under way, so this does not wait.
pub(super) fn send_back(back: &mpsc::WeakSender<Message>, message: Message) {
    if let Some(queue) = back.upgrade() {
        // A closed queue means that the chain has stopped; callers see that.
        let _ = queue.blocking_send(message);
    }
}

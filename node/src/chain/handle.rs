//! How every other part speaks to the chain.
//!
//! [`ChainHandle`] is cheap to clone. What changes something is a message to the one thread that owns the chain; what
//! only reads goes through [`ChainReader`] and never waits for that thread.
//!
//! Bounds: each kind of message has its own permits, held from sending to the answer, so that one kind can fill
//! neither memory nor the queue of the others. Whoever finds no permit free waits.

use std::sync::Arc;

use ledger::{
    block::{Block, Header},
    hash::{BlockHash, Hash, TxId},
    transaction::Transaction,
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::mempool::{MempoolView, TxOrigin};

use super::{
    event::ChainEvent,
    mailbox::{Message, Permits, Request},
    reader::ChainReader,
    sight::View,
    stats::{ChainStats, StatsSnapshot},
    types::{AdoptRefusal, Arrival, BlockReport, ChainError, HeadersReport, Template, Tip, TxRejection},
};

/// The way to the chain.
#[derive(Clone)]
pub struct ChainHandle {
    shared: Arc<Shared>,
}

struct Shared {
    queue: mpsc::Sender<Message>,
    permits: Permits,
    tip: watch::Receiver<Arc<Tip>>,
    /// Weak, so that the channel closes when the chain thread ends.
    events: broadcast::WeakSender<Arc<ChainEvent>>,
    reader: ChainReader,
    stats: Arc<ChainStats>,
}

impl ChainHandle {
    pub(super) fn new(
        queue: mpsc::Sender<Message>,
        tip: watch::Receiver<Arc<Tip>>,
        events: broadcast::WeakSender<Arc<ChainEvent>>,
        reader: ChainReader,
        stats: Arc<ChainStats>,
    ) -> Self {
        Self { shared: Arc::new(Shared { queue, permits: Permits::new(), tip, events, reader, stats }) }
    }

    /// Judges a run of headers that was asked for, each the parent of the next, and keeps the valid ones.
    pub async fn submit_headers(&self, headers: Vec<Header>) -> Result<HeadersReport, ChainError> {
        self.ask(|reply| Request::Headers(headers, reply)).await?
    }

    /// Judges a header that a peer announced, if it is near the tip, and keeps it if it is valid.
    pub async fn submit_announced_header(&self, header: Header) -> Result<HeadersReport, ChainError> {
        self.ask(|reply| Request::AnnouncedHeader(Box::new(header), reply)).await?
    }

    /// Judges a block and keeps or connects it. Its header need not have been submitted before.
    pub async fn submit_block(&self, block: Arc<Block>, arrival: Arrival) -> Result<BlockReport, ChainError> {
        self.ask(|reply| Request::Block(block, arrival, reply)).await?
    }

    /// Judges a transaction for the next block and takes it into the mempool.
    pub async fn submit_transaction(&self, transaction: Transaction, origin: TxOrigin) -> Result<TxId, TxRejection> {
        self.ask(|reply| Request::Transaction(Box::new(transaction), origin, reply)).await?
    }

    /// A block to be mined on the tip, with work that also pays for `share_commit` (zeros for none).
    pub async fn template(&self, share_commit: Hash) -> Result<Template, ChainError> {
        self.ask(|reply| Request::Template(share_commit, reply)).await?
    }

    /// The chain as synchronisation looks at it: see [`ChainCore::view`](super::ChainCore::view).
    pub async fn view(&self, claims: Vec<BlockHash>, window: usize) -> Result<View, ChainError> {
        self.ask(|reply| Request::View(claims, window, reply)).await?
    }

    /// An operator's decision to switch to the chain that ends in `tip` whatever its depth. Its work must still be
    /// more than the active chain's. Returns how many blocks were disconnected.
    pub async fn adopt_fork(&self, tip: BlockHash) -> Result<Result<u32, AdoptRefusal>, ChainError> {
        self.ask(|reply| Request::AdoptFork(tip, reply)).await?
    }

    /// Stops the chain thread after what is under way; returns when everything is on disk.
    pub async fn shutdown(&self) {
        // If the thread is gone already, then so is what it had to write.
        let _ = self.ask(Request::Shutdown).await;
    }

    /// The tip as it is now.
    pub fn tip(&self) -> Arc<Tip> {
        self.shared.tip.borrow().clone()
    }

    /// The tip and every later one. A slow receiver sees the latest only.
    pub fn watch(&self) -> watch::Receiver<Arc<Tip>> {
        self.shared.tip.clone()
    }

    /// Everything that happens from now on. Closed when the chain thread has ended.
    pub fn events(&self) -> broadcast::Receiver<Arc<ChainEvent>> {
        match self.shared.events.upgrade() {
            Some(events) => events.subscribe(),
            None => broadcast::channel(1).1,
        }
    }

    /// Reads that do not wait for the chain thread.
    pub fn reader(&self) -> ChainReader {
        self.shared.reader.clone()
    }

    /// The mempool as it is.
    pub fn mempool(&self) -> MempoolView {
        self.shared.reader.mempool()
    }

    /// Counters since the start.
    pub fn stats(&self) -> StatsSnapshot {
        self.shared.stats.snapshot()
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, ChainError> {
        let (reply, answer) = oneshot::channel();
        let request = request(reply);
        let permit = self.shared.permits.take_for(&request).await?;
        let message = Message::Request(request, permit);
        self.shared.queue.send(message).await.map_err(|_| ChainError::Stopped)?;
        answer.await.map_err(|_| ChainError::Stopped)
    }
}

impl std::fmt::Debug for ChainHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ChainHandle({})", self.tip().height)
    }
}

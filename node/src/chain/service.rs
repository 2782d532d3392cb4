//! The chain thread: owns the core and the mempool, answers [`ChainHandle`], and tells everybody what happened.
//!
//! For: the clock, the queue, handing expensive checks to [`super::workers`] and taking their results back. Not for:
//! deciding anything about blocks; the mempool is cared for in [`super::pooling`].

use std::{
    collections::{BTreeSet, VecDeque},
    ops::ControlFlow,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{SystemTime, UNIX_EPOCH},
};

use ledger::{
    block::{Block, Header},
    hash::BlockHash,
    params::Params,
};
use tokio::sync::{broadcast, mpsc, watch};

use crate::{
    mempool::{Limits, Mempool},
    store::{Store, StoreError},
};

use super::{
    core::{ChainCore, ChainOptions},
    event::ChainEvent,
    handle::ChainHandle,
    mailbox::{BlockChecked, BlockReply, Message, Permit, QUEUE, Request, Waiter, send_back},
    precheck::{PrecheckContext, precheck},
    reader::ChainReader,
    stats::set,
    thread::Chain,
    types::{Arrival, BlockReport, ChainError, HeadersReport},
    workers::Workers,
};

/// Events kept for a slow receiver. A block's event takes some ten kilobytes, so ten megabytes while syncing; whoever
/// falls behind further reads the state anew.
const EVENTS: usize = 1_024;
/// How the service is set up.
#[derive(Clone, Copy, Debug)]
pub struct ServiceOptions {
    /// The core.
    pub chain: ChainOptions,
    /// The mempool.
    pub mempool: Limits,
    /// Threads that verify signatures and work of blocks; as many again verify those of transactions.
    pub workers: usize,
    /// The clock, in Unix seconds.
    pub clock: fn() -> u64,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        let chain = ChainOptions::default();
        Self { workers: chain.threads, chain, mempool: Limits::default(), clock: system_clock }
    }
}

/// The system's clock, in Unix seconds.
fn system_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// The running chain thread.
pub struct ChainService {
    handle: ChainHandle,
    thread: JoinHandle<()>,
}

impl ChainService {
    /// Opens the chain in `store` and starts the thread. Reading a long chain back takes a moment.
    pub fn start(store: Store, params: &'static Params, options: ServiceOptions) -> Result<Self, StoreError> {
        let pool = Mempool::new(params, options.mempool);
        let core = ChainCore::open_with(store.clone(), params, options.chain, pool.view())?;
        let (queue, messages) = mpsc::channel(QUEUE);
        let (tip, tips) = watch::channel(Arc::new(core.tip()));
        let (events, _) = broadcast::channel(EVENTS);
        let reader = ChainReader::new(store, params, pool.view());
        let back = queue.downgrade();
        let handle = ChainHandle::new(queue, tips, events.downgrade(), reader, core.stats());
        let chain = Chain {
            core,
            pool,
            block_workers: Workers::start("block", options.workers),
            transaction_workers: Workers::start("transaction", options.workers),
            backlog: VecDeque::new(),
            back,
            tip,
            events,
            has_failed: false,
            clock: options.clock,
            draft: None,
            revision: 0,
            own: VecDeque::new(),
            own_under_way: 0,
            rivals_rechecked: (BlockHash::ZERO, BTreeSet::new()),
            retry_is_set: false,
            disk_full_told: false,
        };
        let thread = thread::Builder::new().name("chain".into()).spawn(move || chain.run(messages));
        let thread = thread.map_err(|error| StoreError::Io { message: format!("no thread: {error}") })?;
        Ok(Self { handle, thread })
    }

    /// The way to it.
    pub fn handle(&self) -> ChainHandle {
        self.handle.clone()
    }

    /// Stops after what is under way, with everything on disk.
    pub async fn shutdown(self) {
        self.handle.shutdown().await;
        // The thread has answered, so it is about to end; a panic of it was reported when it happened.
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }
}

impl Chain {
    fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        self.reload_pool();
        self.put_back();
        while let Some(message) = self.next(&mut messages) {
            let flow = self.take(message);
            self.publish();
            self.put_back();
            if flow.is_break() || self.has_failed {
                break;
            }
        }
        if let Err(error) = self.core.flush() {
            tracing::error!(%error, "chain_flush_failed");
        }
    }

    /// The next message, those about transactions last: a flood of them must not delay a block.
    fn next(&mut self, messages: &mut mpsc::Receiver<Message>) -> Option<Message> {
        while let Ok(message) = messages.try_recv() {
            if message.is_urgent() {
                return Some(message);
            }
            self.backlog.push_back(message);
        }
        self.backlog.pop_front().or_else(|| messages.blocking_recv())
    }

    fn take(&mut self, message: Message) -> ControlFlow<()> {
        match message {
            Message::Request(request, permit) => return self.answer(request, permit),
            Message::BlockChecked(checked) => self.block_checked(checked),
            Message::TransactionChecked(checked) => self.transaction_checked(*checked),
            Message::Retry => self.retry(),
        }
        ControlFlow::Continue(())
    }

    /// An answer that nobody waits for any more is dropped: that is what a caller who left asked for.
    fn answer(&mut self, request: Request, permit: Permit) -> ControlFlow<()> {
        match request {
            Request::Headers(headers, reply) => drop(reply.send(self.headers(&headers))),
            Request::AnnouncedHeader(header, reply) => {
                let report = self.core.accept_announced(&header, (self.clock)());
                drop(reply.send(self.checked(report)));
            }
            Request::Block(block, arrival, reply) => self.block(block, arrival, reply, permit),
            Request::Transaction(transaction, origin, reply) => {
                self.transaction(*transaction, origin, Waiter::Caller(reply, permit));
            }
            Request::Template(share_commit, reply) => {
                let now = (self.clock)();
                let made = self.core.template(&self.pool, self.revision, &mut self.draft, now, share_commit);
                drop(reply.send(self.checked(made)));
            }
            Request::View(claims, window, reply) => {
                let view = self.core.view(&claims, window);
                drop(reply.send(self.checked(view)));
            }
            Request::AdoptFork(hash, reply) => {
                let adopted = self.core.adopt_fork(&hash);
                let adopted = self.checked(adopted);
                // A caller that is told "adopted" must find it so.
                self.publish();
                drop(reply.send(adopted));
            }
            Request::Shutdown(reply) => {
                if let Err(error) = self.core.flush() {
                    tracing::error!(%error, "chain_flush_failed");
                }
                let _ = reply.send(());
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn retry(&mut self) {
        self.retry_is_set = false;
        // Only a write tells whether there is room again; reads go on meanwhile.
        let followed = self.core.probe_disk().and_then(|()| self.core.follow_best());
        if self.checked(followed).is_ok() {
            set(&self.core.stats.disk_full, 0);
            self.disk_full_told = false;
        }
    }

    fn headers(&mut self, headers: &[Header]) -> Result<HeadersReport, ChainError> {
        let report = self.core.accept_headers(headers, (self.clock)());
        self.checked(report)
    }

    /// Looks at a block and gives it to a worker.
    fn block(&mut self, block: Arc<Block>, arrival: Arrival, reply: BlockReply, permit: Permit) {
        let hash = block.hash();
        let admitted = self.core.admit(&block, (self.clock)(), arrival);
        let anchors = match self.checked(admitted) {
            Ok(Ok(anchors)) => anchors,
            Ok(Err(outcome)) => return drop(reply.send(Ok(BlockReport { hash, outcome }))),
            Err(error) => return drop(reply.send(Err(error))),
        };
        let (params, chain_id, known) = (self.core.params, self.core.chain_id, self.core.known.clone());
        let (threads, back) = (self.core.options.threads, self.back.clone());
        let job = move || {
            let cx = PrecheckContext { params, chain_id: &chain_id, known: &known, threads };
            let result = precheck(&cx, block, &anchors);
            let checked = BlockChecked { hash, result, arrival, reply, _permit: permit };
            send_back(&back, Message::BlockChecked(checked));
        };
        self.block_workers.submit(Box::new(job));
    }

    fn block_checked(&mut self, checked: BlockChecked) {
        let BlockChecked { hash, result, arrival, reply, _permit } = checked;
        let now = (self.clock)();
        let report = match result {
            Ok(prechecked) => self.core.accept_block(prechecked, now, arrival),
            Err(fault) => self.core.refuse_body(&hash, fault).map(|outcome| BlockReport { hash, outcome }),
        };
        let report = self.checked(report);
        // A caller that is told "connected" must find it so.
        self.publish();
        drop(reply.send(report));
    }

    /// Tells everybody what the core did, and brings the mempool up to date with it.
    fn publish(&mut self) {
        let events = self.core.take_events();
        if !events.is_empty() {
            let touched = self.follow_events(&events);
            let removed = self.bring_pool_up_to_date(&touched);
            // The tip first: whoever acts on an event finds the tip that it speaks of, or a later one.
            self.tip.send_replace(Arc::new(self.core.tip()));
            events.into_iter().for_each(|event| self.send_event(event));
            for (txid, reason) in removed {
                self.send_event(ChainEvent::TransactionRemoved { txid, reason });
            }
        } else if self.tip.borrow().best_header != self.core.tip().best_header {
            self.tip.send_replace(Arc::new(self.core.tip()));
        }
    }
}

//! The scheduler: decides what is searched, and brings finds to the chain and to those who ordered them.

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use ledger::{
    block::HeaderCore,
    hash::{BlockHash, Hash},
    params::Params,
    transaction::Share,
};
use tokio::{
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};
use tracing::{debug, info, warn};

use crate::chain::{Arrival, BlockOutcome, ChainHandle, Tip};

use super::{
    config::MiningConfig,
    handle::{Command, MinerStatus},
    job::{Find, Job, JobSlot, NO_SHARE, WorkerSet},
    meter::Meter,
    order::OrderBook,
    plan::{Conditions, Plan, plan},
    worker::{self, Shared, unix_now},
};

/// How often a template is rebuilt on the same tip, to take new transactions in; four times in a block's time if that
/// is more often, so that what cannot wait (REVOKE, CANCEL) is in the next block or the one after it.
const REBUILD: Duration = Duration::from_secs(30);
/// How often rates are sampled, cancelled orders dropped, and a failed template asked for again.
const TICK: Duration = Duration::from_secs(1);
/// Finds waiting for the scheduler: on the local network's first blocks each thread finds many a second.
const FINDS: usize = 64;

/// See the module.
pub(super) struct Scheduler {
    config: MiningConfig,
    params: &'static Params,
    chain: ChainHandle,
    tip: watch::Receiver<Arc<Tip>>,
    conditions: watch::Receiver<Conditions>,
    status: watch::Sender<MinerStatus>,
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    finds: mpsc::Receiver<Find>,
    orders: OrderBook,
    current: Option<(Arc<Job>, Instant)>,
    /// A block dated ahead of the clock, and the tip that it extends.
    held: Option<(Arc<Job>, HeaderCore)>,
    blocks_found: u64,
}

impl Scheduler {
    pub(super) fn new(
        config: &MiningConfig,
        params: &'static Params,
        chain: ChainHandle,
        conditions: watch::Receiver<Conditions>,
        status: watch::Sender<MinerStatus>,
    ) -> std::io::Result<Self> {
        let (sender, finds) = mpsc::channel(FINDS);
        let shared = Arc::new(Shared {
            params,
            chain_id: params.chain_id(),
            slot: JobSlot::default(),
            total: Meter::default(),
            finds: sender,
        });
        let mut workers = vec![worker::spawn(shared.clone(), WorkerSet::Background, 0)?];
        for index in 1..=config.full_threads() {
            workers.push(worker::spawn(shared.clone(), WorkerSet::Full, index)?);
        }
        Ok(Self {
            config: config.clone(),
            params,
            tip: chain.watch(),
            chain,
            conditions,
            status,
            shared,
            workers,
            finds,
            orders: OrderBook::default(),
            current: None,
            held: None,
            blocks_found: 0,
        })
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(Command::Work(order, meter, found)) => self.orders.add(order, meter, found),
                    Some(Command::Configure(mode, duty)) => (self.config.mode, self.config.duty) = (mode, duty),
                    Some(Command::Shutdown) | None => break,
                },
                Some(find) = self.finds.recv() => self.take(find).await,
                Ok(()) = self.tip.changed() => {}
                Ok(()) = self.conditions.changed() => {}
                _ = tick.tick() => self.tick().await,
            }
            self.arrange().await;
            self.report();
        }
        self.close().await;
    }

    async fn tick(&mut self) {
        let now = Instant::now();
        self.shared.total.sample(now);
        if let Some((job, _)) = &self.current
            && let Some((_, meter)) = &job.order
        {
            meter.sample(now);
        }
        self.orders.drop_cancelled();
        if let Some((job, core)) = self.held.take_if(|(_, core)| core.time <= unix_now()) {
            self.submit(&job, core).await;
        }
    }

    /// Gives the workers the job that fits the moment, unless they have it already.
    async fn arrange(&mut self) {
        let conditions = *self.conditions.borrow_and_update();
        let tip = self.tip.borrow_and_update().clone();
        let (workers, duty) = match plan(&self.config, conditions, self.orders.len()) {
            Plan::Rest => return self.rest(),
            Plan::Background { duty } => (WorkerSet::Background, duty),
            Plan::Full { duty } => (WorkerSet::Full, duty),
        };
        if self.is_current(&tip.hash, workers, duty) {
            return;
        }
        let order = self.orders.next().map(|open| (open.order, open.meter.clone()));
        let share_commit = order.as_ref().map_or(NO_SHARE, |(order, _)| order.share_commit);
        let Some(template) = self.template(share_commit).await else { return self.rest() };
        let Some(parent) = self.parent_of(&template.header.core) else { return self.rest() };
        let job = Arc::new(Job { template, parent, order, workers, duty, share_is_found: false.into() });
        self.current = Some((job.clone(), Instant::now()));
        self.shared.slot.put(Some(job));
    }

    fn is_current(&self, tip: &BlockHash, workers: WorkerSet, duty: u8) -> bool {
        self.current.as_ref().is_some_and(|(job, since)| {
            let core = &job.template.header.core;
            core.prev == *tip
                && job.order.as_ref().map(|(order, _)| *order) == self.orders.next().map(|open| open.order)
                && job.workers == workers
                && job.duty == duty
                && since.elapsed() < self.rebuild_after()
        })
    }

    fn rebuild_after(&self) -> Duration {
        REBUILD.min(Duration::from_secs(self.params.block_interval.into()) / 4)
    }

    fn rest(&mut self) {
        if self.current.take().is_some() {
            self.shared.slot.put(None);
        }
    }

    async fn template(&self, share_commit: Hash) -> Option<crate::chain::Template> {
        match self.chain.template(share_commit).await {
            Ok(template) => Some(template),
            Err(error) => {
                debug!(%error, "no block template");
                None
            }
        }
    }

    fn parent_of(&self, core: &HeaderCore) -> Option<HeaderCore> {
        match self.chain.reader().header(&core.prev) {
            Ok(placed) => placed.map(|placed| placed.header.core),
            Err(error) => {
                warn!(%error, "the parent of the template cannot be read");
                None
            }
        }
    }

    async fn take(&mut self, find: Find) {
        match find {
            Find::Share(job, core) => {
                if let Some((order, _)) = &job.order {
                    self.orders.fill(order, Share::of(&core));
                }
                debug!(share = %core.share_commit.short(), height = job.template.header.core.height, "share found");
            }
            Find::Block(job, core) if core.time > unix_now() => self.hold(job, core),
            Find::Block(job, core) => self.submit(&job, core).await,
        }
    }

    fn hold(&mut self, job: Arc<Job>, core: HeaderCore) {
        let is_new = self.held.as_ref().is_none_or(|(_, held)| held.prev != core.prev);
        if is_new && core.prev == self.tip.borrow().hash {
            self.held = Some((job, core));
        }
    }

    async fn submit(&mut self, job: &Job, core: HeaderCore) {
        if core.prev != self.chain.tip().hash {
            return;
        }
        let block = Arc::new(job.template.with_core(core));
        let (hash, transactions) = (block.hash(), block.transactions.len());
        let paid_share = core.share_commit != NO_SHARE;
        match self.chain.submit_block(block, Arrival::Live).await {
            Ok(report) => match report.outcome {
                BlockOutcome::Connected { .. } => {
                    self.blocks_found += 1;
                    info!(height = core.height, hash = %hash.short(), transactions, paid_share, "block found");
                }
                BlockOutcome::Stored | BlockOutcome::Known => {}
                outcome => warn!(height = core.height, hash = %hash.short(), ?outcome, "own block refused"),
            },
            Err(error) => warn!(%error, "own block could not be submitted"),
        }
    }

    fn report(&self) {
        let searching = self.current.as_ref().map(|(job, _)| job.workers);
        let status = MinerStatus {
            mode: self.config.mode,
            active: searching.is_some(),
            threads: match searching {
                None => 0,
                Some(WorkerSet::Background) => 1,
                Some(WorkerSet::Full) => self.workers.len() - 1,
            },
            hashrate: self.shared.total.rate(),
            hashes: self.shared.total.hashes(),
            blocks_found: self.blocks_found,
            orders: self.orders.len(),
        };
        self.status.send_if_modified(|old| std::mem::replace(old, status) != status);
    }

    async fn close(mut self) {
        self.shared.slot.close();
        // Workers may be waiting to report; with the receiver gone their sends return.
        self.finds.close();
        let workers = std::mem::take(&mut self.workers);
        let joined = tokio::task::spawn_blocking(move || workers.into_iter().all(|w| w.join().is_ok())).await;
        if !joined.unwrap_or(false) {
            warn!(interval_s = self.params.block_interval, "a mining thread failed");
        }
    }
}

//! The miner: searches for blocks, and for the shares that pay for operations, with the same evaluations.
//!
//! A *foreman* (an async task) decides what is searched and how hard; *workers* (OS threads of low priority) search.
//! Each evaluation is judged twice: against the block's target and against what the operation in front must show
//! ("two for one", protocol §7), so a registration's work also makes blocks. With mining off, operations are still
//! worked for; only mining for its own sake is off.
//!
//! Time rule: a header is never dated before `parent.time + MIN_GAP`. While that moment is ahead of the clock nothing
//! is mined for its own sake, and a block that an operation happens on is held back until then.

mod config;
mod foreman;
mod job;
mod meter;
mod order;
mod plan;
mod priority;
mod worker;

use std::sync::Arc;

use ledger::{hash::Hash, params::Params, transaction::Share};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

pub use config::{MiningConfig, MiningMode};
pub use order::WorkOrder;
pub use plan::Conditions;

use crate::chain::ChainHandle;
use meter::Meter;

/// Commands waiting for the foreman: an order per active operation at most, and the foreman is quick.
const COMMANDS: usize = 512;

/// What the miner does at the moment.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct MinerStatus {
    /// The configured mode.
    pub mode: MiningMode,
    /// Whether threads search.
    pub active: bool,
    /// Threads that search.
    pub threads: usize,
    /// Evaluations per second over the last seconds.
    pub hashrate: f64,
    /// Evaluations since start.
    pub hashes: u64,
    /// Blocks found and accepted since start.
    pub blocks_found: u64,
    /// Orders waiting or being worked for.
    pub orders: usize,
}

/// How far the search for one share is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct WorkProgress {
    /// Evaluations so far.
    pub hashes: u64,
    /// Evaluations per second; 0 while another order is in front.
    pub rate: f64,
}

/// The miner has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the miner has stopped")]
pub struct MinerStopped;

enum Command {
    Work(WorkOrder, Arc<Meter>, oneshot::Sender<Share>),
    Configure(MiningMode, Option<u8>),
    Shutdown,
}

/// Work ordered. Dropping it cancels the order.
pub struct Ticket {
    share: oneshot::Receiver<Share>,
    meter: Arc<Meter>,
}

impl Ticket {
    /// The share, when it is found.
    pub async fn share(&mut self) -> Result<Share, MinerStopped> {
        (&mut self.share).await.map_err(|_| MinerStopped)
    }

    /// How far the search is; a handle that outlives the wait for the share.
    pub fn progress(&self) -> ProgressHandle {
        ProgressHandle(self.meter.clone())
    }
}

/// Reads the progress of one order.
#[derive(Clone)]
pub struct ProgressHandle(Arc<Meter>);

impl ProgressHandle {
    /// How far the search is now.
    pub fn read(&self) -> WorkProgress {
        WorkProgress { hashes: self.0.hashes(), rate: self.0.rate() }
    }
}

/// The way to the miner.
#[derive(Clone)]
pub struct MinerHandle {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<MinerStatus>,
}

impl MinerHandle {
    /// Orders a share.
    pub async fn work(&self, order: WorkOrder) -> Result<Ticket, MinerStopped> {
        let (found, share) = oneshot::channel();
        let meter = Arc::new(Meter::default());
        self.commands.send(Command::Work(order, meter.clone(), found)).await.map_err(|_| MinerStopped)?;
        Ok(Ticket { share, meter })
    }

    /// What the miner does now.
    pub fn status(&self) -> MinerStatus {
        *self.status.borrow()
    }

    /// Takes mode and duty over from `config`; its other values count at the start only.
    pub async fn configure(&self, config: &MiningConfig) {
        // A miner that has stopped needs neither.
        let _ = self.commands.send(Command::Configure(config.mode, config.duty)).await;
    }
}

/// A running miner.
pub struct Miner {
    handle: MinerHandle,
    task: JoinHandle<()>,
}

impl Miner {
    /// Starts the foreman and its threads. `conditions` says whether mining for its own sake makes sense.
    pub fn start(
        config: &MiningConfig,
        params: &'static Params,
        chain: ChainHandle,
        conditions: watch::Receiver<Conditions>,
    ) -> std::io::Result<Self> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (status_out, status) = watch::channel(MinerStatus { mode: config.mode, ..MinerStatus::default() });
        let foreman = foreman::Foreman::new(config, params, chain, conditions, status_out)?;
        let task = tokio::spawn(foreman.run(inbox));
        Ok(Self { handle: MinerHandle { commands, status }, task })
    }

    /// The way to it.
    pub fn handle(&self) -> MinerHandle {
        self.handle.clone()
    }

    /// Stops the threads and waits for them: at most one batch of evaluations.
    pub async fn shutdown(self) {
        // A closed inbox means that the foreman has stopped already.
        let _ = self.handle.commands.send(Command::Shutdown).await;
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the miner's foreman failed");
        }
    }
}

/// No operation is paid for.
const NO_SHARE: Hash = Hash::ZERO;

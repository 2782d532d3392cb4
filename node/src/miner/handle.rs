//! How every other part speaks to the miner.

use std::sync::Arc;

use ledger::transaction::Share;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    config::{MiningConfig, MiningMode},
    meter::Meter,
    order::WorkOrder,
};

/// Commands waiting for the scheduler: an order per active operation at most, and the scheduler is quick.
pub(super) const COMMANDS: usize = 512;

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

/// What the scheduler is asked to do.
pub(super) enum Command {
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
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) status: watch::Receiver<MinerStatus>,
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

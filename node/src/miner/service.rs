//! Starting and stopping the miner.

use ledger::params::Params;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::chain::ChainHandle;

use super::{
    config::MiningConfig,
    handle::{COMMANDS, Command, MinerHandle, MinerStatus},
    plan::Conditions,
    scheduler::Scheduler,
};

/// A running miner.
pub struct Miner {
    handle: MinerHandle,
    task: JoinHandle<()>,
}

impl Miner {
    /// Starts the scheduler and its threads. `conditions` says whether mining for its own sake makes sense.
    pub fn start(
        config: &MiningConfig,
        params: &'static Params,
        chain: ChainHandle,
        conditions: watch::Receiver<Conditions>,
    ) -> std::io::Result<Self> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (status_out, status) = watch::channel(MinerStatus { mode: config.mode, ..MinerStatus::default() });
        let scheduler = Scheduler::new(config, params, chain, conditions, status_out)?;
        let task = tokio::spawn(scheduler.run(inbox));
        Ok(Self { handle: MinerHandle { commands, status }, task })
    }

    /// The way to it.
    pub fn handle(&self) -> MinerHandle {
        self.handle.clone()
    }

    /// Stops the threads and waits for them: at most one batch of evaluations.
    pub async fn shutdown(self) {
        // A closed inbox means that the scheduler has stopped already.
        let _ = self.handle.commands.send(Command::Shutdown).await;
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the miner's scheduler failed");
        }
    }
}

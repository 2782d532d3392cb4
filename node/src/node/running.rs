//! The parts that have started, and how they stop.

use std::time::Duration;

use resolver::Resolver;
use tokio::{task::JoinHandle, time::timeout};
use tracing::warn;

use crate::{
    api::server::{ApiServer, MonitorServer},
    chain::ChainService,
    miner::Miner,
    ops::Ops,
    p2p::P2pHandle,
    store::Closed,
};

/// How long each part may take to stop.
const PART_DEADLINE: Duration = Duration::from_secs(2);

/// What has started so far: some of it, if the start failed halfway.
#[derive(Default)]
pub(super) struct Running {
    pub(super) database: Option<Closed>,
    pub(super) chain: Option<ChainService>,
    pub(super) p2p: Option<P2pHandle>,
    pub(super) miner: Option<Miner>,
    pub(super) ops: Option<Ops>,
    pub(super) dns: Option<Resolver>,
    pub(super) api: Option<ApiServer>,
    pub(super) monitor: Option<MonitorServer>,
    pub(super) tasks: Vec<JoinHandle<()>>,
}

impl Running {
    /// Stops what is there: first nobody new comes in, then work stops, then the chain writes its last block and the
    /// database is closed.
    ///
    /// This is also how a failed start ends. Leaving instead would let the process tear the database down while threads
    /// still use it.
    pub(super) async fn shutdown(self) {
        if let Some(api) = self.api {
            api.shutdown(PART_DEADLINE).await;
        }
        if let Some(ops) = self.ops {
            ops.shutdown().await;
        }
        if let Some(miner) = self.miner {
            miner.shutdown().await;
        }
        if let Some(dns) = self.dns
            && let Err(error) = dns.shutdown(PART_DEADLINE).await
        {
            warn!(%error, "DNS did not stop in order");
        }
        if let Some(p2p) = self.p2p {
            p2p.shutdown(PART_DEADLINE).await;
        }
        for task in self.tasks {
            task.abort();
            // Cancelled or finished: either way it is gone.
            let _ = task.await;
        }
        if let Some(monitor) = self.monitor {
            monitor.shutdown(PART_DEADLINE).await;
        }
        if let Some(chain) = self.chain {
            chain.shutdown().await;
        }
        // Reads that nobody waits for any more take a moment to notice it.
        if let Some(database) = self.database
            && timeout(PART_DEADLINE, database.wait()).await.is_err()
        {
            warn!("something still reads the database; it is closed afterwards");
        }
    }
}

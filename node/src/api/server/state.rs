//! What handlers may use.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use ledger::{hash::Hash, params::Params};
use resolver::out::forward::Forwarder;
use tokio::sync::{Semaphore, watch};

use super::error::Refusal;
use crate::{
    chain::{ChainHandle, ChainReader},
    health::Health,
    metrics::Metrics,
    miner::MinerHandle,
    ops::OpsHandle,
    p2p::P2pHandle,
    reload::ReloadHandle,
    store::StoreError,
};

/// Readers of events at the same time: each holds a connection and a place in two channels.
const EVENT_READERS: usize = 32;

/// The parts of the node that the interface shows.
#[derive(Clone)]
pub struct Parts {
    /// The network.
    pub params: &'static Params,
    /// The chain.
    pub chain: ChainHandle,
    /// The network.
    pub p2p: P2pHandle,
    /// The miner.
    pub miner: MinerHandle,
    /// The operations.
    pub ops: OpsHandle,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// What the node's knowledge is worth.
    pub health: watch::Receiver<Health>,
    /// Who has the configuration read again.
    pub reload: ReloadHandle,
    /// Who asks upstreams, and keeps what they say.
    pub forwarder: Forwarder,
    /// Where DNS is answered.
    pub dns_listen: Vec<SocketAddr>,
    /// Suffixes under which names are answered.
    pub suffixes: Vec<String>,
}

/// Shared by all handlers.
#[derive(Clone)]
pub struct ApiState {
    shared: Arc<Shared>,
}

struct Shared {
    parts: Parts,
    chain_id: Hash,
    started: Instant,
    event_readers: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

impl ApiState {
    /// Takes the parts over; the uptime counts from now.
    pub fn new(parts: Parts) -> Self {
        let event_readers = Arc::new(Semaphore::new(EVENT_READERS));
        let chain_id = parts.params.chain_id();
        let (started, stopping) = (Instant::now(), watch::Sender::new(false));
        Self { shared: Arc::new(Shared { parts, chain_id, started, event_readers, stopping }) }
    }

    /// Ends what would otherwise never end: accepting, and streams of events.
    pub(super) fn stop(&self) {
        self.shared.stopping.send_replace(true);
    }

    /// Waits for [`Self::stop`]. Does not keep the state alive.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopping = self.shared.stopping.subscribe();
        async move {
            // Whoever waits without the state, and finds it gone, need not wait either.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        }
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.shared.parts
    }

    pub(super) fn health(&self) -> Health {
        *self.shared.parts.health.borrow()
    }

    pub(super) fn params(&self) -> &'static Params {
        self.shared.parts.params
    }

    pub(super) fn chain_id(&self) -> &Hash {
        &self.shared.chain_id
    }

    pub(super) fn uptime_seconds(&self) -> u64 {
        self.shared.started.elapsed().as_secs()
    }

    pub(super) fn event_readers(&self) -> &Arc<Semaphore> {
        &self.shared.event_readers
    }

    /// Runs a read of the database on a thread where it may wait for the disk.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&ChainReader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let reader = self.shared.parts.chain.reader();
        let done = tokio::task::spawn_blocking(move || read(&reader)).await;
        Ok(done.map_err(|_| Refusal::internal("a read failed"))??)
    }
}

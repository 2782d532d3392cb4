//! How the rest of the node speaks to the network.

use std::{sync::Arc, time::Duration};

use libp2p::{Multiaddr, PeerId};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::sync::{Direction, Verdict};

use super::{
    configured::ConfiguredPeer,
    reachability::Reachable,
    stats::{Stats, StatsSnapshot},
};

/// Commands waiting; they come from people and are answered at once.
pub(super) const COMMANDS: usize = 32;

/// How the connection to a peer goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// Directly.
    Direct,
    /// Directly, after the two had met through a relay: it proves nothing of who can be reached.
    Punched,
    /// Through a relay, until a direct one comes of it. Nothing of the chain goes over it.
    Relayed,
}

/// A connected peer.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// Its identity.
    pub peer: PeerId,
    /// Its address as seen from here; of an inbound peer, with its ephemeral port.
    pub address: Multiaddr,
    /// Who opened the connection.
    pub direction: Direction,
    /// How it goes.
    pub route: Route,
    /// What it runs, as it says.
    pub agent: String,
    /// Height that it claims, if it told.
    pub height: Option<u32>,
    /// Round trip, if it was measured.
    pub ping: Option<Duration>,
    /// Since when it is connected.
    pub connected_for: Duration,
}

/// What stands in the way of this node's connections, besides the peers that it has.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The peers of the configuration, in its order.
    pub configured: Vec<ConfiguredPeer>,
    /// Where another node with this node's identity was seen, if it was.
    pub identity_copy: Option<Multiaddr>,
    /// Whether others can reach this node.
    pub reachable: Reachable,
}

/// What the network task is asked to do.
pub(super) enum Command {
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    Surroundings(oneshot::Sender<Surroundings>),
    ListenAddresses(oneshot::Sender<Vec<Multiaddr>>),
    SetPeers(Vec<Multiaddr>),
    Ban(PeerId, Duration),
    Shutdown(oneshot::Sender<()>),
}

/// The way to the network task. Cheap to clone.
#[derive(Clone)]
pub struct P2pHandle {
    commands: mpsc::Sender<Command>,
    verdict: watch::Receiver<Verdict>,
    stats: Arc<Stats>,
    local_peer: PeerId,
    task: Arc<tokio::sync::Mutex<Option<JoinHandle<()>>>>,
}

impl P2pHandle {
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        verdict: watch::Receiver<Verdict>,
        stats: Arc<Stats>,
        local_peer: PeerId,
        task: JoinHandle<()>,
    ) -> Self {
        Self { commands, verdict, stats, local_peer, task: Arc::new(tokio::sync::Mutex::new(Some(task))) }
    }

    /// This node's identity.
    pub fn local_peer(&self) -> PeerId {
        self.local_peer
    }

    /// The connected nodes of this network, light clients not counted, and whoever is met through a relay; empty once the
    /// network has stopped.
    pub async fn peers(&self) -> Vec<PeerInfo> {
        self.ask(Command::Peers).await.unwrap_or_default()
    }

    /// What became of the configured peers, and what is wrong with this node's place in the network.
    pub async fn surroundings(&self) -> Surroundings {
        self.ask(Command::Surroundings).await.unwrap_or_default()
    }

    /// Where this node listens, each address ending in `/p2p/ID`.
    pub async fn listen_addresses(&self) -> Vec<Multiaddr> {
        self.ask(Command::ListenAddresses).await.unwrap_or_default()
    }

    /// Changes which peers are always dialled. Those that are no longer among them stay connected, as peers like others.
    pub async fn set_peers(&self, addresses: Vec<Multiaddr>) {
        let _ = self.commands.send(Command::SetPeers(addresses)).await;
    }

    /// Refuses a peer for a while.
    pub async fn ban(&self, peer: PeerId, time: Duration) {
        let _ = self.commands.send(Command::Ban(peer, time)).await;
    }

    /// Whether this node is synced, as it was judged last.
    pub fn verdict(&self) -> Verdict {
        *self.verdict.borrow()
    }

    /// The verdict and every later one.
    pub fn watch_verdict(&self) -> watch::Receiver<Verdict> {
        self.verdict.clone()
    }

    /// The counters now.
    pub fn stats(&self) -> StatsSnapshot {
        self.stats.snapshot()
    }

    /// Closes all connections and writes the address book; gives up after `deadline`.
    pub async fn shutdown(&self, deadline: Duration) {
        let _ = timeout(deadline, self.ask(Command::Shutdown)).await;
        if let Some(task) = self.task.lock().await.take() {
            task.abort();
            // Cancelled or finished: either way it is gone.
            let _ = task.await;
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

impl std::fmt::Debug for P2pHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "P2pHandle({})", self.local_peer)
    }
}

//! The state of the network task, and what everything else in this room does with it.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use ledger::{
    hash::{BlockHash, Hash},
    params::Params,
};
use libp2p::{PeerId, StreamProtocol, Swarm, request_response::OutboundRequestId, swarm::SwarmEvent};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::{self, JoinSet},
};

use crate::{
    chain::{ChainEvent, ChainHandle},
    p2p::{
        bans::Bans,
        behaviour::{self, Behaviour, BehaviourEvent, NodeSwarm},
        clone_watch::CloneWatch,
        config::Config,
        error::P2pError,
        gossip::Topics,
        handle::Command,
        limits::Limits,
        listeners::Listeners,
        message::{Request, Status},
        places::BlockBringers,
        reachability::Reachability,
        standing::Homes,
        stats::{Stats, count},
    },
    sync::{self, Company, Input, Millis, Offence, Question, Sync, Verdict},
};

use super::{
    announced::Rebuilding,
    dials::Dialing,
    entry::Connected,
    job::{Done, Pending},
    outbox::Outbox,
    relayed::Relayed,
};

/// What the swarm reports.
pub(super) type Event = SwarmEvent<BehaviourEvent>;

/// What the network needs of the rest of the node.
#[derive(Debug)]
pub struct Deps {
    /// The network's constants.
    pub params: &'static Params,
    /// The chain.
    pub chain: ChainHandle,
    /// Where key and address book are.
    pub data_dir: PathBuf,
    /// Whether this node may call itself synced alone.
    pub company: Company,
}

/// A question that waits for its answer.
pub(super) enum Asked {
    Sync(Question),
    Addresses,
    Pool,
    /// Parts of an announced block.
    Parts(BlockHash),
}

/// The state of the network task.
pub(super) struct Service {
    pub(super) config: Config,
    pub(super) params: &'static Params,
    /// CHAIN_ID, and what follows from it: each takes a hash over all that the network fixes.
    pub(super) chain_id: Hash,
    pub(super) homes: Homes,
    pub(super) kad_protocol: StreamProtocol,
    pub(super) chain: ChainHandle,
    pub(super) events: broadcast::Receiver<Arc<ChainEvent>>,
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) sync: Sync<PeerId>,
    pub(super) rng: StdRng,
    pub(super) started: Instant,
    pub(super) inbox: mpsc::Receiver<Command>,
    pub(super) verdict: watch::Sender<Verdict>,
    pub(super) stats: Arc<Stats>,
    pub(super) topics: Topics,
    pub(super) limits: Limits,
    pub(super) dialing: Dialing,
    pub(super) outbox: Outbox,
    pub(super) rebuilding: Rebuilding,
    pub(super) connected: BTreeMap<PeerId, Connected>,
    /// Peers that have come since the start.
    pub(super) arrivals: u64,
    pub(super) bringers: BlockBringers<PeerId>,
    pub(super) listeners: Listeners,
    pub(super) clones: CloneWatch,
    pub(super) reachability: Reachability,
    pub(super) relayed: Relayed,
    /// At most as many as [`crate::sync`] and `dialing` have open questions.
    pub(super) asked: HashMap<OutboundRequestId, (PeerId, Asked)>,
    pub(super) bans: Bans,
    pub(super) jobs: JoinSet<Done>,
    pub(super) pending: HashMap<task::Id, Pending>,
    pub(super) ticks: u64,
}

impl Service {
    pub(super) fn new(
        config: Config,
        deps: Deps,
        built: NodeSwarm,
        inbox: mpsc::Receiver<Command>,
        verdict: watch::Sender<Verdict>,
        stats: Arc<Stats>,
    ) -> Result<Self, P2pError> {
        let sync_config = sync::Config::of(deps.params, deps.company);
        let mut rng = seeded()?;
        let chain_id = deps.params.chain_id();
        Ok(Self {
            dialing: Dialing::new(&config, &deps.data_dir, rng.random()),
            params: deps.params,
            topics: Topics::of(&chain_id),
            homes: Homes::new(&chain_id),
            kad_protocol: behaviour::kad_protocol(deps.params),
            chain_id,
            events: deps.chain.events(),
            chain: deps.chain,
            relayed: Relayed::new(*built.swarm.local_peer_id(), built.allowed, built.serving, &config.peers),
            swarm: built.swarm,
            sync: Sync::new(sync_config),
            rng,
            started: Instant::now(),
            inbox,
            verdict,
            stats,
            limits: Limits::default(),
            outbox: Outbox::default(),
            rebuilding: Rebuilding::default(),
            connected: BTreeMap::new(),
            arrivals: 0,
            bringers: BlockBringers::default(),
            listeners: Listeners::default(),
            clones: CloneWatch::default(),
            reachability: Reachability::default(),
            asked: HashMap::new(),
            bans: Bans::default(),
            jobs: JoinSet::new(),
            pending: HashMap::new(),
            ticks: 0,
            config,
        })
    }

    /// Sends a question to a connected peer. libp2p would dial others, which is for `dialing` to decide.
    pub(super) fn ask(&mut self, peer: PeerId, asked: Asked, request: Request) {
        if !self.swarm.is_connected(&peer) {
            return;
        }
        count(&self.stats.requests_sent_total);
        let id = self.swarm.behaviour_mut().requests.send_request(&peer, request);
        self.asked.insert(id, (peer, asked));
    }

    pub(super) fn own_status(&self) -> Status {
        let tip = self.chain.tip();
        Status {
            chain_id: self.chain_id,
            height: tip.height,
            hash: tip.hash,
            work: tip.total_work,
            time: unix_now(),
            lowest_body: tip.lowest_body,
        }
    }

    pub(super) fn offence(&mut self, peer: PeerId, offence: Offence) {
        count(&self.stats.offences_total);
        tracing::debug!(%peer, offence = offence.code(), "a peer did wrong");
        self.feed(Input::Misbehaved { peer, offence });
    }

    pub(super) fn now(&self) -> Millis {
        Millis(self.started.elapsed().as_millis() as u64)
    }
}

/// Random numbers for choices that an attacker should not foresee.
fn seeded() -> Result<StdRng, P2pError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| P2pError::Transport(error.to_string()))?;
    Ok(StdRng::from_seed(seed))
}

/// The wall clock, in Unix seconds.
pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

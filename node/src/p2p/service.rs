//! The network task: one loop over swarm events, commands, finished jobs, chain events and time.
//!
//! Nothing in the loop waits or computes for long. `swarm_events` handles what libp2p reports, `connections` who is there,
//! `jobs` what runs beside, `rebuilding` blocks on their way, `dialing` whom to connect to, `relaying` relays and what comes
//! through them, `publishing` what to tell everybody.

mod announced;
mod dials;
mod entry;
mod job;
mod outbox;
mod relayed;

mod state;

mod connections;
mod dialing;
mod jobs;
mod publishing;
mod rebuilding;
mod relaying;
mod swarm_events;
mod witnesses;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::StreamExt;
use libp2p::{Multiaddr, PeerId, Swarm, swarm::SwarmEvent};
use rand::seq::IndexedRandom;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use crate::sync::{Input, Output, Question, Verdict};

use super::{
    behaviour::{self, Behaviour},
    config::Config,
    dial_failure::DialFailure,
    error::P2pError,
    handle::{COMMANDS, Command, P2pHandle, PeerInfo},
    identity,
    listeners::Listeners,
    message::Request,
    standing::Standing,
    stats::{Stats, count},
};
use entry::Connected;
use state::{Asked, Event, unix_now};

pub use state::Deps;
use state::Service;

/// How often time is looked at: stallers are noticed after two seconds, so a tenth of that is fine enough.
const TICK: Duration = Duration::from_millis(100);
/// Ticks between looks into another node's mempool: heals what gossip lost, and gives a new node what is waiting.
const POOL_EVERY: u64 = 100;
/// How long a listener may take to come up.
const LISTEN_DEADLINE: Duration = Duration::from_secs(5);

/// Starts the network. On return it listens.
pub async fn spawn(config: Config, deps: Deps) -> Result<P2pHandle, P2pError> {
    let keypair = identity::load_or_create(&deps.data_dir).map_err(P2pError::Identity)?;
    let mut built = behaviour::swarm(keypair, deps.params, &config)?;
    let opened = listen(&mut built.swarm, &config.listen).await?;
    let local_peer = *built.swarm.local_peer_id();
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let (verdict_out, verdict) = watch::channel(Verdict::default());
    let stats = Arc::new(Stats::default());
    let mut service = Service::new(config, deps, built, inbox, verdict_out, stats.clone())?;
    service.listeners = opened.listeners;
    service.config.external.clone().into_iter().for_each(|address| service.offer_address(address));
    let task = tokio::spawn(service.run(opened.early));
    Ok(P2pHandle::new(commands, verdict, stats, local_peer, task))
}

/// Opens the listeners and waits for those that will say whether they work. One that fails is logged; it is an error if
/// all do.
async fn listen(swarm: &mut Swarm<Behaviour>, addresses: &[Multiaddr]) -> Result<Opened, P2pError> {
    let (mut opened, mut failure, mut working) = (Opened::default(), None, addresses.len());
    for address in addresses {
        match swarm.listen_on(address.clone()) {
            Ok(id) => opened.listeners.opened(id, address),
            Err(error) => {
                working -= 1;
                note_failure(&mut failure, address, &error.to_string());
            }
        }
    }
    // A deadline, not an error: a listener that is slow may still come up later.
    let _ = timeout(LISTEN_DEADLINE, async {
        while opened.listeners.must_wait() {
            let event = swarm.select_next_some().await;
            match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } => drop(opened.listeners.settled(*listener_id)),
                SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                    if let Some(address) = opened.listeners.settled(*listener_id) {
                        working -= 1;
                        let why = reason.as_ref().err().map_or("closed".to_owned(), ToString::to_string);
                        note_failure(&mut failure, &address, &why);
                    }
                }
                _ => {}
            }
            opened.early.push_back(event);
        }
    })
    .await;
    match failure {
        Some(error) if working == 0 => Err(error),
        Some(_) | None => Ok(opened),
    }
}

/// The listeners, and what happened while they came up.
#[derive(Default)]
struct Opened {
    listeners: Listeners,
    early: VecDeque<Event>,
}

fn note_failure(first: &mut Option<P2pError>, address: &Multiaddr, why: &str) {
    tracing::warn!(%address, why, "cannot listen");
    first.get_or_insert_with(|| P2pError::Listen { address: address.clone(), why: why.to_owned() });
}

impl Service {
    async fn run(mut self, early: VecDeque<Event>) {
        early.into_iter().for_each(|event| self.swarm_event(event));
        self.feed(Input::ChainMoved);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.swarm_event(event),
                Some(done) = self.jobs.join_next_with_id() => self.job_finished(done),
                command = self.inbox.recv() => match command {
                    Some(Command::Shutdown(reply)) => return self.shut_down(Some(reply)).await,
                    Some(command) => self.command(command),
                    // Every handle is gone: nobody wants the network any more.
                    None => return self.shut_down(None).await,
                },
                event = self.events.recv() => self.chain_event(event),
                _ = tick.tick() => self.tick(),
            }
        }
    }

    /// Gives one event to the synchronisation and does what it says.
    fn feed(&mut self, input: Input<PeerId>) {
        let now = self.now();
        let outputs = self.sync.handle(now, &mut self.rng, input);
        outputs.into_iter().for_each(|output| self.carry_out(output));
        let verdict = Verdict { witnesses: self.witnesses(), ..self.sync.verdict() };
        self.verdict.send_if_modified(|old| std::mem::replace(old, verdict) != verdict);
    }

    fn carry_out(&mut self, output: Output<PeerId>) {
        match output {
            Output::AskStatus { peer } => {
                let request = Request::Status(self.own_status());
                self.ask(peer, Asked::Sync(Question::Status), request);
            }
            Output::AskHeaders { peer, locator } => {
                let max = ledger::block::HeaderBatch::MAX_HEADERS as u16;
                self.ask(peer, Asked::Sync(Question::Headers), Request::Headers { locator, max });
            }
            Output::AskBodies { peer, batch, hashes } => {
                self.ask(peer, Asked::Sync(Question::Bodies(batch)), Request::Bodies(hashes));
            }
            Output::SubmitHeaders { source, headers } => self.submit_headers(source, headers),
            Output::SubmitBlock { source, block } => self.submit_block(source, block),
            Output::RefreshView { claims } => self.refresh_view(claims),
            Output::Disconnect { peer } => self.let_go(peer, DialFailure::Silent),
            Output::Replace { peer } => self.replace(peer),
            Output::Ban { peer, for_ms, offence } => self.ban(peer, for_ms, offence.code()),
            Output::ClockAlarm(offset) => match offset {
                Some(offset_s) => tracing::warn!(offset_s, "our clock differs from that of most peers"),
                None => tracing::info!("our clock agrees with that of most peers again"),
            },
        }
    }

    /// Asks one peer at random for pooled transactions.
    fn ask_anybody_for_pool(&mut self) {
        let peers: Vec<_> = self.connected.keys().copied().collect();
        if let Some(peer) = peers.choose(&mut self.rng) {
            self.ask_for_pool(*peer);
        }
    }

    /// Without the chain, the anchors of pooled transactions would mean nothing: then nobody is asked.
    fn ask_for_pool(&mut self, peer: PeerId) {
        if !self.sync.verdict().is_synced() {
            return;
        }
        if let Some(entry) = self.connected.get_mut(&peer) {
            entry.pool_seen = true;
            self.ask(peer, Asked::Pool, Request::Transactions(Vec::new()));
        }
    }

    /// Gives the place of an outbound peer to another, unless it is one that is kept whatever it lacks.
    fn replace(&mut self, peer: PeerId) {
        if !self.dialing.book.is_anchor(&peer) && !self.dialing.configured.names(&peer) {
            self.let_go(peer, DialFailure::Lacking);
        }
    }

    fn ban(&mut self, peer: PeerId, for_ms: u64, why: &'static str) {
        count(&self.stats.bans_total);
        tracing::debug!(%peer, for_ms, why, "peer banned");
        let until = self.now().after(for_ms);
        let address = self.connected.get(&peer).map(|entry| &entry.address);
        let pardoned = self.bans.add(peer, address, until);
        self.dialing.book.forget(&peer);
        let blocked = &mut self.swarm.behaviour_mut().blocked;
        pardoned.map(|other| blocked.unblock_peer(other));
        blocked.block_peer(peer);
        self.let_go(peer, DialFailure::BannedHere);
    }

    fn command(&mut self, command: Command) {
        // A receiver that has gone away needs no answer.
        match command {
            Command::Peers(reply) => drop(reply.send(self.peers())),
            Command::Surroundings(reply) => drop(reply.send(self.surroundings())),
            Command::ListenAddresses(reply) => drop(reply.send(self.listen_addresses())),
            Command::SetPeers(addresses) => self.set_peers(&addresses),
            Command::Ban(peer, time) => self.ban(peer, time.as_millis() as u64, "operator"),
            Command::Shutdown(_) => unreachable!("handled by the loop, which it ends"),
        }
    }

    fn peers(&self) -> Vec<PeerInfo> {
        let info = |(peer, entry): (&PeerId, &Connected)| PeerInfo {
            peer: *peer,
            address: entry.address.clone(),
            direction: entry.direction,
            route: entry.route,
            agent: entry.agent.clone(),
            height: self.sync.claim_of(peer).map(|claim| claim.height),
            ping: entry.ping,
            connected_for: entry.since.elapsed(),
        };
        let nodes = self.connected.iter().filter(|(_, entry)| entry.standing == Standing::Node).map(info);
        let is_connected = |peer: &PeerId| self.is_node(peer);
        nodes.chain(self.relayed.peers().filter(|met| !is_connected(&met.peer))).collect()
    }

    fn listen_addresses(&self) -> Vec<Multiaddr> {
        let local = *self.swarm.local_peer_id();
        self.swarm.listeners().filter_map(|address| address.clone().with_p2p(local).ok()).collect()
    }

    fn tick(&mut self) {
        self.ticks += 1;
        self.feed(Input::Tick { unix_now: unix_now() });
        self.retry_outbox();
        self.hurry_rebuilds();
        if self.ticks.is_multiple_of(5) {
            self.lift_bans();
            self.let_go_of_silent_peers();
            self.let_go_of_feelers();
            self.check_reachability();
            self.dial_more();
            self.look_around();
            self.look_after_relays();
            self.update_levels();
        }
        if self.ticks.is_multiple_of(POOL_EVERY) {
            self.ask_anybody_for_pool();
        }
    }

    fn lift_bans(&mut self) {
        let now = self.now();
        for peer in self.bans.lift(now) {
            self.swarm.behaviour_mut().blocked.unblock_peer(peer);
        }
    }

    /// Tells the operator, once each, what is wrong around this node.
    fn look_around(&mut self) {
        let now = self.now();
        for address in self.listeners.quiet(now) {
            tracing::warn!(%address, "cannot listen yet: this machine has no address of that family");
        }
        if let Some(address) = self.clones.tick(now) {
            tracing::warn!(
                %address,
                "another node runs with this node's identity, perhaps from a copied data directory: \
                 stop one of them, delete its p2p.key and start it again"
            );
        }
    }

    async fn shut_down(mut self, reply: Option<oneshot::Sender<()>>) {
        self.jobs.shutdown().await;
        let anchors = self.anchors();
        self.dialing.save(anchors).await;
        drop(self.swarm);
        if let Some(reply) = reply {
            let _ = reply.send(());
        }
    }
}

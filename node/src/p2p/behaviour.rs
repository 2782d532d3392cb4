//! The libp2p behaviours of a node, and the swarm around them.
//!
//! Order matters: what may refuse a connection comes first, because behaviours behind it must never see half-open ones.

use std::time::Duration;

use ledger::params::{Network, Params};
use libp2p::{
    PeerId, StreamProtocol, Swarm, SwarmBuilder, Transport, allow_block_list, connection_limits,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, OptionalTransport},
        upgrade::Version,
    },
    gossipsub, identify,
    identity::Keypair,
    kad, mdns, memory_connection_limits, noise, ping,
    relay::{self, client},
    request_response,
    swarm::{self, NetworkBehaviour, behaviour::toggle::Toggle},
    tcp, upnp, yamux,
};

use super::{
    ask_back::AskBack,
    config::{Config, When},
    dial_back::DialBack,
    error::P2pError,
    gossip,
    half_open::HalfOpen,
    netgroup::Scope,
    relay::{
        direct_only::DirectOnly,
        gate::{Allowed, Gate},
        punch::Punch,
        serving,
    },
    transport,
};

/// One question and its whole answer: 2 MiB at 512 kbit/s.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(35);
/// Questions of one connection that are served at the same time; further ones wait in its queue.
const STREAMS_PER_CONNECTION: usize = 32;
/// A connection that nothing uses is closed after this. Gossip keeps its connections in use.
const IDLE: Duration = Duration::from_secs(60);
/// Connections that this node is setting up at the same time. Those of others: see `half_open`.
const PENDING: u32 = 32;
/// Connections beyond the places: who gives way takes a moment to go, and the newcomer must not be refused meanwhile.
const HEADROOM: u32 = 32;
/// Two, because both sides may dial at once and closing either could close both; and the relayed one that those replace. A
/// second one of the same side is closed once it is there (`service::connections`).
const PER_PEER: u32 = 3;

/// Everything a full node does on the network.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    pub half_open: HalfOpen,
    pub limits: connection_limits::Behaviour,
    pub memory: memory_connection_limits::Behaviour,
    pub blocked: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub dial_back: DirectOnly<Toggle<DialBack>>,
    pub relay: Toggle<relay::Behaviour>,
    pub relay_client: client::Behaviour,
    pub punch: Punch,
    pub identify: identify::Behaviour,
    pub ping: ping::Behaviour,
    pub kad: DirectOnly<kad::Behaviour<kad::store::MemoryStore>>,
    pub mdns: Toggle<mdns::tokio::Behaviour>,
    pub autonat: DirectOnly<Toggle<AskBack>>,
    pub upnp: Toggle<upnp::tokio::Behaviour>,
    pub gossip: DirectOnly<gossipsub::Behaviour>,
    pub requests: DirectOnly<request_response::Behaviour<transport::Codec>>,
}

/// The swarm of a node, and the handles of what decides within it.
pub struct NodeSwarm {
    pub swarm: Swarm<Behaviour>,
    /// Which relayed addresses may be dialled: none yet.
    pub allowed: Allowed,
    /// What this node does as a relay.
    pub serving: serving::Limits,
}

/// The name of a protocol of this network.
fn protocol(params: &Params, kind: &str) -> StreamProtocol {
    let name = format!("/namestead/{}/{kind}/1", gossip::chain_prefix(&params.chain_id()));
    StreamProtocol::try_from_owned(name).expect("it begins with a slash")
}

/// The name of our kad protocol. To be kept: making it hashes all that the network fixes.
pub fn kad_protocol(params: &Params) -> StreamProtocol {
    protocol(params, "kad")
}

/// Questions and answers; `support` tells a node from a client.
pub fn requests(
    params: &Params,
    support: request_response::ProtocolSupport,
) -> request_response::Behaviour<transport::Codec> {
    let config = request_response::Config::default()
        .with_request_timeout(TRANSFER_TIMEOUT)
        .with_max_concurrent_streams(STREAMS_PER_CONNECTION);
    request_response::Behaviour::new([(protocol(params, "request"), support)], config)
}

/// Builds the swarm of a node.
pub fn swarm(keypair: Keypair, params: &Params, config: &Config) -> Result<NodeSwarm, P2pError> {
    let (allowed, serving) = (Allowed::default(), serving::Limits::default());
    let (circuits, client) = client::new(keypair.public().to_peer_id());
    let circuits = relayed(&keypair, Gate::new(circuits, allowed.clone())).map_err(P2pError::Transport)?;
    let behaviour = behaviour(&keypair, params, config, client, &serving)?;
    let swarm = build_with(keypair, behaviour, IDLE, OptionalTransport::some(circuits)).map_err(P2pError::Transport)?;
    Ok(NodeSwarm { swarm, allowed, serving })
}

/// Connections of any kind, secured and multiplexed.
type Connections = Boxed<(PeerId, StreamMuxerBox)>;

/// The transport for connections through relays.
fn relayed(keypair: &Keypair, circuits: Gate<client::Transport>) -> Result<Connections, String> {
    let noise = noise::Config::new(keypair).map_err(|error| error.to_string())?;
    let secured = circuits.upgrade(Version::V1Lazy).authenticate(noise).multiplex(yamux::Config::default());
    Ok(secured.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed())
}

/// Builds a swarm: TCP with Noise and yamux, and QUIC; host names too, where the system can resolve any.
pub fn build<B: NetworkBehaviour>(keypair: Keypair, behaviour: B, idle: Duration) -> Result<Swarm<B>, String> {
    build_with(keypair, behaviour, idle, OptionalTransport::none())
}

fn build_with<B: NetworkBehaviour>(
    keypair: Keypair,
    behaviour: B,
    idle: Duration,
    circuits: OptionalTransport<Connections>,
) -> Result<Swarm<B>, String> {
    let base = |circuits: OptionalTransport<Connections>| {
        let tcp = SwarmBuilder::with_existing_identity(keypair.clone()).with_tokio().with_tcp(
            tcp::Config::default().nodelay(true),
            noise::Config::new,
            yamux::Config::default,
        );
        let direct = tcp.map_err(|error| error.to_string())?.with_quic();
        direct.with_other_transport(|_| circuits).map_err(|never| never.to_string())
    };
    let tune = |config: swarm::Config| {
        config.with_idle_connection_timeout(idle).with_max_negotiating_inbound_streams(32).with_smart_dial()
    };
    let built = "the behaviour is built already";
    // Tried beforehand, because there is one transport for relays and a failure would take it along.
    Ok(match base(OptionalTransport::none())?.with_dns() {
        Ok(_) => {
            let named = base(circuits)?.with_dns().map_err(|error| error.to_string())?;
            named.with_behaviour(|_| behaviour).expect(built).with_swarm_config(tune).build()
        }
        Err(error) => {
            tracing::warn!(%error, "the system resolves no host names, so peers can only be dialled by address");
            base(circuits)?.with_behaviour(|_| behaviour).expect(built).with_swarm_config(tune).build()
        }
    })
}

fn behaviour(
    keypair: &Keypair,
    params: &Params,
    config: &Config,
    relay_client: client::Behaviour,
    serving: &serving::Limits,
) -> Result<Behaviour, P2pError> {
    let peer = keypair.public().to_peer_id();
    let topics = gossip::Topics::of(&params.chain_id());
    // One machine or one LAN has nothing to find out, and nobody outside to ask.
    let is_public = params.network != Network::Local;
    let autonat = (config.autonat && is_public).then(AskBack::default);
    Ok(Behaviour {
        half_open: HalfOpen::default(),
        limits: connection_limits::Behaviour::new(connection_limits(config)),
        memory: memory_connection_limits::Behaviour::with_max_bytes(config.memory_limit_mib << 20),
        blocked: allow_block_list::Behaviour::default(),
        dial_back: DirectOnly::new(autonat.as_ref().map(|_| DialBack::default()).into()),
        relay: relay_server(peer, config, serving).into(),
        relay_client,
        punch: Punch::new(peer, if is_public { Scope::Public } else { Scope::Anywhere }),
        identify: identify::Behaviour::new(identify_config(keypair, params)),
        ping: ping::Behaviour::default(),
        kad: DirectOnly::new(kad_behaviour(keypair, params)),
        mdns: mdns_behaviour(params, config, peer)?,
        autonat: DirectOnly::new(autonat.into()),
        upnp: (config.upnp && is_public).then(upnp::tokio::Behaviour::default).into(),
        gossip: DirectOnly::new(gossip::behaviour(&topics)),
        requests: DirectOnly::new(requests(params, request_response::ProtocolSupport::Full)),
    })
}

/// It offers nothing before it is told to.
fn relay_server(peer: PeerId, config: &Config, serving: &serving::Limits) -> Option<relay::Behaviour> {
    let mut relay = (config.relay != When::Off).then(|| relay::Behaviour::new(peer, serving.config()))?;
    relay.set_status(Some(relay::Status::Disable));
    Some(relay)
}

fn connection_limits(config: &Config) -> connection_limits::ConnectionLimits {
    connection_limits::ConnectionLimits::default()
        .with_max_pending_outgoing(Some(PENDING))
        .with_max_established_per_peer(Some(PER_PEER))
        .with_max_established_incoming(Some(config.max_peers.saturating_add(HEADROOM)))
        .with_max_established(Some(config.max_peers.saturating_add(config.outbound).saturating_add(2 * HEADROOM)))
}

fn identify_config(keypair: &Keypair, params: &Params) -> identify::Config {
    let version = format!("/namestead/{}/1", gossip::chain_prefix(&params.chain_id()));
    identify::Config::new(version, keypair.public())
        .with_agent_version(concat!("namestead/", env!("CARGO_PKG_VERSION")).to_owned())
        .with_push_listen_addr_updates(true)
        .with_cache_size(0)
}

/// Peer discovery only: nobody's records are kept.
fn kad_behaviour(keypair: &Keypair, params: &Params) -> kad::Behaviour<kad::store::MemoryStore> {
    let peer = keypair.public().to_peer_id();
    let mut config = kad::Config::new(kad_protocol(params));
    config
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .disjoint_query_paths(true)
        .set_periodic_bootstrap_interval(Some(Duration::from_secs(300)));
    let mut kad = kad::Behaviour::with_config(peer, kad::store::MemoryStore::new(peer), config);
    // By itself kad answers nobody until an address is confirmed from outside, which never happens on a private network.
    let public = params.network == Network::Main;
    kad.set_mode((!public).then_some(kad::Mode::Server));
    kad
}

fn mdns_behaviour(
    params: &Params,
    config: &Config,
    peer: libp2p::PeerId,
) -> Result<Toggle<mdns::tokio::Behaviour>, P2pError> {
    if !config.mdns.unwrap_or(params.network == Network::Local) {
        return Ok(None.into());
    }
    let mdns = mdns::tokio::Behaviour::new(mdns::Config::default(), peer);
    Ok(Some(mdns.map_err(P2pError::Mdns)?).into())
}

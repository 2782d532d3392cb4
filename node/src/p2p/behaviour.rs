//! The libp2p behaviours of a node, and the swarm around them.
//!
//! Order matters: what may refuse a connection comes first, because behaviours behind it must never see half-open ones.

use std::time::Duration;

use ledger::params::{Network, Params};
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, allow_block_list, autonat, connection_limits, gossipsub, identify,
    identity::Keypair,
    kad, mdns, memory_connection_limits, noise, ping, request_response,
    swarm::{self, NetworkBehaviour, behaviour::toggle::Toggle},
    tcp, upnp, yamux,
};

use super::{config::Config, dial_back::DialBack, error::P2pError, gossip, half_open::HalfOpen, transport};

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
/// Two, because both sides may dial at once and closing either could close both. A second one of the same side is closed
/// once it is there (`service::connections`).
const PER_PEER: u32 = 2;

/// Everything a full node does on the network.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    pub half_open: HalfOpen,
    pub limits: connection_limits::Behaviour,
    pub memory: memory_connection_limits::Behaviour,
    pub blocked: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub dial_back: Toggle<DialBack>,
    pub identify: identify::Behaviour,
    pub ping: ping::Behaviour,
    pub kad: kad::Behaviour<kad::store::MemoryStore>,
    pub mdns: Toggle<mdns::tokio::Behaviour>,
    pub autonat: Toggle<autonat::v2::client::Behaviour>,
    pub upnp: Toggle<upnp::tokio::Behaviour>,
    pub gossip: gossipsub::Behaviour,
    pub requests: request_response::Behaviour<transport::Codec>,
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
pub fn swarm(keypair: Keypair, params: &Params, config: &Config) -> Result<Swarm<Behaviour>, P2pError> {
    let behaviour = behaviour(&keypair, params, config)?;
    build(keypair, behaviour, IDLE).map_err(P2pError::Transport)
}

/// Builds a swarm: TCP with Noise and yamux, and QUIC; host names too, where the system can resolve any.
pub fn build<B: NetworkBehaviour>(keypair: Keypair, behaviour: B, idle: Duration) -> Result<Swarm<B>, String> {
    let base = || {
        SwarmBuilder::with_existing_identity(keypair.clone())
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
            .map(|builder| builder.with_quic())
            .map_err(|error| error.to_string())
    };
    let tune = |config: swarm::Config| {
        config.with_idle_connection_timeout(idle).with_max_negotiating_inbound_streams(32).with_smart_dial()
    };
    let built = "the behaviour is built already";
    Ok(match base()?.with_dns() {
        Ok(named) => named.with_behaviour(|_| behaviour).expect(built).with_swarm_config(tune).build(),
        Err(error) => {
            tracing::warn!(%error, "the system resolves no host names, so peers can only be dialled by address");
            base()?.with_behaviour(|_| behaviour).expect(built).with_swarm_config(tune).build()
        }
    })
}

fn behaviour(keypair: &Keypair, params: &Params, config: &Config) -> Result<Behaviour, P2pError> {
    let peer = keypair.public().to_peer_id();
    let topics = gossip::Topics::of(&params.chain_id());
    // One machine or one LAN has nothing to find out, and nobody outside to ask.
    let is_public = params.network != Network::Local;
    let autonat = (config.autonat && is_public).then(autonat_client);
    Ok(Behaviour {
        half_open: HalfOpen::default(),
        limits: connection_limits::Behaviour::new(connection_limits(config)),
        memory: memory_connection_limits::Behaviour::with_max_bytes(config.memory_limit_mib << 20),
        blocked: allow_block_list::Behaviour::default(),
        dial_back: autonat.as_ref().map(|_| DialBack::default()).into(),
        identify: identify::Behaviour::new(identify_config(keypair, params)),
        ping: ping::Behaviour::default(),
        kad: kad_behaviour(keypair, params),
        mdns: mdns_behaviour(params, config, peer)?,
        autonat: autonat.into(),
        upnp: (config.upnp && is_public).then(upnp::tokio::Behaviour::default).into(),
        gossip: gossip::behaviour(&topics),
        requests: requests(params, request_response::ProtocolSupport::Full),
    })
}

fn autonat_client() -> autonat::v2::client::Behaviour {
    autonat::v2::client::Behaviour::default()
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

//! Nodes that nobody can dial: found over a relay, and connected directly where that can be.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures::StreamExt;
use ledger::params::Network;
use libp2p::{
    Swarm, SwarmBuilder, identify,
    identity::Keypair,
    multiaddr::Protocol,
    noise, ping, relay,
    swarm::{
        NetworkBehaviour, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
    tcp, yamux,
};
use node::p2p::{
    ConfiguredState, DialFailure, Multiaddr, PeerId, Reachable, Route,
    config::{Config, When},
    gossip::chain_prefix,
};
use tokio::{net::TcpListener, time::timeout};

use crate::peer::{Peer, eventually, eventually_async};

/// The deadline of what a single swarm waits for.
const DEADLINE: Duration = Duration::from_secs(30);

/// A node that is a relay, at an address that others are told.
async fn relay() -> Peer {
    let free = TcpListener::bind("127.0.0.1:0").await.and_then(|listener| listener.local_addr()).expect("a port");
    let own: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", free.port()).parse().expect("an address");
    Peer::start_with(|config| {
        (config.listen, config.external) = (vec![own.clone()], vec![own]);
        config.relay = When::On;
    })
    .await
}

/// A node that dials `peers` and nobody else.
async fn node(peers: &[Multiaddr], change: impl FnOnce(&mut Config)) -> Peer {
    Peer::start_with(|config| {
        (config.peers, config.outbound) = (peers.to_vec(), 0);
        change(config);
    })
    .await
}

fn listens_nowhere(config: &mut Config) {
    config.listen.clear();
    config.relay_client = When::Auto;
}

fn is_through_relay(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// Where others are led to a node, once a relay does.
async fn relayed_address(node: &Peer) -> Multiaddr {
    eventually("a relay leads to the node", || node.p2p.stats().relays == 1).await;
    eventually_async("it says so", async || node.p2p.listen_addresses().await.iter().any(is_through_relay)).await;
    node.p2p.listen_addresses().await.into_iter().find(is_through_relay).expect("it was there")
}

async fn route_to(node: &Peer, other: &Peer) -> Option<Route> {
    let peers = node.p2p.peers().await;
    peers.iter().find(|peer| peer.peer == other.p2p.local_peer()).map(|peer| peer.route)
}

/// What both ends and the relay must say once two nodes that met through a relay are connected directly.
async fn they_meet_and_connect_directly(relay: &Peer, hidden: &Peer, dialler: &Peer) {
    for (one, other) in [(dialler, hidden), (hidden, dialler)] {
        eventually_async("they are connected directly", async || route_to(one, other).await == Some(Route::Punched))
            .await;
        let peers = one.p2p.peers().await;
        let found = peers.iter().find(|peer| peer.peer == other.p2p.local_peer()).expect("it is connected");
        assert!(!is_through_relay(&found.address), "{}", found.address);
    }
    for node in [dialler, hidden] {
        eventually("the relayed connection is closed", || {
            let stats = node.p2p.stats();
            stats.relayed_connections == 0 && stats.relayed_upgraded_total == 1
        })
        .await;
        assert_eq!(node.p2p.stats().relayed_failed_total, 0);
    }
    eventually("the circuit is closed", || relay.p2p.stats().relay_circuits == 0).await;
    assert_eq!(relay.p2p.stats().relay_circuits_total, 1);
    assert_eq!(dialler.p2p.surroundings().await.configured[0].state, ConfiguredState::Connected);
    hidden.mine(1).await;
    eventually("and blocks go over it", || dialler.tip() == hidden.tip()).await;
    // It proves nothing of who can be reached, and nobody else is told of an address that came of it.
    assert_eq!(hidden.p2p.stats().reachable_yes + dialler.p2p.stats().reachable_yes, 0);
}

/// The hidden node listens nowhere: once it has met the other one, it dials.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_nobody_can_dial_is_met_through_a_relay_and_dials() {
    let relay = relay().await;
    let hidden = node(&[relay.address().await], listens_nowhere).await;
    assert_eq!(hidden.p2p.surroundings().await.reachable, Reachable::No, "nobody needs to try");
    let through = relayed_address(&hidden).await;
    assert_eq!(relay.p2p.stats().relay_reservations, 1);
    let dialler = node(&[through], |_| {}).await;
    they_meet_and_connect_directly(&relay, &hidden, &dialler).await;
    for peer in [relay, hidden, dialler] {
        peer.stop().await;
    }
}

/// The other one listens nowhere, so it is hole punching that leads to a direct connection. What its address is, it knows
/// from a peer of its own choice: of the relay that libp2p dials for it, it takes no word.
#[tokio::test(flavor = "multi_thread")]
async fn holes_are_punched() {
    let relay = relay().await;
    let hidden = node(&[relay.address().await], |config| config.relay_client = When::On).await;
    let through = relayed_address(&hidden).await;
    let witness = node(&[], |_| {}).await;
    let dialler = node(&[through, witness.address().await], listens_nowhere).await;
    they_meet_and_connect_directly(&relay, &hidden, &dialler).await;
    for peer in [relay, hidden, witness, dialler] {
        peer.stop().await;
    }
}

/// Neither can be dialled: they meet, nothing of the chain goes over the relay, and the connection is given up.
#[tokio::test(flavor = "multi_thread")]
async fn a_relayed_connection_is_no_peer_and_ends() {
    let relay = relay().await;
    let hidden = node(&[relay.address().await], listens_nowhere).await;
    let through = relayed_address(&hidden).await;
    let dialler = node(&[through], listens_nowhere).await;
    for (one, other) in [(&dialler, &hidden), (&hidden, &dialler)] {
        eventually_async("they meet", async || route_to(one, other).await == Some(Route::Relayed)).await;
    }
    assert_ne!(dialler.p2p.surroundings().await.configured[0].state, ConfiguredState::Connected);
    relay.mine(1).await;
    eventually("the hidden node has the block", || hidden.tip() == relay.tip()).await;
    let asked = hidden.p2p.stats().requests_served_total;
    eventually_async("the connection is given up", async || {
        dialler.p2p.surroundings().await.configured[0].failure == Some(DialFailure::NotDirect)
    })
    .await;
    // The dialler is connected to the relay, which libp2p dialled for it: from there it has the block.
    let stats = dialler.p2p.stats();
    assert_eq!((stats.relayed_failed_total, stats.relayed_upgraded_total), (1, 0));
    assert!(hidden.p2p.stats().requests_served_total - asked <= 60, "only the relay asks");
    assert_eq!(dialler.p2p.verdict().peers, 1, "the relay alone is a peer");
    assert_eq!(route_to(&dialler, &hidden).await, None);
    for peer in [relay, hidden, dialler] {
        peer.stop().await;
    }
}

/// A program that belongs to the network, asks nothing, and pings as often as it is told to.
#[derive(NetworkBehaviour)]
struct Guest {
    client: relay::client::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

fn guest(pause: Duration) -> Swarm<Guest> {
    let key = Keypair::generate_ed25519();
    let version = format!("/namestead/{}/1", chain_prefix(&Network::Local.params().chain_id()));
    let identify = identify::Behaviour::new(identify::Config::new(version, key.public()));
    let ping = ping::Behaviour::new(ping::Config::new().with_interval(pause));
    SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .expect("a transport")
        .with_relay_client(noise::Config::new, yamux::Config::default)
        .expect("a transport")
        .with_behaviour(|_, client| Guest { client, identify, ping })
        .expect("a behaviour")
        .with_swarm_config(|config| config.with_idle_connection_timeout(2 * DEADLINE))
        .build()
}

/// Runs a swarm until it reports what is looked for.
async fn until<T>(swarm: &mut Swarm<Guest>, found: impl Fn(SwarmEvent<GuestEvent>) -> Option<T>) -> T {
    let search = async {
        loop {
            if let Some(found) = found(swarm.select_next_some().await) {
                return found;
            }
        }
    };
    timeout(DEADLINE, search).await.expect("it happens in time")
}

/// Dials one more circuit to a peer, and says whether it came up.
async fn another_circuit(guest: &mut Swarm<Guest>, target: PeerId, through: &Multiaddr) -> bool {
    let options = DialOpts::peer_id(target).condition(PeerCondition::Always).addresses(vec![through.clone()]).build();
    let id = options.connection_id();
    guest.dial(options).expect("it is dialled");
    until(guest, |event| match event {
        SwarmEvent::ConnectionEstablished { connection_id, .. } => (connection_id == id).then_some(true),
        SwarmEvent::OutgoingConnectionError { connection_id, .. } => (connection_id == id).then_some(false),
        _ => None,
    })
    .await
}

/// What one peer gets of a relay: no reservation unless it is a node of this network, and two circuits at a time.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_gives_a_stranger_two_circuits_and_no_reservation() {
    let relay = relay().await;
    let hidden = node(&[relay.address().await], listens_nowhere).await;
    let (target, through) = (hidden.p2p.local_peer(), relayed_address(&hidden).await);
    let mut stranger = guest(DEADLINE);
    let mut came_up = Vec::new();
    for _ in 0..3 {
        came_up.push(another_circuit(&mut stranger, target, &through).await);
    }
    assert_eq!(came_up, [true, true, false]);
    eventually("two circuits are up, and one was refused", || {
        (relay.p2p.stats().relay_circuits, relay.p2p.stats().relay_refused_total) == (2, 1)
    })
    .await;
    let own = relay.address().await.with(Protocol::P2pCircuit);
    let listener = stranger.listen_on(own).expect("it asks");
    until(&mut stranger, |event| match event {
        SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
            (listener_id == listener && reason.is_err()).then_some(())
        }
        _ => None,
    })
    .await;
    eventually("it has none", || {
        (relay.p2p.stats().relay_reservations, relay.p2p.stats().relay_refused_total) == (1, 2)
    })
    .await;
    for peer in [relay, hidden] {
        peer.stop().await;
    }
}

/// What a node speaks over a relay: what leads to a direct connection, and nothing of the ledger.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_ledger_is_spoken_over_a_relay() {
    let relay = relay().await;
    let hidden = node(&[relay.address().await], listens_nowhere).await;
    let (target, through) = (hidden.p2p.local_peer(), relayed_address(&hidden).await);
    let mut stranger = guest(DEADLINE);
    stranger.dial(through).expect("it is dialled");
    let spoken = until(&mut stranger, |event| match event {
        SwarmEvent::Behaviour(GuestEvent::Identify(identify::Event::Received { peer_id, info, .. })) => {
            (peer_id == target).then_some(info.protocols)
        }
        _ => None,
    })
    .await;
    let mut spoken: Vec<_> = spoken.iter().map(ToString::to_string).collect();
    spoken.sort();
    spoken.retain(|name| !name.starts_with("/ipfs/id/"));
    assert!(spoken.iter().any(|name| name == "/ipfs/ping/1.0.0"), "{spoken:?}");
    let is_way = |name: &String| ["/ipfs/ping/1.0.0", "/libp2p/dcutr"].contains(&name.as_str());
    assert!(spoken.iter().all(is_way), "{spoken:?}");
    for peer in [relay, hidden] {
        peer.stop().await;
    }
}

/// A circuit ends when its bytes are used up, long before its time is.
#[tokio::test(flavor = "multi_thread")]
async fn a_circuit_ends_with_its_bytes() {
    let relay = relay().await;
    let hidden = node(&[relay.address().await], listens_nowhere).await;
    let (target, through) = (hidden.p2p.local_peer(), relayed_address(&hidden).await);
    let mut talker = guest(Duration::from_millis(1));
    let began = Instant::now();
    assert!(another_circuit(&mut talker, target, &through).await);
    until(&mut talker, |event| match event {
        SwarmEvent::ConnectionClosed { peer_id, endpoint, .. } => {
            (peer_id == target && endpoint.is_relayed()).then_some(())
        }
        _ => None,
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(20), "before anybody's patience ends: {:?}", began.elapsed());
    eventually("the circuit is closed", || relay.p2p.stats().relay_circuits == 0).await;
    for peer in [relay, hidden] {
        peer.stop().await;
    }
}

/// What a node tells of itself to those that it is connected to, and what those do with it: a relayed address is no
/// address for the book or for others.
#[tokio::test(flavor = "multi_thread")]
async fn relayed_addresses_are_not_handed_on() {
    let relay = relay().await;
    let hidden = node(&[relay.address().await], listens_nowhere).await;
    let through = relayed_address(&hidden).await;
    let other = node(&[relay.address().await], |config| config.outbound = 10).await;
    hidden.mine(1).await;
    eventually("everybody is connected to the relay", || other.tip() == hidden.tip()).await;
    eventually_async("it looks around", async || other.p2p.stats().known_peers >= 1).await;
    let known: BTreeSet<_> = other.p2p.peers().await.iter().map(|peer| peer.peer).collect();
    assert!(!known.contains(&hidden.p2p.local_peer()), "{through}");
    assert_eq!(relay.p2p.stats().relay_circuits_total, 0);
    relay.p2p.shutdown(Duration::from_secs(5)).await;
    let book = std::fs::read_to_string(relay.data_dir().join("peers.txt")).unwrap_or_default();
    assert!(!book.contains("p2p-circuit") && !book.contains(&hidden.p2p.local_peer().to_string()), "{book}");
    for peer in [relay, hidden, other] {
        peer.stop().await;
    }
}

/// The configuration is asked for sense: a way through oneself, to oneself, or to nobody is told for what it is.
#[tokio::test(flavor = "multi_thread")]
async fn senseless_relayed_addresses_have_their_reasons() {
    let relay = relay().await;
    let (at, peer) = (relay.address().await, PeerId::random());
    let node = node(&[], |_| {}).await;
    let own = node.p2p.local_peer();
    let text = |text: String| -> Multiaddr { text.parse().expect("an address") };
    let addresses = vec![
        text(format!("{at}/p2p-circuit/p2p/{own}")),
        text(format!("{}/p2p-circuit/p2p/{peer}", node.address().await)),
        text(format!("{at}/p2p-circuit")),
        text(format!("{at}/p2p-circuit/p2p/{peer}")),
    ];
    node.p2p.set_peers(addresses).await;
    eventually_async("all fail", async || {
        let report = node.p2p.surroundings().await.configured;
        report.len() == 4 && report.iter().all(|peer| peer.state == ConfiguredState::Failing)
    })
    .await;
    let report = node.p2p.surroundings().await.configured;
    let found: Vec<_> = report.iter().map(|peer| peer.failure.clone().expect("a reason")).collect();
    let expected =
        [DialFailure::OwnAddress, DialFailure::BadAddress, DialFailure::BadAddress, DialFailure::RelayRefused];
    assert_eq!(found, expected);
    for peer in [relay, node] {
        peer.stop().await;
    }
}

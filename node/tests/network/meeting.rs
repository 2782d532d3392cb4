//! Who becomes a peer, and what becomes of those who do not: other networks, full nodes, copies, wrong addresses.

use std::{fs, time::Duration};

use ledger::params::Network;
use libp2p::{identity::Keypair, kad::KBucketKey};
use node::p2p::{
    ConfiguredState, DialFailure, Home, Multiaddr, PeerId,
    client::Client,
    message::{Request, Response, Status},
};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use crate::peer::{Peer, Wire, eventually, eventually_async};

/// Waits until the only configured peer of a node fails, and says why.
async fn failure_of(node: &Peer) -> DialFailure {
    eventually_async("the configured peer fails", async || {
        node.p2p.surroundings().await.configured[0].state == ConfiguredState::Failing
    })
    .await;
    node.p2p.surroundings().await.configured[0].failure.clone().expect("a failing peer has a reason")
}

async fn connected(node: &Peer, other: &Peer) -> bool {
    node.p2p.peers().await.iter().any(|peer| peer.peer == other.p2p.local_peer())
}

/// A node of another network is let go, with a reason, and is nobody's peer.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_other_networks_let_go_of_each_other() {
    for wire in [Wire::Tcp, Wire::Quic] {
        let local = Peer::start(wire, &[]).await;
        let test = Peer::start_on(Network::Test.params(), wire, &[&local]).await;
        let failure = failure_of(&test).await;
        // Whoever is faster lets go first; the other one sees the connection close.
        let home = Home::OtherNetwork(Some(Network::Local));
        let told = DialFailure::NotHere { home, ours: Network::Test };
        assert!([told, DialFailure::ClosedAtOnce].contains(&failure), "{failure:?}");
        eventually("somebody noticed", || {
            local.p2p.stats().foreign_peers_total + test.p2p.stats().foreign_peers_total > 0
        })
        .await;
        for node in [&local, &test] {
            assert!(node.p2p.peers().await.is_empty());
            assert_eq!(node.p2p.verdict().peers, 0);
            assert_eq!(node.p2p.stats().bans_total, 0, "it has done nothing wrong");
        }
        local.stop().await;
        test.stop().await;
    }
}

/// A client asks and does not answer: it is served, and counts as no peer.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_served_and_is_no_peer() {
    let node = Peer::start(Wire::Tcp, &[]).await;
    node.mine(1).await;
    let params = Network::Local.params();
    let mut client = Client::new(params).expect("a client");
    let id = client.connect(&node.address().await).await.expect("connected");
    let ask = Request::Status(Status {
        chain_id: params.chain_id(),
        height: 0,
        hash: params.genesis_hash(),
        work: 0,
        lowest_body: 0,
        time: crate::peer::unix_now(),
    });
    eventually_async("the node knows it for a client", {
        let client = tokio::sync::Mutex::new(&mut client);
        let (ask, stats) = (&ask, &node.p2p);
        async move || {
            let answer = client.lock().await.ask(&id, ask.clone()).await.expect("an answer");
            assert!(matches!(answer, Response::Status(status) if status.height == 1));
            stats.stats().clients == 1
        }
    })
    .await;
    assert!(node.p2p.peers().await.is_empty());
    assert_eq!(node.p2p.verdict().peers, 0, "nor does what it tells count");
    assert_eq!(node.p2p.stats().foreign_peers_total, 0);
    node.stop().await;
}

/// Whoever finds a node full backs off, and gets in when a place is free; those that were there first stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_is_a_failed_dial() {
    let full = Peer::start_with(|config| config.max_peers = 2).await;
    let first = Peer::start(Wire::Tcp, &[&full]).await;
    eventually_async("the first is in", async || connected(&full, &first).await).await;
    let second = Peer::start(Wire::Tcp, &[&full]).await;
    eventually_async("the second is in", async || connected(&full, &second).await).await;
    let third = Peer::start(Wire::Tcp, &[&full]).await;
    let failure = failure_of(&third).await;
    assert!([DialFailure::ClosedAtOnce, DialFailure::Lost].contains(&failure), "{failure:?}");
    eventually("it gave way", || full.p2p.stats().inbound_evicted_total >= 1).await;
    assert!(connected(&full, &first).await && connected(&full, &second).await && !connected(&full, &third).await);
    second.stop().await;
    eventually_async("there is a place now", async || connected(&full, &third).await).await;
    assert!(full.p2p.stats().connections_opened_total <= 12, "no storm");
    for peer in [full, first, third] {
        peer.stop().await;
    }
}

/// Another list of configured peers is dialled at once, and who is connected already is a peer of this node's choice.
#[tokio::test(flavor = "multi_thread")]
async fn configured_peers_change_while_the_node_runs() {
    let (hub, dialler) = (Peer::start(Wire::Tcp, &[]).await, Peer::start(Wire::Tcp, &[]).await);
    let node = Peer::start_with(|config| config.outbound = 0).await;
    dialler.p2p.set_peers(vec![node.address().await]).await;
    eventually_async("a peer comes", async || connected(&node, &dialler).await).await;
    assert!(node.p2p.surroundings().await.configured.is_empty());
    node.p2p.set_peers(vec![hub.address().await, dialler.address().await]).await;
    eventually_async("both count as configured", async || {
        let report = node.p2p.surroundings().await.configured;
        report.len() == 2 && report.iter().all(|peer| peer.state == ConfiguredState::Connected)
    })
    .await;
    node.p2p.set_peers(vec![hub.address().await]).await;
    eventually_async("one is no longer listed", async || node.p2p.surroundings().await.configured.len() == 1).await;
    assert!(connected(&node, &dialler).await, "and stays all the same");
    for peer in [hub, dialler, node] {
        peer.stop().await;
    }
}

/// A directory with the network key of a node that is near to `other` in kad. Looking for others, such a node asks `other`
/// many times in a row: once for each bit that their ids share.
fn directory_of_a_neighbour(other: PeerId) -> TempDir {
    let far = |peer: PeerId| KBucketKey::from(other).distance(&KBucketKey::from(peer)).ilog2();
    let near = std::iter::repeat_with(Keypair::generate_ed25519)
        .find(|key| far(key.public().to_peer_id()).is_some_and(|bits| bits < 247))
        .expect("it goes on for ever");
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("p2p.key"), near.to_protobuf_encoding().expect("a key")).expect("written");
    dir
}

/// A ban is a failed dial for both: the one that bans says so, the other one is turned away and backs off, whichever part
/// of it dials.
#[tokio::test(flavor = "multi_thread")]
async fn a_ban_is_a_failed_dial() {
    let (one, other) = (Peer::start(Wire::Tcp, &[]).await, Peer::start(Wire::Tcp, &[]).await);
    let judge = Peer::start(Wire::Tcp, &[&other]).await;
    let peers = vec![one.address().await];
    let dir = directory_of_a_neighbour(one.p2p.local_peer());
    let banned = Peer::start_at(Network::Local.params(), dir, |config| config.peers = peers).await;
    eventually_async("they meet", async || connected(&judge, &other).await && connected(&banned, &one).await).await;
    let hour = Duration::from_secs(3_600);
    judge.p2p.ban(other.p2p.local_peer(), hour).await;
    one.p2p.ban(banned.p2p.local_peer(), hour).await;
    assert_eq!(failure_of(&judge).await, DialFailure::BannedHere);
    eventually_async("the banned node is turned away again and again", async || {
        let report = banned.p2p.surroundings().await;
        report.configured[0].failures >= 3 && report.configured[0].failure == Some(DialFailure::ClosedAtOnce)
    })
    .await;
    assert!(banned.p2p.stats().connections_opened_total <= 8, "no storm");
    for peer in [one, other, judge, banned] {
        peer.stop().await;
    }
}

/// A peer of which a node has only heard is tried without need, noted as reached, and let go.
#[tokio::test(flavor = "multi_thread")]
async fn a_feeler_finds_out_who_is_there() {
    let there = Peer::start(Wire::Tcp, &[]).await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let book = dir.path().join("peers.txt");
    let address = there.address().await.to_string();
    let (address, id) = address.split_once("/p2p/").expect("it ends in the peer's id");
    // Heard of, never reached, from somebody at home.
    fs::write(&book, format!("0 0 0100000000 {id} {address}\n")).expect("written");
    let node = Peer::start_at(Network::Local.params(), dir, |config| config.outbound = 0).await;
    eventually("a feeler went out", || node.p2p.stats().feelers_total > 0).await;
    eventually("and came back", || {
        let stats = node.p2p.stats();
        stats.connections_opened_total == 1 && stats.connections_closed_total == 1
    })
    .await;
    node.p2p.shutdown(Duration::from_secs(5)).await;
    let text = fs::read_to_string(node.data_dir().join("peers.txt")).expect("the book is there");
    let line = text.lines().find(|line| line.contains(id)).expect("the peer is in it");
    assert!(!line.starts_with("0 "), "it counts as reached now: {line}");
    node.stop().await;
    there.stop().await;
}

/// A copied data directory is noticed by whoever meets the other, and nobody's connections come and go.
#[tokio::test(flavor = "multi_thread")]
async fn a_copied_identity_is_noticed() {
    let hub = Peer::start(Wire::Tcp, &[]).await;
    let one = Peer::start(Wire::Tcp, &[&hub]).await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::copy(one.data_dir().join("p2p.key"), dir.path().join("p2p.key")).expect("copied");
    let strip = |address: Multiaddr| -> Multiaddr {
        address.to_string().split("/p2p/").next().and_then(|text| text.parse().ok()).expect("an address")
    };
    let peers = vec![strip(hub.address().await), strip(one.address().await)];
    let two = Peer::start_at(Network::Local.params(), dir, |config| config.peers = peers).await;
    assert_eq!(one.p2p.local_peer(), two.p2p.local_peer());
    // Who dials knows for sure. Who is dialled may see no more than a connection that ends before it said who it is.
    eventually_async("the copy is noticed", async || two.p2p.surroundings().await.identity_copy.is_some()).await;
    eventually("and counted", || two.p2p.stats().identity_copied == 1).await;
    let report = two.p2p.surroundings().await;
    assert_eq!(report.configured[1].failure, Some(DialFailure::OwnIdentity));
    assert!(hub.p2p.surroundings().await.identity_copy.is_none(), "the hub has an identity of its own");
    for node in [&hub, &one, &two] {
        assert!(node.p2p.stats().connections_opened_total <= 6, "no storm: {:?}", node.p2p.stats());
    }
    for peer in [hub, one, two] {
        peer.stop().await;
    }
}

/// One identity holds one connection of its own making, however often it dials: the first one stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_connection_of_the_same_side_is_closed() {
    let hub = Peer::start(Wire::Tcp, &[]).await;
    let first = Peer::start(Wire::Tcp, &[&hub]).await;
    eventually_async("the first is in", async || connected(&hub, &first).await).await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::copy(first.data_dir().join("p2p.key"), dir.path().join("p2p.key")).expect("copied");
    let peers = vec![hub.address().await];
    let second = Peer::start_at(Network::Local.params(), dir, |config| config.peers = peers).await;
    eventually_async("the second is turned away", async || {
        second.p2p.surroundings().await.configured[0].failure == Some(DialFailure::ClosedAtOnce)
    })
    .await;
    assert!(connected(&hub, &first).await);
    assert_eq!(first.p2p.stats().connections_closed_total, 0, "nobody was asked to make place");
    for peer in [hub, first, second] {
        peer.stop().await;
    }
}

/// Meeting oneself is no copy.
#[tokio::test(flavor = "multi_thread")]
async fn an_own_address_is_told_and_is_no_copy() {
    let free = TcpListener::bind("127.0.0.1:0").await.and_then(|listener| listener.local_addr()).expect("a port");
    let own: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", free.port()).parse().expect("an address");
    let alias: Multiaddr = format!("/dns4/localhost/tcp/{}", free.port()).parse().expect("an address");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let node = Peer::start_at(Network::Local.params(), dir, |config| {
        config.listen = vec![own.clone()];
        config.peers = vec![own, alias];
    })
    .await;
    eventually_async("both fail", async || {
        let report = node.p2p.surroundings().await;
        report.configured.iter().all(|peer| peer.state == ConfiguredState::Failing)
    })
    .await;
    let report = node.p2p.surroundings().await;
    assert_eq!(report.configured[0].failure, Some(DialFailure::OwnAddress));
    // Under a name it cannot be told from a copy at once; the two ends of the connection tell it.
    assert_eq!(report.configured[1].failure, Some(DialFailure::OwnIdentity));
    eventually("the second end was looked at", || node.p2p.stats().inbound_failures_total > 0).await;
    assert_eq!(node.p2p.stats().identity_copied, 0);
    node.stop().await;
}

/// Every configured peer that is not reached has a reason of its own.
#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_address_has_its_reason() {
    let honest = Peer::start(Wire::Tcp, &[]).await;
    let web = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed = TcpListener::bind("127.0.0.1:0").await.and_then(|listener| listener.local_addr()).expect("a port");
    let at = |port: u16| -> Multiaddr { format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address") };
    let port = |listener: &TcpListener| listener.local_addr().expect("bound").port();
    let stranger = PeerId::random();
    let wrong_id = at(honest.socket().port()).with_p2p(stranger).expect("an address");
    let peers = vec![at(port(&web)), at(port(&silent)), at(closed.port()), wrong_id];
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = web.accept().await {
            answer_like_a_web_server(stream).await;
        }
    });
    let dir = tempfile::tempdir().expect("a temporary directory");
    let node = Peer::start_at(Network::Local.params(), dir, |config| config.peers = peers).await;
    eventually_async("all fail", async || {
        let report = node.p2p.surroundings().await;
        report.configured.iter().all(|peer| peer.state == ConfiguredState::Failing)
    })
    .await;
    let report = node.p2p.surroundings().await;
    let found: Vec<_> = report.configured.iter().map(|peer| peer.failure.clone().expect("a reason")).collect();
    let expected = [
        DialFailure::NotLibp2p,
        DialFailure::NoAnswer,
        DialFailure::Refused,
        DialFailure::OtherPeer(honest.p2p.local_peer()),
    ];
    assert_eq!(found, expected);
    server.abort();
    node.stop().await;
    honest.stop().await;
}

async fn answer_like_a_web_server(mut stream: TcpStream) {
    // The client may be gone already, which is its right.
    let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    tokio::time::timeout(Duration::from_secs(1), stream.shutdown()).await.ok();
}

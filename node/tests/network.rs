//! Real nodes over real sockets on loopback, on ports the system chooses: connect, sync, gossip, survive junk.

#[path = "network/blocks.rs"]
mod blocks;
#[path = "network/meeting.rs"]
mod meeting;
#[path = "network/peer.rs"]
mod peer;
/// A peer that does as it is told.
#[path = "../../testnet/adversary/peer.rs"]
#[allow(dead_code)] // The adversary uses all of it.
mod puppet;
#[path = "network/relays.rs"]
mod relays;

use std::time::Duration;

use ledger::{
    params::Network,
    testing::{TestChain, name, owner, records, tiny_params},
};
use node::light::{self, LightError, Start};
use peer::{Peer, Wire, eventually, unix_now};
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// Two nodes over one transport: the second joins late, gets the chain, then blocks and transactions as they come.
async fn two_nodes_over(wire: Wire) {
    let first = Peer::start(wire, &[]).await;
    // Blocks made in a hurry run ahead of the clock, a second each, and ten seconds is the limit.
    first.mine(6).await;
    let second = Peer::start(wire, &[&first]).await;
    eventually("the late node has the chain", || second.tip() == first.tip()).await;
    eventually("it knows that it is synced", || second.p2p.verdict().is_synced()).await;
    first.mine(1).await;
    eventually("a new block arrives", || second.tip() == first.tip()).await;
    second.mine(1).await;
    eventually("and in the other direction", || second.tip() == first.tip()).await;
    assert_eq!(first.chain.tip().height, 8);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_sync_over_tcp() {
    two_nodes_over(Wire::Tcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_sync_over_quic() {
    two_nodes_over(Wire::Quic).await;
}

/// More blocks than one batch of headers and one window of bodies.
#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_node_takes_thousands_of_blocks() {
    let params = tiny_params();
    let mut history = TestChain::new(params);
    history.mine_empty(2_500);
    let first = Peer::start_on(params, Wire::Tcp, &[]).await;
    first.load(&history).await;
    let second = Peer::start_on(params, Wire::Quic, &[&first]).await;
    let third = Peer::start_on(params, Wire::Tcp, &[&first, &second]).await;
    eventually("both have it all", || second.tip() == first.tip() && third.tip() == first.tip()).await;
    for peer in [&second, &third] {
        eventually("they know that they are synced", || peer.p2p.verdict().is_synced()).await;
        assert_eq!(peer.p2p.stats().bans_total, 0);
    }
    for peer in [first, second, third] {
        peer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_and_a_block_cross_three_nodes() {
    let first = Peer::start(Wire::Tcp, &[]).await;
    let second = Peer::start(Wire::Quic, &[&first]).await;
    let third = Peer::start(Wire::Tcp, &[&second]).await;
    first.mine(5).await;
    eventually("all are at the same block", || second.tip() == first.tip() && third.tip() == first.tip()).await;
    let txid = first.submit(first.maker(2).commit(&name("gossiped"), 1)).await;
    eventually("the transaction arrives at the far end", || third.chain.mempool().contains(&txid)).await;
    third.mine(1).await;
    eventually("and is mined for all", || first.tip() == third.tip() && !first.chain.mempool().contains(&txid)).await;
    for peer in [&first, &second, &third] {
        eventually("every gossiped message has got one verdict", || {
            let stats = peer.p2p.stats();
            let verdicts = stats.gossip_accepted_total + stats.gossip_rejected_total + stats.gossip_ignored_total;
            verdicts == stats.gossip_received_total && stats.gossip_late_total + stats.bans_total == 0
        })
        .await;
    }
    for peer in [first, second, third] {
        peer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_meet_through_a_third() {
    let hub = Peer::start(Wire::Tcp, &[]).await;
    let left = Peer::start(Wire::Tcp, &[&hub]).await;
    let right = Peer::start(Wire::Tcp, &[&hub]).await;
    peer::eventually_async("left and right found each other", async || {
        let peers = left.p2p.peers().await;
        peers.iter().any(|peer| peer.peer == right.p2p.local_peer())
    })
    .await;
    for peer in [hub, left, right] {
        peer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_on_the_port_does_no_harm() {
    let node = Peer::start(Wire::Tcp, &[]).await;
    for seed in 0..10u8 {
        let mut stream = TcpStream::connect(node.socket()).await.expect("listens");
        let junk: Vec<u8> = (0..10_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ seed).collect();
        // The node may hang up in the middle, which is the right thing to do.
        let _ = stream.write_all(&junk).await;
    }
    eventually("every junk connection failed", || node.p2p.stats().inbound_failures_total >= 10).await;
    assert!(node.p2p.peers().await.is_empty());
    let friend = Peer::start(Wire::Tcp, &[&node]).await;
    node.mine(2).await;
    eventually("honest peers are served as before", || friend.tip() == node.tip()).await;
    node.stop().await;
    friend.stop().await;
}

/// A lost announcement is made good: the mempool of a peer is looked into now and then.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_node_hears_of_waiting_transactions() {
    let first = Peer::start(Wire::Tcp, &[]).await;
    first.mine(3).await;
    let txid = first.submit(first.maker(1).commit(&name("early"), 1)).await;
    let late = Peer::start(Wire::Tcp, &[&first]).await;
    eventually("the transaction arrives", || late.chain.mempool().contains(&txid)).await;
    first.stop().await;
    late.stop().await;
}

async fn check_every_bit(bytes: &[u8]) {
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(light::verify(&changed, Network::Local.params(), None).is_err(), "bit {bit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_light_client_checks_what_it_is_told() {
    let (node, params) = (Peer::start(Wire::Tcp, &[]).await, Network::Local.params());
    let (taken, free) = (name("taken"), name("free-name"));
    node.mine(2).await;
    node.submit(node.maker(1).commit(&taken, 1)).await;
    node.mine(1 + params.maturity).await;
    node.submit(node.maker(1).reveal(&taken, 1, records("hello"))).await;
    node.mine(1).await;
    let look_up = async |name| light::lookup(params, &[node.address().await], name, Start::Genesis, unix_now()).await;
    let answer = look_up(&taken).await.expect("an answer");
    let state = answer.state.as_ref().expect("it is registered");
    assert_eq!((state.owner, answer.height, answer.confirmations), (owner(1), 7, 1));
    assert!(answer.is_unconfirmed());
    let trusted = light::Checkpoint { height: answer.tip_height, hash: node.tip() };
    let verified = light::verify(&answer.proof.to_bytes(), params, Some(trusted)).expect("holds offline");
    assert_eq!((verified.state, verified.height), (answer.state, 7));
    check_every_bit(&answer.proof.to_bytes()).await;
    // From a block that is trusted, only what follows it is fetched, and the work before it is known all the same.
    let headers = node.chain.reader().headers_from(0, 9).expect("reads");
    let from = async |height, at: usize| {
        let start = Start::Checkpoint(light::Checkpoint { height, hash: headers[at].hash() });
        light::lookup(params, &[node.address().await], &taken, start, unix_now()).await
    };
    for at in [0, 3, 7] {
        let short = from(at as u32, at).await.expect("an answer");
        assert_eq!((short.tip_height, short.total_work), (7, answer.total_work));
        assert_eq!(short.state.as_ref().map(|state| state.owner), Some(owner(1)));
    }
    assert!(matches!(from(4, 3).await, Err(LightError::NoCheckpoint { height: 4 })));
    let absent = look_up(&free).await.expect("an answer");
    assert_eq!(absent.state, None);
    check_every_bit(&absent.proof.to_bytes()).await;
    node.stop().await;
}

/// Two peers on branches that disagree about a name, one that has nothing, and one that nobody reaches.
#[tokio::test(flavor = "multi_thread")]
async fn a_light_client_follows_the_heavier_branch_whoever_is_asked_first() {
    let (params, alice) = (tiny_params(), name("alice"));
    let mut common = TestChain::new(params);
    common.mine_empty(3);
    let (mut lighter, mut heavier) = (common.clone(), common);
    lighter.register(&alice, 2);
    // Another transaction makes another block.
    heavier.register(&alice, 1);
    heavier.mine_empty(2);
    let (one, other) = (Peer::start_on(params, Wire::Tcp, &[]).await, Peer::start_on(params, Wire::Tcp, &[]).await);
    let empty = Peer::start_on(params, Wire::Tcp, &[]).await;
    one.load(&lighter).await;
    other.load(&heavier).await;
    let gone = Peer::start_on(params, Wire::Tcp, &[]).await;
    let (lighter_at, heavier_at, empty_at, gone_at) =
        (one.address().await, other.address().await, empty.address().await, gone.address().await);
    gone.stop().await;
    for peers in [
        vec![lighter_at.clone(), heavier_at.clone()],
        vec![gone_at, heavier_at.clone(), empty_at.clone(), lighter_at.clone()],
        // Named twice, it is one peer all the same.
        vec![heavier_at.clone(), heavier_at, lighter_at.clone(), empty_at],
    ] {
        let answer = light::lookup(params, &peers, &alice, Start::Genesis, unix_now()).await.expect("an answer");
        assert_eq!((answer.hash, answer.tip_height), (heavier.tip().hash(), heavier.height()));
        assert_eq!(answer.state.expect("registered").owner, owner(1));
        assert_eq!(answer.peers, 1, "only one peer's headers are of that branch");
    }
    let alone = light::lookup(params, &[lighter_at], &alice, Start::Genesis, unix_now()).await.expect("an answer");
    assert_eq!((alone.state.expect("registered").owner, alone.peers), (owner(2), 1));
    for peer in [one, other, empty] {
        peer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_has_a_deadline_and_the_identity_stays() {
    let node = Peer::start(Wire::Tcp, &[]).await;
    let before = node.p2p.local_peer();
    let started = std::time::Instant::now();
    let again = node.restart().await;
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(again.p2p.local_peer(), before);
    again.stop().await;
}

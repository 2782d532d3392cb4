//! A block that only one node knows to be invalid, and blocks built on it, relayed to that node by the others.
//!
//! One node is told of a block on its tip whose state root is wrong: it tries it and marks it invalid. The others have
//! moved on when they hear of it, keep it aside untried, and pass its children on in good faith.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ledger::{hash::Hash, rules::header::HeaderContext};
use libp2p::Multiaddr;
use node::p2p::compact::CompactBlock;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    answers,
    clock::unix_now,
    follower::{Follower, status_of},
    forge::{Forge, empty_block},
    peer::Peer,
};

/// How long honest blocks may take to pass the invalid one.
const PASSED: Duration = Duration::from_secs(40);
/// Blocks by which the others are ahead before they hear of it: neither it nor its child is then worth trying.
const AHEAD: u32 = 2;
/// Time for a node to judge and pass on what it was told.
const SETTLE: Duration = Duration::from_millis(150);

/// Which nodes, and how often.
#[derive(clap::Args)]
pub struct Options {
    /// The node that comes to know.
    #[arg(long)]
    knows: Multiaddr,
    /// The node that does not, and relays.
    #[arg(long)]
    node: Multiaddr,
    /// Invalid blocks.
    #[arg(long, default_value_t = 2)]
    rounds: u64,
    /// Children of each.
    #[arg(long, default_value_t = 8)]
    children: u64,
}

/// Runs the attack.
pub async fn run(forge: Forge, options: Options) -> Result<Value> {
    let mut knowing = Follower::start(forge, &options.knows).await?;
    let teller = connect(forge, &options.node).await?;
    let mut told = 0;
    for round in 0..options.rounds {
        // Whoever hands over an invalid block is rightly blamed, so each time somebody else does.
        let culprit = connect(forge, &options.knows).await?;
        knowing.catch_up().await?;
        let bad = invalid_block(forge, knowing.chain().tip(), round);
        culprit.announce(&whole(&bad)).await?;
        let children: Vec<_> =
            (0..options.children).map(|salt| forge.plain_header(&bad, forge.earliest(&bad), salt)).collect();
        until_passed(forge, &teller, bad.height() + AHEAD).await?;
        tell(&teller, &bad).await?;
        for child in &children {
            tell(&teller, child).await?;
            told += 1;
        }
    }
    sleep(Duration::from_secs(1)).await;
    Ok(json!({ "invalid_blocks": options.rounds, "children": told, "teller_still_connected": teller.is_connected() }))
}

async fn connect(forge: Forge, node: &Multiaddr) -> Result<Peer> {
    let mut peer = Peer::connect(forge.params, node, answers::nothing(forge)).await?;
    peer.until_heard().await?;
    Ok(peer)
}

/// A block on `parent` that is right but for its state root, which shows when it is tried and not before.
fn invalid_block(forge: Forge, parent: &HeaderContext, salt: u64) -> HeaderContext {
    let time = forge.earliest(parent).max(unix_now());
    forge.header(parent, time, Hash([0xee; 32]), salt)
}

fn whole(header: &HeaderContext) -> CompactBlock {
    CompactBlock::whole(&empty_block(header))
}

async fn tell(peer: &Peer, header: &HeaderContext) -> Result<()> {
    peer.announce(&whole(header)).await?;
    // One after the other: a child that overtakes its parent hangs in the air.
    sleep(SETTLE).await;
    Ok(())
}

async fn until_passed(forge: Forge, peer: &Peer, height: u32) -> Result<()> {
    let began = Instant::now();
    while status_of(forge, peer).await?.height < height {
        if began.elapsed() > PASSED {
            bail!("the honest nodes made no {AHEAD} blocks in {PASSED:?}");
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

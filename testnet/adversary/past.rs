//! A past for a node whose network began a minute ago: what is far below the tip can only be told on a chain that has
//! many blocks, and more work behind its last thousand than in them.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ledger::rules::header::HeaderContext;
use libp2p::Multiaddr;
use node::p2p::message::Request;
use tokio::{task::block_in_place, time::sleep};

use crate::{answers::Offer, clock::unix_now, follower::status_of, forge::Forge, peer::Peer};

/// Blocks of genesis' difficulty, some two seconds of one core.
const HEAVY: usize = 40;
/// Late blocks, after which the difficulty is down to a few hundred evaluations.
const LATE: usize = 9;
/// Blocks of that difficulty: as many as make an average (protocol §7), and some.
const LIGHT: usize = 740;
/// The longest time in which a node has fetched all of it.
const FETCHED: Duration = Duration::from_secs(40);

/// Makes the past and has the node fetch it.
pub async fn give(forge: Forge, node: &Multiaddr) -> Result<()> {
    let offer = Offer::honest(block_in_place(|| make(forge)));
    let height = offer.branch.len() as u32;
    let peer = Peer::connect(forge.params, node, offer.clone().answers(forge.chain_id)).await?;
    let began = Instant::now();
    while status_of(forge, &peer).await?.height < height {
        if began.elapsed() > FETCHED {
            bail!("the node did not take the chain that it was given");
        }
        peer.ask(Request::Status(offer.claim(forge.chain_id))).await?;
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// A chain from genesis to now, lowest first.
fn make(forge: Forge) -> Vec<HeaderContext> {
    let (pace, late) = (u64::from(forge.params.block_interval), u64::from(forge.params.gap_clip));
    let gaps: Vec<u64> = [(HEAVY, pace), (LATE, late), (LIGHT, pace)]
        .into_iter()
        .flat_map(|(count, gap)| std::iter::repeat_n(gap, count))
        .collect();
    let mut time = unix_now() - gaps.iter().sum::<u64>();
    let mut parent = HeaderContext::genesis(forge.params);
    gaps.into_iter()
        .map(|gap| {
            time += gap;
            parent = forge.plain_header(&parent, time, 0x9a57);
            parent.clone()
        })
        .collect()
}

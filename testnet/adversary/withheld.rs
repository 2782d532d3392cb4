//! Headers ahead of everybody else's, with real work, whose bodies are never shown.
//!
//! They are announced to all nodes and kept ahead for as long as the attack lasts. Asked for the bodies, half of the
//! attacker's peers say that they do not have them and the other half say nothing.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::Result;
use ledger::{
    block::{Header, HeaderBatch},
    hash::BlockHash,
    rules::header::HeaderContext,
};
use libp2p::Multiaddr;
use node::p2p::{
    compact::CompactBlock,
    message::{Refusal, Request, Response},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    answers,
    clock::unix_now,
    follower::{Follower, status_of},
    forge::Forge,
    peer::{Answers, Peer},
};

/// Which nodes, and for how long.
#[derive(clap::Args)]
pub struct Options {
    /// A node to be told; several times for several.
    #[arg(long, required = true)]
    node: Vec<Multiaddr>,
    /// Headers ahead of the nodes' tips.
    #[arg(long, default_value_t = 8)]
    ahead: u32,
    /// How long to stay ahead.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// The headers so far, lowest first: what the peers answer from.
type Branch = Arc<Mutex<Vec<HeaderContext>>>;

/// Runs the attack.
pub async fn run(forge: Forge, options: Options) -> Result<Value> {
    let follower = Follower::start(forge, &options.node[0]).await?;
    let branch = Branch::default();
    let mut peers = Vec::new();
    for (index, node) in options.node.iter().enumerate() {
        for silent in [false, true] {
            let mut peer = Peer::connect(forge.params, node, withholder(forge, branch.clone(), silent)).await?;
            peer.until_heard().await?;
            peers.push((index, peer));
        }
    }
    let mut best = follower.chain().tip().clone();
    let began = Instant::now();
    let (first_ahead, first) = loop {
        best = extend(forge, &best, &branch, &peers).await;
        let tips = heights(forge, &peers).await;
        if tips.iter().all(|tip| *tip + options.ahead <= best.height()) {
            break (began.elapsed(), tips);
        }
    };
    println!("ready");
    let (began, mut last) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(options.seconds) {
        let tips = heights(forge, &peers).await;
        last = tips.iter().copied().min().unwrap_or(0);
        if tips.iter().any(|tip| *tip + options.ahead > best.height()) {
            best = extend(forge, &best, &branch, &peers).await;
        } else {
            sleep(Duration::from_millis(200)).await;
        }
    }
    let hung_up = peers.iter().filter(|(_, peer)| !peer.is_connected()).count();
    Ok(json!({
        "headers": branch.lock().map_or(0, |headers| headers.len()),
        "ahead_after_ms": first_ahead.as_millis() as u64,
        "tips_when_ahead": first,
        "lowest_tip_at_the_end": last,
        "withheld_height": best.height(),
        "peers_dropped_by_the_nodes": hung_up,
    }))
}

/// Mines the next header as early as the rules allow, waits until no clock refuses it, and announces it.
async fn extend(forge: Forge, parent: &HeaderContext, branch: &Branch, peers: &[(usize, Peer)]) -> HeaderContext {
    let next = forge.plain_header(parent, forge.earliest(parent), 0x3717);
    let time = next.header().core.time;
    // A second less than the limit: clocks tell seconds apart, not less.
    while time + 1 > unix_now() + u64::from(forge.params.future_limit) {
        sleep(Duration::from_millis(100)).await;
    }
    if let Ok(mut headers) = branch.lock() {
        headers.push(next.clone());
    }
    let announcement = CompactBlock::without_body(*next.header(), 3);
    for (_, peer) in peers {
        // A node that hung up cannot be told, and says so by its height.
        let _ = peer.announce(&announcement).await;
    }
    next
}

async fn heights(forge: Forge, peers: &[(usize, Peer)]) -> Vec<u32> {
    let mut heights = Vec::new();
    for (index, peer) in peers {
        if *index == heights.len()
            && let Ok(status) = status_of(forge, peer).await
        {
            heights.push(status.height);
        }
    }
    heights
}

fn withholder(forge: Forge, branch: Branch, silent: bool) -> Answers {
    Box::new(move |request| {
        let headers = branch.lock().map(|headers| headers.clone()).unwrap_or_default();
        match request {
            Request::Status(_) => {
                let tip = headers.last().cloned().unwrap_or_else(|| HeaderContext::genesis(forge.params));
                let claim = answers::claim(forge.chain_id, tip.height(), tip.hash(), tip.total_work());
                Some(Response::Status(claim))
            }
            Request::Headers { locator, .. } => Some(Response::Headers(HeaderBatch(after(&headers, locator)))),
            Request::Bodies(_) if silent => None,
            Request::Bodies(hashes) => Some(Response::Bodies(vec![None; hashes.len()])),
            _ => Some(Response::Refused(Refusal::Unsupported)),
        }
    })
}

/// The headers behind the newest one that the asker knows.
fn after(headers: &[HeaderContext], locator: &[BlockHash]) -> Vec<Header> {
    let known = headers.iter().rposition(|context| locator.contains(&context.hash()));
    headers[known.map_or(0, |index| index + 1)..].iter().map(|context| *context.header()).collect()
}

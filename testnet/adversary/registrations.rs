//! Nobody's enemy: someone who registers many names at once, to fill a block on purpose.
//!
//! The commits are told at once. The reveals are told when a line comes on standard input, so that whoever measures can
//! have them all in one block.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ledger::{
    hash::TxId,
    name::Name,
    testing::{name, records_of, txt},
    transaction::Transaction,
};
use libp2p::Multiaddr;
use serde_json::{Value, json};
use tokio::{task::block_in_place, time::sleep};

use crate::{answers, follower::Follower, forge::Forge, peer::Peer};

/// How long the commits may take to ripen.
const RIPE: Duration = Duration::from_secs(60);

/// Which node, and how many.
#[derive(clap::Args)]
pub struct Options {
    /// The node.
    #[arg(long)]
    node: Multiaddr,
    /// Names to register.
    #[arg(long, default_value_t = 84)]
    names: u64,
    /// Tells the names of one run from those of another.
    #[arg(long, default_value_t = 1)]
    round: u64,
}

/// Registers the names.
pub async fn run(forge: Forge, options: Options) -> Result<Value> {
    let mut follower = Follower::start(forge, &options.node).await?;
    let mut peer = Peer::connect(forge.params, &options.node, answers::nothing(forge)).await?;
    peer.until_heard().await?;
    let maker = follower.chain().maker();
    let named = |number: u64| -> (Name, u64) {
        (name(&format!("filler-{}-{number}", options.round)), options.round * 10_000 + number)
    };
    let commit = |number| {
        let (name, owner) = named(number);
        maker.commit(&name, owner)
    };
    let commits: Vec<Transaction> = block_in_place(|| (0..options.names).map(commit).collect());
    for commit in &commits {
        peer.transaction(commit).await?;
    }
    println!("ready");
    until_ripe(&mut follower, commits.iter().map(Transaction::txid).collect(), forge.params.maturity).await?;
    println!("ripe");
    block_in_place(|| std::io::stdin().read_line(&mut String::new())).context("nobody says when")?;
    let text = "x".repeat(230);
    let records = records_of((0..4).map(|digit| txt(&format!("{digit}{text}"))).collect());
    let mut bytes = 0;
    for number in 0..options.names {
        let (name, owner) = named(number);
        let reveal = maker.reveal(&name, owner, records.clone());
        bytes += reveal.byte_len();
        peer.transaction(&reveal).await?;
    }
    // What was said last is on its way when the node has answered what was asked after it.
    follower.status().await?;
    sleep(Duration::from_millis(500)).await;
    Ok(json!({ "names": options.names, "bytes": bytes }))
}

/// Returns when all commits stand so deep that their reveals are valid in the next block.
async fn until_ripe(follower: &mut Follower, mut open: Vec<TxId>, maturity: u32) -> Result<()> {
    let (began, mut seen, mut last) = (Instant::now(), follower.chain().height(), 0);
    while began.elapsed() < RIPE {
        follower.catch_up().await?;
        let chain = follower.chain();
        for block in chain.blocks().skip(seen as usize) {
            let before = open.len();
            open.retain(|txid| block.transactions.iter().all(|tx| tx.txid() != *txid));
            last = if open.len() < before { block.header.core.height } else { last };
        }
        seen = chain.height();
        if open.is_empty() && seen + 1 >= last + maturity {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
    bail!("{} commits did not get into a block and ripen in {RIPE:?}", open.len())
}

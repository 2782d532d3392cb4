//! A copy of a node's chain, fetched from it and checked block by block: attacks are made to measure.

use anyhow::{Context as _, Result, bail, ensure};
use ledger::{
    block::{Block, Header},
    codec::decode,
    hash::BlockHash,
    testing::TestChain,
};
use libp2p::Multiaddr;
use node::p2p::message::{MAX_BODIES, Request, Response, Status};

use crate::{answers, forge::Forge, peer::Peer};

/// Attempts to reach a tip that moves while it is fetched.
const ATTEMPTS: usize = 50;
/// Headers asked for at once.
const HEADERS: u16 = 2_000;

/// An honest observer of one node.
pub struct Follower {
    forge: Forge,
    peer: Peer,
    chain: TestChain,
}

impl Follower {
    /// Connects to a node and copies its chain.
    pub async fn start(forge: Forge, node: &Multiaddr) -> Result<Self> {
        let peer = Peer::connect(forge.params, node, answers::nothing(forge)).await?;
        let mut follower = Self { forge, peer, chain: TestChain::new(forge.params) };
        follower.catch_up().await?;
        Ok(follower)
    }

    /// The chain as of the last [`catch_up`](Self::catch_up).
    pub fn chain(&self) -> &TestChain {
        &self.chain
    }

    /// The node's own word of its tip.
    pub async fn status(&self) -> Result<Status> {
        status_of(self.forge, &self.peer).await
    }

    /// Fetches until the copy ends where the node's chain ends.
    pub async fn catch_up(&mut self) -> Result<()> {
        for _ in 0..ATTEMPTS {
            if self.status().await?.hash == self.chain.tip().hash() {
                return Ok(());
            }
            self.fetch().await?;
        }
        bail!("the node's chain moves faster than it can be copied")
    }

    async fn fetch(&mut self) -> Result<()> {
        let request = Request::Headers { locator: self.locator(), max: HEADERS };
        let Response::Headers(batch) = self.peer.ask(request).await? else { bail!("no headers") };
        let Some(first) = batch.0.first() else { return Ok(()) };
        self.go_back_to(first.core.prev)?;
        for headers in batch.0.chunks(MAX_BODIES) {
            for block in self.bodies(headers).await? {
                self.chain.connect(&block).context("the node gave a block that breaks a rule")?;
            }
        }
        Ok(())
    }

    async fn bodies(&self, headers: &[Header]) -> Result<Vec<Block>> {
        let hashes = headers.iter().map(Header::hash).collect();
        let Response::Bodies(bodies) = self.peer.ask(Request::Bodies(hashes)).await? else { bail!("no bodies") };
        // A body may be missing after a reorganisation, and an answer may be cut for size: the next round goes on.
        bodies.into_iter().map_while(|body| body).map(|body| decode(&body).context("a body")).collect()
    }

    fn go_back_to(&mut self, fork: BlockHash) -> Result<()> {
        while self.chain.tip().hash() != fork {
            ensure!(self.chain.disconnect().is_some(), "the node's headers hang in the air");
        }
        Ok(())
    }

    fn locator(&self) -> Vec<BlockHash> {
        let (mut hashes, mut height, mut step) = (Vec::new(), self.chain.height(), 1);
        while height > 0 {
            hashes.extend(self.chain.context_at(height).map(|context| context.hash()));
            step = if hashes.len() < 10 { 1 } else { step * 2 };
            height = height.saturating_sub(step);
        }
        hashes.extend(self.chain.context_at(0).map(|context| context.hash()));
        hashes
    }
}

/// Asks a node for its status, as a peer that has nothing but genesis.
pub async fn status_of(forge: Forge, peer: &Peer) -> Result<Status> {
    match peer.ask(Request::Status(answers::genesis_claim(forge))).await? {
        Response::Status(status) => Ok(status),
        other => bail!("asked for its status, the node said {other:?}"),
    }
}

//! One question over the network: what is this name, now?

use ledger::{
    block::HeaderBatch,
    hash::BlockHash,
    name::Name,
    params::Params,
    rules::header::HeaderContext,
    state::{NameState, Status},
};
use tokio::task::spawn_blocking;

use crate::p2p::{
    Multiaddr, PeerId,
    client::{Client, ClientError},
    message::{ProofAnswer, Request, Response, StartAnswer, Status as PeerStatus},
};

use super::{
    chain::{Chain, ChainProblem},
    proof_file::{Checkpoint, ProofFile},
    state_proof::{StateProblem, state_of},
};

/// Most peers asked: more add nothing but delay.
const MAX_PEERS: usize = 8;
/// A root this far below the tip is still an answer about now (protocol §8.3).
const MAX_DEPTH: u32 = 12;
/// Blocks above the last change from which an answer counts as confirmed.
pub const CONFIRMATIONS: u32 = 6;

/// Where header checking begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// At genesis: nothing is trusted.
    Genesis,
    /// At a block that the caller trusts, from a release or from an earlier run. Older ones are not looked at.
    Checkpoint(Checkpoint),
}

/// A checked answer.
#[derive(Clone, Debug)]
pub struct LightAnswer {
    /// The name's entry, or `None` if it has none: proven either way.
    pub state: Option<NameState>,
    /// The entry's status in the next block.
    pub status: Option<Status>,
    /// Height of the block whose state is proven.
    pub height: u32,
    /// Hash of that block.
    pub hash: BlockHash,
    /// Height of the heaviest chain that the peers showed.
    pub tip_height: u32,
    /// The time in the header there, in Unix seconds: how new the answer can be at all.
    pub tip_time: u64,
    /// Its work.
    pub total_work: u128,
    /// Blocks since the answer became what it is, the one that made it so included; at most those since the entry's last
    /// change, and for an absent name those since the proven block.
    pub confirmations: u32,
    /// Peers whose own tip is on the chain that the answer was checked against. Peers that were reached but are on another
    /// chain, show none, or show one that breaks a rule do not count.
    pub peers: usize,
    /// The proof, to keep.
    pub proof: ProofFile,
}

impl LightAnswer {
    /// Whether a short reorganisation could still change the answer.
    pub fn is_unconfirmed(&self) -> bool {
        self.confirmations < CONFIRMATIONS
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LightError {
    /// No peer could be reached.
    #[error("none of the {tried} peers could be reached; the last said: {last}")]
    NoPeers {
        /// Peers tried.
        tried: usize,
        /// What the last attempt came to.
        last: String,
    },
    /// No peer that was reached has the checkpoint on its chain.
    #[error("none of the peers has block {height} with that hash on its chain")]
    NoCheckpoint {
        /// Its height.
        height: u32,
    },
    /// The network cannot be used.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Peers were reached, but none gave a proof that holds.
    #[error("no peer gave an answer that can be checked; the last problem: {last}")]
    NoProof {
        /// What was wrong with the last.
        last: String,
    },
}

/// What was wrong with one peer's proof.
#[derive(Debug, thiserror::Error)]
enum BadProof {
    #[error("the peer has no proof")]
    None,
    #[error("the proof is for a block that is not on the best chain, or too old")]
    OffChain,
    #[error("{0}")]
    State(#[from] StateProblem),
    #[error("{0}")]
    Chain(#[from] ChainProblem),
    #[error("{0}")]
    Client(#[from] ClientError),
}

/// Looks a name up: headers from all peers, the heaviest chain, a proof under its state root. `now` is the wall clock in
/// Unix seconds.
pub async fn lookup(
    params: &'static Params,
    peers: &[Multiaddr],
    name: &Name,
    start: Start,
    now: u64,
) -> Result<LightAnswer, LightError> {
    let genesis = HeaderContext::genesis(params);
    let chain = Chain::new(params, genesis.clone());
    let mut session = Session { params, client: Client::new(params)?, start: genesis, chain, reached: Vec::new(), now };
    session.connect(peers).await?;
    if let Start::Checkpoint(checkpoint) = start {
        session.start_at(checkpoint).await?;
    }
    session.collect_headers().await;
    session.prove(name).await
}

struct Session {
    params: &'static Params,
    client: Client,
    start: HeaderContext,
    /// The heaviest chain that any peer showed.
    chain: Chain,
    /// Peers, the one that claims the most work first.
    reached: Vec<Reached>,
    now: u64,
}

/// A peer that answered.
struct Reached {
    id: PeerId,
    /// Work of its chain, as it says.
    work: u128,
    /// Tip of its chain, as it says.
    tip: BlockHash,
    /// Whether the headers that it gave, if any, keep the rules.
    is_sound: bool,
}

impl Session {
    async fn connect(&mut self, peers: &[Multiaddr]) -> Result<(), LightError> {
        let mut last = "no peer was given".to_owned();
        for address in peers.iter().take(MAX_PEERS) {
            match self.meet(address).await {
                Ok(peer) if self.reached.iter().all(|known| known.id != peer.id) => self.reached.push(peer),
                // The same peer by another address.
                Ok(_) => {}
                Err(error) => last = error.to_string(),
            }
        }
        self.reached.sort_by_key(|peer| std::cmp::Reverse((peer.work, peer.id)));
        if self.reached.is_empty() { Err(LightError::NoPeers { tried: peers.len(), last }) } else { Ok(()) }
    }

    async fn meet(&mut self, address: &Multiaddr) -> Result<Reached, ClientError> {
        let id = self.client.connect(address).await?;
        let tip = self.chain.tip();
        let own = PeerStatus {
            chain_id: self.params.chain_id(),
            height: tip.height(),
            hash: tip.hash(),
            work: tip.total_work(),
            time: self.now,
            // It keeps none.
            lowest_body: u32::MAX,
        };
        match self.client.ask(&id, Request::Status(own)).await? {
            Response::Status(status) if status.chain_id == own.chain_id => {
                Ok(Reached { id, work: status.work, tip: status.hash, is_sound: false })
            }
            _ => Err(ClientError::Answer("the peer belongs to another network".to_owned())),
        }
    }

    /// Begins at a checkpoint. Its hash is trusted, and leads to all that is needed: the header, and by its
    /// `history_root` the peaks and the work before it; so any peer may hand these over.
    async fn start_at(&mut self, checkpoint: Checkpoint) -> Result<(), LightError> {
        for peer in &self.reached {
            let asked = self.client.ask(&peer.id, Request::Start(checkpoint.hash)).await;
            let Ok(Response::Start(Some(answer))) = asked else { continue };
            if let Some(start) = context_of(checkpoint, &answer) {
                self.chain = Chain::new(self.params, start.clone());
                self.start = start;
                return Ok(());
            }
        }
        Err(LightError::NoCheckpoint { height: checkpoint.height })
    }

    /// Takes every peer's headers and keeps the heaviest chain. Each peer is followed on a chain of its own, so that one
    /// that claims much and shows rubbish cannot keep the others' headers out.
    async fn collect_headers(&mut self) {
        for index in 0..self.reached.len() {
            self.hear(index).await;
        }
    }

    /// Follows one peer: from the best chain so far, which most peers share, or else from the start.
    async fn hear(&mut self, index: usize) {
        let peer = &self.reached[index].id.clone();
        let mut shown = self.follow(peer, self.chain.clone()).await;
        if shown.is_err() {
            shown = self.follow(peer, Chain::new(self.params, self.start.clone())).await;
        }
        self.reached[index].is_sound = shown.is_ok();
        if let Ok(chain) = shown
            && chain.tip().total_work() > self.chain.tip().total_work()
        {
            self.chain = chain;
        }
    }

    /// Batch after batch until the peer has no more. Each full batch must lead higher, so this ends.
    async fn follow(&mut self, peer: &PeerId, mut chain: Chain) -> Result<Chain, BadProof> {
        let max = HeaderBatch::MAX_HEADERS;
        loop {
            let request = Request::Headers { locator: chain.locator(), max: max as u16 };
            let Response::Headers(HeaderBatch(headers)) = self.client.ask(peer, request).await? else {
                return Ok(chain);
            };
            let (now, full, before) = (self.now, headers.len() == max, chain.tip().height());
            let checked = spawn_blocking(move || chain.extend(&headers, now).map(|_| chain)).await;
            chain = checked.expect("checking headers does not panic")?;
            if !full || chain.tip().height() <= before {
                return Ok(chain);
            }
        }
    }

    async fn prove(&mut self, name: &Name) -> Result<LightAnswer, LightError> {
        let mut last = BadProof::None;
        for index in 0..self.reached.len() {
            match self.proof_from(index, name).await {
                Ok(answer) => return Ok(answer),
                Err(problem) => last = problem,
            }
        }
        Err(LightError::NoProof { last: last.to_string() })
    }

    async fn proof_from(&mut self, index: usize, name: &Name) -> Result<LightAnswer, BadProof> {
        let peer = &self.reached[index].id.clone();
        let request = Request::Proof { key: name.key(), at: None };
        let Response::Proof(Some(answer)) = self.client.ask(peer, request).await? else {
            return Err(BadProof::None);
        };
        let hash = answer.headers.0[0].hash();
        if self.chain.find(&hash).is_none() {
            // A block was found since the headers were fetched.
            self.hear(index).await;
        }
        self.check(name, hash, answer)
    }

    /// Peers whose tip is on the chain. One that is still at the start has shown nothing of a longer chain.
    fn supporters(&self) -> usize {
        let has_shown = |peer: &Reached| peer.tip != self.start.hash() || self.chain.tip().hash() == self.start.hash();
        let agrees = |peer: &&Reached| peer.is_sound && has_shown(peer) && self.chain.find(&peer.tip).is_some();
        self.reached.iter().filter(agrees).count()
    }

    fn check(&self, name: &Name, hash: BlockHash, answer: ProofAnswer) -> Result<LightAnswer, BadProof> {
        let tip = self.chain.tip();
        let proven = self.chain.find(&hash).filter(|proven| proven.height() + MAX_DEPTH >= tip.height());
        let header = *proven.ok_or(BadProof::OffChain)?.header();
        let state = state_of(name, &header.ext.state_root, &answer.proof)?;
        let height = header.core.height;
        let since = state.as_ref().map_or(height, |state| state.last_update);
        let following = self.chain.after(height);
        Ok(LightAnswer {
            status: state.as_ref().map(|state| state.status(self.params, tip.height() + 1)),
            height,
            hash,
            tip_height: tip.height(),
            tip_time: tip.header().core.time,
            total_work: tip.total_work(),
            confirmations: tip.height().saturating_sub(since) + 1,
            peers: self.supporters(),
            proof: ProofFile::new(self.params, name.clone(), header, following, answer.proof),
            state,
        })
    }
}

/// The checkpoint's header with what its children need, if the answer is what the hash commits to.
fn context_of(checkpoint: Checkpoint, answer: &StartAnswer) -> Option<HeaderContext> {
    let (Checkpoint { height, hash }, StartAnswer { header, peaks }) = (checkpoint, answer);
    let is_right = header.hash() == hash
        && header.core.height == height
        && peaks.count() == height
        && peaks.root() == Ok(header.ext.history_root);
    is_right.then(|| HeaderContext::stored(*header, peaks.work().unwrap_or(0), peaks))
}

#[cfg(test)]
mod tests {
    use ledger::{
        history::Leaf as HistoryLeaf,
        testing::{TestChain, tiny_params},
    };

    use super::*;

    #[test]
    fn a_checkpoint_takes_only_what_its_hash_commits_to() {
        let mut chain = TestChain::new(tiny_params());
        for _ in 0..6 {
            chain.extend(Vec::new()).expect("valid");
        }
        let parent = chain.tip().clone();
        chain.extend(Vec::new()).expect("valid");
        let (header, hash) = (*chain.tip().header(), chain.tip().hash());
        let right = StartAnswer { header, peaks: parent.peaks().clone() };
        let at = |height, hash| Checkpoint { height, hash };
        let context = context_of(at(7, hash), &right).expect("it is right");
        assert_eq!((context.total_work(), context.hash()), (chain.tip().total_work(), hash));
        assert_eq!(context.peaks(), chain.tip().peaks());

        let mut bytes = parent.peaks().to_bytes();
        let last = bytes.len() - 1;
        bytes[last - 15] ^= 1;
        let forged_work = ledger::history::Peaks::from_bytes(&bytes).expect("well formed");
        let mut one_more = parent.peaks().clone();
        let leaf = HistoryLeaf { block_hash: hash, height: 7, time: 0, vtime: 0, bits: 0, work: 1 };
        one_more.append(&leaf).expect("in turn");
        for peaks in [forged_work, one_more, Default::default()] {
            assert!(context_of(at(7, hash), &StartAnswer { header, peaks }).is_none());
        }
        assert!(context_of(at(8, hash), &right).is_none());
        assert!(context_of(at(7, parent.hash()), &right).is_none());
    }
}

//! Work beside the network task: judging, decoding, serving. Every job that owes somebody something is noted in
//! `pending`, so that even a job that panics leaves no gossip without its one verdict and no block without its state.

use std::sync::Arc;

use ledger::{
    block::{Block, Header},
    codec::decode,
    hash::BlockHash,
    transaction::Transaction,
};
use libp2p::{PeerId, gossipsub::MessageAcceptance, request_response::ResponseChannel};
use tokio::task::{self, JoinError, spawn_blocking};

use crate::{
    chain::Arrival,
    p2p::{
        chain_port,
        gossip::Kind,
        message::{Refusal, Request, Response},
        serve,
        stats::{add, count},
    },
    sync::{Failure, Input, Judged, Offence, Question, Relay, Source},
};

use super::{
    job::{Done, Pending, Ticket},
    rebuilding::{decode_compact, judge_compact},
    state::Service,
};

/// Gossip being judged, by kind, so that no flood of transactions keeps a block from being looked at: an announcement that
/// is ignored does not come again. Together some four megabytes.
fn most_judged(kind: Kind) -> usize {
    match kind {
        Kind::Transaction => 256,
        Kind::Block => 32,
    }
}

/// Questions being served: each answer is at most 2 MiB.
const MAX_SERVE_JOBS: usize = 16;

impl Service {
    pub(super) fn spawn_job(&mut self, owes: Pending, job: impl Future<Output = Done> + Send + 'static) {
        let id = self.jobs.spawn(job).id();
        self.pending.insert(id, owes);
    }

    pub(super) fn submit_headers(&mut self, source: Source<PeerId>, headers: Vec<Header>) {
        let chain = self.chain.clone();
        self.spawn_job(Pending::Headers(source), async move {
            let judged = chain_port::judge_headers(&chain, headers.clone()).await;
            Done::Headers { source, headers, judged }
        });
    }

    pub(super) fn submit_block(&mut self, source: Source<PeerId>, block: Arc<Block>) {
        let arrival = if self.sync.verdict().is_synced() { Arrival::Live } else { Arrival::Sync };
        self.judge_block(source, block, arrival);
    }

    pub(super) fn judge_block(&mut self, source: Source<PeerId>, block: Arc<Block>, arrival: Arrival) {
        let chain = self.chain.clone();
        self.spawn_job(Pending::Block(source, block.clone()), async move {
            let judged = chain_port::judge_block(&chain, block.clone(), arrival).await;
            Done::Block { source, block, judged }
        });
    }

    pub(super) fn refresh_view(&mut self, claims: Vec<BlockHash>) {
        let (chain, owes) = (self.chain.clone(), Pending::View(claims.clone()));
        self.spawn_job(owes, async move { Done::View(chain_port::view(&chain, claims).await) });
    }

    /// Decodes bodies on another core; a body that is no block spoils the whole answer.
    pub(super) fn decode_bodies(&mut self, peer: PeerId, batch: u64, bodies: Vec<Option<Vec<u8>>>) {
        let bytes: usize = bodies.iter().flatten().map(Vec::len).sum();
        add(&self.stats.block_bytes_whole_total, bytes as u64);
        self.spawn_job(Pending::Decode { peer, batch }, async move {
            let decoded = spawn_blocking(move || {
                bodies.into_iter().map(|body| body.map(|bytes| decode(&bytes).map(Arc::new)).transpose()).collect()
            });
            let bodies = decoded.await.ok().and_then(|bodies: Result<_, _>| bodies.ok());
            Done::Bodies { peer, batch, bodies }
        });
    }

    /// Offers another node's pooled transactions to ours, one after the other.
    pub(super) fn take_pool(&mut self, peer: PeerId, transactions: Vec<Vec<u8>>) {
        let chain = self.chain.clone();
        self.spawn_job(Pending::Pool, async move {
            let mut offence = None;
            for bytes in transactions {
                let (_, wrong) = match decode_beside::<Transaction>(bytes).await {
                    Ok(tx) => chain_port::judge_transaction(&chain, tx, number_of(&peer)).await,
                    Err(verdict) => verdict,
                };
                offence = offence.or(wrong);
            }
            Done::Pool { peer, offence }
        });
    }

    /// Serves a question, or refuses it when too many are being served.
    pub(super) fn serve(&mut self, peer: PeerId, request: Request, channel: ResponseChannel<Response>) {
        if self.pending.values().filter(|owes| matches!(owes, Pending::Serve)).count() >= MAX_SERVE_JOBS {
            return self.respond(peer, channel, Response::Refused(Refusal::Busy));
        }
        self.serve_now(peer, request, channel);
    }

    /// Serves a question that has had its turn.
    pub(super) fn serve_now(&mut self, peer: PeerId, request: Request, channel: ResponseChannel<Response>) {
        let reader = self.chain.reader();
        self.spawn_job(Pending::Serve, async move {
            let answered = spawn_blocking(move || serve::answer(&reader, request)).await;
            let response = answered.unwrap_or(Response::Refused(Refusal::Busy));
            Done::Served { peer, channel, response }
        });
    }

    pub(super) fn respond(&mut self, peer: PeerId, channel: ResponseChannel<Response>, response: Response) {
        let bytes = serve::size(&response);
        self.limits.charge(&peer, bytes);
        add(&self.stats.answer_bytes_total, bytes as u64);
        let refused = matches!(response, Response::Refused(_));
        count(if refused { &self.stats.requests_refused_total } else { &self.stats.requests_served_total });
        // The peer may have hung up meanwhile; then nobody waits for the answer.
        let _ = self.swarm.behaviour_mut().requests.send_response(channel, response);
    }

    /// Judges a gossip message beside the loop; the verdict follows exactly once.
    pub(super) fn judge_gossip(&mut self, kind: Kind, ticket: Ticket, bytes: Vec<u8>) {
        let is_of_kind = |owes: &&Pending| matches!(owes, Pending::Gossip(other, _) if *other == kind);
        if self.pending.values().filter(is_of_kind).count() >= most_judged(kind) {
            return self.verdict_on(&ticket, Relay::Ignore);
        }
        let (chain, owes) = (self.chain.clone(), Pending::Gossip(kind, ticket.clone()));
        match kind {
            Kind::Transaction => self.spawn_job(owes, async move {
                let (relay, offence) = match decode_beside::<Transaction>(bytes).await {
                    Ok(tx) => chain_port::judge_transaction(&chain, tx, number_of(&ticket.from)).await,
                    Err(verdict) => verdict,
                };
                Done::Gossip { ticket, relay, offence }
            }),
            Kind::Block => {
                add(&self.stats.block_bytes_compact_total, bytes.len() as u64);
                self.spawn_job(owes, async move {
                    match decode_compact(bytes).await {
                        Ok(compact) => {
                            let (judged, is_here) = judge_compact(&chain, compact.header).await;
                            Done::Compact { ticket, compact: Box::new(compact), judged, is_here }
                        }
                        Err((relay, offence)) => Done::Gossip { ticket, relay, offence },
                    }
                });
            }
        }
    }

    pub(super) fn verdict_on(&mut self, ticket: &Ticket, relay: Relay) {
        let (acceptance, counter) = match relay {
            Relay::Accept => (MessageAcceptance::Accept, &self.stats.gossip_accepted_total),
            Relay::Reject => (MessageAcceptance::Reject, &self.stats.gossip_rejected_total),
            Relay::Ignore => (MessageAcceptance::Ignore, &self.stats.gossip_ignored_total),
        };
        count(counter);
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        if !gossip.report_message_validation_result(&ticket.message, &ticket.from, acceptance) {
            count(&self.stats.gossip_late_total);
        }
    }

    pub(super) fn job_finished(&mut self, finished: Result<(task::Id, Done), JoinError>) {
        match finished {
            Ok((id, done)) => {
                self.pending.remove(&id);
                self.done(done);
            }
            Err(error) => {
                // Jobs are cancelled only when the program ends.
                if !error.is_cancelled() {
                    tracing::error!(%error, "a network job died");
                }
                if let Some(owes) = self.pending.remove(&error.id()) {
                    self.job_died(owes);
                }
            }
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Gossip { ticket, relay, offence } => {
                self.verdict_on(&ticket, relay);
                if let Some(offence) = offence {
                    self.offence(ticket.from, offence);
                }
            }
            Done::Compact { ticket, compact, judged, is_here } => {
                self.compact_judged(ticket, *compact, judged, is_here);
            }
            Done::Rebuilt { hash, next } => self.rebuilt(hash, next),
            Done::Completed { peer, hash, completed } => self.completed(peer, hash, completed),
            Done::Headers { source, headers, judged } => self.feed(Input::HeadersJudged { source, headers, judged }),
            Done::Block { source, block, judged } => {
                let Some(judged) = self.without_blame(source, block.hash(), judged) else { return };
                self.no_longer_under_way(&block.hash());
                if judged == Judged::Accepted
                    && let Some(number) = self.bringers.brought(block.hash(), source.peer())
                {
                    self.brought_block(source.peer(), number);
                }
                self.feed(Input::BlockJudged { source, block, judged });
            }
            Done::View(Some(view)) => self.feed(Input::View(view)),
            // The chain has stopped, and the node is about to.
            Done::View(None) | Done::Saved | Done::Pool { offence: None, .. } => {}
            Done::Pool { peer, offence: Some(offence) } => self.offence(peer, offence),
            Done::Served { peer, channel, response } => self.respond(peer, channel, response),
            Done::Bodies { peer, batch, bodies: Some(bodies) } => self.feed(Input::Bodies { peer, batch, bodies }),
            Done::Bodies { peer, batch, bodies: None } => self.spoiled_batch(peer, batch),
        }
    }

    fn spoiled_batch(&mut self, peer: PeerId, batch: u64) {
        let (question, why) = (Question::Bodies(batch), Failure::Malformed);
        self.feed(Input::Failed { peer, question, why });
    }

    /// A job panicked: pay what it owed, so that nothing waits for it.
    fn job_died(&mut self, owes: Pending) {
        match owes {
            Pending::Gossip(_, ticket) => self.verdict_on(&ticket, Relay::Ignore),
            Pending::Block(source, block) => {
                self.feed(Input::BlockJudged { source, block, judged: Judged::Unjudged });
            }
            Pending::Headers(source) => {
                self.feed(Input::HeadersJudged { source, headers: Vec::new(), judged: Judged::Unjudged });
            }
            Pending::Rebuild(hash) => self.leave_to_sync(hash),
            Pending::View(claims) => self.refresh_view(claims),
            Pending::Decode { peer, batch } => self.spoiled_batch(peer, batch),
            // The response channel died with the job; libp2p tells the peer.
            Pending::Serve | Pending::Save | Pending::Pool => {}
        }
    }
}

/// Decodes on another core; the error is the verdict on the message and its sender.
async fn decode_beside<T: ledger::codec::Decode + Send + 'static>(
    bytes: Vec<u8>,
) -> Result<T, (Relay, Option<Offence>)> {
    match spawn_blocking(move || decode(&bytes)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err((Relay::Reject, Some(Offence::Malformed))),
        Err(_) => Err((Relay::Ignore, None)),
    }
}

/// A number that stays the same for a peer, for the mempool's share per peer.
fn number_of(peer: &PeerId) -> u64 {
    let bytes = peer.to_bytes();
    let tail = bytes.last_chunk::<8>().copied().unwrap_or_default();
    u64::from_le_bytes(tail)
}

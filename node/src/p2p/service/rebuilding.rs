//! Announced blocks on their way to being whole: put together from the mempool, completed by asking whoever announced
//! them, or left to the synchronisation, which fetches them like any other (protocol §10).
//!
//! What an announcement can make this node do is bounded: it is looked at further only if its header's work is proven and
//! it is near the tip, once per header, for [`MAX_UNDER_WAY`] headers at a time; and it is passed on once per header,
//! however many spellings of it come.
//!
//! Nobody is blamed for a body that does not come out right: whoever passes a compact block on cannot know what its ids
//! stand for. Only one that says it is whole can be checked before it is passed on, and is.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use ledger::{
    block::{Block, Header},
    codec::{decode, encode},
    hash::{BlockHash, WitnessTxId},
    rules::Fault,
    transaction::Transaction,
};
use libp2p::{PeerId, request_response::ResponseChannel};
use rand::Rng;
use tokio::task::spawn_blocking;

use crate::{
    chain::{Arrival, BlockConnected},
    p2p::{
        chain_port,
        compact::{CompactBlock, Next, Rebuild},
        gossip::Kind,
        message::{Request, Response},
        stats::{add, count},
    },
    sync::{Input, Judged, Offence, Relay, Source, relay_of},
};

use super::{
    announced::{Parked, Rebuilding, Stage, UnderWay},
    job::{Done, Pending, Ticket},
    state::{Asked, Service},
};

/// Blocks under way at a time: each holds at most 256 KiB.
const MAX_UNDER_WAY: usize = 16;
/// A block that nothing became of is forgotten after this.
const FORGOTTEN: Duration = Duration::from_secs(10);
/// How long whoever announced a block may take to complete it before it is fetched from anybody.
const PARTS_WAIT: Duration = Duration::from_secs(3);
/// Questions that wait for a block to arrive here. When it is, all are served at once, with at most 256 KiB each: nobody is
/// refused at the moment for which he was kept waiting.
const MAX_PARKED: usize = 32;
/// Of one peer: for parts of a block, and then for the block.
const MAX_PARKED_PER_PEER: usize = 2;
/// How long they wait: less than the askers' patience.
const PARKED: Duration = Duration::from_millis(1_500);
/// A transaction that came later than this before its block may not have reached everybody.
const FRESH: Duration = Duration::from_secs(2);
/// Fresh transactions remembered: more do not fit into what is sent along anyway.
const MAX_FRESH: usize = 1_024;
/// Connected blocks whose transactions are looked through as well: a rival block has most of them again.
const RECENT: usize = 3;

/// Announcements to this node.
impl Service {
    /// The header of an announced block was judged. Here the message gets its one verdict.
    pub(super) fn compact_judged(&mut self, ticket: Ticket, compact: CompactBlock, judged: Judged, is_here: bool) {
        let (header, peer) = (compact.header, ticket.from);
        match relay_of(judged) {
            Relay::Accept if is_here => self.verdict_on(&ticket, Relay::Ignore),
            Relay::Accept if !self.rebuilding.told.note(header.hash()) => {
                self.verdict_on(&ticket, Relay::Ignore);
                // Whoever spelled the header first may have nothing but the header: all who announce it are asked.
                self.header_shown(peer, header, judged);
            }
            Relay::Accept => {
                self.verdict_on(&ticket, Relay::Accept);
                self.begin_rebuild(peer, compact);
            }
            other => {
                self.verdict_on(&ticket, other);
                self.header_shown(peer, header, judged);
            }
        }
    }

    fn header_shown(&mut self, peer: PeerId, header: Header, judged: Judged) {
        self.feed(Input::HeadersJudged { source: Source::Gossip(peer), headers: vec![header], judged });
    }

    fn begin_rebuild(&mut self, from: PeerId, compact: CompactBlock) {
        let (header, hash, since) = (compact.header, compact.header.hash(), Instant::now());
        if self.rebuilding.under_way.len() >= MAX_UNDER_WAY {
            return self.header_shown(from, header, Judged::Accepted);
        }
        self.rebuilding.under_way.insert(hash, UnderWay { header, from, since, stage: Stage::AtWork });
        self.feed(Input::RebuildBegan { hash });
        let (pool, recent) = (self.chain.mempool(), self.rebuilding.recent.clone());
        self.spawn_job(Pending::Rebuild(hash), async move {
            let look = move || {
                let pooled = pool.all();
                let pooled = pooled.iter().map(|entry| (entry.wtxid(), entry.transaction()));
                let mined = recent.iter().flat_map(|block| &block.transactions).map(|tx| (tx.wtxid(), tx));
                compact.rebuild(pooled.chain(mined)).next()
            };
            let next = spawn_blocking(look).await.unwrap_or(Next::Fetch(header));
            Done::Rebuilt { hash, next }
        });
    }

    pub(super) fn rebuilt(&mut self, hash: BlockHash, next: Next) {
        match next {
            Next::Judge(block) => {
                count(&self.stats.blocks_rebuilt_total);
                self.judge_rebuilt(hash, block);
            }
            Next::Ask(rebuild, indexes) => self.ask_for_parts(hash, rebuild, indexes),
            Next::Fetch(_) => self.leave_to_sync(hash),
        }
    }

    fn ask_for_parts(&mut self, hash: BlockHash, rebuild: Rebuild, indexes: Vec<u16>) {
        let Some(entry) = self.rebuilding.under_way.get_mut(&hash) else { return };
        let (peer, missing, since) = (entry.from, indexes.len(), Instant::now());
        if !self.swarm.is_connected(&peer) {
            return self.leave_to_sync(hash);
        }
        entry.stage = Stage::Asked { rebuild: Box::new(rebuild), missing, since };
        self.ask(peer, Asked::Parts(hash), Request::Parts { block: hash, indexes });
    }

    /// Whoever announced a block was asked for parts of it, and gave some, or says that it does not have the block.
    pub(super) fn parts_came(&mut self, peer: PeerId, hash: BlockHash, parts: Option<Vec<Vec<u8>>>) {
        let parts = parts.unwrap_or_default();
        add(&self.stats.block_bytes_parts_total, parts.iter().map(Vec::len).sum::<usize>() as u64);
        let Some(entry) = self.rebuilding.under_way.get_mut(&hash) else { return };
        let Stage::Asked { rebuild, missing, .. } = std::mem::replace(&mut entry.stage, Stage::AtWork) else {
            // Too late: it is being fetched.
            entry.stage = Stage::Left;
            return;
        };
        if parts.len() != missing {
            if !parts.is_empty() {
                self.offence(peer, Offence::Malformed);
            }
            return self.leave_to_sync(hash);
        }
        self.spawn_job(Pending::Rebuild(hash), async move {
            let put_in = move || {
                let parts = parts.iter().map(|bytes| decode::<Transaction>(bytes)).collect::<Result<Vec<_>, _>>();
                parts.map(|parts| rebuild.fill(parts))
            };
            let completed = spawn_blocking(put_in).await.unwrap_or(Ok(None));
            Done::Completed { peer, hash, completed: completed.map_err(|_| Offence::Malformed) }
        });
    }

    pub(super) fn completed(&mut self, peer: PeerId, hash: BlockHash, completed: Result<Option<Block>, Offence>) {
        match completed {
            Ok(Some(block)) => {
                count(&self.stats.blocks_completed_total);
                self.judge_rebuilt(hash, block);
            }
            Ok(None) => self.leave_to_sync(hash),
            Err(offence) => {
                self.offence(peer, offence);
                self.leave_to_sync(hash);
            }
        }
    }

    fn judge_rebuilt(&mut self, hash: BlockHash, block: Block) {
        let Some(entry) = self.rebuilding.under_way.get_mut(&hash) else { return };
        entry.stage = Stage::AtWork;
        let source = Source::Gossip(entry.from);
        self.judge_block(source, block.into(), Arrival::Announced);
    }

    /// What the synchronisation should hear of a judged block. `None` if a block that was put together here is not the one
    /// that its header commits to: then it is fetched.
    pub(super) fn without_blame(&mut self, source: Source<PeerId>, hash: BlockHash, judged: Judged) -> Option<Judged> {
        let Source::Gossip(_) = source else { return Some(judged) };
        match judged {
            Judged::WrongBody { .. } => {
                self.leave_to_sync(hash);
                None
            }
            Judged::Invalid { code, .. } => Some(Judged::Invalid { fault: Fault::Nobody, code }),
            other => Some(other),
        }
    }

    /// A block cannot be put together here: it is fetched as a whole, from whoever has it.
    pub(super) fn leave_to_sync(&mut self, hash: BlockHash) {
        let Some(entry) = self.rebuilding.under_way.get_mut(&hash) else { return };
        if matches!(entry.stage, Stage::Left) {
            return;
        }
        entry.stage = Stage::Left;
        let (peer, header) = (entry.from, entry.header);
        self.rebuilding.told.came_to_nothing(hash);
        count(&self.stats.blocks_fetched_total);
        self.feed(Input::RebuildFailed { hash });
        self.header_shown(peer, header, Judged::Accepted);
    }

    /// A block was judged, however it came: peers that wait for it get their answer.
    pub(super) fn no_longer_under_way(&mut self, hash: &BlockHash) {
        self.rebuilding.under_way.remove(hash);
        let (waited, others) = self.rebuilding.parked.drain(..).partition(|parked| parked.block == *hash);
        self.rebuilding.parked = others;
        self.serve_parked(waited);
    }

    /// Keeps a question about a block that is under way until it is here. Gives it back if it is none, or if too many wait.
    pub(super) fn park(
        &mut self,
        peer: PeerId,
        request: Request,
        channel: ResponseChannel<Response>,
    ) -> Option<(Request, ResponseChannel<Response>)> {
        let block = match &request {
            Request::Parts { block, .. } => *block,
            Request::Bodies(hashes) if hashes.len() == 1 => hashes[0],
            _ => return Some((request, channel)),
        };
        let Rebuilding { under_way, parked, .. } = &mut self.rebuilding;
        let of_peer = parked.iter().filter(|parked| parked.peer == peer).count();
        if !under_way.contains_key(&block) || of_peer >= MAX_PARKED_PER_PEER || parked.len() >= MAX_PARKED {
            return Some((request, channel));
        }
        parked.push(Parked { block, peer, since: Instant::now(), request, channel });
        None
    }

    fn serve_parked(&mut self, parked: Vec<Parked>) {
        parked.into_iter().for_each(|parked| self.serve_now(parked.peer, parked.request, parked.channel));
    }

    /// Ends what has taken too long.
    pub(super) fn hurry_rebuilds(&mut self) {
        let late =
            |entry: &UnderWay| matches!(&entry.stage, Stage::Asked { since, .. } if since.elapsed() > PARTS_WAIT);
        let late: Vec<_> =
            self.rebuilding.under_way.iter().filter(|(_, entry)| late(entry)).map(|(hash, _)| *hash).collect();
        late.into_iter().for_each(|hash| self.leave_to_sync(hash));
        self.rebuilding.under_way.retain(|_, entry| entry.since.elapsed() < FORGOTTEN);
        let (waited, others) = self.rebuilding.parked.drain(..).partition(|parked| parked.since.elapsed() > PARKED);
        self.rebuilding.parked = others;
        self.serve_parked(waited);
    }
}

/// Announcements by this node.
impl Service {
    /// A transaction has come: for a while not everybody has it.
    pub(super) fn transaction_came(&mut self, wtxid: WitnessTxId) {
        let fresh = &mut self.rebuilding.fresh;
        while fresh.front().is_some_and(|(since, _)| fresh.len() >= MAX_FRESH || since.elapsed() > FRESH) {
            fresh.pop_front();
        }
        fresh.push_back((Instant::now(), wtxid));
    }

    /// A block was connected: it is announced if it is news and nobody has announced it, or not so that it could be put
    /// together.
    pub(super) fn announce(&mut self, connected: &BlockConnected) {
        let hash = connected.block.hash();
        // Blocks fetched while catching up are news to nobody.
        if connected.arrival.is_news() && self.rebuilding.told.note_own(hash) {
            let fresh = self.rebuilding.fresh.iter().filter(|(since, _)| since.elapsed() <= FRESH);
            let fresh: HashSet<_> = fresh.map(|(_, wtxid)| *wtxid).collect();
            let compact = CompactBlock::new(&connected.block, self.rng.random(), |wtxid| fresh.contains(wtxid));
            self.publish(Kind::Block, encode(&compact));
        }
        if self.rebuilding.recent.len() == RECENT {
            self.rebuilding.recent.pop_front();
        }
        self.rebuilding.recent.push_back(connected.block.clone());
        self.no_longer_under_way(&hash);
    }
}

/// Decodes an announced block on another core, and looks whether one that says it is whole can be. The error is the
/// verdict on the message and its sender.
pub async fn decode_compact(bytes: Vec<u8>) -> Result<CompactBlock, (Relay, Option<Offence>)> {
    let look = move || match decode::<CompactBlock>(&bytes) {
        Ok(compact) if compact.may_be_right() => Ok(compact),
        Ok(_) => Err((Relay::Reject, Some(Offence::WrongBody))),
        Err(_) => Err((Relay::Reject, Some(Offence::Malformed))),
    };
    spawn_blocking(look).await.unwrap_or(Err((Relay::Ignore, None)))
}

/// Judges the header of an announced block, and looks whether its body is here already.
pub async fn judge_compact(chain: &crate::chain::ChainHandle, header: Header) -> (Judged, bool) {
    let judged = chain_port::judge_announced_header(chain, header).await;
    if judged != Judged::Known {
        return (judged, false);
    }
    let reader = chain.reader();
    let read = spawn_blocking(move || reader.block_bytes(&header.hash()).ok().flatten().is_some());
    (judged, read.await.unwrap_or(false))
}

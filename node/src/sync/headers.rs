//! Headers: from whoever claims the most work, a batch at a time, until the claim is met or shown to be empty.

use std::sync::Arc;

use ledger::block::{Block, Header, HeaderBatch};
use rand::{Rng, RngCore};

use super::{Judged, Millis, Offence, Output, PeerKey, Source, Submission, Sync};

/// Peers asked for headers at the same time: one may be slow, more would fetch the same bytes again and again.
const PARALLEL: usize = 2;

/// Rest for a peer whose claim came to nothing.
const DISBELIEF_MS: u64 = 10_000;

impl<P: PeerKey> Sync<P> {
    /// Asks those who claim a better chain than the best header known.
    pub(super) fn ask_for_headers(&mut self, now: Millis, rng: &mut dyn RngCore, out: &mut Vec<Output<P>>) {
        if self.view.locator.is_empty() {
            return;
        }
        let mut open = self.peers.iter().filter(|(_, peer)| peer.headers_asked.is_some()).count();
        while open < PARALLEL {
            let Some(peer) = self.best_header_peer(now, rng) else { return };
            self.send_header_question(now, peer, out);
            open += 1;
        }
    }

    fn best_header_peer(&self, now: Millis, rng: &mut dyn RngCore) -> Option<P> {
        let better = self.view.best_header.work;
        let free = |work: u128, asked: bool, rested: bool| work > better && !asked && rested;
        self.peers
            .iter()
            .filter(|(_, peer)| free(peer.claimed_work(), peer.headers_asked.is_some(), peer.is_rested(now)))
            .map(|(key, peer)| (peer.claimed_work(), rng.random::<u32>(), *key))
            .max()
            .map(|(_, _, key)| key)
    }

    fn send_header_question(&mut self, now: Millis, peer: P, out: &mut Vec<Output<P>>) {
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.headers_asked = Some(now);
            out.push(Output::AskHeaders { peer, locator: self.view.locator.clone() });
        }
    }

    /// A peer knows a block whose parent is unknown here: it can tell how it hangs together.
    fn ask_about_unknown_parent(&mut self, now: Millis, peer: P, out: &mut Vec<Output<P>>) {
        let may_ask = |entry: &&mut super::Peer| entry.headers_asked.is_none() && entry.is_rested(now);
        if self.peers.get_mut(&peer).as_ref().is_some_and(may_ask) && !self.view.locator.is_empty() {
            self.send_header_question(now, peer, out);
        }
    }

    pub(super) fn headers(&mut self, now: Millis, peer: P, headers: Vec<Header>, out: &mut Vec<Output<P>>) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        entry.headers_asked = None;
        entry.failures = 0;
        if headers.is_empty() {
            self.disbelieve(now, peer, out);
        } else {
            out.push(Output::SubmitHeaders { source: Source::Answer(peer), headers });
        }
    }

    pub(super) fn headers_failed(&mut self, peer: P) {
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.headers_asked = None;
        }
    }

    /// The peer claimed more work than it can show.
    fn disbelieve(&mut self, now: Millis, peer: P, out: &mut Vec<Output<P>>) {
        let better = self.view.best_header.work;
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        if entry.claimed_work() > better {
            entry.claim = None;
            entry.rest_until = now.after(DISBELIEF_MS);
            self.punish(now, peer, Offence::EmptyClaim, out);
        }
    }

    pub(super) fn headers_judged(
        &mut self,
        now: Millis,
        source: Source<P>,
        headers: Vec<Header>,
        judged: Judged,
        out: &mut Vec<Output<P>>,
    ) {
        let peer = source.peer();
        match judged {
            Judged::Accepted => {
                self.raise_claim(peer, headers.last());
                self.refresh_view(out);
            }
            Judged::Known => {
                // A whole batch that is known: the peer's claim leads nowhere new.
                if matches!(source, Source::Answer(_)) && headers.len() < HeaderBatch::MAX_HEADERS {
                    self.disbelieve(now, peer, out);
                }
                self.refresh_view(out);
            }
            Judged::UnknownParent(_) => match source {
                Source::Gossip(_) => self.ask_about_unknown_parent(now, peer, out),
                Source::Answer(_) => self.disbelieve(now, peer, out),
            },
            Judged::Deferred { until } => {
                self.defer(until, source, Submission::Headers(headers));
                self.refresh_view(out);
            }
            Judged::Invalid { fault, .. } => {
                self.punish(now, peer, Offence::of_headers(fault), out);
                self.drop_claim(now, peer);
                self.refresh_view(out);
            }
            Judged::WrongBody { .. } | Judged::Unjudged => self.drop_claim(now, peer),
        }
    }

    fn drop_claim(&mut self, now: Millis, peer: P) {
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.claim = None;
            entry.rest_until = now.after(DISBELIEF_MS);
        }
    }

    pub(super) fn block_judged(
        &mut self,
        now: Millis,
        source: Source<P>,
        block: Arc<Block>,
        judged: Judged,
        out: &mut Vec<Output<P>>,
    ) {
        let (peer, hash) = (source.peer(), block.hash());
        match judged {
            Judged::Accepted => {
                self.bodies.done(hash);
                self.raise_claim(peer, Some(&block.header));
                self.view_is_old(out);
            }
            Judged::Known => self.bodies.done(hash),
            Judged::UnknownParent(_) => {
                self.bodies.done(hash);
                self.ask_about_unknown_parent(now, peer, out);
            }
            Judged::Deferred { until } => {
                self.bodies.release(hash, None);
                self.defer(until, source, Submission::Block(block));
            }
            Judged::Invalid { fault, .. } => {
                self.bodies.done(hash);
                self.punish(now, peer, Offence::of_block(fault), out);
                self.refresh_view(out);
            }
            Judged::WrongBody { .. } => {
                self.bodies.release(hash, Some(peer));
                self.punish(now, peer, Offence::WrongBody, out);
            }
            Judged::Unjudged => self.bodies.release(hash, None),
        }
    }

    /// A peer that hands over a good header or block has at least that block, whatever it last said.
    fn raise_claim(&mut self, peer: P, header: Option<&Header>) {
        let claim = self.peers.get_mut(&peer).and_then(|entry| entry.claim.as_mut());
        if let (Some(claim), Some(header)) = (claim, header) {
            claim.height = claim.height.max(header.core.height);
        }
    }
}

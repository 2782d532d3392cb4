//! Headers: from whoever claims the most work, a batch at a time, until the claim is met or shown to be empty.
//!
//! A claim is empty if the peer, asked for what it claims, brings nothing new, and the headers known afterwards have
//! less work than was claimed when it was asked. Everything else can befall an honest peer: that another peer was asked
//! the same and was faster, that it claims more by now, that our clock is behind its own.

use std::sync::Arc;

use ledger::block::{Block, Header, HeaderBatch};
use rand::{Rng, RngCore};

use super::{
    Judged, Millis, Offence, Output, Peer, PeerKey, Refresh, Source, Submission, Sync,
    peers::{HeaderQuestion, HeaderTalk, Mark, Worth},
};

/// Peers asked for headers at the same time: one may be slow, more would fetch the same bytes again and again.
const PARALLEL: usize = 2;

/// Rest for a peer whose claim came to nothing.
const DISBELIEF_MS: u64 = 10_000;

/// How long a peer is not asked for headers whose time has not come: clocks tell seconds apart, not less.
const DEFERRED_MS: u64 = 1_000;

/// If the best header gains less than this by a full answer, the answer is from a branch that has not caught up yet.
const CATCH_UP: u32 = HeaderBatch::MAX_HEADERS as u32 / 2;

impl<P: PeerKey> Sync<P> {
    /// Asks those who claim a better chain than the best header known.
    pub(super) fn ask_for_headers(&mut self, now: Millis, rng: &mut dyn RngCore, out: &mut Vec<Output<P>>) {
        if self.view.locator.is_empty() {
            return;
        }
        let mut open = self.peers.iter().filter(|(_, peer)| peer.header_talk.is_open()).count();
        while open < PARALLEL {
            let Some(peer) = self.best_header_peer(now, rng) else { return };
            self.send_header_question(now, peer, out);
            open += 1;
        }
    }

    fn best_header_peer(&self, now: Millis, rng: &mut dyn RngCore) -> Option<P> {
        let better = self.view.best_header.work;
        self.peers
            .iter()
            .filter(|(_, peer)| peer.claimed_work() > better && may_be_asked(peer, now))
            .map(|(key, peer)| (peer.claimed_work(), rng.random::<u32>(), *key))
            .max()
            .map(|(_, _, key)| key)
    }

    fn send_header_question(&mut self, now: Millis, peer: P, out: &mut Vec<Output<P>>) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let after = entry.headers_after;
        let best_height = self.view.best_header.height;
        let question = HeaderQuestion { claimed: entry.claimed_work(), best_height, after };
        entry.header_talk = HeaderTalk::Asked { since: now, question };
        let first = after.map(|mark| mark.hash);
        let locator = first.into_iter().chain(self.view.locator.iter().copied()).collect();
        out.push(Output::AskHeaders { peer, locator });
    }

    /// A peer knows a block whose parent is unknown here: it can tell how it hangs together.
    fn ask_about_unknown_parent(&mut self, now: Millis, peer: P, out: &mut Vec<Output<P>>) {
        let may_ask = self.peers.get(&peer).is_some_and(|entry| may_be_asked(entry, now));
        if may_ask && !self.view.locator.is_empty() {
            self.send_header_question(now, peer, out);
        }
    }

    pub(super) fn headers(&mut self, peer: P, headers: Vec<Header>, out: &mut Vec<Output<P>>) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        entry.failures = 0;
        let (HeaderTalk::Asked { question, .. } | HeaderTalk::Overdue(question)) = entry.header_talk else {
            return; // The answer to a question of an earlier connection.
        };
        entry.header_talk = HeaderTalk::Judging(question);
        if headers.is_empty() {
            self.settle(Source::Answer(peer), Worth::Nothing, out);
        } else {
            out.push(Output::SubmitHeaders { source: Source::Answer(peer), headers });
        }
    }

    /// A question for headers got no answer.
    pub(super) fn headers_failed(&mut self, now: Millis, peer: P) {
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.header_talk = HeaderTalk::Idle(now);
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
                self.settle(source, full(&headers).map_or(Worth::Something, Worth::Full), out);
            }
            // Known from another peer, perhaps; but who goes on asking the same gets nowhere.
            Judged::Known => {
                let leads_on = full(&headers).filter(|end| self.leads_on(source, *end));
                self.settle(source, leads_on.map_or(Worth::Nothing, Worth::Full), out);
            }
            Judged::UnknownParent(_) => match source {
                Source::Gossip(_) | Source::Waited(_) => self.ask_about_unknown_parent(now, peer, out),
                Source::Answer(_) => self.settle(source, Worth::Nothing, out),
            },
            Judged::Deferred { until } => {
                self.end_talk(source, now.after(DEFERRED_MS));
                self.defer(until, Source::Waited(peer), Submission::Headers(headers));
                self.refresh_view(out);
            }
            Judged::Invalid { fault, .. } => {
                self.end_talk(source, now);
                self.punish(now, peer, Offence::of_headers(fault), out);
                self.drop_claim(now, peer);
                self.refresh_view(out);
            }
            Judged::WrongBody { .. } | Judged::Unjudged => {
                self.end_talk(source, now);
                self.drop_claim(now, peer);
            }
        }
    }

    /// Looks at the chain afresh, and leaves it to that view whether the peer can be believed and asked again.
    fn settle(&mut self, source: Source<P>, worth: Worth, out: &mut Vec<Output<P>>) {
        // A view that is being made may be older than the judgement.
        let views = match self.refresh {
            Refresh::Idle => 1,
            Refresh::Asked | Refresh::AskedAndStale => 2,
        };
        if let Some((talk, question)) = self.judging(source) {
            *talk = HeaderTalk::Settling { views, question, worth };
        }
        self.refresh_view(out);
    }

    /// Whether a full answer ends above where it was asked to go on.
    fn leads_on(&mut self, source: Source<P>, end: Mark) -> bool {
        self.judging(source).is_some_and(|(_, question)| question.after.is_none_or(|after| end.height > after.height))
    }

    fn end_talk(&mut self, source: Source<P>, rest_until: Millis) {
        if let Some((talk, _)) = self.judging(source) {
            *talk = HeaderTalk::Idle(rest_until);
        }
    }

    /// The talk that the judgement of something from `source` ends. What was announced, or had to wait, answers nothing.
    fn judging(&mut self, source: Source<P>) -> Option<(&mut HeaderTalk, HeaderQuestion)> {
        let Source::Answer(peer) = source else { return None };
        let talk = &mut self.peers.get_mut(&peer)?.header_talk;
        let HeaderTalk::Judging(question) = *talk else { return None };
        Some((talk, question))
    }

    /// A view has come: whoever waited for it may be asked again, or is shown to have claimed what it does not have.
    pub(super) fn settle_talks(&mut self, now: Millis, out: &mut Vec<Output<P>>) {
        let (best, known_work) = (self.view.best_header, self.view.known_work());
        let (mut empty, mut refused) = (Vec::new(), Vec::new());
        for (peer, entry) in self.peers.iter_mut() {
            let HeaderTalk::Settling { views, question, worth } = entry.header_talk else { continue };
            if views > 1 {
                entry.header_talk = HeaderTalk::Settling { views: views - 1, question, worth };
                continue;
            }
            entry.header_talk = HeaderTalk::Idle(now);
            let is_behind = best.height < question.best_height.saturating_add(CATCH_UP);
            entry.headers_after = match worth {
                Worth::Full(end) if is_behind => Some(end),
                Worth::Full(_) | Worth::Something | Worth::Nothing => None,
            };
            match worth {
                Worth::Nothing if question.claimed > known_work => empty.push(*peer),
                Worth::Nothing if question.claimed > best.work => refused.push(*peer),
                Worth::Nothing | Worth::Something | Worth::Full(_) => {}
            }
        }
        // They follow a fork that is refused here, which is no offence, and have no more than is known of it.
        refused.into_iter().for_each(|peer| self.drop_claim(now, peer));
        for peer in empty {
            self.drop_claim(now, peer);
            self.punish(now, peer, Offence::EmptyClaim, out);
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

fn may_be_asked(peer: &Peer, now: Millis) -> bool {
    peer.is_rested(now) && peer.header_talk.is_free(now)
}

/// Where headers end that are as many as an answer can hold.
fn full(headers: &[Header]) -> Option<Mark> {
    let last = headers.last().filter(|_| headers.len() >= HeaderBatch::MAX_HEADERS)?;
    Some(Mark { height: last.core.height, hash: last.hash() })
}

//! Headers: from those who claim a heavier chain than ours, a batch at a time, until the claim is shown or has come to
//! nothing.
//!
//! A peer is asked while the block that it claims is not known here, whatever other headers are: headers whose bodies
//! nobody gives must not hide a lighter chain that is heavier than the tip. A question is in vain if it is not answered,
//! or if the answer brings nothing that leads on and the claimed block is still unknown afterwards, whatever is claimed by
//! then; [`super::trust`] counts those.
//! None of this is an offence: that another peer was asked the same and was faster, that it claims more by now, or just
//! reorganises, can befall an honest peer.

use std::{cmp::Reverse, sync::Arc};

use ledger::block::{Block, Header, HeaderBatch};
use rand::{Rng, RngCore};

use crate::chain::WORTH_WAITING_SECONDS;

use super::{
    event::{Claim, Direction, Judged, Millis, Output, PeerKey, Sight, Source, Submission},
    offence::Offence,
    peers::{HeaderQuestion, HeaderTalk, Mark, Peer, Worth},
    state::{Refresh, Sync},
};

/// Outbound peers asked for headers at the same time: one may be slow, more would fetch the same bytes again and again.
const PARALLEL_OUTBOUND: usize = 2;
/// The same for inbound peers, who have a place of their own: however many come and claim, they take none from those
/// that this node chose itself.
const PARALLEL_INBOUND: usize = 1;

/// After this, others are asked as well; the answer may still come.
const OVERDUE_MS: u64 = 5_000;

/// Rest for a peer whose claim came to nothing.
const DISBELIEF_MS: u64 = 10_000;

/// How long a peer is not asked for headers whose time has not come: clocks tell seconds apart, not less.
const DEFERRED_MS: u64 = 1_000;

/// Full answers in a row that may tell nothing new, while the best header does not rise, before they count as in vain: so
/// a branch that others have shown up to some height can be followed, and a long chain is not told twice for ever.
const KNOWN_ANSWERS: u32 = 8;

/// If the best header gains less than this by a full answer, the answer is from a branch that has not caught up yet.
const CATCH_UP: u32 = HeaderBatch::MAX_HEADERS as u32 / 2;

impl<P: PeerKey> Sync<P> {
    /// Asks those who claim a heavier chain than ours and have not shown it.
    pub(super) fn ask_for_headers(&mut self, now: Millis, rng: &mut dyn RngCore, out: &mut Vec<Output<P>>) {
        if self.view.locator.is_empty() {
            return;
        }
        for (direction, places) in [(Direction::Outbound, PARALLEL_OUTBOUND), (Direction::Inbound, PARALLEL_INBOUND)] {
            let talks = self.peers.iter().filter(|(_, peer)| peer.direction == direction);
            let mut open = talks.filter(|(_, peer)| peer.header_talk.is_open()).count();
            while open < places {
                let Some(peer) = self.next_header_peer(now, direction, rng) else { break };
                self.send_header_question(now, peer, out);
                open += 1;
            }
        }
    }

    /// Of outbound peers one that was asked in vain least often, and of those the one that claims most. Of inbound peers
    /// any: else whoever claims most, and comes again under another name, would be the only one.
    fn next_header_peer(&self, now: Millis, direction: Direction, rng: &mut dyn RngCore) -> Option<P> {
        let asked = |(key, peer): &(&P, &Peer)| {
            peer.direction == direction && may_be_asked(peer, now) && self.is_unshown(now, key, peer)
        };
        let rank = |key: &P, peer: &Peer| match direction {
            Direction::Outbound => (Reverse(self.trust.strikes(key)), peer.claimed_work()),
            Direction::Inbound => (Reverse(0), 0),
        };
        let ranked = self.peers.iter().filter(asked).map(|(key, peer)| (rank(key, peer), rng.random::<u32>(), *key));
        ranked.max().map(|(_, _, key)| key)
    }

    /// Whether a peer claims a heavier chain than ours, which is to be believed, and whose last block is not known here.
    fn is_unshown(&self, now: Millis, key: &P, peer: &Peer) -> bool {
        let Some(claim) = peer.claim.filter(|claim| claim.work > self.view.tip.work) else { return false };
        self.sight(&claim.hash) == Some(Sight::Unknown) && !self.trust.is_dropped(now, key)
    }

    fn send_header_question(&mut self, now: Millis, peer: P, out: &mut Vec<Output<P>>) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let after = entry.headers_after;
        let is_unknown = |claim: &Claim| self.sights.get(&claim.hash) == Some(&Sight::Unknown);
        let claimed = entry.claim.filter(|claim| claim.work > self.view.tip.work && is_unknown(claim));
        let claimed = claimed.map(|claim| claim.hash);
        let question = HeaderQuestion { claimed, best_height: self.view.header_height, after };
        entry.header_talk = HeaderTalk::Asked { since: now, question };
        let first = after.map(|mark| mark.hash);
        let locator = first.into_iter().chain(self.view.locator.iter().copied()).collect();
        out.push(Output::AskHeaders { peer, locator });
    }

    /// A peer knows a block whose parent is unknown here: it can tell how it hangs together.
    fn ask_about_unknown_parent(&mut self, now: Millis, peer: P, out: &mut Vec<Output<P>>) {
        let may_ask = self.peers.get(&peer).is_some_and(|entry| may_be_asked(entry, now));
        let may_ask = may_ask && !self.trust.is_dropped(now, &peer);
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

    /// A question for headers got no answer. One that was overdue has been counted already.
    pub(super) fn headers_failed(&mut self, now: Millis, peer: P) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let talk = std::mem::replace(&mut entry.header_talk, HeaderTalk::Idle(now));
        if let HeaderTalk::Asked { question: HeaderQuestion { claimed: Some(_), .. }, .. } = talk {
            self.trust.question_in_vain(now, peer);
        }
    }

    /// Gives the places of those who take long to others.
    pub(super) fn drop_header_stallers(&mut self, now: Millis) {
        for (peer, entry) in self.peers.iter_mut() {
            let HeaderTalk::Asked { since, question } = entry.header_talk else { continue };
            if now.since(since) < OVERDUE_MS {
                continue;
            }
            entry.header_talk = HeaderTalk::Overdue(question);
            if question.claimed.is_some() {
                self.trust.question_in_vain(now, *peer);
            }
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
                self.note_shown(peer, headers.last());
                self.settle(source, full(&headers).map_or(Worth::Something, Worth::Full), out);
            }
            // Known from another peer, perhaps; but who goes on asking the same gets nowhere.
            Judged::Known => {
                let leads_on = self.leads_on(source, &headers);
                self.settle(source, leads_on.map_or(Worth::Nothing, Worth::KnownFull), out);
            }
            Judged::UnknownParent(_) => match source {
                Source::Gossip(_) | Source::Waited(_) => self.ask_about_unknown_parent(now, peer, out),
                Source::Answer(_) => self.settle(source, Worth::Nothing, out),
            },
            // No clock is that wrong, and nothing of it was looked at.
            Judged::Deferred { until } if until.saturating_sub(self.unix_now) > WORTH_WAITING_SECONDS => {
                self.settle(source, Worth::Nothing, out);
            }
            Judged::Deferred { until } => {
                self.end_talk(source, now.after(DEFERRED_MS));
                self.deferred.add(self.unix_now, until, Source::Waited(peer), Submission::Headers(headers));
                self.refresh_view(out);
            }
            Judged::Invalid { fault, .. } => {
                if let Some(offence) = Offence::of_headers(fault) {
                    self.punish(now, peer, offence, out);
                }
                self.settle(source, Worth::Nothing, out);
            }
            Judged::OnInvalid | Judged::LowWork | Judged::FarFromTip => self.settle(source, Worth::Nothing, out),
            Judged::Walked => {
                let leads_on = self.leads_on(source, &headers);
                self.settle(source, leads_on.map_or(Worth::Nothing, Worth::Full), out);
            }
            Judged::WalkedEnough => self.settle(source, Worth::Again, out),
            Judged::WrongBody { .. } | Judged::Unjudged => self.end_talk(source, now.after(DISBELIEF_MS)),
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

    /// Where a full answer ends that begins where it was asked to go on.
    fn leads_on(&mut self, source: Source<P>, headers: &[Header]) -> Option<Mark> {
        let (_, question) = self.judging(source)?;
        let parent = headers.first()?.core.prev;
        full(headers).filter(|_| question.after.is_none_or(|after| after.hash == parent))
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

    /// A view has come: whoever waited for it has shown what it claimed, may be asked for more, or was asked in vain.
    pub(super) fn settle_talks(&mut self, now: Millis, out: &mut Vec<Output<P>>) {
        let (best_height, tip_work) = (self.view.header_height, self.view.tip.work);
        for (peer, entry) in self.peers.iter_mut() {
            let HeaderTalk::Settling { views, question, worth } = entry.header_talk else { continue };
            if views > 1 {
                entry.header_talk = HeaderTalk::Settling { views: views - 1, question, worth };
                continue;
            }
            entry.header_talk = HeaderTalk::Idle(now);
            let is_behind = best_height < question.best_height.saturating_add(CATCH_UP);
            entry.headers_after = match worth {
                Worth::Full(end) | Worth::KnownFull(end) if is_behind => Some(end),
                Worth::Full(_) | Worth::KnownFull(_) | Worth::Something | Worth::Again | Worth::Nothing => None,
            };
            let has_risen = best_height > question.best_height;
            entry.known_answers = match worth {
                Worth::KnownFull(_) if !has_risen => entry.known_answers + 1,
                Worth::Full(_) | Worth::KnownFull(_) | Worth::Something | Worth::Again | Worth::Nothing => 0,
            };
            let Some(claimed) = question.claimed else {
                entry.header_talk = HeaderTalk::Idle(now.after(DEFERRED_MS));
                continue;
            };
            let sight = self.sights.get(&claimed).copied();
            if sight.is_some_and(|sight| sight != Sight::Unknown) {
                self.trust.kept_word(peer);
                continue;
            }
            // It may have moved on to another chain since it made the claim: one that is known by now, or is no heavier
            // than ours. That it claims yet another block, which nobody has seen either, is no excuse.
            let is_shown = |claim: &Claim| self.sights.get(&claim.hash).is_some_and(|sight| *sight != Sight::Unknown);
            let still_claims = entry.claim.is_some_and(|claim| claim.work > tip_work && !is_shown(&claim));
            let is_in_vain = match worth {
                Worth::Nothing => true,
                // One cheap header after the other leads nowhere.
                Worth::Something => !has_risen,
                Worth::KnownFull(_) => entry.known_answers >= KNOWN_ANSWERS,
                Worth::Full(_) | Worth::Again => false,
            };
            if is_in_vain && still_claims {
                entry.known_answers = 0;
                entry.header_talk = HeaderTalk::Idle(now.after(DISBELIEF_MS));
                self.trust.question_in_vain(now, *peer);
                out.push(Output::AskStatus { peer: *peer });
            }
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
                let has_more = self.claims_more_than(&hash, &peer);
                self.bodies.arrived(now, &block.header, has_more);
                self.archive.delivered(&peer, block.header.core.height);
                self.note_shown(peer, Some(&block.header));
                self.view_is_old(out);
            }
            Judged::Known => self.bodies.done(hash),
            Judged::UnknownParent(_) => {
                self.bodies.done(hash);
                self.ask_about_unknown_parent(now, peer, out);
            }
            Judged::Deferred { until } => {
                self.bodies.release(hash, None);
                self.deferred.add(self.unix_now, until, source, Submission::Block(block));
            }
            Judged::Invalid { fault, .. } => {
                self.bodies.done(hash);
                if let Some(offence) = Offence::of_block(fault) {
                    self.punish(now, peer, offence, out);
                }
                self.refresh_view(out);
            }
            Judged::OnInvalid | Judged::LowWork | Judged::FarFromTip | Judged::Walked | Judged::WalkedEnough => {
                self.bodies.done(hash);
                self.refresh_view(out);
            }
            Judged::WrongBody { .. } => {
                self.bodies.release(hash, Some(peer));
                self.punish(now, peer, Offence::WrongBody, out);
            }
            // It will be asked for again: not at once, or it comes as fast as the line can for as long as the disk is full.
            Judged::Unjudged => {
                self.bodies.release(hash, None);
                if let Some(entry) = self.peers.get_mut(&peer) {
                    entry.rest_until = entry.rest_until.max(now.after(DISBELIEF_MS));
                }
                self.refresh_view(out);
            }
        }
    }

    /// A peer that hands over a good header or block has at least that block, whatever it last said. One that only
    /// passed a header on will say so when it is asked for the body.
    fn note_shown(&mut self, peer: P, header: Option<&Header>) {
        if let (Some(entry), Some(header)) = (self.peers.get_mut(&peer), header) {
            entry.shown = Some(header.hash());
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

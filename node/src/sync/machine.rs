//! One event in, some things to do out.

use ledger::hash::BlockHash;
use rand::RngCore;

use super::{
    deferred,
    event::{Claim, Direction, Failure, Input, Millis, Output, PeerKey, Question, Sight, Submission, View},
    offence::Offence,
    peers::{MAX_FAILURES, Peer},
    state::{Refresh, Sync},
};

/// A peer whose claim changes gets another chance with the bodies that it did not give, once in so long: changing a claim
/// costs nothing.
const FORGIVE_MS: u64 = 60_000;

impl<P: PeerKey> Sync<P> {
    /// Takes one event and says what to do.
    pub fn handle(&mut self, now: Millis, rng: &mut dyn RngCore, input: Input<P>) -> Vec<Output<P>> {
        self.now = now;
        let mut out = Vec::new();
        match input {
            Input::Connected { peer, direction } => self.connected(now, peer, direction, &mut out),
            Input::Chosen { peer } => self.chosen(now, peer),
            Input::Disconnected { peer } => self.disconnected(now, peer),
            Input::Status { peer, claim, lowest_body, clock_offset_s } => {
                self.status(now, peer, (claim, lowest_body), clock_offset_s, &mut out);
            }
            Input::Headers { peer, headers } => self.headers(peer, headers, &mut out),
            Input::Bodies { peer, batch, bodies } => self.bodies_came(now, peer, batch, bodies, &mut out),
            Input::Failed { peer, question, why } => self.failed(now, peer, question, why, &mut out),
            Input::HeadersJudged { source, headers, judged } => {
                self.headers_judged(now, source, headers, judged, &mut out);
            }
            Input::BlockJudged { source, block, judged } => self.block_judged(now, source, block, judged, &mut out),
            Input::RebuildBegan { hash } => self.bodies.rebuild_began(now, hash),
            Input::RebuildFailed { hash } => self.bodies.rebuild_ended(&hash),
            Input::View(view) => self.view_came(now, view, &mut out),
            Input::ChainMoved => self.view_is_old(&mut out),
            Input::Misbehaved { peer, offence } => self.punish(now, peer, offence, &mut out),
            Input::Tick { unix_now } => self.tick(now, unix_now, &mut out),
        }
        self.ask_for_headers(now, rng, &mut out);
        self.ask_for_bodies(now, rng, &mut out);
        self.was_synced = self.verdict().synced;
        self.has_been_synced |= self.was_synced;
        out
    }

    fn connected(&mut self, now: Millis, peer: P, direction: Direction, out: &mut Vec<Output<P>>) {
        if self.penalties.is_banned(now, &peer) {
            out.push(Output::Disconnect { peer });
            return;
        }
        if self.peers.is_empty() {
            self.refresh_view(out);
        }
        let mut entry = Peer::new(direction);
        entry.status_due = now.after(self.config.status_interval_ms);
        self.peers.insert(peer, entry);
        if direction == Direction::Outbound {
            self.archive.joined(now, peer);
        }
        out.push(Output::AskStatus { peer });
    }

    fn chosen(&mut self, now: Millis, peer: P) {
        if let Some(entry) = self.peers.get_mut(&peer).filter(|entry| entry.direction == Direction::Inbound) {
            entry.direction = Direction::Outbound;
            self.archive.joined(now, peer);
        }
    }

    fn disconnected(&mut self, now: Millis, peer: P) {
        self.headers_failed(now, peer);
        self.peers.remove(&peer);
        self.bodies.forget_peer(&peer);
        self.archive.forget_peer(&peer);
    }

    fn status(
        &mut self,
        now: Millis,
        peer: P,
        (claim, lowest_body): (Claim, u32),
        clock_offset_s: i64,
        out: &mut Vec<Output<P>>,
    ) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let has_moved = entry.claim.replace(claim).is_some_and(|before| before.hash != claim.hash);
        let was_long_ago = entry.forgiven_at.is_none_or(|at| now.since(at) >= FORGIVE_MS);
        if has_moved && was_long_ago {
            // Whoever passed a header on may not have had the block yet, and has it now.
            entry.forgiven_at = Some(now);
            self.bodies.forgive_peer(&peer);
        }
        entry.lowest_body = lowest_body;
        entry.told_at = Some(now);
        entry.clock_offset_s = Some(clock_offset_s);
        if entry.failures > 0 && entry.stalls == 0 {
            // It was out of reach, not unwilling.
            entry.rest_until = now;
        }
        entry.failures = 0;
        entry.status_due = now.after(self.config.status_interval_ms);
        if let Some(alarm) = self.clock.update(&self.peers) {
            out.push(Output::ClockAlarm(alarm));
        }
        if claim.work > self.view.tip.work && self.sight(&claim.hash).is_none() {
            self.refresh_view(out);
        }
    }

    fn failed(&mut self, now: Millis, peer: P, question: Question, why: Failure, out: &mut Vec<Output<P>>) {
        match question {
            Question::Status => {}
            Question::Headers => self.headers_failed(now, peer),
            Question::Bodies(batch) => self.bodies.batch_failed(batch),
        }
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        entry.rest_until = now.after(why.rest_ms());
        match why {
            Failure::Malformed => self.punish(now, peer, Offence::Malformed, out),
            // A light client: it asks and does not answer.
            Failure::Unsupported => (entry.claim, entry.status_due) = (None, Millis(u64::MAX)),
            Failure::Busy => {}
            Failure::Timeout | Failure::Closed => {
                entry.failures += 1;
                if entry.failures >= MAX_FAILURES {
                    out.push(Output::Disconnect { peer });
                }
            }
        }
    }

    fn view_came(&mut self, now: Millis, view: View, out: &mut Vec<Output<P>>) {
        self.bodies.set_wanted(&view.branches);
        self.sights = view.claims.iter().copied().collect();
        self.view = view;
        self.forget_settled();
        self.settle_talks(now, out);
        let stale = self.refresh == Refresh::AskedAndStale;
        self.refresh = Refresh::Idle;
        if stale {
            self.refresh_view(out);
        }
    }

    /// What a peer has shown is of interest only while it is more than we have.
    fn forget_settled(&mut self) {
        let sights = &self.sights;
        for (_, peer) in self.peers.iter_mut() {
            let is_settled = |hash: &BlockHash| sights.get(hash).is_some_and(|s| !matches!(s, Sight::Wanted { .. }));
            if peer.shown.as_ref().is_some_and(is_settled) {
                peer.shown = None;
            }
        }
    }

    fn tick(&mut self, now: Millis, unix_now: u64, out: &mut Vec<Output<P>>) {
        self.unix_now = unix_now;
        self.retry_deferred(unix_now, out);
        if self.view_is_stale {
            self.refresh_view(out);
        }
        if self.sleep.slept(now, unix_now) {
            self.forget_answers();
        }
        for (peer, entry) in self.peers.iter_mut().filter(|(_, entry)| entry.status_due <= now) {
            entry.status_due = now.after(self.config.status_interval_ms);
            out.push(Output::AskStatus { peer: *peer });
        }
        self.drop_stallers(now, out);
        self.drop_header_stallers(now);
        self.retry_withheld(now);
        self.look_for_archive(now, out);
        self.trust.forget_old(now);
        self.penalties.forget_old(now);
    }

    /// What peers said before this machine slept says nothing of now.
    fn forget_answers(&mut self) {
        for (_, entry) in self.peers.iter_mut().filter(|(_, entry)| entry.status_due < Millis(u64::MAX)) {
            (entry.told_at, entry.status_due) = (None, Millis(0));
        }
    }

    fn retry_deferred(&mut self, unix_now: u64, out: &mut Vec<Output<P>>) {
        for deferred::Entry { source, what, .. } in self.deferred.due(unix_now) {
            out.push(match what {
                Submission::Headers(headers) => Output::SubmitHeaders { source, headers },
                Submission::Block(block) => Output::SubmitBlock { source, block },
            });
        }
    }
}

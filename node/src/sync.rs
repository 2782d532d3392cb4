//! What to ask whom next, so that the best chain arrives (protocol §9): headers first, then bodies from several peers.
//!
//! For: choosing peers and questions, noticing stallers and liars, saying whether this node is synced. Not for: bytes,
//! sockets, timers or the chain itself. It is a state machine `(state, now, rng, input) -> outputs` without I/O: the
//! network shell and the simulator feed it events and carry out what it returns.
//!
//! Guarantees: every queue is bounded; the same inputs with the same random numbers give the same outputs; a peer is
//! punished only for what no honest peer could have done, and slowness is never such a thing.
//!
//! Reading order: [`event`] (what goes in and out), `peers`, `trust`, `headers`, `bodies`, `archive`, `penalty`, `verdict`.

pub mod event;
pub mod penalty;

mod archive;
mod bodies;
mod deferred;
mod headers;
mod judged;
mod peers;
mod trust;
mod verdict;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use ledger::{hash::BlockHash, params::Params};
use rand::RngCore;

pub use event::{
    Claim, Direction, Failure, Input, Judged, Millis, Output, PeerKey, Point, Question, Relay, Sight, Source,
    Submission, View, WantedBranch, relay_of,
};
pub use penalty::{Offence, Penalties};
pub use verdict::Verdict;

pub use bodies::WINDOW;

use archive::Archive;
use bodies::Bodies;
use deferred::Deferred;
use peers::{Peer, Peers};
use trust::Trust;
use verdict::{ClockWatch, SleepWatch};

/// Times of one network.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How often a peer is asked for its status: the way a missed announcement is noticed.
    pub status_interval_ms: u64,
    /// Whether this node may call itself synced without ever having met a peer.
    pub company: Company,
}

/// Whether other nodes are needed to know that one is up to date.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Company {
    /// Yes: at least one peer has to have told its status.
    Needed,
    /// No: this is the only node, or the first.
    Solo,
}

impl Config {
    /// Fitting times for a network.
    pub fn of(params: &Params, company: Company) -> Self {
        let half = u64::from(params.block_interval) * 500;
        Self { status_interval_ms: half.clamp(1_000, 30_000), company }
    }

    /// For how long a peer's status is its word about now: some intervals, for an answer may be lost, and the way.
    pub fn told_for_ms(&self) -> u64 {
        self.status_interval_ms * TOLD_INTERVALS + TOLD_GRACE_MS
    }
}

/// See [`Config::told_for_ms`].
const TOLD_INTERVALS: u64 = 3;
const TOLD_GRACE_MS: u64 = 10_000;

/// The synchronisation of one node.
#[derive(Debug)]
pub struct Sync<P> {
    config: Config,
    peers: Peers<P>,
    bodies: Bodies<P>,
    archive: Archive<P>,
    trust: Trust<P>,
    penalties: Penalties<P>,
    clock: ClockWatch,
    sleep: SleepWatch,
    view: View,
    /// What claimed blocks came to when they were last looked up.
    sights: BTreeMap<BlockHash, Sight>,
    refresh: Refresh,
    /// The view is older than the chain, and the next tick will ask for another.
    view_is_stale: bool,
    deferred: Deferred<P>,
    was_synced: bool,
    now: Millis,
    /// The wall clock at the last tick, in seconds.
    unix_now: u64,
}

/// Whether the shell owes us a [`View`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refresh {
    Idle,
    Asked,
    /// Something changed since it was asked for: ask again when it comes.
    AskedAndStale,
}

impl<P: PeerKey> Sync<P> {
    /// A node that knows nothing of others yet. The first output of [`handle`](Self::handle) asks for its own chain.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            peers: Peers::default(),
            bodies: Bodies::default(),
            archive: Archive::default(),
            trust: Trust::default(),
            penalties: Penalties::default(),
            clock: ClockWatch::default(),
            sleep: SleepWatch::default(),
            view: View::default(),
            sights: BTreeMap::new(),
            refresh: Refresh::Idle,
            view_is_stale: false,
            deferred: Deferred::default(),
            was_synced: false,
            now: Millis(0),
            unix_now: 0,
        }
    }

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
        out
    }

    /// Peers that are connected.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// What a peer last claimed to have.
    pub fn claim_of(&self, peer: &P) -> Option<Claim> {
        self.peers.get(peer).and_then(|p| p.claim)
    }

    /// Points against a peer now: none, if it is honest.
    pub fn score_of(&self, now: Millis, peer: &P) -> u32 {
        self.penalties.score(now, peer)
    }

    /// Whether a peer is banned now.
    pub fn is_banned(&self, now: Millis, peer: &P) -> bool {
        self.penalties.is_banned(now, peer)
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
        entry.claim = Some(claim);
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
                if entry.failures >= peers::MAX_FAILURES {
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

    /// What a claimed block is to us; `None` if that has not been looked up.
    fn sight(&self, hash: &BlockHash) -> Option<Sight> {
        self.sights.get(hash).copied()
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

    /// The blocks to be looked up: those claimed with more work than ours, those that a question is about, and those
    /// shown.
    fn claims(&self) -> Vec<BlockHash> {
        let tip = self.view.tip.work;
        let claimed = self.peers.iter().filter(|(_, peer)| peer.claimed_work() > tip);
        let claimed = claimed.filter_map(|(_, peer)| Some(peer.claim?.hash));
        let shown = self.peers.iter().filter_map(|(_, peer)| peer.shown);
        let asked = self.peers.iter().filter_map(|(_, peer)| peer.header_talk.claimed());
        claimed.chain(asked).chain(shown).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Asks for a fresh [`View`]; at most one question is open at any time.
    fn refresh_view(&mut self, out: &mut Vec<Output<P>>) {
        self.view_is_stale = false;
        self.refresh = match self.refresh {
            Refresh::Idle => {
                out.push(Output::RefreshView { claims: self.claims() });
                Refresh::Asked
            }
            Refresh::Asked | Refresh::AskedAndStale => Refresh::AskedAndStale,
        };
    }

    /// The chain has moved on. While much is left to ask for, looking again can wait for the next tick.
    fn view_is_old(&mut self, out: &mut Vec<Output<P>>) {
        if self.bodies.free() > bodies::PER_PEER * 16 {
            self.view_is_stale = true;
        } else {
            self.refresh_view(out);
        }
    }

    fn punish(&mut self, now: Millis, peer: P, offence: Offence, out: &mut Vec<Output<P>>) {
        if let Some(ban) = self.penalties.record(now, peer, offence) {
            out.push(Output::Ban { peer, for_ms: ban.for_ms, offence });
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

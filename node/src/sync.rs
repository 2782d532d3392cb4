//! What to ask whom next, so that the best chain arrives (protocol §9): headers first, then bodies from several peers.
//!
//! For: choosing peers and questions, noticing stallers and liars, saying whether this node is synced. Not for: bytes,
//! sockets, timers or the chain itself. It is a state machine `(state, now, rng, input) -> outputs` without I/O: the
//! network shell and the simulator feed it events and carry out what it returns.
//!
//! Guarantees: every queue is bounded; the same inputs with the same random numbers give the same outputs; a peer is
//! punished only for what no honest peer could have done, and slowness is never such a thing.
//!
//! Reading order: [`event`] (what goes in and out), `peers`, `headers`, `bodies`, `penalty`, `verdict`.

pub mod event;
pub mod penalty;

mod bodies;
mod headers;
mod judged;
mod peers;
mod verdict;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use rand::RngCore;

pub use event::{
    Claim, Direction, Failure, Input, Judged, Millis, Output, PeerKey, Point, Question, Relay, Source, Submission,
    View, relay_of,
};
pub use penalty::{Offence, Penalties};
pub use verdict::Verdict;

pub use bodies::WINDOW;

use bodies::Bodies;
use peers::{Peer, Peers};
use verdict::ClockWatch;

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
    /// Fitting times for a network with this mean time between blocks.
    pub fn for_interval(block_interval_s: u32, company: Company) -> Self {
        let half = u64::from(block_interval_s) * 500;
        Self { status_interval_ms: half.clamp(1_000, 30_000), company }
    }
}

/// Intervals between two questions for which a peer's status is its word about now: one answer may be lost.
pub const WORD_HOLDS_INTERVALS: u64 = 3;
/// Most blocks and headers kept until their time comes: an honest clock is ahead by seconds, so a handful is plenty.
const MAX_DEFERRED: usize = 16;

/// The synchronisation of one node.
#[derive(Debug)]
pub struct Sync<P> {
    config: Config,
    peers: Peers<P>,
    bodies: Bodies<P>,
    penalties: Penalties<P>,
    clock: ClockWatch,
    view: View,
    refresh: Refresh,
    /// The view is older than the chain, and the next tick will ask for another.
    view_is_stale: bool,
    deferred: VecDeque<Deferred<P>>,
    was_synced: bool,
}

/// Whether the shell owes us a [`View`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refresh {
    Idle,
    Asked,
    /// Something changed since it was asked for: ask again when it comes.
    AskedAndStale,
}

/// Something whose time lies ahead of our clock.
#[derive(Debug)]
struct Deferred<P> {
    until_unix: u64,
    source: Source<P>,
    what: Submission,
}

impl<P: PeerKey> Sync<P> {
    /// A node that knows nothing of others yet. The first output of [`handle`](Self::handle) asks for its own chain.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            peers: Peers::default(),
            bodies: Bodies::default(),
            penalties: Penalties::default(),
            clock: ClockWatch::default(),
            view: View::default(),
            refresh: Refresh::Idle,
            view_is_stale: false,
            deferred: VecDeque::new(),
            was_synced: false,
        }
    }

    /// Takes one event and says what to do.
    pub fn handle(&mut self, now: Millis, rng: &mut dyn RngCore, input: Input<P>) -> Vec<Output<P>> {
        let mut out = Vec::new();
        match input {
            Input::Connected { peer, direction } => self.connected(now, peer, direction, &mut out),
            Input::Disconnected { peer } => self.disconnected(peer),
            Input::Status { peer, claim, clock_offset_s } => self.status(now, peer, claim, clock_offset_s, &mut out),
            Input::Headers { peer, headers } => self.headers(peer, headers, &mut out),
            Input::Bodies { peer, batch, bodies } => self.bodies_came(now, peer, batch, bodies, &mut out),
            Input::Failed { peer, question, why } => self.failed(now, peer, question, why, &mut out),
            Input::HeadersJudged { source, headers, judged } => {
                self.headers_judged(now, source, headers, judged, &mut out);
            }
            Input::BlockJudged { source, block, judged } => self.block_judged(now, source, block, judged, &mut out),
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

    /// Whether the chain here is the one the others have.
    pub fn verdict(&self) -> Verdict {
        verdict::judge(self.config, &self.view, &self.peers, &self.clock, self.was_synced)
    }

    /// Peers that have told their status lately, and claim no more work than the best header here has.
    pub fn agreeing(&self, now: Millis) -> impl Iterator<Item = &P> {
        let holds_ms = self.config.status_interval_ms * WORD_HOLDS_INTERVALS;
        let agrees = move |peer: &Peer| {
            let is_lately = peer.told_at.is_some_and(|at| now.since(at) <= holds_ms);
            is_lately && peer.claim.is_some_and(|claim| claim.work <= self.view.best_header.work)
        };
        self.peers.iter().filter(move |(_, peer)| agrees(peer)).map(|(peer, _)| peer)
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
        out.push(Output::AskStatus { peer });
    }

    fn disconnected(&mut self, peer: P) {
        self.peers.remove(&peer);
        self.bodies.forget_peer(&peer);
    }

    fn status(&mut self, now: Millis, peer: P, claim: Claim, clock_offset_s: i64, out: &mut Vec<Output<P>>) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        entry.claim = Some(claim);
        entry.clock_offset_s = Some(clock_offset_s);
        entry.told_at = Some(now);
        if entry.failures > 0 && entry.stalls == 0 {
            // It was out of reach, not unwilling.
            entry.rest_until = now;
        }
        entry.failures = 0;
        entry.status_due = now.after(self.config.status_interval_ms);
        if let Some(alarm) = self.clock.update(&self.peers) {
            out.push(Output::ClockAlarm(alarm));
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
        self.bodies.set_wanted(&view.wanted);
        self.view = view;
        self.settle_talks(now, out);
        let stale = self.refresh == Refresh::AskedAndStale;
        self.refresh = Refresh::Idle;
        if stale {
            self.refresh_view(out);
        }
    }

    /// Asks for a fresh [`View`]; at most one question is open at any time.
    fn refresh_view(&mut self, out: &mut Vec<Output<P>>) {
        self.view_is_stale = false;
        self.refresh = match self.refresh {
            Refresh::Idle => {
                out.push(Output::RefreshView);
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

    fn defer(&mut self, until_unix: u64, source: Source<P>, what: Submission) {
        if self.deferred.len() == MAX_DEFERRED {
            self.deferred.pop_front();
        }
        self.deferred.push_back(Deferred { until_unix, source, what });
    }

    fn tick(&mut self, now: Millis, unix_now: u64, out: &mut Vec<Output<P>>) {
        self.retry_deferred(unix_now, out);
        if self.view_is_stale {
            self.refresh_view(out);
        }
        for (peer, entry) in self.peers.iter_mut().filter(|(_, entry)| entry.status_due <= now) {
            entry.status_due = now.after(self.config.status_interval_ms);
            out.push(Output::AskStatus { peer: *peer });
        }
        self.drop_stallers(now, out);
        self.penalties.forget_old(now);
    }

    fn retry_deferred(&mut self, unix_now: u64, out: &mut Vec<Output<P>>) {
        let (due, later): (VecDeque<_>, VecDeque<_>) =
            self.deferred.drain(..).partition(|entry| entry.until_unix <= unix_now);
        self.deferred = later;
        for Deferred { source, what, .. } in due {
            out.push(match what {
                Submission::Headers(headers) => Output::SubmitHeaders { source, headers },
                Submission::Block(block) => Output::SubmitBlock { source, block },
            });
        }
    }
}

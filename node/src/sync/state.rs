//! All that the synchronisation knows.

use std::collections::{BTreeMap, BTreeSet};

use ledger::hash::BlockHash;

use super::{
    archive::Archive,
    bodies::{Bodies, PER_PEER},
    clock::{ClockWatch, SleepWatch},
    config::Config,
    deferred::Deferred,
    event::{Claim, Millis, Output, PeerKey, Sight, View},
    offence::Offence,
    peers::Peers,
    penalty::Penalties,
    trust::Trust,
};

/// The synchronisation of one node.
#[derive(Debug)]
pub struct Sync<P> {
    pub(super) config: Config,
    pub(super) peers: Peers<P>,
    pub(super) bodies: Bodies<P>,
    pub(super) archive: Archive<P>,
    pub(super) trust: Trust<P>,
    pub(super) penalties: Penalties<P>,
    pub(super) clock: ClockWatch,
    pub(super) sleep: SleepWatch,
    pub(super) view: View,
    /// What claimed blocks came to when they were last looked up.
    pub(super) sights: BTreeMap<BlockHash, Sight>,
    pub(super) refresh: Refresh,
    /// The view is older than the chain, and the next tick will ask for another.
    pub(super) view_is_stale: bool,
    pub(super) deferred: Deferred<P>,
    pub(super) was_synced: bool,
    /// Whether it was ever synced.
    pub(super) has_been_synced: bool,
    pub(super) now: Millis,
    /// The wall clock at the last tick, in seconds.
    pub(super) unix_now: u64,
}

/// Whether the shell owes us a [`View`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refresh {
    Idle,
    Asked,
    /// Something changed since it was asked for: ask again when it comes.
    AskedAndStale,
}

impl<P: PeerKey> Sync<P> {
    /// A node that knows nothing of others yet. The first output of [`Sync::handle`] asks for its own chain.
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
            has_been_synced: false,
            now: Millis(0),
            unix_now: 0,
        }
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

    /// What a claimed block is to us; `None` if that has not been looked up.
    pub(super) fn sight(&self, hash: &BlockHash) -> Option<Sight> {
        self.sights.get(hash).copied()
    }

    /// The blocks to be looked up: those claimed with more work than ours, those that a question is about, and those
    /// shown.
    pub(super) fn claims(&self) -> Vec<BlockHash> {
        let tip = self.view.tip.work;
        let claimed = self.peers.iter().filter(|(_, peer)| peer.claimed_work() > tip);
        let claimed = claimed.filter_map(|(_, peer)| Some(peer.claim?.hash));
        let shown = self.peers.iter().filter_map(|(_, peer)| peer.shown);
        let asked = self.peers.iter().filter_map(|(_, peer)| peer.header_talk.claimed());
        claimed.chain(asked).chain(shown).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Asks for a fresh [`View`]; at most one question is open at any time.
    pub(super) fn refresh_view(&mut self, out: &mut Vec<Output<P>>) {
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
    pub(super) fn view_is_old(&mut self, out: &mut Vec<Output<P>>) {
        if self.bodies.free() > PER_PEER * 16 {
            self.view_is_stale = true;
        } else {
            self.refresh_view(out);
        }
    }

    pub(super) fn punish(&mut self, now: Millis, peer: P, offence: Offence, out: &mut Vec<Output<P>>) {
        if let Some(ban) = self.penalties.record(now, peer, offence) {
            out.push(Output::Ban { peer, for_ms: ban.for_ms, offence });
        }
    }
}

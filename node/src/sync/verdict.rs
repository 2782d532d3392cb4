//! Whether the chain here is the one the others have, and whether our clock is right: one definition for everybody who
//! asks (protocol §7, "headers are not blocks"; the states of LIGHT D.6).
//!
//! Claims delay the first `synced` only, and only those of peers that this node chose itself. Once synced, no claim and no
//! header ends it: only the tip's age, or a heavier branch whose bodies come.

use super::{Company, Direction, Millis, Peer, PeerKey, Peers, Sight, Sync};

/// Blocks that a synced node may be behind before it stops calling itself synced: news travel, and a node that answers
/// questions must not waver with every block.
const SLACK: u32 = 6;
/// A status is no answer any more after so many intervals between statuses, and this much for the way.
const TOLD_INTERVALS: u64 = 3;
const TOLD_GRACE_MS: u64 = 10_000;
/// Outbound peers that must agree that an old tip is the newest there is (LIGHT D.6).
const QUORUM: usize = 2;
/// Outbound peers that must agree before the clock is doubted (protocol §3.4).
const CLOCK_QUORUM: usize = 5;
/// Median offset that raises the alarm.
const CLOCK_LIMIT_S: u64 = 60;

/// What [`Sync::verdict`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// Whether the tip is, as far as anybody showed, the end of the best chain, and as fresh as it can be.
    pub synced: bool,
    /// How the tip is to be taken.
    pub state: State,
    /// Why it is not synced; `None` if it is.
    pub reason: Option<Reason>,
    /// Height that this node is trying to reach.
    pub target_height: u32,
    /// Height of the best header.
    pub header_height: u32,
    /// Time of the tip, in Unix seconds.
    pub tip_time: u64,
    /// Peers that told their status.
    pub peers: usize,
    /// The lowest body that is needed and that no connected peer keeps: one with the whole history is looked for.
    pub missing_body: Option<u32>,
    /// Median offset of the outbound peers' clocks, in seconds, when enough of them told theirs.
    pub clock_offset_s: Option<i64>,
    /// Whether that offset is too large to mine.
    pub clock_alarm: bool,
}

/// How the tip is to be taken (LIGHT D.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum State {
    /// Not synced since the start.
    #[default]
    Syncing,
    /// The tip is as new as the network's rhythm lets expect.
    Fresh,
    /// It is older, and peers agree that there is no newer one.
    Quiet,
    /// It is older, and nobody says anything of a newer one.
    Offline,
    /// A heavier chain is here that fork choice refuses, or the clock is off.
    Suspect,
}

/// Why a node is not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// No peer has told its status yet.
    NoPeers,
    /// A heavier branch is coming in, or an outbound peer claims one and has not been asked for it often enough.
    Behind,
    /// The tip is older than the network is silent for, and too few peers say that there is no newer one.
    TipOld,
    /// Bodies are needed that no connected peer keeps.
    BodiesMissing,
}

impl State {
    /// For logs, metrics and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syncing => "syncing",
            Self::Fresh => "fresh",
            Self::Quiet => "quiet",
            Self::Offline => "offline",
            Self::Suspect => "suspect",
        }
    }
}

impl Reason {
    /// For logs, metrics and the API.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoPeers => "no_peers",
            Self::Behind => "behind",
            Self::TipOld => "tip_old",
            Self::BodiesMissing => "bodies_missing",
        }
    }
}

impl Verdict {
    /// Whether the tip is, as far as anybody showed, the end of the best chain.
    pub fn is_synced(&self) -> bool {
        self.synced
    }
}

impl<P: PeerKey> Sync<P> {
    /// Whether the chain here is the one the others have.
    pub fn verdict(&self) -> Verdict {
        let tip = self.view.tip;
        let coming = self.bodies.coming(self.now).filter(|end| *end > tip.height).max().unwrap_or(tip.height);
        let ahead = self.heights_ahead().max().unwrap_or(tip.height);
        let goal = if self.was_synced { coming } else { coming.max(ahead) };
        let is_fresh = self.unix_now.saturating_sub(self.view.tip_time) <= self.config.silence_s;
        let is_agreed = self.has_quorum();
        let peers = self.peers.iter().filter(|(_, peer)| peer.claim.is_some()).count();
        let reason = self.reason(peers, goal, is_fresh || is_agreed);
        let synced = reason.is_none();
        Verdict {
            synced,
            state: self.state(synced, is_fresh, is_agreed),
            reason,
            target_height: goal.max(tip.height),
            header_height: self.view.header_height.max(tip.height),
            tip_time: self.view.tip_time,
            peers,
            missing_body: self.archive.missing(),
            clock_offset_s: self.clock.offset_s,
            clock_alarm: self.clock.alarmed,
        }
    }

    fn reason(&self, peers: usize, goal: u32, is_current: bool) -> Option<Reason> {
        let slack = if self.was_synced { SLACK } else { 1 };
        let is_alone = self.config.company == Company::Needed && peers == 0;
        if self.view.locator.is_empty() || !self.was_synced && is_alone {
            Some(Reason::NoPeers)
        } else if goal.saturating_sub(self.view.tip.height) > slack {
            Some(Reason::Behind)
        } else if is_current {
            None
        } else if self.archive.missing().is_some() {
            Some(Reason::BodiesMissing)
        } else {
            Some(Reason::TipOld)
        }
    }

    fn state(&self, synced: bool, is_fresh: bool, is_agreed: bool) -> State {
        if !self.was_ever_synced && !synced {
            State::Syncing
        } else if self.view.is_refusing || self.clock.alarmed {
            State::Suspect
        } else if is_fresh {
            State::Fresh
        } else if is_agreed {
            State::Quiet
        } else {
            State::Offline
        }
    }

    /// Heights that outbound peers claim beyond the tip, and have not been shown to claim in vain.
    fn heights_ahead(&self) -> impl Iterator<Item = u32> {
        let next = self.view.tip.height.saturating_add(1);
        let chosen = self.peers.iter().filter(|(_, peer)| peer.direction == Direction::Outbound);
        chosen.filter_map(move |(key, peer)| {
            let claim = peer.claim.filter(|claim| claim.work > self.view.tip.work)?;
            match self.sight(&claim.hash) {
                // Not looked up yet, or not shown yet.
                None | Some(Sight::Unknown) => (!self.trust.is_dropped(self.now, key)).then_some(claim.height),
                Some(Sight::Wanted { branch, height }) => (!self.is_withheld(branch)).then_some(height),
                Some(Sight::Settled | Sight::Invalid) => None,
            }
            // Of a heavier chain that is not higher it is not known how far it is; it is not just one block of news.
            .map(|height| if height == next { height } else { height.max(next + 1) })
        })
    }

    /// Whether enough peers say, and said lately, that there is no heavier chain than ours: two that this node chose
    /// itself, in different netgroups therefore. In a network that is too small for that, any peer.
    fn has_quorum(&self) -> bool {
        if self.config.company == Company::Solo {
            return true;
        }
        let is_chosen = |peer: &Peer| peer.direction == Direction::Outbound;
        let chosen = self.peers.iter().filter(|(_, peer)| is_chosen(peer) && peer.claim.is_some()).count();
        let agreeing = self.peers.iter().filter(|(_, peer)| self.agrees(peer));
        if chosen < QUORUM {
            return agreeing.count() > 0;
        }
        agreeing.filter(|(_, peer)| is_chosen(peer)).count() >= QUORUM
    }

    fn agrees(&self, peer: &Peer) -> bool {
        let told_lately = peer.told_at.is_some_and(|at| self.now.since(at) <= self.told_for_ms());
        let Some(claim) = peer.claim.filter(|_| told_lately) else { return false };
        claim.work <= self.view.tip.work || self.sight(&claim.hash) == Some(Sight::Settled)
    }

    fn told_for_ms(&self) -> u64 {
        self.config.status_interval_ms * TOLD_INTERVALS + TOLD_GRACE_MS
    }
}

/// Watches our clock against those of the outbound peers: inbound ones may all be one attacker.
#[derive(Debug, Default)]
pub(super) struct ClockWatch {
    offset_s: Option<i64>,
    alarmed: bool,
}

impl ClockWatch {
    /// Looks again; `Some` when the alarm is raised (with the offset) or ends.
    pub fn update<P: PeerKey>(&mut self, peers: &Peers<P>) -> Option<Option<i64>> {
        let outbound = peers.iter().filter(|(_, peer)| peer.direction == Direction::Outbound);
        let mut offsets: Vec<_> = outbound.filter_map(|(_, peer)| peer.clock_offset_s).collect();
        offsets.sort_unstable();
        self.offset_s = (offsets.len() >= CLOCK_QUORUM).then(|| offsets[offsets.len() / 2]);
        let alarmed = self.offset_s.is_some_and(|offset| offset.unsigned_abs() > CLOCK_LIMIT_S);
        let changed = alarmed != self.alarmed;
        self.alarmed = alarmed;
        changed.then_some(if alarmed { self.offset_s } else { None })
    }
}

/// Notices that the machine slept: the wall clock went on, and the clock for waits did not.
#[derive(Debug, Default)]
pub(super) struct SleepWatch(Option<(Millis, u64)>);

/// A jump of the wall clock that is taken for a sleep.
const SLEPT_S: u64 = 60;

impl SleepWatch {
    /// Whether more time has passed on the wall than in this process, by a minute or more, since the last look.
    pub fn slept(&mut self, now: Millis, unix_now: u64) -> bool {
        let Some((then, unix_then)) = self.0.replace((now, unix_now)) else { return false };
        unix_now.saturating_sub(unix_then) > now.since(then) / 1_000 + SLEPT_S
    }
}

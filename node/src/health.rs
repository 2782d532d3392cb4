//! Whether what this node knows is the truth about the present: the one definition that `synced`, `/readyz`, DNS, the
//! operations, `namectl status` and exit code 6 follow.
//!
//! [`sync`](crate::sync) brings facts: whether the tip is the end of the best chain that was proven, what height is sought,
//! who agrees. Here they become a [`State`], with the names that light nodes use as well:
//!
//! | state | when | synced |
//! |---|---|---|
//! | syncing | the best chain that was proven, or claimed before any was, is not connected yet | no |
//! | fresh | the tip is no older than the network's silence allows, and peers agreed within that time | yes |
//! | quiet | the tip is older, but peers of two networks answer and show no more | yes |
//! | offline | the tip is older, and fewer answer | no |
//! | suspect | a heavier chain was proven that fork choice does not let this node follow (protocol §7) | no |
//!
//! The first node of a network expects no peers (`mining.solo`): its chain is the truth, fresh or quiet.
//!
//! No clock, no I/O: both times come in. The age of a tip needs the wall clock, which is put right by what the peers'
//! clocks say if enough of them do; everything else is measured by the monotonic one. Where the two disagree, the machine
//! has slept or its clock was set: what peers said before that is no word about now.

use std::time::{SystemTime, UNIX_EPOCH};

use ledger::params::Params;

use crate::{
    chain::Tip,
    sync::{Company, Verdict},
};

/// Netgroups whose agreement explains an old tip (one alone may be one operator).
pub const WITNESSES: usize = 2;
/// The clocks may drift apart by so much between two looks, in milliseconds, before that counts as a sleep.
const MAX_DRIFT_MS: u64 = 30_000;

/// How far what is known is the present.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum State {
    /// The chain is not all here yet.
    #[default]
    Syncing,
    /// A young tip that peers share.
    Fresh,
    /// An old tip, but peers know no younger one.
    Quiet,
    /// An old tip, and nobody to say whether there is a younger one.
    Offline,
    /// A heavier chain that is not followed.
    Suspect,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Syncing, Self::Fresh, Self::Quiet, Self::Offline, Self::Suspect];

    /// Whether the tip can be believed to be that of the network.
    pub fn is_synced(self) -> bool {
        match self {
            Self::Fresh | Self::Quiet => true,
            Self::Syncing | Self::Offline | Self::Suspect => false,
        }
    }

    /// As in metrics and log.
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

/// Both clocks at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Milliseconds that the process has seen pass, from any beginning.
    pub monotonic_ms: u64,
    /// Unix time in milliseconds, as the machine believes.
    pub unix_ms: u64,
}

/// What is fixed for a node.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A tip older than this is not explained by luck: where the stall relief of the difficulty begins (protocol §3.3), in
    /// seconds.
    pub silence_s: u64,
    /// How long after a moment of doubt peers may still be remembered for what they said before it, in milliseconds.
    pub doubt_ms: u64,
    /// Whether peers are expected at all.
    pub company: Company,
}

impl Rules {
    /// For a network.
    pub fn of(params: &Params, company: Company) -> Self {
        let status_interval_ms = crate::sync::Config::for_interval(params.block_interval, company).status_interval_ms;
        Self {
            silence_s: params.relief_start.into(),
            doubt_ms: status_interval_ms * crate::sync::WORD_HOLDS_INTERVALS,
            company,
        }
    }
}

/// What is known at one moment, and what it is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// How far it is the present.
    pub state: State,
    /// Height of the tip.
    pub height: u32,
    /// Height that the node works towards.
    pub target_height: u32,
    /// Time in the tip's header, unix seconds.
    pub tip_time: u64,
    /// Peers that told their status.
    pub peers: usize,
    /// Netgroups of peers that answer and know no more.
    pub witnesses: usize,
    /// What has to be added to this machine's clock, in seconds.
    pub clock_offset_s: i64,
}

impl Health {
    /// Whether the tip can be believed to be that of the network.
    pub fn is_synced(&self) -> bool {
        self.state.is_synced()
    }

    /// Seconds since the tip's time.
    pub fn tip_age_s(&self, unix_now: u64) -> u64 {
        self.age_s(self.tip_time, unix_now)
    }

    /// Seconds since `time`, which stands in a header.
    pub fn age_s(&self, time: u64, unix_now: u64) -> u64 {
        unix_now.saturating_add_signed(self.clock_offset_s).saturating_sub(time)
    }

    /// Why the node is not synced, in a sentence; `None` if it is.
    pub fn unsynced_because(&self, unix_now: u64) -> Option<String> {
        let Self { height, target_height, peers, .. } = *self;
        match self.state {
            State::Fresh | State::Quiet => None,
            State::Syncing if peers == 0 => Some("no peer has told its height yet".to_owned()),
            State::Syncing => Some(format!("at height {height} of {}", target_height.max(height))),
            State::Suspect => {
                Some("a heavier chain forks off too deep to be followed by itself: the log names it".to_owned())
            }
            State::Offline => {
                let minutes = self.tip_age_s(unix_now) / 60;
                let who = match self.witnesses {
                    0 => "no peer answers that knows of no newer one",
                    _ => "too few peers answer to say that there is no newer one",
                };
                Some(format!("the newest block is {minutes} minutes old, and {who}"))
            }
        }
    }
}

/// Judges from moment to moment.
#[derive(Debug)]
pub struct Judge {
    rules: Rules,
    last: Option<Moment>,
    /// When peers agreed last, by the monotonic clock.
    agreed_ms: Option<u64>,
    /// Until when peers are not believed, by the monotonic clock: they may have said it before the machine slept.
    doubt_until_ms: u64,
}

impl Judge {
    /// A judge that has seen nothing yet.
    pub fn new(rules: Rules) -> Self {
        Self { rules, last: None, agreed_ms: None, doubt_until_ms: 0 }
    }

    /// What is known now, and what it is worth.
    pub fn judge(&mut self, now: Moment, tip: &Tip, verdict: &Verdict) -> Health {
        self.notice_sleep(now);
        let witnesses = if now.monotonic_ms < self.doubt_until_ms { 0 } else { verdict.witnesses };
        if witnesses > 0 {
            self.agreed_ms = Some(now.monotonic_ms);
        }
        let mut health = Health {
            state: State::Syncing,
            height: tip.height,
            target_height: verdict.target_height.max(tip.height),
            tip_time: tip.time,
            peers: verdict.peers,
            witnesses,
            clock_offset_s: verdict.clock_offset_s.unwrap_or(0),
        };
        if tip.refused_work > tip.total_work {
            health.state = State::Suspect;
        } else if verdict.is_synced() {
            let is_young = health.tip_age_s(now.unix_ms / 1_000) <= self.rules.silence_s;
            health.state = self.state(now, is_young, witnesses);
        }
        health
    }

    fn state(&self, now: Moment, is_young: bool, witnesses: usize) -> State {
        let is_alone = self.rules.company == Company::Solo;
        let agreed = |within_ms| self.agreed_ms.is_some_and(|at| now.monotonic_ms.saturating_sub(at) <= within_ms);
        if is_young && (is_alone || agreed(self.rules.silence_s * 1_000)) {
            State::Fresh
        } else if is_alone || witnesses >= WITNESSES {
            State::Quiet
        } else {
            State::Offline
        }
    }

    /// While the machine sleeps, the monotonic clock stands still.
    fn notice_sleep(&mut self, now: Moment) {
        let Some(last) = self.last.replace(now) else { return };
        let by_wall = now.unix_ms.abs_diff(last.unix_ms);
        let by_process = now.monotonic_ms.saturating_sub(last.monotonic_ms);
        let went_back = now.unix_ms < last.unix_ms;
        if by_wall.abs_diff(by_process) > MAX_DRIFT_MS || (went_back && by_wall > MAX_DRIFT_MS) {
            self.doubt_until_ms = now.monotonic_ms.saturating_add(self.rules.doubt_ms);
        }
    }
}

/// The wall clock, in milliseconds. One that stands before 1970 is as wrong as any.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The wall clock, in seconds.
pub fn unix_s() -> u64 {
    unix_ms() / 1_000
}

#[cfg(test)]
mod tests;

//! From facts to a state, moment by moment.
//!
//! No clock, no I/O: both times come in. The age of a tip needs the wall clock, which is put right by what the peers'
//! clocks say if enough of them do; everything else is measured by the monotonic one. Where the two disagree, the machine
//! has slept or its clock was set: what peers said before that is no word about now.

use ledger::params::Params;

use super::state::{Health, State};
use crate::{
    chain::Tip,
    sync::{Company, Config, Verdict, WITNESSES},
};

/// The clocks may drift apart by so much between two looks, in milliseconds, before that counts as a sleep.
const MAX_DRIFT_MS: u64 = 30_000;

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
        Self { silence_s: params.relief_start.into(), doubt_ms: Config::of(params, company).told_for_ms(), company }
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
            missing_body: verdict.missing_body,
            clock_offset_s: verdict.clock_offset_s.unwrap_or(0),
        };
        if verdict.is_refusing {
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

#[cfg(test)]
mod tests;

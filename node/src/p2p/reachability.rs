//! Whether others can reach this node: yes, no, or not known.
//!
//! Two things show it: peers that dial back when asked (AutoNAT), and peers that come by themselves. Peers of the local
//! network show nothing about the others. Sans-IO, on a clock that never jumps.

use std::collections::BTreeSet;

use crate::sync::Millis;

use super::netgroup::Netgroup;

/// What was seen holds for this time. Well before, others are asked anew.
const PROOF_MS: u64 = 3 * 3_600_000;
/// Until then nobody is asked again who has shown that it works.
const FRESH_MS: u64 = 2 * 3_600_000;
/// Time between two checks while it is not known, or about to be forgotten; and how long one takes at most.
const CHECK_MS: u64 = 240_000;
/// Time between two checks while it is known not to work: somebody may open a port.
const RECHECK_MS: u64 = 1_800_000;
/// Address groups that must have failed to dial back since the last success: one or two may have trouble of their own.
const ENOUGH_FAILURES: usize = 3;

/// Whether others can reach this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reachable {
    /// Nothing shows it yet.
    #[default]
    Unknown,
    /// Somebody did, lately.
    Yes,
    /// Several tried in vain.
    No,
}

impl Reachable {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Yes => "yes",
            Self::No => "no",
        }
    }
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Reachability {
    last_success: Option<Millis>,
    /// Since the last success.
    failed: BTreeSet<Netgroup>,
    last_failure: Option<Millis>,
    /// When others were last asked anew.
    last_check: Option<Millis>,
    /// What became of that check, so far.
    found: Found,
}

/// One of a node's addresses that works is enough: what the same check finds of the others counts no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Found {
    #[default]
    Nothing,
    Works,
    Fails,
}

impl Reachability {
    /// A peer in this group has reached this node, by itself or because it was asked to.
    pub fn reached(&mut self, now: Millis, by: Netgroup) {
        if !by.is_exempt() {
            self.last_success = Some(now);
            self.found = Found::Works;
            self.failed.clear();
        }
    }

    /// A peer in this group was asked to dial back, and could not.
    pub fn not_reached(&mut self, now: Millis, by: Netgroup) {
        if by.is_exempt() || self.found == Found::Works {
            return;
        }
        self.found = Found::Fails;
        self.last_failure = Some(now);
        if self.failed.len() < ENOUGH_FAILURES {
            self.failed.insert(by);
        }
    }

    /// What follows.
    pub fn state(&self, now: Millis) -> Reachable {
        let is_held = |at: Option<Millis>| at.is_some_and(|at| now.since(at) < PROOF_MS);
        if self.failed.len() >= ENOUGH_FAILURES && is_held(self.last_failure) {
            Reachable::No
        } else if is_held(self.last_success) {
            Reachable::Yes
        } else {
            Reachable::Unknown
        }
    }

    /// Whether others are to be asked anew from now on. It counts as begun.
    pub fn begins_check(&mut self, now: Millis) -> bool {
        let pause = match self.state(now) {
            Reachable::Yes if self.last_success.is_some_and(|at| now.since(at) < FRESH_MS) => return false,
            Reachable::Yes | Reachable::Unknown => CHECK_MS,
            Reachable::No => RECHECK_MS,
        };
        // The first peers after the start are asked without a check.
        let is_due = now.since(self.last_check.unwrap_or(Millis(0))) >= pause;
        if is_due {
            self.last_check = Some(now);
            self.found = Found::Nothing;
        }
        is_due
    }

    /// Whether a check is under way that has found nothing yet.
    pub fn is_checking(&self, now: Millis) -> bool {
        self.found == Found::Nothing && self.last_check.is_some_and(|at| now.since(at) < CHECK_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(index: u8) -> Netgroup {
        Netgroup::V4([20, index])
    }

    #[test]
    fn it_takes_one_to_show_that_it_works_and_several_that_it_does_not() {
        let mut seen = Reachability::default();
        assert_eq!(seen.state(Millis(0)), Reachable::Unknown);
        (0..10).for_each(|_| seen.not_reached(Millis(0), group(1)));
        assert_eq!(seen.state(Millis(0)), Reachable::Unknown, "one group is not enough");
        seen.not_reached(Millis(0), group(2));
        seen.not_reached(Millis(0), group(3));
        assert_eq!(seen.state(Millis(0)), Reachable::No);
        seen.reached(Millis(5), group(4));
        assert_eq!(seen.state(Millis(5)), Reachable::Yes);
        assert_eq!(seen.state(Millis(5 + PROOF_MS)), Reachable::Unknown, "a proof grows old");
    }

    #[test]
    fn the_local_network_shows_nothing() {
        let mut seen = Reachability::default();
        seen.reached(Millis(0), Netgroup::Home);
        (0..10).for_each(|_| seen.not_reached(Millis(0), Netgroup::Home));
        assert_eq!(seen.state(Millis(0)), Reachable::Unknown);
    }

    /// Lets days pass in which every check is answered as `answer` says, and returns the states that were seen, each once
    /// in a row, and how many checks there were.
    fn days(
        seen: &mut Reachability,
        hours: std::ops::Range<u64>,
        answer: impl Fn(u64) -> bool,
    ) -> (Vec<Reachable>, usize) {
        let (mut states, mut checks) = (vec![seen.state(Millis(hours.start * 3_600_000))], 0);
        for second in hours.start * 3_600..hours.end * 3_600 {
            let now = Millis(second * 1_000);
            if seen.begins_check(now) {
                checks += 1;
                assert!(seen.is_checking(now));
                let by = group((checks % 7) as u8);
                if answer(second) {
                    seen.reached(now, by)
                } else {
                    seen.not_reached(now, by)
                }
                assert!(!seen.is_checking(now));
            }
            if states.last() != Some(&seen.state(now)) {
                states.push(seen.state(now));
            }
        }
        (states, checks)
    }

    /// What has not changed does not fade; what has is noticed.
    #[test]
    fn checks_renew_what_is_known() {
        let mut seen = Reachability::default();
        let (states, checks) = days(&mut seen, 0..48, |_| true);
        assert_eq!(states, [Reachable::Unknown, Reachable::Yes]);
        assert!((20..=25).contains(&checks), "{checks}");
        let (states, checks) = days(&mut seen, 48..96, |_| false);
        assert_eq!(states, [Reachable::Yes, Reachable::No]);
        assert!((90..=110).contains(&checks), "{checks}");
        let (states, _) = days(&mut seen, 96..144, |_| true);
        assert_eq!(states, [Reachable::No, Reachable::Yes]);
    }

    /// Nobody is there to be asked.
    #[test]
    fn what_cannot_be_checked_is_forgotten() {
        let mut seen = Reachability::default();
        seen.reached(Millis(0), group(1));
        assert!(seen.begins_check(Millis(FRESH_MS)) && !seen.begins_check(Millis(FRESH_MS + 1_000)));
        assert!(seen.begins_check(Millis(FRESH_MS + CHECK_MS)));
        assert_eq!(seen.state(Millis(PROOF_MS)), Reachable::Unknown);
        (1..=3).for_each(|index| seen.not_reached(Millis(PROOF_MS), group(index)));
        assert_eq!(seen.state(Millis(2 * PROOF_MS - 1)), Reachable::No);
        assert_eq!(seen.state(Millis(2 * PROOF_MS)), Reachable::Unknown);
    }

    /// Reached over IPv6, and over IPv4 by nobody: three groups that fail over IPv4 do not make it "no".
    #[test]
    fn one_address_that_works_is_enough() {
        let mut seen = Reachability::default();
        for round in 0..20 {
            let now = Millis(round * FRESH_MS);
            seen.begins_check(now);
            seen.reached(now, group(9));
            (1..=5).for_each(|index| seen.not_reached(now, group(index)));
            assert_eq!(seen.state(now), Reachable::Yes);
        }
    }
}

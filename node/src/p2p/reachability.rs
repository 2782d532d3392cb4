//! Whether others can reach this node: yes, no, or not known.
//!
//! Two things show it: peers that dial back when asked (AutoNAT), and peers that come by themselves. Peers of the local
//! network show nothing about the others. Sans-IO, on a clock that never jumps.

use std::collections::BTreeSet;

use crate::sync::Millis;

use super::netgroup::Netgroup;

/// A proof that others can reach this node holds for this time.
const PROOF_MS: u64 = 3 * 3_600_000;
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
    failed: BTreeSet<Netgroup>,
}

impl Reachability {
    /// A peer in this group has reached this node, by itself or because it was asked to.
    pub fn reached(&mut self, now: Millis, by: Netgroup) {
        if !by.is_exempt() {
            self.last_success = Some(now);
            self.failed.clear();
        }
    }

    /// A peer in this group was asked to dial back, and could not.
    pub fn not_reached(&mut self, by: Netgroup) {
        if !by.is_exempt() && self.failed.len() < ENOUGH_FAILURES {
            self.failed.insert(by);
        }
    }

    /// What follows.
    pub fn state(&self, now: Millis) -> Reachable {
        if self.failed.len() >= ENOUGH_FAILURES {
            Reachable::No
        } else if self.last_success.is_some_and(|at| now.since(at) < PROOF_MS) {
            Reachable::Yes
        } else {
            Reachable::Unknown
        }
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
        (0..10).for_each(|_| seen.not_reached(group(1)));
        assert_eq!(seen.state(Millis(0)), Reachable::Unknown, "one group is not enough");
        seen.not_reached(group(2));
        seen.not_reached(group(3));
        assert_eq!(seen.state(Millis(0)), Reachable::No);
        seen.reached(Millis(5), group(4));
        assert_eq!(seen.state(Millis(5)), Reachable::Yes);
        assert_eq!(seen.state(Millis(5 + PROOF_MS)), Reachable::Unknown, "a proof grows old");
    }

    #[test]
    fn the_local_network_shows_nothing() {
        let mut seen = Reachability::default();
        seen.reached(Millis(0), Netgroup::Home);
        (0..10).for_each(|_| seen.not_reached(Netgroup::Home));
        assert_eq!(seen.state(Millis(0)), Reachable::Unknown);
    }
}

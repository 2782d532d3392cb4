//! How well an upstream does: its usual time to answer, and whether it is taken for dead.

use std::time::Duration;

/// Failures in a row after which an upstream is dead.
const MAX_FAILURES: u32 = 3;
/// Rest before a dead upstream is probed for the first time; each failed probe doubles it.
const MIN_REST: Duration = Duration::from_secs(1);
/// The longest rest between probes.
const MAX_REST: Duration = Duration::from_secs(60);
/// How long to wait for an upstream of which nothing is known before asking another as well.
const UNKNOWN_PATIENCE: Duration = Duration::from_millis(400);
/// Bounds of that time for upstreams that are known.
const MIN_PATIENCE: Duration = Duration::from_millis(30);
const MAX_PATIENCE: Duration = Duration::from_millis(1_000);

/// State of one upstream.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    // Smoothed time and its variation, as TCP does it (RFC 6298 §2).
    usual: Option<(Duration, Duration)>,
    failures: u32,
    rest: Option<Duration>,
}

impl Health {
    /// An answer came after `took`. Returns whether the upstream was dead.
    pub(super) fn answered(&mut self, took: Duration) -> bool {
        self.failures = 0;
        self.usual = Some(match self.usual {
            None => (took, took / 2),
            Some((usual, variation)) => ((usual * 7 + took) / 8, (variation * 3 + usual.abs_diff(took)) / 4),
        });
        self.rest.take().is_some()
    }

    /// No answer came. Returns whether the upstream is now dead and was not before.
    pub(super) fn failed(&mut self) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.failures < MAX_FAILURES || self.rest.is_some() {
            return false;
        }
        self.rest = Some(MIN_REST);
        true
    }

    /// A probe failed: the next one has to wait longer.
    pub(super) fn probe_failed(&mut self) {
        self.rest = self.rest.map(|rest| (rest * 2).min(MAX_REST));
    }

    /// Another upstream was preferred. What is not used is slowly forgotten, so that it is tried again some day.
    pub(super) fn passed_over(&mut self) {
        self.usual = self.usual.map(|(usual, variation)| (usual * 49 / 50, variation));
    }

    /// How long until a dead upstream is to be probed; `None` if it is alive.
    pub(super) fn rest(&self) -> Option<Duration> {
        self.rest
    }

    /// What upstreams are sorted by: the living first, the fastest first, the unknown before all others.
    pub(super) fn rank(&self) -> (bool, Duration) {
        (self.rest.is_some(), self.usual())
    }

    /// The usual time to answer; zero while nothing is known.
    pub(super) fn usual(&self) -> Duration {
        self.usual.map_or(Duration::ZERO, |(usual, _)| usual)
    }

    /// How long to wait before asking another upstream as well.
    pub(super) fn patience(&self) -> Duration {
        match self.usual {
            None => UNKNOWN_PATIENCE,
            Some((usual, variation)) => (usual + variation * 4).clamp(MIN_PATIENCE, MAX_PATIENCE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn the_fastest_living_one_comes_first() {
        let known = |took| {
            let mut health = Health::default();
            health.answered(took);
            health
        };
        let mut dead = known(MS(1));
        assert!((0..3).any(|_| dead.failed()));
        let mut all = [dead, known(MS(50)), known(MS(10)), Health::default()];
        all.sort_by_key(Health::rank);
        assert_eq!(all.map(|health| health.usual()), [MS(0), MS(10), MS(50), MS(1)]);
    }

    #[test]
    fn three_failures_in_a_row_are_death_and_one_answer_is_life() {
        let mut health = Health::default();
        assert!(!health.failed() && !health.failed());
        assert!(!health.answered(MS(10)));
        assert!(!health.failed() && !health.failed() && health.failed());
        // Only once.
        assert!(!health.failed());
        assert_eq!(health.rest(), Some(MS(1_000)));
        health.probe_failed();
        assert_eq!(health.rest(), Some(MS(2_000)));
        (0..20).for_each(|_| health.probe_failed());
        assert_eq!(health.rest(), Some(MS(60_000)));
        assert!(health.answered(MS(10)));
        assert_eq!(health.rest(), None);
    }

    #[test]
    fn times_are_smoothed() {
        let mut health = Health::default();
        assert_eq!(health.patience(), MS(400));
        health.answered(MS(100));
        assert_eq!((health.usual(), health.patience()), (MS(100), MS(300)));
        health.answered(MS(900));
        assert_eq!(health.usual(), MS(200));
        assert!((0..100).all(|_| !health.answered(MS(20))));
        assert!(health.usual() < MS(22) && health.patience() < MS(60), "{health:?}");
        (0..200).for_each(|_| health.passed_over());
        assert!(health.usual() < MS(1));
    }
}

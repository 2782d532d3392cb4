//! Log lines that would otherwise come again and again.

use std::time::{Duration, Instant};

/// Lets the same message through at most once in an interval, and counts how often it was held back.
#[derive(Debug)]
pub struct Rarely {
    interval: Duration,
    last: Option<Instant>,
    held_back: u64,
}

impl Rarely {
    /// The first message passes; the next one when `interval` is over.
    pub const fn every(interval: Duration) -> Self {
        Self { interval, last: None, held_back: 0 }
    }

    /// Whether to say it at `now`: if so, how often it was held back since it was said last.
    pub fn due(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < self.interval) {
            self.held_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_in_an_interval_with_the_count_of_the_others() {
        let start = Instant::now();
        let mut rarely = Rarely::every(Duration::from_secs(60));
        let at = |seconds| start + Duration::from_secs(seconds);
        let said: Vec<_> = [0, 1, 59, 60, 61, 200].map(|seconds| rarely.due(at(seconds))).into();
        assert_eq!(said, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}

//! Counting evaluations.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use parking_lot::Mutex;

/// Counts evaluations and smooths their rate. One per order, and one for all.
#[derive(Default)]
pub(super) struct Meter {
    hashes: AtomicU64,
    /// Bits of an `f64`.
    rate: AtomicU64,
    last: Mutex<Option<(Instant, u64)>>,
}

/// Weight of the newest second in the smoothed rate.
const SMOOTHING: f64 = 0.3;

impl Meter {
    pub(super) fn add(&self, hashes: u64) {
        self.hashes.fetch_add(hashes, Relaxed);
    }

    pub(super) fn hashes(&self) -> u64 {
        self.hashes.load(Relaxed)
    }

    /// Evaluations per second, as of the last [`sample`](Self::sample).
    pub(super) fn rate(&self) -> f64 {
        f64::from_bits(self.rate.load(Relaxed))
    }

    /// Updates the rate; to be called about once a second.
    pub(super) fn sample(&self, now: Instant) {
        let hashes = self.hashes();
        let mut last = self.last.lock();
        if let Some((then, before)) = *last {
            let seconds = now.duration_since(then).as_secs_f64();
            if seconds < 0.2 {
                return;
            }
            let newest = hashes.saturating_sub(before) as f64 / seconds;
            let old = self.rate();
            let smooth = if old == 0.0 { newest } else { old + SMOOTHING * (newest - old) };
            self.rate.store(if smooth < 0.5 { 0.0 } else { smooth }.to_bits(), Relaxed);
        }
        *last = Some((now, hashes));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_rate_follows_the_count() {
        let meter = Meter::default();
        let start = Instant::now();
        meter.sample(start);
        meter.add(1_000);
        meter.sample(start + Duration::from_secs(1));
        assert_eq!(meter.rate(), 1_000.0);
        for second in 2..60 {
            meter.sample(start + Duration::from_secs(second));
        }
        assert_eq!((meter.rate(), meter.hashes()), (0.0, 1_000));
    }
}

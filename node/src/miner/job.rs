//! What the workers search, and how they are told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use ledger::block::HeaderCore;
use parking_lot::{Condvar, Mutex};

use crate::chain::Template;

use super::order::WorkOrder;

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

/// Which workers take part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Crew {
    /// The one of idle priority.
    Gentle,
    /// All others.
    Full,
}

/// One search: a template and what counts as a find.
pub(super) struct Job {
    pub(super) template: Template,
    /// The parent, from which time, clock and target follow.
    pub(super) parent: HeaderCore,
    pub(super) order: Option<(WorkOrder, Arc<Meter>)>,
    pub(super) crew: Crew,
    /// Percent of the time.
    pub(super) duty: u8,
    /// Set when the order's share was found, so that no second one is sent.
    pub(super) share_is_found: AtomicBool,
}

/// Something found.
pub(super) enum Find {
    Share(Arc<Job>, HeaderCore),
    Block(Arc<Job>, HeaderCore),
}

/// The board on which the foreman posts the job.
#[derive(Default)]
pub(super) struct Board {
    /// Changes with every posting; workers compare it between batches without a lock.
    epoch: AtomicU64,
    posted: Mutex<Posted>,
    changed: Condvar,
}

#[derive(Default)]
struct Posted {
    job: Option<Arc<Job>>,
    is_closed: bool,
}

impl Board {
    /// Replaces the job; `None` lets everybody rest.
    pub(super) fn post(&self, job: Option<Arc<Job>>) {
        self.posted.lock().job = job;
        self.wake();
    }

    /// Sends the workers home.
    pub(super) fn close(&self) {
        self.posted.lock().is_closed = true;
        self.wake();
    }

    fn wake(&self) {
        self.epoch.fetch_add(1, Relaxed);
        self.changed.notify_all();
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }

    /// Waits for a job for this crew; `None` when the board is closed.
    pub(super) fn take(&self, crew: Crew) -> Option<(u64, Arc<Job>)> {
        let mut posted = self.posted.lock();
        loop {
            if posted.is_closed {
                return None;
            }
            if let Some(job) = posted.job.as_ref().filter(|job| job.crew == crew) {
                return Some((self.epoch(), job.clone()));
            }
            self.changed.wait(&mut posted);
        }
    }

    /// Sleeps, unless a posting comes first.
    pub(super) fn pause(&self, epoch: u64, duration: Duration) {
        let mut posted = self.posted.lock();
        if self.epoch() == epoch {
            self.changed.wait_for(&mut posted, duration);
        }
    }
}

#[cfg(test)]
mod tests {
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

//! Where caches and health take the time from: milliseconds that only go forward, or whatever a test sets.
//!
//! The time goes on while the machine sleeps: a TTL is time of the world (RFC 1035 §3.2.1), and a laptop that wakes in the
//! morning must not take what it knew in the evening for new.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use nix::time::{ClockId, clock_gettime};

/// The clock that counts sleep. Elsewhere the monotonic one does.
#[cfg(any(target_os = "linux", target_os = "android"))]
const WORLD: ClockId = ClockId::CLOCK_BOOTTIME;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const WORLD: ClockId = ClockId::CLOCK_MONOTONIC;

/// A source of time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    World,
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock that never jumps, and does not stop while the machine sleeps.
    pub fn of_the_world() -> Self {
        Self(Source::World)
    }

    /// A clock that stands still until it is moved. Clones move together.
    pub fn manual() -> Self {
        Self(Source::Manual(Arc::default()))
    }

    /// Milliseconds since some moment.
    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            // A kernel without this clock cannot run us at all.
            Source::World => clock_gettime(WORLD).map_or(0, |time| {
                let (seconds, nanos) = (time.tv_sec().max(0).unsigned_abs(), time.tv_nsec().max(0).unsigned_abs());
                seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000)
            }),
            Source::Manual(ms) => ms.load(Ordering::Relaxed),
        }
    }

    /// Moves a manual clock; the machine's does not listen.
    pub fn advance_s(&self, seconds: u64) {
        if let Source::Manual(ms) = &self.0 {
            ms.fetch_add(seconds * 1_000, Ordering::Relaxed);
        }
    }
}

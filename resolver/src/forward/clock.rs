//! Where caches and health take the time from: milliseconds that only go forward, or whatever a test sets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// A source of time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Since(Instant),
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock that never jumps.
    pub fn monotonic() -> Self {
        Self(Source::Since(Instant::now()))
    }

    /// A clock that stands still until it is moved. Clones move together.
    pub fn manual() -> Self {
        Self(Source::Manual(Arc::default()))
    }

    /// Milliseconds since some moment.
    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            Source::Since(start) => u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
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

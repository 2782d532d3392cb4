//! Whether a connection with several queries at a time (HTTP/2, QUIC) is busy or idle, and for how long.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::gate::Pass;
use crate::metrics::End;

/// What is going on on one connection.
#[derive(Clone)]
pub(super) struct Activity(Arc<State>);

struct State {
    pass: Pass,
    idle_limit: Duration,
    in_work: AtomicUsize,
    last: Mutex<Instant>,
}

/// A query in work, for as long as this lives.
pub(super) struct Work(Arc<State>);

impl Activity {
    pub(super) fn new(pass: Pass, idle_limit: Duration) -> Self {
        Self(Arc::new(State { pass, idle_limit, in_work: AtomicUsize::new(0), last: Mutex::new(Instant::now()) }))
    }

    pub(super) fn begin(&self) -> Work {
        self.0.in_work.fetch_add(1, Ordering::Relaxed);
        self.0.pass.busy();
        Work(self.0.clone())
    }

    /// Waits until the connection has been idle for too long, or has to make room for another.
    pub(super) async fn ended(&self) -> End {
        tokio::select! {
            () = self.0.pass.evicted() => End::Evicted,
            () = self.idle() => End::Idle,
        }
    }

    async fn idle(&self) {
        loop {
            let last = *self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
            let until = match self.0.in_work.load(Ordering::Relaxed) {
                0 => last + self.0.idle_limit,
                // Looked at again when it could be idle at the earliest, if it were now.
                _ => Instant::now() + self.0.idle_limit,
            };
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        if self.0.in_work.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.pass.idle();
        }
    }
}

//! Whether a connection with several queries at a time (HTTP/2, QUIC) is busy or idle, and for how long.
//!
//! Only a query that has come as a whole keeps a connection busy, and only until its answer is made. While the client
//! says the rest of a query or takes an answer the connection is not closed as idle, but it is among those that make
//! room for others, and it cannot put off its end for longer than one such wait may take.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::gate::Pass;
use crate::{metrics::End, policy::config::ConnectionsConfig};

/// What is going on on one connection.
#[derive(Clone)]
pub(super) struct Activity(Arc<State>);

struct State {
    pass: Arc<Pass>,
    idle_limit: Duration,
    /// How long the client may take for its part of one query.
    wait_limit: Duration,
    pulse: Mutex<Pulse>,
}

struct Pulse {
    in_work: usize,
    waits: usize,
    /// When an answer was made last.
    last: Instant,
}

/// A query in work, for as long as this lives.
pub(super) struct Work(Arc<State>);

/// Waiting for the client's part of a query, for as long as this lives.
pub(super) struct Wait(Arc<State>);

impl Activity {
    pub(super) fn new(pass: Arc<Pass>, limits: &ConnectionsConfig) -> Self {
        Self(Arc::new(State {
            pass,
            idle_limit: Duration::from_millis(limits.idle_timeout_ms),
            wait_limit: Duration::from_millis(limits.write_timeout_ms),
            pulse: Mutex::new(Pulse { in_work: 0, waits: 0, last: Instant::now() }),
        }))
    }

    /// To be called when a whole query is there; what this returns ends with its answer.
    pub(super) fn begin(&self) -> Work {
        let mut pulse = self.0.pulse();
        pulse.in_work += 1;
        self.0.pass.busy();
        drop(pulse);
        Work(self.0.clone())
    }

    /// To be called when the client has to say more, or to take an answer.
    pub(super) fn wait(&self) -> Wait {
        self.0.pulse().waits += 1;
        Wait(self.0.clone())
    }

    /// Starts the idle time anew: another part of an answer is made.
    pub(super) fn touch(&self) {
        self.0.pulse().touch(&self.0.pass);
    }

    /// How long the client may take for its part of one query.
    pub(super) fn wait_limit(&self) -> Duration {
        self.0.wait_limit
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
            let until = self.0.idle_at(Instant::now());
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

impl State {
    fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the connection will have been idle for too long, or when to look again.
    fn idle_at(&self, now: Instant) -> Instant {
        let pulse = self.pulse();
        let idle_at = pulse.last + self.idle_limit;
        match (pulse.in_work, pulse.waits) {
            (0, 0) => idle_at,
            // Looked at again when the wait may have ended. One that began before it was idle for too long has all of
            // its time; further ones do not prolong it.
            (0, _) if now < idle_at => idle_at,
            (0, _) => (now + self.idle_limit).min(idle_at + self.wait_limit),
            // Looked at again when it could be idle at the earliest, if it were now.
            _ => now + self.idle_limit,
        }
    }
}

impl Pulse {
    fn touch(&mut self, pass: &Pass) {
        self.last = Instant::now();
        if self.in_work == 0 {
            pass.idle();
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut pulse = self.0.pulse();
        pulse.in_work -= 1;
        pulse.touch(&self.0.pass);
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.0.pulse().waits -= 1;
    }
}

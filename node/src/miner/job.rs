//! What the workers search, and how they are told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ledger::block::HeaderCore;
use parking_lot::{Condvar, Mutex};

use crate::chain::Template;

use super::{meter::Meter, order::WorkOrder};

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

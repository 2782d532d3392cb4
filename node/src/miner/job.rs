//! What the workers search, and how they are told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ledger::{block::HeaderCore, hash::Hash};
use parking_lot::{Condvar, Mutex};

use crate::chain::Template;

use super::{meter::Meter, order::WorkOrder};

/// No operation is paid for.
pub(super) const NO_SHARE: Hash = Hash::ZERO;

/// Which workers search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WorkerSet {
    /// The one of idle priority.
    Background,
    /// All others.
    Full,
}

/// One search: a template and what counts as a find.
pub(super) struct Job {
    pub(super) template: Template,
    /// The parent, from which time, clock and target follow.
    pub(super) parent: HeaderCore,
    pub(super) order: Option<(WorkOrder, Arc<Meter>)>,
    pub(super) workers: WorkerSet,
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

/// The job that workers search now.
#[derive(Default)]
pub(super) struct JobSlot {
    /// Changes with every job; workers compare it between batches without a lock.
    epoch: AtomicU64,
    content: Mutex<Content>,
    changed: Condvar,
}

#[derive(Default)]
struct Content {
    job: Option<Arc<Job>>,
    is_closed: bool,
}

impl JobSlot {
    /// Replaces the job; with `None` all workers rest.
    pub(super) fn put(&self, job: Option<Arc<Job>>) {
        self.content.lock().job = job;
        self.wake();
    }

    /// Ends the workers.
    pub(super) fn close(&self) {
        self.content.lock().is_closed = true;
        self.wake();
    }

    fn wake(&self) {
        self.epoch.fetch_add(1, Relaxed);
        self.changed.notify_all();
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }

    /// Waits for a job for these workers; `None` when there will be none.
    pub(super) fn take(&self, workers: WorkerSet) -> Option<(u64, Arc<Job>)> {
        let mut content = self.content.lock();
        loop {
            if content.is_closed {
                return None;
            }
            if let Some(job) = content.job.as_ref().filter(|job| job.workers == workers) {
                return Some((self.epoch(), job.clone()));
            }
            self.changed.wait(&mut content);
        }
    }

    /// Sleeps, unless the job changes first.
    pub(super) fn pause(&self, epoch: u64, duration: Duration) {
        let mut content = self.content.lock();
        if self.epoch() == epoch {
            self.changed.wait_for(&mut content, duration);
        }
    }
}

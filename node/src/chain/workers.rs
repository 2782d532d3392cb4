//! Threads that verify signatures and work ahead of the writer.
//!
//! Blocks and transactions have threads and queues of their own (protocol §10), so that a flood of one does not delay
//! the other: a transaction never waits for a block's thread, nor a block for a transaction's.
//!
//! The queues need no bound of their own: every job came with a permit of [`super::mailbox`], or from the few that the
//! chain thread allows itself.

use std::{
    collections::VecDeque,
    sync::Arc,
    thread::{self, JoinHandle},
};

use parking_lot::{Condvar, Mutex};

/// Work for a worker: does the expensive part and hands the result on.
pub(super) type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

/// The threads for one class of work. Dropping waits for the jobs under way and forgets those still queued.
pub(super) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` threads, at least one, named after their class.
    pub(super) fn start(class: &str, count: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let start = |n| {
            let shared = shared.clone();
            let name = format!("{class}-{n}");
            thread::Builder::new().name(name).spawn(move || run(&shared)).expect("a thread can be started at start-up")
        };
        Self { threads: (0..count.max(1)).map(start).collect(), shared }
    }

    pub(super) fn submit(&self, job: Job) {
        self.shared.queue.lock().jobs.push_back(job);
        self.shared.arrived.notify_one();
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.is_closed = true;
        queue.jobs.clear();
        drop(queue);
        self.shared.arrived.notify_all();
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so on its way out.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared) {
    while let Some(job) = next(shared) {
        job();
    }
}

fn next(shared: &Shared) -> Option<Job> {
    let mut queue = shared.queue.lock();
    loop {
        if queue.is_closed {
            return None;
        }
        if let Some(job) = queue.jobs.pop_front() {
            return Some(job);
        }
        shared.arrived.wait(&mut queue);
    }
}

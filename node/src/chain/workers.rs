//! Threads that verify signatures and work ahead of the writer.
//!
//! The queue needs no bound of its own: every job came with a permit of [`super::handle`], or from the few that the
//! chain thread allows itself. Blocks go before transactions: the tip matters more than the mempool.

use std::{
    collections::VecDeque,
    sync::Arc,
    thread::{self, JoinHandle},
};

use parking_lot::{Condvar, Mutex};

/// Work for a worker: does the dear part and hands the result on.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// How urgent a job is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Urgency {
    Block,
    Transaction,
}

#[derive(Default)]
struct Queue {
    blocks: VecDeque<Job>,
    transactions: VecDeque<Job>,
    is_closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

/// The threads. Dropping waits for the jobs under way and forgets those still queued.
pub(super) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    pub(super) fn start(count: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let start = |n| {
            let shared = shared.clone();
            let name = format!("check-{n}");
            thread::Builder::new().name(name).spawn(move || run(&shared)).expect("a thread can be started at start-up")
        };
        Self { threads: (0..count.max(1)).map(start).collect(), shared }
    }

    pub(super) fn submit(&self, urgency: Urgency, job: Job) {
        let mut queue = self.shared.queue.lock();
        match urgency {
            Urgency::Block => queue.blocks.push_back(job),
            Urgency::Transaction => queue.transactions.push_back(job),
        }
        drop(queue);
        self.shared.arrived.notify_one();
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.is_closed = true;
        queue.blocks.clear();
        queue.transactions.clear();
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
        if let Some(job) = queue.blocks.pop_front() {
            return Some(job);
        }
        if let Some(job) = queue.transactions.pop_front() {
            return Some(job);
        }
        shared.arrived.wait(&mut queue);
    }
}

//! One searching thread.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ledger::{
    block::HeaderCore,
    difficulty,
    hash::Hash,
    params::Params,
    pow::{self, Algorithm, Scratch},
};
use primitive_types::U256;
use tokio::sync::mpsc;

use super::{
    job::{Find, Job, JobSlot, WorkerSet},
    meter::Meter,
    priority::{Priority, lower_this_thread},
};

/// How long a batch of evaluations should take: the time to react to a new job, and the grain of the duty cycle.
const BATCH_TIME: Duration = Duration::from_millis(20);
/// Longest pause of the duty cycle at one time, so that a low duty still reacts to the clock.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// What all workers share.
pub(super) struct Shared {
    pub(super) params: &'static Params,
    pub(super) chain_id: Hash,
    pub(super) slot: JobSlot,
    pub(super) total: Meter,
    pub(super) finds: mpsc::Sender<Find>,
}

/// Starts one worker.
pub(super) fn spawn(shared: Arc<Shared>, workers: WorkerSet, index: usize) -> std::io::Result<JoinHandle<()>> {
    let priority = match workers {
        WorkerSet::Background => Priority::Idle,
        WorkerSet::Full => Priority::Low,
    };
    std::thread::Builder::new().name(format!("miner-{index}")).spawn(move || {
        lower_this_thread(priority);
        let mut worker = Worker { shared: &shared, scratch: Scratch::default(), batch: 1 };
        while let Some((epoch, job)) = shared.slot.take(workers) {
            worker.search(epoch, &job);
        }
    })
}

struct Worker<'a> {
    shared: &'a Shared,
    scratch: Scratch,
    /// Evaluations per batch, adjusted to take about [`BATCH_TIME`].
    batch: u32,
}

impl Worker<'_> {
    /// Searches until the job changes.
    fn search(&mut self, epoch: u64, job: &Arc<Job>) {
        let mut core = job.template.header.core;
        // Nodes with equal templates must not search the same nonces, nor must the threads of one node.
        core.nonce = random_start();
        while self.shared.slot.epoch() == epoch {
            let ahead = date(self.shared.params, &job.parent, &mut core, unix_now());
            if ahead > 0 && job.order.is_none() {
                self.shared.slot.pause(epoch, Duration::from_secs(ahead.min(1)));
                continue;
            }
            let started = Instant::now();
            self.search_batch(job, &mut core);
            let took = started.elapsed();
            self.adjust_batch(took);
            self.rest(epoch, job.duty, took);
        }
    }

    fn search_batch(&mut self, job: &Arc<Job>, core: &mut HeaderCore) {
        let algorithm: Algorithm = self.shared.params.algorithm;
        let block_target = pow::from_compact(core.bits).unwrap_or(U256::zero());
        for _ in 0..self.batch {
            core.nonce = core.nonce.wrapping_add(1);
            let value = pow::pow_value(algorithm, &self.shared.chain_id, core, &mut self.scratch);
            if value <= block_target {
                self.report(Find::Block(job.clone(), *core));
            }
            if let Some((order, _)) = &job.order
                && pow::meets(value, order.required_work)
                && !job.share_is_found.swap(true, Relaxed)
            {
                self.report(Find::Share(job.clone(), *core));
            }
        }
        self.shared.total.add(u64::from(self.batch));
        if let Some((_, meter)) = &job.order {
            meter.add(u64::from(self.batch));
        }
    }

    fn report(&self, find: Find) {
        // The scheduler reads all the time; if it is gone, nobody wants the find.
        let _ = self.shared.finds.blocking_send(find);
    }

    fn adjust_batch(&mut self, took: Duration) {
        if took < BATCH_TIME / 2 {
            self.batch = self.batch.saturating_mul(2).min(1 << 20);
        } else if took > BATCH_TIME * 2 {
            self.batch = (self.batch / 2).max(1);
        }
    }

    fn rest(&self, epoch: u64, duty: u8, worked: Duration) {
        if duty < 100 {
            let idle = worked * u32::from(100 - duty) / u32::from(duty.max(1));
            self.shared.slot.pause(epoch, idle.min(MAX_PAUSE));
        }
    }
}

/// Dates `core` at `now`, or as soon after its parent as the rules allow, with the clock and target that follow.
/// Returns by how many seconds it is ahead of `now`.
pub(super) fn date(params: &Params, parent: &HeaderCore, core: &mut HeaderCore, now: u64) -> u64 {
    let time = now.max(parent.time.saturating_add(u64::from(params.min_gap)));
    if time != core.time {
        core.time = time;
        core.vtime = difficulty::vtime_after(params, parent, time);
        core.bits = difficulty::expected_bits(params, parent, time);
    }
    time - now
}

/// Where to begin. Without randomness the clock's fine digits still differ between nodes and threads.
fn random_start() -> u64 {
    getrandom::u64()
        .unwrap_or_else(|_| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos() as u64))
}

/// Seconds since 1970.
pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::params::Network;

    #[test]
    fn a_header_is_never_dated_too_early() {
        let params = Network::Local.params();
        let parent = HeaderCore { height: 5, time: 1_000, vtime: 8, ..params.genesis().core };
        let mut core = HeaderCore { height: 6, time: 0, ..parent };
        for (now, time, ahead) in [(990, 1_001, 11), (1_000, 1_001, 1), (1_001, 1_001, 0), (1_030, 1_030, 0)] {
            assert_eq!(date(params, &parent, &mut core, now), ahead);
            assert_eq!(core.time, time);
            assert_eq!(core.vtime, difficulty::vtime_after(params, &parent, time));
            assert_eq!(core.bits, difficulty::expected_bits(params, &parent, time));
        }
    }
}

//! The places of one listener: at most so many connections, and when all are taken the one that has done nothing for
//! the longest time makes room.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, timeout},
};

/// A connection is not ended for others before it has been idle for so long: that is no request any more.
const MIN_IDLE: Duration = Duration::from_secs(1);
/// The same for one that has never said anything: clients send their request as soon as they are connected.
const MIN_SILENCE: Duration = Duration::from_millis(200);
/// How often to look for such a connection while a client waits for a place.
const LOOK: Duration = Duration::from_millis(50);

/// See the module.
pub(super) struct Places {
    permits: Arc<Semaphore>,
    taken: Arc<Mutex<HashMap<u64, Taken>>>,
    next: AtomicU64,
    /// Of connections that have never said anything, and of the others.
    min_idle: [Duration; 2],
    look: Duration,
}

/// One place that is taken.
struct Taken {
    moved: Instant,
    has_spoken: bool,
    evict: oneshot::Sender<()>,
}

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(count)),
            taken: Arc::default(),
            next: AtomicU64::new(0),
            min_idle: [MIN_SILENCE, MIN_IDLE],
            look: LOOK,
        }
    }

    /// The same without patience.
    #[cfg(test)]
    pub(super) fn impatient(count: usize) -> Self {
        Self { min_idle: [Duration::ZERO; 2], look: Duration::from_millis(1), ..Self::new(count) }
    }

    /// A place, as soon as there is one.
    pub(super) async fn take(&self) -> Place {
        let permit = loop {
            if self.permits.available_permits() == 0 {
                self.evict(Instant::now());
            }
            if let Ok(permit) = timeout(self.look, self.permits.clone().acquire_owned()).await {
                break permit.expect("the semaphore is never closed");
            }
        };
        let (evict, evicted) = oneshot::channel();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.taken.lock().insert(number, Taken { moved: Instant::now(), has_spoken: false, evict });
        Place { number, taken: self.taken.clone(), evicted: Some(evicted), _permit: permit }
    }

    /// Ends the idlest connection; first those that have never said anything.
    fn evict(&self, now: Instant) {
        let mut taken = self.taken.lock();
        let min_idle = |place: &Taken| self.min_idle[usize::from(place.has_spoken)];
        let idle = taken.iter().filter(|(_, place)| now.saturating_duration_since(place.moved) >= min_idle(place));
        let idlest = idle.min_by_key(|(_, place)| (place.has_spoken, place.moved)).map(|(number, _)| *number);
        if let Some(place) = idlest.and_then(|number| taken.remove(&number)) {
            // It may have ended meanwhile.
            let _ = place.evict.send(());
        }
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.permits.available_permits()
    }
}

/// A place of a connection, given back when dropped.
pub(super) struct Place {
    number: u64,
    taken: Arc<Mutex<HashMap<u64, Taken>>>,
    evicted: Option<oneshot::Receiver<()>>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Ends when the connection has to make room. To be asked for once.
    pub(super) fn evicted(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let evicted = self.evicted.take();
        async move {
            let is_told = match evicted {
                Some(evicted) => evicted.await.is_ok(),
                None => false,
            };
            if !is_told {
                // The gate is gone, so no eviction can be told: it stays.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Notes that the connection has said or taken something.
    pub(super) fn moved(&self, now: Instant) {
        if let Some(place) = self.taken.lock().get_mut(&self.number) {
            (place.moved, place.has_spoken) = (now, true);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.lock().remove(&self.number);
    }
}

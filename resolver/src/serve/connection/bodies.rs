//! Queries that come in parts, on a connection with several at a time (HTTP/2, QUIC), and how many bytes of them there
//! are.
//!
//! A client may begin many queries and end none. What it has said of them is memory, and counts until the answer is
//! made. When all of a connection have too many bytes, the largest that has not ended is given up, so that a query that
//! does end gets through, whatever else is on its connection.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio::sync::Notify;

use crate::serve::intake::MAX_QUERY_BYTES;

/// Bytes of all queries of a connection, said in part or in work.
pub(super) const MAX_BYTES: usize = 16 * MAX_QUERY_BYTES;
/// Bytes that are kept of one: a query with its length before it, and one more, to see that it is too long.
const MAX_KEPT_BYTES: usize = 2 + MAX_QUERY_BYTES + 1;

/// The queries of one connection.
#[derive(Clone, Default)]
pub(super) struct Bodies(Arc<Mutex<Vec<Arc<Entry>>>>);

/// One query: what has come of it, for as long as this lives.
pub(super) struct Body {
    all: Bodies,
    entry: Arc<Entry>,
    kept: Vec<u8>,
    /// Bytes that have come, kept or not, and how many may.
    pub(super) len: usize,
    max_len: usize,
}

struct Entry {
    // Guarded by the list's lock.
    size: Mutex<Size>,
    is_given_up: AtomicBool,
    given_up: Notify,
}

#[derive(Clone, Copy)]
struct Size {
    bytes: usize,
    has_ended: bool,
}

/// Why nothing more of a query is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoMore {
    /// It is longer than any message.
    TooLong,
    /// There was too much of others, and it was the largest.
    GivenUp,
}

impl Bodies {
    /// Another query begins, which may have `max_len` bytes.
    pub(super) fn begin(&self, max_len: usize) -> Body {
        let size = Mutex::new(Size { bytes: 0, has_ended: false });
        let entry = Arc::new(Entry { size, is_given_up: AtomicBool::new(false), given_up: Notify::new() });
        self.entries().push(entry.clone());
        Body { all: self.clone(), entry, kept: Vec::new(), len: 0, max_len }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn size(&self) -> MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_up(&self) {
        self.size().bytes = 0;
        self.is_given_up.store(true, Relaxed);
        self.given_up.notify_one();
    }
}

impl Body {
    /// Takes what comes next. Of a message that is longer than a query may be, only so much is kept that it can be seen.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), NoMore> {
        self.len += bytes.len();
        if self.len > self.max_len {
            return Err(NoMore::TooLong);
        }
        let room = MAX_KEPT_BYTES.saturating_sub(self.kept.len());
        let kept = &bytes[..bytes.len().min(room)];
        let entries = self.all.entries();
        if self.entry.is_given_up.load(Relaxed) {
            return Err(NoMore::GivenUp);
        }
        self.kept.extend_from_slice(kept);
        self.entry.size().bytes = self.kept.len();
        while entries.iter().map(|entry| entry.size().bytes).sum::<usize>() > MAX_BYTES {
            let unended = entries.iter().filter(|entry| !entry.size().has_ended);
            // There is one: this.
            let Some(largest) = unended.max_by_key(|entry| entry.size().bytes) else { break };
            largest.give_up();
            if Arc::ptr_eq(largest, &self.entry) {
                return Err(NoMore::GivenUp);
            }
        }
        Ok(())
    }

    /// Waits until this query is given up.
    pub(super) async fn given_up(&self) {
        if !self.entry.is_given_up.load(Relaxed) {
            self.entry.given_up.notified().await;
        }
    }

    /// The query, when all of it has come. Its bytes count on.
    pub(super) fn end(&mut self) -> Vec<u8> {
        self.entry.size().has_ended = true;
        std::mem::take(&mut self.kept)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.all.entries().retain(|entry| !Arc::ptr_eq(entry, &self.entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_LEN: usize = 65_535;

    #[test]
    fn the_largest_that_has_not_ended_is_given_up() {
        let bodies = Bodies::default();
        let mut ended = bodies.begin(MAX_LEN);
        ended.take(&[0; MAX_QUERY_BYTES]).expect("room");
        assert_eq!(ended.end().len(), MAX_QUERY_BYTES);
        let mut large: Vec<Body> = (0..15).map(|_| bodies.begin(MAX_LEN)).collect();
        for (index, body) in large.iter_mut().enumerate() {
            body.take(&vec![0; MAX_QUERY_BYTES - index]).expect("room");
        }
        let mut small = bodies.begin(MAX_LEN);
        // 0 to 14 bytes were left out.
        small.take(&[0; 105]).expect("just enough room");
        assert!(!large[0].entry.is_given_up.load(Relaxed));
        small.take(&[0]).expect("another makes room");
        assert!(large[0].entry.is_given_up.load(Relaxed), "and that is the largest");
        assert_eq!(large[0].take(&[0]), Err(NoMore::GivenUp));
        // Whoever leaves takes its bytes along.
        drop(large.drain(1..));
        for _ in 0..14 {
            let mut body = bodies.begin(MAX_LEN);
            body.take(&[0; MAX_QUERY_BYTES]).expect("room");
            large.push(body);
        }
        assert_eq!(
            bodies.begin(MAX_LEN).take(&[0; MAX_QUERY_BYTES]),
            Err(NoMore::GivenUp),
            "the largest is the last of equals"
        );
    }

    #[test]
    fn what_is_longer_than_a_query_is_counted_and_not_kept() {
        let bodies = Bodies::default();
        let mut body = bodies.begin(MAX_LEN);
        for _ in 0..15 {
            body.take(&[0; MAX_QUERY_BYTES]).expect("no message is too long yet");
        }
        assert_eq!(body.take(&[0; MAX_QUERY_BYTES]), Err(NoMore::TooLong));
        assert_eq!(body.end().len(), MAX_KEPT_BYTES);
    }
}

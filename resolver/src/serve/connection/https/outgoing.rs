//! Responses on their way out, and how many bytes of them wait for their client.
//!
//! HTTP/2 lets a client ask on many streams and take nothing. What waits is memory, so it is counted for each connection.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::{Buf, Bytes};

use super::request::Refusal;

/// Bytes of responses that one connection's client has not taken.
#[derive(Clone, Default)]
pub(super) struct Unsent(Arc<AtomicUsize>);

/// The bytes of one response, counted for as long as this lives.
pub(super) struct Held {
    unsent: Unsent,
    bytes: usize,
}

/// The body of a response. It is dropped when the client lets it come.
pub(super) struct Outgoing {
    bytes: Bytes,
    _held: Option<Held>,
}

impl Unsent {
    /// Counts a response of so many bytes, if all that wait then have at most `max` or it waits alone.
    pub(super) fn admit(&self, bytes: usize, max: usize) -> Result<Held, Refusal> {
        let admitted = |waiting: usize| (waiting == 0 || waiting + bytes <= max).then_some(waiting + bytes);
        let counted = self.0.fetch_update(Relaxed, Relaxed, admitted);
        counted.map(|_| Held { unsent: self.clone(), bytes }).map_err(|_| Refusal::Unread)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.unsent.0.fetch_sub(self.bytes, Relaxed);
    }
}

impl Outgoing {
    pub(super) fn new(bytes: impl Into<Bytes>, held: Option<Held>) -> Self {
        Self { bytes: bytes.into(), _held: held }
    }
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_and_one_response_always_goes() {
        let unsent = Unsent::default();
        let large = unsent.admit(1_000, 100).expect("it waits alone");
        assert_eq!(unsent.admit(1, 100).err(), Some(Refusal::Unread));
        drop(large);
        let first = unsent.admit(60, 100).expect("room");
        let second = unsent.admit(40, 100).expect("just enough room");
        assert_eq!(unsent.admit(1, 100).err(), Some(Refusal::Unread));
        drop((first, second));
        assert!(unsent.admit(100, 100).is_ok());
    }
}

//! Messages in a stream of bytes: each with its length before it, in two bytes (RFC 1035 §4.2.2).

use crate::serve::intake::MAX_QUERY_BYTES;

/// Bytes of the length.
const PREFIX_BYTES: usize = 2;
/// Bytes read at a time, and kept while nothing is read.
const CHUNK_BYTES: usize = 4_096;

/// The most bytes of a message that are kept: enough to see that it is too long.
const MAX_KEPT_BYTES: usize = MAX_QUERY_BYTES + 1;

/// Takes a stream apart. Holds at most one incomplete message and one chunk, if it is read only when [`Frames::next`] has
/// nothing. Of a message that is longer than any query only the beginning is kept, and the rest is passed over.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    buffer: Vec<u8>,
    /// Bytes at the front that have been taken.
    taken: usize,
    /// Bytes to pass over before the next message.
    surplus: usize,
}

impl Frames {
    /// The next message, if as much of it is there as is kept.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        let passed_over = self.surplus.min(self.buffer.len() - self.taken);
        self.taken += passed_over;
        self.surplus -= passed_over;
        let rest = &self.buffer[self.taken..];
        let prefix = rest.first_chunk::<PREFIX_BYTES>()?;
        let len = usize::from(u16::from_be_bytes(*prefix));
        let kept = len.min(MAX_KEPT_BYTES);
        let message = rest.get(PREFIX_BYTES..PREFIX_BYTES + kept)?.to_vec();
        self.taken += PREFIX_BYTES + kept;
        self.surplus = len - kept;
        Some(message)
    }

    /// Where to put what is read next.
    pub(crate) fn room(&mut self) -> &mut Vec<u8> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        if self.buffer.is_empty() {
            // A long message must not hold its memory for as long as the connection lives.
            self.buffer.shrink_to(CHUNK_BYTES);
        }
        if self.buffer.len() == self.buffer.capacity() {
            self.buffer.reserve(CHUNK_BYTES);
        }
        &mut self.buffer
    }
}

/// Appends a message with its length. One that is longer than any message can be is left out.
pub(crate) fn push(out: &mut Vec<u8>, message: &[u8]) {
    if let Ok(len) = u16::try_from(message.len()) {
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(message);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn however_a_stream_is_cut_its_messages_are_the_same(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9_000), 0..8),
            cuts in prop::collection::vec(1..5_000usize, 1..20),
        ) {
            let mut stream = Vec::new();
            messages.iter().for_each(|message| push(&mut stream, message));
            let (mut frames, mut got, mut rest, mut cuts) = (Frames::default(), Vec::new(), &stream[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let cut = rest.len().min(*cuts.next().expect("endless"));
                frames.room().extend_from_slice(&rest[..cut]);
                rest = &rest[cut..];
                got.extend(std::iter::from_fn(|| frames.next()));
                prop_assert!(frames.room().len() <= PREFIX_BYTES + MAX_KEPT_BYTES, "never more than is kept of one message");
            }
            let kept: Vec<_> = messages.iter().map(|message| &message[..message.len().min(MAX_KEPT_BYTES)]).collect();
            prop_assert_eq!(got, kept);
            prop_assert_eq!(frames.room().len(), 0);
        }
    }

    #[test]
    fn incomplete_messages_wait_and_memory_is_given_back() {
        let mut frames = Frames::default();
        frames.room().extend_from_slice(&[0]);
        assert_eq!(frames.next(), None);
        frames.room().extend_from_slice(&[2, 7]);
        assert_eq!(frames.next(), None);
        frames.room().extend_from_slice(&[8, 0, 0]);
        assert_eq!(frames.next(), Some(vec![7, 8]));
        assert_eq!(frames.next(), Some(vec![]));
        frames.room().extend_from_slice(&[0xff, 0xff]);
        frames.room().extend_from_slice(&[1; 65_535]);
        assert_eq!(frames.next().map(|message| message.len()), Some(MAX_KEPT_BYTES));
        assert_eq!(frames.next(), None);
        assert!(frames.room().capacity() <= CHUNK_BYTES);
    }

    #[test]
    fn what_is_too_long_is_left_out() {
        let mut out = Vec::new();
        push(&mut out, &[0; 65_536]);
        assert!(out.is_empty());
        push(&mut out, b"ab");
        assert_eq!(out, b"\0\x02ab");
    }
}

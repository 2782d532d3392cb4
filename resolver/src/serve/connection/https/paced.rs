//! A socket that is read a little at a time.
//!
//! HTTP/2 takes apart whatever it can read before it sends anything, and what it notes for each stream stays allocated
//! for as long as the connection: a client that sends many requests at once, or more than it may, makes it note many. So
//! after every [`BURST_BYTES`] reading stops until the connection is polled again, and what waits to be sent, resets
//! above all, is sent first.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read without a pause: about five queries.
const BURST_BYTES: usize = 512;

pub(super) struct Paced<S> {
    socket: S,
    left: usize,
}

impl<S> Paced<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket, left: BURST_BYTES }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left == 0 {
            self.left = BURST_BYTES;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = self.left.min(buf.remaining());
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
        let read = Pin::new(&mut self.socket).poll_read(cx, &mut part);
        let count = part.filled().len();
        if read.is_pending() {
            self.left = BURST_BYTES;
        }
        ready!(read)?;
        buf.advance(count);
        self.left -= count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[test]
    fn there_is_a_pause_after_every_burst() {
        let mut cx = Context::from_waker(Waker::noop());
        let sent = [7; 2 * BURST_BYTES];
        let mut paced = Paced::new(&sent[..]);
        let mut room = [0; 3 * BURST_BYTES];
        let mut read = || {
            let mut buf = ReadBuf::new(&mut room);
            Pin::new(&mut paced).poll_read(&mut cx, &mut buf).map(|read| read.map(|()| buf.filled().len()).ok())
        };
        for expected in [Poll::Ready(Some(BURST_BYTES)), Poll::Pending].repeat(2) {
            assert_eq!(read(), expected);
        }
        assert_eq!(read(), Poll::Ready(Some(0)), "the end");
    }

    proptest! {
        #[test]
        fn nothing_is_lost(sent in prop::collection::vec(any::<u8>(), 0..5_000), room in 1..3_000usize) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let (mut paced, mut got) = (Paced::new(&sent[..]), Vec::new());
            let mut part = vec![0; room];
            while let count @ 1.. = runtime.block_on(paced.read(&mut part)).expect("it reads") {
                got.extend_from_slice(&part[..count]);
            }
            prop_assert_eq!(got, sent);
        }
    }
}

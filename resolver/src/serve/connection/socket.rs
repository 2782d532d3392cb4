//! The TCP socket of one connection, and what the kernel has for it.
//!
//! The runtime asks the kernel about all sockets together, now and then: in between a socket with a query in it seems to
//! be empty. Twice that is too little, and the kernel is asked about this socket alone: when it is read for the first
//! time, because until then its connection keeps its place ([`Pass::has_been_read`]), and once when the connection has to
//! make room for another, because what has come by then is still answered.

use std::{
    io::{self, Read as _, Write as _},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::gate::Pass;

/// A socket and the place that it takes.
pub(super) struct Socket {
    tcp: TcpStream,
    pass: Arc<Pass>,
    phase: Phase,
    /// Whether anything has ever come.
    has_spoken: bool,
}

/// Where a socket is in its life, as its last reading found it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// It has not been read.
    New,
    /// It has, and its connection has its place.
    Open,
    /// It has been read for the last time: its connection's place has been given away.
    Evicted,
}

impl Socket {
    pub(super) fn new(tcp: TcpStream, pass: Arc<Pass>) -> Self {
        Self { tcp, pass, phase: Phase::New, has_spoken: false }
    }

    /// Reads what the kernel has now.
    fn read_now(&self, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = ready!(at_once((&*SockRef::from(&self.tcp)).read(buf.initialize_unfilled())))?;
        buf.advance(count);
        Poll::Ready(Ok(()))
    }

    /// Begins a reading. Whether the kernel itself has to be asked: once when the socket is new, once when it is evicted.
    fn asks_kernel(&mut self) -> bool {
        let phase = if self.pass.is_evicted() { Phase::Evicted } else { Phase::Open };
        std::mem::replace(&mut self.phase, phase) != phase
    }
}

/// What a call that does not wait has come to.
fn at_once<T>(done: io::Result<T>) -> Poll<io::Result<T>> {
    match done {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Poll::Pending,
        done => Poll::Ready(done),
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let held = buf.filled().len();
        let mut read = match self.asks_kernel() {
            true => self.read_now(buf),
            false => Poll::Pending,
        };
        if read.is_pending() {
            read = Pin::new(&mut self.tcp).poll_read(cx, buf);
        }
        // Noted once: it costs a lock.
        if !self.has_spoken {
            self.has_spoken = buf.filled().len() > held;
            match self.has_spoken {
                true => self.pass.has_spoken(),
                false => self.pass.has_been_read(),
            }
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.tcp).poll_write(cx, bytes) {
            // It will not be polled again: what the kernel takes has to go now.
            Poll::Pending if self.phase == Phase::Evicted => at_once((&*SockRef::from(&self.tcp)).write(bytes)),
            written => written,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.tcp).poll_write_vectored(cx, parts) {
            Poll::Pending if self.phase == Phase::Evicted => {
                at_once((&*SockRef::from(&self.tcp)).write_vectored(parts))
            }
            written => written,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}

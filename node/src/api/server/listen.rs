//! Sockets with a bound on connections.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// Connections per listener: enough for pages, wallets and readers of events of one machine.
const CONNECTIONS: usize = 128;

/// How long a connection may neither send nor receive: longer than any request takes, and than the pause between two
/// signs of life in a stream of events.
const IDLE: Duration = Duration::from_secs(60);

/// Listens on a unix socket that only this user can open. A socket that nobody listens on any more is replaced.
pub(super) fn unix(path: &Path) -> io::Result<Limited<UnixListener>> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(limited(listener))
}

/// Listens on a TCP address.
pub(super) async fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Puts a bound on a listener's connections.
pub(super) fn limited<L>(listener: L) -> Limited<L> {
    Limited { listener, permits: Arc::new(Semaphore::new(CONNECTIONS)) }
}

/// A listener that accepts the next connection when one of its own is free.
pub(super) struct Limited<L> {
    listener: L,
    permits: Arc<Semaphore>,
}

impl<L: Listener> Listener for Limited<L> {
    type Io = Counted<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let permit = self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (io, address) = self.listener.accept().await;
        (Counted::new(io, permit, IDLE), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that gives its place back when it is dropped, and that ends when it is idle for too long: nobody can
/// keep others out by opening connections and saying nothing.
pub(super) struct Counted<S> {
    io: S,
    allowed: Duration,
    idle: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl<S> Counted<S> {
    fn new(io: S, permit: OwnedSemaphorePermit, allowed: Duration) -> Self {
        Self { io, allowed, idle: Box::pin(sleep(allowed)), _permit: permit }
    }

    /// Passes a result on; movement puts the end off, waiting for too long is an error.
    fn watch<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match result {
            Poll::Ready(Ok(done)) => {
                let end = Instant::now() + self.allowed;
                self.idle.as_mut().reset(end);
                Poll::Ready(Ok(done))
            }
            Poll::Pending if self.idle.as_mut().poll(cx).is_ready() => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            other @ (Poll::Ready(Err(_)) | Poll::Pending) => other,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        self.watch(cx, result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.watch(cx, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_silent_connection_ends_and_frees_its_place() {
        let permits = Arc::new(Semaphore::new(1));
        let permit = permits.clone().acquire_owned().await.expect("free");
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut counted = Counted::new(ours, permit, Duration::from_millis(20));
        theirs.write_all(b"x").await.expect("open");
        assert_eq!(counted.read_u8().await.expect("one byte"), b'x');
        assert_eq!(counted.read_u8().await.expect_err("silence").kind(), io::ErrorKind::TimedOut);
        drop(counted);
        assert_eq!(permits.available_permits(), 1);
    }
}

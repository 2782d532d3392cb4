//! Sockets with a bound on connections, which stay reachable when places or file descriptors are scarce: a connection
//! that does nothing makes room for a new one, and some descriptors are kept back for new connections.

mod place;
mod room;

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use resolver::Rarely;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::watch,
    time::{Instant, Sleep, sleep},
};
use tracing::warn;

use place::{Place, Places};

/// How long a connection may neither send nor receive: longer than any request takes, and than the pause between two
/// signs of life in a stream of events.
const IDLE: Duration = Duration::from_secs(60);

/// Listens on a unix socket that only this user can open. A socket that nobody listens on any more is replaced.
pub(super) fn unix(path: &Path) -> io::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent)?;
    }
    room::bind(path)
}

/// Listens on a TCP address.
pub(super) async fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// How long to rest when the system has no descriptor or no memory for another connection, and how often that is said.
const ACCEPT_REST: Duration = Duration::from_millis(100);
const ACCEPT_COMPLAINT: Duration = Duration::from_secs(60);
/// Descriptors kept back for new connections: enough for someone to look what is wrong.
const RESERVE: usize = 4;

/// A socket that listens.
pub(super) trait Accept: Send + 'static {
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;
    type Addr: Send + std::fmt::Debug;

    fn accept(&self) -> impl Future<Output = io::Result<(Self::Io, Self::Addr)>> + Send;
    fn local_addr(&self) -> io::Result<Self::Addr>;
}

impl Accept for TcpListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send {
        Self::accept(self)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}

impl Accept for UnixListener {
    type Io = UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    fn accept(&self) -> impl Future<Output = io::Result<(UnixStream, Self::Addr)>> + Send {
        Self::accept(self)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Self::local_addr(self)
    }
}

/// Allows a listener at most `connections` at a time. All of them end when `cut` says true, or is dropped.
pub(super) fn limited<L: Accept>(listener: L, connections: usize, cut: &watch::Sender<bool>) -> Limited<L> {
    Limited {
        listener,
        places: Places::new(connections),
        reserve: Reserve::default(),
        complaint: Rarely::every(ACCEPT_COMPLAINT),
        cut: cut.subscribe(),
    }
}

/// A listener that accepts the next connection when it has a place for it.
pub(super) struct Limited<L> {
    listener: L,
    places: Places,
    reserve: Reserve,
    complaint: Rarely,
    cut: watch::Receiver<bool>,
}

impl<L: Accept> Listener for Limited<L> {
    type Io = Counted<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let place = self.places.take().await;
        loop {
            match self.listener.accept().await {
                Ok((io, address)) => {
                    self.reserve.fill();
                    return (Counted::new(io, place, IDLE, self.cut.clone()), address);
                }
                // It was there, and has gone.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) if self.reserve.give() => {}
                Err(error) => {
                    if let Some(times) = self.complaint.due(std::time::Instant::now()) {
                        warn!(%error, times_since_last_said = times, "the API cannot accept connections");
                    }
                    sleep(ACCEPT_REST).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// Descriptors that lead nowhere: each can be given up for a connection when the process has no other left.
#[derive(Debug, Default)]
struct Reserve {
    kept: Vec<File>,
}

impl Reserve {
    /// Keeps as many as are wanted, or as there are.
    fn fill(&mut self) {
        while self.kept.len() < RESERVE {
            let Ok(file) = File::open("/dev/null") else { return };
            self.kept.push(file);
        }
    }

    /// Gives one back to the system, if there is one.
    fn give(&mut self) -> bool {
        self.kept.pop().is_some()
    }
}

/// A connection that gives its place back when it is dropped, and that ends when it is idle for too long: nobody can
/// keep others out by opening connections and saying nothing. Nor can anybody keep a node from stopping: the server can
/// end it, whatever it is about.
pub(super) struct Counted<S> {
    io: S,
    allowed: Duration,
    idle: Pin<Box<Sleep>>,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_cut: bool,
    place: Place,
}

impl<S> Counted<S> {
    fn new(io: S, mut place: Place, allowed: Duration, mut cut: watch::Receiver<bool>) -> Self {
        let evicted = place.evicted();
        let cut = Box::pin(async move {
            tokio::select! {
                // A dropped sender means that the server is gone.
                _ = cut.wait_for(|cut| *cut) => {}
                () = evicted => {}
            }
        });
        Self { io, allowed, idle: Box::pin(sleep(allowed)), cut, is_cut: false, place }
    }

    /// Passes a result on; movement puts the end off, waiting for too long is an error, and so is the server's end.
    fn watch<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.is_cut = self.is_cut || self.cut.as_mut().poll(cx).is_ready();
        if self.is_cut {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        match result {
            Poll::Ready(Ok(done)) => {
                let now = Instant::now();
                self.idle.as_mut().reset(now + self.allowed);
                self.place.moved(now);
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
    use std::{
        os::unix::{fs::PermissionsExt as _, net::UnixStream},
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Anybody's view of a socket's file: whether it was ever seen to let others in, until told to stop looking.
    fn look_at(path: &Path, stop: &AtomicBool) -> bool {
        let mut was_open = false;
        while !stop.load(Ordering::Relaxed) {
            let mode = fs::symlink_metadata(path).map(|file| file.permissions().mode());
            was_open |= mode.is_ok_and(|mode| mode & 0o077 != 0);
        }
        was_open
    }

    #[tokio::test]
    async fn a_socket_is_never_open_to_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("api.sock");
        let stop = AtomicBool::new(false);
        let was_open = std::thread::scope(|scope| {
            let looker = scope.spawn(|| look_at(&path, &stop));
            for _ in 0..2_000 {
                // Each replaces the one before, which nobody listens on any more.
                drop(unix(&path).expect("bound"));
            }
            stop.store(true, Ordering::Relaxed);
            looker.join().expect("it only looks")
        });
        assert!(!was_open);
        assert_eq!(fs::metadata(&path).expect("it stays").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1, "nothing else is left behind");
    }

    #[tokio::test]
    async fn a_socket_is_taken_from_the_dead_and_not_from_the_living() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("below").join("api.sock");
        let first = unix(&path).expect("bound");
        assert!(UnixStream::connect(&path).is_ok(), "it is reached where it was moved to");
        assert_eq!(unix(&path).err().map(|error| error.kind()), Some(io::ErrorKind::AddrInUse));
        drop(first);
        assert!(UnixStream::connect(&path).is_err());
        let _second = unix(&path).expect("bound again");
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[tokio::test]
    async fn a_silent_connection_ends_and_frees_its_place() {
        let places = Places::new(1);
        let place = places.take().await;
        let (ours, mut theirs) = tokio::io::duplex(64);
        let (_cut, uncut) = watch::channel(false);
        let mut counted = Counted::new(ours, place, Duration::from_millis(20), uncut);
        theirs.write_all(b"x").await.expect("open");
        assert_eq!(counted.read_u8().await.expect("one byte"), b'x');
        assert_eq!(counted.read_u8().await.expect_err("silence").kind(), io::ErrorKind::TimedOut);
        drop(counted);
        assert_eq!(places.free(), 1);
    }

    #[tokio::test]
    async fn a_server_can_end_what_its_clients_do_not() {
        for is_told in [true, false] {
            let place = Places::new(1).take().await;
            let (ours, _theirs) = tokio::io::duplex(64);
            let (cut, is_cut) = watch::channel(false);
            let mut counted = Counted::new(ours, place, IDLE, is_cut);
            let end = async {
                tokio::task::yield_now().await;
                if is_told {
                    cut.send_replace(true);
                } else {
                    drop(cut);
                }
            };
            let (read, ()) = tokio::join!(counted.read_u8(), end);
            assert_eq!(read.expect_err("cut").kind(), io::ErrorKind::ConnectionAborted);
            // Not even one that could be read or written to goes on.
            assert_eq!(counted.write_u8(0).await.expect_err("cut").kind(), io::ErrorKind::ConnectionAborted);
        }
    }

    const LIMIT: Duration = Duration::from_secs(20);

    /// A listener without sockets: gives the results that it is fed, and then nothing more.
    struct Fed(std::sync::Mutex<Vec<io::Result<tokio::io::DuplexStream>>>);

    impl Accept for Fed {
        type Io = tokio::io::DuplexStream;
        type Addr = ();

        async fn accept(&self) -> io::Result<(Self::Io, ())> {
            let next = self.0.lock().expect("not poisoned").pop();
            match next {
                Some(result) => Ok((result?, ())),
                None => std::future::pending().await,
            }
        }

        fn local_addr(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_connection_that_does_nothing_makes_room_for_a_new_one() {
        let (cut, _) = watch::channel(false);
        let streams: Vec<_> = (0..3).map(|_| tokio::io::duplex(64)).collect();
        let (ours, mut theirs): (Vec<_>, Vec<_>) = streams.into_iter().unzip();
        let fed = Fed(std::sync::Mutex::new(ours.into_iter().rev().map(Ok).collect()));
        let mut listener = Limited { places: Places::impatient(2), ..limited(fed, 2, &cut) };
        let (mut busy, ()) = Listener::accept(&mut listener).await;
        theirs[0].write_all(b"x").await.expect("open");
        assert_eq!(busy.read_u8().await.expect("one byte"), b'x');
        let (mut silent, ()) = Listener::accept(&mut listener).await;
        let ended = tokio::spawn(async move { silent.read_u8().await });
        let third = tokio::time::timeout(LIMIT, Listener::accept(&mut listener));
        let (_third, ()) = third.await.expect("well before the idle one would have ended by itself");
        let ended = tokio::time::timeout(LIMIT, ended).await.expect("in time").expect("no panic");
        assert_eq!(ended.expect_err("evicted").kind(), io::ErrorKind::ConnectionAborted);
        theirs[0].write_all(b"y").await.expect("open");
        assert_eq!(busy.read_u8().await.expect("still served"), b'y');
    }

    #[tokio::test]
    async fn kept_descriptors_are_given_up_when_there_is_no_other() {
        let none_left = || Err(io::Error::from_raw_os_error(libc::EMFILE));
        let (cut, _) = watch::channel(false);
        let (first, second) = (tokio::io::duplex(64).0, tokio::io::duplex(64).0);
        // From the end: the first connection fills the reserve.
        let results = vec![Ok(second), none_left(), none_left(), Ok(first)];
        let mut listener = limited(Fed(std::sync::Mutex::new(results)), 2, &cut);
        Listener::accept(&mut listener).await;
        assert_eq!(listener.reserve.kept.len(), RESERVE);
        let before = std::time::Instant::now();
        Listener::accept(&mut listener).await;
        assert_eq!(listener.complaint.due(before), Some(0), "nothing had to be said");
    }
}

//! The threads that own the UDP sockets.
//!
//! A worker sleeps in `poll` until one of its sockets has something, takes a batch, answers it and sends the answers
//! from the same socket. What the fast path cannot answer is tried on the full path at once: most of that is ready
//! without waiting. What has to wait for an upstream goes on as a task, which sends its own response; the forwarder
//! bounds how many can wait. Stopping is a pipe that closes: nothing wakes up just to look whether to stop.

use std::{
    future::Future,
    io::{self, PipeReader, PipeWriter},
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::AsFd,
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use tokio::{runtime, sync::mpsc};
use tracing::{debug, error, warn};

use super::{
    batch::{BATCH, Inbox, Outbox, SendBuffer},
    compose::Composer,
    responder::Responder,
    route::{Control, Route},
};
use crate::{
    dns::answer::Origin,
    metrics::{DatagramCounts, Sent, guard::Limited},
    policy::guard::{
        Admission, Now, Standing,
        scan::{self, Claims},
    },
    serve::intake,
    zones::query::MAX_UDP_BYTES,
};

/// Full batches that one socket may have served before the others, and the wish to stop, are looked at.
const BATCHES_PER_TURN: usize = 16;
/// How long a worker rests after an error that is not about one datagram (no memory, no network).
const ERROR_REST: Duration = Duration::from_millis(100);
/// After so many such errors in a row the socket is given up.
const MAX_ERRORS: u32 = 100;

/// All workers. Dropping this stops them soon.
pub(crate) struct Workers {
    threads: Vec<JoinHandle<()>>,
    stop: Option<PipeWriter>,
    failures: mpsc::Receiver<io::Error>,
}

/// How workers treat what they get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Paths {
    /// The fast path first.
    Both,
    /// The full path only.
    FullOnly,
}

/// One socket with its memory.
struct Lane {
    socket: Arc<UdpSocket>,
    inbox: Inbox,
    outbox: Outbox,
    errors: u32,
}

struct Worker {
    responder: Responder,
    paths: Paths,
    composer: Composer,
    counts: DatagramCounts,
    lanes: Vec<Lane>,
    stop: Arc<PipeReader>,
}

type Response = Pin<Box<dyn Future<Output = Option<(Vec<u8>, Sent)>> + Send>>;

impl Workers {
    /// Starts one worker for each set of sockets. Must be called within a Tokio runtime, which waits for upstreams.
    pub(crate) fn start(responder: &Responder, paths: Paths, sockets: Vec<Vec<UdpSocket>>) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let reader = Arc::new(reader);
        // One failure is enough to fail, and more than one cannot be reported.
        let (failed, failures) = mpsc::channel(1);
        let mut workers = Self { threads: Vec::with_capacity(sockets.len()), stop: Some(writer), failures };
        for (index, sockets) in sockets.into_iter().enumerate() {
            // Before anybody is told that we listen: what arrived earlier does not say whom it was for.
            let controls: Vec<_> = sockets.iter().map(Control::prepare).collect::<io::Result<_>>()?;
            let sockets = sockets.into_iter().zip(controls).collect();
            let (responder, stop, failed) = (responder.clone(), reader.clone(), failed.clone());
            let runtime = runtime::Handle::current();
            let run = move || {
                let _context = runtime.enter();
                if let Err(error) = Worker::new(responder, paths, sockets, stop).run() {
                    // A full channel means that another failure has been reported.
                    drop(failed.try_send(error));
                }
            };
            workers.threads.push(thread::Builder::new().name(format!("dns-udp-{index}")).spawn(run)?);
        }
        Ok(workers)
    }

    /// Waits until a socket fails for good.
    pub(crate) async fn failed(&mut self) -> io::Error {
        let ended = || io::Error::other("all UDP workers have ended");
        self.failures.recv().await.unwrap_or_else(ended)
    }

    /// Stops the workers and closes their sockets.
    pub(crate) async fn shutdown(mut self) {
        self.stop = None;
        let threads = std::mem::take(&mut self.threads);
        let joining = tokio::task::spawn_blocking(move || threads.into_iter().try_for_each(JoinHandle::join));
        if !matches!(joining.await, Ok(Ok(()))) {
            warn!("a UDP worker had panicked");
        }
    }
}

impl Lane {
    fn new((socket, control): (UdpSocket, Control)) -> Self {
        Self { socket: Arc::new(socket), inbox: Inbox::new(control), outbox: Outbox::new(control), errors: 0 }
    }

    /// Receives a batch; an error counts as an empty one until there have been too many.
    fn receive(&mut self) -> io::Result<usize> {
        match self.inbox.receive(&self.socket) {
            Ok(count) => {
                self.errors = 0;
                Ok(count)
            }
            Err(error) if self.errors < MAX_ERRORS => {
                self.errors += 1;
                warn!(%error, "datagrams cannot be received");
                thread::sleep(ERROR_REST);
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }
}

impl Worker {
    fn new(responder: Responder, paths: Paths, sockets: Vec<(UdpSocket, Control)>, stop: Arc<PipeReader>) -> Self {
        let counts = responder.handler().metrics.datagram_counts();
        let lanes = sockets.into_iter().map(Lane::new).collect();
        Self { responder, paths, composer: Composer::default(), counts, lanes, stop }
    }

    fn run(mut self) -> io::Result<()> {
        while let Some(ready) = self.wait()? {
            for index in ready {
                self.serve_turn(index)?;
            }
        }
        Ok(())
    }

    /// Serves one lane until it is empty or has had its turn.
    fn serve_turn(&mut self, index: usize) -> io::Result<()> {
        for _ in 0..BATCHES_PER_TURN {
            // One query must never be able to stop the server; what else was in its batch is asked again.
            let served = panic::catch_unwind(AssertUnwindSafe(|| self.serve(index))).unwrap_or_else(|_| {
                error!("answering a batch of datagrams panicked");
                self.composer = Composer::default();
                if let Some(lane) = self.lanes.get_mut(index) {
                    lane.outbox.send(&lane.socket);
                }
                Ok(0)
            })?;
            if served < BATCH {
                break;
            }
        }
        Ok(())
    }

    /// The lanes with something to read; `None` when it is time to stop.
    fn wait(&self) -> io::Result<Option<Vec<usize>>> {
        let fds = std::iter::once(self.stop.as_fd()).chain(self.lanes.iter().map(|lane| lane.socket.as_fd()));
        let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut has_event = fds.iter().map(|fd| fd.any().unwrap_or(true));
        let stops = has_event.next().unwrap_or(true);
        Ok((!stops).then(|| has_event.enumerate().filter(|(_, event)| *event).map(|(index, _)| index).collect()))
    }

    /// Answers one batch of one lane, and says how large it was.
    fn serve(&mut self, index: usize) -> io::Result<usize> {
        let Self { responder, paths, composer, counts, lanes, .. } = self;
        let Some(lane) = lanes.get_mut(index) else { return Ok(0) };
        let count = lane.receive()?;
        let started = Instant::now();
        let Lane { socket, inbox, outbox, .. } = lane;
        let handler = responder.handler();
        let (view, guard, now) = (handler.source.view(), &handler.guard, handler.guard.now());
        for (datagram, src, route) in inbox.datagrams().filter(|(_, src, _)| can_be_answered(*src)) {
            let standing = guard.standing(datagram, src.ip(), &now);
            let asked = Asked { datagram, src, standing, route };
            counts.guard.cookie(&standing.cookie);
            let limited = match guard.admit(&standing, &now) {
                Admission::Answer => None,
                Admission::Slip => Some(Limited::Slipped),
                Admission::Drop => Some(Limited::Dropped),
            };
            if let Some(limited) = limited {
                counts.guard.limited(limited);
                if limited == Limited::Slipped {
                    asked.shorten(handler.claims(datagram, src.ip()), outbox, counts);
                }
                continue;
            }
            let Some(room) = outbox.room() else { break };
            let composed = match paths {
                Paths::Both => responder.fast(composer, &*view, (datagram, &standing), room).ok(),
                Paths::FullOnly => None,
            };
            match composed {
                Some(composed) => {
                    counts.request(&composed);
                    match guard.may_send(&standing, datagram.len(), composed.bytes, &now) {
                        true => {
                            counts.response(&composed);
                            outbox.push(composed.bytes, route);
                        }
                        false => {
                            counts.guard.limited(Limited::Shortened);
                            let claims = Claims::of(&room[..composed.bytes]);
                            asked.shorten(claims, outbox, counts);
                        }
                    }
                }
                None => asked.answer_in_full(responder, socket, outbox, &now),
            }
        }
        // Counted before they are sent, so that whoever has an answer finds it counted.
        handler.metrics.guard.add(&mut counts.guard);
        counts.flush(started.elapsed());
        outbox.send(socket);
        Ok(count)
    }
}

/// A datagram that was admitted.
struct Asked<'d> {
    datagram: &'d [u8],
    src: SocketAddr,
    standing: Standing,
    route: Route,
}

impl Asked<'_> {
    /// Says "come by TCP".
    fn shorten(&self, claims: Claims, outbox: &mut Outbox, counts: &mut DatagramCounts) {
        let short = |room: &mut SendBuffer| scan::truncated(self.datagram, claims, self.standing.cookie_out(), room);
        let written = outbox.room().and_then(short);
        if let Some(bytes) = written {
            counts.come_by_tcp(bytes);
            outbox.push(bytes, self.route);
        }
    }

    /// Answers on the full path: now if nothing has to be waited for, else from a task.
    fn answer_in_full(&self, responder: &Responder, socket: &Arc<UdpSocket>, outbox: &mut Outbox, now: &Now) {
        let full = responder.handler().clone().datagram(self.datagram.to_vec(), self.src, self.standing);
        let mut response: Response = Box::pin(full);
        match response.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(None) => {}
            Poll::Ready(Some(response)) => {
                let query = (self.datagram, self.datagram.len());
                let settled = settle(responder, query, &self.standing, response, now);
                let Some(bytes) = settled else { return };
                match outbox.room().and_then(|room| room.get_mut(..bytes.len())) {
                    Some(room) => {
                        room.copy_from_slice(&bytes);
                        outbox.push(bytes.len(), self.route);
                    }
                    None => send_alone(socket, &bytes, &self.route),
                }
            }
            Poll::Pending => {
                // Not kept open by who waits: a server that has stopped must not hold its port.
                let socket = Arc::downgrade(socket);
                let (responder, query_bytes) = (responder.clone(), self.datagram.len());
                let query = intake::reduced(self.datagram).unwrap_or_default();
                let (standing, route) = (self.standing, self.route);
                // Polled again at once, this time with a waker.
                runtime::Handle::current().spawn(async move {
                    let Some(response) = response.await else { return };
                    let now = responder.handler().guard.now();
                    let settled = settle(&responder, (&query, query_bytes), &standing, response, &now);
                    if let (Some(bytes), Some(socket)) = (settled, socket.upgrade()) {
                        send_alone(&socket, &bytes, &route);
                    }
                });
            }
        }
    }
}

/// The response if its sender may get as many bytes, else "come by TCP"; nothing if the datagram was no query. What is
/// sent is counted. Of the query only header, question and OPT record are needed, and its length as it came.
fn settle(
    responder: &Responder,
    (query, query_bytes): (&[u8], usize),
    standing: &Standing,
    (response, sent): (Vec<u8>, Sent),
    now: &Now,
) -> Option<Vec<u8>> {
    let handler = responder.handler();
    if handler.guard.may_send(standing, query_bytes, response.len(), now) {
        handler.metrics.response(&sent);
        return Some(response);
    }
    handler.metrics.guard.limited(Limited::Shortened);
    let mut short = vec![0; usize::from(MAX_UDP_BYTES)];
    let len = scan::truncated(query, Claims::of(&response), standing.cookie_out(), &mut short)?;
    short.truncate(len);
    handler.metrics.response(&Sent::of(&short, Origin::Policy));
    Some(short)
}

/// Sends without waiting: a task must not block its thread.
fn send_alone(socket: &UdpSocket, bytes: &[u8], route: &Route) {
    if let Err(error) = route.send(socket, bytes) {
        debug!(to = ?route.client(), %error, "response not sent");
    }
}

/// Whether a sender's address can be an honest one: others are ways to make this server send somewhere else.
fn can_be_answered(src: SocketAddr) -> bool {
    let is_broadcast = |ip: IpAddr| matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    src.port() != 0 && !src.ip().is_unspecified() && !is_broadcast(src.ip())
}

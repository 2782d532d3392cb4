//! One conversation over a stream of messages: TCP (RFC 7766) or TLS (RFC 7858).
//!
//! Queries may come before earlier ones are answered, and are answered in the order in which answers are ready. What
//! needs no waiting is answered on the spot; the rest are tasks, as many as `Pass::max_in_work` allows.
//! While there is no room for another, or the client does not take what is sent, nothing is read, so that the client has
//! to wait: nothing is dropped. Memory is bounded by one message being read, [`MAX_WORK_BYTES`] and one message in work,
//! and [`OUT_BYTES`] and one message being sent.

use std::{
    collections::VecDeque,
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, error};

use super::{
    frames::{self, Frames},
    hall::{Terms, evicted, serve_until},
};
use crate::{metrics::End, zones::exchange::Responses};

/// Bytes of queries that may be in work before another is begun.
const MAX_WORK_BYTES: usize = 1 << 16;
/// Bytes of answers that are collected before they are sent.
const OUT_BYTES: usize = 1 << 14;
/// How long saying goodbye may take, unless others wait for the place.
const GOODBYE: Duration = Duration::from_millis(500);

type Transfer = Box<dyn Iterator<Item = Vec<u8>> + Send>;

/// Serves one connection until it ends, and says why it did.
pub(crate) async fn converse(socket: impl AsyncRead + AsyncWrite + Unpin, terms: Terms) -> End {
    let mut conversation = Conversation {
        socket,
        terms,
        frames: Frames::default(),
        out: Vec::new(),
        in_work: JoinSet::new(),
        work_bytes: 0,
        transfers: VecDeque::new(),
        ending: None,
        idle_at: Instant::now(),
    };
    conversation.touch();
    let pass = conversation.terms.pass.clone();
    let end = serve_until(pin!(conversation.run()), evicted(&pass)).await.unwrap_or_else(|end| end);
    let goodbye = match end {
        End::Slow | End::Error => return end,
        End::Evicted => Duration::ZERO,
        _ => GOODBYE,
    };
    // The client may be gone already.
    let _ = timeout(goodbye, conversation.socket.shutdown()).await;
    end
}

struct Conversation<S> {
    socket: S,
    terms: Terms,
    frames: Frames,
    out: Vec<u8>,
    /// Queries that wait for something, with their lengths.
    in_work: JoinSet<(Responses, usize)>,
    work_bytes: usize,
    transfers: VecDeque<Transfer>,
    /// Why the connection will end once everything is answered.
    ending: Option<End>,
    idle_at: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    async fn run(&mut self) -> End {
        loop {
            self.take_what_is_ready();
            if !self.out.is_empty() {
                if let Some(end) = self.send().await {
                    return end;
                }
                continue;
            }
            let works = !self.in_work.is_empty() || !self.transfers.is_empty();
            if let (Some(end), false) = (self.ending, works) {
                return end;
            }
            // Looked at here as well: of a client that never stops sending there is always something to read first.
            if !works && self.idle_at <= Instant::now() {
                return End::Idle;
            }
            let listens = self.ending.is_none() && self.has_room();
            tokio::select! {
                biased;
                () = self.terms.stop.wait(), if self.ending.is_none() => self.ending = Some(End::Stopped),
                Some(done) = self.in_work.join_next() => self.done(done),
                read = self.socket.read_buf(self.frames.room()), if listens => match read {
                    Ok(0) => self.ending = Some(End::Client),
                    Ok(_) => {}
                    Err(error) => {
                        debug!(client = %self.terms.client.addr, %error, "connection failed");
                        return End::Error;
                    }
                },
                // Last, so that a transfer holds up nothing else.
                () = std::future::ready(()), if !self.transfers.is_empty() => self.transfer(),
                () = sleep_until(self.idle_at), if !works => return End::Idle,
            }
        }
    }

    /// Collects answers that are there, and begins queries that are there.
    fn take_what_is_ready(&mut self) {
        while self.out.len() < OUT_BYTES {
            if let Some(done) = self.in_work.try_join_next() {
                self.done(done);
            } else if let Some(message) = self.has_room().then(|| self.frames.next()).flatten() {
                self.begin(message);
            } else {
                break;
            }
        }
    }

    fn has_room(&self) -> bool {
        let count = self.in_work.len() + self.transfers.len();
        count < self.terms.pass.max_in_work() && self.work_bytes < MAX_WORK_BYTES
    }

    fn begin(&mut self, message: Vec<u8>) {
        let len = message.len();
        let mut response = Box::pin(self.terms.handler.clone().message(message, self.terms.client));
        // Most answers need no waiting, and so no task.
        match response.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(responses) => self.answer(responses),
            Poll::Pending => {
                self.work_bytes += len;
                self.in_work.spawn(async move { (response.await, len) });
                self.terms.pass.busy();
            }
        }
    }

    fn done(&mut self, done: Result<(Responses, usize), tokio::task::JoinError>) {
        match done {
            Ok((responses, len)) => {
                self.work_bytes = self.work_bytes.saturating_sub(len);
                self.answer(responses);
            }
            Err(error) => {
                error!(%error, "answering a query panicked");
                // Its length is lost with it, and must not count for ever.
                self.work_bytes = 0;
            }
        }
        if self.in_work.is_empty() {
            self.terms.pass.idle();
        }
    }

    fn answer(&mut self, responses: Responses) {
        match responses {
            Responses::None => {}
            Responses::One(message) => frames::push(&mut self.out, &message),
            Responses::Many(messages) => self.transfers.push_back(messages),
        }
    }

    /// Takes the next message of the transfer whose turn it is.
    fn transfer(&mut self) {
        let Some(mut transfer) = self.transfers.pop_front() else { return };
        if let Some(message) = transfer.next() {
            frames::push(&mut self.out, &message);
            self.transfers.push_back(transfer);
        }
    }

    /// Sends what has been collected, unless the client takes too long.
    async fn send(&mut self) -> Option<End> {
        let limit = Duration::from_millis(self.terms.limits.write_timeout_ms);
        // Whoever holds up only itself may have to go.
        self.terms.pass.idle();
        let sent = timeout(limit, write(&mut self.socket, &self.out)).await;
        // Not kept: most connections are idle most of the time.
        self.out = Vec::new();
        self.touch();
        match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                debug!(client = %self.terms.client.addr, %error, "connection failed");
                Some(End::Error)
            }
            Err(_) => Some(End::Slow),
        }
    }

    /// Starts the idle time anew. Only answers do: a client that sends what deserves none is idle.
    fn touch(&mut self) {
        self.idle_at = Instant::now() + Duration::from_millis(self.terms.limits.idle_timeout_ms);
        match self.in_work.is_empty() {
            true => self.terms.pass.idle(),
            false => self.terms.pass.busy(),
        }
    }
}

async fn write(socket: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    socket.write_all(bytes).await?;
    // TLS may hold something back.
    socket.flush().await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hickory_proto::{
        op::{Message, Query},
        rr::{Name, RecordType},
    };
    use tokio::sync::watch;

    use super::*;
    use crate::zones::exchange::Via;

    const DEADLINE: Duration = Duration::from_secs(20);

    async fn read(socket: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
        let len = socket.read_u16().await.expect("a length");
        let mut message = vec![0; usize::from(len)];
        socket.read_exact(&mut message).await.expect("a message");
        message
    }

    /// A transfer is made as it is taken, and other queries are answered in between.
    #[tokio::test]
    async fn a_transfer_holds_up_nothing() {
        const MESSAGES: usize = 200;
        let made = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = made.clone();
        let transfer = (0..MESSAGES).map(move |index| {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            vec![index as u8; 20_000]
        });
        let (_stop, stops) = watch::channel(false);
        let (mut client, socket) = tokio::io::duplex(1_000);
        let mut conversation = Conversation {
            socket,
            terms: Terms::for_a_test(Via::Tcp, stops).await,
            frames: Frames::default(),
            out: Vec::new(),
            in_work: JoinSet::new(),
            work_bytes: 0,
            transfers: VecDeque::from([Box::new(transfer) as Transfer]),
            ending: None,
            idle_at: Instant::now() + DEADLINE,
        };
        let serving = tokio::spawn(async move { conversation.run().await });
        assert_eq!(read(&mut client).await, [0; 20_000]);
        assert!(made.load(std::sync::atomic::Ordering::Relaxed) < 5, "made before it is taken");

        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii("version.bind.").expect("a name"), RecordType::A));
        let mut frame = Vec::new();
        frames::push(&mut frame, &query.to_vec().expect("encodes"));
        client.write_all(&frame).await.expect("written");
        let (mut transferred, mut answered_after) = (1, None);
        while transferred < MESSAGES || answered_after.is_none() {
            let message = tokio::time::timeout(DEADLINE, read(&mut client)).await.expect("in time");
            match message.len() {
                20_000 => transferred += 1,
                _ => answered_after = Some(transferred),
            }
        }
        assert!(answered_after.is_some_and(|count| count < 10), "{answered_after:?}");
        drop(client);
        assert_eq!(tokio::time::timeout(DEADLINE, serving).await.expect("in time").expect("no panic"), End::Client);
    }
}

//! One connection of DNS over HTTPS (RFC 8484): HTTP/2 by h2, one message per request.
//!
//! Streams, headers, bodies and what waits to be sent are capped; requests beyond the streams allowed wait at the client.
//! A response is handed to h2 at once, and waits there for its client: a client that takes nothing can hold no more than
//! its streams, and the connection is closed once nothing has been answered for the idle time, whatever is still to be
//! sent. A request counts as work once its message is there: bodies that do not come keep no connection from making room
//! for others. A request that needs no waiting is answered on the spot; the rest are tasks.

mod opening;
mod outgoing;
mod paced;
mod request;
#[cfg(test)]
mod tests;

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use bytes::{Buf as _, Bytes};
use h2::{
    RecvStream,
    server::{self, SendResponse},
};
use http::{
    Method, Request, Response, StatusCode,
    header::{self, HeaderValue},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::timeout,
};
use tracing::debug;

use super::{
    activity::Activity,
    bodies::{Bodies, Body, NoMore},
    hall::{LAST_ANSWERS, Terms, report, serve_until},
};
use crate::{
    metrics::End,
    serve::handler::Handler,
    zones::exchange::{Client, Responses},
};

use opening::{Opened, expect_http_2};
use outgoing::{Held, Outgoing, Unsent};
use paced::Paced;
use request::{MAX_MESSAGE_BYTES, MEDIA_TYPE, Refusal};

/// Bytes of all headers of a request: a `GET` has its message there, in base64.
const MAX_HEADER_BYTES: u32 = 16_384;
/// Bytes of all responses of a connection that wait for their client to let them come.
const MAX_UNSENT_BYTES: usize = 262_144;
/// Streams that are remembered for a moment after they were reset, because frames for them may still be on their way.
const MAX_RESET_STREAMS: usize = 3;
/// Streams that are refused, and frames for streams that are not open, after which the client is cut off. An honest one may
/// begin a hundred streams before it knows how many it may have, and send a body on each.
const MAX_STRAYS: usize = 256;
/// Bytes that one request, and all of a connection, may send ahead.
const STREAM_WINDOW: u32 = 65_535;
const CONNECTION_WINDOW: u32 = 4 * STREAM_WINDOW;
/// Requests that are taken before the first of them is answered. Whenever HTTP/2 is asked for another one it sends what is
/// to be sent: an answer that goes alone costs a record of TLS and a system call, more than making it.
const MAX_AT_ONCE: usize = 16;
/// How much of the body of a refused request is read before it is answered, and for how long.
const REFUSED_BYTES: usize = 65_536;
const REFUSED_PATIENCE: Duration = Duration::from_millis(300);
/// How long responses may take to leave when the connection ends, unless others wait for its place.
const GOODBYE: Duration = Duration::from_millis(500);

/// A request as HTTP/2 hands it out, and where its response goes.
type Accepted = (Request<RecvStream>, SendResponse<Outgoing>);

/// One connection.
struct Conversation<S> {
    connection: server::Connection<Paced<Opened<S>>, Outgoing>,
    desk: Arc<Desk>,
    path: Arc<str>,
    /// Requests that wait for something.
    in_work: JoinSet<()>,
}

/// What all requests of one connection share.
struct Desk {
    handler: Arc<Handler>,
    client: Client,
    activity: Activity,
    bodies: Bodies,
    unsent: Unsent,
}

/// A request whose headers have come.
struct Asked {
    /// Its message; `None` if that is its body.
    message: Result<Option<Vec<u8>>, Refusal>,
    body: RecvStream,
    /// Whether it asks for the headers of the response only.
    is_head: bool,
}

/// Serves one connection until it ends, and says why it did.
pub(super) async fn converse(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    terms: Terms,
    path: Arc<str>,
) -> End {
    let Terms { handler, limits, client, pass, mut stop } = terms;
    let max_streams = u32::try_from(pass.max_in_work()).unwrap_or(u32::MAX);
    let activity = Activity::new(pass, &limits);
    let failed = |error: h2::Error| {
        debug!(client = %client.addr, %error, "connection failed");
        End::Error
    };
    let desk =
        Desk { handler, client, activity: activity.clone(), bodies: Bodies::default(), unsent: Unsent::default() };
    let desk = Arc::new(desk);
    // In places of their own, and their making too: see `shake_hands`.
    let mut opening = Box::pin(open(socket, max_streams));
    let ended = Box::pin(async {
        tokio::select! {
            end = activity.ended() => end,
            () = stop.wait() => End::Stopped,
        }
    });
    let mut conversation = match serve_until(opening.as_mut(), ended).await {
        Ok(Ok(Some(connection))) => Box::new(Conversation { connection, desk, path, in_work: JoinSet::new() }),
        // It speaks another protocol, or has gone.
        Ok(Ok(None)) => return End::Client,
        Ok(Err(error)) => return failed(error),
        Err(end) => return end,
    };
    drop(opening);
    let end = tokio::select! {
        served = conversation.serve() => return served.map_or_else(failed, |()| End::Client),
        end = activity.ended() => end,
        () = stop.wait() => End::Stopped,
    };
    conversation.connection.graceful_shutdown();
    // Whatever is in work is waited for; the acceptor ends us if that takes too long.
    let drain = conversation.serve();
    match end {
        End::Stopped => drop(drain.await),
        // Its place has been given away.
        End::Evicted => drop(timeout(LAST_ANSWERS, drain).await),
        _ => drop(timeout(GOODBYE, drain).await),
    }
    end
}

/// Waits for the client to begin HTTP/2; `None` if it does not.
async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    max_streams: u32,
) -> Result<Option<server::Connection<Paced<Opened<S>>, Outgoing>>, h2::Error> {
    // An error means that the client has gone.
    let Ok(Some(opened)) = expect_http_2(socket).await else { return Ok(None) };
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(max_streams)
        .max_concurrent_reset_streams(MAX_RESET_STREAMS)
        .max_local_error_reset_streams(Some(MAX_STRAYS))
        .max_header_list_size(MAX_HEADER_BYTES)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder.handshake(Paced::new(opened)).await.map(Some)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    /// Answers requests until the client ends the connection or, once it shuts down, the last one is answered.
    async fn serve(&mut self) -> Result<(), h2::Error> {
        loop {
            tokio::select! {
                accepted = poll_fn(|cx| poll_requests(&mut self.connection, cx)) => match accepted? {
                    requests if requests.is_empty() => return Ok(()),
                    requests => requests.into_iter().for_each(|request| self.begin(request)),
                },
                Some(ended) = self.in_work.join_next() => report(ended),
            }
        }
    }

    fn begin(&mut self, (request, respond): Accepted) {
        let (parts, body) = request.into_parts();
        let message = request::read(&parts, &self.path);
        // What waits is memory: the headers do not stay while a body comes.
        let asked = Asked { message, body, is_head: parts.method == Method::HEAD };
        let mut exchange = Box::pin(self.desk.clone().exchange(asked, respond));
        // Most are done now. Those that are not are polled again at once, with a waker.
        if exchange.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.in_work.spawn(exchange);
        }
    }
}

/// Waits for requests and takes those that are there, up to [`MAX_AT_ONCE`]; none once the connection has ended.
fn poll_requests<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut server::Connection<S, Outgoing>,
    cx: &mut Context<'_>,
) -> Poll<Result<Vec<Accepted>, h2::Error>> {
    let mut requests = Vec::new();
    while requests.len() < MAX_AT_ONCE {
        match connection.poll_accept(cx) {
            Poll::Ready(Some(request)) => requests.push(request?),
            Poll::Ready(None) => break,
            Poll::Pending if requests.is_empty() => return Poll::Pending,
            Poll::Pending => break,
        }
    }
    Poll::Ready(Ok(requests))
}

impl Desk {
    async fn exchange(self: Arc<Self>, asked: Asked, mut respond: SendResponse<Outgoing>) {
        let is_head = asked.is_head;
        let (head, body) = tokio::select! {
            biased;
            response = self.response(asked) => response,
            // Its place among the streams is free again, so what it asked must not stay in work.
            _ = poll_fn(|cx| respond.poll_reset(cx)) => return,
        };
        let sent = match is_head {
            true => respond.send_response(head, true).map(drop),
            false => respond.send_response(head, false).and_then(|mut stream| stream.send_data(body, true)),
        };
        if let Err(error) = sent {
            debug!(client = %self.client.addr, %error, "response not wanted");
        }
    }

    async fn response(&self, asked: Asked) -> (Response<()>, Outgoing) {
        let mut said = self.bodies.begin(MAX_MESSAGE_BYTES);
        let whole = match asked.message {
            Ok(Some(message)) => said.take(&message).map_err(Refusal::from),
            Ok(None) => self.body(asked.body, &mut said).await,
            Err(refusal) => {
                // An answer before the body has come is followed by RST_STREAM(NO_ERROR). That is right (RFC 9113 §8.1),
                // but curl takes it for a failure; so what comes soon is read first.
                let _ = timeout(REFUSED_PATIENCE, discard(asked.body)).await;
                Err(refusal)
            }
        };
        let response = match whole {
            // In a place of its own: a request whose body does not come must not hold this.
            Ok(()) => Box::pin(self.answer(said.end())).await,
            Err(refusal) => Err(refusal),
        };
        response.unwrap_or_else(refused)
    }

    async fn answer(&self, message: Vec<u8>) -> Result<(Response<()>, Outgoing), Refusal> {
        let work = self.activity.begin();
        let responses = self.handler.clone().message(message, self.client).await;
        drop(work);
        let message = match responses {
            Responses::One(message) => message,
            Responses::None => return Err(Refusal::NoQuery),
            Responses::Many(_) => return Err(Refusal::Transfer),
        };
        let held = self.unsent.admit(message.len(), MAX_UNSENT_BYTES)?;
        Ok(answered(message, held))
    }

    async fn body(&self, body: RecvStream, said: &mut Body) -> Result<(), Refusal> {
        let _wait = self.activity.wait();
        timeout(self.activity.wait_limit(), collect(body, said)).await.unwrap_or(Err(Refusal::TooSlow))
    }
}

impl From<NoMore> for Refusal {
    fn from(reason: NoMore) -> Self {
        match reason {
            NoMore::TooLong => Self::TooLong,
            NoMore::GivenUp => Self::GivenUp,
        }
    }
}

/// The next part of a body, which the client may then send more of: what is kept of it is bounded by [`Bodies`].
async fn part(body: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let part = body.data().await?;
    Some(part.and_then(|bytes| body.flow_control().release_capacity(bytes.len()).map(|()| bytes)))
}

/// Reads the message that a body is.
async fn collect(mut body: RecvStream, said: &mut Body) -> Result<(), Refusal> {
    loop {
        let next = tokio::select! {
            biased;
            () = said.given_up() => return Err(Refusal::GivenUp),
            next = part(&mut body) => next,
        };
        match next {
            Some(Ok(bytes)) => said.take(&bytes)?,
            Some(Err(_)) => return Err(Refusal::Unreadable),
            None => return Ok(()),
        }
    }
}

/// Reads a body and keeps nothing of it, up to [`REFUSED_BYTES`].
async fn discard(mut body: RecvStream) {
    let mut left = REFUSED_BYTES;
    while let Some(Ok(bytes)) = part(&mut body).await {
        match left.checked_sub(bytes.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

fn answered(message: Vec<u8>, held: Held) -> (Response<()>, Outgoing) {
    let max_age = format!("max-age={}", request::max_age_s(&message));
    // It may wait for long: without the room that it was made in.
    let body = Outgoing::new(message.into_boxed_slice(), Some(held));
    let mut head = head(StatusCode::OK, MEDIA_TYPE, &body);
    if let Ok(value) = HeaderValue::try_from(max_age) {
        head.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    (head, body)
}

fn refused(refusal: Refusal) -> (Response<()>, Outgoing) {
    let body = Outgoing::new(format!("{refusal}\n"), None);
    let mut head = head(refusal.status(), "text/plain; charset=utf-8", &body);
    if refusal == Refusal::Method {
        head.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    }
    (head, body)
}

/// What every response says of itself. The date is what its age is counted from (RFC 9110 §6.6.1).
fn head(status: StatusCode, media_type: &'static str, body: &Outgoing) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = status;
    let headers = head.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.remaining()));
    if let Ok(value) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())) {
        headers.insert(header::DATE, value);
    }
    head
}

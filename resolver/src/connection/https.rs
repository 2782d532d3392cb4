//! One connection of DNS over HTTPS (RFC 8484): HTTP/2 by hyper, one message per request.
//!
//! Streams, headers, bodies and what waits to be sent are capped; requests beyond the streams allowed wait at the client.
//! HTTP/2 hides from us who reads how slowly: a client that takes nothing can hold no more than its streams, and the
//! connection is closed once nothing has been answered for the idle time, whatever is still to be sent. A request counts
//! as work once its message is there: bodies that do not come keep no connection from making room for others.

mod outgoing;
mod request;

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    Request, Response,
    body::Incoming,
    header::{self, HeaderValue},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tracing::debug;

use super::{activity::Activity, stream::Terms};
use crate::{
    handler::{Client, Handler, Responses},
    metrics::End,
};

use outgoing::{Held, Outgoing, Unsent};
use request::{MAX_MESSAGE_BYTES, MEDIA_TYPE, Refusal};

/// Bytes of all headers of a request: a `GET` has its message there, in base64.
const MAX_HEADER_BYTES: u32 = 16_384;
/// Bytes of one response that HTTP/2 has taken over and not sent.
const SEND_BUFFER_BYTES: usize = 4_096;
/// Bytes of all responses of a connection that wait for their client to let them come.
const MAX_UNSENT_BYTES: usize = 262_144;
/// Bytes that one request, and all of a connection, may send ahead.
const STREAM_WINDOW: u32 = 65_535;
const CONNECTION_WINDOW: u32 = 4 * STREAM_WINDOW;
/// How much of the body of a refused request is read before it is answered, and for how long.
const REFUSED_BYTES: usize = 65_536;
const REFUSED_PATIENCE: Duration = Duration::from_millis(300);
/// How long responses may take to leave when the connection ends, unless others wait for its place.
const GOODBYE: Duration = Duration::from_millis(500);

/// What all requests of one connection share.
struct Desk {
    handler: Arc<Handler>,
    client: Client,
    path: Arc<str>,
    activity: Activity,
    unsent: Unsent,
}

/// Serves one connection until it ends, and says why it did.
pub(super) async fn converse(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    terms: Terms,
    path: Arc<str>,
) -> End {
    let Terms { handler, limits, client, pass, mut stop } = terms;
    let activity = Activity::new(pass, &limits);
    let desk = Arc::new(Desk { handler, client, path, activity: activity.clone(), unsent: Unsent::default() });
    let service = service_fn(move |request| {
        let desk = desk.clone();
        // Several kilobytes, which must not stay with the stream until its client has taken the response.
        let answering = Box::pin(async move { desk.respond(request).await });
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(u32::try_from(limits.max_in_work).unwrap_or(u32::MAX))
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .serve_connection(TokioIo::new(socket), service);
    tokio::pin!(connection);
    let end = tokio::select! {
        served = &mut connection => return match served {
            Ok(()) => End::Client,
            Err(error) => {
                debug!(client = %client.addr, %error, "connection failed");
                End::Error
            }
        },
        end = activity.ended() => end,
        () = stop.wait() => End::Stopped,
    };
    connection.as_mut().graceful_shutdown();
    let drain = async {
        // Whatever is in work is waited for; the acceptor ends us if that takes too long.
        let _ = connection.as_mut().await;
    };
    match end {
        End::Stopped => drain.await,
        // Its place has been given away: what can be sent at once is.
        End::Evicted => drop(timeout(Duration::ZERO, drain).await),
        _ => drop(timeout(GOODBYE, drain).await),
    }
    end
}

impl Desk {
    async fn respond(&self, request: Request<Incoming>) -> Response<Outgoing> {
        let response = match self.answer(request).await {
            Ok(message) => self.unsent.admit(message.len(), MAX_UNSENT_BYTES).map(|held| answered(message, held)),
            Err(refusal) => Err(refusal),
        };
        response.unwrap_or_else(refused)
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Vec<u8>, Refusal> {
        let (parts, body) = request.into_parts();
        let message = match request::read(&parts, &self.path) {
            Ok(Some(message)) => message,
            Ok(None) => self.body(body).await?,
            Err(refusal) => {
                // An answer before the body has come is followed by RST_STREAM(NO_ERROR). That is right (RFC 9113 §8.1),
                // but curl takes it for a failure; so what comes soon is read first.
                let _ = timeout(REFUSED_PATIENCE, discard(body)).await;
                return Err(refusal);
            }
        };
        let work = self.activity.begin();
        // In a place of its own for the same reason: a request whose body does not come must not hold this either.
        let responses = Box::pin(self.handler.clone().message(message, self.client)).await;
        drop(work);
        match responses {
            Responses::One(message) => Ok(message),
            Responses::None => Err(Refusal::NoQuery),
            Responses::Many(_) => Err(Refusal::Transfer),
        }
    }

    async fn body(&self, body: Incoming) -> Result<Vec<u8>, Refusal> {
        let _wait = self.activity.wait();
        let limited = Limited::new(body, MAX_MESSAGE_BYTES).collect();
        match timeout(self.activity.wait_limit(), limited).await {
            Ok(Ok(whole)) => Ok(whole.to_bytes().into()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Refusal::TooLong),
            Ok(Err(_)) => Err(Refusal::Unreadable),
            Err(_) => Err(Refusal::TooSlow),
        }
    }
}

/// Reads a body and keeps nothing of it, up to [`REFUSED_BYTES`].
async fn discard(mut body: Incoming) {
    let mut left = REFUSED_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

fn answered(message: Vec<u8>, held: Held) -> Response<Outgoing> {
    let max_age_s = request::max_age_s(&message);
    let mut response = Response::new(Outgoing::new(message, Some(held)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if let Ok(value) = HeaderValue::try_from(format!("max-age={max_age_s}")) {
        headers.insert(header::CACHE_CONTROL, value);
    }
    response
}

fn refused(refusal: Refusal) -> Response<Outgoing> {
    let mut response = Response::new(Outgoing::new(format!("{refusal}\n"), None));
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if refusal == Refusal::Method {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}

//! One connection of DNS over HTTPS (RFC 8484): HTTP/2 by hyper, one message per request.
//!
//! Streams, headers, bodies and what waits to be sent are capped; requests beyond the streams allowed wait at the client.
//! HTTP/2 hides from us who reads how slowly: a client that takes nothing can hold no more than its streams, and the
//! connection is closed once nothing has been asked for the idle time, whatever is still to be sent.

mod request;

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
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

use request::{MAX_MESSAGE_BYTES, MEDIA_TYPE, Refusal};

/// Bytes of all headers of a request: a `GET` has its message there, in base64.
const MAX_HEADER_BYTES: u32 = 16_384;
/// Bytes of one response that wait to be sent.
const SEND_BUFFER_BYTES: usize = 65_536;
/// Bytes that one request, and all of a connection, may send ahead.
const STREAM_WINDOW: u32 = 65_535;
const CONNECTION_WINDOW: u32 = 4 * STREAM_WINDOW;
/// How long responses may take to leave when the connection ends.
const GOODBYE: Duration = Duration::from_millis(500);

/// What all requests of one connection share.
struct Desk {
    handler: Arc<Handler>,
    client: Client,
    path: Arc<str>,
    body_limit: Duration,
    activity: Activity,
}

/// Serves one connection until it ends, and says why it did.
pub(super) async fn converse(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    terms: Terms,
    path: Arc<str>,
) -> End {
    let Terms { handler, limits, client, pass, mut stop } = terms;
    let activity = Activity::new(pass, Duration::from_millis(limits.idle_timeout_ms));
    let body_limit = Duration::from_millis(limits.write_timeout_ms);
    let desk = Arc::new(Desk { handler, client, path, body_limit, activity: activity.clone() });
    let service = service_fn(move |request| {
        let (desk, work) = (desk.clone(), desk.activity.begin());
        async move {
            let response = desk.respond(request).await;
            drop(work);
            Ok::<_, Infallible>(response)
        }
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
        _ => drop(timeout(GOODBYE, drain).await),
    }
    end
}

impl Desk {
    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match self.answer(request).await {
            Ok(message) => answered(message),
            Err(refusal) => refused(refusal),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Vec<u8>, Refusal> {
        let (parts, body) = request.into_parts();
        let message = match request::read(&parts, &self.path) {
            Ok(Some(message)) => message,
            Ok(None) => self.body(body).await?,
            Err(refusal) => {
                // A stream that is answered before its body has come ends in RST_STREAM, which curl reports instead of
                // the answer.
                let _ = self.body(body).await;
                return Err(refusal);
            }
        };
        match self.handler.clone().message(message, self.client).await {
            Responses::One(message) => Ok(message),
            Responses::None => Err(Refusal::NoQuery),
            Responses::Many(_) => Err(Refusal::Transfer),
        }
    }

    async fn body(&self, body: Incoming) -> Result<Vec<u8>, Refusal> {
        let limited = Limited::new(body, MAX_MESSAGE_BYTES).collect();
        match timeout(self.body_limit, limited).await {
            Ok(Ok(whole)) => Ok(whole.to_bytes().into()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Refusal::TooLong),
            Ok(Err(_)) => Err(Refusal::Unreadable),
            Err(_) => Err(Refusal::TooSlow),
        }
    }
}

fn answered(message: Vec<u8>) -> Response<Full<Bytes>> {
    let max_age_s = request::max_age_s(&message);
    let mut response = Response::new(Full::from(message));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if let Ok(value) = HeaderValue::try_from(format!("max-age={max_age_s}")) {
        headers.insert(header::CACHE_CONTROL, value);
    }
    response
}

fn refused(refusal: Refusal) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{refusal}\n")));
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if refusal == Refusal::Method {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}

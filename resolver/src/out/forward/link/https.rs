//! A connection over HTTP/2 and TLS (RFC 8484).

use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request as HttpRequest, StatusCode, header};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::AbortHandle,
};

use super::{
    LinkError,
    age::{self, Arrived},
};
use crate::out::forward::request::Request;

/// The media type of messages (RFC 8484 §6).
const MEDIA_TYPE: &str = "application/dns-message";
/// The longest message.
const MAX_BYTES: usize = 65_535;

/// The most bytes of headers of a response.
const MAX_HEADER_BYTES: u32 = 16 << 10;

/// One connection. It is closed when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Https {
    sender: SendRequest<Bytes>,
    uri: http::Uri,
    _task: Arc<Task>,
}

struct Task(AbortHandle);

impl Https {
    pub(super) async fn new(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        authority: &str,
        path: &str,
    ) -> Result<Self, LinkError> {
        let uri = http::Uri::builder().scheme("https").authority(authority).path_and_query(path).build();
        let uri = uri.map_err(|error| LinkError::Odd(error.to_string()))?;
        let mut builder = h2::client::Builder::new();
        let (sender, connection) =
            builder.enable_push(false).max_header_list_size(MAX_HEADER_BYTES).handshake(stream).await?;
        let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Self { sender, uri, _task: Arc::new(Task(task)) })
    }

    /// The body of the response to a request, and its age.
    pub(super) async fn ask(&self, request: &Request) -> Result<Arrived, LinkError> {
        // The id is 0, for caches on the way (RFC 8484 §4.1).
        let body = Bytes::from(request.with_id(0));
        let post = HttpRequest::post(self.uri.clone())
            .header(header::CONTENT_TYPE, MEDIA_TYPE)
            .header(header::ACCEPT, MEDIA_TYPE)
            .header(header::CONTENT_LENGTH, body.len())
            .body(())
            .map_err(|error| LinkError::Odd(error.to_string()))?;
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut outgoing) = sender.send_request(post, false)?;
        outgoing.send_data(body, true)?;
        let response = response.await?;
        if response.status() != StatusCode::OK {
            return Err(LinkError::Odd(format!("HTTP status {}", response.status())));
        }
        let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !media_type.is_some_and(is_message) {
            return Err(LinkError::Odd("an HTTP response of another media type".into()));
        }
        let age_s = age::of(response.headers());
        let (mut body, mut message) = (response.into_body(), Vec::new());
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            if message.len() + chunk.len() > MAX_BYTES {
                return Err(LinkError::Odd("an HTTP response that is longer than a message can be".into()));
            }
            message.extend_from_slice(&chunk);
        }
        Ok(Arrived { message, age_s })
    }
}

/// The type without its parameters (RFC 9110 §8.3.1).
fn is_message(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(MEDIA_TYPE)
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl From<h2::Error> for LinkError {
    fn from(error: h2::Error) -> Self {
        Self::Network(error.to_string())
    }
}

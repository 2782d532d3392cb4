//! Where a node is, and one HTTP/1.1 exchange with it.

use std::{fmt, path::PathBuf, str::FromStr};

use http_body_util::Full;
use hyper::{Request, Response, body::Bytes, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use super::error::ClientError;

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket.
    Unix(PathBuf),
    /// `host:port` over plain HTTP; meant for loopback.
    Tcp(String),
}

/// A text names no place where a node could listen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address of a node: expected unix:/path/to/api.sock or http://127.0.0.1:8353")]
pub struct EndpointError(String);

impl Endpoint {
    /// The value of the `Host` header.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Unix(_) => "localhost",
            Self::Tcp(authority) => authority,
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let path = text.strip_prefix("unix:").map(|path| path.strip_prefix("//").unwrap_or(path));
        if let Some(path) = path.or(text.starts_with('/').then_some(text)) {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(EndpointError(text.into())) };
        }
        let authority = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let has_port = authority.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok() && !authority.contains(['/', '@', ' '])
        });
        if has_port { Ok(Self::Tcp(authority.into())) } else { Err(EndpointError(text.into())) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(authority) => write!(f, "http://{authority}"),
        }
    }
}

/// Connects, sends, and waits for the head of the answer.
pub(super) async fn send(
    endpoint: &Endpoint,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, ClientError> {
    let unreachable = |error: std::io::Error| unreachable(endpoint, &error);
    match endpoint {
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(unreachable)?;
            exchange(endpoint, stream, request).await
        }
        Endpoint::Tcp(authority) => {
            let stream = TcpStream::connect(authority).await.map_err(unreachable)?;
            exchange(endpoint, stream, request).await
        }
    }
}

async fn exchange<S>(
    endpoint: &Endpoint,
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, ClientError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let broken = |error: hyper::Error| unreachable(endpoint, &error);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // The connection ends with the answer's body; an error of its own reaches the caller through that body.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(broken)
}

pub(super) fn unreachable(endpoint: &Endpoint, reason: &dyn fmt::Display) -> ClientError {
    ClientError::Unreachable { endpoint: endpoint.to_string(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_from_text() {
        for (text, expected) in [
            ("unix:/run/n/api.sock", Endpoint::Unix("/run/n/api.sock".into())),
            ("unix:///run/n/api.sock", Endpoint::Unix("/run/n/api.sock".into())),
            ("/run/n/api.sock", Endpoint::Unix("/run/n/api.sock".into())),
            ("http://127.0.0.1:8353/", Endpoint::Tcp("127.0.0.1:8353".into())),
            ("[::1]:8353", Endpoint::Tcp("[::1]:8353".into())),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for bad in ["", "unix:relative", "https://x:1", "http://host", "host", "http://a@b:1", ":80"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }
}

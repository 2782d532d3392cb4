//! A connection over QUIC (RFC 9250).

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use quinn::{ClientConfig, Connection, Endpoint, TransportConfig, VarInt, crypto::rustls::QuicClientConfig};

use super::LinkError;
use crate::out::forward::request::Request;

/// The longest message with its length.
const MAX_FRAME_BYTES: usize = 65_537;

/// Bytes of all answers together that are taken before they are read.
const RECEIVE_WINDOW_BYTES: u32 = 1 << 20;

/// One connection. It is closed when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Quic {
    connection: Connection,
    // The socket.
    _endpoint: Arc<Closing>,
}

struct Closing(Endpoint);

impl Quic {
    pub(super) async fn connect(
        address: SocketAddr,
        host: &str,
        tls: Arc<rustls::ClientConfig>,
    ) -> Result<Self, LinkError> {
        let crypto = QuicClientConfig::try_from(tls).map_err(|error| LinkError::Odd(error.to_string()))?;
        let from = match address {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let endpoint = Endpoint::client(from)?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport()));
        let connecting = endpoint.connect_with(config, address, host);
        let connection = connecting.map_err(|error| LinkError::Odd(error.to_string()))?.await?;
        Ok(Self { connection, _endpoint: Arc::new(Closing(endpoint)) })
    }

    /// The message that answers a request: each has a stream of its own, and the id 0 (RFC 9250 §4.2).
    pub(super) async fn ask(&self, request: &Request) -> Result<Vec<u8>, LinkError> {
        let message = request.with_id(0);
        let len = u16::try_from(message.len()).map_err(|_| LinkError::Odd("the question is too long".into()))?;
        let (mut send, mut receive) = self.connection.open_bi().await?;
        let network = |error: String| LinkError::Network(error);
        send.write_all(&[&len.to_be_bytes()[..], &message].concat()).await.map_err(|e| network(e.to_string()))?;
        send.finish().map_err(|error| network(error.to_string()))?;
        let frame = receive.read_to_end(MAX_FRAME_BYTES).await.map_err(|error| network(error.to_string()))?;
        match frame.split_first_chunk::<2>() {
            Some((len, message)) if message.len() == usize::from(u16::from_be_bytes(*len)) => Ok(message.to_vec()),
            _ => Err(LinkError::Odd("a message that is not as long as it says".into())),
        }
    }
}

/// What a server may send: answers to what it was asked, and nothing of its own accord (RFC 9250 §4.2).
fn transport() -> TransportConfig {
    let mut config = TransportConfig::default();
    config.max_concurrent_bidi_streams(VarInt::from_u32(0));
    config.max_concurrent_uni_streams(VarInt::from_u32(0));
    config.stream_receive_window(VarInt::from_u32(MAX_FRAME_BYTES as u32));
    config.receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES));
    config
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close(VarInt::from_u32(0), b"");
    }
}

impl From<quinn::ConnectionError> for LinkError {
    fn from(error: quinn::ConnectionError) -> Self {
        match error {
            quinn::ConnectionError::TimedOut => Self::Timeout,
            other => Self::Network(other.to_string()),
        }
    }
}

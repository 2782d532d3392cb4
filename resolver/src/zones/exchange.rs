//! Who asks over what, and what goes back.

use std::net::SocketAddr;

use hickory_net::xfer::Protocol;
use hickory_proto::op::ResponseCode;

use crate::zones::query::Transport;

/// What a message came over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Via {
    /// UDP.
    Udp,
    /// TCP (RFC 7766).
    Tcp,
    /// TLS (RFC 7858).
    Tls,
    /// HTTP/2 over TLS (RFC 8484).
    Https,
    /// QUIC (RFC 9250).
    Quic,
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Client {
    pub(crate) addr: SocketAddr,
    pub(crate) via: Via,
}

/// What goes back for one message that came on a connection.
pub(crate) enum Responses {
    /// Nothing: it was a response itself, or shorter than a header.
    None,
    /// One message.
    One(Vec<u8>),
    /// A zone transfer: messages made one at a time, as the connection takes them.
    Many(Box<dyn Iterator<Item = Vec<u8>> + Send>),
}

impl Via {
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Self::Udp => Protocol::Udp,
            Self::Tcp => Protocol::Tcp,
            Self::Tls => Protocol::Tls,
            Self::Https => Protocol::Https,
            Self::Quic => Protocol::Quic,
        }
    }

    pub(crate) fn transport(self) -> Transport {
        match self {
            Self::Udp => Transport::Datagram,
            Self::Tcp | Self::Tls | Self::Https | Self::Quic => Transport::Stream,
        }
    }
}

/// What was composed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Composed {
    /// Length of the response in bytes.
    pub bytes: usize,
    /// Type asked for.
    pub qtype: u16,
    /// Response code.
    pub rcode: ResponseCode,
}

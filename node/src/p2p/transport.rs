//! How messages travel: one substream per question, a length cap before anything is kept, one timeout for the whole
//! transfer (set in `behaviour`).
//!
//! Not for: the layouts (`message`). The stream is read in pieces into a buffer that grows with what has arrived, so a
//! peer that announces much and sends little costs little.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ledger::codec::{Decode, DecodeError, decode, encode};
use libp2p::{StreamProtocol, request_response};

use super::message::{Request, Response};

/// Turns messages into substreams.
#[derive(Clone, Copy, Debug, Default)]
pub struct Codec;

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Request;
    type Response = Response;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &Self::Protocol,
        io: &mut T,
    ) -> io::Result<Request> {
        read(io).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &Self::Protocol,
        io: &mut T,
    ) -> io::Result<Response> {
        read(io).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &Self::Protocol,
        io: &mut T,
        request: Request,
    ) -> io::Result<()> {
        io.write_all(&encode(&request)).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &Self::Protocol,
        io: &mut T,
        response: Response,
    ) -> io::Result<()> {
        io.write_all(&encode(&response)).await
    }
}

/// Reads one message up to the end of the stream.
async fn read<M: Decode>(io: &mut (impl AsyncRead + Unpin + Send)) -> io::Result<M> {
    let mut bytes = Vec::new();
    // One byte more than allowed, so that "too long" is told from "exactly full".
    io.take(M::MAX_BYTES as u64 + 1).read_to_end(&mut bytes).await?;
    decode(&bytes).map_err(|error| {
        // A stream that ends early is a peer that stopped, which is nobody's fault; yamux shows a reset the same way.
        let kind = match error {
            DecodeError::Ends(_) => io::ErrorKind::UnexpectedEof,
            DecodeError::TooLong { .. }
            | DecodeError::Trailing(_)
            | DecodeError::Invalid(_)
            | DecodeError::NotCanonical => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_that_ends_early_is_a_lost_connection_and_junk_is_not() {
        let kind = async |bytes: &[u8]| read::<Response>(&mut &bytes[..]).await.expect_err("no message").kind();
        assert_eq!(kind(&[]).await, io::ErrorKind::UnexpectedEof);
        assert_eq!(kind(&[0xff; 64]).await, io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn an_endless_message_is_cut_off() {
        let mut endless = futures::io::repeat(2);
        let error = read::<Request>(&mut endless).await.expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

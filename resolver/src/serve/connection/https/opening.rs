//! What a client says first over HTTPS: the preface of HTTP/2, or something that is answered in the words of HTTP/1.1.
//!
//! A client that does not know HTTP/2 takes its frames for noise, and its user for a broken server. So the first bytes are
//! looked at; they are not many, and what follows them is not read if they are wrong.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// What every connection of HTTP/2 begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What others get.
const REFUSAL: &str = "HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 59\r\nconnection: close\r\n\r\nDNS over HTTPS is served over HTTP/2 only (RFC 8484 \u{a7}5.2)\n";

/// A socket of which the first bytes have been read.
pub(super) struct Opened<S> {
    socket: S,
    /// The preface, as far as it is still to be read.
    unread: &'static [u8],
}

/// Reads the preface. A client that says something else is told so, and the connection is over: `None`.
pub(super) async fn expect_http_2<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S) -> io::Result<Option<Opened<S>>> {
    let mut first = [0; PREFACE.len()];
    let mut len = 0;
    while len < PREFACE.len() {
        match socket.read(&mut first[len..]).await? {
            0 => return Ok(None),
            count => len += count,
        }
        if !PREFACE.starts_with(&first[..len]) {
            socket.write_all(REFUSAL.as_bytes()).await?;
            socket.shutdown().await?;
            return Ok(None);
        }
    }
    Ok(Some(Opened { socket, unread: PREFACE }))
}

impl<S: AsyncRead + Unpin> AsyncRead for Opened<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        }
        let (now, later) = self.unread.split_at(self.unread.len().min(buf.remaining()));
        buf.put_slice(now);
        self.unread = later;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opened<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_is_as_long_as_it_says() {
        let (head, body) = REFUSAL.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }

    #[tokio::test]
    async fn the_preface_is_read_in_whatever_parts_it_comes() {
        for cut in 1..PREFACE.len() {
            let (mut client, server) = tokio::io::duplex(16);
            let client = async move {
                client.write_all(&PREFACE[..cut]).await?;
                client.write_all(&[&PREFACE[cut..], b"and frames"].concat()).await?;
                drop(client);
                io::Result::Ok(())
            };
            let server = async move {
                let mut opened = expect_http_2(server).await.expect("reads").expect("HTTP/2");
                let mut all = Vec::new();
                opened.read_to_end(&mut all).await.expect("reads");
                all
            };
            let (sent, all) = tokio::join!(client, server);
            sent.expect("sent");
            assert_eq!(all, [PREFACE, b"and frames"].concat());
        }
    }
}

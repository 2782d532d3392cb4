//! What leaves a connection, and in how many pieces.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    sync::watch,
    time::timeout,
};

use super::*;
use crate::zones::exchange::Via;

const DEADLINE: Duration = Duration::from_secs(20);
/// version.bind, IN, A, as a parameter.
const URI: &str = "https://dns/dns-query?dns=AAABAAABAAAAAAAAB3ZlcnNpb24EYmluZAAAAQAB";

/// A socket that counts how often it is written to.
struct Counting {
    socket: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counting {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Relaxed);
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// Answers to requests that came together leave together, and more requests than are taken at once are answered too.
#[tokio::test]
async fn answers_leave_together() {
    // As many as may be on their way, and more than are taken at once.
    const ASKED: usize = 64;
    const { assert!(ASKED > MAX_AT_ONCE) };
    let (_stop, stops) = watch::channel(false);
    let (client, socket) = tokio::io::duplex(1 << 16);
    let writes = Arc::new(AtomicUsize::new(0));
    let socket = Counting { socket, writes: writes.clone() };
    let terms = Terms::for_a_test(Via::Https, stops).await;
    let serving = tokio::spawn(converse(socket, terms, "/dns-query".into()));
    let (mut send, connection) = h2::client::handshake(client).await.expect("HTTP/2");
    tokio::spawn(connection);

    let mut ask = |count: usize| {
        let ask = |_| {
            let request = Request::get(URI).body(()).expect("a request");
            send.send_request(request, true).expect("the server listens").0
        };
        (0..count).map(ask).collect::<Vec<_>>()
    };
    // Settings are exchanged with the first.
    for response in ask(1) {
        assert_eq!(timeout(DEADLINE, response).await.expect("in time").expect("an answer").status(), StatusCode::OK);
    }
    let before = writes.load(Relaxed);
    for response in ask(ASKED) {
        let mut response = timeout(DEADLINE, response).await.expect("in time").expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        let body = timeout(DEADLINE, response.body_mut().data()).await.expect("in time");
        assert!(body.is_some_and(|part| part.is_ok_and(|bytes| bytes.len() > 12)));
    }
    let writes = writes.load(Relaxed) - before;
    assert!(writes <= ASKED / 8, "{writes} writes for {ASKED} answers");
    drop(send);
    assert_eq!(timeout(DEADLINE, serving).await.expect("in time").expect("no panic"), End::Client);
}

//! Reading server-sent events (WHATWG HTML §9.2), as far as this interface uses them: `data:` lines of JSON.

use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::{
    connect::{Endpoint, unreachable},
    error::ClientError,
};
use crate::api::types::Event;

/// Longest event accepted, in bytes: an operation with its error is a few kilobytes.
const MAX_EVENT_BYTES: usize = 1 << 18;

/// A stream of events. Dropping it ends the connection.
pub struct EventStream {
    body: Incoming,
    endpoint: Endpoint,
    parser: Parser,
}

impl EventStream {
    pub(super) fn new(body: Incoming, endpoint: Endpoint) -> Self {
        Self { body, endpoint, parser: Parser::default() }
    }

    /// The next event; `None` when the node ends the stream.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(data) = self.parser.pop()? {
                return serde_json::from_slice(&data).map(Some).map_err(|e| ClientError::Decode(e.to_string()));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(unreachable(&self.endpoint, &error)),
                Some(Ok(frame)) => frame.data_ref().into_iter().for_each(|bytes| self.parser.push(bytes)),
            }
        }
    }
}

/// Cuts the byte stream into the data of events; comments and other fields are dropped.
#[derive(Default)]
struct Parser {
    buffer: Vec<u8>,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    fn pop(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let data: Vec<u8> = event
                .split(|byte| *byte == b'\n')
                .filter_map(|line| line.strip_prefix(b"data:"))
                .flat_map(|line| line.strip_prefix(b" ").unwrap_or(line).iter().copied())
                .collect();
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
        if self.buffer.len() > MAX_EVENT_BYTES { Err(ClientError::Decode("event too long".into())) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_wherever_the_chunks_end() {
        let stream = b": hello\n\nevent: tip\ndata: {\"a\":1}\n\ndata:{}\n\n";
        for cut in 0..stream.len() {
            let mut parser = Parser::default();
            let mut seen = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                parser.push(part);
                while let Some(data) = parser.pop().expect("short") {
                    seen.push(String::from_utf8(data).expect("utf-8"));
                }
            }
            assert_eq!(seen, ["{\"a\":1}", "{}"], "cut at {cut}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = Parser::default();
        parser.push(&vec![b'x'; MAX_EVENT_BYTES + 1]);
        assert!(matches!(parser.pop(), Err(ClientError::Decode(_))));
    }
}

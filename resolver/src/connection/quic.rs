//! DNS over QUIC (RFC 9250): one query per stream, each message with its length before it.
//!
//! Streams, windows and idle time are capped; unless there are few connections, new clients have to prove their address
//! first (RFC 9000 §8.1.2). Whoever breaks the rules of RFC 9250 is disconnected, as it asks.

use std::{io, net::UdpSocket, pin::pin, sync::Arc, time::Duration};

use quinn::{
    Connection, ConnectionError, Endpoint, EndpointConfig, Incoming, RecvStream, SendStream, ServerConfig,
    TokioRuntime, TransportConfig, VarInt, crypto::rustls::QuicServerConfig,
};
use tokio::{task::JoinSet, time::timeout};
use tracing::debug;

use super::{
    Admission, DRAIN, HANDSHAKE, Hall, LAST_ANSWERS, Stop, activity::Activity, evicted, frames, gate::Unread, report,
    serve_until, stream::Terms,
};
use crate::{
    config::ConnectionsConfig,
    envelope::Envelope,
    handler::{Client, Handler, Responses, Via},
    metrics::End,
};

/// The longest message with its length.
const MAX_FRAME_BYTES: usize = 2 + u16::MAX as usize;
/// Bytes of a header, with the length before it.
const MIN_FRAME_BYTES: usize = 2 + 12;
/// Bytes that one query, and all of a connection, may send ahead.
const STREAM_WINDOW: u32 = MAX_FRAME_BYTES as u32;
const CONNECTION_WINDOW: u32 = 4 * STREAM_WINDOW;
/// Bytes of answers of one connection that may wait to be taken.
const SEND_WINDOW: u64 = 1 << 18;
/// Handshakes that may wait to be looked at.
const MAX_INCOMING: usize = 256;

/// The EDNS option `edns-tcp-keepalive` (RFC 7828).
const KEEPALIVE: [u8; 2] = [0, 11];

/// Error codes (RFC 9250 §4.3).
const NO_ERROR: VarInt = VarInt::from_u32(0);
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(4);

/// Opens QUIC on a socket.
pub(crate) fn endpoint(
    socket: UdpSocket,
    tls: rustls::ServerConfig,
    limits: &ConnectionsConfig,
) -> io::Result<Endpoint> {
    let crypto = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport(limits)?)).max_incoming(MAX_INCOMING);
    Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))
}

fn transport(limits: &ConnectionsConfig) -> io::Result<TransportConfig> {
    let idle = Duration::from_millis(limits.idle_timeout_ms).try_into().map_err(io::Error::other)?;
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::try_from(limits.max_in_work as u64).unwrap_or(VarInt::MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(Some(idle))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None);
    Ok(transport)
}

/// Accepts connections until it is time to stop.
pub(super) async fn accept(endpoint: Endpoint, hall: Arc<Hall>) {
    let mut stop = hall.stop.clone();
    // Bounded by the gate.
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.wait() => break,
            Some(ended) = open.join_next() => report(ended),
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => admit(incoming, &hall, hall.gate.unread().await, &mut open),
                None => break,
            },
        }
    }
    // Nobody new from here on.
    endpoint.set_server_config(None);
    let drained = async {
        while let Some(ended) = open.join_next().await {
            report(ended);
        }
        endpoint.wait_idle().await;
    };
    let _ = timeout(DRAIN, drained).await;
    endpoint.close(NO_ERROR, b"");
}

fn admit(incoming: Incoming, hall: &Arc<Hall>, unread: Unread, open: &mut JoinSet<()>) {
    let client = Client { addr: incoming.remote_address(), via: Via::Quic };
    let admission = match incoming.remote_address_validated() {
        true => hall.admit(client, unread),
        false => hall.admit_unproven(client, unread),
    };
    match admission {
        Admission::In(terms) => drop(open.spawn(hall.clone().counted(Via::Quic, serve(incoming, *terms)))),
        // The client comes again, with the proof.
        Admission::Unproven => drop(incoming.retry()),
        Admission::Refused => incoming.refuse(),
    }
}

async fn serve(incoming: Incoming, terms: Terms) -> End {
    let connected = async {
        let connecting = incoming.accept()?;
        // The first packet came with it.
        terms.pass.has_spoken();
        connecting.await
    };
    let connection = match serve_until(pin!(timeout(HANDSHAKE, connected)), evicted(&terms.pass)).await {
        Ok(Ok(Ok(connection))) => connection,
        Ok(Ok(Err(error))) => {
            debug!(client = %terms.client.addr, %error, "no QUIC handshake");
            return End::Handshake;
        }
        Ok(Err(_)) => return End::Handshake,
        Err(end) => return end,
    };
    let end = converse(&connection, terms).await;
    let code = match end {
        End::Evicted => EXCESSIVE_LOAD,
        End::Error => PROTOCOL_ERROR,
        _ => NO_ERROR,
    };
    connection.close(code, b"");
    end
}

async fn converse(connection: &Connection, terms: Terms) -> End {
    let Terms { handler, limits, client, pass, stop } = terms;
    let activity = Activity::new(pass, &limits);
    let mut conversation = pin!(exchanges(connection, &handler, client, &activity, stop));
    let ended = tokio::select! {
        end = &mut conversation => return end,
        ended = activity.ended() => ended,
    };
    match ended {
        End::Evicted => timeout(LAST_ANSWERS, conversation).await.unwrap_or(ended),
        _ => ended,
    }
}

/// Answers what comes on all streams of a connection until it ends.
async fn exchanges(
    connection: &Connection,
    handler: &Arc<Handler>,
    client: Client,
    activity: &Activity,
    mut stop: Stop,
) -> End {
    // Bounded by the streams that QUIC allows.
    let mut in_work: JoinSet<Result<(), End>> = JoinSet::new();
    let mut end = None;
    loop {
        if let (Some(end), true) = (end, in_work.is_empty()) {
            return end;
        }
        tokio::select! {
            streams = connection.accept_bi(), if end.is_none() => match streams {
                Ok((send, receive)) => {
                    let (handler, activity) = (handler.clone(), activity.clone());
                    in_work.spawn(async move { exchange(&handler, client, &activity, send, receive).await });
                }
                Err(ConnectionError::TimedOut) => return End::Idle,
                Err(ConnectionError::ApplicationClosed(_) | ConnectionError::ConnectionClosed(_)) => return End::Client,
                Err(error) => {
                    debug!(client = %client.addr, %error, "connection failed");
                    return End::Error;
                }
            },
            Some(done) = in_work.join_next() => match done {
                Ok(Ok(())) => {}
                Ok(Err(end)) => return end,
                Err(error) => tracing::error!(%error, "answering a query panicked"),
            },
            () = stop.wait(), if end.is_none() => end = Some(End::Stopped),
        }
    }
}

/// One stream: a query, and what answers it. An error ends the connection.
async fn exchange(
    handler: &Arc<Handler>,
    client: Client,
    activity: &Activity,
    mut send: SendStream,
    mut receive: RecvStream,
) -> Result<(), End> {
    let limit = activity.wait_limit();
    // Until it has said all and taken all, the client is not idle; but only in between is there work for us.
    let _wait = activity.wait();
    let frame = match timeout(limit, receive.read_to_end(MAX_FRAME_BYTES)).await {
        Ok(Ok(frame)) => frame,
        Ok(Err(quinn::ReadToEndError::TooLong)) => return Err(End::Error),
        // The client gave up, or the connection did.
        Ok(Err(quinn::ReadToEndError::Read(_))) => return Ok(()),
        Err(_) => {
            let _ = receive.stop(PROTOCOL_ERROR);
            let _ = send.reset(PROTOCOL_ERROR);
            return Ok(());
        }
    };
    let Some(query) = query(&frame) else {
        debug!(client = %client.addr, "DNS over QUIC used wrongly");
        return Err(End::Error);
    };
    let work = activity.begin();
    let responses = handler.clone().message(query.to_vec(), client).await;
    drop(work);
    let messages: Box<dyn Iterator<Item = Vec<u8>> + Send> = match responses {
        // A response is no query either.
        Responses::None => return Err(End::Error),
        Responses::One(message) => Box::new(std::iter::once(message)),
        Responses::Many(messages) => messages,
    };
    for message in messages {
        activity.touch();
        if write(&mut send, &message, limit).await? == Written::NotWanted {
            return Ok(());
        }
    }
    // An error means that the client is gone.
    let _ = send.finish();
    let _ = timeout(limit, send.stopped()).await;
    Ok(())
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Written {
    Whole,
    NotWanted,
}

async fn write(send: &mut SendStream, message: &[u8], limit: Duration) -> Result<Written, End> {
    let mut frame = Vec::with_capacity(2 + message.len());
    frames::push(&mut frame, message);
    match timeout(limit, send.write_all(&frame)).await {
        Ok(Ok(())) => Ok(Written::Whole),
        Ok(Err(_)) => Ok(Written::NotWanted),
        Err(_) => Err(End::Slow),
    }
}

/// The query of a stream that keeps to the rules: exactly one message, its identifier 0 (§4.2.1), and no option that
/// only makes sense over TCP (§5.5.2).
fn query(frame: &[u8]) -> Option<&[u8]> {
    let (prefix, message) = frame.split_first_chunk::<2>()?;
    let is_one = usize::from(u16::from_be_bytes(*prefix)) == message.len() && frame.len() >= MIN_FRAME_BYTES;
    (is_one && message.starts_with(&[0, 0]) && !asks_for_keepalive(message)).then_some(message)
}

/// Whether there is the option, as far as the message can be read. Nothing is allocated for what it promises to hold.
fn asks_for_keepalive(message: &[u8]) -> bool {
    let mut options = Envelope::open(message).options.unwrap_or_default();
    while let Some(([code_0, code_1, len_0, len_1], rest)) = options.split_first_chunk() {
        if [*code_0, *code_1] == KEEPALIVE {
            return true;
        }
        options = rest.get(usize::from(u16::from_be_bytes([*len_0, *len_1]))..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::{Edns, Message, Query},
        rr::{Name, RecordType, rdata::opt::EdnsOption},
    };
    use proptest::prelude::*;

    use super::*;

    fn frame(change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::query();
        message.metadata.id = 0;
        message.add_query(Query::query(Name::from_ascii("a.p2p.").expect("a name"), RecordType::A));
        change(&mut message);
        let mut frame = Vec::new();
        frames::push(&mut frame, &message.to_vec().expect("encodes"));
        frame
    }

    fn with_options(codes: &[u16]) -> Vec<u8> {
        frame(|message| {
            let mut edns = Edns::new();
            for code in codes {
                edns.options_mut().insert(EdnsOption::Unknown(*code, vec![0; usize::from(*code) % 3]));
            }
            message.set_edns(edns);
        })
    }

    #[test]
    fn the_rules_of_a_stream() {
        let good = frame(|_| {});
        assert_eq!(query(&good), Some(&good[2..]));
        assert!(query(&with_options(&[100, 65_001, 12])).is_some());
        assert_eq!(query(&with_options(&[11])), None, "keepalive is for TCP");
        assert_eq!(query(&with_options(&[100, 65_001, 11])), None, "keepalive behind others");
        assert_eq!(query(&frame(|message| message.metadata.id = 1)), None);
        assert_eq!(query(&frame(|message| message.metadata.id = 256)), None);
        assert_eq!(query(&[good.clone(), vec![0]].concat()), None);
        assert_eq!(query(&good.repeat(2)), None);
        for short in 0..good.len() {
            assert_eq!(query(&good[..short]), None);
        }
        assert_eq!(query(&[0; 2]), None);
        assert_eq!(query(&[&[0, 11][..], &[0; 11]].concat()), None, "shorter than a header");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_one_message_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(message) = query(&bytes) {
                prop_assert_eq!(message, &bytes[2..]);
                prop_assert_eq!(&message[..2], &[0, 0]);
            }
        }
    }
}

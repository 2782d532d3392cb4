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
    activity::Activity,
    bodies::{Bodies, Body, MAX_BYTES, NoMore},
    frames,
    gate::{Unread, crowd_share},
    hall::{Admission, DRAIN, HANDSHAKE, Hall, LAST_ANSWERS, Stop, Terms, evicted, report, serve_until},
};
use crate::{
    dns::{message::Message, option},
    metrics::End,
    policy::config::ConnectionsConfig,
    serve::{handler::Handler, intake::MAX_QUERY_BYTES},
    zones::exchange::{Client, Responses, Via},
};

/// Bytes of the length before a message.
const PREFIX_BYTES: usize = 2;
/// The longest message with its length.
const MAX_FRAME_BYTES: usize = PREFIX_BYTES + u16::MAX as usize;
/// Bytes of a header, with the length before it.
const MIN_FRAME_BYTES: usize = PREFIX_BYTES + 12;
/// Bytes that one query may send ahead: a whole one. Longer messages are read on, and refused.
const STREAM_WINDOW: u32 = 2 * MAX_QUERY_BYTES as u32;
/// The same for all queries of a connection.
const CONNECTION_WINDOW: u32 = MAX_BYTES as u32;
/// Bytes of answers of one connection that may wait to be taken.
const SEND_WINDOW: u64 = 1 << 18;
/// In a crowd a connection may have so many times less of each.
const CROWD_WINDOW_DIVISOR: u32 = 4;
/// Handshakes that may wait to be looked at.
const MAX_INCOMING: usize = 256;

/// Error codes (RFC 9250 §4.3).
const NO_ERROR: VarInt = VarInt::from_u32(0);
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(4);

/// QUIC on a socket.
pub(crate) struct Quic {
    endpoint: Endpoint,
    /// What a connection that comes into a crowd is offered.
    crowd: Arc<ServerConfig>,
}

/// Opens QUIC on a socket.
pub(crate) fn endpoint(socket: UdpSocket, tls: rustls::ServerConfig, limits: &ConnectionsConfig) -> io::Result<Quic> {
    let crypto = Arc::new(QuicServerConfig::try_from(tls).map_err(io::Error::other)?);
    let config = |share: Share| -> io::Result<ServerConfig> {
        let mut config = ServerConfig::with_crypto(crypto.clone());
        config.transport_config(Arc::new(transport(limits, share)?)).max_incoming(MAX_INCOMING);
        Ok(config)
    };
    let (alone, crowd) = (config(Share::Alone)?, config(Share::Crowd)?);
    let endpoint = Endpoint::new(EndpointConfig::default(), Some(alone), socket, Arc::new(TokioRuntime))?;
    Ok(Quic { endpoint, crowd: Arc::new(crowd) })
}

/// How much of everything a connection may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Share {
    /// All that one may have.
    Alone,
    /// A part, because there are many.
    Crowd,
}

fn transport(limits: &ConnectionsConfig, share: Share) -> io::Result<TransportConfig> {
    let idle = Duration::from_millis(limits.idle_timeout_ms).try_into().map_err(io::Error::other)?;
    let (in_work, divisor) = match share {
        Share::Alone => (limits.max_in_work, 1),
        Share::Crowd => (crowd_share(limits.max_in_work), CROWD_WINDOW_DIVISOR),
    };
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::try_from(in_work as u64).unwrap_or(VarInt::MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(Some(idle))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW / divisor))
        .send_window(SEND_WINDOW / u64::from(divisor))
        .datagram_receive_buffer_size(None);
    Ok(transport)
}

/// Accepts connections until it is time to stop.
pub(super) async fn accept(Quic { endpoint, crowd }: Quic, hall: Arc<Hall>) {
    let mut stop = hall.stop.clone();
    // Bounded by the gate.
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.wait() => break,
            Some(ended) = open.join_next() => report(ended),
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => admit((incoming, &crowd), &hall, hall.gate.unread().await, &mut open),
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

fn admit((incoming, crowd): (Incoming, &Arc<ServerConfig>), hall: &Arc<Hall>, unread: Unread, open: &mut JoinSet<()>) {
    let client = Client { addr: incoming.remote_address(), via: Via::Quic };
    let admission = match incoming.remote_address_validated() {
        true => hall.admit(client, unread),
        false => hall.admit_unproven(client, unread),
    };
    match admission {
        Admission::In(terms) => {
            let is_in_crowd = terms.pass.max_in_work() < terms.limits.max_in_work;
            let offer = is_in_crowd.then(|| crowd.clone());
            open.spawn(hall.clone().counted(Via::Quic, serve(incoming, offer, *terms)));
        }
        // The client comes again, with the proof.
        Admission::Unproven => drop(incoming.retry()),
        Admission::Refused => incoming.refuse(),
    }
}

/// Serves a connection, which is offered what others are unless `offer` says otherwise.
async fn serve(incoming: Incoming, offer: Option<Arc<ServerConfig>>, terms: Terms) -> End {
    let connected = async {
        let connecting = match offer {
            Some(offer) => incoming.accept_with(offer)?,
            None => incoming.accept()?,
        };
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
    let bodies = Bodies::default();
    let mut end = None;
    loop {
        if let (Some(end), true) = (end, in_work.is_empty()) {
            return end;
        }
        tokio::select! {
            streams = connection.accept_bi(), if end.is_none() => match streams {
                Ok((send, receive)) => {
                    let (handler, activity, said) = (handler.clone(), activity.clone(), bodies.begin(MAX_FRAME_BYTES));
                    in_work.spawn(async move { exchange(&handler, client, &activity, said, (send, receive)).await });
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
    mut said: Body,
    (mut send, mut receive): (SendStream, RecvStream),
) -> Result<(), End> {
    let limit = activity.wait_limit();
    // Until it has said all and taken all, the client is not idle; but only in between is there work for us.
    let _wait = activity.wait();
    let given_up = match timeout(limit, collect(&mut receive, &mut said)).await {
        Ok(Ok(())) => None,
        Ok(Err(Unfinished::TooLong)) => return Err(End::Error),
        // The client gave up, or the connection did.
        Ok(Err(Unfinished::Gone)) => return Ok(()),
        Ok(Err(Unfinished::GivenUp)) => Some(EXCESSIVE_LOAD),
        Err(_) => Some(PROTOCOL_ERROR),
    };
    if let Some(code) = given_up {
        let _ = receive.stop(code);
        let _ = send.reset(code);
        return Ok(());
    }
    let len = said.len;
    let Some(query) = query(said.end(), len) else {
        debug!(client = %client.addr, "DNS over QUIC used wrongly");
        return Err(End::Error);
    };
    let work = activity.begin();
    let responses = handler.clone().message(query, client).await;
    drop((work, said));
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

/// Why a stream has no whole query.
enum Unfinished {
    TooLong,
    Gone,
    GivenUp,
}

/// Reads a stream to its end.
async fn collect(receive: &mut RecvStream, said: &mut Body) -> Result<(), Unfinished> {
    loop {
        let next = tokio::select! {
            biased;
            () = said.given_up() => return Err(Unfinished::GivenUp),
            next = receive.read_chunk(usize::MAX, true) => next,
        };
        match next {
            Ok(Some(chunk)) => said.take(&chunk.bytes).map_err(|reason| match reason {
                NoMore::TooLong => Unfinished::TooLong,
                NoMore::GivenUp => Unfinished::GivenUp,
            })?,
            Ok(None) => return Ok(()),
            Err(_) => return Err(Unfinished::Gone),
        }
    }
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

/// The query of a stream of `len` bytes that keeps to the rules: exactly one message, its identifier 0 (§4.2.1), and no
/// option that only makes sense over TCP (§5.5.2). Of a message that is too long the frame has only the beginning.
fn query(mut frame: Vec<u8>, len: usize) -> Option<Vec<u8>> {
    let (prefix, message) = frame.split_first_chunk::<PREFIX_BYTES>()?;
    let is_one = PREFIX_BYTES + usize::from(u16::from_be_bytes(*prefix)) == len && len >= MIN_FRAME_BYTES;
    let is_right = is_one && message.starts_with(&[0, 0]) && !asks_for_keepalive(message);
    is_right.then(|| {
        frame.drain(..PREFIX_BYTES);
        frame
    })
}

/// Whether there is the option, as far as the message can be read. Nothing is allocated for what it promises to hold.
fn asks_for_keepalive(message: &[u8]) -> bool {
    Message::new(message).is_some_and(|message| message.options().first(option::KEEPALIVE).is_some())
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

    fn whole(frame: &[u8]) -> Option<Vec<u8>> {
        query(frame.to_vec(), frame.len())
    }

    #[test]
    fn the_rules_of_a_stream() {
        let good = frame(|_| {});
        assert_eq!(whole(&good), Some(good[2..].to_vec()));
        assert!(whole(&with_options(&[100, 65_001, 12])).is_some());
        assert_eq!(whole(&with_options(&[11])), None, "keepalive is for TCP");
        assert_eq!(whole(&with_options(&[100, 65_001, 11])), None, "keepalive behind others");
        assert_eq!(whole(&frame(|message| message.metadata.id = 1)), None);
        assert_eq!(whole(&frame(|message| message.metadata.id = 256)), None);
        assert_eq!(whole(&[good.clone(), vec![0]].concat()), None);
        assert_eq!(whole(&good.repeat(2)), None);
        for short in 0..good.len() {
            assert_eq!(whole(&good[..short]), None);
        }
        assert_eq!(whole(&[0; 2]), None);
        assert_eq!(whole(&[&[0, 11][..], &[0; 11]].concat()), None, "shorter than a header");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_one_message_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(message) = whole(&bytes) {
                prop_assert_eq!(&message, &bytes[2..]);
                prop_assert_eq!(&message[..2], &[0, 0]);
            }
        }
    }
}

//! Tells secondaries that there is a new version (RFC 1996).
//!
//! One task per secondary. Versions that come while one is being told of are told of together, by the newest. What is
//! not acknowledged is repeated at growing intervals and then given up until the next version: the secondary asks by
//! itself as often as the SOA record says.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::debug;

use crate::{
    dns::{
        HEADER_BYTES, flags,
        message::{Message, QUESTION_TAIL_BYTES, Section},
        rtype,
        writer::write,
    },
    metrics::Notified,
    names::{source::NameSource, table::Published, view::Version},
    out::transfer::{Key, Transfers, on_offer, sign_request, soa, unix_time},
    policy::config::{TransferConfig, TransferError},
    serve::handler::Handler,
    zones::site::Zone,
};

/// How often is looked for a new version.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How long an acknowledgement is waited for, attempt by attempt (RFC 1996 §3.6 asks for growing intervals).
const PATIENCE_S: [u64; 5] = [1, 2, 4, 8, 16];
/// Bytes of the longest acknowledgement looked at.
const MAX_REPLY_BYTES: usize = 1_232;
/// The opcode NOTIFY.
const NOTIFY: u16 = 4 << 11;

/// Begins to tell the secondaries in `config`. `listening` are the addresses that they ask.
pub(crate) fn spawn(
    handler: &Arc<Handler>,
    config: &TransferConfig,
    listening: &[SocketAddr],
) -> Result<JoinSet<()>, TransferError> {
    let mut tasks = JoinSet::new();
    for addr in config.secondaries()? {
        let path = Path { from: source(addr, listening), to: addr };
        tasks.spawn(keep_informed(handler.clone(), path, config.notify_key_name()?));
    }
    Ok(tasks)
}

/// Between which addresses a notification goes.
#[derive(Clone, Copy)]
struct Path {
    from: SocketAddr,
    to: SocketAddr,
}

/// The address that a secondary knows us by, for it may listen to no other: the one that we listen on, if there is only
/// one that it could ask. Else the system chooses. The port is any.
fn source(secondary: SocketAddr, listening: &[SocketAddr]) -> SocketAddr {
    let any: IpAddr = match secondary {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let is_local = secondary.ip().is_loopback();
    let reachable = |ip: IpAddr| ip.is_unspecified() || ip.is_loopback() == is_local;
    let family = listening.iter().filter(|addr| addr.is_ipv4() == secondary.is_ipv4() && reachable(addr.ip()));
    let mut sources: Vec<SocketAddr> = family.map(|addr| with_port(*addr, 0)).collect();
    sources.sort();
    sources.dedup();
    match sources[..] {
        [only] => only,
        _ => (any, 0).into(),
    }
}

fn with_port(mut addr: SocketAddr, port: u16) -> SocketAddr {
    addr.set_port(port);
    addr
}

/// Tells one secondary of every version, for ever.
async fn keep_informed(handler: Arc<Handler>, path: Path, key: Option<crate::dns::name::Dname>) {
    let key = key.and_then(|name| Transfers::key(&handler.transfers, &name).cloned());
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        ticks.tick().await;
        let Some((version, published)) = newest(&*handler.source).filter(|(version, _)| told != Some(*version)) else {
            continue;
        };
        told = Some(version);
        for zone in handler.site.zones() {
            let outcome = tell(&handler, zone, &published, path, key.as_ref()).await;
            debug!(secondary = %path.to, zone = %zone.apex(), serial = version.serial, ?outcome, "notified");
            handler.metrics.transfers.notified(outcome);
        }
    }
}

/// The newest version, if it may be fetched.
fn newest(source: &dyn NameSource) -> Option<(Version, Arc<Published>)> {
    let published = on_offer(source)?;
    Some((published.version()?, published))
}

/// Tells one secondary of one zone, until it answers, patience ends, or there is something newer to tell.
async fn tell(handler: &Handler, zone: &Zone, published: &Published, path: Path, key: Option<&Key>) -> Notified {
    for patience_s in PATIENCE_S {
        match timeout(Duration::from_secs(patience_s), ask(zone, published, path, key)).await {
            Ok(Ok(outcome)) => return outcome,
            Ok(Err(error)) => {
                // Mostly "connection refused": nobody listens there now.
                debug!(secondary = %path.to, from = %path.from.ip(), %error, "notification not sent");
                tokio::time::sleep(Duration::from_secs(patience_s)).await;
            }
            Err(_) => {}
        }
        let is_outdated = newest(&*handler.source).is_none_or(|(version, _)| Some(version) != published.version());
        if is_outdated {
            break;
        }
    }
    Notified::Unanswered
}

/// Sends one notification and waits for its acknowledgement.
async fn ask(zone: &Zone, published: &Published, path: Path, key: Option<&Key>) -> io::Result<Notified> {
    // A port of its own for each: a forged acknowledgement has to guess it, and the ID.
    let socket = UdpSocket::bind(path.from).await?;
    socket.connect(path.to).await?;
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    let mut message = notification(id, zone, published);
    let question_end = message_question_end(zone);
    let question = message[HEADER_BYTES..question_end].to_vec();
    let signing = key.map(|key| sign_request(&mut message, key, unix_time));
    socket.send(&message).await?;
    let mut reply = [0; MAX_REPLY_BYTES];
    loop {
        let len = socket.recv(&mut reply).await?;
        let reply = &reply[..len];
        let Some(header) = Message::new(reply) else { continue };
        let is_reply =
            header.id() == u16::from_be_bytes(id) && header.flags() & (flags::QR | flags::OPCODE) == flags::QR | NOTIFY;
        let same_question =
            reply.get(HEADER_BYTES..question_end).is_none_or(|echo| echo.eq_ignore_ascii_case(&question));
        let is_theirs = signing.as_ref().is_none_or(|signing| signing.accepts(reply));
        if is_reply && same_question && is_theirs {
            return Ok(if header.rcode() == 0 { Notified::Acknowledged } else { Notified::Refused });
        }
    }
}

/// A NOTIFY with the new SOA record as a hint (RFC 1996 §3.7).
fn notification(id: [u8; 2], zone: &Zone, published: &Published) -> Vec<u8> {
    let record = soa(zone, &published.table);
    let question = [zone.apex().as_wire(), &rtype::SOA.to_be_bytes(), &rtype::CLASS_IN.to_be_bytes()].concat();
    write(HEADER_BYTES + question.len() + 2 + 10 + record.data.len(), |writer| {
        writer.put_head(u16::from_be_bytes(id), NOTIFY | flags::AA, &question);
        writer.put_pointer(HEADER_BYTES);
        writer.put_record(rtype::SOA, record.ttl_s, &record.data);
        writer.set_count(Section::Answer, 1);
    })
}

fn message_question_end(zone: &Zone) -> usize {
    HEADER_BYTES + zone.apex().as_wire().len() + QUESTION_TAIL_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(secondary: &str, listening: &[&str], expected: &str) {
        let parse = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let listening: Vec<SocketAddr> = listening.iter().map(|text| parse(text)).collect();
        assert_eq!(source(parse(secondary), &listening), parse(expected), "{secondary} {listening:?}");
    }

    #[test]
    fn notifications_come_from_the_address_that_is_asked() {
        let both = ["127.0.0.1:5354", "192.0.2.1:5354"];
        check("192.0.2.53:53", &both, "192.0.2.1:0");
        check("127.0.0.1:5300", &both, "127.0.0.1:0");
        check("192.0.2.53:53", &["192.0.2.1:53", "192.0.2.1:5354", "[2001:db8::1]:53"], "192.0.2.1:0");
        check("[2001:db8::53]:53", &["192.0.2.1:53", "[2001:db8::1]:53"], "[2001:db8::1]:0");
        check("192.0.2.53:53", &["192.0.2.1:53", "192.0.2.2:53"], "0.0.0.0:0");
        check("192.0.2.53:53", &["192.0.2.1:53", "0.0.0.0:5354"], "0.0.0.0:0");
        check("192.0.2.53:53", &["127.0.0.1:53"], "0.0.0.0:0");
        check("[2001:db8::53]:53", &["192.0.2.1:53"], "[::]:0");
    }
}

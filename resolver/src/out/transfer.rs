//! Zone transfer to secondaries: AXFR (RFC 5936), IXFR (RFC 1995), NOTIFY (RFC 1996), TSIG (RFC 8945).
//!
//! What goes out is a version of the zone ([`Published`]): an immutable snapshot, and what led to it from versions that
//! secondaries may have. A secondary says which one it has by the SOA record in its request, whose mailbox names the
//! block (decision 0016), so a serial that two branches share is never taken for the other's. Whoever is not known to
//! hold a version of our history gets the whole zone.
//!
//! Messages are made while the connection takes them; a transfer holds one snapshot and the records of one shard. The
//! zone goes out unsigned: the node signs while it answers, and secondaries have no part in its key.

mod delta;
mod keys;
mod request;
mod tsig;
mod write;
mod zone;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use hickory_proto::op::ResponseCode;
use ipnet::IpNet;
use tracing::{info, warn};

use crate::{
    dns::{HEADER_BYTES, flags, name::Dname, writer::write},
    metrics::{DnsMetrics, Outcome},
    names::{
        source::{NameSource, NameView as _},
        table::{MAX_WAITING, Published},
        view::{Facts, Readiness},
    },
    policy::{
        config::{TransferConfig, TransferError},
        guard::scan::Claims,
    },
    zones::{
        exchange::{Client, Responses, Via},
        site::{Site, Zone},
    },
};
use delta::Delta;
use request::{ClientSoa, Kind, Request};
use write::Messages;
use zone::{AllNames, ZoneRecord, apex_records};

pub use tsig::{Algorithm, Key};
pub(crate) use tsig::{Checked, Signing, sign_request};
pub(crate) use zone::soa;

/// Serves transfers.
pub(crate) struct Transfers {
    config: TransferConfig,
    keys: Vec<Key>,
    networks: Vec<IpNet>,
    allowed_keys: Vec<Dname>,
    running: Arc<AtomicUsize>,
    metrics: Arc<DnsMetrics>,
}

impl Transfers {
    /// Reads the keys.
    pub(crate) fn new(config: &TransferConfig, metrics: Arc<DnsMetrics>) -> Result<Self, TransferError> {
        let keys = config.key_files.iter().map(|path| keys::load(path)).collect::<Result<Vec<Key>, _>>()?;
        let allowed_keys = config.key_names()?;
        let missing = |name: &Dname| !keys.iter().any(|key| key.name == *name);
        let named = allowed_keys.iter().map(|name| ("allow_keys", name.clone()));
        let named = named.chain(config.notify_key_name()?.map(|name| ("notify_key", name)));
        if let Some((key, name)) = named.into_iter().find(|(_, name)| missing(name)) {
            return Err(TransferError::NoSuchKey { key, name: name.to_string() });
        }
        let networks = config.networks()?;
        Ok(Self { config: config.clone(), keys, networks, allowed_keys, running: Arc::default(), metrics })
    }

    /// Checks the signature of a message, if it has one. A refusal has at most `max_bytes`: names that its sender chose,
    /// compressed there, are not repeated in full to whoever may not get as many bytes.
    pub(crate) fn check(&self, message: &[u8], claims: Claims, max_bytes: usize) -> Checked {
        match tsig::check(message, &self.keys, unix_time, claims) {
            Checked::Refused(error, refusal) => {
                self.metrics.transfers.tsig_error(error);
                let fits = refusal.len() <= max_bytes;
                Checked::Refused(error, if fits { refusal } else { tsig::not_authorised(message, claims) })
            }
            checked => checked,
        }
    }

    /// Answers a request for a zone. `None` if it is none, or one that the ordinary way refuses.
    pub(crate) fn answer(
        &self,
        message: &[u8],
        client: Client,
        signing: Option<&Signing>,
        (site, source, claims): (&Site, &dyn NameSource, Claims),
    ) -> Option<Responses> {
        let request = request::request(message)?;
        let is_incremental = request.kind != Kind::Axfr;
        let count = |outcome| self.metrics.transfers.transfer(is_incremental, outcome);
        if !self.allows(client.addr.ip(), signing) {
            count(Outcome::Denied);
            return None;
        }
        let refuse = |rcode| Some(Responses::One(refusal(&request, rcode, claims, signing.cloned())));
        if request.kind == Kind::IxfrOfNothing {
            count(Outcome::Malformed);
            return refuse(ResponseCode::FormErr);
        }
        let Some(zone) = site.zones().iter().find(|zone| *zone.apex() == request.name) else {
            count(Outcome::Denied);
            return refuse(ResponseCode::NotAuth);
        };
        let Some(published) = on_offer(source) else {
            count(Outcome::NotReady);
            return refuse(ResponseCode::ServFail);
        };
        let newest = soa(zone, &published.table);
        if let Kind::Ixfr(has) = &request.kind {
            let only_soa = match (has_newest(has, zone, &published), client.via) {
                (Some(outcome), _) => Some(outcome),
                (None, Via::Udp | Via::Https) => Some(Outcome::NeedsTcp),
                (None, _) => None,
            };
            if let Some(outcome) = only_soa {
                if outcome == Outcome::Ahead {
                    warn!(
                        client = %client.addr, zone = %zone.apex(), serial = has.serial, version = %has.mailbox,
                        "a secondary is ahead of this server or on another branch; it catches up when serials do"
                    );
                }
                count(outcome);
                let message = Messages::new(&request, claims, std::iter::once(newest), signing.cloned()).next();
                return message.map(Responses::One);
            }
        } else if matches!(client.via, Via::Udp | Via::Https) {
            // One message each, and a zone seldom fits.
            count(Outcome::WrongTransport);
            return None;
        }
        let Some(permit) = Permit::take(&self.running, self.config.max_transfers) else {
            count(Outcome::Busy);
            return refuse(ResponseCode::ServFail);
        };
        let (records, outcome) = records(&request.kind, zone, &published, newest);
        info!(client = %client.addr, zone = %zone.apex(), ?outcome, "zone transfer");
        let messages = Messages::new(&request, claims, records, signing.cloned());
        let metrics = self.metrics.clone();
        Some(Responses::Many(Box::new(Counted {
            messages,
            metrics,
            is_incremental,
            outcome,
            ended: false,
            _permit: permit,
        })))
    }

    /// The key of that name.
    pub(crate) fn key(&self, name: &Dname) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == *name)
    }

    /// Whether somebody there may fetch zones, with a key if need be.
    pub(crate) fn may_come_from(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let from_there = self.networks.is_empty() || self.networks.iter().any(|net| net.contains(&ip));
        self.config.is_enabled() && from_there
    }

    fn allows(&self, ip: IpAddr, signing: Option<&Signing>) -> bool {
        let holds_key = self.allowed_keys.is_empty()
            || signing.is_some_and(|signing| self.allowed_keys.contains(signing.key_name()));
        self.may_come_from(ip) && holds_key
    }
}

/// The newest version, if it may be fetched: from a ready table, and not so old that something must be wrong.
pub(crate) fn on_offer(source: &dyn NameSource) -> Option<Arc<Published>> {
    // The version first: whoever takes names away says so before.
    let published = source.published().filter(|published| published.version().is_some())?;
    let now = source.view().facts();
    let lag = now.height.saturating_sub(published.table.facts().height);
    (now.readiness == Readiness::Ready && lag <= MAX_WAITING).then_some(published)
}

/// What may stand between the first and the last SOA record, and both.
fn records(
    kind: &Kind,
    zone: &Zone,
    published: &Arc<Published>,
    newest: ZoneRecord,
) -> (Box<dyn Iterator<Item = ZoneRecord> + Send>, Outcome) {
    let last = std::iter::once(newest.clone());
    if let Kind::Ixfr(has) = kind
        && let Some((delta, old)) = increment(has, zone, published)
    {
        let delta = Arc::new(delta);
        // The old SOA record as the secondary has it, whatever made it.
        let old = ZoneRecord { data: old, ..newest.clone() };
        let deleted = std::iter::once(old).chain(delta.clone().deleted());
        let added = std::iter::once(newest.clone()).chain(delta.added());
        let all = std::iter::once(newest).chain(deleted).chain(added).chain(last);
        return (Box::new(all), Outcome::Delta);
    }
    let apex = apex_records(zone, &published.table);
    let all = std::iter::once(newest).chain(apex).chain(AllNames::new(published.table.clone())).chain(last);
    (Box::new(all), Outcome::Whole)
}

/// What led from the version that a secondary has to the newest, and the data of its SOA record.
///
/// A secondary that says no more than a serial has that of our history, if this run has given it out: serials do not come
/// again (decision 0016).
fn increment(has: &ClientSoa, zone: &Zone, published: &Arc<Published>) -> Option<(Delta, Vec<u8>)> {
    if !has.is_bare() {
        let is_known = |tag: Option<u64>| tag.is_some() && zone.mailbox(tag) == has.mailbox;
        return Delta::since(published, |step| is_known(step.from.tag)).map(|delta| (delta, has.data.clone()));
    }
    let step = published.steps.iter().find(|step| step.has_serial(has.serial))?;
    let facts = Facts { version: Some(step.from), height: step.height, ..published.table.facts() };
    let delta = Delta::since(published, |step| step.has_serial(has.serial))?;
    // As it was given out: PowerDNS deletes what is the same to the last byte.
    Some((delta, zone.soa(&facts).data.concat()))
}

/// Whether there is nothing to send to a secondary with this SOA record: a serial that does not increase is none to it
/// (RFC 1982).
fn has_newest(has: &ClientSoa, zone: &Zone, published: &Published) -> Option<Outcome> {
    let version = published.version()?;
    let is_older = (version.serial.wrapping_sub(has.serial) as i32) > 0;
    let is_ours = has.is_bare() || version.tag.is_none() || zone.mailbox(version.tag) == has.mailbox;
    let is_same = has.serial == version.serial && is_ours;
    match (is_older, is_same) {
        (true, _) => None,
        (false, true) => Some(Outcome::UpToDate),
        (false, false) => Some(Outcome::Ahead),
    }
}

fn refusal(request: &Request, rcode: ResponseCode, claims: Claims, signing: Option<Signing>) -> Vec<u8> {
    let flags = flags::QR | request.flags | claims.flags() & flags::RA | u16::from(rcode.low());
    let mut message = write(HEADER_BYTES + request.question.len(), |writer| {
        writer.put_head(request.id, flags, &request.question);
    });
    if let Some(mut signing) = signing {
        signing.sign(&mut message);
    }
    message
}

pub(crate) fn unix_time() -> u64 {
    // A clock before 1970 is as wrong as any.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A place among the transfers that run.
struct Permit(Arc<AtomicUsize>);

impl Permit {
    fn take(running: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let more = |count: usize| (count < max).then_some(count + 1);
        running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self(running.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The messages of a transfer, counted.
struct Counted<I> {
    messages: I,
    metrics: Arc<DnsMetrics>,
    is_incremental: bool,
    outcome: Outcome,
    ended: bool,
    _permit: Permit,
}

impl<I: Iterator<Item = Vec<u8>>> Iterator for Counted<I> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let message = self.messages.next();
        match &message {
            Some(message) => self.metrics.transfers.sent(message.len()),
            None => self.ended = true,
        }
        message
    }
}

impl<I> Drop for Counted<I> {
    fn drop(&mut self) {
        let outcome = if self.ended { self.outcome } else { Outcome::Aborted };
        self.metrics.transfers.transfer(self.is_incremental, outcome);
    }
}

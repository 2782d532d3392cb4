//! Answers to plain queries, composed straight into a send buffer.
//!
//! What an answer says comes from [`plain`]; this file knows where the bytes go. Nothing is allocated and nothing is
//! locked: the snapshot is the caller's for a whole batch, and the SOA records of negative answers are built once per
//! snapshot.

use hickory_proto::op::ResponseCode;

use super::{
    fall_through::FallThrough,
    parse::{PlainQuery, Unusual},
};
use crate::{
    dns::{
        HEADER_BYTES, flags,
        message::Section,
        name::{MAX_NAME_BYTES, ancestors},
        option,
        rrset::RrSet,
        rtype,
        writer::Writer,
    },
    names::view::{Facts, NameView, Readiness},
    policy::guard::{Standing, cookie::Cookie},
    serve::handler::Handler,
    zones::{
        answer::{Plain, Set, plain},
        exchange::Composed,
        query::MAX_UDP_BYTES,
        site::Site,
    },
};

/// Composes answers for one worker.
pub struct Composer {
    /// What the records below were made from.
    facts: Option<Facts>,
    /// The SOA record of each zone, in the site's order.
    soas: Vec<Soa>,
    /// The name of the query at hand, lower-cased, without its root byte.
    name: [u8; MAX_NAME_BYTES],
}

/// The SOA record of a zone as a negative answer carries it, without its owner.
struct Soa {
    ttl_s: u32,
    data: Vec<u8>,
}

impl Default for Composer {
    /// A composer that has seen no snapshot.
    fn default() -> Self {
        Self { facts: None, soas: Vec::new(), name: [0; MAX_NAME_BYTES] }
    }
}

impl Composer {
    /// Writes the answer to `datagram` from who has that `standing` into `out`, or says why this is for the full path.
    pub(super) fn compose(
        &mut self,
        handler: &Handler,
        view: &dyn NameView,
        (datagram, standing): (&[u8], &Standing),
        out: &mut [u8; MAX_UDP_BYTES as usize],
    ) -> Result<Composed, FallThrough> {
        let query = PlainQuery::parse(datagram)?;
        if standing.cookie == Cookie::Malformed {
            return Err(Unusual::Option.into());
        }
        if !handler.guard.may_ask(standing.src) {
            return Err(FallThrough::Refused);
        }
        let facts = self.refresh(view, &handler.site);
        let sent_name = query.relative_name();
        let name = &mut self.name[..sent_name.len()];
        name.copy_from_slice(sent_name);
        name.make_ascii_lowercase();
        let (zone, relative) = handler.site.zone_at(name).ok_or(FallThrough::Elsewhere)?;
        if let Some(hosts) = &handler.hosts
            && handler.audience(standing.src).is_some_and(|audience| hosts.load().told_to(audience).has(name))
        {
            return Err(FallThrough::Hosts);
        }
        if facts.readiness != Readiness::Ready {
            return Err(FallThrough::NotReady);
        }
        let found = plain(&name[..relative], query.qtype, view, &facts);
        let mut writer = Writer::new(&mut out[..query.limit.min(usize::from(standing.max_bytes))]);
        let rcode = match found {
            Plain::Other(reason) => return Err(FallThrough::NotPlain(reason)),
            Plain::NxDomain => ResponseCode::NXDomain,
            Plain::NoData | Plain::Data(_) => ResponseCode::NoError,
        };
        let recursion_available = if handler.offers_recursion(standing.src) { flags::RA } else { 0 };
        let claims = flags::QR | flags::AA | recursion_available;
        writer.put_head(query.id, claims | query.flags & flags::RD | u16::from(rcode.low()), query.question);
        match found {
            Plain::Data(set) => put_answers(&mut writer, &set, query.qtype),
            _ => put_authority(&mut writer, &query, &name[relative..], &self.soas[zone]),
        }
        if query.has_edns {
            let cookie = standing.cookie_out().map(|cookie| (option::COOKIE, &cookie[..]));
            writer.put_only_opt(MAX_UDP_BYTES, 0, cookie);
        }
        let bytes = writer.finish().ok_or(FallThrough::TooLong)?;
        Ok(Composed { bytes, qtype: query.qtype, rcode })
    }

    /// Takes note of a snapshot, once.
    fn refresh(&mut self, view: &dyn NameView, site: &Site) -> Facts {
        let facts = view.facts();
        if self.facts != Some(facts) {
            self.facts = Some(facts);
            self.soas.clear();
            self.soas.extend(site.zones().iter().map(|zone| Soa::new(zone.soa(&facts))));
        }
        facts
    }
}

impl Soa {
    fn new(set: RrSet) -> Self {
        Self { ttl_s: set.ttl_s, data: set.data.concat() }
    }
}

fn put_answers(writer: &mut Writer<'_>, set: &Set<'_>, rtype: u16) {
    for data in set.data() {
        writer.put_pointer(HEADER_BYTES);
        writer.put_record(rtype, set.ttl_s, data);
    }
    writer.set_count(Section::Answer, set.count);
}

fn put_authority(writer: &mut Writer<'_>, query: &PlainQuery<'_>, apex: &[u8], soa: &Soa) {
    put_apex(writer, query.relative_name(), apex);
    writer.put_record(rtype::SOA, soa.ttl_s, &soa.data);
    writer.set_count(Section::Authority, 1);
}

/// Writes `apex`, the lower-cased end of the name `asked`, pointing into the question as far as the cases agree: the zone's
/// name is ours, and not to be written as the client would have it.
fn put_apex(writer: &mut Writer<'_>, asked: &[u8], apex: &[u8]) {
    let shared = ancestors(apex).find(|tail| asked.ends_with(tail)).unwrap_or_default();
    writer.put(&apex[..apex.len() - shared.len()]);
    match shared {
        [] => writer.put(&[0]),
        _ => writer.put_pointer(HEADER_BYTES + asked.len() - shared.len()),
    }
}

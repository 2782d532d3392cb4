//! Answers to plain queries, composed straight into a send buffer.
//!
//! What an answer says comes from [`plain`]; this file knows where the bytes go. Nothing is allocated and nothing is
//! locked: the snapshot is the caller's for a whole batch, and the SOA records of negative answers are built once per
//! snapshot.

use hickory_proto::op::ResponseCode;

use super::{
    FallThrough,
    parse::{HEADER_BYTES, PlainQuery, RD, Unusual},
};
use crate::{
    answer::{Plain, RrSet, Set, plain},
    dname::{MAX_NAME_BYTES, ancestors},
    guard::{
        Standing,
        cookie::{COOKIE_BYTES, Cookie},
        scan::COOKIE_OPTION,
    },
    handler::Handler,
    query::MAX_UDP_BYTES,
    rtype,
    site::Site,
    source::{Facts, NameView, Readiness},
};

/// A pointer to the name of the question (RFC 1035 §4.1.4).
const QUESTION_POINTER: u16 = 0xc000 | HEADER_BYTES as u16;
/// Where a header counts answers.
const ANCOUNT_AT: usize = 6;
/// Where a header counts authority records.
const NSCOUNT_AT: usize = 8;
/// QR, in the third byte of a header.
const QR: u8 = 0x80;
/// AA, in the third byte of a header.
const AA: u8 = 0x04;
/// RA, in the fourth byte of a header.
const RA: u8 = 0x80;

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
        let mut writer =
            Writer { out: &mut out[..query.limit.min(usize::from(standing.max_bytes))], at: 0, overflows: false };
        let rcode = match found {
            Plain::Other(reason) => return Err(FallThrough::NotPlain(reason)),
            Plain::NxDomain => ResponseCode::NXDomain,
            Plain::NoData | Plain::Data(_) => ResponseCode::NoError,
        };
        writer.head(&query, rcode, handler.offers_recursion(standing.src));
        match found {
            Plain::Data(set) => writer.answers(&set, query.qtype),
            _ => writer.authority(&query, &name[relative..], &self.soas[zone]),
        }
        if query.has_edns {
            writer.opt(standing.cookie_out());
        }
        match writer.overflows {
            true => Err(FallThrough::TooLong),
            false => Ok(Composed { bytes: writer.at, qtype: query.qtype, rcode }),
        }
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

/// Writes a response. What does not fit is not written, and remembered.
struct Writer<'o> {
    out: &'o mut [u8],
    at: usize,
    overflows: bool,
}

impl Writer<'_> {
    /// The header of an answer without records, and the question.
    fn head(&mut self, query: &PlainQuery<'_>, rcode: ResponseCode, recursion_available: bool) {
        let [id_0, id_1, flags_0, _] = query.id_and_flags;
        let recursion_available = if recursion_available { RA } else { 0 };
        self.put(&[id_0, id_1, QR | AA | (flags_0 & RD), recursion_available | rcode.low()]);
        self.put(&[0, 1, 0, 0, 0, 0, 0, u8::from(query.has_edns)]);
        self.put(query.question);
    }

    fn answers(&mut self, set: &Set<'_>, rtype: u16) {
        for data in set.data() {
            self.put(&QUESTION_POINTER.to_be_bytes());
            self.record(rtype, set.ttl_s, data);
        }
        self.patch(ANCOUNT_AT, set.count);
    }

    fn authority(&mut self, query: &PlainQuery<'_>, apex: &[u8], soa: &Soa) {
        self.apex(query.relative_name(), apex);
        self.record(rtype::SOA, soa.ttl_s, &soa.data);
        self.patch(NSCOUNT_AT, 1);
    }

    /// Writes `apex`, the lower-cased end of the name `asked`, pointing into the question as far as the cases agree:
    /// the zone's name is ours, and not to be written as the client would have it.
    fn apex(&mut self, asked: &[u8], apex: &[u8]) {
        let shared = ancestors(apex).find(|tail| asked.ends_with(tail)).unwrap_or_default();
        self.put(&apex[..apex.len() - shared.len()]);
        match shared {
            [] => self.put(&[0]),
            _ => self.put(&(0xc000 | (HEADER_BYTES + asked.len() - shared.len()) as u16).to_be_bytes()),
        }
    }

    /// Everything of a record but its owner.
    fn record(&mut self, rtype: u16, ttl_s: u32, data: &[u8]) {
        self.put(&rtype.to_be_bytes());
        self.put(&rtype::CLASS_IN.to_be_bytes());
        self.put(&ttl_s.to_be_bytes());
        self.put(&(data.len() as u16).to_be_bytes());
        self.put(data);
    }

    fn opt(&mut self, cookie: Option<&[u8; COOKIE_BYTES]>) {
        let [size_0, size_1] = MAX_UDP_BYTES.to_be_bytes();
        let [type_0, type_1] = rtype::OPT.to_be_bytes();
        let option_bytes = if cookie.is_some() { 4 + COOKIE_BYTES as u8 } else { 0 };
        self.put(&[0, type_0, type_1, size_0, size_1, 0, 0, 0, 0, 0, option_bytes]);
        if let Some(cookie) = cookie {
            self.put(&[0, COOKIE_OPTION as u8, 0, COOKIE_BYTES as u8]);
            self.put(cookie);
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        match self.out.get_mut(self.at..self.at + bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.at += bytes.len();
            }
            None => self.overflows = true,
        }
    }

    fn patch(&mut self, at: usize, count: u16) {
        if let Some(place) = self.out.get_mut(at..at + 2) {
            place.copy_from_slice(&count.to_be_bytes());
        }
    }
}

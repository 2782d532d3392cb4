//! What this server serves and calls itself: its zones, and the records at their top that no owner wrote.
//!
//! One suffix is one zone. Its apex has a synthesised SOA, whose serial is the block height unless a reorganisation needed a larger one, and an NS set; each
//! ledger name is a node of that zone, not a zone of its own, unless its owner delegates it with NS records. The name
//! server of a suffix is `ns.nic.<suffix>`: `nic` is a reserved label (protocol §2.4), so no owner can ever hold it. A
//! suffix that is a real domain can name others, which the parent zone names too ([`Authority`]).

use std::net::IpAddr;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::{
    dns::{
        name::{Dname, DnameError, MAX_LABEL_BYTES, ends_with_labels, split_last_label},
        rrset::RrSet,
        rtype,
    },
    names::view::Facts,
    zones::sign::key,
};

/// The reserved label under which each zone keeps its own host names.
pub const SERVICE_LABEL: &[u8] = b"nic";

/// The name below `nic` by which a program sees that it asks a resolver of the ledger, without its root byte and suffix.
pub(crate) const PROBE_LABEL: &[u8] = b"\x02up";
/// Its address, one for documentation (RFC 5737): nobody shall connect to it.
const PROBE_ADDRESS: [u8; 4] = [192, 0, 2, 1];
/// Its TTL, in seconds: what it says is about now.
const PROBE_TTL_S: u32 = 5;
/// The longest SOA RETRY in seconds.
const MAX_RETRY_S: u32 = 60;
/// SOA EXPIRE in seconds: a secondary without contact serves for a week.
const EXPIRE_S: u32 = 604_800;
/// Counted up whenever the same block gives another zone than before, so that no secondary takes one for the other.
const ZONE_RULES: u8 = 1;
/// TTL, in seconds, of the apex NS set and the name server's addresses.
const APEX_TTL_S: u32 = 3_600;

/// All zones, and the server's identity.
#[derive(Clone, Debug)]
pub struct Site {
    // The longest suffix first, so that the first match is the closest.
    zones: Vec<Zone>,
    server_id: Option<String>,
    encrypted: Vec<Bytes>,
}

/// One suffix.
#[derive(Clone, Debug)]
pub struct Zone {
    apex: Dname,
    // The primary first; at least one.
    name_servers: Vec<Dname>,
    contact: Dname,
    // The name server that is inside the zone, and its addresses.
    own_name_server: Dname,
    addresses: Vec<IpAddr>,
    is_delegated: bool,
    // Digest of what is in the zone besides names.
    salt: u64,
    dnskey: Option<Bytes>,
}

/// What a zone that the public DNS delegates says about itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Authority {
    /// Its name servers, outside the zone, the primary first. If empty, the one at `ns.nic`.
    pub name_servers: Vec<Dname>,
    /// Who is responsible, as SOA RNAME has it.
    pub contact: Option<Dname>,
}

impl Site {
    /// A site with the given zones. `server_id` answers `id.server` and NSID (RFC 4892, RFC 5001).
    pub fn new(mut zones: Vec<Zone>, server_id: Option<String>) -> Self {
        zones.sort_by_key(|zone| std::cmp::Reverse(zone.apex.as_wire().len()));
        Self { zones, server_id, encrypted: Vec::new() }
    }

    /// The zone that `name` belongs to, the one with the longest suffix if there are several.
    pub fn zone_of(&self, name: &Dname) -> Option<&Zone> {
        self.zones.iter().find(|zone| name.is_within(&zone.apex))
    }

    /// The zone that records of type `rtype` at `name` belong to. Of a suffix within another, DS is the outer one's
    /// (RFC 4035 §3.1.4.1).
    pub(crate) fn zone_for(&self, name: &Dname, rtype: u16) -> Option<&Zone> {
        let zone = self.zone_of(name)?;
        let outer = || self.zones.iter().find(|outer| outer.apex != zone.apex && zone.apex.is_within(&outer.apex));
        match rtype == rtype::DS && *name == zone.apex {
            true => outer().or(Some(zone)),
            false => Some(zone),
        }
    }

    /// Whether `name` is one of the server's own: the apex of a zone, or at or below its `nic`.
    pub(crate) fn is_own(&self, name: &Dname) -> bool {
        self.zone_of(name)
            .and_then(|zone| name.relative_to(&zone.apex))
            .is_some_and(|relative| split_last_label(relative).is_none_or(|(_, label)| label == SERVICE_LABEL))
    }

    /// The same site, all zones signed with the key whose DNSKEY data this is.
    pub fn signed_with(mut self, dnskey: &Bytes) -> Self {
        for zone in &mut self.zones {
            zone.dnskey = Some(dnskey.clone());
        }
        self
    }

    /// The same site with encrypted transports, as the data of SVCB records (RFC 9461).
    pub fn with_encrypted(mut self, transports: Vec<Bytes>) -> Self {
        self.encrypted = transports;
        self
    }

    /// The data of an SVCB record for each encrypted transport.
    pub(crate) fn encrypted(&self) -> &[Bytes] {
        &self.encrypted
    }

    /// The same for a lower-cased name without its root byte: the index of the zone, and the length of what stands
    /// below its apex.
    pub(crate) fn zone_at(&self, name: &[u8]) -> Option<(usize, usize)> {
        let apex = |zone: &Zone| zone.apex.as_wire().len() - 1;
        let index = self.zones.iter().position(|zone| ends_with_labels(name, &zone.apex.as_wire()[..apex(zone)]))?;
        Some((index, name.len() - apex(&self.zones[index])))
    }

    /// All zones, the longest suffix first.
    pub(crate) fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// What tells zones that hold the same names apart, for the secondaries of any of them.
    pub(crate) fn digest(&self) -> u64 {
        let mut hash = Sha256::new();
        for zone in &self.zones {
            hash.update(zone.apex.as_wire());
            hash.update(zone.contact.as_wire());
            hash.update(zone.salt.to_be_bytes());
        }
        first_eight(hash)
    }

    /// The operator's name for this server.
    pub fn server_id(&self) -> Option<&str> {
        self.server_id.as_deref()
    }
}

impl Zone {
    /// The zone of `suffix`, whose name server has `addresses`.
    pub fn new(suffix: Dname, addresses: Vec<IpAddr>) -> Result<Self, DnameError> {
        let name_server = suffix.with_prefix(b"\x02ns\x03nic")?;
        let zone = Self {
            name_servers: vec![name_server.clone()],
            contact: suffix.with_prefix(b"\x0ahostmaster\x03nic")?,
            own_name_server: name_server,
            salt: 0,
            apex: suffix,
            addresses,
            is_delegated: false,
            dnskey: None,
        };
        Ok(Self { salt: salt(&zone), ..zone })
    }

    /// The same zone as the public DNS delegates it: with other name servers, if given, and with the records by which
    /// a parent zone learns the key (RFC 7344).
    pub fn delegated(mut self, authority: Authority) -> Self {
        if !authority.name_servers.is_empty() {
            self.name_servers = authority.name_servers;
        }
        self.contact = authority.contact.unwrap_or(self.contact);
        self.is_delegated = true;
        self.salt = salt(&self);
        self
    }

    /// The suffix.
    pub fn apex(&self) -> &Dname {
        &self.apex
    }

    /// Whether there is a key that signs this zone.
    pub fn is_signed(&self) -> bool {
        self.dnskey.is_some()
    }

    /// The SOA record (RFC 1035 §3.3.13) as negative answers carry it (RFC 2308 §3). A secondary asks for the next block
    /// when it is due.
    pub fn soa(&self, facts: &Facts) -> RrSet {
        let negative_ttl_s = facts.negative_ttl_s();
        let primary = self.name_servers.first().unwrap_or(&self.own_name_server);
        let refresh_s = facts.block_interval_s.max(1);
        let retry_s = (refresh_s / 2).clamp(1, MAX_RETRY_S);
        let mailbox = self.mailbox(facts.version.and_then(|version| version.tag));
        let mut data = [primary.as_wire(), mailbox.as_wire()].concat();
        for field in [facts.serial(), refresh_s, retry_s, EXPIRE_S, negative_ttl_s] {
            data.extend_from_slice(&field.to_be_bytes());
        }
        RrSet::one(self.apex.clone(), rtype::SOA, negative_ttl_s, data)
    }

    /// The mailbox in the SOA record. What stands behind `+` identifies the version of the zone, for a serial alone does
    /// not: two blocks can have one height (RFC 5233 calls it a detail; mail goes to the contact).
    pub(crate) fn mailbox(&self, tag: Option<u64>) -> Dname {
        let Some(tag) = tag else { return self.contact.clone() };
        let detail = format!("+{:016x}", tag ^ self.salt);
        let user = self.contact.labels().next().unwrap_or_default();
        let label = [&user[..user.len().min(MAX_LABEL_BYTES - detail.len())], detail.as_bytes()].concat();
        let labels = std::iter::once(&label[..]).chain(self.contact.labels().skip(1));
        // A contact so long that nothing fits behind it gives way: secondaries need the version.
        Dname::from_labels(labels)
            .or_else(|_| Dname::from_labels([&label[..]]))
            .unwrap_or_else(|_| self.contact.clone())
    }

    /// All record sets at the apex.
    pub(crate) fn apex_sets(&self, facts: &Facts) -> Vec<RrSet> {
        let set = |rtype, data| RrSet { data, ..RrSet::one(self.apex.clone(), rtype, APEX_TTL_S, Bytes::new()) };
        let name_servers = self.name_servers.iter().map(|name| Bytes::copy_from_slice(name.as_wire())).collect();
        let mut sets = vec![self.soa(facts), set(rtype::NS, name_servers)];
        if let Some(dnskey) = &self.dnskey {
            sets.push(set(rtype::DNSKEY, vec![dnskey.clone()]));
            if self.is_delegated {
                sets.push(set(rtype::CDS, vec![key::ds(&self.apex, dnskey).into()]));
                sets.push(set(rtype::CDNSKEY, vec![dnskey.clone()]));
            }
        }
        sets
    }

    /// The sets of the probe, `up.nic`: answered whether the ledger is complete or not.
    pub(crate) fn probe_sets(&self) -> Vec<RrSet> {
        let owner = self.apex.with_prefix(&[PROBE_LABEL, &[SERVICE_LABEL.len() as u8], SERVICE_LABEL].concat());
        owner.map(|owner| RrSet::one(owner, rtype::A, PROBE_TTL_S, PROBE_ADDRESS.to_vec())).into_iter().collect()
    }

    /// Whether a name is that of the probe.
    pub(crate) fn is_probe(&self, name: &Dname) -> bool {
        let relative = name.relative_to(&self.apex).and_then(split_last_label);
        relative.is_some_and(|(sub, label)| label == SERVICE_LABEL && sub == PROBE_LABEL)
    }

    /// The DS set that a parent zone has for this one, if it is signed.
    pub(crate) fn signer(&self) -> Option<RrSet> {
        let data = key::ds(&self.apex, self.dnskey.as_ref()?);
        Some(RrSet::one(self.apex.clone(), rtype::DS, APEX_TTL_S, data))
    }

    /// The addresses of the zone's name server.
    pub(crate) fn name_server_sets(&self) -> Vec<RrSet> {
        let mut sets: Vec<RrSet> = Vec::new();
        for address in &self.addresses {
            let (rtype, data) = match address {
                IpAddr::V4(v4) => (rtype::A, Bytes::copy_from_slice(&v4.octets())),
                IpAddr::V6(v6) => (rtype::AAAA, Bytes::copy_from_slice(&v6.octets())),
            };
            match sets.iter_mut().find(|set| set.rtype == rtype) {
                Some(set) => set.data.push(data),
                None => sets.push(RrSet::one(self.own_name_server.clone(), rtype, APEX_TTL_S, data)),
            }
        }
        sets
    }
}

fn salt(zone: &Zone) -> u64 {
    let mut hash = Sha256::new_with_prefix([ZONE_RULES]);
    let mut addresses = zone.addresses.clone();
    addresses.sort_unstable();
    addresses.iter().for_each(|address| hash.update(address.to_string() + " "));
    zone.name_servers.iter().for_each(|name| hash.update(name.as_wire()));
    first_eight(hash)
}

fn first_eight(hash: Sha256) -> u64 {
    hash.finalize().iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names() {
        let zone = |text: &str| Zone::new(text.parse().expect("valid"), Vec::new()).expect("short");
        let site = Site::new(vec![zone("p2p"), zone("p2p.alt")], None);
        for (name, expected) in [
            ("p2p", true),
            ("nic.p2p", true),
            ("x.ns.nic.p2p.alt", true),
            ("alice.p2p", false),
            ("nic.alice.p2p", false),
            ("alt", false),
            ("nic", false),
        ] {
            assert_eq!(site.is_own(&name.parse().expect("valid")), expected, "{name}");
        }
    }

    #[test]
    fn zones_with_other_contents_have_another_digest() {
        let digest = |suffix: &str, addresses: &[&str], contact: Option<&str>| {
            let addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
            let zone = Zone::new(suffix.parse().expect("valid"), addresses).expect("short");
            let contact = contact.map(|contact| contact.parse().expect("valid"));
            Site::new(vec![zone.delegated(Authority { name_servers: Vec::new(), contact })], None).digest()
        };
        let one = digest("p2p", &["192.0.2.1", "192.0.2.2"], None);
        assert_eq!(one, digest("p2p", &["192.0.2.2", "192.0.2.1"], None));
        assert_ne!(one, digest("p2p", &["192.0.2.1"], None));
        assert_ne!(one, digest("alt", &["192.0.2.1", "192.0.2.2"], None));
        assert_ne!(one, digest("p2p", &["192.0.2.1", "192.0.2.2"], Some("a.b")));
    }

    #[test]
    fn the_longest_suffix_wins() {
        let zone = |text: &str| Zone::new(text.parse().expect("valid"), Vec::new()).expect("short");
        let site = Site::new(vec![zone("alt"), zone("p2p.alt"), zone("p2p")], None);
        for (name, expected) in
            [("a.p2p.alt", Some("p2p.alt.")), ("a.alt", Some("alt.")), ("p2p", Some("p2p.")), ("com", None)]
        {
            let name: Dname = name.parse().expect("valid");
            assert_eq!(site.zone_of(&name).map(|zone| zone.apex().to_string()).as_deref(), expected);
            let relative = &name.as_wire()[..name.as_wire().len() - 1];
            let found = site.zone_at(relative).map(|(index, below)| (&site.zones()[index], below));
            assert_eq!(found.map(|(zone, _)| zone.apex().to_string()).as_deref(), expected);
            let below = site.zone_of(&name).and_then(|zone| name.relative_to(zone.apex()));
            assert_eq!(found.map(|(_, below)| below), below.map(<[u8]>::len));
        }
    }
}

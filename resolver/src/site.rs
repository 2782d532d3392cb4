//! What this server serves and calls itself: its zones, and the records at their top that no owner wrote.
//!
//! One suffix is one zone. Its apex has a synthesised SOA, whose serial is the block height, and an NS set; each
//! ledger name is a node of that zone, not a zone of its own, unless its owner delegates it with NS records. The name
//! server of a suffix is `ns.nic.<suffix>`: `nic` is a reserved label (protocol §2.4), so no owner can ever hold it.

use std::net::IpAddr;

use bytes::Bytes;

use crate::{
    answer::RrSet,
    dname::{Dname, DnameError, ends_with_labels},
    rtype,
    source::Facts,
};

/// The reserved label under which each zone keeps its own host names.
pub const SERVICE_LABEL: &[u8] = b"nic";

/// SOA RETRY in seconds.
const RETRY_S: u32 = 60;
/// SOA EXPIRE in seconds: a secondary without contact serves for a week.
const EXPIRE_S: u32 = 604_800;
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
    name_server: Dname,
    hostmaster: Dname,
    addresses: Vec<IpAddr>,
    dnskey: Option<Bytes>,
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

    /// The operator's name for this server.
    pub fn server_id(&self) -> Option<&str> {
        self.server_id.as_deref()
    }
}

impl Zone {
    /// The zone of `suffix`, whose name server has `addresses`.
    pub fn new(suffix: Dname, addresses: Vec<IpAddr>) -> Result<Self, DnameError> {
        Ok(Self {
            name_server: suffix.with_prefix(b"\x02ns\x03nic")?,
            hostmaster: suffix.with_prefix(b"\x0ahostmaster\x03nic")?,
            apex: suffix,
            addresses,
            dnskey: None,
        })
    }

    /// The suffix.
    pub fn apex(&self) -> &Dname {
        &self.apex
    }

    /// Whether there is a key that signs this zone.
    pub fn is_signed(&self) -> bool {
        self.dnskey.is_some()
    }

    /// The SOA record (RFC 1035 §3.3.13) as negative answers carry it (RFC 2308 §3).
    pub fn soa(&self, facts: &Facts) -> RrSet {
        let negative_ttl_s = facts.negative_ttl_s();
        let mut data = [self.name_server.as_wire(), self.hostmaster.as_wire()].concat();
        for field in [facts.height, facts.block_interval_s.max(1), RETRY_S, EXPIRE_S, negative_ttl_s] {
            data.extend_from_slice(&field.to_be_bytes());
        }
        RrSet::one(self.apex.clone(), rtype::SOA, negative_ttl_s, data)
    }

    /// All record sets at the apex.
    pub(crate) fn apex_sets(&self, facts: &Facts) -> Vec<RrSet> {
        let name_servers = RrSet::one(self.apex.clone(), rtype::NS, APEX_TTL_S, self.name_server.as_wire().to_vec());
        let dnskey = self.dnskey.clone().map(|data| RrSet::one(self.apex.clone(), rtype::DNSKEY, APEX_TTL_S, data));
        [self.soa(facts), name_servers].into_iter().chain(dnskey).collect()
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
                None => sets.push(RrSet::one(self.name_server.clone(), rtype, APEX_TTL_S, data)),
            }
        }
        sets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

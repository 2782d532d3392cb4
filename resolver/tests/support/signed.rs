//! Signed zones, and a server for them. Written apart from what checks them: signatures are ring's, canonical form and
//! proofs are made here anew.

#![allow(dead_code, missing_docs)]

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use data_encoding::BASE32_DNSSEC;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::Record,
};
use resolver::dns::{name::Dname, rtype};
use ring::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};

use super::upstream::{Script, encode, record, reply};

pub const NSEC3: u16 = 50;
pub const TTL: u32 = 300;
const HOUR: i64 = 3_600;

/// How a zone says what is absent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denial {
    Nsec,
    Nsec3 { iterations: u16, opt_out: bool },
}

/// A name's labels from the right, and a type.
type Place = (Vec<Vec<u8>>, u16);

/// A zone with one key.
pub struct Zone {
    pub apex: Dname,
    pub denial: Denial,
    /// Seconds from now at which signatures begin and cease to hold.
    pub holds: (i64, i64),
    pub signs: bool,
    key: EcdsaKeyPair,
    flags: u16,
    records: BTreeMap<Place, Vec<Vec<u8>>>,
}

/// Sections of a response before they are sent: owner, type and data.
pub type Section = Vec<(Dname, u16, Vec<u8>)>;

#[derive(Default, Debug)]
pub struct Draft {
    pub is_absent: bool,
    /// Said instead of what is true.
    pub code: Option<ResponseCode>,
    pub answer: Section,
    pub authority: Section,
    pub additional: Section,
    /// Whether it is about others, whom to ask.
    pub is_referral: bool,
}

pub fn name(text: &str) -> Dname {
    text.parse().expect("a name")
}

/// Labels from the right: names sort as RFC 4034 §6.1 says.
fn key_of(name: &Dname) -> Vec<Vec<u8>> {
    let mut labels: Vec<Vec<u8>> = name.labels().map(<[u8]>::to_vec).collect();
    labels.reverse();
    labels
}

fn from_key(key: &[Vec<u8>]) -> Dname {
    Dname::from_labels(key.iter().rev().map(Vec::as_slice)).expect("a name")
}

impl Zone {
    /// A zone of `owner TYPE data` lines, owners relative to `apex`; with SOA and DNSKEY.
    pub fn new(apex: &str, denial: Denial, lines: &[(&str, u16, Vec<u8>)]) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).expect("a key");
        let apex = name(apex);
        let holds = (-HOUR, HOUR);
        let mut zone =
            Self { apex: apex.clone(), denial, holds, signs: true, key, flags: 257, records: BTreeMap::new() };
        let soa = [apex.as_wire(), apex.as_wire(), &[0, 0, 1, 0].repeat(5)].concat();
        zone.add("@", rtype::SOA, soa);
        zone.add("@", rtype::NS, [b"\x03ns1", apex.as_wire()].concat());
        let dnskey = zone.dnskey();
        zone.add("@", rtype::DNSKEY, dnskey);
        lines.iter().for_each(|(owner, rtype, data)| zone.add(owner, *rtype, data.clone()));
        zone
    }

    pub fn add(&mut self, owner: &str, rtype: u16, data: Vec<u8>) {
        let owner = match owner {
            "@" => self.apex.clone(),
            _ => name(&format!("{owner}.{}", self.apex)),
        };
        self.records.entry((key_of(&owner), rtype)).or_default().push(data);
    }

    pub fn dnskey(&self) -> Vec<u8> {
        let [high, low] = self.flags.to_be_bytes();
        [&[high, low, 3, 13], &self.key.public_key().as_ref()[1..]].concat()
    }

    /// Its DS data, with the digest of that type.
    pub fn ds(&self, digest_type: u8) -> Vec<u8> {
        let (kind, key) = (if digest_type == 4 { &SHA384 } else { &SHA256 }, self.dnskey());
        let [high, low] = tag(&key).to_be_bytes();
        let digest = digest(kind, &[self.apex.as_wire(), &key].concat());
        [&[high, low, 13, digest_type], digest.as_ref()].concat()
    }

    /// RRSIG data for a set.
    pub fn sign(&self, owner: &Dname, rtype: u16, data: &[Vec<u8>]) -> Vec<u8> {
        let labels = owner.labels().filter(|label| *label != b"*").count() as u8;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
        let [begin, end] = [self.holds.0, self.holds.1].map(|from_now| (now + from_now) as u32);
        let mut rrsig = [&rtype.to_be_bytes()[..], &[13, labels], &TTL.to_be_bytes()].concat();
        rrsig.extend_from_slice(&end.to_be_bytes());
        rrsig.extend_from_slice(&begin.to_be_bytes());
        rrsig.extend_from_slice(&tag(&self.dnskey()).to_be_bytes());
        rrsig.extend_from_slice(self.apex.as_wire());
        let mut message = rrsig.clone();
        let mut sorted = data.to_vec();
        sorted.sort();
        for data in &sorted {
            message.extend_from_slice(owner.as_wire());
            message.extend_from_slice(&rtype.to_be_bytes());
            message.extend_from_slice(&[0, 1]);
            message.extend_from_slice(&TTL.to_be_bytes());
            message.extend_from_slice(&(data.len() as u16).to_be_bytes());
            message.extend_from_slice(data);
        }
        let signature = self.key.sign(&SystemRandom::new(), &message).expect("signed");
        [&rrsig, signature.as_ref()].concat()
    }

    fn set(&self, owner: &Dname, rtype: u16) -> Option<&Vec<Vec<u8>>> {
        self.records.get(&(key_of(owner), rtype))
    }

    fn types(&self, owner: &Dname) -> Vec<u16> {
        let key = key_of(owner);
        self.records.keys().filter(|(at, _)| *at == key).map(|(_, rtype)| *rtype).collect()
    }

    /// Whether records are there or below.
    fn exists(&self, owner: &Dname) -> bool {
        let key = key_of(owner);
        self.records.keys().any(|(at, _)| at.starts_with(&key))
    }

    fn owners(&self) -> Vec<Dname> {
        let mut keys: Vec<&Vec<Vec<u8>>> = self.records.keys().map(|(at, _)| at).collect();
        keys.dedup();
        keys.into_iter().map(|key| from_key(key)).collect()
    }

    fn push(&self, section: &mut Section, owner: &Dname, (source, rtype): (&Dname, u16), data: &[Vec<u8>]) {
        section.extend(data.iter().map(|data| (owner.clone(), rtype, data.clone())));
        if self.signs {
            section.push((owner.clone(), rtype::RRSIG, self.sign(source, rtype, data)));
        }
    }

    /// The truth about a name.
    pub fn draft(&self, qname: &Dname, qtype: u16) -> Draft {
        let mut draft = Draft::default();
        let above = || std::iter::successors(Some(qname.clone()), parent).take_while(|at| at.is_within(&self.apex));
        let closest = above().find(|at| self.exists(at)).unwrap_or_else(|| self.apex.clone());
        let is_made = closest != *qname;
        let source = if is_made { closest.with_prefix(b"\x01*").expect("short") } else { qname.clone() };
        let dname = above().skip(1).find_map(|at| Some((at.clone(), self.set(&at, rtype::DNAME)?.clone())));
        if let Some((owner, data)) = dname {
            self.push(&mut draft.answer, &owner, (&owner, rtype::DNAME), &data);
            let prefix = qname.relative_to(&owner).expect("below");
            draft.answer.push((qname.clone(), rtype::CNAME, [prefix, &data[0]].concat()));
            return draft;
        }
        let found = self.set(&source, qtype).map(|data| (qtype, data));
        match found.or_else(|| self.set(&source, rtype::CNAME).map(|data| (rtype::CNAME, data))) {
            Some((rtype, data)) => self.push(&mut draft.answer, qname, (&source, rtype), data),
            None => {
                draft.is_absent = !self.exists(&source);
                let soa = self.set(&self.apex, rtype::SOA).expect("one");
                self.push(&mut draft.authority, &self.apex, (&self.apex, rtype::SOA), soa);
            }
        }
        if self.signs && (is_made || draft.answer.is_empty()) {
            let wildcards = above().filter_map(|at| at.with_prefix(b"\x01*").ok());
            let about: Vec<Dname> = above().chain(wildcards).collect();
            match self.denial {
                Denial::Nsec => self.nsec(&about, &mut draft.authority),
                Denial::Nsec3 { iterations, opt_out } => {
                    self.nsec3(&about, (iterations, opt_out), &mut draft.authority)
                }
            }
        }
        draft
    }

    /// The records at or in front of names.
    fn nsec(&self, about: &[Dname], section: &mut Section) {
        let owners = self.owners();
        for (at, owner) in owners.iter().enumerate() {
            let next = &owners[(at + 1) % owners.len()];
            let (from, to) = (key_of(owner), key_of(next));
            let speaks_of = |name: &Dname| {
                let key = key_of(name);
                key == from || (from < key && (key < to || to <= from))
            };
            if about.iter().any(speaks_of) {
                let types = [self.types(owner), vec![rtype::RRSIG, rtype::NSEC]].concat();
                let data = vec![[next.as_wire(), &bitmap(&types)].concat()];
                self.push(section, owner, (owner, rtype::NSEC), &data);
            }
        }
    }

    fn nsec3(&self, about: &[Dname], (iterations, opt_out): (u16, bool), section: &mut Section) {
        let mut all: Vec<(Vec<u8>, Vec<u16>)> = Vec::new();
        for owner in self.owners() {
            let types = self.types(&owner);
            let is_unsigned_cut =
                types.contains(&rtype::NS) && !types.contains(&rtype::DS) && !types.contains(&rtype::SOA);
            if !(opt_out && is_unsigned_cut) {
                all.push((hash(&owner, iterations), types));
            }
            // Names with nothing but names below them.
            let between = std::iter::successors(parent(&owner), parent).take_while(|at| at.is_within(&self.apex));
            all.extend(between.filter(|at| self.types(at).is_empty()).map(|at| (hash(&at, iterations), vec![])));
        }
        all.sort();
        all.dedup();
        let about: Vec<Vec<u8>> = about.iter().map(|name| hash(name, iterations)).collect();
        for (at, (from, types)) in all.iter().enumerate() {
            let to = &all[(at + 1) % all.len()].0;
            let speaks_of =
                |it: &&Vec<u8>| *it == from || (from < *it && *it < to) || (to <= from && (from < *it || *it < to));
            if about.iter().any(|it| speaks_of(&it)) {
                let [high, low] = iterations.to_be_bytes();
                let types = if types.is_empty() { vec![] } else { [types.clone(), vec![rtype::RRSIG]].concat() };
                let data = [&[1, u8::from(opt_out), high, low, 0, 20][..], to, &bitmap(&types)].concat();
                let owner = name(&format!("{}.{}", BASE32_DNSSEC.encode(from), self.apex));
                self.push(section, &owner, (&owner, NSEC3), &[data]);
            }
        }
    }
}

/// A server of zones, which changes what it says as it is told.
pub fn serve(zones: Vec<Zone>, change: impl Fn(&[Zone], (&Dname, u16), &mut Draft) + Send + Sync + 'static) -> Script {
    Arc::new(move |question, _| {
        let mut response = reply(question);
        let query = &question.queries[0];
        let qname = Dname::from_labels(query.name().iter()).expect("a name");
        let qtype = u16::from(query.query_type());
        // DS records are the parent's.
        let speaks = |zone: &&Zone| qname.is_within(&zone.apex) && !(qtype == rtype::DS && qname == zone.apex);
        let Some(zone) = zones.iter().filter(speaks).max_by_key(|zone| zone.apex.labels().count()) else {
            response.metadata.response_code = ResponseCode::Refused;
            return vec![encode(&response)];
        };
        let mut draft = zone.draft(&qname, qtype);
        change(&zones, (&qname, qtype), &mut draft);
        response.metadata.authoritative = !draft.is_referral;
        if draft.is_absent {
            response.metadata.response_code = ResponseCode::NXDomain;
        }
        if let Some(code) = draft.code {
            response.metadata.response_code = code;
        }
        fill(&mut response, draft);
        vec![encode(&response)]
    })
}

fn fill(response: &mut Message, draft: Draft) {
    let dnssec = response.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
    let records = |section: Section| -> Vec<Record> {
        let kept =
            section.into_iter().filter(|(_, rtype, _)| dnssec || !matches!(*rtype, rtype::RRSIG | rtype::NSEC | NSEC3));
        kept.map(|(owner, rtype, data)| record(&owner.to_string(), rtype, TTL, &data)).collect()
    };
    response.answers = records(draft.answer);
    response.authorities = records(draft.authority);
    response.additionals = records(draft.additional);
}

pub fn tag(key: &[u8]) -> u16 {
    let sum: u32 = key.iter().enumerate().map(|(at, byte)| u32::from(*byte) << (8 * (1 - at % 2))).sum();
    (sum + (sum >> 16)) as u16
}

fn hash(name: &Dname, iterations: u16) -> Vec<u8> {
    (0..=iterations)
        .fold(name.as_wire().to_vec(), |input, _| digest(&SHA1_FOR_LEGACY_USE_ONLY, &input).as_ref().to_vec())
}

fn bitmap(types: &[u16]) -> Vec<u8> {
    let mut bits = [0; 32];
    types.iter().for_each(|rtype| bits[usize::from(rtype / 8)] |= 0x80 >> (rtype % 8));
    if types.is_empty() { Vec::new() } else { [&[0, 32][..], &bits].concat() }
}

fn parent(name: &Dname) -> Option<Dname> {
    let mut labels = name.labels();
    labels.next()?;
    Dname::from_labels(labels).ok()
}

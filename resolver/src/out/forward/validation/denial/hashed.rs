//! NSEC3: the same with hashes of names in place of names (RFC 5155 §8).
//!
//! Records of more than [`MAX_ITERATIONS`] iterations are not looked into: a zone that has them counts as unsigned where
//! something is absent (RFC 9276 §3.2).

use std::collections::HashMap;

use data_encoding::BASE32_DNSSEC;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::types::{Types, parent, wildcard};
use crate::{
    dns::{name::Dname, rrset::RrSet},
    out::forward::validation::{
        budget::Budget,
        outcome::{Bogus, Status},
    },
};

/// The most iterations that count, as for most validators.
const MAX_ITERATIONS: u16 = 50;
/// The only hash there is.
const SHA1: u8 = 1;
/// The only flag there is: unsigned delegations are left out.
const OPT_OUT: u8 = 1;
const HASH_BYTES: usize = 20;

type Hash = [u8; HASH_BYTES];

/// One record.
struct Nsec3 {
    owner: Hash,
    next: Hash,
    has_opt_out: bool,
    types: Types,
}

/// How names are hashed.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Parameters {
    iterations: u16,
    salt: Vec<u8>,
}

/// The records of one response that belong together.
pub(super) struct Nsec3s {
    apex: Dname,
    parameters: Option<Parameters>,
    records: Vec<Nsec3>,
}

/// What is closest above a name that does not exist.
struct Encloser<'a> {
    name: Dname,
    /// The record that covers the name one label longer.
    cover: &'a Nsec3,
}

impl Nsec3s {
    /// Reads sets; those that do not have the parameters of the first one are left out (RFC 5155 §8.2).
    pub(super) fn read<'a>(apex: &Dname, sets: impl Iterator<Item = &'a RrSet>) -> Self {
        let mut all = Self { apex: apex.clone(), parameters: None, records: Vec::new() };
        for (parameters, record) in sets.filter_map(|set| read(apex, set)) {
            if *all.parameters.get_or_insert_with(|| parameters.clone()) == parameters {
                all.records.push(record);
            }
        }
        all
    }

    pub(super) fn no_data(&self, name: &Dname, qtype: u16, budget: &mut Budget) -> Result<Option<Status>, Bogus> {
        let Some(mut hasher) = self.hasher(budget) else { return Ok(self.uncounted()) };
        if let Some(record) = self.at(&hasher.hash(name)?) {
            return Ok(record.types.denies(qtype).then_some(Status::Secure));
        }
        let Some(encloser) = self.encloser(name, &mut hasher)? else { return Ok(None) };
        let source = match wildcard(&encloser.name) {
            Some(source) => self.at(&hasher.hash(&source)?),
            None => None,
        };
        let is_denied = source.is_some_and(|record| record.types.denies(qtype));
        // Without a wildcard there may be an unsigned delegation, or what has only such ones below it.
        Ok((is_denied || encloser.cover.has_opt_out).then_some(encloser.status()))
    }

    pub(super) fn no_name(&self, name: &Dname, budget: &mut Budget) -> Result<Option<Status>, Bogus> {
        let Some(mut hasher) = self.hasher(budget) else { return Ok(self.uncounted()) };
        let Some(encloser) = self.encloser(name, &mut hasher)? else { return Ok(None) };
        let Some(source) = wildcard(&encloser.name) else { return Ok(None) };
        let is_denied = self.covering(&hasher.hash(&source)?).is_some();
        Ok(is_denied.then_some(encloser.status()))
    }

    pub(super) fn nothing_closer(
        &self,
        name: &Dname,
        encloser: &Dname,
        budget: &mut Budget,
    ) -> Result<Option<Status>, Bogus> {
        let Some(mut hasher) = self.hasher(budget) else { return Ok(self.uncounted()) };
        let mut above = std::iter::successors(Some(name.clone()), parent);
        let Some(closer) = above.find(|closer| parent(closer).as_ref() == Some(encloser)) else { return Ok(None) };
        let cover = self.covering(&hasher.hash(&closer)?);
        Ok(cover.map(|cover| if cover.has_opt_out { Status::Insecure } else { Status::Secure }))
    }

    pub(super) fn is_unsigned_cut(&self, name: &Dname, budget: &mut Budget) -> Result<bool, Bogus> {
        let Some(mut hasher) = self.hasher(budget) else { return Ok(self.uncounted().is_some()) };
        if let Some(record) = self.at(&hasher.hash(name)?) {
            return Ok(record.types.is_unsigned_cut());
        }
        Ok(self.encloser(name, &mut hasher)?.is_some_and(|encloser| encloser.cover.has_opt_out))
    }

    /// `None` if there are no records, or they cost too much.
    fn hasher<'a>(&'a self, budget: &'a mut Budget) -> Option<Hasher<'a>> {
        let parameters = self.parameters.as_ref().filter(|parameters| parameters.iterations <= MAX_ITERATIONS)?;
        Some(Hasher { parameters, budget, known: HashMap::new() })
    }

    /// What records say that cost too much.
    fn uncounted(&self) -> Option<Status> {
        self.parameters.as_ref().map(|_| Status::Insecure)
    }

    fn at(&self, hash: &Hash) -> Option<&Nsec3> {
        self.records.iter().find(|record| record.owner == *hash)
    }

    fn covering(&self, hash: &Hash) -> Option<&Nsec3> {
        self.records.iter().find(|record| record.covers(hash))
    }

    /// The proof that `name` does not exist (RFC 5155 §8.3).
    fn encloser(&self, name: &Dname, hasher: &mut Hasher<'_>) -> Result<Option<Encloser<'_>>, Bogus> {
        let mut longer = hasher.hash(name)?;
        for above in std::iter::successors(parent(name), parent).take_while(|above| above.is_within(&self.apex)) {
            let hash = hasher.hash(&above)?;
            if let Some(record) = self.at(&hash) {
                let cover = self.covering(&longer).filter(|_| !record.types.ends_here());
                return Ok(cover.map(|cover| Encloser { name: above, cover }));
            }
            longer = hash;
        }
        Ok(None)
    }
}

impl Encloser<'_> {
    fn status(&self) -> Status {
        if self.cover.has_opt_out { Status::Insecure } else { Status::Secure }
    }
}

impl Nsec3 {
    fn covers(&self, hash: &Hash) -> bool {
        match self.owner < self.next {
            true => self.owner < *hash && *hash < self.next,
            // The last one leads to the first.
            false => self.owner < *hash || *hash < self.next,
        }
    }
}

/// Hashes names, each once.
struct Hasher<'a> {
    parameters: &'a Parameters,
    budget: &'a mut Budget,
    known: HashMap<Dname, Hash>,
}

impl Hasher<'_> {
    /// RFC 5155 §5.
    fn hash(&mut self, name: &Dname) -> Result<Hash, Bogus> {
        if let Some(hash) = self.known.get(name) {
            return Ok(*hash);
        }
        let Parameters { iterations, salt } = self.parameters;
        self.budget.hash(u32::from(*iterations) + 1)?;
        let mut hash: Hash = [0; HASH_BYTES];
        for round in 0..=*iterations {
            let input = if round == 0 { [name.as_wire(), salt].concat() } else { [&hash[..], salt].concat() };
            hash.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, &input).as_ref());
        }
        self.known.insert(name.clone(), hash);
        Ok(hash)
    }
}

/// The data of a record (RFC 5155 §3.2), if it is one of the zone.
fn read(apex: &Dname, set: &RrSet) -> Option<(Parameters, Nsec3)> {
    let [data] = &set.data[..] else { return None };
    let label = set.owner.labels().next().filter(|_| parent(&set.owner).as_ref() == Some(apex))?;
    let owner = BASE32_DNSSEC.decode(label).ok()?.try_into().ok()?;
    let (head, rest) = data.split_at_checked(5)?;
    let (salt, rest) = rest.split_at_checked(usize::from(head[4]))?;
    let (length, rest) = rest.split_first()?;
    let (next, types) = rest.split_at_checked(usize::from(*length))?;
    let types = Types::read(data.slice(data.len() - types.len()..))?;
    if head[0] != SHA1 || head[1] & !OPT_OUT != 0 {
        return None;
    }
    let parameters = Parameters { iterations: u16::from_be_bytes([head[2], head[3]]), salt: salt.to_vec() };
    Some((parameters, Nsec3 { owner, next: next.try_into().ok()?, has_opt_out: head[1] & OPT_OUT != 0, types }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dns::rtype, out::forward::validation::denial::NSEC3};

    fn name(text: &str) -> Dname {
        text.parse().expect("a name")
    }

    /// The hashes of `names` as a zone `x` with one iteration less than `rounds`, and the types of each.
    fn zone(names: &[(&str, &[u16])], iterations: u16, flags: u8) -> Nsec3s {
        let parameters = Parameters { iterations, salt: vec![0xaa, 0xbb] };
        let mut budget = Budget::new();
        let mut hasher = Hasher { parameters: &parameters, budget: &mut budget, known: HashMap::new() };
        let mut all: Vec<(Hash, &[u16])> =
            names.iter().map(|(text, types)| (hasher.hash(&name(text)).expect("few"), *types)).collect();
        all.sort_unstable();
        let sets: Vec<RrSet> =
            (0..all.len()).map(|at| set(all[at], all[(at + 1) % all.len()].0, iterations, flags)).collect();
        Nsec3s::read(&name("x"), sets.iter())
    }

    fn set((owner, types): (Hash, &[u16]), next: Hash, iterations: u16, flags: u8) -> RrSet {
        let mut bits = [0; 17];
        types.iter().for_each(|rtype| bits[usize::from(rtype / 8)] |= 0x80 >> (rtype % 8));
        let [high, low] = iterations.to_be_bytes();
        let data = [&[SHA1, flags, high, low, 2, 0xaa, 0xbb, 20][..], &next, &[0, 17], &bits].concat();
        RrSet::one(name(&format!("{}.x", BASE32_DNSSEC.encode(&owner))), NSEC3, 60, data)
    }

    /// RFC 5155 appendix A: salt aabbccdd, twelve iterations.
    #[test]
    fn the_hash_is_that_of_the_rfc() {
        let parameters = Parameters { iterations: 12, salt: vec![0xaa, 0xbb, 0xcc, 0xdd] };
        let mut budget = Budget::new();
        let mut hasher = Hasher { parameters: &parameters, budget: &mut budget, known: HashMap::new() };
        for (text, expected) in [
            ("example", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"),
            ("a.example", "35mthgpgcu1qg68fab165klnsnk3dpvl"),
            ("*.w.example", "r53bq7cc2uvmubfu5ocmm6pers9tk9en"),
        ] {
            assert_eq!(BASE32_DNSSEC.encode(&hasher.hash(&name(text)).expect("few")), expected, "{text}");
        }
        assert_eq!(budget.hashed(), 39);
    }

    fn names() -> Vec<(&'static str, &'static [u16])> {
        vec![
            ("x", &[rtype::NS, rtype::SOA]),
            ("a.x", &[rtype::A]),
            ("c.x", &[rtype::NS]),
            ("w.x", &[]),
            ("*.w.x", &[rtype::TXT]),
        ]
    }

    #[test]
    fn what_is_absent() {
        let (zone, open) = (zone(&names(), 1, 0), zone(&names(), 1, OPT_OUT));
        let (secure, insecure) = (Some(Status::Secure), Some(Status::Insecure));
        for (text, expected, by_opt_out) in [
            ("b.x", secure, insecure),
            ("b.a.x", secure, insecure),
            ("a.x", None, None),
            ("b.c.x", None, None),
            ("b.w.x", None, None),
            ("b.y", None, None),
        ] {
            let of = |zone: &Nsec3s| zone.no_name(&name(text), &mut Budget::new()).expect("few");
            assert_eq!((of(&zone), of(&open)), (expected, by_opt_out), "{text}");
        }
        for (text, qtype, expected, by_opt_out) in [
            ("a.x", rtype::TXT, secure, secure),
            ("a.x", rtype::A, None, None),
            ("w.x", rtype::A, secure, secure),
            ("b.w.x", rtype::A, secure, insecure),
            ("b.w.x", rtype::TXT, None, insecure),
            ("c.x", rtype::DS, secure, secure),
            ("c.x", rtype::A, None, None),
            ("d.x", rtype::DS, None, insecure),
        ] {
            let of = |zone: &Nsec3s| zone.no_data(&name(text), qtype, &mut Budget::new()).expect("few");
            assert_eq!((of(&zone), of(&open)), (expected, by_opt_out), "{text} {qtype}");
        }
        for (text, encloser, expected) in
            [("b.w.x", "w.x", secure), ("a.b.w.x", "w.x", secure), ("a.x", "x", None), ("b.w.x", "y", None)]
        {
            let found = zone.nothing_closer(&name(text), &name(encloser), &mut Budget::new()).expect("few");
            assert_eq!(found, expected, "{text}");
        }
        let is_cut = |zone: &Nsec3s, text: &str| zone.is_unsigned_cut(&name(text), &mut Budget::new()).expect("few");
        assert!(is_cut(&zone, "c.x") && !is_cut(&zone, "a.x") && !is_cut(&zone, "d.x") && is_cut(&open, "d.x"));
    }

    /// CVE-2023-50868: work is bounded whatever the zone says of itself.
    #[test]
    fn iterations_and_rounds_are_bounded() {
        let mut budget = Budget::new();
        let costly = zone(&names(), MAX_ITERATIONS + 1, 0);
        assert_eq!(costly.no_name(&name("b.x"), &mut budget).expect("no work"), Some(Status::Insecure));
        assert!(costly.is_unsigned_cut(&name("b.x"), &mut budget).expect("no work"));
        assert_eq!(budget.hashed(), 0);
        let dear = zone(&names(), MAX_ITERATIONS, 0);
        let long = name(&format!("{}x", "a.".repeat(100)));
        assert!(dear.no_name(&long, &mut budget).is_err());
        assert!(budget.hashed() <= 2_048, "{}", budget.hashed());
    }
}

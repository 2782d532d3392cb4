//! NSEC: each record names the next name of its zone, so that there is nothing in between (RFC 4034 §4).

use std::cmp::Ordering;

use super::types::{Types, parent, wildcard};
use crate::dns::{name::Dname, rrset::RrSet, rtype};

/// One record.
pub(super) struct Nsec {
    owner: Dname,
    next: Dname,
    types: Types,
}

impl Nsec {
    pub(super) fn read(set: &RrSet) -> Option<Self> {
        // There is one for a name.
        let [data] = &set.data[..] else { return None };
        let (next, rest) = Dname::split_wire(data).ok()?;
        let types = Types::read(data.slice(data.len() - rest.len()..))?;
        Some(Self { owner: set.owner.clone(), next, types })
    }

    /// Whether it says that no record is at `name`: it lies between this name and the next.
    fn covers(&self, name: &Dname) -> bool {
        let is_behind = order(&self.owner, name) == Ordering::Less;
        let is_elsewhere = name.is_within(&self.owner) && self.types.ends_here();
        let is_before_next = match order(&self.owner, &self.next) {
            Ordering::Less => order(name, &self.next) == Ordering::Less,
            // The last one of a zone leads to its apex.
            _ => name.is_within(&self.next),
        };
        is_behind && is_before_next && !is_elsewhere
    }

    /// Whether there are names below `name`, which has no records.
    fn has_below(&self, name: &Dname) -> bool {
        self.next.is_within(name)
    }

    /// The closest name above `name` that exists, if this record covers it.
    fn encloser(&self, name: &Dname) -> Option<Dname> {
        std::iter::successors(parent(name), parent)
            .find(|above| self.owner.is_within(above) || self.next.is_within(above))
    }
}

/// The record that says that `name` does not exist.
fn absent<'a>(nsecs: &'a [Nsec], name: &Dname) -> Option<&'a Nsec> {
    nsecs.iter().find(|nsec| nsec.covers(name) && !nsec.has_below(name))
}

fn at<'a>(nsecs: &'a [Nsec], name: &Dname) -> Option<&'a Nsec> {
    nsecs.iter().find(|nsec| nsec.owner == *name)
}

pub(super) fn no_data(nsecs: &[Nsec], name: &Dname, qtype: u16) -> bool {
    if let Some(nsec) = at(nsecs, name) {
        return nsec.types.denies(qtype);
    }
    // A name that has only names below it.
    if nsecs.iter().any(|nsec| nsec.covers(name) && nsec.has_below(name)) {
        return true;
    }
    let source = || wildcard(&absent(nsecs, name)?.encloser(name)?);
    source().and_then(|source| at(nsecs, &source)).is_some_and(|nsec| nsec.types.denies(qtype))
}

pub(super) fn no_name(nsecs: &[Nsec], name: &Dname) -> bool {
    // Made for the question (RFC 9824 §3.1).
    if at(nsecs, name).is_some_and(|nsec| nsec.types.has(rtype::NXNAME)) {
        return true;
    }
    let source = || wildcard(&absent(nsecs, name)?.encloser(name)?);
    source().is_some_and(|source| absent(nsecs, &source).is_some())
}

pub(super) fn nothing_closer(nsecs: &[Nsec], name: &Dname, encloser: &Dname) -> bool {
    absent(nsecs, name).and_then(|nsec| nsec.encloser(name)).is_some_and(|found| found == *encloser)
}

pub(super) fn is_unsigned_cut(nsecs: &[Nsec], name: &Dname) -> bool {
    at(nsecs, name).is_some_and(|nsec| nsec.types.is_unsigned_cut())
}

/// The canonical order of names: label by label from the right (RFC 4034 §6.1).
fn order(one: &Dname, other: &Dname) -> Ordering {
    let labels = |name: &Dname| -> Vec<Vec<u8>> { name.labels().map(<[u8]>::to_vec).collect() };
    labels(one).iter().rev().cmp(labels(other).iter().rev())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Dname {
        text.parse().expect("a name")
    }

    fn nsec(owner: &str, next: &str, types: &[u16]) -> Nsec {
        let mut bits = [0; 17];
        types.iter().for_each(|rtype| bits[usize::from(rtype / 8)] |= 0x80 >> (rtype % 8));
        let data = [name(next).as_wire(), &[0, 17], &bits].concat();
        Nsec::read(&RrSet::one(name(owner), rtype::NSEC, 60, data)).expect("well formed")
    }

    /// RFC 4034 §6.1's own example.
    #[test]
    fn canonical_order() {
        let names = ["example", "a.example", "yljkjljk.a.example", "z.a.example", "zabc.a.example", "z.example"];
        for pair in names.windows(2) {
            assert_eq!(order(&name(pair[0]), &name(pair[1])), Ordering::Less, "{pair:?}");
        }
    }

    #[test]
    fn names() {
        // x. has a, a wildcard below w, a cut at c with data below, and a DNAME at d.
        let zone = || {
            vec![
                nsec("x", "a.x", &[rtype::NS, rtype::SOA]),
                nsec("a.x", "c.x", &[rtype::A]),
                nsec("c.x", "d.x", &[rtype::NS]),
                nsec("d.x", "*.w.x", &[rtype::DNAME]),
                nsec("*.w.x", "deep.ent.x", &[rtype::TXT]),
                nsec("deep.ent.x", "x", &[rtype::A]),
            ]
        };
        let zone = {
            let mut zone = zone();
            zone.sort_by(|one, other| order(&one.owner, &other.owner));
            for at in 0..zone.len() {
                zone[at].next = zone[(at + 1) % zone.len()].owner.clone();
            }
            zone
        };
        for (text, expected) in [
            ("b.x", true),
            ("zz.x", true),
            ("b.a.x", true),
            ("a.x", false),
            ("ent.x", false),
            ("b.c.x", false),
            ("b.d.x", false),
            ("b.w.x", false),
            ("b.y", false),
        ] {
            assert_eq!(no_name(&zone, &name(text)), expected, "{text}");
        }
        for (text, qtype, expected) in [
            ("a.x", rtype::TXT, true),
            ("a.x", rtype::A, false),
            ("ent.x", rtype::A, true),
            ("b.w.x", rtype::A, true),
            ("b.w.x", rtype::TXT, false),
            ("c.x", rtype::DS, true),
            ("c.x", rtype::A, false),
            ("x", rtype::DS, false),
            ("b.x", rtype::A, false),
        ] {
            assert_eq!(no_data(&zone, &name(text), qtype), expected, "{text} {qtype}");
        }
        assert!(nothing_closer(&zone, &name("b.w.x"), &name("w.x")));
        assert!(!nothing_closer(&zone, &name("b.w.x"), &name("x")));
        assert!(!nothing_closer(&zone, &name("a.x"), &name("x")));
        assert!(is_unsigned_cut(&zone, &name("c.x")) && !is_unsigned_cut(&zone, &name("a.x")));
        assert!(!is_unsigned_cut(&zone, &name("x")));
    }

    /// Half a proof is none.
    #[test]
    fn the_wildcard_must_be_denied_too() {
        let one = [nsec("a.x", "c.x", &[rtype::A])];
        assert!(!no_name(&one, &name("b.x")));
        let both = [nsec("a.x", "c.x", &[rtype::A]), nsec("x", "a.x", &[rtype::SOA, rtype::NS])];
        assert!(no_name(&both, &name("b.x")));
        assert!(no_name(&[nsec("b.x", "\\000.b.x", &[rtype::NXNAME])], &name("b.x")));
    }
}

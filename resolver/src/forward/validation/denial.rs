//! What proves that something is absent: NSEC (RFC 4035 §5.4, RFC 6840 §4, RFC 9824) or NSEC3 records, of which the
//! signatures have been checked already.

mod hashed;
mod plain;

use bytes::Bytes;

use super::{Bogus, Budget, Status};
use crate::{
    answer::{EdeCode, RrSet},
    dname::Dname,
    rtype,
};
use hashed::Nsec3s;
use plain::Nsec;

/// Hashed denial of existence (RFC 5155).
pub(in crate::forward) const NSEC3: u16 = 50;

/// The proofs of one response. Either kind will do.
pub(in crate::forward) struct Proofs {
    plain: Vec<Nsec>,
    hashed: Nsec3s,
}

impl Proofs {
    /// Reads sets of the zone `apex` that are what it says. Those that are damaged prove nothing.
    pub(in crate::forward) fn read(apex: &Dname, sets: &[RrSet]) -> Self {
        let of = |rtype| sets.iter().filter(move |set| set.rtype == rtype);
        Self { plain: of(rtype::NSEC).filter_map(Nsec::read).collect(), hashed: Nsec3s::read(apex, of(NSEC3)) }
    }

    /// Proves that `name` has no records of a type.
    pub(super) fn no_data(&self, name: &Dname, qtype: u16, budget: &mut Budget) -> Result<Status, Bogus> {
        match plain::no_data(&self.plain, name, qtype) {
            true => Ok(Status::Secure),
            false => self.hashed.no_data(name, qtype, budget)?.ok_or_else(|| missing(name, "has no such data")),
        }
    }

    /// Proves that `name` does not exist, and that no wildcard stands for it.
    pub(super) fn no_name(&self, name: &Dname, budget: &mut Budget) -> Result<Status, Bogus> {
        match plain::no_name(&self.plain, name) {
            true => Ok(Status::Secure),
            false => self.hashed.no_name(name, budget)?.ok_or_else(|| missing(name, "does not exist")),
        }
    }

    /// Proves that a wildcard below `encloser` stands for `name`, because nothing is closer.
    pub(super) fn nothing_closer(&self, name: &Dname, encloser: &Dname, budget: &mut Budget) -> Result<Status, Bogus> {
        match plain::nothing_closer(&self.plain, name, encloser) {
            true => Ok(Status::Secure),
            false => {
                let proof = self.hashed.nothing_closer(name, encloser, budget)?;
                proof.ok_or_else(|| missing(name, "is made from a wildcard"))
            }
        }
    }

    /// Whether `name` is, or may be, delegated to servers of an unsigned zone.
    pub(in crate::forward) fn is_unsigned_cut(&self, name: &Dname, budget: &mut Budget) -> Result<bool, Bogus> {
        Ok(plain::is_unsigned_cut(&self.plain, name) || self.hashed.is_unsigned_cut(name, budget)?)
    }
}

fn missing(name: &Dname, what: &str) -> Bogus {
    Bogus::new(EdeCode::NsecMissing, format!("nothing proves that {name} {what}"))
}

/// The types of a name (RFC 4034 §4.1.2).
#[derive(Clone, PartialEq, Eq, Debug)]
struct Types(Bytes);

impl Types {
    /// Reads a bitmap; `None` if it is none.
    fn read(bitmap: Bytes) -> Option<Self> {
        let mut rest = &bitmap[..];
        while !rest.is_empty() {
            let (head, tail) = rest.split_at_checked(2)?;
            let length = usize::from(head[1]);
            rest = tail.get(length..).filter(|_| (1..=32).contains(&length))?;
        }
        Some(Self(bitmap))
    }

    fn has(&self, rtype: u16) -> bool {
        let [window, bit] = rtype.to_be_bytes();
        let mut rest = &self.0[..];
        while let Some((head, tail)) = rest.split_at_checked(2) {
            let (bits, tail) = tail.split_at(usize::from(head[1]).min(tail.len()));
            if head[0] == window {
                return bits.get(usize::from(bit / 8)).is_some_and(|byte| byte & 0x80 >> (bit % 8) != 0);
            }
            rest = tail;
        }
        false
    }

    /// Whether the record is the parent's at a cut.
    fn is_cut(&self) -> bool {
        self.has(rtype::NS) && !self.has(rtype::SOA)
    }

    /// Whether it says nothing about names below its own: they are another zone's, or somewhere else.
    fn ends_here(&self) -> bool {
        self.is_cut() || self.has(rtype::DNAME)
    }

    /// Whether its own name has no data of a type, not even by an alias. About DS the parent speaks, about all else the
    /// child (RFC 4035 §5.4, RFC 6840 §4.1).
    fn denies(&self, qtype: u16) -> bool {
        let speaks = match qtype {
            rtype::DS => !self.has(rtype::SOA),
            _ => !self.is_cut(),
        };
        speaks && !self.has(qtype) && !self.has(rtype::CNAME)
    }

    /// Whether it speaks of a delegation without DS.
    fn is_unsigned_cut(&self) -> bool {
        self.is_cut() && !self.has(rtype::DS)
    }
}

/// The name without its first label.
pub(in crate::forward) fn parent(name: &Dname) -> Option<Dname> {
    let mut labels = name.labels();
    labels.next()?;
    Dname::from_labels(labels).ok()
}

fn wildcard(encloser: &Dname) -> Option<Dname> {
    encloser.with_prefix(b"\x01*").ok()
}

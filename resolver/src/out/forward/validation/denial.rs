//! What proves that something is absent: NSEC (RFC 4035 §5.4, RFC 6840 §4, RFC 9824) or NSEC3 records, of which the
//! signatures have been checked already.

mod hashed;
mod plain;
mod types;

use super::{
    budget::Budget,
    outcome::{Bogus, Status},
};
use crate::dns::{ede::EdeCode, name::Dname, rrset::RrSet, rtype};
use hashed::Nsec3s;
use plain::Nsec;
pub(crate) use types::parent;

/// Hashed denial of existence (RFC 5155).
pub(crate) const NSEC3: u16 = 50;

/// The proofs of one response. Either kind will do.
pub(crate) struct Proofs {
    plain: Vec<Nsec>,
    hashed: Nsec3s,
}

impl Proofs {
    /// Reads sets of the zone `apex` that are what it says. Those that are damaged prove nothing.
    pub(crate) fn read(apex: &Dname, sets: &[RrSet]) -> Self {
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
    pub(crate) fn is_unsigned_cut(&self, name: &Dname, budget: &mut Budget) -> Result<bool, Bogus> {
        Ok(plain::is_unsigned_cut(&self.plain, name) || self.hashed.is_unsigned_cut(name, budget)?)
    }
}

fn missing(name: &Dname, what: &str) -> Bogus {
    Bogus::new(EdeCode::NsecMissing, format!("nothing proves that {name} {what}"))
}

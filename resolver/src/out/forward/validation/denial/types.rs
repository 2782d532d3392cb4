//! Which types a name has, as proofs tell, and the names around it.

use bytes::Bytes;

use crate::dns::{name::Dname, rtype};

/// The types of a name (RFC 4034 §4.1.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Types(Bytes);

impl Types {
    /// Reads a bitmap; `None` if it is none.
    pub(super) fn read(bitmap: Bytes) -> Option<Self> {
        let mut rest = &bitmap[..];
        while !rest.is_empty() {
            let (head, tail) = rest.split_at_checked(2)?;
            let length = usize::from(head[1]);
            rest = tail.get(length..).filter(|_| (1..=32).contains(&length))?;
        }
        Some(Self(bitmap))
    }

    pub(super) fn has(&self, rtype: u16) -> bool {
        let [window, bit] = rtype.to_be_bytes();
        let mut blocks = self.blocks();
        let bits = blocks.find(|(number, _)| *number == window).map_or(&[][..], |(_, bits)| bits);
        bits.get(usize::from(bit / 8)).is_some_and(|byte| byte & 0x80 >> (bit % 8) != 0)
    }

    /// Whether there is any type but those of proofs and signatures.
    fn has_data(&self) -> bool {
        const PROOFS: [u16; 2] = [rtype::NSEC, rtype::RRSIG];
        let own = PROOFS.into_iter().filter(|rtype| self.has(*rtype)).count();
        let all: u32 = self.blocks().flat_map(|(_, bits)| bits).map(|byte| byte.count_ones()).sum();
        all as usize > own
    }

    /// Blocks of 256 types: the number of each, and its bits.
    fn blocks(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (head, tail) = rest.split_at_checked(2)?;
            let (bits, tail) = tail.split_at(usize::from(head[1]).min(tail.len()));
            rest = tail;
            Some((head[0], bits))
        })
    }

    /// Whether the record is the parent's at a cut.
    pub(super) fn is_cut(&self) -> bool {
        self.has(rtype::NS) && !self.has(rtype::SOA)
    }

    /// Whether it says nothing about names below its own: they are another zone's, or somewhere else.
    pub(super) fn ends_here(&self) -> bool {
        self.is_cut() || self.has(rtype::DNAME)
    }

    /// Whether its own name has no data of a type, not even by an alias. About DS the parent speaks, about all else the
    /// child (RFC 4035 §5.4, RFC 6840 §4.1). A name has no data at all if there is nothing but this proof.
    pub(super) fn denies(&self, qtype: u16) -> bool {
        let speaks = match qtype {
            rtype::DS => !self.has(rtype::SOA),
            _ => !self.is_cut(),
        };
        let is_there = match qtype {
            rtype::ANY => self.has_data(),
            _ => self.has(qtype),
        };
        speaks && !is_there && !self.has(rtype::CNAME)
    }

    /// Whether it speaks of a delegation without DS.
    pub(super) fn is_unsigned_cut(&self) -> bool {
        self.is_cut() && !self.has(rtype::DS)
    }
}

/// The name without its first label.
pub(crate) fn parent(name: &Dname) -> Option<Dname> {
    let mut labels = name.labels();
    labels.next()?;
    Dname::from_labels(labels).ok()
}

pub(super) fn wildcard(encloser: &Dname) -> Option<Dname> {
    encloser.with_prefix(b"\x01*").ok()
}

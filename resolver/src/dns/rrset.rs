//! Record sets, as answers consist of them.

use std::net::IpAddr;

use bytes::Bytes;

use crate::dns::{name::Dname, rtype};

/// Records with one owner, class and type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RrSet {
    /// Owner, lower-cased.
    pub owner: Dname,
    /// Class number.
    pub class: u16,
    /// Type number.
    pub rtype: u16,
    /// Time to live of all records, in seconds.
    pub ttl_s: u32,
    /// Uncompressed data of each record; at least one.
    pub data: Vec<Bytes>,
}

impl RrSet {
    /// A set of one record in class IN.
    pub fn one(owner: Dname, rtype: u16, ttl_s: u32, data: impl Into<Bytes>) -> Self {
        Self { owner, class: rtype::CLASS_IN, rtype, ttl_s, data: vec![data.into()] }
    }

    /// The addresses of a set of them.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let address = |data: &Bytes| match self.rtype {
            rtype::A => <[u8; 4]>::try_from(&data[..]).ok().map(IpAddr::from),
            rtype::AAAA => <[u8; 16]>::try_from(&data[..]).ok().map(IpAddr::from),
            _ => None,
        };
        self.data.iter().filter_map(address).collect()
    }
}

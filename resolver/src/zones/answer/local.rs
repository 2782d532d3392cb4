//! Names from HOSTS files: addresses, the names of addresses, and nothing else.
//!
//! A name that is in a file has what the file says and no other data: a name that is sent nowhere (`0.0.0.0
//! ads.example`) must not be found under another type. Names below it are not touched; there are no wildcards.

use std::net::IpAddr;

use bytes::Bytes;
use hickory_proto::op::ResponseCode;

use super::{entry, special, step::Step};
use crate::{
    dns::{
        answer::{Answer, Origin},
        name::Dname,
        rrset::RrSet,
        rtype,
    },
    zones::{
        hosts::{self, Host, HostsView},
        query::Query,
    },
};

/// Answers a query that has led to `name`, if that is in a file.
pub(super) fn answer(name: &Dname, query: &Query, hosts: HostsView<'_>) -> Option<Answer> {
    let sets = sets(name, hosts.find(name)?);
    let mut answer = Answer { authoritative: true, ..Answer::empty(ResponseCode::NoError, Origin::Hosts) };
    match entry::select(sets, query) {
        Step::Data(sets) => answer.answer = sets,
        // A name of a file is a zone of its own, so that the absence of a type can be cached (RFC 2308 §3).
        _ => answer.authority.push(special::soa(name.clone(), hosts::TTL_S)),
    }
    Some(answer)
}

fn sets(name: &Dname, host: Host<'_>) -> Vec<RrSet> {
    let addresses = host.addresses.iter().map(|address| match address {
        IpAddr::V4(v4) => (rtype::A, Bytes::copy_from_slice(&v4.octets())),
        IpAddr::V6(v6) => (rtype::AAAA, Bytes::copy_from_slice(&v6.octets())),
    });
    let pointer = host.pointer.map(|target| (rtype::PTR, Bytes::copy_from_slice(target.as_wire())));
    let mut sets: Vec<RrSet> = Vec::new();
    for (rtype, data) in addresses.chain(pointer) {
        match sets.iter_mut().find(|set| set.rtype == rtype) {
            Some(set) => set.data.push(data),
            None => sets.push(RrSet::one(name.clone(), rtype, hosts::TTL_S, data)),
        }
    }
    sets
}

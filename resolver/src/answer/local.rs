//! Names from HOSTS files: addresses, the names of addresses, and nothing else.
//!
//! A name that is in a file has what the file says and no other data: a name that is sent nowhere (`0.0.0.0
//! ads.example`) must not be found under another type. Names below it are not touched; there are no wildcards.

use hickory_proto::op::ResponseCode;

use super::{Answer, Origin, chain::Step, entry, special};
use crate::{
    dname::Dname,
    hosts::{self, Hosts},
    query::Query,
};

/// Answers a query that has led to `name`, if that is in a file.
pub(super) fn answer(name: &Dname, query: &Query, hosts: &Hosts) -> Option<Answer> {
    let sets = hosts.sets(name)?;
    let mut answer = Answer { authoritative: true, ..Answer::empty(ResponseCode::NoError, Origin::Hosts) };
    match entry::select(sets, query) {
        Step::Data(sets) => answer.answer = sets,
        // A name of a file is a zone of its own, so that the absence of a type can be cached (RFC 2308 §3).
        _ => answer.authority.push(special::soa(name.clone(), hosts::TTL_S)),
    }
    Some(answer)
}

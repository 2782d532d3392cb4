//! DNS semantics as a pure function: a [`Query`], a snapshot and the [`Site`] go in, an [`Answer`] comes out.
//!
//! Everything that decides what an answer *says* is here; what it looks like on the wire and how it travels is not.
//! The order of decisions is that of RFC 1034 §4.3.2 with its successors: RFC 2308 (negative answers), RFC 4592
//! (wildcards), RFC 6604 (codes of alias chains), RFC 6672 (DNAME), RFC 8020 (what NXDOMAIN means), RFC 8482 (ANY),
//! RFC 8914 (extended errors), RFC 9471 (glue), RFC 9824 (what is absent from a signed zone).
//!
//! Guarantees: no panic for any records and any query; work and size are bounded by [`MAX_CHAIN`] entries; one call
//! reads one snapshot.

mod chain;
mod chaos;
mod denial;
mod entry;
mod local;
mod plain;
mod special;
mod step;
mod types;

use hickory_proto::op::ResponseCode;

use crate::{
    dns::rtype,
    names::view::{NameView, Readiness},
    zones::{
        hosts::{Hosts, HostsView},
        query::Query,
        site::Site,
    },
};

pub use crate::dns::{
    answer::{Answer, Origin},
    ede::{Ede, EdeCode},
    rrset::RrSet,
};
pub use chain::MAX_CHAIN;
pub use plain::NotPlain;
pub(crate) use plain::{Plain, Set, plain};
pub(crate) use special::{must_stay, zone_of as special_zone_of};
pub(crate) use step::is_single;

/// Whose question it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Answered here.
    Local(Answer),
    /// Neither ours nor special: to be forwarded or refused.
    Elsewhere,
}

/// Answers `query` from one snapshot.
pub fn answer(query: &Query, view: &dyn NameView, site: &Site) -> Verdict {
    answer_with_hosts(query, view, site, Hosts::none())
}

/// The same with names from HOSTS files, which come before all others.
pub fn answer_with_hosts<'h>(
    query: &Query,
    view: &dyn NameView,
    site: &Site,
    hosts: impl Into<HostsView<'h>>,
) -> Verdict {
    let hosts = hosts.into();
    match query.qclass {
        rtype::CLASS_IN => {}
        rtype::CLASS_CH => return Verdict::Local(chaos::answer(query, &view.facts(), site)),
        _ => return refused(EdeCode::NotSupported, "only classes IN and CH are served"),
    }
    if let Some(refusal) = types::refuse(query.qtype) {
        return Verdict::Local(refusal);
    }
    if let Some(answer) = local::answer(&query.name, query, hosts) {
        return Verdict::Local(answer);
    }
    if let Some(zone) = site.zone_of(&query.name) {
        return Verdict::Local(match view.facts().readiness {
            Readiness::Ready => chain::follow(query, view, site, hosts),
            // It says that this is the right resolver, which it is from the start.
            Readiness::NotReady { .. } if zone.is_probe(&query.name) => chain::follow(query, view, site, hosts),
            Readiness::NotReady { height, target } => not_ready(height, target),
        });
    }
    match special::answer(&query.name, query.qtype, site) {
        Some(answer) => Verdict::Local(answer),
        None => Verdict::Elsewhere,
    }
}

fn refused(code: EdeCode, text: &'static str) -> Verdict {
    Verdict::Local(Answer::failure(ResponseCode::Refused, Origin::Policy, code, text))
}

/// "No such name" while the ledger is incomplete would be a guess, and would be cached.
fn not_ready(height: u32, target: Option<u32>) -> Answer {
    let text = match target {
        Some(target) => format!("ledger at height {height} of {target}"),
        None => format!("ledger at height {height}, looking for peers"),
    };
    Answer::failure(ResponseCode::ServFail, Origin::Ledger, EdeCode::NotReady, text)
}

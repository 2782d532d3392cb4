//! The server about itself, for scripts and people with `dig`: TXT records in class CH (RFC 4892).

use hickory_proto::op::ResponseCode;

use crate::{
    dns::{
        answer::{Answer, Origin},
        ede::EdeCode,
        rdata,
        rrset::RrSet,
        rtype,
    },
    names::view::{Facts, Readiness},
    zones::{query::Query, site::Site},
};

/// What `version.bind` says.
const VERSION: &str = concat!("namestead ", env!("CARGO_PKG_VERSION"));

/// Answers a query in class CH.
pub(super) fn answer(query: &Query, facts: &Facts, site: &Site) -> Answer {
    let Some(text) = text(&query.name.to_string(), facts, site) else {
        let text = "no such status name";
        return Answer::failure(ResponseCode::Refused, Origin::Status, EdeCode::NotSupported, text);
    };
    let mut answer = Answer { authoritative: true, ..Answer::empty(ResponseCode::NoError, Origin::Status) };
    let data = rdata::character_string(&text);
    let set = RrSet { class: rtype::CLASS_CH, ..RrSet::one(query.name.clone(), rtype::TXT, 0, data) };
    match query.qtype {
        rtype::TXT | rtype::ANY => answer.answer.push(set),
        _ => answer.authority.push(soa(query)),
    }
    answer
}

fn text(name: &str, facts: &Facts, site: &Site) -> Option<String> {
    match name {
        "version.bind." | "version.server." => Some(VERSION.to_owned()),
        "id.server." | "hostname.bind." => site.server_id().map(str::to_owned),
        "height.namestead." => Some(facts.height.to_string()),
        "peers.namestead." => Some(facts.peers.to_string()),
        "synced.namestead." => Some(synced(facts.readiness)),
        _ => None,
    }
}

fn synced(readiness: Readiness) -> String {
    match readiness {
        Readiness::Ready => "yes".to_owned(),
        Readiness::NotReady { height, target: Some(target) } => format!("no {height}/{target}"),
        Readiness::NotReady { height, target: None } => format!("no {height}"),
    }
}

/// A status name is a zone of its own, for what is left of negative answers in this class.
fn soa(query: &Query) -> RrSet {
    let mut data = [query.name.as_wire(), query.name.as_wire()].concat();
    data.extend_from_slice(&[0; 20]);
    RrSet { class: rtype::CLASS_CH, ..RrSet::one(query.name.clone(), rtype::SOA, 0, data) }
}

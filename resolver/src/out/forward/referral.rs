//! Referrals of delegated servers to others further below (RFC 1034 §4.3.2, step 3b).
//!
//! Only downwards: the zone that a referral leads to lies strictly below the one that was asked, and the question at or
//! below it. So there are no circles. Addresses are believed of names within the zone that was asked; all others are
//! looked up.

use hickory_proto::op::ResponseCode;

use super::{
    Question,
    response::{Record, Response},
};
use crate::{
    dns::{
        answer::{Answer, Origin},
        name::Dname,
        rdata,
        rrset::RrSet,
        rtype,
    },
    zones::inside,
};

/// How long a referral is kept at most. Nobody signs it, so a wrong one is not to last.
const MAX_TTL_S: u32 = 300;

/// The zone that a response refers to, if it may lead there.
pub(super) fn cut<'a>(question: &Question, response: &'a Response) -> Option<&'a Dname> {
    let zone = &question.authority.as_ref()?.cut;
    let leads_down = |cut: &Dname| {
        let is_below = cut.is_within(zone) && cut != zone && question.name.is_within(cut);
        // DS records are the parent's: whoever sends on the question about them does not know that.
        is_below && !(question.qtype == rtype::DS && *cut == question.name)
    };
    let cuts = name_servers(response).map(|record| &record.owner);
    response.is_referral().then_some(cuts)?.find(|cut| leads_down(cut))
}

/// The referral in a response, in the form that those of the ledger have: name servers, and glue.
pub(super) fn read(question: &Question, response: &Response) -> Option<Answer> {
    let zone = &question.authority.as_ref()?.cut;
    let cut = cut(question, response)?;
    let mut servers: Option<RrSet> = None;
    for record in name_servers(response).filter(|record| record.owner == *cut) {
        match &mut servers {
            None => servers = Some(set_of(record)),
            Some(set) => {
                set.ttl_s = set.ttl_s.min(record.ttl_s);
                set.data.push(record.data.clone());
            }
        }
    }
    let mut servers = servers?;
    let names: Vec<Dname> = servers.data.iter().filter_map(|data| rdata::target(data).ok()).collect();
    let is_glue = |record: &&Record| record.owner.is_within(zone) && names.contains(&record.owner);
    // Only servers of the local network send anybody to others there.
    let is_home = question.authority.as_ref()?.servers.iter().any(|server| inside::is_inside(server.ip()));
    let leads_home = |set: &RrSet| set.addresses().into_iter().any(inside::is_inside);
    let glue = response.glue.iter().filter(is_glue).map(set_of);
    let glue: Vec<RrSet> = glue.filter(|set| is_home || !leads_home(set)).collect();
    // One TTL for all of it: nobody is told these records.
    servers.ttl_s = glue.iter().map(|set| set.ttl_s).fold(servers.ttl_s.min(MAX_TTL_S), u32::min);
    Some(Answer { authority: vec![servers], glue, ..Answer::empty(ResponseCode::NoError, Origin::Upstream) })
}

/// Whether an answer is one: no other has name servers in its authority section.
pub(super) fn is_in(answer: &Answer) -> bool {
    answer.authority.iter().any(|set| set.rtype == rtype::NS)
}

fn name_servers(response: &Response) -> impl Iterator<Item = &Record> {
    response.authorities.iter().filter(|record| record.rtype == rtype::NS && record.class == rtype::CLASS_IN)
}

fn set_of(record: &Record) -> RrSet {
    RrSet::one(record.owner.clone(), record.rtype, record.ttl_s, record.data.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::out::forward::{Authority, response::NOERROR};

    fn name(text: &str) -> Dname {
        text.parse().expect("a name")
    }

    fn record(owner: &str, rtype: u16, ttl_s: u32, data: &[u8]) -> Record {
        Record { owner: name(owner), rtype, class: rtype::CLASS_IN, ttl_s, data: data.to_vec().into() }
    }

    fn question(asked: &str, qtype: u16) -> Question {
        let authority = Some(Arc::new(Authority::new(name("x.p2p"), vec![])));
        Question { name: name(asked), qtype, dnssec_ok: false, checking_disabled: false, authority }
    }

    fn referral(cut: &str) -> Response {
        let glue = [("ns.sub.x.p2p", 50), ("ns.x.p2p", 40), ("other.x.p2p", 1), ("ns.y.p2p", 1)];
        Response {
            authorities: glue.map(|(server, _)| record(cut, rtype::NS, 60, name(server).as_wire())).to_vec(),
            glue: glue.map(|(server, ttl_s)| record(server, rtype::A, ttl_s, &[192, 0, 2, 1])).to_vec(),
            ..Response::bare(NOERROR)
        }
    }

    #[test]
    fn they_lead_down_and_towards_the_question() {
        for (asked, qtype, to, expected) in [
            ("www.sub.x.p2p", rtype::A, "sub.x.p2p", true),
            ("sub.x.p2p", rtype::A, "sub.x.p2p", true),
            ("a.sub.x.p2p", rtype::DS, "sub.x.p2p", true),
            ("sub.x.p2p", rtype::DS, "sub.x.p2p", false),
            ("www.sub.x.p2p", rtype::A, "x.p2p", false),
            ("www.sub.x.p2p", rtype::A, "p2p", false),
            ("www.sub.x.p2p", rtype::A, ".", false),
            ("www.sub.x.p2p", rtype::A, "other.x.p2p", false),
            ("sub.x.p2p", rtype::A, "www.sub.x.p2p", false),
            ("www.sub.x.p2p", rtype::A, "www.sub.y.p2p", false),
        ] {
            let asked_for = question(asked, qtype);
            assert_eq!(read(&asked_for, &referral(to)).is_some(), expected, "{asked} {qtype} {to}");
            let upstreams = Question { authority: None, ..asked_for };
            assert_eq!(read(&upstreams, &referral(to)), None, "upstreams refer nobody");
        }
        let answers = Response { authoritative: true, ..referral("sub.x.p2p") };
        assert_eq!(read(&question("www.sub.x.p2p", rtype::A), &answers), None);
    }

    #[test]
    fn glue_is_of_name_servers_within_the_zone_asked() {
        let mut response = referral("sub.x.p2p");
        response.authorities.remove(2);
        response.authorities.push(record("other.x.p2p", rtype::NS, 1, name("other.x.p2p").as_wire()));
        let answer = read(&question("www.sub.x.p2p", rtype::A), &response).expect("a referral");
        let owners: Vec<String> = answer.glue.iter().map(|set| set.owner.to_string()).collect();
        assert_eq!(owners, ["ns.sub.x.p2p.", "ns.x.p2p."]);
        assert_eq!((answer.authority.len(), answer.authority[0].data.len(), answer.authority[0].ttl_s), (1, 3, 40));
    }

    #[test]
    fn a_referral_does_not_last() {
        let mut response = referral("sub.x.p2p");
        response.glue.clear();
        response.authorities.iter_mut().for_each(|record| record.ttl_s = 86_400);
        let answer = read(&question("www.sub.x.p2p", rtype::A), &response).expect("a referral");
        assert_eq!(answer.authority[0].ttl_s, MAX_TTL_S);
    }

    #[test]
    fn only_the_local_network_refers_to_the_local_network() {
        let mut response = referral("sub.x.p2p");
        response.glue[0].data = vec![192, 168, 1, 1].into();
        for (server, glue) in [("203.0.113.1:53", 2), ("192.168.1.2:53", 3)] {
            let authority = Authority::new(name("x.p2p"), vec![server.parse().expect("an address")]);
            let asked = Question { authority: Some(Arc::new(authority)), ..question("www.sub.x.p2p", rtype::A) };
            assert_eq!(read(&asked, &response).expect("a referral").glue.len(), glue, "{server}");
        }
    }
}

//! What of an upstream's message is kept: the chain of aliases from the question, the records at its end, and for
//! negative answers what says so. Everything else is unasked for, and nobody here vouches for it (RFC 5452 §6, RFC 2181
//! §5.4.1): other records of the answer section, delegations, and the whole additional section.

use std::collections::HashSet;

use hickory_proto::op::ResponseCode;

use super::{
    Question,
    response::{NXDOMAIN, REFUSED, Record, Response, YXDOMAIN},
};
use crate::dns::{
    answer::{Answer, Origin},
    ede::EdeCode,
    name::Dname,
    rrset::RrSet,
    rtype,
};

/// The most aliases of one answer.
const MAX_ALIASES: usize = 16;
/// The most types of an answer to a question for all of them.
const MAX_TYPES: usize = 64;
/// The most sets that prove an absence; three are enough for any (RFC 5155 §7.2.1).
const MAX_PROOFS: usize = 16;
/// Hashed denial of existence (RFC 5155).
const NSEC3: u16 = 50;

/// The answer in `message`, as far as it answers `question`. Names for which `is_ours` holds are not taken from
/// others: an alias into them ends the answer, and is left in [`Answer::elsewhere`].
pub(super) fn scrub(question: &Question, response: &Response, is_ours: impl Fn(&Dname) -> bool) -> Answer {
    if response.is_refusal() {
        return refusal(response);
    }
    let rcode = match response.rcode {
        NXDOMAIN => ResponseCode::NXDomain,
        YXDOMAIN => ResponseCode::YXDomain,
        _ => ResponseCode::NoError,
    };
    let mut answer = Answer { ede: response.ede.clone(), ..Answer::empty(rcode, Origin::Upstream) };
    let records = in_class(&response.answers);
    let mut current = question.name.clone();
    let mut names = vec![current.clone()];
    loop {
        let found = sets_at(&current, question, &records);
        let is_final = found.iter().any(|set| answers_type(set.rtype, question.qtype));
        if is_final {
            // An alias that was asked for itself may be made by a DNAME, which alone is signed.
            if found.iter().any(|set| set.rtype == rtype::CNAME)
                && let Some((alias, _)) = alias_of(&current, question, &records)
            {
                answer.answer.extend(alias.into_iter().take_while(|set| set.rtype != rtype::CNAME));
            }
            answer.answer.extend(found);
            break;
        }
        let Some((alias, target)) = alias_of(&current, question, &records) else { break };
        answer.answer.extend(alias);
        if is_ours(&target) {
            answer.rcode = ResponseCode::NoError;
            answer.elsewhere = Some(target);
            // That the alias is made from a wildcard needs proof like any other.
            answer.authority = proofs(question, response);
            return answer;
        }
        if names.contains(&target) || names.len() > MAX_ALIASES {
            // A circle, or as good as one: what was found so far says so by itself.
            return answer;
        }
        names.push(target.clone());
        current = target;
    }
    let has_data = answer.answer.iter().any(|set| answers_type(set.rtype, question.qtype));
    answer.authority = authority(question, response, &names, has_data);
    answer
}

/// What a client hears of a refusal. Its own question was understood, so what upstreams did not understand is no fault of
/// it.
fn refusal(response: &Response) -> Answer {
    let code = response.rcode;
    let rcode = if code == REFUSED { ResponseCode::Refused } else { ResponseCode::ServFail };
    let mut answer = Answer::failure(rcode, Origin::Upstream, EdeCode::Other, format!("upstream: code {code}"));
    if response.ede.is_some() {
        answer.ede.clone_from(&response.ede);
    }
    answer
}

/// Where an answer leaves off: at an alias whose end it does not tell, neither as data nor as an absence with its SOA.
/// Servers that do not recurse send that; what they say about absent names is believed.
pub(super) fn bare_alias(question: &Question, answer: &Answer) -> Option<Dname> {
    let is_open = answer.rcode == ResponseCode::NoError && answer.elsewhere.is_none();
    let has_soa = answer.authority.iter().any(|set| set.rtype == rtype::SOA);
    let last = answer.answer.iter().rev().find(|set| set.rtype != rtype::RRSIG)?;
    let is_alias = last.rtype == rtype::CNAME && !answers_type(rtype::CNAME, question.qtype);
    let target = Dname::from_wire(last.data.first()?).ok()?;
    // A circle has no end.
    let is_circle = target == question.name || answer.answer.iter().any(|set| set.owner == target);
    (is_open && !has_soa && is_alias && !is_circle).then_some(target)
}

/// Leaves an answer open that ends with an alias out of the zone `cut`: what is there is not for its servers to say.
pub(super) fn end_at(cut: &Dname, question: &Question, answer: &mut Answer) {
    let last = answer.answer.iter().rev().find(|set| set.rtype != rtype::RRSIG);
    let alias = last.filter(|set| set.rtype == rtype::CNAME && !answers_type(rtype::CNAME, question.qtype));
    let target = alias.and_then(|set| Dname::from_wire(set.data.first()?).ok());
    if target.is_some_and(|target| !target.is_within(cut)) {
        answer.rcode = ResponseCode::NoError;
        // Proofs about the alias itself stay.
        let proofs = answer.authority.iter().position(|set| matches!(set.rtype, rtype::NSEC | NSEC3));
        answer.authority.drain(..proofs.unwrap_or(answer.authority.len()));
    }
}

impl Record {
    /// The type that a signature covers.
    fn covers(&self) -> Option<u16> {
        let head = self.data.get(..2).filter(|_| self.rtype == rtype::RRSIG)?;
        Some(u16::from_be_bytes([head[0], head[1]]))
    }
}

/// The records of class IN that are data: what belongs to messages and questions is none (RFC 6895 §3.1).
fn in_class(records: &[Record]) -> Vec<&Record> {
    let is_data = |rtype| !matches!(rtype, 0 | rtype::OPT | rtype::NXNAME | rtype::TKEY..=rtype::ANY);
    records.iter().filter(|record| record.class == rtype::CLASS_IN && is_data(record.rtype)).collect()
}

fn answers_type(rtype: u16, qtype: u16) -> bool {
    rtype == qtype || qtype == rtype::ANY
}

/// The sets at a name that answer the question, each followed by its signatures.
fn sets_at(name: &Dname, question: &Question, records: &[&Record]) -> Vec<RrSet> {
    let mut types: Vec<u16> = Vec::new();
    for record in records.iter().filter(|record| record.owner == *name) {
        let is_signature = record.rtype == rtype::RRSIG && question.qtype != rtype::RRSIG;
        if answers_type(record.rtype, question.qtype)
            && !is_signature
            && !types.contains(&record.rtype)
            && types.len() < MAX_TYPES
        {
            types.push(record.rtype);
        }
    }
    types.into_iter().flat_map(|rtype| signed_set(name, rtype, question, records)).collect()
}

/// The set of a name and type, and its signatures if the client wants them.
fn signed_set(name: &Dname, rtype: u16, question: &Question, records: &[&Record]) -> Vec<RrSet> {
    let here = || records.iter().filter(|record| record.owner == *name);
    let set = collect(name, rtype, here().filter(|record| record.rtype == rtype));
    let signatures = here().filter(|record| question.dnssec_ok && record.covers() == Some(rtype));
    set.into_iter().chain(collect(name, rtype::RRSIG, signatures)).collect()
}

/// One set; its TTL is the smallest (RFC 2181 §5.2), and doubles are left out (§5).
fn collect<'a>(owner: &Dname, rtype: u16, records: impl Iterator<Item = &'a &'a Record>) -> Option<RrSet> {
    let mut set: Option<RrSet> = None;
    let mut seen = HashSet::new();
    for record in records {
        let is_new = seen.insert(&record.data);
        match &mut set {
            None => set = Some(RrSet::one(owner.clone(), rtype, record.ttl_s, record.data.clone())),
            Some(set) => {
                set.ttl_s = set.ttl_s.min(record.ttl_s);
                if is_new {
                    set.data.push(record.data.clone());
                }
            }
        }
    }
    set
}

/// The alias at a name, or above it (DNAME, with the CNAME that it makes), and where it leads.
fn alias_of(name: &Dname, question: &Question, records: &[&Record]) -> Option<(Vec<RrSet>, Dname)> {
    let dname = records.iter().filter(|record| record.rtype == rtype::DNAME && record.owner != *name);
    let above = dname.into_iter().find_map(|record| {
        let target = Dname::from_wire(&record.data).ok()?;
        Some((record, target.with_prefix(name.relative_to(&record.owner)?).ok()?))
    });
    let mut sets =
        above.as_ref().map_or(Vec::new(), |(record, _)| signed_set(&record.owner, rtype::DNAME, question, records));
    let mut cname = signed_set(name, rtype::CNAME, question, records);
    let target = match (cname.first_mut(), above) {
        (Some(set), above) => {
            // More than one CNAME is an error; the first is followed (RFC 2181 §10.1).
            set.data.truncate(1);
            let target = Dname::from_wire(set.data.first()?).ok()?;
            // A CNAME below a DNAME must be the one that follows from it.
            if above.is_some_and(|(_, substituted)| substituted != target) {
                return None;
            }
            target
        }
        (None, Some((record, substituted))) => {
            let data = substituted.as_wire().to_vec();
            cname = vec![RrSet::one(name.clone(), rtype::CNAME, record.ttl_s, data)];
            substituted
        }
        (None, None) => return None,
    };
    sets.extend(cname);
    Some((sets, target))
}

/// For a negative answer the SOA of a zone that holds the last name; for those who validate, the proofs.
fn authority(question: &Question, response: &Response, names: &[Dname], has_data: bool) -> Vec<RrSet> {
    let records = in_class(&response.authorities);
    let last = names.last().unwrap_or(&question.name);
    let mut sets = Vec::new();
    if !has_data
        && let Some(soa) = records.iter().find(|record| record.rtype == rtype::SOA && last.is_within(&record.owner))
    {
        sets.extend(signed_set(&soa.owner, rtype::SOA, question, &records));
    }
    sets.extend(proofs(question, response));
    sets
}

/// The proofs of what is absent, for those who validate.
pub(super) fn proofs(question: &Question, response: &Response) -> Vec<RrSet> {
    let records = in_class(&response.authorities);
    let (mut sets, mut seen): (Vec<RrSet>, Vec<(&Dname, u16)>) = (Vec::new(), Vec::new());
    for record in records.iter().filter(|record| matches!(record.rtype, rtype::NSEC | NSEC3)) {
        if question.dnssec_ok && !seen.contains(&(&record.owner, record.rtype)) && seen.len() < MAX_PROOFS {
            seen.push((&record.owner, record.rtype));
            sets.extend(signed_set(&record.owner, record.rtype, question, &records));
        }
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::forward::response::{FORMERR, NOERROR, SERVFAIL};

    fn name(text: &str) -> Dname {
        text.parse().expect("a name")
    }

    fn question(text: &str, qtype: u16, dnssec_ok: bool) -> Question {
        Question { name: name(text), qtype, dnssec_ok, checking_disabled: false, authority: None }
    }

    fn record(owner: &str, rtype: u16, ttl_s: u32, data: Vec<u8>) -> Record {
        Record { owner: name(owner), rtype, class: rtype::CLASS_IN, ttl_s, data: data.into() }
    }

    fn to(target: &str) -> Vec<u8> {
        name(target).as_wire().to_vec()
    }

    fn soa(owner: &str) -> Record {
        record(owner, rtype::SOA, 300, [to("ns"), to("host"), vec![0; 20]].concat())
    }

    fn message(rcode: u16, answers: Vec<Record>, authorities: Vec<Record>) -> Response {
        let mut message = Response { answers, authorities, ..Response::bare(rcode) };
        // What is unasked for, in each section.
        message.answers.push(record("evil.example.", rtype::A, 300, vec![6, 6, 6, 6]));
        message.authorities.push(record("example.", rtype::NS, 300, to("ns.evil.example")));
        message
    }

    fn check(question: &Question, message: &Response, answer: &[&str], authority: &[&str]) -> Answer {
        let got = scrub(question, message, |name| name.is_within(&self::name("p2p")));
        let show = |sets: &[RrSet]| -> Vec<String> {
            sets.iter().map(|set| format!("{} {} {} x{}", set.owner, set.rtype, set.ttl_s, set.data.len())).collect()
        };
        assert_eq!(
            (show(&got.answer), show(&got.authority)),
            (answer.iter().map(ToString::to_string).collect(), authority.iter().map(ToString::to_string).collect(),)
        );
        assert!(got.glue.is_empty() && got.additional.is_empty());
        got
    }

    #[test]
    fn only_the_chain_of_the_question_is_kept() {
        let chain = vec![
            record("WWW.example.", rtype::CNAME, 60, to("a.example")),
            record("b.example.", rtype::A, 70, vec![9, 9, 9, 9]),
            record("b.example.", rtype::A, 50, vec![9, 9, 9, 10]),
            record("b.example.", rtype::A, 50, vec![9, 9, 9, 10]),
            record("b.example.", rtype::TXT, 50, vec![0]),
            record("a.example.", rtype::CNAME, 65, to("b.example")),
        ];
        let expected = ["www.example. 5 60 x1", "a.example. 5 65 x1", "b.example. 1 50 x2"];
        check(&question("www.example", rtype::A, false), &message(NOERROR, chain.clone(), vec![]), &expected, &[]);
        // The alias itself.
        check(
            &question("www.example", rtype::CNAME, false),
            &message(NOERROR, chain.clone(), vec![]),
            &["www.example. 5 60 x1"],
            &[],
        );
        check(
            &question("b.example", rtype::ANY, false),
            &message(NOERROR, chain, vec![]),
            &["b.example. 1 50 x2", "b.example. 16 50 x1"],
            &[],
        );
    }

    /// Its servers say where an alias leads, and nothing of what is there, whether it is data, an absence or a DNAME of
    /// all names.
    #[test]
    fn delegated_servers_speak_for_their_zone_only() {
        let (cut, asked) = (name("x.p2p"), question("a.x.p2p", rtype::A, false));
        let alias = || record("a.x.p2p.", rtype::CNAME, 60, to("www.bank.example"));
        let data = vec![alias(), record("www.bank.example.", rtype::A, 86_400, vec![6, 6, 6, 6])];
        for mut response in [
            Response { answers: data, ..Response::bare(NOERROR) },
            Response { answers: vec![alias()], authorities: vec![soa("example.")], ..Response::bare(NXDOMAIN) },
            Response { answers: vec![alias()], authorities: vec![soa("x.p2p.")], ..Response::bare(NXDOMAIN) },
        ] {
            response.keep_within(&cut);
            let mut answer = scrub(&asked, &response, |_| false);
            end_at(&cut, &asked, &mut answer);
            assert_eq!((answer.rcode, answer.answer.len(), answer.authority.len()), (ResponseCode::NoError, 1, 0));
            assert_eq!(bare_alias(&asked, &answer), Some(name("www.bank.example")), "the routes go on");
        }
        let dname = record("p2p.", rtype::DNAME, 60, to("evil.example"));
        let mut response = Response { answers: vec![dname], ..Response::bare(NOERROR) };
        response.keep_within(&cut);
        assert!(response.answers.is_empty());
        let mut absent = Response { authorities: vec![soa("x.p2p.")], ..Response::bare(NXDOMAIN) };
        absent.keep_within(&cut);
        let mut answer = scrub(&asked, &absent, |_| false);
        end_at(&cut, &asked, &mut answer);
        assert_eq!((answer.rcode, answer.authority.len()), (ResponseCode::NXDomain, 1), "its own names it may deny");
    }

    #[test]
    fn other_classes_and_what_is_no_data() {
        let mut chaos = record("a.example.", rtype::A, 60, vec![9, 9, 9, 9]);
        chaos.class = rtype::CLASS_CH;
        let other = record("a.example.", rtype::A, 60, vec![9, 9, 9, 8]);
        let meta = [rtype::OPT, rtype::TSIG].map(|meta| record("a.example.", meta, 60, vec![0; 20]));
        let got = message(NOERROR, [vec![chaos, other], meta.to_vec()].concat(), vec![]);
        check(&question("a.example", rtype::A, false), &got, &["a.example. 1 60 x1"], &[]);
        check(&question("a.example", rtype::ANY, false), &got, &["a.example. 1 60 x1"], &[]);
    }

    #[test]
    fn negative_answers_keep_the_soa_of_their_zone() {
        let denied = message(NXDOMAIN, vec![], vec![soa("other."), soa("example.")]);
        check(&question("a.example", rtype::A, false), &denied, &[], &["example. 6 300 x1"]);
        let alias = vec![record("a.example.", rtype::CNAME, 60, to("b.other"))];
        let denied = message(NXDOMAIN, alias, vec![soa("other.")]);
        check(&question("a.example", rtype::A, false), &denied, &["a.example. 5 60 x1"], &["other. 6 300 x1"]);
    }

    #[test]
    fn signatures_and_proofs_are_for_those_who_ask() {
        let signature = |owner: &str, covered: u16| record(owner, rtype::RRSIG, 60, covered.to_be_bytes().repeat(9));
        let answers = vec![
            record("a.example.", rtype::A, 60, vec![9, 9, 9, 9]),
            signature("a.example.", rtype::A),
            signature("a.example.", rtype::TXT),
        ];
        let nsec = vec![record("a.example.", rtype::NSEC, 60, to("b.example")), signature("a.example.", rtype::NSEC)];
        let got = message(NOERROR, answers, nsec);
        check(&question("a.example", rtype::A, false), &got, &["a.example. 1 60 x1"], &[]);
        check(
            &question("a.example", rtype::A, true),
            &got,
            &["a.example. 1 60 x1", "a.example. 46 60 x1"],
            &["a.example. 47 60 x1", "a.example. 46 60 x1"],
        );
        check(&question("a.example", rtype::RRSIG, false), &got, &["a.example. 46 60 x2"], &[]);
    }

    #[test]
    fn a_dname_and_its_cname() {
        let dname = record("old.example.", rtype::DNAME, 60, to("new.example"));
        let end = record("a.new.example.", rtype::A, 60, vec![9, 9, 9, 9]);
        let expected = ["old.example. 39 60 x1", "a.old.example. 5 60 x1", "a.new.example. 1 60 x1"];
        let cname = record("a.old.example.", rtype::CNAME, 60, to("a.new.example"));
        let asked = question("a.old.example", rtype::A, false);
        let both = message(NOERROR, vec![dname.clone(), cname, end.clone()], vec![]);
        check(&asked, &both, &expected, &[]);
        check(&asked, &message(NOERROR, vec![dname.clone(), end.clone()], vec![]), &expected, &[]);
        let false_cname = record("a.old.example.", rtype::CNAME, 60, to("a.evil.example"));
        check(&asked, &message(NOERROR, vec![dname, false_cname, end], vec![]), &[], &[]);
    }

    #[test]
    fn circles_end_and_our_names_are_not_believed() {
        let circle = vec![
            record("a.example.", rtype::CNAME, 60, to("b.example")),
            record("b.example.", rtype::CNAME, 60, to("a.example")),
        ];
        check(
            &question("a.example", rtype::A, false),
            &message(NOERROR, circle, vec![]),
            &["a.example. 5 60 x1", "b.example. 5 60 x1"],
            &[],
        );
        let into_ours = vec![
            record("a.example.", rtype::CNAME, 60, to("alice.P2P")),
            record("alice.p2p.", rtype::A, 60, vec![6, 6, 6, 6]),
        ];
        let got = message(NXDOMAIN, into_ours, vec![soa(".")]);
        let got = check(&question("a.example", rtype::A, false), &got, &["a.example. 5 60 x1"], &[]);
        assert_eq!((got.rcode, got.elsewhere), (ResponseCode::NoError, Some(name("alice.p2p"))));
        let long: Vec<Record> = (0..40)
            .map(|i| record(&format!("{i}.example."), rtype::CNAME, 60, to(&format!("{}.example", i + 1))))
            .collect();
        let got = scrub(&question("0.example", rtype::A, false), &message(NOERROR, long, vec![]), |_| false);
        assert_eq!(got.answer.len(), MAX_ALIASES + 1);
    }

    #[test]
    fn where_an_answer_leaves_off() {
        let alias = || vec![record("a.example.", rtype::CNAME, 60, to("b.other"))];
        let whole = [alias(), vec![record("b.other.", rtype::A, 60, vec![9, 9, 9, 9])]].concat();
        let circle = [alias(), vec![record("b.other.", rtype::CNAME, 60, to("a.example"))]].concat();
        for (qtype, rcode, answers, authorities, expected) in [
            (rtype::A, NOERROR, alias(), vec![], Some("b.other")),
            (rtype::CNAME, NOERROR, alias(), vec![], None),
            (rtype::ANY, NOERROR, alias(), vec![], None),
            (rtype::A, NOERROR, alias(), vec![soa("other.")], None),
            (rtype::A, NXDOMAIN, alias(), vec![], None),
            (rtype::A, NOERROR, whole, vec![], None),
            (rtype::A, NOERROR, circle, vec![], None),
            (rtype::A, NOERROR, vec![], vec![], None),
            (rtype::A, NOERROR, vec![record("a.example.", rtype::CNAME, 60, to("alice.p2p"))], vec![], None),
        ] {
            let asked = question("a.example", qtype, false);
            let answer = scrub(&asked, &message(rcode, answers, authorities), |it| it.is_within(&name("p2p")));
            assert_eq!(bare_alias(&asked, &answer), expected.map(name), "{answer:?}");
        }
    }

    #[test]
    fn refusals_are_failures_of_others() {
        for (code, expected) in [
            (FORMERR, ResponseCode::ServFail),
            (SERVFAIL, ResponseCode::ServFail),
            (REFUSED, ResponseCode::Refused),
            (9, ResponseCode::ServFail),
            (23, ResponseCode::ServFail),
        ] {
            let answer = scrub(&question("a.example", rtype::A, false), &message(code, vec![], vec![]), |_| false);
            assert_eq!((answer.rcode, answer.authority.len()), (expected, 0), "{code}");
        }
    }
}

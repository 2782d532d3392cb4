//! What of an upstream's message is kept: the chain of aliases from the question, the records at its end, and for
//! negative answers what says so. Everything else is unasked for, and nobody here vouches for it (RFC 5452 §6, RFC 2181
//! §5.4.1): other records of the answer section, delegations, and the whole additional section.

use std::borrow::Cow;

use bytes::Bytes;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RData, Record,
        rdata::opt::{EdnsCode, EdnsOption},
    },
    serialize::binary::{BinEncodable, BinEncoder, NameEncoding},
};

use super::Question;
use crate::{
    answer::{Answer, Ede, EdeCode, Origin, RrSet},
    dname::{Dname, ancestors, ends_with_labels},
    rtype,
};

/// The most aliases of one answer.
const MAX_ALIASES: usize = 16;
/// The most records that are looked at; more is an attack.
const MAX_RECORDS: usize = 2_048;
/// Largest TTL (RFC 2181 §8); what is above counts as 0.
const MAX_TTL_S: u32 = i32::MAX as u32;
/// The longest text of an extended error that is passed on, in bytes.
const MAX_EDE_TEXT_BYTES: usize = 200;
/// Number of the extended-error option (RFC 8914 §2).
const EDE_OPTION: u16 = 15;
/// Hashed denial of existence (RFC 5155).
const NSEC3: u16 = 50;

/// The answer in `message`, as far as it answers `question`. Names for which `is_ours` holds are not taken from
/// others: an alias into them ends the answer, and is left in [`Answer::elsewhere`].
pub(super) fn scrub(question: &Question, message: &Message, is_ours: impl Fn(&Dname) -> bool) -> Answer {
    let mut answer = Answer::empty(message.metadata.response_code, Origin::Upstream);
    answer.ede = extended_error(message);
    let records = read(&message.answers, question);
    let mut current = question.name.clone();
    let mut names = vec![current.clone()];
    loop {
        let found = sets_at(&current, question, &records);
        let is_final = found.iter().any(|set| answers_type(set.rtype, question.qtype));
        if is_final {
            answer.answer.extend(found);
            break;
        }
        let Some((alias, target)) = alias_of(&current, question, &records) else { break };
        answer.answer.extend(alias);
        if is_ours(&target) {
            answer.rcode = ResponseCode::NoError;
            answer.elsewhere = Some(target);
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
    answer.authority = authority(question, message, &names, has_data);
    answer
}

/// A record out of hickory's types.
struct Flat {
    owner: Dname,
    rtype: u16,
    ttl_s: u32,
    data: Bytes,
}

impl Flat {
    /// The type that a signature covers.
    fn covers(&self) -> Option<u16> {
        let head = self.data.get(..2).filter(|_| self.rtype == rtype::RRSIG)?;
        Some(u16::from_be_bytes([head[0], head[1]]))
    }
}

fn read(records: &[Record], question: &Question) -> Vec<Flat> {
    records.iter().take(MAX_RECORDS).filter_map(|record| flat(record, question)).collect()
}

fn flat(record: &Record, question: &Question) -> Option<Flat> {
    if u16::from(record.dns_class) != rtype::CLASS_IN {
        return None;
    }
    let ttl_s = if record.ttl > MAX_TTL_S { 0 } else { record.ttl };
    let rtype = u16::from(record.record_type());
    let data = settle_case(rtype, data(&record.data)?, &question.name);
    Some(Flat { owner: dname(&record.name)?, rtype, ttl_s, data: data.into() })
}

/// Names in data that were compressed against the question have its letter case, which is random (see
/// [`link`](super::link)): what they share with it is lower-cased. Only these types may be compressed (RFC 3597 §4).
fn settle_case(rtype: u16, mut data: Vec<u8>, question: &Dname) -> Vec<u8> {
    let mut at = match rtype {
        rtype::NS | rtype::CNAME | rtype::PTR | rtype::SOA => 0,
        rtype::MX => 2,
        _ => return data,
    };
    for _ in 0..if rtype == rtype::SOA { 2 } else { 1 } {
        let rest = data.get(at..).unwrap_or_default();
        let Ok((name, after)) = Dname::split_wire(rest) else { return data };
        let end = data.len() - after.len();
        let asked = question.as_wire();
        let shared = ancestors(&asked[..asked.len() - 1])
            .find(|tail| ends_with_labels(&name.as_wire()[..name.as_wire().len() - 1], tail))
            .unwrap_or_default();
        data[end - 1 - shared.len()..end - 1].copy_from_slice(shared);
        at = end;
    }
    data
}

fn dname(name: &Name) -> Option<Dname> {
    Dname::from_labels(name.iter()).ok()
}

/// Data without compression.
fn data(data: &RData) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(32);
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder).ok()?;
    Some(bytes)
}

fn answers_type(rtype: u16, qtype: u16) -> bool {
    rtype == qtype || qtype == rtype::ANY
}

/// The sets at a name that answer the question, each followed by its signatures.
fn sets_at(name: &Dname, question: &Question, records: &[Flat]) -> Vec<RrSet> {
    let mut types: Vec<u16> = Vec::new();
    for record in records.iter().filter(|record| record.owner == *name) {
        let is_signature = record.rtype == rtype::RRSIG && question.qtype != rtype::RRSIG;
        if answers_type(record.rtype, question.qtype) && !is_signature && !types.contains(&record.rtype) {
            types.push(record.rtype);
        }
    }
    types.into_iter().flat_map(|rtype| signed_set(name, rtype, question, records)).collect()
}

/// The set of a name and type, and its signatures if the client wants them.
fn signed_set(name: &Dname, rtype: u16, question: &Question, records: &[Flat]) -> Vec<RrSet> {
    let here = || records.iter().filter(|record| record.owner == *name);
    let set = collect(name, rtype, here().filter(|record| record.rtype == rtype));
    let signatures = here().filter(|record| question.dnssec_ok && record.covers() == Some(rtype));
    set.into_iter().chain(collect(name, rtype::RRSIG, signatures)).collect()
}

/// One set; its TTL is the smallest (RFC 2181 §5.2), and doubles are left out (§5).
fn collect<'a>(owner: &Dname, rtype: u16, records: impl Iterator<Item = &'a Flat>) -> Option<RrSet> {
    let mut set: Option<RrSet> = None;
    for record in records {
        match &mut set {
            None => set = Some(RrSet::one(owner.clone(), rtype, record.ttl_s, record.data.clone())),
            Some(set) => {
                set.ttl_s = set.ttl_s.min(record.ttl_s);
                if !set.data.contains(&record.data) {
                    set.data.push(record.data.clone());
                }
            }
        }
    }
    set
}

/// The alias at a name, or above it (DNAME, with the CNAME that it makes), and where it leads.
fn alias_of(name: &Dname, question: &Question, records: &[Flat]) -> Option<(Vec<RrSet>, Dname)> {
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
fn authority(question: &Question, message: &Message, names: &[Dname], has_data: bool) -> Vec<RrSet> {
    let records = read(&message.authorities, question);
    let last = names.last().unwrap_or(&question.name);
    let mut sets = Vec::new();
    if !has_data
        && let Some(soa) = records.iter().find(|record| record.rtype == rtype::SOA && last.is_within(&record.owner))
    {
        sets.extend(signed_set(&soa.owner, rtype::SOA, question, &records));
    }
    if question.dnssec_ok {
        let mut seen: Vec<(&Dname, u16)> = Vec::new();
        for record in records.iter().filter(|record| matches!(record.rtype, rtype::NSEC | NSEC3)) {
            if !seen.contains(&(&record.owner, record.rtype)) {
                seen.push((&record.owner, record.rtype));
                sets.extend(signed_set(&record.owner, record.rtype, question, &records));
            }
        }
    }
    sets
}

/// Why the upstream has failed, in its own words.
fn extended_error(message: &Message) -> Option<Ede> {
    let Some(EdnsOption::Unknown(EDE_OPTION, data)) = message.edns.as_ref()?.option(EdnsCode::from(EDE_OPTION)) else {
        return None;
    };
    let (code, text) = data.split_at_checked(2)?;
    let code = EdeCode::from_number(u16::from_be_bytes([code[0], code[1]]))?;
    let text = text.get(..MAX_EDE_TEXT_BYTES).unwrap_or(text);
    let text: String = String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).collect();
    Some(Ede { code, text: Cow::Owned(format!("upstream: {text}")) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::{
        op::OpCode,
        rr::{DNSClass, RecordType, rdata::NULL},
    };

    fn name(text: &str) -> Dname {
        text.parse().expect("a name")
    }

    fn question(text: &str, qtype: u16, dnssec_ok: bool) -> Question {
        Question { name: name(text), qtype, dnssec_ok, checking_disabled: false }
    }

    fn record(owner: &str, rtype: u16, ttl: u32, data: Vec<u8>) -> Record {
        let data = RData::Unknown { code: RecordType::from(rtype), rdata: NULL::with(data) };
        Record::from_rdata(Name::from_ascii(owner).expect("a name"), ttl, data)
    }

    fn to(target: &str) -> Vec<u8> {
        name(target).as_wire().to_vec()
    }

    fn soa(owner: &str) -> Record {
        record(owner, rtype::SOA, 300, [to("ns"), to("host"), vec![0; 20]].concat())
    }

    fn message(rcode: ResponseCode, answers: Vec<Record>, authorities: Vec<Record>) -> Message {
        let mut message = Message::response(1, OpCode::Query);
        message.metadata.response_code = rcode;
        message.answers = answers;
        message.authorities = authorities;
        // What is unasked for, in each section.
        message.answers.push(record("evil.example.", rtype::A, 300, vec![6, 6, 6, 6]));
        message.authorities.push(record("example.", rtype::NS, 300, to("ns.evil.example")));
        message.additionals.push(record("ns.evil.example.", rtype::A, 300, vec![6, 6, 6, 6]));
        message
    }

    fn check(question: &Question, message: &Message, answer: &[&str], authority: &[&str]) -> Answer {
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
        check(
            &question("www.example", rtype::A, false),
            &message(ResponseCode::NoError, chain.clone(), vec![]),
            &expected,
            &[],
        );
        // The alias itself.
        check(
            &question("www.example", rtype::CNAME, false),
            &message(ResponseCode::NoError, chain.clone(), vec![]),
            &["www.example. 5 60 x1"],
            &[],
        );
        check(
            &question("b.example", rtype::ANY, false),
            &message(ResponseCode::NoError, chain, vec![]),
            &["b.example. 1 50 x2", "b.example. 16 50 x1"],
            &[],
        );
    }

    #[test]
    fn random_case_does_not_come_back_in_data() {
        // `target` does not lower-case, other than `to`.
        let target = |text: &str| {
            Name::from_ascii(text).expect("a name").iter().fold(Vec::new(), |mut wire, label| {
                wire.push(label.len() as u8);
                wire.extend_from_slice(label);
                wire
            })
        };
        let wire = |text: &str| [target(text), vec![0]].concat();
        for (rtype, given, expected) in [
            (rtype::CNAME, wire("Www.eXAmple."), wire("Www.example.")),
            (rtype::CNAME, wire("Www.xeXAmple."), wire("Www.xeXAmple.")),
            (rtype::PTR, wire("My-Printer._hTTp.eXAmple."), wire("My-Printer._http.example.")),
            (rtype::MX, [vec![0, 9], wire("Mail.EXAMPLE.")].concat(), [vec![0, 9], wire("Mail.example.")].concat()),
            (
                rtype::SOA,
                [wire("Ns.EXAMPLE."), wire("Me.Example."), vec![65; 20]].concat(),
                [wire("Ns.example."), wire("Me.example."), vec![65; 20]].concat(),
            ),
            (rtype::SRV, [vec![0; 6], wire("EXAMPLE.")].concat(), [vec![0; 6], wire("EXAMPLE.")].concat()),
            (rtype::MX, vec![0], vec![0]),
        ] {
            assert_eq!(settle_case(rtype, given, &name("_http.example")), expected, "{rtype}");
        }
    }

    #[test]
    fn other_classes_and_absurd_ttls() {
        let mut chaos = record("a.example.", rtype::A, 60, vec![9, 9, 9, 9]);
        chaos.dns_class = DNSClass::CH;
        let huge = record("a.example.", rtype::A, u32::MAX, vec![9, 9, 9, 8]);
        let got = message(ResponseCode::NoError, vec![chaos, huge], vec![]);
        check(&question("a.example", rtype::A, false), &got, &["a.example. 1 0 x1"], &[]);
    }

    #[test]
    fn negative_answers_keep_the_soa_of_their_zone() {
        let denied = message(ResponseCode::NXDomain, vec![], vec![soa("other."), soa("example.")]);
        check(&question("a.example", rtype::A, false), &denied, &[], &["example. 6 300 x1"]);
        let alias = vec![record("a.example.", rtype::CNAME, 60, to("b.other"))];
        let denied = message(ResponseCode::NXDomain, alias, vec![soa("other.")]);
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
        let got = message(ResponseCode::NoError, answers, nsec);
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
        let both = message(ResponseCode::NoError, vec![dname.clone(), cname, end.clone()], vec![]);
        check(&asked, &both, &expected, &[]);
        check(&asked, &message(ResponseCode::NoError, vec![dname.clone(), end.clone()], vec![]), &expected, &[]);
        let false_cname = record("a.old.example.", rtype::CNAME, 60, to("a.evil.example"));
        check(&asked, &message(ResponseCode::NoError, vec![dname, false_cname, end], vec![]), &[], &[]);
    }

    #[test]
    fn circles_end_and_our_names_are_not_believed() {
        let circle = vec![
            record("a.example.", rtype::CNAME, 60, to("b.example")),
            record("b.example.", rtype::CNAME, 60, to("a.example")),
        ];
        check(
            &question("a.example", rtype::A, false),
            &message(ResponseCode::NoError, circle, vec![]),
            &["a.example. 5 60 x1", "b.example. 5 60 x1"],
            &[],
        );
        let into_ours = vec![
            record("a.example.", rtype::CNAME, 60, to("alice.P2P")),
            record("alice.p2p.", rtype::A, 60, vec![6, 6, 6, 6]),
        ];
        let got = message(ResponseCode::NXDomain, into_ours, vec![soa(".")]);
        let got = check(&question("a.example", rtype::A, false), &got, &["a.example. 5 60 x1"], &[]);
        assert_eq!((got.rcode, got.elsewhere), (ResponseCode::NoError, Some(name("alice.p2p"))));
        let long: Vec<Record> = (0..40)
            .map(|i| record(&format!("{i}.example."), rtype::CNAME, 60, to(&format!("{}.example", i + 1))))
            .collect();
        let got =
            scrub(&question("0.example", rtype::A, false), &message(ResponseCode::NoError, long, vec![]), |_| false);
        assert_eq!(got.answer.len(), MAX_ALIASES + 1);
    }
}

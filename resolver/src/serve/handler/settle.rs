//! What our own sources say, settled: signed, or what the servers of a delegated name say instead of a referral.

use std::{
    net::{IpAddr, SocketAddr},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use hickory_proto::op::ResponseCode;
use hickory_server::server::Request;
use tokio::time::timeout_at;

use super::state::Handler;
use crate::{
    dns::{
        answer::{Answer, Origin},
        ede::EdeCode,
        name::Dname,
        rtype,
    },
    out::{
        delegation::{self, Allowance, Delegation, MAX_LOOKED_UP, MAX_REFERRED, MAX_SERVERS},
        forward::{Authority, Question, Reach},
    },
    policy::{
        guard::signing::{OverBudget, SigningRequest},
        target::would_reach,
    },
    serve::reply::Reply,
    zones::{
        answer::{Verdict, answer},
        inside,
        query::{Query, Transport},
    },
};

/// What is said instead of an answer whose signatures cannot be made now.
pub(super) type Unsigned = Box<Reply>;

impl Handler {
    /// With signatures, if the client wants them and there is a key. The AD bit stays clear: it says that a resolver has
    /// validated, and we have not; whoever trusts us without validating trusts the AA bit as well (RFC 4035 §3.1.6). CD
    /// is for resolvers that validate: nothing here depends on it, and [`Reply::fit`] clears it.
    ///
    /// New signatures have a budget. A datagram beyond it is told to come by TCP; a query that came on a connection waits
    /// for its turn, and fails at once when that would take too long.
    pub(super) async fn signed(&self, answer: Answer, query: &Query, src: IpAddr) -> Result<Answer, Unsigned> {
        let wants_signatures = query.dnssec_ok() && answer.origin == Origin::Ledger;
        let Some(signer) = self.signer.as_ref().filter(|_| wants_signatures) else { return Ok(answer) };
        // A clock before 1970 is as wrong as any: validators refuse the signatures.
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let authoritative = answer.authoritative;
        let begun = signer.begin(answer, query, &self.site, now_s);
        let wanted = SigningRequest { src, transport: query.transport, signatures: begun.missing() };
        let Err(OverBudget) = self.guard.wait_to_sign(&wanted).await else { return Ok(signer.finish(begun)) };
        self.metrics.guard.unsigned(query.transport);
        Err(Box::new(match query.transport {
            Transport::Datagram => Reply { authoritative, ..Reply::come_by_tcp(Origin::Ledger) },
            Transport::Stream => {
                let text = "too many signatures to make; ask again later";
                let failure = Answer::failure(ResponseCode::ServFail, Origin::Policy, EdeCode::Other, text);
                Reply::from_answer(failure)
            }
        }))
    }

    /// What our own sources say, signed; where that is a referral and this client leaves the rest to us, what the
    /// delegated servers say, through at most `cuts_left` delegations.
    pub(super) async fn settled(
        &self,
        mut answer: Answer,
        query: &Query,
        request: &Request,
        (cuts_left, allowance): (usize, &Allowance),
    ) -> Result<Answer, Unsigned> {
        let src = request.src().ip();
        let delegation = self.resolves(query, src).then(|| Delegation::take(&mut answer, &query.name)).flatten();
        let Some(delegation) = delegation else { return self.signed(answer, query, src).await };
        let start = if answer.answer.is_empty() { answer } else { self.signed(answer, query, src).await? };
        // Boxed: it may come here again.
        let mut rest = Box::pin(self.ask_servers(&delegation, query, request, (cuts_left, allowance))).await;
        if let Some(end) = rest.elsewhere.take() {
            let ours = Query { name: end, ..query.clone() };
            let seen = rest.answer.iter().any(|set| set.owner == ours.name);
            match self.verdict(&ours, src) {
                Verdict::Local(next) if cuts_left > 1 && !seen => {
                    let next = Box::pin(self.settled(next, &ours, request, (cuts_left - 1, allowance))).await?;
                    rest = join(rest, next);
                }
                _ => rest = delegation.failure(EdeCode::Other, "its aliases lead through too many delegations"),
            }
        }
        Ok(match rest.rcode {
            ResponseCode::ServFail => rest,
            _ if start.answer.is_empty() => rest,
            _ => join(start, rest),
        })
    }

    /// What the servers of a delegation say about its name, or those that they refer to, or why they say nothing.
    async fn ask_servers(
        &self,
        delegation: &Delegation,
        query: &Query,
        request: &Request,
        (cuts_left, allowance): (usize, &Allowance),
    ) -> Answer {
        if !self.delegations.is_on {
            let why = "dns.resolve_delegated is off: ask its servers yourself";
            return delegation.failure(EdeCode::NotSupported, why);
        }
        // Only what the ledger is known to say tells whether answers are to be checked.
        let Some(mut signers) = self.signers(&delegation.cut, query) else {
            return delegation.failure(EdeCode::NotReady, "whether it is signed cannot be said now");
        };
        let (mut delegation, mut max_servers) = (delegation.clone(), MAX_SERVERS);
        loop {
            let place = (cuts_left, max_servers, allowance);
            let mut answer = self.ask_zone(&delegation, signers, (query, request), place).await;
            // What vouches for the keys of the next zone was validated there, if anything has to.
            signers = Delegation::signers_in(&answer);
            let Some(next) = Delegation::take(&mut answer, &delegation.name) else { return answer };
            if !allowance.take_referral() {
                return next.failure(EdeCode::NoReachableAuthority, "too many referrals lead to it");
            }
            (delegation, max_servers) = (next, MAX_REFERRED);
        }
    }

    /// What the servers of one zone say about the name, which may be a referral further down.
    async fn ask_zone(
        &self,
        delegation: &Delegation,
        signers: Vec<Bytes>,
        (query, request): (&Query, &Request),
        (cuts_left, max_servers, allowance): (usize, usize, &Allowance),
    ) -> Answer {
        let mut addresses = delegation.addresses.clone();
        if addresses.is_empty() {
            addresses = self.look_up_servers(delegation, query, request, (cuts_left, allowance)).await;
        }
        let reach = if self.ledger_guard { Reach::Outside } else { Reach::Anywhere };
        let may_be_asked = |address: &IpAddr| {
            let socket = SocketAddr::new(address.to_canonical(), self.delegations.port);
            delegation::can_be_asked(*address)
                && !(reach == Reach::Outside && inside::is_inside(*address))
                && !would_reach(socket, &self.delegations.listen)
        };
        let servers = delegation::sockets(addresses.into_iter().filter(may_be_asked), self.delegations.port);
        let servers = delegation::few(servers, max_servers);
        if servers.is_empty() {
            let why = "no name server of it has an address that can be asked";
            return delegation.failure(EdeCode::NoReachableAuthority, why);
        }
        let question = Question {
            name: delegation.name.clone(),
            qtype: query.qtype,
            dnssec_ok: query.dnssec_ok(),
            checking_disabled: request.metadata.checking_disabled,
            authority: None,
        };
        // Its keys may have to be asked for.
        if !signers.is_empty() && !allowance.take_lookup() {
            return delegation
                .failure(EdeCode::NoReachableAuthority, "too much was looked up for this question already");
        }
        let authority = Authority::new(delegation.cut.clone(), servers).signed_by(signers);
        let asking = self.forwarder.ask_delegated(&question, request.src().ip(), authority, reach);
        let Ok(answer) = timeout_at(allowance.deadline, asking).await else {
            return delegation.failure(EdeCode::NoReachableAuthority, "asking its servers takes too long");
        };
        let says_nothing = answer.answer.is_empty() && answer.authority.is_empty() && answer.ede.is_none();
        match answer.rcode {
            // Neither data nor a reason why there is none (RFC 2308 §2.2).
            ResponseCode::NoError if says_nothing && answer.elsewhere.is_none() => {
                delegation.failure(EdeCode::NoReachableAuthority, "its servers refer to others or say nothing")
            }
            ResponseCode::NoError | ResponseCode::NXDomain | ResponseCode::YXDomain => answer,
            ResponseCode::ServFail => match answer.ede {
                Some(ede) if ede.code.is_of_validation() => {
                    delegation.failure(ede.code, &format!("what its servers say is not valid: {}", ede.text))
                }
                ede => {
                    let why = ede.map_or("its servers fail".into(), |ede| ede.text);
                    delegation.failure(EdeCode::NoReachableAuthority, &format!("asking its servers failed: {why}"))
                }
            },
            code => delegation.failure(EdeCode::NoReachableAuthority, &format!("its servers say {code}")),
        }
    }

    /// The DS records that the ledger has for a delegated name; `None` if it does not say now.
    fn signers(&self, cut: &Dname, query: &Query) -> Option<Vec<Bytes>> {
        let asked = Query { name: cut.clone(), qtype: rtype::DS, edns: None, ..query.clone() };
        // Not as HOSTS files have it.
        match answer(&asked, &*self.source.view(), &self.site) {
            Verdict::Local(answer) if answer.rcode == ResponseCode::NoError => {
                let sets = answer.answer.into_iter().filter(|set| set.rtype == rtype::DS && set.owner == *cut);
                Some(sets.flat_map(|set| set.data).collect())
            }
            _ => None,
        }
    }

    /// The addresses of name servers that are not with the delegation: names of the ledger by what it says, others by
    /// the ordinary routes.
    async fn look_up_servers(
        &self,
        delegation: &Delegation,
        query: &Query,
        request: &Request,
        (cuts_left, allowance): (usize, &Allowance),
    ) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        let others = delegation.name_servers.iter().filter(|name| !name.is_within(&delegation.cut));
        for (server, qtype) in others.take(MAX_LOOKED_UP).flat_map(|name| [(name, rtype::A), (name, rtype::AAAA)]) {
            if !allowance.take_lookup() {
                break;
            }
            let asked = Query { name: server.clone(), qtype, edns: None, ..query.clone() };
            let found = match self.verdict(&asked, request.src().ip()) {
                Verdict::Local(found) if cuts_left > 1 => {
                    Box::pin(self.settled(found, &asked, request, (cuts_left - 1, allowance))).await.ok()
                }
                Verdict::Local(_) => None,
                Verdict::Elsewhere => {
                    let (dnssec_ok, checking_disabled) = (false, false);
                    let question =
                        Question { name: server.clone(), qtype, dnssec_ok, checking_disabled, authority: None };
                    let asking = self.forwarder.ask_for(&question, request.src().ip());
                    timeout_at(allowance.deadline, asking).await.ok()
                }
            };
            let sets = found.into_iter().flat_map(|found| found.answer);
            addresses.extend(sets.flat_map(|set| set.addresses()));
            if !addresses.is_empty() {
                break;
            }
        }
        addresses
    }
}

/// The beginning of a chain of aliases, and where it ends.
pub(super) fn join(mut start: Answer, rest: Answer) -> Answer {
    start.answer.extend(rest.answer);
    // Proofs about the aliases, for those who validate.
    start.authority.extend(rest.authority);
    let (answer, authority) = (start.answer, start.authority);
    Answer { answer, authority, authoritative: start.authoritative, authentic: false, origin: start.origin, ..rest }
}

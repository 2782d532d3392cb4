//! The reply to a question: from our own sources, from upstreams, or from one after the other where aliases lead across.

use hickory_proto::op::ResponseCode;
use hickory_server::server::Request;
use tokio::time::timeout_at;

use super::{
    settle::{Unsigned, join},
    state::Handler,
};
use crate::{
    dns::{
        answer::{Answer, Origin},
        ede::{Ede, EdeCode},
        name::Dname,
    },
    metrics::guard::Refused,
    out::{
        delegation::{Allowance, Delegation, MAX_CUTS},
        forward::Question,
    },
    serve::reply::Reply,
    zones::{answer::Verdict, query::Query},
};

impl Handler {
    pub(super) async fn reply(&self, query: &Query, request: &Request) -> Reply {
        if !self.guard.may_ask(request.src().ip()) {
            self.metrics.guard.refused(Refused::Query);
            let text = "clients at this address are not served";
            return Reply::from_answer(refused(Ede { code: EdeCode::Prohibited, text: text.into() }));
        }
        let allowance = &Allowance::new();
        let outcome = match self.verdict(query, request.src().ip()) {
            Verdict::Local(answer) if answer.origin == Origin::Special && self.is_opened(query, request) => {
                self.ask(&query.name, query, request, allowance).await
            }
            Verdict::Local(answer) => self.local(answer, query, request, allowance).await,
            Verdict::Elsewhere => self.forward_or_refuse(query, request, allowance).await,
        };
        let mut reply = match outcome {
            Ok(answer) => Reply::from_answer(answer),
            Err(reply) => *reply,
        };
        // Only for those who understand it: they set DO, or AD itself (RFC 6840 §5.8).
        reply.authentic_data &= query.dnssec_ok() || request.metadata.authentic_data;
        reply
    }

    /// What we answer by ourselves, to the end of its aliases, as it may be seen outside. Where an alias leads is up to
    /// the owner of the name, so the answer is looked at as a whole, whoever gave its parts.
    async fn local(
        &self,
        mut answer: Answer,
        query: &Query,
        request: &Request,
        allowance: &Allowance,
    ) -> Result<Answer, Unsigned> {
        let may_be_local = self.may_be_local(&query.name, answer.origin);
        // Before it is signed, too: what is withheld needs no signatures. A referral that this client does not get to see
        // leads nowhere by itself.
        let stays_here = self.resolves(query, request.src().ip()) && Delegation::is_in(&answer);
        if !may_be_local && !stays_here && self.forwarder.withhold(&mut answer) {
            return Ok(answer);
        }
        let answer = self.settled(answer, query, request, (MAX_CUTS, allowance)).await?;
        let mut answer = self.complete(answer, query, request, allowance).await?;
        if !may_be_local {
            self.forwarder.withhold(&mut answer);
        }
        Ok(answer)
    }

    /// Follows an alias that leads out of our zones, for clients that want it: stub resolvers do not do it themselves.
    /// The code is that of the last name, the AA bit that of the first (RFC 6604).
    async fn complete(
        &self,
        mut answer: Answer,
        query: &Query,
        request: &Request,
        allowance: &Allowance,
    ) -> Result<Answer, Unsigned> {
        let end = answer.elsewhere.take().filter(|_| self.may_forward(query, request).is_ok());
        let Some(end) = end else { return Ok(answer) };
        let rest = self.ask(&end, query, request, allowance).await?;
        Ok(match rest.origin {
            // Nobody was asked.
            Origin::Policy => answer,
            _ if rest.rcode == ResponseCode::ServFail => rest,
            _ => join(answer, rest),
        })
    }

    async fn forward_or_refuse(
        &self,
        query: &Query,
        request: &Request,
        allowance: &Allowance,
    ) -> Result<Answer, Unsigned> {
        match self.may_forward(query, request) {
            Ok(()) => self.ask(&query.name, query, request, allowance).await,
            Err(why) => {
                if why.code == EdeCode::Prohibited {
                    self.metrics.guard.refused(Refused::Forward);
                }
                Ok(refused(why))
            }
        }
    }

    /// What upstreams say about `name`. Where they point to a name of ours, we speak for ourselves, but only once: an
    /// alias from there out again is left to the client.
    async fn ask(
        &self,
        name: &Dname,
        query: &Query,
        request: &Request,
        allowance: &Allowance,
    ) -> Result<Answer, Unsigned> {
        let question = Question {
            name: name.clone(),
            qtype: query.qtype,
            dnssec_ok: query.dnssec_ok(),
            checking_disabled: request.metadata.checking_disabled,
            authority: None,
        };
        let asking = self.forwarder.ask_for(&question, request.src().ip());
        let Ok(mut answer) = timeout_at(allowance.deadline, asking).await else {
            let text = "asking others takes too long";
            return Ok(Answer::failure(ResponseCode::ServFail, Origin::Upstream, EdeCode::NoReachableAuthority, text));
        };
        let Some(end) = answer.elsewhere.take() else { return Ok(answer) };
        let ours = Query { name: end, ..query.clone() };
        if let Verdict::Local(rest) = self.verdict(&ours, request.src().ip()) {
            let rest = self.settled(rest, &ours, request, (MAX_CUTS, allowance)).await?;
            answer = join(answer, Answer { elsewhere: None, ..rest });
            self.forwarder.guard(&query.name, &mut answer);
        }
        Ok(answer)
    }
}

fn refused(why: Ede) -> Answer {
    Answer { ede: Some(why), ..Answer::empty(ResponseCode::Refused, Origin::Policy) }
}

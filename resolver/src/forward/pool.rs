//! Several upstreams for the same names: the fastest living one is asked first, another one when it takes longer than
//! it usually does or fails, and the first good answer wins.

use std::sync::Arc;

use hickory_proto::op::Message;
use tokio::{
    sync::{mpsc, mpsc::Sender},
    time::sleep,
};

use super::{
    Question,
    link::LinkError,
    upstream::{Context, SystemServers, Upstream, is_refusal},
};

/// The most upstreams asked for one question.
const MAX_ASKED: usize = 4;

/// The upstreams of one rule, or of everything without a rule.
pub(super) struct Pool {
    members: Vec<Member>,
    context: Arc<Context>,
    max_asked: usize,
}

pub(super) enum Member {
    Fixed(Arc<Upstream>),
    System(SystemServers),
}

/// A response, and from whom.
pub(super) struct Response {
    pub(super) message: Message,
    /// Whether what the upstream says about validation can be believed.
    pub(super) is_trusted: bool,
}

/// Why a pool has no response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PoolError {
    /// Nobody answered, or there is nobody.
    Unreachable,
    /// Everybody failed at once, for a reason of the network or the protocol.
    Network,
    /// Too many questions are under way.
    Overloaded,
}

type Outcome = (Arc<Upstream>, Result<Message, LinkError>);

impl Pool {
    pub(super) fn new(members: Vec<Member>, context: Arc<Context>) -> Self {
        Self { members, context, max_asked: MAX_ASKED }
    }

    /// The same; for one question all upstreams may be asked.
    pub(super) fn asking_all(self) -> Self {
        Self { max_asked: self.members.len(), ..self }
    }

    /// Whether all upstreams are in the local network, so that answers from there may be as well.
    pub(super) fn is_local(&self) -> bool {
        let inside = |upstream: &Arc<Upstream>| {
            upstream.server().addresses().iter().all(|address| super::rebinding::is_inside(address.ip()))
        };
        self.members.iter().all(|member| matches!(member, Member::Fixed(upstream) if inside(upstream)))
    }

    /// The first good response; failing that, the last bad one (SERVFAIL, REFUSED, …). The caller bounds the time.
    pub(super) async fn ask(&self, question: &Question) -> Result<Response, PoolError> {
        let upstreams = self.in_order();
        let (sender, mut outcomes) = mpsc::channel(self.max_asked.max(1));
        let (mut asked, mut under_way) = (0, 0);
        let mut failure = PoolError::Unreachable;
        let mut refusal = None;
        loop {
            if let Some(upstream) = upstreams.get(asked) {
                match self.start(upstream.clone(), question, sender.clone()) {
                    Ok(()) => (asked, under_way) = (asked + 1, under_way + 1),
                    // What is under way may still answer.
                    Err(error) => (asked, failure) = (upstreams.len(), error),
                }
            }
            if under_way == 0 {
                return refusal.ok_or(failure);
            }
            // Not `asked` itself: when there is nobody left to ask, patience has no end.
            let last = &upstreams[asked.min(upstreams.len()) - 1];
            let patience = last.health().patience();
            let outcome = tokio::select! {
                outcome = outcomes.recv() => outcome,
                () = sleep(patience), if asked < upstreams.len() => continue,
            };
            under_way -= 1;
            match outcome {
                Some((upstream, Ok(message))) => {
                    let response = Response { is_trusted: upstream.server().is_trusted(), message };
                    if !is_refusal(&response.message) {
                        return Ok(response);
                    }
                    refusal = Some(response);
                }
                Some((_, Err(LinkError::Network(_) | LinkError::Mismatch))) => failure = PoolError::Network,
                Some((_, Err(LinkError::Timeout))) | None => failure = PoolError::Unreachable,
            }
        }
    }

    /// Whom to ask, in this order: the living if there are any, else the dead, who may have come back.
    fn in_order(&self) -> Vec<Arc<Upstream>> {
        let mut ranked = Vec::with_capacity(self.members.len());
        for member in &self.members {
            match member {
                Member::Fixed(upstream) => ranked.push(upstream.clone()),
                Member::System(servers) => ranked.extend(servers.current().iter().cloned()),
            }
        }
        let rank = |upstream: Arc<Upstream>| {
            let rank = upstream.health().rank();
            (rank, upstream)
        };
        let mut ranked: Vec<_> = ranked.into_iter().map(rank).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        if ranked.iter().any(|((is_dead, _), _)| !is_dead) {
            ranked.retain(|((is_dead, _), _)| !is_dead);
        }
        ranked.iter().skip(1).for_each(|(_, upstream)| upstream.health().passed_over());
        ranked.into_iter().map(|(_, upstream)| upstream).take(self.max_asked).collect()
    }

    /// Asks one upstream from a task of its own, which also finishes when somebody else was faster: otherwise nobody
    /// would notice that an upstream is dead.
    fn start(&self, upstream: Arc<Upstream>, question: &Question, outcomes: Sender<Outcome>) -> Result<(), PoolError> {
        let permit = self.context.attempts.clone().try_acquire_owned().map_err(|_| PoolError::Overloaded)?;
        let question = question.clone();
        tokio::spawn(async move {
            let outcome = upstream.clone().ask(&question).await;
            drop(permit);
            // Whoever asked may have an answer already.
            drop(outcomes.send((upstream, outcome)).await);
        });
        Ok(())
    }
}

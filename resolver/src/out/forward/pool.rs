//! Several upstreams for the same names: the fastest living one is asked first, another one when it takes longer than
//! it usually does or fails, and the first good answer wins.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, mpsc::Sender},
    task::JoinHandle,
    time::sleep,
};

use super::{
    Question,
    link_error::LinkError,
    referral,
    response::Response,
    upstream::{Context, SystemServers, Upstream},
};

/// The most upstreams asked for one question.
const MAX_ASKED: usize = 4;
/// The share of all pools of delegated servers; those of configured pools have the numbers that follow.
const DELEGATED_SHARE: usize = 0;
static NEXT_SHARE: AtomicUsize = AtomicUsize::new(DELEGATED_SHARE + 1);
/// An attempt that is given up after so long without an answer counts as silence; before that it says nothing.
const SILENCE: Duration = Duration::from_secs(1);

/// The upstreams of one rule, or of everything without a rule.
pub(super) struct Pool {
    members: Vec<Member>,
    context: Arc<Context>,
    max_asked: usize,
    share: usize,
}

pub(super) enum Member {
    Fixed(Arc<Upstream>),
    System(SystemServers),
}

/// A response, and from whom.
pub(super) struct Answered {
    pub(super) response: Response,
    pub(super) from: Arc<Upstream>,
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
    /// What came was no answer.
    Odd,
    /// Only referrals came: nobody there asks others.
    Lame,
    /// Too many questions are under way.
    Overloaded,
}

type Outcome = (Arc<Upstream>, Result<Response, LinkError>);

/// An attempt under way.
struct Attempt {
    upstream: Arc<Upstream>,
    began: Instant,
    // `None` when nobody waits for it any more, and it goes on by itself.
    task: Option<JoinHandle<()>>,
    // Attempts beyond the first hold one from the beginning.
    permit: Option<OwnedSemaphorePermit>,
    is_finished: Arc<AtomicBool>,
}

/// The attempts of one question. Dropping it ends them.
#[derive(Default)]
struct Attempts(Vec<Attempt>);

impl Pool {
    pub(super) fn new(members: Vec<Member>, context: Arc<Context>) -> Self {
        let share = NEXT_SHARE.fetch_add(1, Ordering::Relaxed);
        Self { members, context, max_asked: MAX_ASKED, share }
    }

    /// The same, for the servers that a name is delegated to. Who they are is anybody's choice, so all such pools have one
    /// share together; all members may be asked for one question.
    pub(super) fn of_delegation(self) -> Self {
        Self { max_asked: self.members.len(), share: DELEGATED_SHARE, ..self }
    }

    /// A number that tells apart those who have a share of what is under way.
    pub(super) fn share(&self) -> usize {
        self.share
    }

    /// Whether all upstreams are in the local network, so that answers from there may be as well.
    pub(super) fn is_local(&self) -> bool {
        let inside = |upstream: &Arc<Upstream>| {
            upstream.server().addresses().iter().all(|address| crate::zones::inside::is_inside(address.ip()))
        };
        self.members.iter().all(|member| matches!(member, Member::Fixed(upstream) if inside(upstream)))
    }

    /// Forgets what was learnt of its upstreams.
    pub(super) fn forget(&self) {
        for member in &self.members {
            match member {
                Member::Fixed(upstream) => upstream.forget(),
                Member::System(servers) => servers.forget(),
            }
        }
    }

    /// The first good response; failing that, the last bad one (SERVFAIL, REFUSED, …). The caller bounds the time, and
    /// holds the place of one attempt.
    pub(super) async fn ask(&self, question: &Question) -> Result<Answered, PoolError> {
        self.ask_others(question, &[]).await
    }

    /// The same of all but some.
    pub(super) async fn ask_others(&self, question: &Question, but: &[Arc<Upstream>]) -> Result<Answered, PoolError> {
        let mut upstreams = self.in_order();
        upstreams.retain(|upstream| !but.iter().any(|other| Arc::ptr_eq(upstream, other)));
        let (sender, mut outcomes) = mpsc::channel(self.max_asked.max(1));
        let (mut asked, mut under_way) = (0, 0);
        let mut failure = PoolError::Unreachable;
        let mut refusal = None;
        let mut attempts = Attempts::default();
        loop {
            let mut has_room = true;
            if let Some(upstream) = upstreams.get(asked) {
                match self.start(upstream.clone(), question, sender.clone(), &mut attempts) {
                    Ok(()) => (asked, under_way) = (asked + 1, under_way + 1),
                    // What is under way may still answer, or leave its place to the next.
                    Err(error) => (has_room, failure) = (false, error),
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
                () = sleep(patience), if has_room && asked < upstreams.len() => continue,
            };
            under_way -= 1;
            match outcome {
                // It does not ask others, so it has nothing to say, unless it knows who is nearer.
                Some((_, Ok(response))) if response.is_referral() && referral::cut(question, &response).is_none() => {
                    failure = PoolError::Lame;
                }
                Some((upstream, Ok(response))) => {
                    let answered = Answered { is_trusted: upstream.server().is_trusted(), response, from: upstream };
                    if !answered.response.is_refusal() {
                        attempts.go_on(&self.context);
                        return Ok(answered);
                    }
                    refusal = Some(answered);
                }
                Some((_, Err(LinkError::Network(_)))) => failure = PoolError::Network,
                Some((_, Err(LinkError::Timeout))) | None => failure = PoolError::Unreachable,
                Some((_, Err(LinkError::Odd(_) | LinkError::LetterCase | LinkError::Flooded))) => {
                    failure = PoolError::Odd;
                }
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
        // Delegated servers are not probed: the dead are asked last, or nobody would notice that they are back.
        if self.share != DELEGATED_SHARE && ranked.iter().any(|((is_dead, _), _)| !is_dead) {
            ranked.retain(|((is_dead, _), _)| !is_dead);
        }
        ranked.iter().skip(1).for_each(|(_, upstream)| upstream.health().passed_over());
        ranked.into_iter().map(|(_, upstream)| upstream).take(self.max_asked).collect()
    }

    /// Asks one upstream from a task of its own. All but the first need a place.
    fn start(
        &self,
        upstream: Arc<Upstream>,
        question: &Question,
        outcomes: Sender<Outcome>,
        attempts: &mut Attempts,
    ) -> Result<(), PoolError> {
        let permit = match attempts.are_over() {
            true => None,
            false => {
                let permit = self.context.spare_attempts.clone().try_acquire_owned();
                Some(permit.map_err(|_| PoolError::Overloaded)?)
            }
        };
        let (question, began, is_finished) = (question.clone(), Instant::now(), Arc::new(AtomicBool::new(false)));
        let (asked, finished) = (upstream.clone(), is_finished.clone());
        let task = tokio::spawn(async move {
            let outcome = asked.clone().ask(&question).await;
            finished.store(true, Ordering::Relaxed);
            // Whoever asked may have an answer already.
            drop(outcomes.send((asked, outcome)).await);
        });
        attempts.0.push(Attempt { upstream, began, task: Some(task), permit, is_finished });
        Ok(())
    }
}

impl Attempts {
    /// Whether none is under way, so that the next one takes the place of the question itself.
    fn are_over(&self) -> bool {
        self.0.iter().all(Attempt::is_finished)
    }

    /// Lets those finish that are under way although another upstream was faster: otherwise nobody would notice that an
    /// upstream is dead. Each needs a place for that.
    fn go_on(&mut self, context: &Context) {
        for mut attempt in self.0.drain(..).filter(|attempt| !attempt.is_finished()) {
            let permit = attempt.permit.take().or_else(|| context.spare_attempts.clone().try_acquire_owned().ok());
            let Some(permit) = permit else { continue };
            let task = attempt.task.take();
            tokio::spawn(async move {
                if let Some(task) = task {
                    drop(task.await);
                }
                drop(permit);
            });
        }
    }
}

impl Attempt {
    fn is_finished(&self) -> bool {
        self.is_finished.load(Ordering::Relaxed)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let Some(task) = self.task.take().filter(|_| !self.is_finished()) else { return };
        task.abort();
        if self.began.elapsed() >= SILENCE {
            self.upstream.was_silent();
        }
    }
}

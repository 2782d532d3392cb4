//! Following operations to their end. Leaving early is always safe: the node goes on.

use std::time::{Duration, Instant};

use clap::Args;
use node::{
    api::types::{Operation, ResumeOperation},
    keys::KeyFile,
    ops::OperationState,
};

use crate::{
    change,
    context::Context,
    failure::{Exit, Failure},
    interrupt::Interrupt,
    progress::Board,
};

/// How long a node may be away (restarting) before we stop waiting for it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the node is asked at most and at least: it answers from memory, and two changes a second look live.
const POLL_EVERY: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];

/// How far to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Not at all.
    Started,
    /// Until the commit, or the change, stands in a block.
    Committed,
    /// Until nothing can take it back in the ordinary course of things.
    Final,
}

/// Flags of commands that wait.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct WaitArgs {
    /// How far to wait: until the change stands in a block, or until it is final [default: final]
    #[arg(long, value_enum, value_name = "WHEN")]
    wait: Option<WaitFor>,
    /// Return at once; the node goes on
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum WaitFor {
    Committed,
    Final,
}

impl WaitArgs {
    pub fn until(self) -> Until {
        match (self.no_wait, self.wait) {
            (true, _) => Until::Started,
            (false, Some(WaitFor::Committed)) => Until::Committed,
            (false, Some(WaitFor::Final) | None) => Until::Final,
        }
    }
}

impl Until {
    fn is_reached(self, operation: &Operation) -> bool {
        let state = operation.state;
        match self {
            Self::Started => true,
            _ if state.is_over() => true,
            Self::Committed => operation.commit_height.is_some(),
            Self::Final => false,
        }
    }
}

/// As much of an id as people need to type: its time, to a fraction of a second.
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Follows operations; signs again where the node asks for it and the keys are at hand.
pub fn follow(
    context: &Context,
    keys: Option<&KeyFile>,
    started: Vec<Operation>,
    until: Until,
) -> Result<Vec<Operation>, Failure> {
    if until == Until::Started {
        return Ok(started);
    }
    let mut following = Following::new(context, keys, &started, until);
    let mut operations = started;
    loop {
        for operation in operations.iter_mut().filter(|operation| !until.is_reached(operation)) {
            following.look(operation).map_err(|failure| going_on(failure, operation))?;
        }
        operations.iter().for_each(|operation| following.board.show(operation));
        let Some(open) = operations.iter().find(|operation| !until.is_reached(operation)) else { break };
        following.pause(open).map_err(|failure| going_on(failure, open))?;
    }
    drop(following);
    let ended = |operation: &&Operation| matches!(operation.state, OperationState::Failed | OperationState::Cancelled);
    match operations.iter().find(ended) {
        Some(failed) => Err(failure_of(failed)),
        None => Ok(operations),
    }
}

fn going_on(failure: Failure, operation: &Operation) -> Failure {
    failure.fix(format!("namectl ops wait {}", short(&operation.id)))
}

/// What stays the same from one look to the next.
struct Following<'a> {
    context: &'a Context,
    keys: Option<&'a KeyFile>,
    board: Board,
    began: Instant,
    away_since: Option<Instant>,
    interrupt: Interrupt,
}

impl<'a> Following<'a> {
    fn new(context: &'a Context, keys: Option<&'a KeyFile>, operations: &[Operation], until: Until) -> Self {
        let interrupt = Interrupt::listen(context);
        let open: Vec<Operation> =
            operations.iter().filter(|operation| !until.is_reached(operation)).cloned().collect();
        Self { context, keys, board: Board::new(context, &open), began: Instant::now(), away_since: None, interrupt }
    }

    /// Asks the node how far an operation is. A node that is away for a moment is waited for.
    fn look(&mut self, operation: &mut Operation) -> Result<(), Failure> {
        match self.refresh(operation) {
            Err(failure) if failure.exit == Exit::Unreachable => {
                let since = *self.away_since.get_or_insert_with(Instant::now);
                self.board.away();
                if since.elapsed() > PATIENCE { Err(failure) } else { Ok(()) }
            }
            other => {
                self.away_since = None;
                other
            }
        }
    }

    fn refresh(&mut self, operation: &mut Operation) -> Result<(), Failure> {
        let (context, id) = (self.context, operation.id.clone());
        *operation = self.or_ctrl_c(context.client.operation(&id))??;
        match (operation.state, self.keys) {
            (OperationState::NeedsSignature, Some(keys)) => *operation = resume(context, keys, operation)?,
            (OperationState::NeedsSignature, None) => return Err(needs_signature(operation)),
            _ => {}
        }
        Ok(())
    }

    /// Waits until the next look.
    fn pause(&mut self, open: &Operation) -> Result<(), Failure> {
        if self.context.globals.timeout.is_some_and(|limit| self.began.elapsed() >= limit) {
            let message = format!("{} of {} is not finished yet", open.action, open.name);
            return Err(
                Failure::new(Exit::Continuing, "timed_out", message).why("the time to wait is over; the node goes on")
            );
        }
        let [fastest, slowest] = POLL_EVERY;
        let block = Duration::from_secs(u64::from(self.context.params().block_interval));
        let pause = (block / 20).clamp(fastest, slowest);
        self.or_ctrl_c(async { tokio::time::sleep(pause).await })
    }

    /// Runs a future, unless Ctrl-C comes first.
    fn or_ctrl_c<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let done = self.interrupt.or(self.context, work);
        done.ok_or_else(|| {
            Failure::new(Exit::Interrupted, "interrupted", "stopped waiting").why("the node goes on by itself")
        })
    }
}

fn needs_signature(operation: &Operation) -> Failure {
    let message = format!("{} of {} needs a new signature", operation.action, operation.name);
    Failure::new(Exit::Locked, "needs_signature", message)
        .why(operation.error.as_ref().map_or("it took longer than a signature is valid", |error| &error.message))
        .fix(format!("namectl ops resume {}", short(&operation.id)))
}

/// Signs the transaction of an operation again and hands it over.
pub fn resume(context: &Context, keys: &KeyFile, operation: &Operation) -> Result<Operation, Failure> {
    let missing = || {
        Failure::new(
            Exit::Refused,
            "not_resumable",
            format!("{} of {} cannot be signed again", operation.action, operation.name),
        )
        .why("the node does not hold its transaction, or it was signed with other keys")
        .fix(format!("namectl ops cancel {}   # and start again", short(&operation.id)))
    };
    let old = operation.transaction_hex.as_ref().ok_or_else(missing)?;
    let signed = match operation.error.as_ref().map(|error| error.code.as_str()) {
        Some("older_reveal") => change::sign_correction(context, keys, old)?,
        _ => change::sign_again(context, keys, old)?,
    };
    let signed = signed.ok_or_else(missing)?;
    let request = ResumeOperation { transaction_hex: Some(signed) };
    Ok(context.wait(context.client.resume_operation(&operation.id, &request))?)
}

/// The failure that an operation ended with.
pub fn failure_of(operation: &Operation) -> Failure {
    let message = format!("{} of {} failed", operation.action, operation.name);
    match (&operation.error, operation.state) {
        (Some(error), _) => Failure {
            exit: Exit::Refused,
            code: error.code.clone().into(),
            message: format!("{message}: {}", error.message),
            why: error.why.clone(),
            fix: error.fix.clone(),
        },
        (None, OperationState::Cancelled) => Failure::new(
            Exit::Failure,
            "cancelled",
            format!("{} of {} was cancelled", operation.action, operation.name),
        ),
        (None, _) => Failure::new(Exit::Refused, "operation_failed", message)
            .fix(format!("namectl ops show {}", short(&operation.id))),
    }
}

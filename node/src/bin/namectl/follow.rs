//! Following operations to their end. Leaving early is always safe: the node goes on.

use std::time::{Duration, Instant};

use clap::Args;
use node::{
    api::types::{Operation, OperationState, ResumeOperation},
    keys::KeyFile,
};

use crate::{
    change,
    context::Context,
    failure::{Exit, Failure},
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
            _ if state.is_final() => true,
            Self::Committed => operation.commit_height.is_some(),
            Self::Final => false,
        }
    }
}

/// The end of an id that people need to type: the first eight characters are its time to some seconds.
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
    let mut board = Board::new(context, &started);
    let mut operations = started;
    let began = Instant::now();
    let mut away_since: Option<Instant> = None;
    loop {
        for operation in &mut operations {
            if until.is_reached(operation) {
                board.show(operation);
                continue;
            }
            match refresh(context, keys, operation) {
                Ok(()) => away_since = None,
                Err(failure) if failure.exit == Exit::Unreachable => {
                    let since = *away_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > PATIENCE {
                        return Err(going_on(failure, operation));
                    }
                    board.away();
                }
                Err(failure) => return Err(going_on(failure, operation)),
            }
            board.show(operation);
        }
        let Some(open) = operations.iter().find(|operation| !until.is_reached(operation)) else { break };
        if context.globals.timeout.is_some_and(|limit| began.elapsed() >= limit) {
            let failure = Failure::new(
                Exit::Continuing,
                "timed_out",
                format!("{} of {} is not finished yet", open.action, open.name),
            );
            return Err(going_on(failure.why("the time to wait is over; the node goes on"), open));
        }
        if interrupted(context) {
            let failure = Failure::new(Exit::Interrupted, "interrupted", "stopped waiting");
            return Err(going_on(failure.why("the node goes on by itself"), open));
        }
    }
    board.finish();
    match operations
        .iter()
        .find(|operation| matches!(operation.state, OperationState::Failed | OperationState::Cancelled))
    {
        Some(failed) => Err(failure_of(failed)),
        None => Ok(operations),
    }
}

fn going_on(failure: Failure, operation: &Operation) -> Failure {
    failure.fix(format!("namectl ops wait {}", short(&operation.id)))
}

/// Waits for the next look; says whether Ctrl-C came instead.
fn interrupted(context: &Context) -> bool {
    let [fastest, slowest] = POLL_EVERY;
    let pause = (Duration::from_secs(u64::from(context.params().block_interval)) / 20).clamp(fastest, slowest);
    context.wait(async {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => true,
            () = tokio::time::sleep(pause) => false,
        }
    })
}

fn refresh(context: &Context, keys: Option<&KeyFile>, operation: &mut Operation) -> Result<(), Failure> {
    *operation = context.wait(context.client.operation(&operation.id))?;
    if operation.state != OperationState::NeedsSignature {
        return Ok(());
    }
    match keys {
        Some(keys) => {
            *operation = resume(context, keys, operation)?;
            Ok(())
        }
        None => Err(Failure::new(
            Exit::Locked,
            "needs_signature",
            format!("{} of {} needs a new signature", operation.action, operation.name),
        )
        .why("it took longer than a signature is valid")
        .fix(format!("namectl ops resume {}", short(&operation.id)))),
    }
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
    let signed = change::sign_again(context, keys, operation.transaction_hex.as_ref().ok_or_else(missing)?)?
        .ok_or_else(missing)?;
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

//! `namectl ops`: what the node is finishing on our behalf.

use clap::{Args, Subcommand};
use node::{
    api::types::{Operation, ResumeOperation},
    ops::OperationState,
};
use serde_json::json;

use crate::{
    context::Context,
    failure::Failure,
    follow::{self, Until, WaitArgs},
    output::{Style, table},
};

#[derive(Debug, Subcommand)]
pub enum OpsCommand {
    /// List operations, newest first
    List,
    /// Show one operation
    Show(IdArgs),
    /// Sign again if that is needed, and go on
    Resume(ResumeArgs),
    /// Stop an operation; work done so far is lost
    Cancel(IdArgs),
    /// Wait until operations are finished
    Wait(WaitIds),
}

#[derive(Debug, Args)]
pub struct IdArgs {
    /// The operation; the beginning of its id is enough
    id: String,
}

#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The operation; the beginning of its id is enough
    id: String,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Debug, Args)]
pub struct WaitIds {
    /// Operations; the beginning of each id is enough
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

pub fn run(context: &Context, command: OpsCommand) -> Result<(), Failure> {
    match command {
        OpsCommand::List => list(context),
        OpsCommand::Show(args) => show(context, &get(context, &args.id)?),
        OpsCommand::Resume(args) => resume(context, &args),
        OpsCommand::Cancel(args) => show(context, &context.wait(context.client.cancel_operation(&args.id))?),
        OpsCommand::Wait(args) => wait(context, &args),
    }
}

fn get(context: &Context, id: &str) -> Result<Operation, Failure> {
    Ok(context.wait(context.client.operation(id))?)
}

fn list(context: &Context) -> Result<(), Failure> {
    let list = context.wait(context.client.operations())?;
    context.out.result(&json!({ "operations": list.operations }), || {
        if list.operations.is_empty() {
            return "no operations".into();
        }
        let row = |op: &Operation| {
            vec![
                follow::short(&op.id).to_owned(),
                op.action.clone(),
                op.name.clone(),
                state_text(op.state),
                op.updated_at.clone(),
            ]
        };
        table(&list.operations.iter().map(row).collect::<Vec<_>>())
    });
    Ok(())
}

fn state_text(state: OperationState) -> String {
    match state {
        OperationState::Working => "working",
        OperationState::Broadcast => "waiting for a block",
        OperationState::Maturing => "maturing",
        OperationState::Revealing => "revealing",
        OperationState::Contest => "contest",
        OperationState::Done => "done",
        OperationState::Failed => "failed",
        OperationState::NeedsSignature => "needs a signature",
        OperationState::Cancelled => "cancelled",
    }
    .to_owned()
}

fn show(context: &Context, operation: &Operation) -> Result<(), Failure> {
    let value = serde_json::to_value(operation).unwrap_or_default();
    context.out.result(&value, || {
        let mut rows = vec![
            vec!["id".into(), operation.id.clone()],
            vec!["what".into(), format!("{} {}", operation.action, operation.name)],
            vec!["state".into(), state_text(operation.state)],
        ];
        let heights = [
            ("committed at", operation.commit_height),
            ("revealed at", operation.reveal_height),
            ("yours from", operation.active_from),
            ("waits for", operation.next_height),
            ("signed until", operation.signature_valid_until),
        ];
        rows.extend(heights.into_iter().filter_map(|(label, height)| {
            Some(vec![label.to_owned(), context.height_text(operation.height, height?)])
        }));
        rows.extend(operation.txids.iter().map(|tx| vec![format!("{:?}", tx.role).to_lowercase(), tx.txid.clone()]));
        if let Some(error) = &operation.error {
            rows.push(vec![context.out.paint(Style::Bad, "error"), format!("{} {}", error.message, error.why)]);
        }
        table(&rows)
    });
    Ok(())
}

fn resume(context: &Context, args: &ResumeArgs) -> Result<(), Failure> {
    let operation = get(context, &args.id)?;
    if operation.state != OperationState::NeedsSignature {
        let poked = context.wait(context.client.resume_operation(&operation.id, &ResumeOperation::default()));
        // A node that has nothing to resume is no failure: the operation goes on as it was.
        let operation = poked.unwrap_or(operation);
        return finish(context, follow::follow(context, None, vec![operation], args.wait.until())?);
    }
    let keys = context.open_keys()?;
    let operation = follow::resume(context, &keys, &operation)?;
    finish(context, follow::follow(context, Some(&keys), vec![operation], args.wait.until())?)
}

fn wait(context: &Context, args: &WaitIds) -> Result<(), Failure> {
    let operations = args.ids.iter().map(|id| get(context, id)).collect::<Result<Vec<_>, Failure>>()?;
    let needs_keys = operations.iter().any(|operation| operation.state == OperationState::NeedsSignature);
    let keys = if needs_keys { Some(context.open_keys()?) } else { None };
    finish(context, follow::follow(context, keys.as_ref(), operations, Until::Final)?)
}

fn finish(context: &Context, operations: Vec<Operation>) -> Result<(), Failure> {
    if let [operation] = &operations[..] {
        return show(context, operation);
    }
    context.out.result(&json!({ "operations": operations }), || {
        let row = |op: &Operation| vec![follow::short(&op.id).to_owned(), op.name.clone(), state_text(op.state)];
        table(&operations.iter().map(row).collect::<Vec<_>>())
    });
    Ok(())
}

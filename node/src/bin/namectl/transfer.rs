//! `namectl transfer`: a name changes hands after a delay, in which the owner can stop it.

use clap::{Args, Subcommand};
use ledger::{
    hash::PolicyHash,
    key::{AddressError, from_address},
    transaction::Body,
};

use crate::{
    ask,
    change::{self, Act},
    context::Context,
    failure::{Exit, Failure},
    follow::WaitArgs,
    output::span,
};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct TransferArgs {
    #[command(subcommand)]
    command: Option<TransferCommand>,
    /// The name
    #[arg(required = true, value_name = "NAME")]
    name: Option<String>,
    /// Address of the new owner, as `namectl keys address` prints it there
    #[arg(long, required = true, value_name = "ADDRESS")]
    to: Option<String>,
    /// The name again, to confirm without a terminal
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Debug, Subcommand)]
enum TransferCommand {
    /// Stop a transfer that has not taken effect
    Cancel(CancelArgs),
}

#[derive(Debug, Args)]
struct CancelArgs {
    /// The name
    name: String,
    #[command(flatten)]
    wait: WaitArgs,
}

pub fn run(context: &Context, args: &TransferArgs) -> Result<(), Failure> {
    match (&args.command, &args.name, &args.to) {
        (Some(TransferCommand::Cancel(cancelled)), ..) => cancel(context, cancelled),
        (None, Some(name), Some(to)) => start(context, args, name, to),
        (None, ..) => Err(Failure::new(Exit::Usage, "usage", "a transfer needs a name and --to ADDRESS")
            .fix("namectl transfer --help")),
    }
}

fn start(context: &Context, args: &TransferArgs, name: &str, to: &str) -> Result<(), Failure> {
    let name = context.name(name)?;
    let owner = from_address(context.params(), to).map_err(|error| {
        let fix = match &error {
            AddressError::Malformed => "ask the receiver for the output of: namectl keys address",
            AddressError::OtherNetwork { .. } => {
                "ask the receiver for an address of this network: namectl --network … keys address"
            }
        };
        Failure::new(Exit::Usage, "bad_address", error.to_string()).fix(fix)
    })?;
    let keys = context.open_keys()?;
    let full = context.full(&name);
    let planned = change::plan(context, &keys, &name, Act::Transfer, format!("transfer {full} to {to}"), |_, seq| {
        Ok(Body::Transfer { name: name.clone(), seq, owner, operator: PolicyHash::ZERO })
    })?;
    must_be_owner(context, &planned)?;
    let delay = u64::from(context.params().transfer_delay) * u64::from(context.params().block_interval);
    if !context.globals.dry_run {
        let what = format!(
            "{full} will belong to {to} after about {}. Until then you can stop it: namectl transfer cancel {name}",
            span(delay)
        );
        let is_it = |typed: &str| context.name(typed).is_ok_and(|typed| typed == name);
        ask::type_the_name(&context.globals, args.confirm.as_deref(), name.as_str(), is_it, &what)?;
    }
    let done = format!("goes to {to} in about {}; stop it with: namectl transfer cancel {name}", span(delay));
    change::finish(context, &keys, vec![planned], args.wait.until(), &done)
}

fn cancel(context: &Context, args: &CancelArgs) -> Result<(), Failure> {
    let name = context.name(&args.name)?;
    let keys = context.open_keys()?;
    let full = context.full(&name);
    let planned =
        change::plan(context, &keys, &name, Act::Cancel, format!("stop the transfer of {full}"), |state, seq| {
            match state.pending {
                Some(_) => Ok(Body::Cancel { name: name.clone(), seq }),
                None => Err(Failure::new(Exit::Refused, "no_transfer", format!("no transfer of {full} is under way"))
                    .why(format!("its owner is {}", state.owner))
                    .fix(format!("namectl lookup {name}"))),
            }
        })?;
    must_be_owner(context, &planned)?;
    change::finish(context, &keys, vec![planned], args.wait.until(), "stays with its owner")
}

/// Refuses what only the owner may do, when all we have is the operator's key.
pub fn must_be_owner(context: &Context, planned: &change::Planned) -> Result<(), Failure> {
    if planned.signs_as == change::SignsAs::Owner {
        return Ok(());
    }
    Err(Failure::new(Exit::Refused, "not_owner", format!("only the owner may {}", planned.text))
        .why("these keys are only its operator")
        .fix(format!("namectl lookup {}", context.full(&planned.name))))
}

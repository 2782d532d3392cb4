//! `namectl revoke` and `namectl release`: giving a name up, for good or for others.

use clap::Args;
use ledger::transaction::{Body, RevokeMode};

use crate::{
    ask,
    change::{self, Act},
    context::Context,
    failure::Failure,
    follow::WaitArgs,
    output::span,
    transfer,
};

#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The name
    name: String,
    /// The name again, to confirm without a terminal
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Burns a name.
pub fn burn(context: &Context, args: &RevokeArgs) -> Result<(), Failure> {
    let lock = time(context, context.params().burn_lock);
    let what = format!("will stop working now and nobody can register it for at least {lock}. This cannot be undone.");
    revoke(context, args, RevokeMode::Burn, "burn", &what, "is burned")
}

/// Gives a name back.
pub fn release(context: &Context, args: &RevokeArgs) -> Result<(), Failure> {
    let delay = time(context, context.params().release_delay);
    let what = format!("will stop working now, and in about {delay} anybody can register it. This cannot be undone.");
    revoke(context, args, RevokeMode::Release, "release", &what, "is released")
}

fn time(context: &Context, blocks: u32) -> String {
    span(u64::from(blocks) * u64::from(context.params().block_interval))
}

fn revoke(
    context: &Context,
    args: &RevokeArgs,
    mode: RevokeMode,
    verb: &str,
    what: &str,
    done: &str,
) -> Result<(), Failure> {
    let name = context.name(&args.name)?;
    let keys = context.open_keys()?;
    let full = context.full(&name);
    let planned = change::plan(context, &keys, &name, Act::Revoke, format!("{verb} {full}"), |_, seq| {
        Ok(Body::Revoke { name: name.clone(), seq, mode })
    })?;
    transfer::must_be_owner(context, &planned)?;
    if !context.globals.dry_run {
        let is_it = |typed: &str| context.name(typed).is_ok_and(|typed| typed == name);
        ask::type_the_name(&context.globals, args.confirm.as_deref(), name.as_str(), is_it, &format!("{full} {what}"))?;
    }
    change::finish(context, &keys, vec![planned], args.wait.until(), done)
}

//! `namectl renew`: more time for names. It takes work and no key, so any name can be renewed, for whoever owns it.

use clap::Args;
use ledger::name::Name;
use node::{
    api::{
        client::NameQuery,
        types::{NameEntry, NameStatus, NewOperation},
    },
    keys::{KeyFile, Role},
};
use serde_json::json;

use crate::{
    ask, change,
    cli::parse_span,
    context::Context,
    failure::{Exit, Failure},
    follow::{self, WaitArgs},
    output::span,
};

#[derive(Debug, Args)]
pub struct RenewArgs {
    /// Names to renew, your own or anybody's: the owner stays the owner
    #[arg(value_name = "NAME", required_unless_present = "all")]
    names: Vec<String>,
    /// Every name of the keys that can be renewed now
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// With --all: only names that expire within this time, such as 60d
    #[arg(long, value_name = "TIME", value_parser = parse_span, requires = "all")]
    within: Option<std::time::Duration>,
    #[command(flatten)]
    wait: WaitArgs,
}

pub fn run(context: &Context, args: &RenewArgs) -> Result<(), Failure> {
    let status = context.synced_status()?;
    let names = if args.all {
        due(context, &context.open_keys()?, status.height, args.within)?
    } else {
        typed(context, &args.names)?
    };
    if names.is_empty() {
        context.out.result(&json!({ "operations": [] }), || "no name can be renewed now".into());
        return Ok(());
    }
    for name in &names {
        let answer = context.answer(name)?;
        in_window(context, name, change::entry_of(context, name, &answer)?, status.height)?;
    }
    let list = names.iter().map(|name| context.full(name)).collect::<Vec<_>>();
    if context.globals.dry_run {
        let plan: Vec<String> = list.iter().map(|name| format!("renew {name}")).collect();
        context.out.result(&json!({ "dry_run": true, "plan": plan }), || format!("would {}", plan.join("\nwould ")));
        return Ok(());
    }
    ask::go_on(&context.globals, &format!("renew {}", list.join(", ")))?;
    let (mut started, mut begun, mut refused) = (Vec::new(), Vec::new(), None);
    for name in names {
        let request = NewOperation::Renew { name: name.to_string() };
        match context.wait(context.client.start_operation(&request)) {
            Ok(operation) => {
                started.push(operation);
                begun.push(name);
            }
            // The others are renewed all the same: this may be a timer that nobody watches.
            Err(error) => {
                let failure = Failure::from(error);
                context.out.warn(&format!("{} is not renewed: {}", context.full(&name), failure.message));
                refused.get_or_insert(failure);
            }
        }
    }
    let until = args.wait.until();
    let operations = follow::follow(context, None, started, until)?;
    change::report(context, &begun, &operations, until, "is renewed");
    refused.map_or(Ok(()), Err)
}

fn typed(context: &Context, names: &[String]) -> Result<Vec<Name>, Failure> {
    names.iter().map(|text| context.name(text)).collect()
}

/// Names of the keys whose renewal the rules accept now.
fn due(
    context: &Context,
    keys: &KeyFile,
    height: u32,
    within: Option<std::time::Duration>,
) -> Result<Vec<Name>, Failure> {
    let params = context.params();
    let window = within.map_or(params.renew_window, |time| {
        u32::try_from(time.as_secs() / u64::from(params.block_interval)).unwrap_or(u32::MAX).min(params.renew_window)
    });
    let mut names = Vec::new();
    for entry in keys.wallet().entries(context.network).filter(|entry| entry.role == Role::Owner) {
        let owner = Some(keys.wallet().address(context.network, entry.role, entry.index));
        let list =
            context.wait(context.client.names(&NameQuery { owner, limit: Some(1_000), ..NameQuery::default() }))?;
        let is_in_use = |status| matches!(status, NameStatus::Active | NameStatus::Grace);
        let due = list.names.iter().filter(|item| is_in_use(item.status) && height + 1 + window >= item.expires_at);
        names.extend(due.filter_map(|item| Name::new(&item.name).ok()));
    }
    Ok(names)
}

fn in_window(context: &Context, name: &Name, state: &NameEntry, height: u32) -> Result<(), Failure> {
    let from = state.expires_at.saturating_sub(context.params().renew_window);
    if height + 1 >= from {
        return Ok(());
    }
    let seconds = u64::from(from - height) * u64::from(context.params().block_interval);
    Err(Failure::new(Exit::Refused, "too_early", format!("{} cannot be renewed yet", context.full(name)))
        .why(format!(
            "it expires on {}; renewals open at height {from}, in about {}",
            state.expires_time,
            span(seconds)
        ))
        .fix("namectl renew --all --within 60d    # in a timer, it does the right thing"))
}

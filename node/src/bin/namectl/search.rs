//! `namectl search`: names by their beginning, and names like another.

use clap::Args;
use ledger::name::Name;
use node::api::{client::NameQuery, types::NameListItem};
use serde_json::json;

use crate::{context::Context, failure::Failure, output::table};

#[derive(Debug, Args)]
pub struct SearchArgs {
    /// Beginning of the names
    prefix: String,
    /// At most so many
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: u32,
}

pub fn run(context: &Context, args: &SearchArgs) -> Result<(), Failure> {
    let query = NameQuery {
        prefix: Some(args.prefix.to_lowercase()),
        limit: Some(args.limit.min(1_000)),
        ..NameQuery::default()
    };
    let list = context.names(&query)?;
    let value = json!({
        "names": list.names, "locked": list.locked, "next": list.next,
        "height": list.height, "tip_age_seconds": list.tip_age_seconds, "sync_state": list.sync_state,
    });
    context.out.result(&value, || {
        if list.names.is_empty() && list.locked.is_empty() {
            return format!("no name begins with {}", args.prefix);
        }
        let locked = list.locked.iter().map(|item| {
            let name = Name::new(&item.name).map_or_else(|_| item.name.clone(), |name| context.full(&name));
            vec![name, format!("locked to {}", item.locked_to)]
        });
        table(&list.names.iter().map(|item| row(context, item)).chain(locked).collect::<Vec<_>>())
    });
    Ok(())
}

/// A name in a table.
pub fn row(context: &Context, item: &NameListItem) -> Vec<String> {
    let date = item.expires_time.split('T').next().unwrap_or_default().to_owned();
    let status = format!("{:?}", item.status).to_lowercase();
    let name = Name::new(&item.name).map_or_else(|_| item.name.clone(), |name| context.full(&name));
    let mut row = vec![name, status, format!("until {date}"), format!("{} records", item.record_count)];
    row.extend(item.locked_to.iter().map(|domain| format!("locked to {domain}")));
    row
}

/// Registered names that look like `name`; empty if the node does not answer.
pub fn near(context: &Context, name: &Name) -> Vec<String> {
    let head: String = name.as_str().chars().take(3).collect();
    let query = NameQuery { prefix: Some(head), limit: Some(200), ..NameQuery::default() };
    let Ok(list) = context.wait(context.client.names(&query)) else { return Vec::new() };
    let mut near: Vec<(usize, String)> = list
        .names
        .into_iter()
        .map(|item| (strsim::damerau_levenshtein(&item.name, name.as_str()), item.name))
        .filter(|(distance, _)| *distance <= 2)
        .collect();
    near.sort();
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

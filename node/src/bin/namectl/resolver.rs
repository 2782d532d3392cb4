//! `namectl resolver`: the node's resolver, told to look again.

use clap::{Args, Subcommand};
use node::{
    api::types::{FlushedAnswers, ReloadedConfiguration},
    zone::read_pasted,
};
use serde_json::json;

use crate::{
    context::Context,
    failure::{Exit, Failure},
    output::group,
};

#[derive(Debug, Subcommand)]
pub enum ResolverCommand {
    /// Read the node's configuration, HOSTS files and certificates again, and say what was taken over
    ///
    /// The same as SIGHUP. A configuration with a mistake changes nothing, and the command fails with what is wrong.
    Reload,
    /// Drop cached answers of upstreams and of delegated servers
    Flush(FlushArgs),
}

#[derive(Debug, Args)]
pub struct FlushArgs {
    /// Only this name and what is below it [default: everything, and what was learnt of upstreams]
    name: Option<String>,
}

pub fn run(context: &Context, command: &ResolverCommand) -> Result<(), Failure> {
    match command {
        ResolverCommand::Reload => reload(context),
        ResolverCommand::Flush(args) => flush(context, args),
    }
}

fn reload(context: &Context) -> Result<(), Failure> {
    if context.globals.dry_run {
        let text = || "would have the node read its configuration again".to_owned();
        context.out.result(&json!({ "dry_run": true }), text);
        return Ok(());
    }
    let reloaded = context.wait(context.client.reload())?;
    context.out.result(&serde_json::to_value(&reloaded).unwrap_or_else(|_| json!({})), || reload_text(&reloaded));
    Ok(())
}

fn reload_text(reloaded: &ReloadedConfiguration) -> String {
    let taken = match &reloaded.changed[..] {
        [] => "configuration read again: nothing has changed that can be taken over".to_owned(),
        changed => format!("configuration read again: {}", changed.join(" ")),
    };
    let hosts = reloaded.hosts_names.map(|names| format!("{} names in HOSTS files", group(names)));
    let rest = &reloaded.needs_restart;
    let rest = (!rest.is_empty()).then(|| format!("changed, but needs a restart: {}", rest.join(" ")));
    [Some(taken), hosts, rest].into_iter().flatten().collect::<Vec<_>>().join("\n")
}

fn flush(context: &Context, args: &FlushArgs) -> Result<(), Failure> {
    let name = args.name.as_deref().map(read_pasted).transpose().map_err(|error| {
        Failure::new(Exit::Usage, "bad_name", error.to_string())
            .why("answers are flushed by the name of a host or domain")
            .fix("namectl resolver flush www.example.org")
            .fix("namectl resolver flush   # everything")
    })?;
    let name = name.map(|name| name.to_string());
    if context.globals.dry_run {
        let text = || format!("would drop cached answers about {}", name.as_deref().unwrap_or("everything"));
        context.out.result(&json!({ "dry_run": true, "name": name }), text);
        return Ok(());
    }
    let flushed = context.wait(context.client.flush_answers(name.as_deref()))?;
    context.out.result(&serde_json::to_value(&flushed).unwrap_or_else(|_| json!({})), || flush_text(&flushed));
    Ok(())
}

fn flush_text(flushed: &FlushedAnswers) -> String {
    let answers = match flushed.answers {
        1 => "1 answer".to_owned(),
        count => format!("{} answers", group(count)),
    };
    match &flushed.name {
        Some(name) => format!("dropped {answers} about {name} and what is below it"),
        None => format!("dropped {answers}, and what was learnt of upstreams"),
    }
}

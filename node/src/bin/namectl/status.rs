//! `namectl status`: the node at a glance.

use std::{io::IsTerminal as _, time::Duration};

use clap::Args;
use node::api::types::{Status, SyncState};
use serde_json::json;

use crate::{
    context::Context,
    failure::{Exit, Failure},
    interrupt::Interrupt,
    output::{Format, Style, group, scaled, span},
};

/// How often `--watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Keep showing it until Ctrl-C
    #[arg(long)]
    watch: bool,
}

pub fn run(context: &Context, args: &StatusArgs) -> Result<(), Failure> {
    if args.watch {
        return watch(context);
    }
    let status = context.wait(context.client.status())?;
    show(context, &status);
    if status.state.is_synced() { Ok(()) } else { Err(behind(context, &status)) }
}

/// Shows the node until Ctrl-C, or until nobody reads any more. A node that goes away is waited for: it may be restarting.
fn watch(context: &Context) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen(context);
    let mut seen = Seen::Never;
    while context.out.arrives() {
        match interrupt.or(context, context.client.status()) {
            None => return Ok(()),
            Some(Ok(status)) => {
                if context.out.format == Format::Text && std::io::stdout().is_terminal() {
                    context.out.raw("\x1b[H\x1b[2J");
                }
                show(context, &status);
                seen = Seen::Now;
            }
            Some(Err(error)) => {
                let failure = Failure::from(error);
                match (failure.exit, seen) {
                    (Exit::Unreachable, Seen::Now) => {
                        context.out.warn("the node does not answer; waiting for it to come back");
                        seen = Seen::Before;
                    }
                    (Exit::Unreachable, Seen::Before) => {}
                    // Never seen: it may be the wrong address. Or something else answers there.
                    _ => return Err(failure),
                }
            }
        }
        if interrupt.or(context, async { tokio::time::sleep(WATCH_EVERY).await }).is_none() {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether the node has answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Never,
    Now,
    Before,
}

fn show(context: &Context, status: &Status) {
    let value = serde_json::to_value(status).unwrap_or_else(|_| json!({}));
    context.out.result(&value, || text(context, status));
}

/// With JSON the object says `synced: false` already, and a second object would break its reader: the code alone tells.
fn behind(context: &Context, status: &Status) -> Failure {
    let why = status.sync_reason.clone().unwrap_or_else(|| "it is catching up with its peers".into());
    let failure =
        Failure::new(Exit::NotSynced, "not_synced", "the node is not synced").why(why).fix("namectl status --watch");
    if context.out.format == Format::Json { Failure { code: crate::output::SILENT.into(), ..failure } } else { failure }
}

fn text(context: &Context, status: &Status) -> String {
    let out = &context.out;
    let (word, style) = state_words(status.state);
    let percent = f64::from(status.height) * 100.0 / f64::from(status.target_height.max(1));
    let progress = if status.state == SyncState::Syncing { format!(" ({percent:.1} %)") } else { String::new() };
    let mining = match status.mining.active {
        true => format!("{}/s on {} threads", scaled(status.mining.hashrate), status.mining.threads),
        false => "idle".to_owned(),
    };
    let reachable =
        status.reachable.as_ref().map_or(String::new(), |word| format!("  others can reach this node: {word}"));
    let mut lines = vec![
        format!("namestead {}  {}  up {}", status.version, status.network, span(status.uptime_seconds)),
        format!(
            "chain     height {} / {}{progress}  {}  tip of {}, {} old",
            group(u64::from(status.height)),
            group(u64::from(status.target_height)),
            out.paint(style, word),
            status.time,
            span(status.tip_age_seconds),
        ),
        format!("peers     {}{reachable}", status.peers),
        format!("ledger    {} names  waiting {} transactions", group(status.names), group(status.mempool.count)),
        format!(
            "price     registration ×{:.2}  bytes ×{:.2} of the base price",
            f64::from(status.price_commit) / 256.0,
            f64::from(status.price_bytes) / 256.0
        ),
        format!("work      {mining}  {} blocks found", status.mining.blocks_found),
        format!("dns       {}  for {}", list(&status.dns_listen), list(&status.suffixes)),
    ];
    lines.extend(
        status.network_problems.iter().map(|problem| format!("{}   {problem}", out.paint(Style::Warn, "network"))),
    );
    lines.join("\n")
}

/// What a state means, in a few words.
fn state_words(state: SyncState) -> (&'static str, Style) {
    match state {
        SyncState::Fresh => ("synced", Style::Good),
        SyncState::Quiet => ("synced, quiet: no peer knows a newer block", Style::Good),
        SyncState::Syncing => ("syncing", Style::Warn),
        SyncState::Offline => ("offline: nobody says whether this is the newest block", Style::Warn),
        SyncState::Suspect => ("suspect: a heavier chain is not followed", Style::Bad),
    }
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "off".to_owned() } else { items.join(" ") }
}

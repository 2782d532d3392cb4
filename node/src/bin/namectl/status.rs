//! `namectl status`: the node at a glance.

use std::{io::IsTerminal as _, time::Duration};

use clap::Args;
use node::api::types::Status;
use serde_json::json;

use crate::{
    context::Context,
    failure::{Exit, Failure},
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
    loop {
        let status = context.wait(context.client.status())?;
        let clear = args.watch && context.out.format == Format::Text && std::io::stdout().is_terminal();
        if clear {
            context.out.raw("\x1b[H\x1b[2J");
        }
        let value = serde_json::to_value(&status).unwrap_or_else(|_| json!({}));
        context.out.result(&value, || text(context, &status));
        if !args.watch {
            return if status.synced { Ok(()) } else { Err(behind(context, &status)) };
        }
        let stopped = context.wait(async {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => true,
                () = tokio::time::sleep(WATCH_EVERY) => false,
            }
        });
        if stopped {
            return Ok(());
        }
    }
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
    let (word, style) = if status.synced { ("synced", Style::Good) } else { ("syncing", Style::Warn) };
    let percent = f64::from(status.height) * 100.0 / f64::from(status.target_height.max(1));
    let progress = if status.synced { String::new() } else { format!(" ({percent:.1} %)") };
    let mining = match status.mining.active {
        true => format!("{}/s on {} threads", scaled(status.mining.hashrate), status.mining.threads),
        false => "idle".to_owned(),
    };
    let reachable =
        status.reachable.as_ref().map_or(String::new(), |word| format!("  others can reach this node: {word}"));
    let mut lines = vec![
        format!("namestead {}  {}  up {}", status.version, status.network, span(status.uptime_seconds)),
        format!(
            "chain     height {} / {}{progress}  {}  tip of {}",
            group(u64::from(status.height)),
            group(u64::from(status.target_height)),
            out.paint(style, word),
            status.time,
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

fn list(items: &[String]) -> String {
    if items.is_empty() { "off".to_owned() } else { items.join(" ") }
}

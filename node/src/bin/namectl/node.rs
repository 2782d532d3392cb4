//! `namectl node`: the node's surroundings, and the operator's word in a deep fork.

use clap::{Args, Subcommand};
use ledger::hash::BlockHash;
use node::api::types::{ConfiguredPeerView, PeerView};
use serde_json::json;

use crate::{
    ask,
    context::Context,
    failure::Failure,
    output::{group, span, table},
};

#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List connected peers
    Peers,
    /// Follow a heavier chain that forks off too deep to be followed alone
    Adopt(AdoptArgs),
}

#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// Hash of its last block; the node's log names it with the alarm deep_fork
    hash: BlockHash,
}

pub fn run(context: &Context, command: &NodeCommand) -> Result<(), Failure> {
    match command {
        NodeCommand::Peers => peers(context),
        NodeCommand::Adopt(args) => adopt(context, args),
    }
}

fn adopt(context: &Context, args: &AdoptArgs) -> Result<(), Failure> {
    let what = format!(
        "The node will follow the chain that ends in {}. Names may change hands by it; ask other operators first.",
        args.hash
    );
    if context.globals.dry_run {
        context.out.result(&json!({ "hash": args.hash.to_string(), "dry_run": true }), || what);
        return Ok(());
    }
    ask::go_on(&context.globals, &what)?;
    let adopted = context.wait(context.client.adopt_fork(&args.hash.to_string()))?;
    context.out.result(&serde_json::to_value(&adopted).unwrap_or_else(|_| json!({})), || {
        let (height, disconnected) = (group(adopted.height.into()), group(adopted.disconnected.into()));
        format!("followed: the tip is {} at height {height}; {disconnected} blocks were taken back", adopted.hash)
    });
    Ok(())
}

fn peers(context: &Context) -> Result<(), Failure> {
    let list = context.wait(context.client.peers())?;
    context.out.result(&serde_json::to_value(&list).unwrap_or_else(|_| json!({})), || {
        let mut lines: Vec<String> = list.listen.iter().map(|address| format!("this node  {address}")).collect();
        lines.push(format!("{} peers", list.peers.len()));
        if !list.peers.is_empty() {
            lines.push(table(&list.peers.iter().map(row).collect::<Vec<_>>()));
        }
        lines.extend(list.configured.iter().filter(|peer| peer.state != "connected").map(unreached));
        lines.join("\n")
    });
    Ok(())
}

/// A configured peer that is not among the connected ones, and why.
fn unreached(peer: &ConfiguredPeerView) -> String {
    match &peer.reason {
        Some(reason) => format!("not reached  {}  {reason} (tried {} times)", peer.address, peer.failures),
        None => format!("trying       {}", peer.address),
    }
}

fn row(peer: &PeerView) -> Vec<String> {
    vec![
        match peer.route.as_str() {
            "" | "direct" => peer.direction.clone(),
            route => format!("{}, {route}", peer.direction),
        },
        peer.address.clone(),
        peer.height.map_or_else(|| "-".into(), |height| group(u64::from(height))),
        peer.rtt_ms.map_or_else(|| "-".into(), |rtt| format!("{rtt:.0} ms")),
        peer.connected_seconds.map_or_else(|| "-".into(), span),
        peer.agent.clone().unwrap_or_default(),
    ]
}

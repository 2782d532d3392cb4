//! `namectl node`: the node's surroundings.

use clap::Subcommand;
use node::api::types::{ConfiguredPeerView, PeerView};
use serde_json::json;

use crate::{
    context::Context,
    failure::Failure,
    output::{group, span, table},
};

#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List connected peers
    Peers,
}

pub fn run(context: &Context, command: &NodeCommand) -> Result<(), Failure> {
    let NodeCommand::Peers = command;
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
        peer.direction.clone(),
        peer.address.clone(),
        peer.height.map_or_else(|| "-".into(), |height| group(u64::from(height))),
        peer.rtt_ms.map_or_else(|| "-".into(), |rtt| format!("{rtt:.0} ms")),
        peer.connected_seconds.map_or_else(|| "-".into(), span),
        peer.agent.clone().unwrap_or_default(),
    ]
}

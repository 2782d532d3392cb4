//! Peers that claim more work than there is and evade the question for it.
//!
//! Some dial the node, again under a new identity whenever it hangs up; some wait to be dialled by it.

use std::time::{Duration, Instant};

use anyhow::Result;
use libp2p::Multiaddr;
use node::p2p::message::Request;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    answers::{self, Evasion},
    forge::Forge,
    peer::Peer,
};

/// Pause between claims, and between attempts to connect.
const AGAIN: Duration = Duration::from_millis(500);

/// Which node, how many liars, for how long.
#[derive(clap::Args)]
pub struct Options {
    /// The node to dial. It need not be up yet.
    #[arg(long)]
    node: Multiaddr,
    /// Liars that dial it.
    #[arg(long, default_value_t = 1)]
    inbound: usize,
    /// Where a liar waits to be dialled; several times for several.
    #[arg(long)]
    listen: Vec<Multiaddr>,
    /// How they evade, in turn.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "busy")]
    evasion: Vec<Evasion>,
    /// How long they go on.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Runs the attack.
pub async fn run(forge: Forge, options: Options) -> Result<Value> {
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let mut evasions = options.evasion.iter().copied().cycle();
    let (mut waiting, mut dialling) = (Vec::new(), JoinSet::new());
    for address in &options.listen {
        let evasion = evasions.next().unwrap_or(Evasion::Busy);
        waiting.push(Peer::listen(forge.params, address, answers::liar(forge.chain_id, evasion))?);
    }
    for evasion in evasions.take(options.inbound) {
        dialling.spawn(lie(forge, options.node.clone(), evasion, until));
    }
    println!("ready");
    let (mut connections, mut claims) = (0, 0);
    while let Some(ended) = dialling.join_next().await {
        let (opened, said) = ended?;
        connections += opened;
        claims += said;
    }
    sleep(until.saturating_duration_since(Instant::now())).await;
    let dialled = waiting.iter().filter(|peer| peer.is_connected()).count();
    Ok(json!({
        "inbound_liars": options.inbound,
        "connections_opened": connections,
        "claims_made": claims,
        "outbound_liars": options.listen.len(),
        "outbound_liars_still_connected": dialled,
    }))
}

/// Claims again and again until the time is over; how many connections and claims that took.
async fn lie(forge: Forge, node: Multiaddr, evasion: Evasion, until: Instant) -> (u64, u64) {
    let (mut connections, mut claims) = (0, 0);
    while Instant::now() < until {
        let answers = answers::liar(forge.chain_id, evasion);
        // The node may be down: it is being restarted.
        let Ok(peer) = Peer::connect(forge.params, &node, answers).await else {
            sleep(AGAIN).await;
            continue;
        };
        connections += 1;
        while Instant::now() < until && peer.is_connected() {
            let claim = answers::huge_claim(forge.chain_id);
            claims += u64::from(peer.ask(Request::Status(claim)).await.is_ok());
            sleep(AGAIN).await;
        }
    }
    (connections, claims)
}

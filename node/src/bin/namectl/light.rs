//! `namectl lookup --light`: an answer that no node has to be trusted for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ledger::{key::to_address, state::NameState};
use node::{
    api::types::rfc3339,
    light::{LightAnswer, LightError, Start},
    p2p::Multiaddr,
};
use serde_json::json;

use crate::{
    context::Context,
    failure::{Exit, Failure},
    label::{self, Typed},
    lookup::{self, LookupArgs},
    output::{Style, group, span},
};

/// Longest time for all headers and the proof, unless `--timeout` says otherwise.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks peers, checks their headers and the proof, and prints the answer.
pub fn lookup(context: &Context, typed: &Typed, args: &LookupArgs) -> Result<(), Failure> {
    let peers = args.peer.iter().map(|text| address(text)).collect::<Result<Vec<Multiaddr>, Failure>>()?;
    if peers.is_empty() {
        return Err(Failure::new(Exit::Usage, "no_peers", "--light needs peers to ask")
            .why("a light lookup trusts no node, but somebody has to send the headers and the proof")
            .fix("add --peer /ip4/192.0.2.1/tcp/9353, or set NAMECTL_PEERS")
            .fix("namectl node peers     # addresses that a node knows"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let limit = context.globals.timeout.unwrap_or(PATIENCE);
    let start = args.checkpoint.map_or(Start::Genesis, Start::Checkpoint);
    let asked = node::light::lookup(context.params(), &peers, &typed.name, start, now);
    let answer = context.wait(async { tokio::time::timeout(limit, asked).await });
    let answer =
        answer.map_err(|_| Failure::new(Exit::Unreachable, "light_timeout", format!("no answer within {limit:?}")))?;
    let answer = answer.map_err(|error| failure(&error))?;
    let age = now.saturating_sub(answer.tip_time);
    if age > u64::from(context.params().relief_start) {
        context.out.warn(&format!("the newest block that the peers showed is {} old: ask others too", span(age)));
    }
    if let Some(path) = &args.proof {
        lookup::write_proof(context, &answer.proof, path)?;
    }
    match &answer.state {
        Some(state) => show(context, args, typed, &answer, state, age),
        None => {
            let message = format!("{} is not registered", context.full(&typed.name));
            let failure = Failure::new(Exit::NotFound, "not_registered", message).why(format!(
                "proven absent at height {}, by headers of {}; their tip is of {}, {} old",
                answer.height,
                peers_text(answer.peers),
                time_text(answer.tip_time),
                span(age)
            ));
            let locked_to = context.params().locked_domain(typed.name.as_str());
            Err(lookup::with_lock(failure, locked_to).fix(format!("namectl check {}", typed.name)))
        }
    }
}

fn address(text: &str) -> Result<Multiaddr, Failure> {
    text.parse().map_err(|_| {
        Failure::new(Exit::Usage, "bad_peer", format!("{text:?} is no address of a peer"))
            .fix("write it as /ip4/192.0.2.1/tcp/9353")
    })
}

fn failure(error: &LightError) -> Failure {
    let message = error.to_string();
    match error {
        LightError::NoPeers { .. } | LightError::Client(_) => {
            Failure::new(Exit::Unreachable, "no_peers", message).fix("name more peers: --peer ADDRESS --peer ADDRESS")
        }
        LightError::NoCheckpoint { .. } => Failure::new(Exit::BadProof, "other_chain", message)
            .why("either the checkpoint is wrong, or the peers follow another chain than the one that you trust")
            .fix("compare the checkpoint with its source, or name other peers: --peer ADDRESS")
            .fix("leave --checkpoint out to check everything from the beginning"),
        LightError::NoProof { .. } => Failure::new(Exit::BadProof, "bad_proof", message)
            .why("a peer that cannot prove its answer is not believed")
            .fix("name other peers: --peer ADDRESS"),
    }
}

fn show(
    context: &Context,
    args: &LookupArgs,
    typed: &Typed,
    answer: &LightAnswer,
    state: &NameState,
    tip_age_s: u64,
) -> Result<(), Failure> {
    let lines = lookup::record_lines(context, args, typed, &state.records)?;
    let status = answer.status.map_or_else(String::new, |status| format!("{status:?}").to_lowercase());
    let owner = to_address(context.params(), &state.owner);
    let value = json!({
        "name": typed.name.as_str(), "unicode": label::show(typed.name.as_str()), "status": status, "source": "light",
        "verified": true, "unconfirmed": answer.is_unconfirmed(), "confirmations": answer.confirmations,
        "height": answer.height, "hash": answer.hash.to_string(), "tip_height": answer.tip_height,
        "locked_to": context.params().locked_domain(typed.name.as_str()), "tip_time": time_text(answer.tip_time), "tip_age_seconds": tip_age_s, "peers": answer.peers,
        "total_work": answer.total_work.to_string(), "owner": owner, "seq": state.seq, "expires_at": state.expires_at,
        "records": lookup::json_lines(&lines),
    });
    context.out.result(&value, || {
        let trust = if answer.is_unconfirmed() { context.out.paint(Style::Warn, "unconfirmed") } else { context.out.paint(Style::Good, "confirmed") };
        let height = group(u64::from(answer.height));
        format!(
            "{}  {status}  {trust}\nowner    {owner}\nexpires  at height {}\nproven   at height {height} by headers of {}\ntip      {} of {}, {} old\n{}",
            context.out.paint(Style::Bold, &context.full(&typed.name)),
            context.height_text(answer.tip_height, state.expires_at),
            peers_text(answer.peers),
            group(u64::from(answer.tip_height)),
            time_text(answer.tip_time),
            span(tip_age_s),
            lookup::text_of(&lines)
        )
    });
    Ok(())
}

fn peers_text(count: usize) -> String {
    match count {
        1 => "1 peer".to_owned(),
        count => format!("{count} peers"),
    }
}

/// Unix seconds for people.
pub fn time_text(unix: u64) -> String {
    rfc3339(unix)
}

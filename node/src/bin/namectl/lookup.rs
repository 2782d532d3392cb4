//! `namectl lookup`: what the ledger says about a name.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;
use ledger::{
    block::Header,
    codec::decode,
    hash::from_hex,
    name::Name,
    record::{Record, Records, type_number},
};
use node::{
    api::types::{NameAnswer, NameEntry},
    light::{Checkpoint, ProofFile},
    zone,
};
use serde_json::{Value, json};

use crate::{
    ask::io_failure,
    context::Context,
    failure::{Exit, Failure},
    label::{self, Typed},
    light,
    output::{Style, group, span, table},
    records, search,
};

#[derive(Debug, Args)]
pub struct LookupArgs {
    /// The name, or a host below it
    name: String,
    /// Only records of this type
    #[arg(value_name = "TYPE")]
    rtype: Option<String>,
    /// Ask peers directly and check their proofs, trusting no node
    #[arg(long)]
    light: bool,
    /// With --light: addresses of peers to ask, such as /ip4/192.0.2.1/tcp/9353
    #[arg(
        long,
        value_name = "ADDRESS",
        requires = "light",
        env = "NAMECTL_PEERS",
        hide_env = true,
        value_delimiter = ','
    )]
    pub peer: Vec<String>,
    /// With --light: a block that is known to be right; headers are fetched and checked from there on
    #[arg(long, value_name = "HEIGHT:HASH", requires = "light", value_parser = parse_checkpoint)]
    pub checkpoint: Option<Checkpoint>,
    /// Keep the proof in this file, for: namectl verify FILE
    #[arg(long, value_name = "FILE")]
    pub proof: Option<PathBuf>,
}

/// `HEIGHT:HASH`.
pub fn parse_checkpoint(text: &str) -> Result<Checkpoint, String> {
    let parsed = text.split_once(':').and_then(|(height, hash)| Some((height.parse().ok()?, hash.parse().ok()?)));
    parsed
        .map(|(height, hash)| Checkpoint { height, hash })
        .ok_or_else(|| "write a height, a colon and 64 hexadecimal digits".into())
}

pub fn run(context: &Context, args: &LookupArgs) -> Result<(), Failure> {
    let typed = context.typed(&args.name)?;
    if let Some(text) = &args.rtype {
        type_number(text).ok_or_else(|| {
            Failure::new(Exit::Usage, "bad_type", format!("type {text:?} is not kept in the ledger"))
                .fix("leave it out to see all records")
        })?;
    }
    if args.light {
        return light::lookup(context, &typed, args);
    }
    let answer = context.answer(&typed.name)?;
    if let Some(path) = &args.proof {
        save_proof(context, &typed.name, path)?;
    }
    show(context, args, &typed, &answer)
}

/// Keeps the node's proof. Nothing is checked here: `namectl verify` does that.
fn save_proof(context: &Context, name: &Name, path: &Path) -> Result<(), Failure> {
    let answer = context.wait(context.client.proof(name.as_str()))?;
    let bad = || Failure::new(Exit::BadProof, "bad_proof", "the node's proof cannot be read");
    let header: Header = from_hex(&answer.header_hex).and_then(|bytes| decode(&bytes).ok()).ok_or_else(bad)?;
    let proof = from_hex(&answer.proof_hex).ok_or_else(bad)?;
    write_proof(context, &ProofFile::new(context.params(), name.clone(), header, Vec::new(), proof), path)
}

/// Writes a proof file; refuses to cover another file.
pub fn write_proof(context: &Context, proof: &ProofFile, path: &Path) -> Result<(), Failure> {
    let shown = path.display().to_string();
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(&proof.to_bytes())).map_err(|error| io_failure(&shown, &error))?;
    context.out.note(&format!("proof written to {shown}; check it with: namectl verify {shown}"));
    Ok(())
}

fn show(context: &Context, args: &LookupArgs, typed: &Typed, answer: &NameAnswer) -> Result<(), Failure> {
    let Some(state) = &answer.state else { return Err(absent(context, &typed.name, answer)) };
    let lines = record_lines(context, args, typed, &records::current(state)?)?;
    let value = json!({
        "name": answer.name, "unicode": label::show(&answer.name), "status": answer.status, "source": "node",
        "height": answer.height, "hash": answer.hash, "tip_age_seconds": answer.tip_age_seconds,
        "sync_state": answer.sync_state, "locked_to": answer.locked_to, "owner": state.owner, "operator": state.operator, "seq": state.seq,
        "expires_at": state.expires_at, "expires_time": state.expires_time, "pending": state.pending,
        "records": json_lines(&lines),
    });
    context.out.result(&value, || format!("{}\n{}", facts(context, &typed.name, answer, state), text_of(&lines)));
    Ok(())
}

/// The records asked for, one line each.
pub fn record_lines(
    context: &Context,
    args: &LookupArgs,
    typed: &Typed,
    all: &Records,
) -> Result<Vec<String>, Failure> {
    let origin = context.origin(&typed.name);
    let sub = match typed.sub.as_str() {
        "" => None,
        sub => Some(
            zone::read_sub(sub, &origin)
                .map_err(|problem| Failure::new(Exit::Usage, "bad_name", problem.what).fix(problem.fix))?,
        ),
    };
    let rtype = args.rtype.as_deref().and_then(type_number);
    let wanted = |record: &&Record| {
        sub.as_ref().is_none_or(|sub| *sub == record.sub) && rtype.is_none_or(|rtype| rtype == record.rtype)
    };
    Ok(all.as_slice().iter().filter(wanted).map(|record| zone::record_line(record, &origin)).collect())
}

/// Record lines for people.
pub fn text_of(lines: &[String]) -> String {
    if lines.is_empty() { "no such records".to_owned() } else { lines.join("\n") }
}

/// Record lines for programs.
pub fn json_lines(lines: &[String]) -> Vec<Value> {
    lines.iter().map(|line| json_line(line)).collect()
}

fn json_line(line: &str) -> Value {
    let mut parts = line.splitn(4, ' ');
    let mut next = || parts.next().unwrap_or_default().to_owned();
    let (name, ttl, rtype, data) = (next(), next(), next(), next());
    json!({ "name": name, "ttl": ttl.parse::<u32>().unwrap_or(0), "type": rtype, "data": data })
}

fn facts(context: &Context, name: &Name, answer: &NameAnswer, state: &NameEntry) -> String {
    let status = format!("{:?}", answer.status).to_lowercase();
    let mut rows = vec![
        vec![context.out.paint(Style::Bold, &context.full(name)), status],
        vec!["owner".into(), state.owner.clone()],
        vec![
            "expires".into(),
            format!("{} at height {}", state.expires_time, context.height_text(answer.height, state.expires_at)),
        ],
    ];
    rows.push(vec![
        "as of".into(),
        format!("height {}, {} old", group(u64::from(answer.height)), span(answer.tip_age_seconds)),
    ]);
    if let Some(domain) = &answer.locked_to {
        rows.push(vec!["locked to".into(), domain.clone()]);
    }
    if let Some(operator) = &state.operator {
        rows.push(vec!["operator".into(), operator.clone()]);
    }
    if let Some(pending) = &state.pending {
        let at = context.height_text(answer.height, pending.at);
        rows.push(vec![context.out.paint(Style::Warn, "transfer"), format!("to {} at height {at}", pending.owner)]);
    }
    table(&rows)
}

/// Says who alone can take a locked name.
pub fn with_lock(failure: Failure, domain: Option<&str>) -> Failure {
    let Some(domain) = domain else { return failure };
    let why = format!("{}\nit is locked to {domain}: only the owner of that domain can claim it", failure.why);
    failure.why(why)
}

/// The failure for a name without an entry, with names that look like it.
pub fn absent(context: &Context, name: &Name, answer: &NameAnswer) -> Failure {
    let failure =
        Failure::new(Exit::NotFound, "not_registered", format!("{} is not registered", context.full(name))).why(
            format!("the ledger has no entry for it at height {}, {} old", answer.height, span(answer.tip_age_seconds)),
        );
    let failure = with_lock(failure, answer.locked_to.as_deref());
    let near = search::near(context, name);
    let failure = near
        .into_iter()
        .fold(failure, |failure, other| failure.fix(format!("did you mean {other}.{}?", context.suffix)));
    // What is locked costs nothing that anybody but the owner of its domain could pay.
    match answer.locked_to {
        Some(_) => failure,
        None => failure.fix(format!("namectl check {name}    # what it costs")),
    }
}

//! `namectl register`: one signing session; the node commits, waits, reveals and finishes alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use clap::Args;
use ledger::{
    hash::{CommitHash, PolicyHash},
    name::Name,
    record::{MAX_RECORDS_BYTES, Records},
    transaction::Body,
};
use node::{
    api::types::{CommitQuery, CommitRequest, NameAnswer, NameStatus, NewOperation, Operation, StandingCommit, Status},
    keys::{Attempt, Attempts, Entry, KeyFile, Role, Standing},
};
use serde_json::json;

use crate::{
    ask, change, check,
    context::{AnchorBlock, Context},
    failure::{Exit, Failure},
    follow::{self, Until, WaitArgs},
    output::Style,
    records,
};

/// Names in one go: each costs minutes of work, so more is a slip of the shell.
const MAX_NAMES: usize = 100;

#[derive(Debug, Args)]
pub struct RegisterArgs {
    /// Names to register
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Zone file with the first records, relative to the name (- for standard input)
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
    #[command(flatten)]
    wait: WaitArgs,
}

pub fn run(context: &Context, args: &RegisterArgs) -> Result<(), Failure> {
    let names: BTreeSet<Name> = args.names.iter().map(|text| context.name(text)).collect::<Result<_, Failure>>()?;
    if names.len() > MAX_NAMES {
        return Err(Failure::new(
            Exit::Usage,
            "too_many_names",
            format!("{} names at once; at most {MAX_NAMES}", names.len()),
        ));
    }
    let status = context.synced_status()?;
    let text = args.records.as_ref().map(|path| records::read_text(path)).transpose()?;
    let mut wanted = Vec::new();
    for name in names {
        is_free(context, &name)?;
        let records = match &text {
            Some(text) => records::parse(context, &name, text, args.records.as_deref())?,
            None => Records::empty(),
        };
        wanted.push((name, records));
    }
    let question = summary(context, &status, &wanted)?;
    if context.globals.dry_run {
        let plan: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        context.out.result(&json!({ "dry_run": true, "plan": plan }), || format!("{question}\nnothing was done"));
        return Ok(());
    }
    let mut keys = context.open_keys()?;
    ask::go_on(&context.globals, &question)?;
    let operations = start(context, &mut keys, &wanted)?;
    let operations = follow::follow(context, Some(&keys), operations, args.wait.until())?;
    report(context, &wanted, &operations, args.wait.until())
}

/// Refuses a name that cannot be registered, saying what can be done instead.
fn is_free(context: &Context, name: &Name) -> Result<(), Failure> {
    let answer = context.answer(name)?;
    let full = context.full(name);
    let refused = |code, message: String| Failure::new(Exit::Refused, code, message);
    match answer.status {
        NameStatus::Free | NameStatus::Released => Ok(()),
        NameStatus::Reserved => Err(refused("name_reserved", format!("{full} can never be registered"))
            .why("the label has a meaning of its own in DNS or in the charter of the suffix")
            .fix("choose another name")),
        NameStatus::Locked => {
            let domain = answer.locked_to.clone().unwrap_or_else(|| "a well-known domain".into());
            Err(refused("name_locked", format!("{full} is kept for the owner of {domain}"))
                .why("names of well-known domains can only be claimed by a DNSSEC proof; claims are not open yet"))
        }
        NameStatus::Pending | NameStatus::Active | NameStatus::Grace | NameStatus::Revoked => {
            Err(refused("name_taken", format!("{full} is taken"))
                .why(taken_why(&answer))
                .fix(format!("namectl lookup {name}")))
        }
    }
}

fn taken_why(answer: &NameAnswer) -> String {
    let status = format!("{:?}", answer.status).to_lowercase();
    match &answer.state {
        Some(state) => {
            format!("it is {status}, owned by {} and free at height {} unless renewed", state.owner, state.grace_until)
        }
        None => format!("it is {status}"),
    }
}

fn summary(context: &Context, status: &Status, wanted: &[(Name, Records)]) -> Result<String, Failure> {
    let line = |(name, records): &(Name, Records)| {
        let work = check::work_text(status, check::expected_work(context, status, name)?);
        let bytes = if records.is_empty() {
            String::new()
        } else {
            format!(" · {} of {MAX_RECORDS_BYTES} record bytes", records.byte_len())
        };
        Ok(format!("{} is free · {work}{bytes}", context.full(name)))
    };
    Ok(wanted.iter().map(line).collect::<Result<Vec<_>, Failure>>()?.join("\n"))
}

/// Makes keys (kept on disk before anything is sent), signs the reveals, and hands everything to the node.
pub fn start(context: &Context, keys: &mut KeyFile, wanted: &[(Name, Records)]) -> Result<Vec<Operation>, Failure> {
    let status = context.synced_status()?;
    let anchor = context.anchor(&status)?;
    let mut attempts = Vec::new();
    for (name, _) in wanted {
        attempts.push(attempt(context, keys, name, status.height)?);
    }
    let mut operations = Vec::new();
    for ((name, records), attempt) in wanted.iter().zip(attempts) {
        let request = request(context, keys, anchor, name, records, &attempt);
        operations.push(context.wait(context.client.start_operation(&request))?);
    }
    Ok(operations)
}

/// The commit to register `name` with: one that stands already, from before a restore or from another device, or else
/// a new one. Notes its key in the wallet.
fn attempt(context: &Context, keys: &mut KeyFile, name: &Name, height: u32) -> Result<Attempt, Failure> {
    let network = context.network;
    let free_since = context.answer(name)?.state.map_or(0, |state| state.grace_until);
    let reveal_by = height.saturating_add(2 * context.params().maturity);
    let standing = |hashes: &[CommitHash]| standing(context, name, hashes, free_since, reveal_by);
    let under_way = Attempts { wallet: keys.wallet(), network, name, height }.under_way(standing)?;
    if let Some(found) = under_way {
        context.out.detail(&format!("{} is committed to already; its registration goes on", context.full(name)));
        keys.change(|wallet| wallet.record(network, Role::Owner, found.index, Some(name.clone())))?;
        return Ok(found);
    }
    let index = keys.change(|wallet| wallet.index_for(network, name))?;
    Attempts { wallet: keys.wallet(), network, name, height }.fresh(index, standing)
}

/// How each of these commits stands on the chain. One made before the name was free can win nothing, and one that dies
/// before `reveal_by` may not be revealed in time.
fn standing(
    context: &Context,
    name: &Name,
    hashes: &[CommitHash],
    free_since: u32,
    reveal_by: u32,
) -> Result<Vec<Option<Standing>>, Failure> {
    let commit_hashes = hashes.iter().map(CommitHash::to_string).collect();
    let list = context.wait(context.client.commits(&CommitQuery { class: name.price_class(), commit_hashes }))?;
    let ttl = context.params().commit_ttl;
    let judge = |commit: StandingCommit| {
        let is_useless = commit.commit_height < free_since || commit.commit_height.saturating_add(ttl) < reveal_by;
        let standing = match (commit.spent, is_useless) {
            (true, _) => Standing::Spent,
            (false, true) => Standing::Useless,
            (false, false) => Standing::Unspent,
        };
        (commit.commit_hash, standing)
    };
    let standings: BTreeMap<String, Standing> = list.commits.into_iter().map(judge).collect();
    Ok(hashes.iter().map(|hash| standings.get(&hash.to_string()).copied()).collect())
}

fn request(
    context: &Context,
    keys: &KeyFile,
    anchor: AnchorBlock,
    name: &Name,
    records: &Records,
    attempt: &Attempt,
) -> NewOperation {
    let Attempt { index, salt, owner, commit_hash, .. } = attempt.clone();
    let class = name.price_class();
    let body =
        Body::Reveal { class, name: name.clone(), salt, owner, operator: PolicyHash::ZERO, records: records.clone() };
    let entry = Entry { role: Role::Owner, index, name: Some(name.clone()) };
    NewOperation::Register {
        name: name.to_string(),
        commit: CommitRequest { class, commit_hash: commit_hash.to_string(), anchor_height: anchor.anchor.height },
        reveal_hex: change::sign(context, keys, &entry, context.genesis_anchor(), body),
    }
}

/// What is printed at the end.
pub fn report(
    context: &Context,
    wanted: &[(Name, Records)],
    operations: &[Operation],
    until: Until,
) -> Result<(), Failure> {
    let mut lines = Vec::new();
    for (name, _) in wanted {
        let full = context.full(name);
        lines.push(match until {
            Until::Final => {
                let answer = context.answer(name)?;
                let until = answer.state.map(|state| state.expires_time).unwrap_or_default();
                let date = until.split('T').next().unwrap_or_default().to_owned();
                let yours = context.out.paint(Style::Good, &format!("{full} is yours until {date}"));
                format!("{yours}    http://{name}.{}/    next: namectl records set {name} A ADDRESS", context.suffix)
            }
            Until::Started | Until::Committed => format!("{full} is under way; the node goes on by itself"),
        });
    }
    context.out.result(&json!({ "operations": operations }), || {
        if until == Until::Started { change::started_text(operations) } else { lines.join("\n") }
    });
    Ok(())
}

//! `namectl records`: the records of a name, one by one or as a zone file.

use std::path::Path;

use clap::{Args, Subcommand, ValueEnum};
use ledger::{
    hash::from_hex,
    name::Name,
    record::{MAX_RECORDS_BYTES, Record, Records, type_number},
    transaction::Body,
};
use node::{
    api::types::NameEntry,
    zone::{self, Change, Diff, Origin, Severity},
};
use serde_json::{Value, json};

use crate::{
    ask,
    change::{self, Act},
    context::Context,
    failure::{Exit, Failure},
    follow::WaitArgs,
    output::{SILENT, Style},
    text,
};

/// Longest string of a text record (RFC 1035 §3.3).
const MAX_STRING_BYTES: usize = 255;

#[derive(Debug, Subcommand)]
pub enum RecordsCommand {
    /// Print the records as a zone file
    Show(ShowArgs),
    /// Set the records of one owner and type, replacing those there
    Set(SetArgs),
    /// Remove records of one owner
    Rm(RmArgs),
    /// Make the records those of a zone file
    Apply(ApplyArgs),
    /// Show what apply would change (exit code 10 if anything)
    Plan(ApplyArgs),
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The name
    name: String,
}

#[derive(Debug, Args)]
pub struct SetArgs {
    /// The name
    name: String,
    /// The type: A, AAAA, TXT, MX, …
    #[arg(value_name = "TYPE")]
    rtype: String,
    /// The data, one argument for each record, as in a zone file: 192.0.2.1, "10 mail"
    #[arg(required = true, value_name = "DATA")]
    data: Vec<String>,
    /// Seconds that resolvers may keep it
    #[arg(long, default_value_t = zone::DEFAULT_TTL)]
    ttl: u32,
    /// Owner below the name, such as www
    #[arg(long, default_value = "@")]
    sub: String,
    /// Keep the records of this owner and type that are there
    #[arg(long)]
    add: bool,
    #[command(flatten)]
    how: ChangeArgs,
}

#[derive(Debug, Args)]
pub struct RmArgs {
    /// The name
    name: String,
    /// The type; all types if left out
    #[arg(value_name = "TYPE")]
    rtype: Option<String>,
    /// Owner below the name, such as www
    #[arg(long, default_value = "@")]
    sub: String,
    #[command(flatten)]
    how: ChangeArgs,
}

#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The name
    name: String,
    /// The zone file (- for standard input)
    #[arg(value_name = "FILE")]
    file: std::path::PathBuf,
    #[command(flatten)]
    how: ChangeArgs,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct ChangeArgs {
    /// Go on although records would be hidden, or more than 30 % of them deleted
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Whether a change is only shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    Plan,
    Apply,
}

pub fn run(context: &Context, command: RecordsCommand) -> Result<(), Failure> {
    match command {
        RecordsCommand::Show(args) => show(context, &args),
        RecordsCommand::Set(args) => set(context, &args),
        RecordsCommand::Rm(args) => rm(context, &args),
        RecordsCommand::Apply(args) => apply(context, &args, Mode::Apply),
        RecordsCommand::Plan(args) => apply(context, &args, Mode::Plan),
    }
}

/// Reads a zone file, or standard input for `-`.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    text::read(path, zone::MAX_TEXT_BYTES)
}

/// Parses a zone file; shows every problem with its line.
pub fn parse(context: &Context, name: &Name, text: &str, path: Option<&Path>) -> Result<Records, Failure> {
    let origin = context.origin(name);
    let records = zone::read(text, &origin).map_err(|problems| {
        let file = path.map(|path| path.display().to_string()).unwrap_or_default();
        let lines: Vec<String> = problems.iter().map(|problem| format!("{file}:{problem}")).collect();
        let message = match problems.len() {
            1 => format!("the records of {origin} cannot be read"),
            n => format!("the records of {origin} cannot be read: {n} problems"),
        };
        let mut failure = Failure::new(Exit::Usage, "bad_records", message).why(lines.join("\n"));
        failure.fix = problems.into_iter().map(|problem| problem.fix).filter(|fix| !fix.is_empty()).collect();
        failure.fix.dedup();
        failure
    })?;
    Ok(records)
}

fn show(context: &Context, args: &ShowArgs) -> Result<(), Failure> {
    let name = context.name(&args.name)?;
    let answer = context.answer(&name)?;
    let state = change::entry_of(context, &name, &answer)?;
    let records = current(state)?;
    let origin = context.origin(&name);
    let value = json!({ "name": name.as_str(), "seq": state.seq, "bytes": records.byte_len(), "records": json_of(&records, &origin) });
    context.out.result(&value, || {
        let meter = format!(
            "; {} of {MAX_RECORDS_BYTES} bytes, change {}, height {}",
            records.byte_len(),
            state.seq,
            answer.height
        );
        format!("{}{}", zone::print(&records, &origin), context.out.paint(Style::Dim, &meter))
    });
    Ok(())
}

/// The records of an entry, from its bytes.
pub fn current(state: &NameEntry) -> Result<Records, Failure> {
    let bytes = from_hex(&state.records_hex);
    bytes
        .and_then(|bytes| Records::from_bytes(&bytes).ok())
        .ok_or_else(|| Failure::new(Exit::Failure, "bad_answer", "the node's answer holds records that cannot be read"))
}

/// Records for programs.
pub fn json_of(records: &Records, origin: &Origin) -> Value {
    records.as_slice().iter().map(|record| json_of_record(record, origin)).collect()
}

fn json_of_record(record: &Record, origin: &Origin) -> Value {
    let line = zone::record_line(record, origin);
    let text = line.splitn(4, ' ').nth(3).unwrap_or_default();
    json!({
        "sub": zone::display_sub(&record.sub), "type": ledger::record::type_mnemonic(record.rtype), "ttl": record.ttl, "data": text,
    })
}

fn set(context: &Context, args: &SetArgs) -> Result<(), Failure> {
    let name = context.name(&args.name)?;
    let origin = context.origin(&name);
    let mut wanted = Vec::new();
    for data in &args.data {
        let data = quoted_if_text(&args.rtype, data);
        wanted.push(
            zone::read_record(&args.sub, &args.rtype, args.ttl, &data, &origin)
                .map_err(|problem| Failure::new(Exit::Usage, "bad_records", problem.what).fix(problem.fix))?,
        );
    }
    let add = args.add;
    edit(context, &name, args.how, Mode::Apply, |old| {
        let same_set = |record: &Record| wanted.iter().any(|new| (&new.sub, new.rtype) == (&record.sub, record.rtype));
        let same = |record: &Record| {
            wanted.iter().any(|new| (&new.sub, new.rtype, &new.rdata) == (&record.sub, record.rtype, &record.rdata))
        };
        let kept = old.as_slice().iter().filter(|record| if add { !same(record) } else { !same_set(record) }).cloned();
        set_of(kept.chain(wanted.iter().cloned()).collect())
    })
}

/// The shell has taken the quotes of `TXT "v=spf1 -all"` away; put them back, or it would be two strings. What is longer than a
/// string may be, such as a DKIM key, becomes several: whoever reads such texts joins them (RFC 6376 §3.6.2.2, RFC 7208 §3.3).
fn quoted_if_text(rtype: &str, data: &str) -> String {
    if !rtype.eq_ignore_ascii_case("TXT") || data.starts_with('"') {
        return data.to_owned();
    }
    let mut strings = Vec::new();
    let mut rest = data;
    while strings.is_empty() || !rest.is_empty() {
        let end = (0..=MAX_STRING_BYTES.min(rest.len())).rev().find(|at| rest.is_char_boundary(*at));
        let (string, after) = rest.split_at(end.unwrap_or_default());
        strings.push(format!("\"{}\"", string.replace('\\', "\\\\").replace('"', "\\\"")));
        rest = after;
    }
    strings.join(" ")
}

fn set_of(records: Vec<Record>) -> Result<Records, Failure> {
    Records::new(records).map_err(|error| {
        Failure::new(Exit::Refused, "records_too_large", error.to_string())
            .fix("delegate to your own servers with NS records")
    })
}

fn rm(context: &Context, args: &RmArgs) -> Result<(), Failure> {
    let name = context.name(&args.name)?;
    let origin = context.origin(&name);
    let bad = |what: String, fix: String| Failure::new(Exit::Usage, "bad_records", what).fix(fix);
    let sub = zone::read_sub(&args.sub, &origin).map_err(|problem| bad(problem.what, problem.fix))?;
    let rtype = match &args.rtype {
        None => None,
        Some(text) => Some(type_number(text).ok_or_else(|| {
            bad(format!("type {text:?} is not kept in the ledger"), "namectl records show NAME".into())
        })?),
    };
    edit(context, &name, args.how, Mode::Apply, |old| {
        let goes = |record: &&Record| record.sub == sub && rtype.is_none_or(|rtype| rtype == record.rtype);
        if !old.as_slice().iter().any(|record| goes(&record)) {
            let what = format!("{} has no such record at {}", origin, zone::display_sub(&sub));
            return Err(
                Failure::new(Exit::NotFound, "no_record", what).fix(format!("namectl records show {}", origin.name()))
            );
        }
        set_of(old.as_slice().iter().filter(|record| !goes(record)).cloned().collect())
    })
}

fn apply(context: &Context, args: &ApplyArgs, mode: Mode) -> Result<(), Failure> {
    let name = context.name(&args.name)?;
    let records = parse(context, &name, &read_text(&args.file)?, Some(&args.file))?;
    edit(context, &name, args.how, mode, |old| {
        let diff = Diff::between(old, &records);
        if diff.deletes_much() && !args.how.force && mode == Mode::Apply {
            let (_, _, removed) = diff.counts();
            return Err(Failure::new(
                Exit::Refused,
                "deletes_much",
                format!("this deletes {removed} of {} records", diff.before),
            )
            .why("more than 30 % at once is more often an incomplete file than a wish")
            .fix(format!("namectl records plan {name} {}", args.file.display()))
            .fix("add --force"));
        }
        Ok(records.clone())
    })
}

/// Computes the new records from the old, shows the difference, and carries it out.
fn edit(
    context: &Context,
    name: &Name,
    how: ChangeArgs,
    mode: Mode,
    make: impl FnOnce(&Records) -> Result<Records, Failure>,
) -> Result<(), Failure> {
    let answer = context.answer(name)?;
    let state = change::entry_of(context, name, &answer)?;
    let origin = context.origin(name);
    let old = match change::records_under_way(context, name)? {
        Some(records) => records,
        None => current(state)?,
    };
    let new = make(&old)?;
    let diff = Diff::between(&old, &new);
    let shown = diff_text(context, &diff, &new, &origin);
    let findings = zone::lint(&new, &origin);
    for finding in &findings {
        context.out.warn(&finding.text);
    }
    let plan = json!({ "name": name.as_str(), "bytes": new.byte_len(), "changes": diff.changes.iter().map(|c| json_of_change(c, &origin)).collect::<Vec<_>>() });
    if diff.is_empty() {
        context.out.result(&plan, || format!("{} has these records already", context.full(name)));
        return Ok(());
    }
    if mode == Mode::Plan || context.globals.dry_run {
        context.out.result(&plan, || shown);
        return Err(Failure {
            code: SILENT.into(),
            ..Failure::new(Exit::Pending, "changes_pending", "changes are pending")
        });
    }
    if findings.iter().any(|finding| finding.severity == Severity::Error) && !how.force {
        return Err(Failure::new(Exit::Refused, "bad_records", "some records would not be answered as written")
            .why(
                findings
                    .iter()
                    .filter(|f| f.severity == Severity::Error)
                    .map(|f| f.text.as_str())
                    .collect::<Vec<_>>()
                    .join("\n"),
            )
            .fix("correct them, or add --force"));
    }
    update(context, name, how, &shown, new)
}

fn update(context: &Context, name: &Name, how: ChangeArgs, shown: &str, records: Records) -> Result<(), Failure> {
    let keys = context.open_keys()?;
    let text = format!("change the records of {}", context.full(name));
    let planned = change::plan(context, &keys, name, Act::Update, text, |_, seq| {
        Ok(Body::Update { name: name.clone(), seq, operator: None, records: Some(records) })
    })?;
    ask::go_on(&context.globals, shown)?;
    change::finish(context, &keys, vec![planned], how.wait.until(), "has its new records")
}

fn diff_text(context: &Context, diff: &Diff, new: &Records, origin: &Origin) -> String {
    let line = |change: &Change| match change {
        Change::Added(record) => context.out.paint(Style::Good, &format!("  + {}", zone::record_line(record, origin))),
        Change::Removed(record) => context.out.paint(Style::Bad, &format!("  - {}", zone::record_line(record, origin))),
        Change::Replaced(old, new) => {
            let was = zone::record_line(old, origin);
            context.out.paint(Style::Warn, &format!("  ~ {was} -> {}", tail(&zone::record_line(new, origin), &was)))
        }
    };
    let (added, replaced, removed) = diff.counts();
    let mut lines: Vec<String> = diff.changes.iter().map(line).collect();
    let meter = format!("{}/{MAX_RECORDS_BYTES} bytes", new.byte_len());
    lines.push(format!("{origin}: {added} to add, {replaced} to change, {removed} to delete · {meter}"));
    lines.join("\n")
}

/// What differs in the new line: TTL and data without the owner.
fn tail(new: &str, old: &str) -> String {
    let owner = old.split(' ').next().unwrap_or_default();
    new.strip_prefix(owner).unwrap_or(new).trim_start().to_owned()
}

fn json_of_change(change: &Change, origin: &Origin) -> Value {
    match change {
        Change::Added(record) => json!({ "change": "add", "new": json_of_record(record, origin) }),
        Change::Removed(record) => json!({ "change": "remove", "old": json_of_record(record, origin) }),
        Change::Replaced(old, new) => {
            json!({ "change": "replace", "old": json_of_record(old, origin), "new": json_of_record(new, origin) })
        }
    }
}

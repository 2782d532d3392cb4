//! `namectl export hosts` and `namectl import hosts`: HOSTS files to and from names.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use ::resolver::zones::hosts::{MAX_FILE_BYTES, lines};
use clap::{Args, Subcommand};
use ledger::{
    name::Name,
    record::{Record, Records},
};
use node::{
    api::{client::NameQuery, types::Operation},
    keys::KeyFile,
    zone::{self, DEFAULT_TTL, Diff},
};
use serde_json::{Value, json};

use crate::{
    ask, change, check,
    context::Context,
    failure::{Exit, Failure},
    follow::{self, WaitArgs},
    label::{self, Suffixes, Typed},
    names,
    output::{Format, SILENT},
    records, register, text,
};

/// Names exported at once unless asked otherwise; each is one request.
const EXPORT_LIMIT: u32 = 1_000;
/// Lines named that were left out: lists of blocked hosts have thousands.
const SHOWN_SKIPPED: usize = 20;
/// Names imported at once: registering costs minutes of work each.
const MAX_IMPORT: usize = 100;

#[derive(Debug, Subcommand)]
pub enum ExportCommand {
    /// A HOSTS file with the addresses of names
    Hosts(ExportArgs),
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Names to export; those of the keys if none is given
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Every name that begins with this
    #[arg(long, conflicts_with = "names")]
    prefix: Option<String>,
    /// Every name
    #[arg(long, conflicts_with_all = ["names", "prefix"])]
    all: bool,
    /// At most so many names
    #[arg(long, default_value_t = EXPORT_LIMIT, value_name = "N")]
    limit: u32,
}

#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// Register names, or set their addresses, from a HOSTS file
    Hosts(ImportArgs),
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The HOSTS file (- for standard input)
    file: PathBuf,
    /// Put hosts without a dot below this name (nas becomes nas.NAME)
    #[arg(long)]
    name: Option<String>,
    /// Show what would be done (exit code 10 if anything)
    #[arg(long)]
    plan_only: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

pub fn export(context: &Context, command: &ExportCommand) -> Result<(), Failure> {
    let ExportCommand::Hosts(args) = command;
    let names = chosen(context, args)?;
    let mut lines: Vec<(IpAddr, String)> = Vec::new();
    for name in &names {
        let answer = context.answer(name)?;
        if let Some(state) = &answer.state {
            lines.extend(addresses(name, &context.suffix, &records::current(state)?));
        }
    }
    match context.out.format {
        Format::Json => {
            let hosts: Vec<Value> =
                lines.iter().map(|(address, host)| json!({ "address": address, "host": host })).collect();
            context.out.result(&json!({ "hosts": hosts }), String::new);
        }
        Format::Text => {
            context.out.raw(&lines.iter().map(|(address, host)| format!("{address}\t{host}\n")).collect::<String>())
        }
    }
    Ok(())
}

fn chosen(context: &Context, args: &ExportArgs) -> Result<Vec<Name>, Failure> {
    if !args.names.is_empty() {
        return args.names.iter().map(|text| context.name(text)).collect();
    }
    let items = if args.all || args.prefix.is_some() {
        pages(context, args)?
    } else {
        names::owned(context, &context.open_keys()?)?
    };
    Ok(items.into_iter().take(args.limit as usize).filter_map(|item| Name::new(&item.name).ok()).collect())
}

fn pages(context: &Context, args: &ExportArgs) -> Result<Vec<node::api::types::NameListItem>, Failure> {
    let mut items = Vec::new();
    let mut after = None;
    while items.len() < args.limit as usize {
        let limit = Some((args.limit - items.len() as u32).min(1_000));
        let query = NameQuery { prefix: args.prefix.clone(), after, limit, ..NameQuery::default() };
        let page = context.names(&query)?;
        items.extend(page.names);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(items)
}

/// Addresses of a name and the hosts below it; wildcards have no place in a HOSTS file.
fn addresses(name: &Name, suffix: &str, records: &Records) -> Vec<(IpAddr, String)> {
    let host = |record: &Record| match record.sub.is_empty() {
        true => format!("{name}.{suffix}"),
        false => format!("{}.{name}.{suffix}", zone::display_sub(&record.sub)),
    };
    let addresses = records.as_slice().iter().filter(|record| !record.sub.starts_with(b"\x01*"));
    addresses.filter_map(|record| Some((address_of(record)?, host(record)))).collect()
}

fn address_of(record: &Record) -> Option<IpAddr> {
    match record.rtype {
        1 => Some(IpAddr::from(<[u8; 4]>::try_from(&record.rdata[..]).ok()?)),
        28 => Some(IpAddr::from(<[u8; 16]>::try_from(&record.rdata[..]).ok()?)),
        _ => None,
    }
}

/// A HOSTS file read: addresses for each name, and the lines that were left out.
#[derive(Debug, Default)]
struct HostsFile {
    wanted: BTreeMap<Name, Vec<Record>>,
    skipped: Vec<(usize, String, String)>,
}

fn read_hosts(context: &Context, text: &[u8], home: Option<&Name>) -> HostsFile {
    let suffixes = context.suffixes();
    let mut file = HostsFile::default();
    for (number, line) in lines(text) {
        let line = match line {
            Ok(line) => line,
            Err(problem) => {
                file.skipped.push((number, String::new(), problem.to_string()));
                continue;
            }
        };
        if line.address.is_loopback() || line.address.is_unspecified() {
            file.skipped.push((number, line.address.to_string(), "an address of this machine only".into()));
            continue;
        }
        for host in line.names {
            match host_record(context, &suffixes, host, line.address, home) {
                Ok((name, record)) => file.wanted.entry(name).or_default().push(record),
                Err(why) => file.skipped.push((number, host.to_owned(), why)),
            }
        }
    }
    file
}

fn host_record(
    context: &Context,
    suffixes: &Suffixes,
    host: &str,
    address: IpAddr,
    home: Option<&Name>,
) -> Result<(Name, Record), String> {
    let is_usual = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.') || !c.is_ascii();
    if let Some(odd) = host.chars().find(|c| !is_usual(*c)) {
        return Err(format!("a host name has no {odd:?}"));
    }
    let bare = host.trim_end_matches('.');
    let typed = match (bare.contains('.'), home) {
        (true, _) => label::read_with_sub(bare, suffixes).map_err(|failure| failure.message)?,
        (false, Some(home)) => Typed { name: home.clone(), sub: bare.to_lowercase() },
        (false, None) => return Err("no suffix; --name NAME puts such hosts below a name".into()),
    };
    let origin = context.origin(&typed.name);
    let (rtype, sub) =
        (if address.is_ipv4() { "A" } else { "AAAA" }, if typed.sub.is_empty() { "@" } else { &typed.sub });
    let record =
        zone::read_record(sub, rtype, DEFAULT_TTL, &address.to_string(), &origin).map_err(|problem| problem.what)?;
    Ok((typed.name, record))
}

/// What a HOSTS file means for the names in it.
#[derive(Default)]
struct Plan {
    register: Vec<(Name, Records)>,
    update: Vec<(Name, Records)>,
    same: Vec<Name>,
    refused: Vec<(Name, String)>,
}

pub fn import(context: &Context, command: &ImportCommand) -> Result<(), Failure> {
    let ImportCommand::Hosts(args) = command;
    let home = args.name.as_ref().map(|text| context.name(text)).transpose()?;
    let file = read_hosts(context, &text::read_bytes(&args.file, MAX_FILE_BYTES as usize)?, home.as_ref());
    if file.wanted.len() > MAX_IMPORT {
        let message = format!("{} names in one file; at most {MAX_IMPORT} at once", file.wanted.len());
        return Err(Failure::new(Exit::Usage, "too_many_names", message).fix("cut the file into parts"));
    }
    let plan = plan(context, &file)?;
    let shown = plan_text(context, &plan, &file);
    let value = plan_json(&plan, &file);
    let nothing = plan.register.is_empty() && plan.update.is_empty();
    if args.plan_only || context.globals.dry_run || nothing {
        context.out.result(&value, || shown);
        let pending =
            Failure { code: SILENT.into(), ..Failure::new(Exit::Pending, "changes_pending", "changes are pending") };
        return if nothing { Ok(()) } else { Err(pending) };
    }
    let mut keys = context.open_keys()?;
    ask::go_on(&context.globals, &shown)?;
    let mut operations = update(context, &keys, &plan.update)?;
    operations.extend(register::start(context, &mut keys, &plan.register)?);
    let operations = follow::follow(context, Some(&keys), operations, args.wait.until())?;
    context
        .out
        .result(&json!({ "plan": value, "operations": operations }), || format!("{} names are done", operations.len()));
    Ok(())
}

fn update(context: &Context, keys: &KeyFile, updates: &[(Name, Records)]) -> Result<Vec<Operation>, Failure> {
    let mut planned = Vec::new();
    for (name, records) in updates {
        let text = format!("change the records of {}", context.full(name));
        planned.push(change::plan(context, keys, name, change::Act::Update, text, |_, seq| {
            Ok(ledger::transaction::Body::Update {
                name: name.clone(),
                seq,
                operator: None,
                records: Some(records.clone()),
            })
        })?);
    }
    if planned.is_empty() { Ok(Vec::new()) } else { change::carry_out(context, keys, planned, follow::Until::Started) }
}

fn plan(context: &Context, file: &HostsFile) -> Result<Plan, Failure> {
    let mut plan = Plan::default();
    for (name, wanted) in &file.wanted {
        let answer = context.answer(name)?;
        let held = answer.state.as_ref().filter(|_| !check::is_free(answer.status));
        let old = match held {
            Some(state) => match change::records_under_way(context, name)? {
                Some(records) => records,
                None => records::current(state)?,
            },
            None => Records::empty(),
        };
        match merged(&old, wanted) {
            Err(why) => plan.refused.push((name.clone(), why)),
            Ok(records) if held.is_none() => plan.register.push((name.clone(), records)),
            Ok(records) => {
                if Diff::between(&old, &records).is_empty() {
                    plan.same.push(name.clone());
                } else {
                    plan.update.push((name.clone(), records));
                }
            }
        }
    }
    Ok(plan)
}

/// The name's records with the addresses of the file in place of those of the same hosts.
fn merged(old: &Records, wanted: &[Record]) -> Result<Records, String> {
    let replaced = |record: &&Record| !wanted.iter().any(|new| (&new.sub, new.rtype) == (&record.sub, record.rtype));
    let mut all: Vec<Record> = old.as_slice().iter().filter(replaced).cloned().collect();
    for record in wanted {
        // Keep the TTL that the owner chose for an address that is there already.
        let known =
            old.as_slice().iter().find(|o| (&o.sub, o.rtype, &o.rdata) == (&record.sub, record.rtype, &record.rdata));
        let record = known.unwrap_or(record).clone();
        if !all.contains(&record) {
            all.push(record);
        }
    }
    Records::new(all).map_err(|error| error.to_string())
}

fn plan_text(context: &Context, plan: &Plan, file: &HostsFile) -> String {
    let mut lines = Vec::new();
    let mut list = |verb: &str, items: &[(Name, Records)]| {
        for (name, records) in items {
            let origin = context.origin(name);
            let hosts: Vec<String> =
                records.as_slice().iter().map(|record| zone::record_line(record, &origin)).collect();
            lines.push(format!("{verb} {}: {}", context.full(name), hosts.join(" · ")));
        }
    };
    list("register", &plan.register);
    list("set records of", &plan.update);
    lines.extend(plan.same.iter().map(|name| format!("unchanged {}", context.full(name))));
    lines.extend(plan.refused.iter().map(|(name, why)| format!("left out {}: {why}", context.full(name))));
    let skipped = |(line, what, why): &(usize, String, String)| match what.as_str() {
        "" => format!("skipped line {line}: {why}"),
        _ => format!("skipped line {line}: {what} ({why})"),
    };
    lines.extend(file.skipped.iter().take(SHOWN_SKIPPED).map(skipped));
    if let Some(more) = file.skipped.len().checked_sub(SHOWN_SKIPPED).filter(|more| *more > 0) {
        lines.push(format!("… and {more} more; --json names them all"));
    }
    if lines.is_empty() { "the file names no hosts".into() } else { lines.join("\n") }
}

fn plan_json(plan: &Plan, file: &HostsFile) -> Value {
    let names = |items: &[(Name, Records)]| items.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
    json!({
        "register": names(&plan.register),
        "update": names(&plan.update),
        "unchanged": plan.same.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "refused": plan.refused.iter().map(|(name, why)| json!({ "name": name.as_str(), "why": why })).collect::<Vec<_>>(),
        "skipped": file.skipped.iter().map(|(line, what, why)| json!({ "line": line, "text": what, "why": why })).collect::<Vec<_>>(),
    })
}

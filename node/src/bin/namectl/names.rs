//! `namectl names`: the names that belong to the keys.

use clap::{Args, ValueEnum};
use node::api::{client::NameQuery, types::NameListItem};
use node::keys::{KeyFile, Role};
use serde_json::json;

use crate::{
    cli::parse_span,
    context::Context,
    failure::{Exit, Failure},
    output::{Format, SILENT, table},
    search,
};

#[derive(Debug, Args)]
pub struct NamesArgs {
    /// Only names that expire within this time, such as 30d (exit code 12 if there are any)
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    expiring: Option<std::time::Duration>,
    /// How to print them [default: table, or json with --json]
    #[arg(long, value_enum)]
    format: Option<ListFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ListFormat {
    Table,
    Json,
    /// Calendar entries of the expiry dates
    Ics,
}

pub fn run(context: &Context, args: &NamesArgs) -> Result<(), Failure> {
    let keys = context.open_keys()?;
    let height = context.status()?.height;
    let mut names = owned(context, &keys)?;
    let within = args
        .expiring
        .map(|time| u32::try_from(time.as_secs() / u64::from(context.params().block_interval)).unwrap_or(u32::MAX));
    if let Some(blocks) = within {
        names.retain(|item| item.expires_at <= height.saturating_add(blocks));
    }
    let value = json!({ "names": names, "height": height });
    match args.format {
        Some(ListFormat::Ics) => context.out.raw(&calendar(context, &names)),
        Some(ListFormat::Json) if context.out.format == Format::Text => {
            context.out.raw(&format!("{}\n", json!({ "v": 1, "names": names, "height": height })));
        }
        Some(ListFormat::Table | ListFormat::Json) | None => {
            context.out.result(&value, || text(context, &names, within.is_some()))
        }
    }
    if within.is_some() && !names.is_empty() {
        let failure = Failure::new(Exit::Expiring, "names_expiring", "names expire soon");
        return Err(Failure { code: SILENT.into(), ..failure });
    }
    Ok(())
}

/// Every name whose owner is one of the keys handed out.
pub fn owned(context: &Context, keys: &KeyFile) -> Result<Vec<NameListItem>, Failure> {
    let mut names = Vec::new();
    for entry in keys.wallet().entries(context.network).filter(|entry| entry.role == Role::Owner) {
        let owner = Some(keys.wallet().address(context.network, entry.role, entry.index));
        let query = NameQuery { owner, limit: Some(1_000), ..NameQuery::default() };
        names.extend(context.names(&query)?.names);
    }
    names.sort_by(|a, b| a.expires_at.cmp(&b.expires_at).then_with(|| a.name.cmp(&b.name)));
    Ok(names)
}

fn text(context: &Context, names: &[NameListItem], only_expiring: bool) -> String {
    match (names, only_expiring) {
        ([], true) => "no name expires in that time".into(),
        ([], false) => "these keys have no names yet: namectl register NAME".into(),
        _ => table(&names.iter().map(|item| search::row(context, item)).collect::<Vec<_>>()),
    }
}

/// One all-day event for each name, with alarms a month and a week before (RFC 5545).
fn calendar(context: &Context, names: &[NameListItem]) -> String {
    let mut lines = vec!["BEGIN:VCALENDAR".to_owned(), "VERSION:2.0".into(), "PRODID:-//Namestead//namectl//EN".into()];
    for item in names {
        let compact: String = item.expires_time.chars().filter(|c| !matches!(c, '-' | ':')).collect();
        let date = compact.split('T').next().unwrap_or_default();
        let name = format!("{}.{}", item.name, context.suffix);
        lines.extend([
            "BEGIN:VEVENT".to_owned(),
            format!("UID:{name}-{}", item.expires_at),
            format!("DTSTAMP:{compact}"),
        ]);
        lines.extend([format!("DTSTART;VALUE=DATE:{date}"), format!("SUMMARY:{name} expires")]);
        lines.push(format!("DESCRIPTION:namectl renew {}", item.name));
        for days in [30, 7] {
            lines.extend(["BEGIN:VALARM".to_owned(), "ACTION:DISPLAY".into(), format!("DESCRIPTION:renew {name}")]);
            lines.extend([format!("TRIGGER:-P{days}D"), "END:VALARM".into()]);
        }
        lines.push("END:VEVENT".into());
    }
    lines.push("END:VCALENDAR".into());
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

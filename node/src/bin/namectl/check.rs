//! `namectl check`: whether names are free, and what they cost.

use clap::Args;
use ledger::{name::Name, price::required_work, transaction::Body};
use node::api::types::{NameAnswer, NameStatus, Status};
use serde_json::{Value, json};

use crate::{
    context::Context,
    failure::{Exit, Failure},
    label,
    output::{SILENT, Style, evaluations, group, span},
};

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Names to check
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

pub fn run(context: &Context, args: &CheckArgs) -> Result<(), Failure> {
    let names = args.names.iter().map(|text| context.name(text)).collect::<Result<Vec<Name>, Failure>>()?;
    let status = context.status()?;
    let mut values: Vec<Value> = Vec::new();
    let mut lines = Vec::new();
    let mut all_free = true;
    for name in &names {
        let answer = context.answer(name)?;
        let work = expected_work(context, &status, name)?;
        let free = is_free(answer.status);
        all_free &= free;
        values.push(json!({
            "name": name.as_str(), "unicode": label::show(name.as_str()), "status": answer.status, "free": free,
            "locked_to": answer.locked_to,
            "class": name.price_class(), "expected_hashes": work, "eta_seconds": eta_seconds(&status, work),
        }));
        lines.push(line(context, &status, name, &answer, work));
    }
    let value = json!({
        "names": values,
        "height": status.height, "tip_age_seconds": status.tip_age_seconds, "sync_state": status.state,
    });
    context.out.result(&value, || lines.join("\n"));
    if all_free {
        return Ok(());
    }
    Err(Failure { code: SILENT.into(), ..Failure::new(Exit::Refused, "name_taken", "not every name is free") })
}

/// Whether anybody may register it.
pub fn is_free(status: NameStatus) -> bool {
    matches!(status, NameStatus::Free | NameStatus::Released)
}

/// What a registration of this name costs, in expected evaluations.
pub fn expected_work(context: &Context, status: &Status, name: &Name) -> Result<u64, Failure> {
    let anchor = context.anchor(status)?;
    let commit = Body::Commit { class: name.price_class(), commit_hash: Default::default() };
    Ok(required_work(context.params(), &commit, anchor.prices).unwrap_or(0))
}

/// How long the work takes on the node, if it knows its speed.
pub fn eta_seconds(status: &Status, work: u64) -> Option<u64> {
    (status.mining.hashrate >= 1.0).then(|| (work as f64 / status.mining.hashrate) as u64)
}

/// `about 7 min of work`, or the number of evaluations while the node's speed is unknown.
pub fn work_text(status: &Status, work: u64) -> String {
    match eta_seconds(status, work) {
        Some(seconds) => format!("about {} of work", span(seconds)),
        None => format!("about {} of work", evaluations(work as f64)),
    }
}

fn line(context: &Context, status: &Status, name: &Name, answer: &NameAnswer, work: u64) -> String {
    let full = context.full(name);
    match answer.status {
        NameStatus::Free | NameStatus::Released => {
            let years = f64::from(context.params().term) * f64::from(context.params().block_interval) / 31_536_000.0;
            let term = if years >= 0.99 {
                format!("{years:.0} year")
            } else {
                format!("{} blocks", group(u64::from(context.params().term)))
            };
            format!("{} {full}  {term}, {}", context.out.paint(Style::Good, "free    "), work_text(status, work))
        }
        NameStatus::Reserved => {
            format!("{} {full}  can never be registered", context.out.paint(Style::Bad, "reserved"))
        }
        NameStatus::Locked => {
            let domain = answer.locked_to.as_deref().unwrap_or("a well-known domain");
            let locked = context.out.paint(Style::Bad, "locked  ");
            format!("{locked} {full}  locked to {domain}: only the owner of that domain can claim it")
        }
        other => {
            let word = format!("{other:?}").to_lowercase();
            let until = answer
                .state
                .as_ref()
                .map(|state| format!("until {}", context.height_text(status.height, state.expires_at)));
            format!("{} {full}  {}", context.out.paint(Style::Warn, &format!("{word:<8}")), until.unwrap_or_default())
        }
    }
}

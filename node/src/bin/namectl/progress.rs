//! Progress of operations: live lines on a terminal, else a plain line at most every ten seconds, or JSON events.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use node::{
    api::types::{Operation, OperationKind},
    ops::OperationState,
};
use serde_json::json;

use crate::{
    context::Context,
    follow,
    output::{Output, group, scaled, span},
};

/// Plain lines and events come no faster than this, unless the state changes.
const EVERY: Duration = Duration::from_secs(10);
/// Cells of a bar.
const CELLS: usize = 10;

/// Lines of the operations that are being followed.
pub struct Board {
    out: Output,
    block_seconds: u64,
    maturity: u32,
    contest: u32,
    lines: Option<MultiProgress>,
    bars: Vec<(String, ProgressBar)>,
    last: HashMap<String, (OperationState, Instant)>,
    widest: usize,
}

impl Board {
    pub fn new(context: &Context, operations: &[Operation]) -> Self {
        let ids: Vec<&str> = operations.iter().map(|operation| follow::short(&operation.id)).collect();
        context.out.note(&format!("Ctrl-C is safe, the node goes on: namectl ops wait {}", ids.join(" ")));
        Self {
            out: context.out.clone(),
            block_seconds: u64::from(context.params().block_interval),
            maturity: context.params().maturity,
            contest: context.params().contest,
            lines: context.out.is_live().then(MultiProgress::new),
            bars: Vec::new(),
            last: HashMap::new(),
            widest: operations.iter().map(|operation| operation.name.len()).max().unwrap_or(0),
        }
    }

    /// Shows where an operation is.
    pub fn show(&mut self, operation: &Operation) {
        let now = Instant::now();
        let due = self
            .last
            .get(&operation.id)
            .is_none_or(|(state, at)| *state != operation.state || (!operation.state.is_over() && now - *at >= EVERY));
        if due {
            self.last.insert(operation.id.clone(), (operation.state, now));
            self.out.event(&json!({ "event": "operation", "operation": operation }));
        }
        let text = format!("{:<width$}  {}", operation.name, self.text(operation), width = self.widest);
        match &self.lines {
            Some(lines) => {
                if !self.bars.iter().any(|(id, _)| *id == operation.id) {
                    self.bars.push((operation.id.clone(), lines.add(new_bar())));
                }
                let bar = self.bars.iter().find(|(id, _)| *id == operation.id);
                bar.into_iter().for_each(|(_, bar)| bar.set_message(text.clone()));
            }
            None if due => self.out.note(&text),
            None => {}
        }
    }

    /// Says that the node is away for the moment.
    pub fn away(&self) {
        self.bars.iter().for_each(|(_, bar)| bar.set_message("the node does not answer; waiting for it to come back"));
    }

    fn text(&self, operation: &Operation) -> String {
        let steps = match operation.kind {
            OperationKind::Register => 4,
            OperationKind::Change => 2,
        };
        let step = |number: u32, text: String| format!("{}/{steps} {text}", number.min(steps));
        match operation.state {
            OperationState::Working => step(1, format!("working    {}", self.work(operation))),
            OperationState::Broadcast => step(1, "published, waiting for a block".into()),
            OperationState::Maturing => {
                let at = operation.commit_height.unwrap_or(0);
                step(
                    2,
                    format!(
                        "committed at {}, maturing  {}",
                        group(u64::from(at)),
                        self.blocks(operation, at, self.maturity)
                    ),
                )
            }
            OperationState::Revealing => step(3, "revealing, waiting for a block".into()),
            OperationState::Contest => {
                let at = operation.reveal_height.unwrap_or(0);
                step(
                    3,
                    format!(
                        "revealed at {}, contest  {}",
                        group(u64::from(at)),
                        self.blocks(operation, at, self.contest)
                    ),
                )
            }
            OperationState::Done => step(steps, "done".into()),
            OperationState::Failed => "failed".into(),
            OperationState::NeedsSignature => "needs a new signature".into(),
            OperationState::Cancelled => "cancelled".into(),
        }
    }

    fn work(&self, operation: &Operation) -> String {
        let Some(progress) = &operation.progress else { return String::new() };
        if progress.hashes_done == 0 {
            return "waits its turn".into();
        }
        // The search has no memory: the bar shows how likely it would have ended by now.
        let share = 1.0 - (-(progress.hashes_done as f64) / (progress.expected_hashes.max(1) as f64)).exp();
        let eta = progress.eta_seconds.map(|seconds| format!("  ETA {}", span(seconds))).unwrap_or_default();
        format!("{} {:>2.0} %  {}/s{eta}", bar(share), share * 100.0, scaled(progress.rate_hps))
    }

    fn blocks(&self, operation: &Operation, from: u32, need: u32) -> String {
        let done = operation.height.saturating_sub(from).min(need);
        let left = u64::from(need - done) * self.block_seconds;
        format!("{} {done}/{need} blocks  ~{}", bar(f64::from(done) / f64::from(need.max(1))), span(left))
    }
}

/// Turns the live lines into plain ones, however the following ended.
impl Drop for Board {
    fn drop(&mut self) {
        for (_, bar) in &self.bars {
            bar.finish_and_clear();
            self.out.note(&format!("  {}", bar.message().trim_end()));
        }
    }
}

fn new_bar() -> ProgressBar {
    let style =
        ProgressStyle::with_template("  {spinner} {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn bar(share: f64) -> String {
    let full = ((share.clamp(0.0, 1.0) * CELLS as f64) as usize).min(CELLS);
    format!("{}{}", "█".repeat(full), "░".repeat(CELLS - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars() {
        assert_eq!(
            [0.0, 0.65, 1.0, 7.0, -1.0].map(bar),
            ["░░░░░░░░░░", "██████░░░░", "██████████", "██████████", "░░░░░░░░░░"]
        );
    }
}

//! Printing: results to standard output, everything else to standard error.
//!
//! With `--json` standard output gets exactly one object with `"v": 1`; progress goes to standard error as one object
//! per line.

use std::{
    borrow::Cow,
    io::{self, IsTerminal},
    process::ExitCode,
    sync::{Arc, OnceLock},
};

use node::stdio::{self, Written};
use serde_json::{Value, json};

use crate::{
    ask::io_failure,
    cli::{ColorChoice, Globals},
    failure::Failure,
};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The code of a failure whose result was printed already and needs no more words: only its exit code counts.
pub const SILENT: &str = "-";

/// The printer.
///
/// Each stream has its own mind about colours: results may go to a file while errors go to a terminal, or the other way
/// round.
#[derive(Clone, Debug)]
pub struct Output {
    pub format: Format,
    quiet: bool,
    verbose: bool,
    choice: ColorChoice,
    /// What became of results, once something other than success did.
    lost: Arc<OnceLock<Lost>>,
}

/// Why a result was not written.
#[derive(Debug)]
enum Lost {
    /// Nobody reads any more: the reader's wish, and no failure.
    ReaderGone,
    Failed(io::Error),
}

/// The few colours with a meaning.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    Good,
    Bad,
    Warn,
    Dim,
    Bold,
}

impl Output {
    /// The printer that flags ask for, before anything else is known.
    pub fn plain(globals: &Globals) -> Self {
        Self::new(globals, globals.color.unwrap_or_default())
    }

    pub fn new(globals: &Globals, choice: ColorChoice) -> Self {
        let format = if globals.json { Format::Json } else { Format::Text };
        Self { format, quiet: globals.quiet, verbose: globals.verbose > 0, choice, lost: Arc::default() }
    }

    /// Prints the result of a command: `value` as JSON, or `text`. Whether that worked is told by [`Self::end`].
    pub fn result(&self, value: &Value, text: impl FnOnce() -> String) {
        match self.format {
            Format::Json => self.raw(&format!("{}\n", versioned(value))),
            Format::Text if self.quiet => {}
            Format::Text => {
                let text = text();
                if !text.is_empty() {
                    let shown = self.on(&io::stdout(), text.trim_end_matches('\n'));
                    self.raw(&format!("{shown}\n"));
                }
            }
        }
    }

    /// Prints a result that is a text by itself (a zone file, a script), whatever the verbosity.
    pub fn raw(&self, text: &str) {
        let lost = match stdio::print(text) {
            Ok(Written::Whole) => return,
            Ok(Written::ReaderGone) => Lost::ReaderGone,
            Err(error) => Lost::Failed(error),
        };
        // The first reason counts.
        let _ = self.lost.set(lost);
    }

    /// Whether results still arrive somewhere: if not, a command that only prints may end.
    pub fn arrives(&self) -> bool {
        self.lost.get().is_none()
    }

    /// Ends a command that has done its work: with success, unless its result could not be written.
    pub fn end(&self) -> ExitCode {
        match self.lost.get() {
            None | Some(Lost::ReaderGone) => ExitCode::SUCCESS,
            Some(Lost::Failed(error)) => {
                let failure = io_failure("the result could not be written: standard output", error)
                    .why("what the command did is done, only its result is lost");
                match self.format {
                    Format::Json => stdio::complain(&json_of(&failure).to_string()),
                    Format::Text => stdio::complain(&self.on(&io::stderr(), &self.text_of(&failure))),
                }
                ExitCode::from(failure.exit as u8)
            }
        }
    }

    /// A remark to people.
    pub fn note(&self, text: &str) {
        if !self.quiet && self.format == Format::Text {
            stdio::complain(&self.on(&io::stderr(), text));
        }
    }

    /// A remark to people who asked for more.
    pub fn detail(&self, text: &str) {
        if self.verbose {
            self.note(&self.paint(Style::Dim, text));
        }
    }

    /// A warning: shown to people even if they asked for quiet.
    pub fn warn(&self, text: &str) {
        match self.format {
            Format::Text => {
                let line = format!("{} {text}", self.paint(Style::Warn, "warning:"));
                stdio::complain(&self.on(&io::stderr(), &line));
            }
            Format::Json => self.event(&json!({ "event": "warning", "message": text })),
        }
    }

    /// One line of progress for programs.
    pub fn event(&self, value: &Value) {
        if self.format == Format::Json {
            stdio::complain(&versioned(value).to_string());
        }
    }

    /// Prints a failure and gives its exit code.
    pub fn fail(&self, failure: &Failure) -> ExitCode {
        let exit = ExitCode::from(failure.exit as u8);
        if failure.code == SILENT {
            return exit;
        }
        match self.format {
            Format::Json => self.raw(&format!("{}\n", json_of(failure))),
            Format::Text => stdio::complain(&self.on(&io::stderr(), &self.text_of(failure))),
        }
        exit
    }

    fn text_of(&self, failure: &Failure) -> String {
        let mut text = format!("{} {}", self.paint(Style::Bad, "error:"), failure.message);
        if !failure.why.is_empty() {
            text.push_str(&format!("\n  why: {}", failure.why.replace('\n', "\n       ")));
        }
        for line in &failure.fix {
            text.push_str(&format!("\n  fix: {}", self.paint(Style::Bold, line)));
        }
        text
    }

    /// Marks a text with a colour. Whether the mark is seen is decided where it is printed.
    pub fn paint(&self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Good => "32",
            Style::Bad => "31",
            Style::Warn => "33",
            Style::Dim => "2",
            Style::Bold => "1",
        };
        let is_marked = self.format == Format::Text && self.choice != ColorChoice::Never && !text.is_empty();
        if is_marked { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A text as this stream shall get it: with its colours, or without.
    fn on<'a>(&self, stream: &impl IsTerminal, text: &'a str) -> Cow<'a, str> {
        let is_coloured = match self.choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => stream.is_terminal() && wants_colours(),
        };
        if is_coloured { text.into() } else { without_colours(text) }
    }

    /// A text as the controlling terminal shall get it.
    pub fn on_terminal<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.choice {
            ColorChoice::Always => text.into(),
            ColorChoice::Auto if wants_colours() => text.into(),
            ColorChoice::Never | ColorChoice::Auto => without_colours(text),
        }
    }

    /// Whether a live line can be drawn.
    pub fn is_live(&self) -> bool {
        self.format == Format::Text && !self.quiet && io::stderr().is_terminal()
    }
}

fn json_of(failure: &Failure) -> Value {
    let Failure { exit, code, message, why, fix } = failure;
    let error = json!({ "code": code, "exit": *exit as u8, "message": message, "why": why, "fix": fix });
    json!({ "v": 1, "error": error })
}

fn versioned(value: &Value) -> Value {
    let mut object = serde_json::Map::from_iter([("v".to_owned(), json!(1))]);
    match value {
        Value::Object(fields) => object.extend(fields.clone()),
        other => {
            object.insert("result".to_owned(), other.clone());
        }
    }
    Value::Object(object)
}

/// Whether the user wants colours on terminals, and theirs knows them.
fn wants_colours() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// A text without the marks of [`Output::paint`].
fn without_colours(text: &str) -> Cow<'_, str> {
    if !text.contains('\x1b') {
        return text.into();
    }
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('m') {
            Some((code, rest)) if code.bytes().all(|byte| byte.is_ascii_digit()) => plain.push_str(rest),
            // Some other sequence is somebody else's business.
            Some(_) | None => {
                plain.push_str("\x1b[");
                plain.push_str(part);
            }
        }
    }
    plain.into()
}

/// `182431` as `182 431`.
pub fn group(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// `4900` as `4.9 k`.
pub fn scaled(number: f64) -> String {
    for (limit, unit) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if number >= limit {
            return format!("{:.1} {unit}", number / limit);
        }
    }
    format!("{number:.0} ")
}

/// An amount of work as people read it: `4.2 M evaluations`.
pub fn evaluations(number: f64) -> String {
    format!("{} evaluations", scaled(number).trim_end())
}

/// Seconds as people say them.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..90 => format!("{seconds} s"),
        90..5_400 => format!("{} min", (seconds + 30) / 60),
        5_400..172_800 => format!("{} h", (seconds + 1_800) / 3_600),
        _ => format!("{} days", (seconds + 43_200) / 86_400),
    }
}

/// A table with aligned columns; the last column is not padded.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| visible(cell)).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let pad = |(cell, width): (&String, &usize)| format!("{cell}{}", " ".repeat(width.saturating_sub(visible(cell))));
    let line =
        |row: &Vec<String>| row.iter().zip(&widths).map(pad).collect::<Vec<_>>().join("  ").trim_end().to_owned();
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Characters that take a place on the screen: colours take none.
fn visible(text: &str) -> usize {
    let (count, _) = text.chars().fold((0, false), |(count, in_colour), c| match (in_colour, c) {
        (false, '\x1b') => (count, true),
        (false, _) => (count + 1, false),
        (true, c) => (count, c != 'm'),
    });
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!([0, 999, 1000, 182_431].map(group), ["0", "999", "1\u{202f}000", "182\u{202f}431"]);
        assert_eq!([0.0, 4_900.0, 2_500_000.0].map(scaled), ["0 ", "4.9 k", "2.5 M"]);
        assert_eq!([5, 120, 7_200, 864_000].map(span), ["5 s", "2 min", "2 h", "10 days"]);
    }

    #[test]
    fn tables_align() {
        let rows = [vec!["a".into(), "b".into()], vec!["long".into(), "c".into()]];
        assert_eq!(table(&rows), "a     b\nlong  c");
        let coloured = [vec!["\x1b[1ma\x1b[0m".into(), "b".into()], vec!["long".into(), "c".into()]];
        assert_eq!(table(&coloured), "\x1b[1ma\x1b[0m     b\nlong  c");
    }

    #[test]
    fn colours_come_off() {
        let out = Output::new(&Globals::default(), ColorChoice::Auto);
        let marked = format!("{} and {}", out.paint(Style::Bold, "bold"), out.paint(Style::Bad, "bad"));
        assert_eq!(marked, "\x1b[1mbold\x1b[0m and \x1b[31mbad\x1b[0m");
        assert_eq!(without_colours(&marked), "bold and bad");
        assert_eq!(without_colours("plain"), "plain");
        assert_eq!(without_colours("\x1b[2J\x1b[Hm"), "\x1b[2J\x1b[Hm");
        assert_eq!(out.paint(Style::Dim, ""), "");
        for (globals, choice) in [
            (Globals { json: true, ..Globals::default() }, ColorChoice::Always),
            (Globals::default(), ColorChoice::Never),
        ] {
            assert_eq!(Output::new(&globals, choice).paint(Style::Bad, "x"), "x");
        }
    }

    #[test]
    fn every_object_has_a_version() {
        assert_eq!(versioned(&json!({ "a": 1 })), json!({ "v": 1, "a": 1 }));
        assert_eq!(versioned(&json!([1])), json!({ "v": 1, "result": [1] }));
    }
}

//! Printing: results to standard output, everything else to standard error.
//!
//! With `--json` standard output gets exactly one object with `"v": 1`; progress goes to standard error as one object
//! per line.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use serde_json::{Value, json};

use crate::{
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
#[derive(Clone, Debug)]
pub struct Output {
    pub format: Format,
    quiet: bool,
    verbose: bool,
    color: bool,
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
        let terminal = io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let color = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        Self { format, quiet: globals.quiet, verbose: globals.verbose > 0, color: color && format == Format::Text }
    }

    /// Prints the result of a command: `value` as JSON, or `text`.
    pub fn result(&self, value: &Value, text: impl FnOnce() -> String) {
        match self.format {
            Format::Json => write_line(&mut io::stdout(), &versioned(value).to_string()),
            Format::Text if self.quiet => {}
            Format::Text => {
                let text = text();
                if !text.is_empty() {
                    write_line(&mut io::stdout(), text.trim_end_matches('\n'));
                }
            }
        }
    }

    /// Prints a result that is a text by itself (a zone file, a script), whatever the verbosity.
    pub fn raw(&self, text: &str) {
        let mut stdout = io::stdout().lock();
        // A closed pipe (`| head`) is the reader's wish and no failure.
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }

    /// A remark to people.
    pub fn note(&self, text: &str) {
        if !self.quiet && self.format == Format::Text {
            write_line(&mut io::stderr(), text);
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
            Format::Text => write_line(&mut io::stderr(), &format!("{} {text}", self.paint(Style::Warn, "warning:"))),
            Format::Json => self.event(&json!({ "event": "warning", "message": text })),
        }
    }

    /// One line of progress for programs.
    pub fn event(&self, value: &Value) {
        if self.format == Format::Json {
            write_line(&mut io::stderr(), &versioned(value).to_string());
        }
    }

    /// Prints a failure and gives its exit code.
    pub fn fail(&self, failure: &Failure) -> ExitCode {
        let Failure { exit, code, message, why, fix } = failure;
        if code == SILENT {
            return ExitCode::from(*exit as u8);
        }
        match self.format {
            Format::Json => {
                let error = json!({ "code": code, "exit": *exit as u8, "message": message, "why": why, "fix": fix });
                write_line(&mut io::stdout(), &json!({ "v": 1, "error": error }).to_string());
            }
            Format::Text => {
                let mut text = format!("{} {message}", self.paint(Style::Bad, "error:"));
                if !why.is_empty() {
                    text.push_str(&format!("\n  why: {}", why.replace('\n', "\n       ")));
                }
                for line in fix {
                    text.push_str(&format!("\n  fix: {}", self.paint(Style::Bold, line)));
                }
                write_line(&mut io::stderr(), &text);
            }
        }
        ExitCode::from(*exit as u8)
    }

    /// Colours a text, if colours are on.
    pub fn paint(&self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Good => "32",
            Style::Bad => "31",
            Style::Warn => "33",
            Style::Dim => "2",
            Style::Bold => "1",
        };
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Whether a live line can be drawn.
    pub fn is_live(&self) -> bool {
        self.format == Format::Text && !self.quiet && io::stderr().is_terminal()
    }
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

fn write_line(to: &mut dyn io::Write, text: &str) {
    // A closed pipe is the reader's wish and no failure.
    let _ = writeln!(to, "{text}").and_then(|()| to.flush());
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
    fn every_object_has_a_version() {
        assert_eq!(versioned(&json!({ "a": 1 })), json!({ "v": 1, "a": 1 }));
        assert_eq!(versioned(&json!([1])), json!({ "v": 1, "result": [1] }));
    }
}

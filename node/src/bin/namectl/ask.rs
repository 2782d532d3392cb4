//! Questions to people. Asked on their terminal only; the answer that changes nothing is the default.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read as _},
    path::Path,
};

use node::keys::Passphrase;
use zeroize::Zeroizing;

use crate::{
    cli::Globals,
    failure::{Exit, Failure},
    output::Output,
    terminal::Terminal,
};

/// Longest passphrase file read; longer ones are some other file.
const MAX_PASSPHRASE_BYTES: usize = 4096;
/// Longest text with seed words that is read.
const MAX_WORDS_BYTES: usize = 1 << 16;
/// Shortest new passphrase, in characters.
const MIN_PASSPHRASE: usize = 8;

/// The terminal, if anybody may be asked and sits there. A standard input that is something else means a script.
fn terminal(globals: &Globals) -> Option<Terminal> {
    let may_ask = !globals.no_input && !globals.json && io::stdin().is_terminal();
    if may_ask { Terminal::open() } else { None }
}

/// Asks to go on. `--yes` says yes; without a terminal it must be given.
pub fn go_on(globals: &Globals, question: &str) -> Result<(), Failure> {
    if globals.yes {
        return Ok(());
    }
    let Some(terminal) = terminal(globals) else {
        return Err(Failure::new(
            Exit::Usage,
            "needs_confirmation",
            "this needs a yes, and there is no terminal to ask on",
        )
        .why(question.to_owned())
        .fix("add --yes"));
    };
    match line(globals, terminal, &format!("{question}   Continue? [y/N] "))?.to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(aborted()),
    }
}

/// Asks to type the name before something that cannot be undone. `--yes` is not enough: `--confirm NAME` is.
pub fn type_the_name(
    globals: &Globals,
    confirmed: Option<&str>,
    name: &str,
    is_it: impl Fn(&str) -> bool,
    what: &str,
) -> Result<(), Failure> {
    let refusal = |message: String| {
        Failure::new(Exit::Usage, "needs_confirmation", message)
            .why(what.to_owned())
            .fix(format!("add --confirm {name}"))
    };
    match (confirmed, terminal(globals)) {
        (Some(typed), _) if is_it(typed) => Ok(()),
        (Some(typed), _) => Err(refusal(format!("--confirm says {typed:?}, but the name is {name:?}"))),
        (None, None) => Err(refusal("this needs the name typed, and there is no terminal".into())),
        (None, Some(terminal)) => {
            let typed = line(globals, terminal, &format!("{what}\nType the name to confirm: "))?;
            if is_it(&typed) { Ok(()) } else { Err(aborted()) }
        }
    }
}

fn aborted() -> Failure {
    Failure::new(Exit::Failure, "aborted", "aborted; nothing was changed")
}

/// One line from the terminal.
fn line(globals: &Globals, mut terminal: Terminal, prompt: &str) -> Result<String, Failure> {
    terminal.ask(&Output::plain(globals).on_terminal(prompt)).map_err(|error| io_failure("the terminal", &error))
}

/// A secret from the terminal, without echo.
fn secret(mut terminal: Terminal, prompt: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    terminal.ask_hidden(prompt).map_err(|error| io_failure("the terminal", &error))
}

/// The passphrase of the key file: from a file, or from the terminal without echo.
pub fn passphrase(globals: &Globals, prompt: &str) -> Result<Passphrase, Failure> {
    passphrase_from(globals, globals.passphrase_file.as_deref(), prompt)
}

fn passphrase_from(globals: &Globals, file: Option<&Path>, prompt: &str) -> Result<Passphrase, Failure> {
    let given = match (file, terminal(globals)) {
        (Some(path), _) => first_line(path)?,
        (None, None) => {
            return Err(Failure::new(Exit::Locked, "key_locked", "the keys are locked")
                .why("there is no terminal to ask for the passphrase on")
                .fix("add --passphrase-file FILE, or set NAMECTL_PASSPHRASE_FILE"));
        }
        (None, Some(terminal)) => secret(terminal, prompt)?,
    };
    not_empty(Passphrase::new(&given))
}

fn first_line(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let shown = path.display().to_string();
    let file = File::open(path).map_err(|error| io_failure(&shown, &error))?;
    if file.is_terminal() {
        return Err(Failure::new(Exit::Usage, "passphrase_in_the_open", format!("{shown} is a terminal"))
            .why("what is typed would be shown")
            .fix("leave the option out, to be asked without echo"));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE_BYTES + 1));
    file.take(MAX_PASSPHRASE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| io_failure(&shown, &error))?;
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if first.len() > MAX_PASSPHRASE_BYTES {
        let message = format!("the first line of {shown} is longer than {MAX_PASSPHRASE_BYTES} bytes");
        return Err(Failure::new(Exit::Usage, "not_a_passphrase", message)
            .why("it is probably another file")
            .fix("name the file whose first line is the passphrase"));
    }
    Ok(Zeroizing::new(first.strip_suffix(b"\r").unwrap_or(first).to_vec()))
}

/// A new passphrase: typed twice, unless it comes from a file.
pub fn new_passphrase(globals: &Globals, file: Option<&Path>) -> Result<Passphrase, Failure> {
    let first = passphrase_from(globals, file, "New passphrase: ")?;
    if !first.is_text() {
        return Err(Failure::new(Exit::Usage, "not_a_passphrase", "the passphrase is not UTF-8 text")
            .why("typed on a keyboard, it would be other bytes")
            .fix("save the file as UTF-8"));
    }
    if first.length() < MIN_PASSPHRASE {
        let message = format!("the passphrase has {} characters; it needs {MIN_PASSPHRASE}", first.length());
        return Err(Failure::new(Exit::Usage, "short_passphrase", message)
            .why("whoever gets hold of the file could try all short ones")
            .fix("choose a passphrase of several words"));
    }
    if file.is_none() && passphrase_from(globals, None, "Again: ")? != first {
        return Err(Failure::new(Exit::Usage, "passphrases_differ", "the two passphrases differ").fix("try again"));
    }
    Ok(first)
}

/// Seed words: typed without echo, or all of a standard input that is no terminal.
pub fn words(globals: &Globals) -> Result<Zeroizing<String>, Failure> {
    let bytes = match terminal(globals) {
        Some(terminal) => secret(terminal, "Your 12 or 24 words (not shown): ")?,
        None if io::stdin().is_terminal() => {
            return Err(Failure::new(
                Exit::Usage,
                "needs_words",
                "the words are needed, and may not be asked for here",
            )
            .why("typed without a question, they would be shown")
            .fix("leave out --json and --no-input, to be asked without echo")
            .fix("namectl keys restore < FILE    # or let them come from a file"));
        }
        None => {
            let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_WORDS_BYTES + 1));
            io::stdin()
                .take(MAX_WORDS_BYTES as u64 + 1)
                .read_to_end(&mut bytes)
                .map_err(|error| io_failure("standard input", &error))?;
            bytes
        }
    };
    if bytes.len() > MAX_WORDS_BYTES {
        return Err(Failure::new(Exit::Usage, "bad_words", "the text is too long for a seed")
            .why("it is probably another file")
            .fix("give the 12 or 24 words only"));
    }
    // What `--json keys backup` printed is read as well.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    if let Ok(backup) = serde_json::from_slice::<JsonBackup>(text) {
        return Ok(Zeroizing::new(backup.words));
    }
    // Whatever is not text is not in the list of words either.
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}

/// What `namectl --json keys backup` prints.
#[derive(serde::Deserialize)]
struct JsonBackup {
    words: String,
}

fn not_empty(passphrase: Passphrase) -> Result<Passphrase, Failure> {
    if passphrase.length() == 0 {
        return Err(Failure::new(Exit::Locked, "empty_passphrase", "the passphrase is empty")
            .why("whoever reads the file would own the names")
            .fix("choose a passphrase of several words"));
    }
    Ok(passphrase)
}

/// The failure of reading or writing something.
pub fn io_failure(what: &str, error: &io::Error) -> Failure {
    let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failure };
    Failure::new(exit, "io", format!("{what}: {error}"))
}

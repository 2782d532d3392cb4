//! Questions to people. Asked on a terminal only; the answer that changes nothing is the default.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use zeroize::Zeroizing;

use crate::{
    cli::Globals,
    failure::{Exit, Failure},
};

/// Longest passphrase file read; longer ones are some other file.
const MAX_PASSPHRASE_BYTES: usize = 4096;

/// Whether anybody can be asked.
pub fn can_ask(globals: &Globals) -> bool {
    !globals.no_input && !globals.json && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks to go on. `--yes` says yes; without a terminal it must be given.
pub fn go_on(globals: &Globals, question: &str) -> Result<(), Failure> {
    if globals.yes {
        return Ok(());
    }
    if !can_ask(globals) {
        return Err(Failure::new(
            Exit::Usage,
            "needs_confirmation",
            "this needs a yes, and there is no terminal to ask on",
        )
        .why(question.to_owned())
        .fix("add --yes"));
    }
    match line(&format!("{question}   Continue? [y/N] "))?.to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(aborted()),
    }
}

/// Asks to type the name before something that cannot be undone. `--yes` is not enough: `--confirm NAME` is.
pub fn type_the_name(globals: &Globals, confirmed: Option<&str>, name: &str, what: &str) -> Result<(), Failure> {
    let refusal = |message: String| {
        Failure::new(Exit::Usage, "needs_confirmation", message)
            .why(what.to_owned())
            .fix(format!("add --confirm {name}"))
    };
    match confirmed {
        Some(typed) if typed.trim().eq_ignore_ascii_case(name) => return Ok(()),
        Some(typed) => return Err(refusal(format!("--confirm says {typed:?}, but the name is {name:?}"))),
        None if !can_ask(globals) => return Err(refusal("this needs the name typed, and there is no terminal".into())),
        None => {}
    }
    if line(&format!("{what}\nType the name to confirm: "))? == name { Ok(()) } else { Err(aborted()) }
}

fn aborted() -> Failure {
    Failure::new(Exit::Failure, "aborted", "aborted; nothing was changed")
}

/// One line from the terminal.
fn line(prompt: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let asked = write!(io::stderr(), "{prompt}").and_then(|()| io::stderr().flush());
    asked.and_then(|()| io::stdin().lock().read_line(&mut text)).map_err(|error| io_failure("the terminal", &error))?;
    Ok(text.trim().to_owned())
}

/// The passphrase of the key file: from a file, or from the terminal without echo.
pub fn passphrase(globals: &Globals, prompt: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    match &globals.passphrase_file {
        Some(path) => {
            let bytes =
                Zeroizing::new(std::fs::read(path).map_err(|error| io_failure(&path.display().to_string(), &error))?);
            let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let first = first.strip_suffix(b"\r").unwrap_or(first);
            not_empty(Zeroizing::new(first[..first.len().min(MAX_PASSPHRASE_BYTES)].to_vec()))
        }
        None if !can_ask(globals) => Err(Failure::new(Exit::Locked, "key_locked", "the keys are locked")
            .why("there is no terminal to ask for the passphrase on")
            .fix("add --passphrase-file FILE, or set NAMECTL_PASSPHRASE_FILE")),
        None => {
            let typed = rpassword::prompt_password(prompt).map_err(|error| io_failure("the terminal", &error))?;
            not_empty(Zeroizing::new(typed.into_bytes()))
        }
    }
}

/// A new passphrase: typed twice, unless it comes from a file.
pub fn new_passphrase(globals: &Globals) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let first = passphrase(globals, "New passphrase: ")?;
    if globals.passphrase_file.is_none() && passphrase(globals, "Again: ")? != first {
        return Err(Failure::new(Exit::Usage, "passphrases_differ", "the two passphrases differ").fix("try again"));
    }
    Ok(first)
}

/// Seed words: typed without echo, or all of standard input.
pub fn words(globals: &Globals) -> Result<Zeroizing<String>, Failure> {
    if can_ask(globals) {
        let typed = rpassword::prompt_password("Your 12 or 24 words (not shown): ");
        return typed.map(Zeroizing::new).map_err(|error| io_failure("the terminal", &error));
    }
    let text = io::read_to_string(io::Read::take(io::stdin(), MAX_PASSPHRASE_BYTES as u64));
    text.map(Zeroizing::new).map_err(|error| io_failure("standard input", &error))
}

fn not_empty(passphrase: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if passphrase.is_empty() {
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

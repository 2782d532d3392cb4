//! `namectl keys`: making, backing up and restoring keys.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use node::keys::{
    FileError, GAP_LIMIT, KdfCost, KeyFile, MAX_ENTRIES, Role, Seed, Wallet, WordCount, WordsError, derivation_path,
};
use serde_json::{Value, json};

use crate::{
    ask,
    context::Context,
    failure::{Exit, Failure},
    output::{Format, Style, table},
};

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make new keys and the encrypted file that holds them
    New(NewArgs),
    /// List the keys in use, with their addresses
    List,
    /// Print a fresh address to receive a name at
    Address,
    /// Show the words, or write an encrypted copy
    Backup(BackupArgs),
    /// Make the key file again from the words or from a copy, and find its names
    Restore(RestoreArgs),
    /// Ask the node again which names belong to these keys
    Rescan(SearchArgs),
    /// Check that the words on paper are those of the key file
    TestBackup,
    /// Seal the key file under another passphrase
    Passphrase(PassphraseArgs),
}

#[derive(Debug, Args)]
pub struct PassphraseArgs {
    /// Take the new passphrase from the first line of this file instead of asking
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct SearchArgs {
    /// Search until so many keys in a row have no name
    #[arg(long, value_name = "N", default_value_t = GAP_LIMIT, value_parser = clap::value_parser!(u32).range(1..=MAX_ENTRIES as i64))]
    gap: u32,
}

#[derive(Debug, Args)]
pub struct NewArgs {
    /// How many words stand for the keys
    #[arg(long, value_enum, default_value_t = Words::W24)]
    words: Words,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Words {
    #[value(name = "12")]
    W12,
    #[value(name = "24")]
    W24,
}

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Write an encrypted copy here (same passphrase) instead of showing the words
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Take the keys from this encrypted copy instead of the words
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    #[command(flatten)]
    search: SearchArgs,
}

pub fn run(context: &Context, command: KeysCommand) -> Result<(), Failure> {
    match command {
        KeysCommand::New(args) => new(context, &args),
        KeysCommand::List => list(context),
        KeysCommand::Address => address(context),
        KeysCommand::Backup(args) => backup(context, &args),
        KeysCommand::Restore(args) => restore(context, &args),
        KeysCommand::Rescan(args) => rescan(context, args),
        KeysCommand::TestBackup => test_backup(context),
        KeysCommand::Passphrase(args) => passphrase(context, &args),
    }
}

/// Refuses to hide a key file before anybody types a passphrase.
fn free_path(context: &Context) -> Result<PathBuf, Failure> {
    let path = context.keys_path()?;
    if KeyFile::exists(&path) { Err(FileError::Exists(path).into()) } else { Ok(path) }
}

fn new(context: &Context, args: &NewArgs) -> Result<(), Failure> {
    let path = free_path(context)?;
    if context.globals.dry_run {
        context.out.result(&json!({ "dry_run": true, "file": path }), || format!("would write {}", path.display()));
        return Ok(());
    }
    let passphrase = ask::new_passphrase(&context.globals, context.globals.passphrase_file.as_deref())?;
    let count = match args.words {
        Words::W12 => WordCount::Twelve,
        Words::W24 => WordCount::TwentyFour,
    };
    let seed = Seed::generate(count).map_err(FileError::from)?;
    let file = KeyFile::create(&path, Wallet::new(seed), &passphrase, KdfCost::STANDARD)?;
    context.out.result(&json!({ "file": file.path(), "backed_up": false }), || {
        let warning =
            context.out.paint(Style::Warn, "Write the words down now: without them a lost file is a lost name.");
        format!("keys written to {}\n{warning}\nnext: namectl keys backup", file.path().display())
    });
    Ok(())
}

fn list(context: &Context) -> Result<(), Failure> {
    let keys = context.open_keys()?;
    let network = context.network;
    let rows: Vec<(Vec<String>, Value)> = keys
        .wallet()
        .entries(network)
        .map(|entry| {
            let address = keys.wallet().address(network, entry.role, entry.index);
            let role = format!("{:?}", entry.role).to_lowercase();
            let name = entry.name.as_ref().map(|name| name.to_string());
            let path = derivation_path(network, entry.role, entry.index);
            let value = json!({ "path": path, "role": role, "index": entry.index, "address": address, "name": name });
            (vec![path, role, address, name.unwrap_or_else(|| "-".into())], value)
        })
        .collect();
    let values: Vec<&Value> = rows.iter().map(|(_, value)| value).collect();
    context.out.result(&json!({ "file": keys.path(), "network": network.as_str(), "keys": values }), || {
        let lines = table(&rows.iter().map(|(row, _)| row.clone()).collect::<Vec<_>>());
        if rows.is_empty() {
            format!("no key of network {network} is in use yet: namectl register NAME")
        } else {
            lines
        }
    });
    Ok(())
}

fn address(context: &Context) -> Result<(), Failure> {
    let mut keys = context.open_keys()?;
    let index = keys.change(|wallet| wallet.hand_out(context.network, Role::Owner, None))?;
    let address = keys.wallet().address(context.network, Role::Owner, index);
    let unused = keys.wallet().unused_addresses(context.network);
    if unused > GAP_LIMIT / 2 {
        context.out.warn(&format!(
            "{unused} addresses in a row are not known to have received a name; after a restore from the words, add: --gap {}\n\
             namectl keys rescan    # if some have\nnamectl keys list      # shows them; each can still be used",
            2 * unused
        ));
    }
    context.out.result(&json!({ "address": address, "index": index }), || address.clone());
    Ok(())
}

fn backup(context: &Context, args: &BackupArgs) -> Result<(), Failure> {
    let keys = context.open_keys()?;
    if let Some(path) = &args.output {
        keys.copy_to(path)?;
        context.out.result(&json!({ "file": path }), || {
            format!("an encrypted copy was written to {}; the passphrase is the same", path.display())
        });
        return Ok(());
    }
    ask::go_on(
        &context.globals,
        "The words will be shown on this screen. Whoever sees them owns your names.\nWe never ask for them; nobody who does is one of us.",
    )?;
    let words = keys.wallet().seed().words();
    // Printed past `result`, so that --quiet does not swallow what was asked for.
    match context.out.format {
        Format::Json => context.out.raw(&format!("{}\n", json!({ "v": 1, "words": words.as_str() }))),
        Format::Text => {
            let numbered =
                words.split(' ').enumerate().map(|(at, word)| format!("{:>2} {word:<10}", at + 1)).collect::<Vec<_>>();
            let lines: Vec<String> = numbered.chunks(4).map(|row| row.join("  ").trim_end().to_owned()).collect();
            context.out.raw(&format!("{}\n", lines.join("\n")));
        }
    }
    Ok(())
}

fn restore(context: &Context, args: &RestoreArgs) -> Result<(), Failure> {
    let path = free_path(context)?;
    let mut keys = match &args.from {
        Some(copy) => {
            let passphrase = ask::passphrase(&context.globals, "Passphrase of the copy: ")?;
            let opened = KeyFile::open(copy, &passphrase)?;
            opened.copy_to(&path)?;
            KeyFile::open(&path, &passphrase)?
        }
        None => {
            let seed = Seed::from_words(&ask::words(&context.globals)?).map_err(words_failure)?;
            let passphrase = ask::new_passphrase(&context.globals, context.globals.passphrase_file.as_deref())?;
            KeyFile::create(&path, Wallet::new(seed), &passphrase, KdfCost::STANDARD)?
        }
    };
    let found = match context.find_names(&mut keys, args.search.gap) {
        Ok(found) => Some(found),
        Err(failure) => {
            context.out.warn(&format!("the keys are restored, but their names could not be looked up: {failure}"));
            None
        }
    };
    context.out.result(&json!({ "file": keys.path(), "names_found": found }), || {
        let names = found.map_or_else(|| "names not looked up".into(), |n| format!("{n} names found"));
        format!(
            "keys restored to {}; {names}\nnext: namectl names\n\
             unfinished registrations go on with: namectl register NAME\n\
             if a name is missing: namectl keys rescan --gap 1000",
            keys.path().display()
        )
    });
    Ok(())
}

fn rescan(context: &Context, args: SearchArgs) -> Result<(), Failure> {
    let mut keys = context.open_keys()?;
    let found = context.find_names(&mut keys, args.gap)?;
    context.out.result(&json!({ "file": keys.path(), "names_found": found }), || {
        format!("{found} names found\nnext: namectl names")
    });
    Ok(())
}

fn test_backup(context: &Context) -> Result<(), Failure> {
    let keys = context.open_keys()?;
    let seed = Seed::from_words(&ask::words(&context.globals)?).map_err(words_failure)?;
    if seed.entropy() != keys.wallet().seed().entropy() {
        let message = format!("these words are not those of {}", keys.path().display());
        return Err(Failure::new(Exit::BadProof, "other_words", message)
            .why("they are a valid seed, but its names are others")
            .fix("namectl keys backup    # write the right ones down, and keep these: they may own other names"));
    }
    context.out.result(&json!({ "file": keys.path(), "matches": true }), || {
        format!("the words bring back {}", keys.path().display())
    });
    Ok(())
}

fn passphrase(context: &Context, args: &PassphraseArgs) -> Result<(), Failure> {
    let mut keys = context.open_keys()?;
    let new = ask::new_passphrase(&context.globals, args.new_passphrase_file.as_deref())?;
    keys.change_passphrase(&new, KdfCost::STANDARD)?;
    context.out.result(&json!({ "file": keys.path() }), || {
        let file = keys.path().display();
        format!("{file} opens with the new passphrase only; copies made before open with the old one")
    });
    Ok(())
}

fn words_failure(error: WordsError) -> Failure {
    let fix = match &error {
        WordsError::Count(_) => "type all words, separated by spaces",
        WordsError::Unknown { .. } => {
            "the word list is at https://github.com/bitcoin/bips/blob/master/bip-0039/english.txt"
        }
        WordsError::Checksum => "compare with your paper: order matters",
        WordsError::Order => "type them in their order, without numbers",
    };
    Failure::new(Exit::Usage, "bad_words", error.to_string()).fix(fix)
}

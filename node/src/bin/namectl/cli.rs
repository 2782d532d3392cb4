//! The command line: flags, commands, and which function runs which.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use ::node::stdio;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::{
    ask::io_failure,
    check, config,
    context::Context,
    failure::{Exit, Failure},
    hosts, keys, lookup, names, node, ops,
    output::Output,
    records, register, renew, resolver, revoke, search, shell, status, transfer, verify,
};

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 refused by the rules, 5 node unreachable, \
6 not synced, 7 still going on, 8 key locked, 9 bad proof or signature, 10 changes pending, 12 names expiring, \
130 interrupted";

/// Names, records and keys of the Namestead ledger.
#[derive(Debug, Parser)]
#[command(name = "namectl", version, max_term_width = 100, after_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Print one JSON object; progress goes to standard error, one object per line
    #[arg(long, global = true)]
    pub json: bool,
    /// Print errors and results only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to use colours [default: auto]
    #[arg(long, global = true, value_enum, env = "NAMECTL_COLOR", hide_env = true)]
    pub color: Option<ColorChoice>,
    /// Never ask; fail instead
    #[arg(long, global = true, env = "NAMECTL_NO_INPUT", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub no_input: bool,
    /// Answer yes to questions (not to those that need the name typed)
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Show what would be done and do nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Go by what a node knows that is not synced, instead of ending with code 6
    #[arg(long, global = true)]
    pub stale_ok: bool,
    /// The node: unix:/path/api.sock or http://127.0.0.1:8353 [default: the socket in the data directory]
    #[arg(long, global = true, value_name = "URL", env = "NAMECTL_NODE", hide_env = true)]
    pub node: Option<String>,
    /// File with the token that the node wants over http [default: api.token in the data directory]
    #[arg(long, global = true, value_name = "FILE", env = "NAMECTL_TOKEN_FILE", hide_env = true)]
    pub token_file: Option<PathBuf>,
    /// main, test or local [default: main]
    #[arg(long, global = true, value_name = "NETWORK", env = "NAMECTL_NETWORK", hide_env = true)]
    pub network: Option<String>,
    /// Longest time to wait for an operation: 90s, 10m, 2h
    #[arg(long, global = true, value_name = "TIME", env = "NAMECTL_TIMEOUT", hide_env = true, value_parser = parse_span)]
    pub timeout: Option<Duration>,
    /// The key file [default: namestead/keys.nsk in the data directory of the user]
    #[arg(long, global = true, value_name = "FILE", env = "NAMECTL_KEYS", hide_env = true)]
    pub keys: Option<PathBuf>,
    /// File whose first line is the passphrase of the key file (/dev/fd/N for an open descriptor)
    #[arg(long, global = true, value_name = "FILE", env = "NAMECTL_PASSPHRASE_FILE", hide_env = true)]
    pub passphrase_file: Option<PathBuf>,
    /// Settings of this program [default: namestead/namectl.toml in the configuration directory of the user]
    #[arg(long, global = true, value_name = "FILE", env = "NAMECTL_CONFIG", hide_env = true)]
    pub config: Option<PathBuf>,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the node, the chain and its sync
    Status(status::StatusArgs),
    /// Say whether names are free, and what they cost
    Check(check::CheckArgs),
    /// Register names
    Register(register::RegisterArgs),
    /// Show what the ledger says about a name
    Lookup(lookup::LookupArgs),
    /// Check a saved proof, without a node
    Verify(verify::VerifyArgs),
    /// Show and change the records of a name
    #[command(subcommand)]
    Records(records::RecordsCommand),
    /// Renew names
    Renew(renew::RenewArgs),
    /// Hand a name over to another owner, or stop that
    Transfer(transfer::TransferArgs),
    /// Burn a name whose key was stolen: nobody has it for a long time
    Revoke(revoke::RevokeArgs),
    /// Give a name back: anybody may register it soon
    Release(revoke::RevokeArgs),
    /// List the names that belong to the keys
    Names(names::NamesArgs),
    /// Show and steer what the node is finishing
    #[command(subcommand)]
    Ops(ops::OpsCommand),
    /// List registered names that begin with a text
    Search(search::SearchArgs),
    /// Make, back up and restore keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Look at the node's surroundings
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Have the node's resolver read its files again, or drop what it keeps
    #[command(subcommand)]
    Resolver(resolver::ResolverCommand),
    /// Write names in other formats
    #[command(subcommand)]
    Export(hosts::ExportCommand),
    /// Take names from other formats
    #[command(subcommand)]
    Import(hosts::ImportCommand),
    /// Show the settings of this program
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print a completion script for a shell
    Completions(shell::CompletionsArgs),
    /// Print or write the manual pages
    Man(shell::ManArgs),
}

/// Parses the command line; prints what is wrong with it.
pub fn parse() -> Result<(Cli, ArgMatches), ExitCode> {
    let parsed = Cli::command().try_get_matches().and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    parsed.map_err(|error| {
        let is_failure = error.use_stderr();
        if is_failure && std::env::args().any(|arg| arg == "--json") {
            let text = error.render().to_string();
            let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            let globals = Globals { json: true, ..Globals::default() };
            let failure = Failure::new(Exit::Usage, "usage", message).fix("namectl --help");
            return Output::plain(&globals).fail(&failure);
        }
        let printed = error.print();
        if is_failure {
            return ExitCode::from(Exit::Usage as u8);
        }
        // Help and version are results like others.
        match stdio::outcome(printed) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => Output::plain(&Globals::default()).fail(&io_failure("standard output", &error)),
        }
    })
}

/// Runs a command.
pub fn run(context: &mut Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Status(args) => status::run(context, &args),
        Command::Check(args) => check::run(context, &args),
        Command::Register(args) => register::run(context, &args),
        Command::Lookup(args) => lookup::run(context, &args),
        Command::Verify(args) => verify::run(context, &args),
        Command::Records(command) => records::run(context, command),
        Command::Renew(args) => renew::run(context, &args),
        Command::Transfer(args) => transfer::run(context, &args),
        Command::Revoke(args) => revoke::burn(context, &args),
        Command::Release(args) => revoke::release(context, &args),
        Command::Names(args) => names::run(context, &args),
        Command::Ops(command) => ops::run(context, command),
        Command::Search(args) => search::run(context, &args),
        Command::Keys(command) => keys::run(context, command),
        Command::Node(command) => node::run(context, &command),
        Command::Resolver(command) => resolver::run(context, &command),
        Command::Export(command) => hosts::export(context, &command),
        Command::Import(command) => hosts::import(context, &command),
        Command::Config(command) => config::run(context, &command),
        Command::Completions(args) => shell::completions(context, &args),
        Command::Man(args) => shell::man(context, &args),
    }
}

/// `90`, `90s`, `10m`, `2h`, `60d`.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let unit = match unit {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err("write a number and s, m, h, d or w: 90s, 10m, 60d".to_owned()),
    };
    let seconds = digits.parse::<u32>().map_err(|_| "write a number and s, m, h, d or w: 90s, 10m, 60d".to_owned())?;
    Ok(Duration::from_secs(u64::from(seconds) * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn spans() {
        assert_eq!(parse_span("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_span("60d"), Ok(Duration::from_secs(60 * 86_400)));
        assert!(parse_span("d").is_err() && parse_span("1y").is_err() && parse_span("").is_err());
    }
}

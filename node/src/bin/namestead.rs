//! The daemon's command line.

#[path = "namestead/cli.rs"]
mod cli;
#[path = "namestead/commands.rs"]
mod commands;

#[path = "namestead/trust_anchor.rs"]
mod trust_anchor;

use std::process::ExitCode;

use clap::Parser as _;
use node::stdio;

fn main() -> ExitCode {
    let done = match cli::Cli::try_parse() {
        Ok(cli) => commands::run(cli),
        Err(error) if error.use_stderr() => {
            // There is nowhere to say that it failed.
            let _ = error.print();
            return ExitCode::from(commands::USAGE);
        }
        // Help and version are results like others.
        Err(help) => stdio::outcome(help.print()).map(|_| ()).map_err(commands::Failure::Output),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            stdio::complain(&format!("namestead: {failure}"));
            failure.exit_code()
        }
    }
}

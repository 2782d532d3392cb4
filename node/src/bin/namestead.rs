//! The daemon's command line.

#[path = "namestead/cli.rs"]
mod cli;
#[path = "namestead/commands.rs"]
mod commands;

#[path = "namestead/trust_anchor.rs"]
mod trust_anchor;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("namestead: {failure}");
            failure.exit_code()
        }
    }
}

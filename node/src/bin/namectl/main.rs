//! `namectl`: names, records and keys from the command line.
//!
//! It speaks to a node through its HTTP interface and signs with keys that the node never sees. One file per noun;
//! `output` is the only place that prints results, `failure` the only one that knows exit codes.

mod ask;
mod change;
mod check;
mod cli;
mod config;
mod context;
mod failure;
mod follow;
mod hosts;
mod interrupt;
mod keys;
mod label;
mod light;
mod lookup;
mod names;
mod node;
mod ops;
mod output;
mod progress;
mod records;
mod register;
mod renew;
mod resolver;
mod revoke;
mod search;
mod shell;
mod status;
mod terminal;
mod text;
mod transfer;
mod verify;

use std::process::ExitCode;

fn main() -> ExitCode {
    let (cli, matches) = match cli::parse() {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let mut context = match context::Context::new(&cli.globals, &matches) {
        Ok(context) => context,
        Err(failure) => return output::Output::plain(&cli.globals).fail(&failure),
    };
    match cli::run(&mut context, cli.command) {
        Ok(()) => context.out.end(),
        Err(failure) => context.out.fail(&failure),
    }
}

//! Completions and manual pages, made from the command line's own definition.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use serde_json::json;

use crate::{ask::io_failure, cli::Cli, context::Context, failure::Failure};

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write a page for every command into this folder, instead of printing the first page
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

pub fn completions(context: &Context, args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "namectl", &mut script);
    context.out.raw(&String::from_utf8_lossy(&script));
    Ok(())
}

pub fn man(context: &Context, args: &ManArgs) -> Result<(), Failure> {
    let command = Cli::command();
    match &args.dir {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page).map_err(|error| io_failure("the manual page", &error))?;
            context.out.raw(&String::from_utf8_lossy(&page));
        }
        Some(folder) => {
            let shown = folder.display().to_string();
            std::fs::create_dir_all(folder).map_err(|error| io_failure(&shown, &error))?;
            clap_mangen::generate_to(command, folder).map_err(|error| io_failure(&shown, &error))?;
            context.out.result(&json!({ "written_to": shown }), || format!("manual pages written to {shown}"));
        }
    }
    Ok(())
}

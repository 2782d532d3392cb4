//! `namectl verify`: a saved proof, checked without any node.

use std::{io::Read as _, path::PathBuf};

use clap::Args;
use ledger::key::to_address;
use node::light::{Checkpoint, ProofFileError, Verified, verify};
use serde_json::json;

use crate::{
    ask::io_failure,
    context::Context,
    failure::{Exit, Failure},
    light::time_text,
    lookup::{self, parse_checkpoint},
    output::{Style, evaluations, group},
};

/// Longest proof file read: headers and a proof are far below.
const MAX_FILE_BYTES: u64 = 4 << 20;

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The proof, as `namectl lookup --proof FILE` wrote it
    file: PathBuf,
    /// A block that is known to be right and must be in the file
    #[arg(long, value_name = "HEIGHT:HASH", value_parser = parse_checkpoint)]
    checkpoint: Option<Checkpoint>,
}

pub fn run(context: &Context, args: &VerifyArgs) -> Result<(), Failure> {
    let shown = args.file.display().to_string();
    let mut bytes = Vec::new();
    let read = std::fs::File::open(&args.file).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes));
    read.map_err(|error| io_failure(&shown, &error))?;
    let verified = verify(&bytes, context.params(), args.checkpoint).map_err(|error| failure(&shown, &error))?;
    print(context, &verified);
    Ok(())
}

fn failure(file: &str, error: &ProofFileError) -> Failure {
    let failure = Failure::new(Exit::BadProof, "bad_proof", format!("{file} proves nothing: {error}"));
    match error {
        ProofFileError::Network { got, .. } => failure.fix(format!("add --network {got}")),
        ProofFileError::NotTrusted(_) => failure.why("its headers may be of a chain that nobody follows"),
        ProofFileError::OtherHeight { got, hash, .. } => failure
            .why("its height or its hash was copied wrongly")
            .fix(format!("--checkpoint {got}:{hash}, if that is it")),
        ProofFileError::Bytes(_)
        | ProofFileError::Checksum
        | ProofFileError::Header { .. }
        | ProofFileError::State(_) => failure.fix("make a new one: namectl lookup NAME --proof FILE"),
    }
}

fn print(context: &Context, verified: &Verified) {
    let origin = context.origin(&verified.name);
    let records = verified.state.as_ref().map(|state| &state.records);
    let lines: Vec<String> = records
        .map_or_else(Vec::new, |set| set.as_slice().iter().map(|r| node::zone::record_line(r, &origin)).collect());
    let owner = verified.state.as_ref().map(|state| to_address(context.params(), &state.owner));
    let value = json!({
        "name": verified.name.as_str(), "present": verified.state.is_some(), "verified": true, "height": verified.height,
        "hash": verified.hash.to_string(), "time": time_text(verified.time), "confirmations": verified.confirmations,
        "work": verified.work.to_string(), "owner": owner, "expires_at": verified.state.as_ref().map(|state| state.expires_at),
        "records": lookup::json_lines(&lines),
    });
    context.out.result(&value, || {
        let what = match &owner {
            Some(owner) => format!("belongs to {owner}\n{}", lookup::text_of(&lines)),
            None => "was not registered".into(),
        };
        format!(
            "{} at height {} ({}), {} {what}\nblock {}\nThe headers in it cost {}. Compare the block with a source you trust.",
            context.out.paint(Style::Good, "proven:"),
            group(u64::from(verified.height)),
            time_text(verified.time),
            context.full(&verified.name),
            verified.hash,
            evaluations(verified.work as f64),
        )
    });
}

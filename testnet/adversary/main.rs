//! A hostile peer, for tests only: it speaks Namestead's peer-to-peer protocols and plays one attack against running
//! nodes of network `local`.
//!
//! Not for: judging. Each part ends by itself and prints one line of JSON, what it did and what it saw; the nodes' own
//! word is for whoever started it to ask (`scripts/tests/hostile.py`). Work, blocks, transactions and signatures are
//! real: they are made by `ledger` (feature `testing`), which takes a fraction of a second on network `local`.

mod answers;
mod claims;
mod clock;
mod follower;
mod forge;
mod invalid_parent;
mod mempool;
mod old_branch;
mod past;
mod peer;
mod places;
mod registrations;
mod reveals;
mod withheld;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use forge::Forge;

/// Plays one attack against nodes of network `local`, says in one line of JSON what it saw, and ends.
#[derive(Parser)]
#[command(name = "adversary")]
struct Cli {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// An invalid block that one node knows to be invalid, and its children relayed to it by another.
    InvalidParent(invalid_parent::Options),
    /// Headers ahead of the nodes' tips whose bodies are withheld.
    Withheld(withheld::Options),
    /// Claims of work that is never shown.
    Claims(claims::Options),
    /// Junk in the mempool to keep an owner's changes out of it.
    Mempool(mempool::Options),
    /// Valid blocks of next to no work on a branch from the beginning.
    OldBranch(old_branch::Options),
    /// Free REVEALs of commits that do not exist, with many signatures.
    Reveals(reveals::Options),
    /// As many connections from this host as the node takes.
    Places(places::Options),
    /// No attack: many registrations at once, to fill a block.
    Registrations(registrations::Options),
}

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
async fn main() -> ExitCode {
    let forge = Forge::local();
    let seen = match Cli::parse().part {
        Part::InvalidParent(options) => invalid_parent::run(forge, options).await,
        Part::Withheld(options) => withheld::run(forge, options).await,
        Part::Claims(options) => claims::run(forge, options).await,
        Part::Mempool(options) => mempool::run(forge, options).await,
        Part::OldBranch(options) => old_branch::run(forge, options).await,
        Part::Reveals(options) => reveals::run(forge, options).await,
        Part::Places(options) => places::run(forge, options).await,
        Part::Registrations(options) => registrations::run(forge, options).await,
    };
    match seen {
        Ok(seen) => {
            println!("{seen}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("adversary: {error:#}");
            ExitCode::FAILURE
        }
    }
}

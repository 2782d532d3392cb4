//! Arguments and their help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ledger::params::Network;
use node::{config::Overrides, miner::MiningMode, p2p::Multiaddr};

/// Namestead daemon: keeps the name ledger with its peers and answers names over DNS.
///
/// Without any option it joins the main network, keeps its data in $XDG_DATA_HOME/namestead/main, answers DNS on
/// port 5354 and the API on port 8353 of this machine, and mines gently.
#[derive(Debug, Parser)]
#[command(name = "namestead", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command; they come before the configuration file's values.
#[derive(Debug, Args)]
pub struct Options {
    /// Configuration file (see `namestead example-config`)
    #[arg(long, short, global = true, value_name = "FILE", env = "NAMESTEAD_CONFIG")]
    pub config: Option<PathBuf>,
    /// Network to join: main, test or local
    #[arg(long, global = true, env = "NAMESTEAD_NETWORK")]
    pub network: Option<Network>,
    /// Where everything is kept
    #[arg(long, global = true, value_name = "DIR", env = "NAMESTEAD_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Multiaddr to listen on for peers, instead of p2p.listen; may be repeated
    #[arg(long, global = true, value_name = "MULTIADDR")]
    pub listen: Vec<Multiaddr>,
    /// Multiaddr of a peer to keep connected to, besides p2p.peers; may be repeated
    #[arg(long, global = true, value_name = "MULTIADDR")]
    pub peer: Vec<Multiaddr>,
    /// When to mine for mining's sake
    #[arg(long, global = true)]
    pub mine: Option<Mine>,
    /// Log level or filter, such as debug or info,node::p2p=debug
    #[arg(long, global = true, value_name = "FILTER", env = "NAMESTEAD_LOG")]
    pub log: Option<String>,
}

/// Mining modes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Mine {
    /// Gently, while there are peers
    Auto,
    /// With all threads
    On,
    /// Only for operations of this node
    Off,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the node until SIGTERM or SIGINT
    Run,
    /// Check the configuration and say OK, or what is wrong and where
    CheckConfig,
    /// Print a commented configuration file with every key at its default
    ExampleConfig,
    /// Look into the database of a stopped node
    Db {
        #[command(subcommand)]
        command: DbCommand,
    },
    /// Print this node's DNSSEC key as a trust anchor, for the validator or the parent zone that shall believe its signatures
    TrustAnchor {
        /// What to write it for
        #[arg(long, value_enum)]
        format: Validator,
    },
    /// Print the version
    Version,
}

/// Programs that validate DNSSEC.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Validator {
    /// A file to include in unbound.conf
    Unbound,
    /// A statement for named.conf
    Bind,
    /// Lines for Knot Resolver's kresd.conf
    Knot,
    /// A file for /etc/dnssec-trust-anchors.d/, its name ending in .positive
    Systemd,
    /// A file for delv -a, with +root=SUFFIX
    Delv,
    /// DS records for the zone file of a parent zone, if a suffix is below a domain of your own
    Ds,
}

#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Replay every block that is kept and compare the result with what is stored
    Verify,
}

impl Options {
    /// What these options set above the file.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            network: self.network,
            data_dir: self.data_dir.clone(),
            listen: self.listen.clone(),
            peers: self.peer.clone(),
            mode: self.mine.map(|mine| match mine {
                Mine::Auto => MiningMode::Auto,
                Mine::On => MiningMode::On,
                Mine::Off => MiningMode::Off,
            }),
            log_level: self.log.clone(),
        }
    }
}

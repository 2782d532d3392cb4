//! The configuration file, `namestead.toml`.
//!
//! Each component owns the type of its section; this file puts them together, fills in what depends on the network or
//! the data directory, and checks what no section can see alone. An unknown key is an error with a suggestion, and
//! every error names file and line. Precedence: command line, file, default.

mod complaint;
mod keys;
mod sections;

use std::path::{Path, PathBuf};

use ledger::params::Network;
use serde::Deserialize;

pub use complaint::ConfigError;
pub use resolver::DnsConfig;
pub use sections::{ApiConfig, MetricsConfig, Role, Toggle};

use crate::{miner::MiningConfig, p2p, telemetry::LogConfig};

/// The file as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    network: Option<String>,
    role: Role,
    data_dir: Option<PathBuf>,
    p2p: p2p::Config,
    mining: MiningConfig,
    dns: DnsConfig,
    api: ApiConfig,
    metrics: MetricsConfig,
    log: LogConfig,
}

/// What the command line sets above the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--network`.
    pub network: Option<Network>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--listen`, for peers.
    pub listen: Vec<p2p::Multiaddr>,
    /// `--peer`.
    pub peers: Vec<p2p::Multiaddr>,
    /// `--mine`.
    pub mode: Option<crate::miner::MiningMode>,
    /// `--log`.
    pub log_level: Option<String>,
}

/// A checked configuration: every path is absolute or relative to the working directory, nothing is left open.
#[derive(Clone, Debug)]
pub struct Config {
    /// The network.
    pub network: Network,
    /// How much the node keeps.
    pub role: Role,
    /// Where it keeps it.
    pub data_dir: PathBuf,
    /// The `[p2p]` section.
    pub p2p: p2p::Config,
    /// The `[mining]` section.
    pub mining: MiningConfig,
    /// The `[dns]` section.
    pub dns: DnsConfig,
    /// The `[api]` section.
    pub api: ApiConfig,
    /// The `[metrics]` section.
    pub metrics: MetricsConfig,
    /// The `[log]` section.
    pub log: LogConfig,
}

impl Config {
    /// Reads and checks `path` (or nothing but defaults), with the command line above it.
    pub fn load(path: Option<&Path>, overrides: Overrides) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Self::parse("", Path::new("(defaults)"), overrides) };
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), reason: error.to_string() })?;
        Self::parse(&text, path, overrides)
    }

    /// Checks `text`; `path` is for messages only.
    pub fn parse(text: &str, path: &Path, overrides: Overrides) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|error| complaint::of_toml(path, text, &error))?;
        let config = Self::assemble(file, overrides).map_err(|message| complaint::of_check(path, text, message))?;
        match config.check() {
            Ok(()) => Ok(config),
            Err(message) => Err(complaint::of_check(path, text, message)),
        }
    }

    fn assemble(file: File, overrides: Overrides) -> Result<Self, String> {
        let named =
            file.network.map(|name| name.parse::<Network>().map_err(|e| format!("network: {e}"))).transpose()?;
        let network = overrides.network.or(named).unwrap_or(Network::Main);
        let data_dir = overrides.data_dir.or(file.data_dir).or_else(|| default_data_dir(network)).ok_or(NO_DATA_DIR)?;
        let mut p2p = file.p2p;
        if !overrides.listen.is_empty() {
            p2p.listen = overrides.listen;
        }
        p2p.peers.extend(overrides.peers);
        let mut mining = file.mining;
        mining.mode = overrides.mode.unwrap_or(mining.mode);
        let mut log = file.log;
        log.level = overrides.log_level.unwrap_or(log.level);
        let mut api = file.api;
        api.settle(&data_dir);
        let (role, dns, metrics) = (file.role, file.dns, file.metrics);
        Ok(Self { network, role, data_dir, p2p, mining, dns, api, metrics, log })
    }

    /// What no section can see alone, and each section's own checks.
    fn check(&self) -> Result<(), String> {
        self.mining.check()?;
        self.dns.validate().map_err(|error| error.to_string())?;
        self.api.check()?;
        self.log.check()?;
        let max_peers = usize::try_from(self.p2p.max_peers).unwrap_or(usize::MAX);
        if self.p2p.peers.len() > max_peers {
            let count = self.p2p.peers.len();
            return Err(format!("p2p.peers lists {count} peers but p2p.max_peers allows {max_peers} connections"));
        }
        self.ports_differ()
    }

    fn ports_differ(&self) -> Result<(), String> {
        let api = self.api.listen.address().map(|address| ("api.listen", address));
        let metrics = self.metrics.listen.address().map(|address| ("metrics.listen", address));
        let dns = self.dns.listen.iter().map(|address| ("dns.listen", *address));
        let mut seen: Vec<(&str, std::net::SocketAddr)> = Vec::new();
        for (key, address) in api.into_iter().chain(metrics).chain(dns) {
            if let Some((other, _)) = seen.iter().find(|(_, seen)| *seen == address && address.port() != 0) {
                return Err(format!("{other} and {key} both want {address}"));
            }
            seen.push((key, address));
        }
        Ok(())
    }

    /// The key that signs DNS answers.
    pub fn dnssec_key_file(&self) -> PathBuf {
        self.data_dir.join("dnssec.key")
    }

    /// The database.
    pub fn database_dir(&self) -> PathBuf {
        self.data_dir.join("db")
    }
}

/// Where everything is kept is never guessed: a node started from another directory would be another node.
const NO_DATA_DIR: &str = "data_dir is not set, and there is no home directory to put it in: set it, or add --data-dir \
    DIR (for a service: /var/lib/namestead)";

/// `$XDG_DATA_HOME/namestead/<network>` or `~/.local/share/…`. As the XDG base directory specification wants it, a path
/// that is not absolute counts for nothing.
fn default_data_dir(network: Network) -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")))?;
    Some(base.join("namestead").join(network.as_str()))
}

/// A commented file with every key at its default.
pub const EXAMPLE: &str = include_str!("config/example.toml");

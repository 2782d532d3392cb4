//! What the commands do.

use std::{fmt, process::ExitCode, time::Duration};

use node::{
    chain,
    config::{self, Config, ConfigError},
    node::{Node, NodeError},
    shutdown::{DEADLINE, StopSignals, notify},
    store::Store,
    telemetry,
};
use tokio::time::timeout;
use tracing::{error, info};

use crate::{
    cli::{Cli, Command, DbCommand, Options},
    trust_anchor,
};

/// How long reads of the database that were under way may take to notice that nobody wants them.
const READS_DEADLINE: Duration = Duration::from_secs(2);

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The configuration.
    Config(ConfigError),
    /// The node did not start.
    Start(NodeError),
    /// Everything else.
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Start(error) => error.fmt(f),
            Self::Other(message) => f.write_str(message),
        }
    }
}

impl Failure {
    /// 2 for what the caller got wrong, 1 for the rest.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => ExitCode::from(2),
            Self::Start(_) | Self::Other(_) => ExitCode::FAILURE,
        }
    }
}

pub fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run => run_node(load(&cli.options)?),
        Command::CheckConfig => load(&cli.options).map(|_| println!("OK")),
        Command::ExampleConfig => {
            print!("{}", config::EXAMPLE);
            Ok(())
        }
        Command::Db { command: DbCommand::Verify } => verify(&load(&cli.options)?),
        Command::TrustAnchor { format } => trust_anchor::print(&load(&cli.options)?, format),
        Command::Version => {
            println!("namestead {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    }
}

fn load(options: &Options) -> Result<Config, Failure> {
    Config::load(options.config.as_deref(), options.overrides()).map_err(Failure::Config)
}

fn run_node(config: Config) -> Result<(), Failure> {
    telemetry::init(&config.log).map_err(Failure::Other)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Other(format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(serve(config));
    // Reads of the database that nobody waits for any more may go on for a moment. While they do, the database must not be
    // torn down by the end of the process.
    runtime.shutdown_timeout(READS_DEADLINE);
    result
}

async fn serve(config: Config) -> Result<(), Failure> {
    let mut signals = StopSignals::install().map_err(|error| Failure::Other(error.to_string()))?;
    let mut node = tokio::select! {
        started = Node::start(config) => started.map_err(Failure::Start)?,
        signal = signals.next() => return Err(Failure::Other(format!("{signal} while starting"))),
    };
    notify("READY=1");
    let result = tokio::select! {
        signal = signals.next() => {
            info!(signal, "stopping");
            Ok(())
        }
        reason = node.failed() => {
            error!(reason, "stopping");
            Err(Failure::Other(reason))
        }
    };
    notify("STOPPING=1");
    tokio::select! {
        stopped = timeout(DEADLINE, node.shutdown()) => match stopped {
            Ok(()) => result,
            Err(_) => Err(Failure::Other("stopping took too long; what was acknowledged is on disk".to_owned())),
        },
        signal = signals.next() => Err(Failure::Other(format!("{signal} again: ended at once"))),
    }
}

fn verify(config: &Config) -> Result<(), Failure> {
    let path = config.database_dir();
    if !path.exists() {
        return Err(Failure::Other(format!("there is no database at {}", path.display())));
    }
    let failure = |error: &dyn fmt::Display| Failure::Other(error.to_string());
    let params = config.network.params();
    let store = Store::open(&path, params).map_err(|error| failure(&error))?;
    let report = chain::verify(&store, params).map_err(|error| failure(&error))?;
    let root = state_root(&store).map_err(|error| failure(&error))?;
    println!("height {}", report.height);
    println!("state_root {root}");
    println!("headers {} blocks {} entries {} pages {}", report.headers, report.blocks, report.entries, report.pages);
    println!("OK");
    Ok(())
}

fn state_root(store: &Store) -> Result<String, node::store::StoreError> {
    use node::store::Rows as _;
    Ok(store.tip_row()?.map_or_else(String::new, |tip| tip.state_root.to_string()))
}

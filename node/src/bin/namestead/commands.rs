//! What the commands do.

use std::{fmt, io, process::ExitCode, time::Duration};

use node::{
    chain,
    config::{self, Config, ConfigError},
    node::{Node, NodeError},
    owner::become_owner_of,
    reload::{ReloadError, Reloaded},
    shutdown::{DEADLINE, Signals, Wish, notify},
    stdio,
    store::Store,
    telemetry::{self, Level},
};
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::{
    cli::{Cli, Command, DbCommand, Options},
    trust_anchor,
};

/// How long reads of the database that were under way may take to notice that nobody wants them.
const READS_DEADLINE: Duration = Duration::from_secs(2);

/// Exit code for what the caller got wrong: the command line or the configuration.
pub const USAGE: u8 = 2;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The configuration.
    Config(ConfigError),
    /// The node did not start.
    Start(NodeError),
    /// The result could not be written.
    Output(io::Error),
    /// Everything else.
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Start(error) => error.fmt(f),
            Self::Output(error) => write!(f, "cannot write to standard output: {error}"),
            Self::Other(message) => f.write_str(message),
        }
    }
}

impl Failure {
    /// 2 for what the caller got wrong, 1 for the rest.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => ExitCode::from(USAGE),
            Self::Start(_) | Self::Output(_) | Self::Other(_) => ExitCode::FAILURE,
        }
    }
}

pub fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run => run_node(load(&cli.options)?, &cli.options),
        Command::CheckConfig => load(&cli.options).and_then(|_| print("OK\n")),
        Command::ExampleConfig => print(config::EXAMPLE),
        Command::Db { command: DbCommand::Verify } => verify(&load(&cli.options)?),
        Command::TrustAnchor { format } => trust_anchor::print(&load(&cli.options)?, format),
        Command::Version => print(concat!("namestead ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}

/// Prints the result of a command. A reader that has gone needs no more of it.
pub fn print(text: &str) -> Result<(), Failure> {
    stdio::print(text).map(|_| ()).map_err(Failure::Output)
}

fn load(options: &Options) -> Result<Config, Failure> {
    Config::load(options.config.as_deref(), options.overrides()).map_err(Failure::Config)
}

fn run_node(config: Config, options: &Options) -> Result<(), Failure> {
    let level = telemetry::init(&config.log).map_err(Failure::Other)?;
    if let Some(uid) = go_on_as_owner(&config)? {
        warn!(
            uid,
            data_dir = %config.data_dir.display(),
            "started by the superuser on another user's data directory: going on as that user, who may not listen on \
             ports below 1024, nor read files that are the superuser's only"
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Other(format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(serve(config, options, &level));
    // Reads of the database that nobody waits for any more may go on for a moment. While they do, the database must not be
    // torn down by the end of the process.
    runtime.shutdown_timeout(READS_DEADLINE);
    result
}

async fn serve(config: Config, options: &Options, level: &Level) -> Result<(), Failure> {
    let mut signals = Signals::install().map_err(|error| Failure::Other(error.to_string()))?;
    let mut node = tokio::select! {
        started = Node::start(config) => started.map_err(Failure::Start)?,
        signal = signals.next_stop() => return Err(Failure::Other(format!("{signal} while starting"))),
    };
    let mut reloads = node.reload_requests();
    notify("READY=1");
    let result = loop {
        tokio::select! {
            wish = signals.next() => match wish {
                // What came of it is in the log.
                Wish::Reload => drop(reload(&mut node, options, level).await),
                Wish::Stop(signal) => {
                    info!(signal, "stopping");
                    break Ok(());
                }
            },
            request = reloads.next() => {
                let outcome = reload(&mut node, options, level).await;
                request.answer(outcome);
            }
            reason = node.failed() => {
                error!(reason, "stopping");
                break Err(Failure::Other(reason));
            }
        }
    };
    notify("STOPPING=1");
    tokio::select! {
        stopped = timeout(DEADLINE, node.shutdown()) => match stopped {
            Ok(()) => result,
            Err(_) => Err(Failure::Other("stopping took too long; what was acknowledged is on disk".to_owned())),
        },
        signal = signals.next_stop() => Err(Failure::Other(format!("{signal} again: ended at once"))),
    }
}

/// Takes over what can be taken over from the configuration as it is now. A wrong one changes nothing.
async fn reload(node: &mut Node, options: &Options, level: &Level) -> Result<Reloaded, ReloadError> {
    notify("RELOADING=1");
    let outcome = match Config::load(options.config.as_deref(), options.overrides()) {
        Err(error) => {
            error!(%error, "configuration not read again; the one before holds");
            Err(ReloadError::Configuration(error.to_string()))
        }
        Ok(config) => {
            let log_level = config.log.level.clone();
            let mut reloaded = node.reload(&config).await;
            if let Err(error) = level.set(&log_level) {
                reloaded.problems.push(format!("the log level stays as it was: {error}"));
            }
            for problem in &reloaded.problems {
                error!(problem, "not reloaded; what was there before holds");
            }
            info!(changed = reloaded.changed.join(" "), "configuration read again");
            if !reloaded.needs_restart.is_empty() {
                warn!(keys = reloaded.needs_restart.join(" "), "changed in the configuration, but needs a restart");
            }
            Ok(reloaded)
        }
    };
    notify("READY=1");
    outcome
}

/// The superuser's rights are not for what is in a folder of another user. Gives the number of that user.
pub fn go_on_as_owner(config: &Config) -> Result<Option<u32>, Failure> {
    become_owner_of(&config.data_dir)
        .map_err(|error| Failure::Other(format!("cannot go on as the owner of {}: {error}", config.data_dir.display())))
}

fn verify(config: &Config) -> Result<(), Failure> {
    go_on_as_owner(config)?;
    let path = config.database_dir();
    if !path.exists() {
        return Err(Failure::Other(format!("there is no database at {}", path.display())));
    }
    let failure = |error: &dyn fmt::Display| Failure::Other(error.to_string());
    let params = config.network.params();
    let store = Store::open(&path, params).map_err(|error| failure(&error))?;
    let report = chain::verify(&store, params).map_err(|error| failure(&error))?;
    let root = state_root(&store).map_err(|error| failure(&error))?;
    let chain::VerifyReport { height, headers, blocks, entries, pages } = report;
    print(&format!(
        "height {height}\nstate_root {root}\nheaders {headers} blocks {blocks} entries {entries} pages {pages}\nOK\n"
    ))
}

fn state_root(store: &Store) -> Result<String, node::store::StoreError> {
    use node::store::Rows as _;
    Ok(store.tip_row()?.map_or_else(String::new, |tip| tip.state_root.to_string()))
}

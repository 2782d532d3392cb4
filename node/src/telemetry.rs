//! Logging: one subscriber for the process, writing to standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::config::{LogConfig, LogFormat};

/// Libraries whose lines are not for operators: two per DNS request, each message that arrives twice, each start
/// without peers.
const QUIET: &str = "libp2p_gossipsub=error,libp2p_kad=error,libp2p_swarm=warn";

/// The filter that a level or a list of directives stands for.
pub(crate) fn filter(level: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(format!("{QUIET},{level}")).map_err(|error| format!("{level:?} is no log filter: {error}"))
}

/// Installs the subscriber. A second call (in tests) changes nothing.
pub fn init(config: &LogConfig) -> Result<(), String> {
    let registry = tracing_subscriber::registry().with(filter(&config.level)?);
    let stderr = std::io::stderr;
    let installed = match config.format {
        LogFormat::Text => registry.with(fmt::layer().with_ansi(stderr().is_terminal()).with_writer(stderr)).try_init(),
        LogFormat::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(stderr)).try_init(),
    };
    // Already installed is the only reason to fail.
    drop(installed);
    Ok(())
}

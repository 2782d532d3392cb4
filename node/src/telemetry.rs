//! Logging: one subscriber for the process, writing to standard error.

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::config::{LogConfig, LogFormat};

/// Two `info` lines per DNS request are not for operators.
const QUIET: &str = "hickory_server=warn";

/// The filter that a level or a list of directives stands for.
pub(crate) fn filter(level: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(format!("{QUIET},{level}")).map_err(|error| format!("{level:?} is no log filter: {error}"))
}

/// Installs the subscriber. A second call (in tests) changes nothing.
pub fn init(config: &LogConfig) -> Result<(), String> {
    let registry = tracing_subscriber::registry().with(filter(&config.level)?);
    let installed = match config.format {
        LogFormat::Text => registry.with(fmt::layer().with_writer(std::io::stderr)).try_init(),
        LogFormat::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init(),
    };
    // Already installed is the only reason to fail.
    drop(installed);
    Ok(())
}

//! Logging: one subscriber for the process, writing to standard error.

use std::io::IsTerminal as _;

use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, Registry, fmt, prelude::*, reload};

/// How log lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The `[log]` section.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// A level, or directives such as `info,node::p2p=debug`.
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

impl LogConfig {
    /// Whether the level can be followed.
    pub(crate) fn check(&self) -> Result<(), String> {
        filter(&self.level).map(drop).map_err(|reason| format!("log.level: {reason}"))
    }
}

/// Libraries whose lines are not for operators: each message that arrives twice, each start without peers; and each DNS
/// message that is damaged, forged or in the wrong letter case, which strangers can send at will, some with the name that
/// somebody has asked for.
const QUIET: &str = "libp2p_gossipsub=error,libp2p_kad=error,libp2p_swarm=warn,hickory_net=error,hickory_proto=error";

/// The filter that a level or a list of directives stands for.
fn filter(level: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(format!("{QUIET},{level}")).map_err(|error| format!("{level:?} is no log filter: {error}"))
}

/// Changes what is logged while the process runs.
#[derive(Clone, Debug)]
pub struct Level(reload::Handle<EnvFilter, Registry>);

impl Level {
    /// Logs by this level or list of directives from now on.
    pub fn set(&self, level: &str) -> Result<(), String> {
        // Fails only when the subscriber is gone, at the end of the process.
        self.0.reload(filter(level)?).map_err(|error| error.to_string())
    }
}

/// Installs the subscriber. A second call (in tests) changes nothing.
pub fn init(config: &LogConfig) -> Result<Level, String> {
    let (filter, handle) = reload::Layer::new(filter(&config.level)?);
    let registry = tracing_subscriber::registry().with(filter);
    let stderr = std::io::stderr;
    let installed = match config.format {
        LogFormat::Text => registry.with(fmt::layer().with_ansi(stderr().is_terminal()).with_writer(stderr)).try_init(),
        LogFormat::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(stderr)).try_init(),
    };
    // Already installed is the only reason to fail.
    drop(installed);
    Ok(Level(handle))
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(level: &str, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(filter(level).expect("a filter")).with(layer);
        tracing::subscriber::with_default(subscriber, log);
        let bytes = lines.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn what_strangers_can_cause_is_not_logged_unless_asked_for() {
        let log = || {
            tracing::warn!(target: "hickory_net", "forged");
            tracing::warn!(target: "hickory_proto", "damaged");
            tracing::warn!(target: "resolver::zones::hosts", "ours");
        };
        for level in ["info", "debug"] {
            let text = lines(level, log);
            assert!(text.contains("ours") && !text.contains("forged") && !text.contains("damaged"), "{text}");
        }
        assert!(lines("info,hickory_net=warn", log).contains("forged"));
    }

    #[test]
    fn the_level_changes_while_the_process_runs() {
        let lines = Lines::default();
        let writer = lines.clone();
        let (layer, handle) = reload::Layer::new(filter("warn").expect("a filter"));
        let level = Level(handle);
        let out = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer).with(out);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("before");
            level.set("info").expect("it runs");
            tracing::info!("after");
            assert!(level.set("a=b=c").expect_err("no filter").contains("is no log filter"));
            tracing::info!("still");
        });
        let text = String::from_utf8(lines.0.lock().expect("not poisoned").clone()).expect("text");
        assert!(!text.contains("before") && text.contains("after") && text.contains("still"), "{text}");
    }
}

//! Logging: one subscriber for the process, writing to standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::config::{LogConfig, LogFormat};

/// Libraries whose lines are not for operators: each message that arrives twice, each start without peers; and each DNS
/// message that is damaged, forged or in the wrong letter case, which strangers can send at will, some with the name that
/// somebody has asked for.
const QUIET: &str = "libp2p_gossipsub=error,libp2p_kad=error,libp2p_swarm=warn,hickory_net=error,hickory_proto=error";

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
            tracing::warn!(target: "resolver::hosts", "ours");
        };
        for level in ["info", "debug"] {
            let text = lines(level, log);
            assert!(text.contains("ours") && !text.contains("forged") && !text.contains("damaged"), "{text}");
        }
        assert!(lines("info,hickory_net=warn", log).contains("forged"));
    }
}

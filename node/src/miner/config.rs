//! The `[mining]` section.

use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};

/// When to mine for its own sake.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MiningMode {
    /// Gently, while it makes sense.
    #[default]
    Auto,
    /// With all threads given.
    On,
    /// Never; operations are still worked for.
    Off,
}

/// The `[mining]` section of the configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MiningConfig {
    /// `auto`, `on` or `off`.
    pub mode: MiningMode,
    /// Threads for operations and for mode `on`; all processors if absent.
    pub threads: Option<usize>,
    /// Percent of the time that a thread mining for its own sake works: 25 in mode `auto`, 100 in mode `on` if absent.
    pub duty: Option<u8>,
    /// Mine although no peer is connected and nobody says what the tip is: the first node of a new network.
    pub solo: bool,
}

/// Most threads: beyond this the memory of Argon2d (1 MiB each) no longer fits any cache.
pub(crate) const MAX_THREADS: usize = 256;

impl MiningConfig {
    /// Why the section cannot be used, in a sentence.
    pub fn check(&self) -> Result<(), String> {
        if self.threads.is_some_and(|threads| !(1..=MAX_THREADS).contains(&threads)) {
            return Err(format!("mining.threads must be from 1 to {MAX_THREADS}"));
        }
        if self.duty.is_some_and(|duty| !(1..=100).contains(&duty)) {
            return Err("mining.duty is a percentage and must be from 1 to 100".to_owned());
        }
        Ok(())
    }

    /// Threads for operations and mode `on`.
    pub fn full_threads(&self) -> usize {
        self.threads.unwrap_or_else(|| available_parallelism().map_or(1, usize::from)).clamp(1, MAX_THREADS)
    }
}

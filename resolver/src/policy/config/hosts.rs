//! `dns.hosts`: one path, or a list of paths.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;

/// The HOSTS files whose names are answered before the ledger is asked. None by default.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "OneOrMany")]
pub struct HostsPaths(pub Vec<PathBuf>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a path, or a list of paths")]
enum OneOrMany {
    One(PathBuf),
    Many(Vec<PathBuf>),
}

impl From<OneOrMany> for HostsPaths {
    fn from(paths: OneOrMany) -> Self {
        match paths {
            OneOrMany::One(path) => Self(vec![path]),
            OneOrMany::Many(paths) => Self(paths),
        }
    }
}

impl HostsPaths {
    /// Checks what can be checked without reading the files.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        match self.0.iter().find(|path| !path.is_absolute()) {
            Some(path) => Err(ConfigError::HostsPath(path.clone())),
            None => Ok(()),
        }
    }
}

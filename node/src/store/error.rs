//! What can go wrong with the database.

use std::path::{Path, PathBuf};

/// Why the database did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The directory holds something else.
    #[error("{path} is not empty and holds no Namestead database; choose another data directory")]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },
    /// Another version of this program wrote it.
    #[error(
        "{path} has database format {got}, this program reads format {expected}; use the program that wrote it, or move the directory away to sync again"
    )]
    OtherFormat {
        /// The directory.
        path: PathBuf,
        /// The format found.
        got: u32,
        /// The format of this program.
        expected: u32,
    },
    /// It belongs to another network.
    #[error("{path} is a database of network {got}, this node runs {expected}; choose another data directory")]
    OtherNetwork {
        /// The directory.
        path: PathBuf,
        /// The network found.
        got: String,
        /// This node's network.
        expected: String,
    },
    /// The network's name fits but its parameters differ: another genesis.
    #[error(
        "{path} belongs to a {network} network with another genesis ({got}, expected {expected}); choose another data directory"
    )]
    OtherChain {
        /// The directory.
        path: PathBuf,
        /// The network's name.
        network: String,
        /// Short form of the CHAIN_ID found.
        got: String,
        /// Short form of this node's CHAIN_ID.
        expected: String,
    },
    /// Another process has it open.
    #[error("{path} is in use by another process")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// What is stored cannot be what was written.
    #[error(
        "the database is damaged: {what}. Run `namestead db verify` to see how far it can be trusted, or move the data directory away to sync again"
    )]
    Corrupt {
        /// What was found.
        what: String,
    },
    /// No room for a write.
    #[error("the disk is full")]
    DiskFull,
    /// Reading or writing failed otherwise; after a failed write nothing more may be written.
    #[error("the database failed: {message}")]
    Io {
        /// RocksDB's words.
        message: String,
    },
}

impl StoreError {
    /// Something stored is not what it must be.
    pub(crate) fn corrupt(what: impl std::fmt::Display) -> Self {
        Self::Corrupt { what: what.to_string() }
    }

    pub(super) fn opening(path: &Path, error: &rocksdb::Error) -> Self {
        let message = error.to_string();
        if message.contains("lock") && error.kind() == rocksdb::ErrorKind::IOError {
            return Self::Locked { path: path.to_owned() };
        }
        Self::from(error)
    }

    /// Stable machine-readable code, `snake_case`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotOurs { .. } => "not_a_database",
            Self::OtherFormat { .. } => "other_format",
            Self::OtherNetwork { .. } => "other_network",
            Self::OtherChain { .. } => "other_chain",
            Self::Locked { .. } => "database_locked",
            Self::Corrupt { .. } => "database_corrupt",
            Self::DiskFull => "disk_full",
            Self::Io { .. } => "database_failed",
        }
    }
}

impl From<rocksdb::Error> for StoreError {
    fn from(error: rocksdb::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&rocksdb::Error> for StoreError {
    fn from(error: &rocksdb::Error) -> Self {
        let message = error.to_string();
        // RocksDB's error has no code for a full disk; these are its own word and the system's.
        if message.contains("No space left") || message.contains("NoSpace") || message.contains("Disk quota") {
            return Self::DiskFull;
        }
        match error.kind() {
            rocksdb::ErrorKind::Corruption => Self::Corrupt { what: message },
            _ => Self::Io { message },
        }
    }
}

//! What can go wrong, as people and programs see it: a code, an exit code, and what to do.

use std::borrow::Cow;

use node::{
    api::client::ClientError,
    keys::{FileError, VaultError, WalletError},
};

/// Exit codes. They are part of the interface and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Anything without a code of its own.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The name, operation or file does not exist.
    NotFound = 3,
    /// The rules of the ledger, or of this program's safety, refuse.
    Refused = 4,
    /// No node answers.
    Unreachable = 5,
    /// The node is behind the network.
    NotSynced = 6,
    /// Waiting ended; the operation goes on.
    Continuing = 7,
    /// No passphrase, or a wrong one.
    Locked = 8,
    /// A proof or signature is bad.
    BadProof = 9,
    /// A plan has changes.
    Pending = 10,
    /// Names expire in the given time.
    Expiring = 12,
    /// Ctrl-C; the operation goes on.
    Interrupted = 130,
}

/// A failure: what, why, and the command that fixes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub exit: Exit,
    pub code: Cow<'static, str>,
    pub message: String,
    pub why: String,
    pub fix: Vec<String>,
}

impl Failure {
    pub fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self { exit, code: code.into(), message: message.into(), why: String::new(), fix: Vec::new() }
    }

    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix.push(fix.into());
        self
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unreachable { endpoint, reason } => {
                Self::new(Exit::Unreachable, "node_unreachable", format!("no node answers at {endpoint}"))
                    .why(reason)
                    .fix("namestead run --config FILE        # start a node")
                    .fix("namectl --node http://HOST:PORT …  # or name the one to use")
            }
            ClientError::Timeout(after) => {
                Self::new(Exit::Unreachable, "node_timeout", format!("the node gave no answer within {after:?}"))
                    .why("it may be busy or stopping")
                    .fix("namectl status")
            }
            ClientError::Decode(reason) => Self::new(Exit::Failure, "bad_answer", "the node's answer cannot be read")
                .why(reason)
                .fix("use a namectl of the same version as the node: namectl --version; namectl status"),
            ClientError::Api { status, code, message, why, fix } => {
                Self { exit: exit_of(status, &code), code: code.into(), message, why, fix }
            }
        }
    }
}

fn exit_of(status: u16, code: &str) -> Exit {
    match status {
        _ if code.contains("not_synced") => Exit::NotSynced,
        404 => Exit::NotFound,
        400 | 409 | 410 | 413 | 422 => Exit::Refused,
        503 => Exit::NotSynced,
        _ => Exit::Failure,
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let message = error.to_string();
        match error {
            FileError::Absent(_) => Self::new(Exit::Locked, "no_keys", message)
                .why("registering and changing names needs keys")
                .fix("namectl keys new       # make new ones")
                .fix("namectl keys restore   # or take them from your words"),
            FileError::Exists(path) => Self::new(Exit::Refused, "keys_exist", message)
                .why("a second file in its place would hide the keys in it")
                .fix("namectl keys list")
                .fix(format!("mv {0} {0}.old", path.display())),
            FileError::Vault(path, VaultError::Passphrase) => {
                Self::new(Exit::Locked, "wrong_passphrase", format!("wrong passphrase for {}", path.display()))
                    .why("the file is intact, but this passphrase does not open it")
                    .fix("try again; without the passphrase the words still restore everything: namectl keys restore")
            }
            FileError::Vault(..) | FileError::Content(_) => Self::new(Exit::Failure, "keys_damaged", message)
                .why("the file was left as it is")
                .fix("use a copy, or restore from your words: namectl --keys NEWFILE keys restore"),
            FileError::Changed(_) => Self::new(Exit::Failure, "keys_changed", message).fix("run the command again"),
            FileError::Busy(_) => Self::new(Exit::Failure, "keys_busy", message)
                .why("nothing was changed")
                .fix("wait for the other command, or end it; then run this one again"),
            FileError::DeadLink(_) => Self::new(Exit::Locked, "keys_away", message)
                .why("the keys are where it leads, when that is there")
                .fix("plug in or mount where it leads to, and run the command again"),
            FileError::MountPoint(_) => Self::new(Exit::Failure, "keys_mounted", message)
                .why("nothing was changed; a new version is put in the place of the old one, so that none is half written")
                .fix("mount the folder that the file is in, and not the file alone")
                .fix("namectl --keys FILE …    # or keep the keys elsewhere"),
            FileError::Wallet(error) => error.into(),
            FileError::Io(..) => Self::new(Exit::Failure, "keys_io", message).why("nothing was changed"),
            FileError::Randomness(_) => Self::new(Exit::Failure, "no_randomness", message),
        }
    }
}

impl From<WalletError> for Failure {
    fn from(error: WalletError) -> Self {
        Self::new(Exit::Refused, "wallet_full", error.to_string()).fix("namectl --keys NEWFILE keys new")
    }
}

//! Names and addresses from HOSTS files: the operator's own answers, in front of the ledger and of forwarding.
//!
//! A [`Hosts`] is an immutable snapshot of all files, made by [`Reading`] and looked up by wire name; `HostsFiles`
//! holds the newest one and makes another when a file changes. What an answer from it says is decided in
//! [`answer`](crate::zones::answer).
//!
//! The format is that of hosts(5): an address, names, `#` before remarks. Several lines about one name add up. The
//! reverse name of an address points to the first name that the files give it.

mod files;
mod names;
mod read;

pub(crate) use files::HostsFiles;
pub use files::{HostsError, MAX_FILE_BYTES};
pub(crate) use names::Host;
pub use names::{Audience, Hosts, HostsView, TTL_S};
pub use read::{Line, LineError, MAX_ADDRESSES, MAX_LINE_BYTES, MAX_NAMES, Problem, Reading, Skipped, lines};

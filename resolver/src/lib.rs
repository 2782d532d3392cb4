//! A name table, served as DNS.
//!
//! The node publishes what each block changes; clients ask for `<name>.p2p` and get answers from one immutable
//! snapshot. Seven rooms, each of which imports only those before it:
//!
//! ```text
//! dns ─→ names ─→ zones ─→ policy ─→ metrics ─→ out ─→ serve
//! ```
//!
//! - [`dns`]: names, record data, the reader and the writer of messages.
//! - [`names`]: what the resolver needs from the ledger ([`names::source`]); [`names::table`] is a ready-made implementation.
//! - [`zones`]: DNS semantics without sockets, clock or randomness ([`zones::answer`]); HOSTS files in front of them; signatures.
//! - [`policy`]: the `[dns]` section, and who is served.
//! - `metrics`: Prometheus.
//! - [`out`]: upstreams, delegated servers, secondaries.
//! - [`serve`]: the sockets, and one query from bytes to bytes.
//!
//! This package knows no database and no peer. Answers from the ledger are made anew each time; those of upstreams are
//! kept for their TTL.

pub mod dns;
pub mod metrics;
pub mod names;
pub mod out;
pub mod policy;
pub mod serve;
pub mod zones;

mod file;
mod rarely;

pub use metrics::DnsMetrics;
pub use names::source::{Entry, Facts, Life, NameSource, NameView, Readiness, Version};
pub use names::table::{Block, Filling, HistoryLimits, SharedTable};
pub use policy::config::{AuthorityConfig, DnsConfig, Dnssec, HostsPaths, guard::GuardConfig};
pub use rarely::Rarely;
pub use serve::server::Resolver;

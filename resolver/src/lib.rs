//! A name table, served as DNS.
//!
//! The node publishes what each block changes; clients ask for `<name>.p2p` and get answers from one immutable
//! snapshot. A query goes one way through the modules:
//!
//! ```text
//! server ─ handler ─ query ─→ answer (pure) ─→ sign ─→ message ─ server
//!    │                         │  ▲      └─ elsewhere ─→ forward
//!    │                site ────┘  └──── source: NameView ←─ table ←─ the node
//!    ├ wire (UDP) ─ plain queries ─→ answer::plain ─→ wire
//!    └ connection (TCP, TLS, HTTPS, QUIC)
//! ```
//!
//! - [`hosts`]: names from HOSTS files, in front of everything.
//! - [`source`]: what the resolver needs from the ledger; [`table`] is a ready-made implementation.
//! - [`answer`]: DNS semantics without sockets, clock or randomness; [`site`] and [`query`] are its other inputs.
//! - [`sign`]: DNSSEC signatures for clients that ask for them, and the node's key.
//! - `guard`: who is served, and how much strangers get.
//! - [`server`]: the sockets; [`wire`]: UDP, with a fast path for plain queries; [`forward`]: everything that is not
//!   ours.
//! - [`transfer`]: the zones for secondaries; what they hold is decided by [`table`] and the same entries.
//! - [`certificate`]: what encrypted transports prove themselves with.
//! - [`config`], [`metrics`]: the `[dns]` section, and Prometheus.
//!
//! This package knows no database and no peer. Answers from the ledger are made anew each time; those of upstreams are
//! kept for their TTL.

pub mod config;
pub mod server;
pub mod wire;

mod connection;
mod delegation;
mod exchange;
mod handler;
mod inside;
mod intake;

pub mod certificate;
mod discovery;
mod file;
mod guard;
pub mod hosts;

pub mod answer;
pub mod sign;
pub mod site;

pub mod forward;
mod message;
mod notify;
mod target;
pub mod transfer;

pub mod query;
pub mod source;
pub mod table;
mod view;

pub mod dname;
mod dns;
pub mod rdata;
pub mod records;
pub mod rtype;

pub mod metrics;
mod rarely;

pub use config::{AuthorityConfig, DnsConfig, Dnssec, HostsPaths, guard::GuardConfig};
pub use metrics::DnsMetrics;
pub use rarely::Rarely;
pub use server::Resolver;
pub use source::{Entry, Facts, Life, NameSource, NameView, Readiness, Version};
pub use table::{Block, Filling, HistoryLimits, SharedTable};

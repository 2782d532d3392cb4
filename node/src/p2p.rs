//! The network: libp2p over QUIC and over TCP with Noise and yamux (protocol §10).
//!
//! For: connections, gossip, questions and answers, the address book, limits and bans. Not for: deciding what to ask
//! (that is [`crate::sync`]) or what is valid (that is [`crate::chain`]). libp2p appears in this folder and nowhere else.
//!
//! One task owns the swarm and the synchronisation; it never waits for anything but the next event. Whatever takes time
//! (judging, decoding, reading the database) is a job beside it, and the number of jobs of each kind is bounded.
//!
//! `build`, `requests`, [`compact`], [`gossip`] and [`transport`] are public for peers that are no nodes: `testnet/adversary`, which has
//! to speak exactly what nodes speak.
//!
//! Reading order: [`config`], [`message`], `behaviour`, `service`, [`handle`]; `relay` for what helps nodes behind routers.

pub mod address_book;
pub mod client;
pub mod compact;
pub mod config;
pub mod gossip;
pub mod handle;
pub mod message;
pub mod netgroup;
pub mod stats;
pub mod transport;

mod ask_back;
mod asked_dials;
mod bans;
mod behaviour;
mod chain_port;
mod clone_watch;
mod configured;
mod dial_back;
mod dial_failure;
mod error;
mod half_open;
mod identity;
mod limits;
mod listeners;
mod places;
mod reachability;
mod relay;
mod serve;
mod service;
mod standing;

pub use behaviour::{build, requests};
pub use chain_port::relay_of_rejection;
pub use config::Config;
pub use configured::{ConfiguredPeer, ConfiguredState};
pub use dial_failure::DialFailure;
pub use error::P2pError;
pub use handle::{P2pHandle, PeerInfo, Route, Surroundings};
pub use libp2p::{Multiaddr, PeerId};
pub use reachability::Reachable;
pub use service::{Deps, spawn};
pub use standing::Home;
pub use stats::StatsSnapshot;

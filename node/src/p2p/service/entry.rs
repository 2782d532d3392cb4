//! What the network task remembers of a connected peer.

use std::time::{Duration, Instant};

use libp2p::Multiaddr;

use crate::{
    p2p::{dial_failure::DialFailure, standing::Standing},
    sync::Direction,
};

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// This node chose the peer; the connection holds one of its outbound places.
    Chosen,
    /// This node wants to know whether the peer is there, and no more.
    Feeler,
    /// The peer came by itself, or libp2p opened the connection to find others. It holds one of the places that have to
    /// be shared.
    Shared,
}

/// One connected peer.
pub struct Connected {
    pub direction: Direction,
    pub purpose: Purpose,
    pub standing: Standing,
    pub address: Multiaddr,
    pub since: Instant,
    /// Its number in the order of arrival.
    pub serial: u64,
    pub agent: String,
    pub ping: Option<Duration>,
    /// Number of the last new block that it brought.
    pub last_block: Option<u64>,
    /// Whether its mempool was looked into since it came.
    pub pool_seen: bool,
    /// Why this node lets it go, once it does.
    pub let_go: Option<DialFailure>,
}

/// How a connection ended.
pub struct Ended {
    pub direction: Direction,
    pub purpose: Purpose,
    pub standing: Standing,
    pub why: DialFailure,
}

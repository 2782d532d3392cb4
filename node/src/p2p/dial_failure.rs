//! Why a peer is not reached, in plain English and as a code.
//!
//! For: the log, `status` and the list of peers; and for how long to leave an address alone. Not for: deciding whom to
//! dial (`configured`, `address_book`).

use std::{error::Error, fmt, io};

use ledger::params::Network;
use libp2p::{Multiaddr, PeerId, TransportError, dns::ResolveError, swarm::DialError};

use super::standing::Home;

/// Why a dial, or the connection that came of it, is of no use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DialFailure {
    /// It is an address of this node.
    OwnAddress,
    /// A node with this node's identity answers at an address that is not known to be its own.
    OwnIdentity,
    /// Another peer than the expected one answers.
    OtherPeer(PeerId),
    /// A node of another network, or no node of ours at all.
    NotHere {
        /// What answers there.
        home: Home,
        /// The network of this node.
        ours: Network,
    },
    /// Nobody listens.
    Refused,
    /// No answer to the attempt to connect.
    NoAnswer,
    /// No way there.
    NoRoute,
    /// The host name has no address.
    Unresolvable,
    /// Something answers that speaks another language, or hangs up before it has said who it is.
    NotLibp2p,
    /// The address is of a kind that this node cannot dial.
    BadAddress,
    /// This node has banned it.
    BannedHere,
    /// This node has no place for another connection.
    FullHere,
    /// It lacks old blocks that this node needs, and its place goes to another peer.
    Lacking,
    /// The relay that should lead to it does not.
    RelayRefused,
    /// It was met through a relay, and no direct connection came of it.
    NotDirect,
    /// It closed the connection before it had said anything.
    ClosedAtOnce,
    /// It is connected, but does not tell its status.
    Silent,
    /// The connection ended.
    Lost,
    /// Anything else, as the network library says it.
    Other(String),
}

impl DialFailure {
    /// What a failed dial means.
    pub fn of(error: &DialError, is_own: impl Fn(&Multiaddr) -> bool) -> Self {
        match error {
            DialError::LocalPeerId { address } if is_own(address) => Self::OwnAddress,
            DialError::LocalPeerId { .. } => Self::OwnIdentity,
            DialError::NoAddresses => Self::BadAddress,
            DialError::WrongPeerId { obtained, .. } => Self::OtherPeer(*obtained),
            DialError::Denied { cause } if is_caused_by_ban(cause) => Self::BannedHere,
            DialError::Denied { .. } => Self::FullHere,
            DialError::Transport(errors) => match errors.first() {
                Some((_, error)) => Self::of_transport(error),
                None => Self::BadAddress,
            },
            DialError::DialPeerConditionFalse(_) | DialError::Aborted => Self::Other(error.to_string()),
        }
    }

    fn of_transport(error: &TransportError<io::Error>) -> Self {
        match error {
            TransportError::MultiaddrNotSupported(_) => Self::BadAddress,
            TransportError::Other(error) => causes(error).find_map(Self::of_cause).unwrap_or(Self::NotLibp2p),
        }
    }

    /// What one link of a chain of causes says, if it is one that says it clearly.
    fn of_cause(cause: &(dyn Error + 'static)) -> Option<Self> {
        if cause.is::<ResolveError>() {
            return Some(Self::Unresolvable);
        }
        if let Some(error) = cause.downcast_ref::<io::Error>()
            && let Some(failure) = Self::of_kind(error.kind())
        {
            return Some(failure);
        }
        // Some wrappers hide the error that they hold, but speak its words.
        if let Some(kind) = os_error_kind(&cause.to_string()) {
            return Self::of_kind(kind);
        }
        // The types of these name all transports below or beside them, so only their words are at hand.
        let words = cause.to_string();
        match words.as_str() {
            "Timeout has been reached" | "Handshake with the remote timed out." => Some(Self::NoAnswer),
            "Relay has no reservation for destination."
            | "Remote reported resource limit exceeded."
            | "Relay failed to connect to destination."
            | "Remote denied permission." => Some(Self::RelayRefused),
            _ => None,
        }
    }

    fn of_kind(kind: io::ErrorKind) -> Option<Self> {
        match kind {
            io::ErrorKind::ConnectionRefused => Some(Self::Refused),
            io::ErrorKind::TimedOut => Some(Self::NoAnswer),
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::PermissionDenied => Some(Self::NoRoute),
            _ => None,
        }
    }

    /// A short name, for logs and programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OwnAddress => "own_address",
            Self::OwnIdentity => "own_identity",
            Self::OtherPeer(_) => "other_peer",
            Self::NotHere { home: Home::OtherNetwork(_), .. } => "other_network",
            Self::NotHere { home: Home::OtherProgram | Home::Here, .. } => "other_program",
            Self::Refused => "refused",
            Self::NoAnswer => "no_answer",
            Self::NoRoute => "no_route",
            Self::Unresolvable => "unresolvable",
            Self::NotLibp2p => "not_libp2p",
            Self::BadAddress => "bad_address",
            Self::BannedHere => "banned_here",
            Self::FullHere => "full_here",
            Self::Lacking => "lacking",
            Self::RelayRefused => "relay_refused",
            Self::NotDirect => "not_direct",
            Self::ClosedAtOnce => "closed_at_once",
            Self::Silent => "silent",
            Self::Lost => "lost",
            Self::Other(_) => "other",
        }
    }

    /// Whether it will stay like this until somebody changes a configuration. Such peers are tried rarely.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::OwnAddress
            | Self::OwnIdentity
            | Self::OtherPeer(_)
            | Self::NotHere { .. }
            | Self::BadAddress
            // Routers do not change from one minute to the next, and each attempt costs a relay.
            | Self::NotDirect => true,
            Self::Refused
            | Self::NoAnswer
            | Self::NoRoute
            | Self::Unresolvable
            | Self::NotLibp2p
            | Self::BannedHere
            | Self::FullHere
            | Self::Lacking
            | Self::RelayRefused
            | Self::ClosedAtOnce
            | Self::Silent
            | Self::Lost
            | Self::Other(_) => false,
        }
    }
}

impl fmt::Display for DialFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::OwnAddress => "this is this node's own address",
            Self::OwnIdentity => {
                "a node with this node's identity answers there: a copy of its data directory, or this node itself \
                 under an address that it does not know"
            }
            Self::OtherPeer(peer) => return write!(f, "another peer answers there: {peer}"),
            Self::NotHere { home, ours } => return write!(f, "it belongs to {home}, this node to the network {ours}"),
            Self::Refused => "connection refused: nothing listens there",
            Self::NoAnswer => "no answer: the address is wrong, the host is down, or a firewall drops the packets",
            Self::NoRoute => "this machine has no route to the address",
            Self::Unresolvable => "the host name has no address",
            Self::NotLibp2p => "something answers there, but it is no Namestead node, or takes no connections now",
            Self::BadAddress => "this kind of address cannot be dialled",
            Self::BannedHere => "this node has banned it for a while",
            Self::FullHere => "this node has too many connections already",
            Self::Lacking => "it lacks old blocks that this node needs",
            Self::RelayRefused => {
                "the relay does not lead there now: it does not know the peer, or has done enough for a while"
            }
            Self::NotDirect => {
                "a relay leads to it, but no direct connection came of it: one of the two routers does not let it through"
            }
            Self::ClosedAtOnce => {
                "it closed the connection at once: it is full, has banned this node, or is connected to another node \
                 with the same identity"
            }
            Self::Silent => "it is connected, but does not answer",
            Self::Lost => "the connection was lost",
            Self::Other(text) => text,
        };
        f.write_str(text)
    }
}

fn is_caused_by_ban(cause: &libp2p::swarm::ConnectionDenied) -> bool {
    cause.downcast_ref::<libp2p::allow_block_list::Blocked>().is_some()
}

/// The kind of an error of the operating system, from its words: "Connection refused (os error 111)".
fn os_error_kind(words: &str) -> Option<io::ErrorKind> {
    let (_, tail) = words.rsplit_once("(os error ")?;
    let (number, _) = tail.split_once(')')?;
    Some(io::Error::from_raw_os_error(number.parse().ok()?).kind())
}

/// An error and what caused it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause_of(*error))
}

/// An `io::Error` that wraps another error hides it from `source`.
fn cause_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_io(error: io::Error, expected: DialFailure) {
        let address: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().expect("an address");
        // As libp2p hands it over: wrapped twice.
        let wrapped = io::Error::other(io::Error::other(error));
        let error = DialError::Transport(vec![(address, TransportError::Other(wrapped))]);
        assert_eq!(DialFailure::of(&error, |_| false), expected);
    }

    #[test]
    fn the_cause_is_found_below_its_wrappers() {
        check_io(io::ErrorKind::ConnectionRefused.into(), DialFailure::Refused);
        check_io(io::Error::from_raw_os_error(libc::EHOSTUNREACH), DialFailure::NoRoute);
        check_io(io::Error::from_raw_os_error(libc::ENETUNREACH), DialFailure::NoRoute);
        check_io(io::Error::from_raw_os_error(libc::ETIMEDOUT), DialFailure::NoAnswer);
        check_io(io::Error::other("Timeout has been reached"), DialFailure::NoAnswer);
        check_io(io::Error::other(libp2p::quic::Error::HandshakeTimedOut), DialFailure::NoAnswer);
        check_io(io::ErrorKind::ConnectionReset.into(), DialFailure::NotLibp2p);
        check_io(io::Error::other(ResolveError::from("no such name")), DialFailure::Unresolvable);
        check_io(io::ErrorKind::InvalidData.into(), DialFailure::NotLibp2p);
        check_io(io::Error::other("Relay has no reservation for destination."), DialFailure::RelayRefused);
        check_io(io::Error::other("Left(Connection refused (os error 111))"), DialFailure::Refused);
    }

    #[test]
    fn own_addresses_are_told_from_copies() {
        let address: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().expect("an address");
        let error = DialError::LocalPeerId { address };
        assert_eq!(DialFailure::of(&error, |_| true), DialFailure::OwnAddress);
        assert_eq!(DialFailure::of(&error, |_| false), DialFailure::OwnIdentity);
    }

    #[test]
    fn another_network_is_named() {
        let home = Home::OtherNetwork(Some(Network::Test));
        let failure = DialFailure::NotHere { home, ours: Network::Local };
        assert_eq!(failure.to_string(), "it belongs to the network test, this node to the network local");
        assert!(failure.is_lasting());
    }
}

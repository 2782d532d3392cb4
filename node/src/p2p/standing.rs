//! Who is at the other end of a connection: a node of this network, a client, or somebody who went astray.
//!
//! A connection alone says nothing: nodes of another network, crawlers and other programs connect as well. Only a node
//! that answered for this network's chain counts as a peer. Sans-IO: reads what identify reports.

use std::fmt;

use ledger::{hash::Hash, params::Network};
use libp2p::StreamProtocol;

use super::gossip::chain_prefix;

/// What a connected peer has turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Not known yet.
    New,
    /// It told its status on this network's chain.
    Node,
    /// It asks and does not answer: a light client. It takes a place, and counts as no peer.
    Client,
}

/// Whose protocols a peer speaks, as it says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// This network's.
    Here,
    /// Another network's of ours, by name if this version knows it.
    OtherNetwork(Option<Network>),
    /// None of ours.
    OtherProgram,
}

/// How the protocol names of each network begin. Made once: a CHAIN_ID is a hash over all that the network fixes.
#[derive(Clone, Debug)]
pub struct Homes {
    own: String,
    known: [(Network, String); 3],
}

impl Homes {
    /// Seen from a node of the network with this CHAIN_ID.
    pub fn new(chain_id: &Hash) -> Self {
        let known = [Network::Main, Network::Test, Network::Local]
            .map(|network| (network, chain_prefix(&network.params().chain_id())));
        Self { own: chain_prefix(chain_id), known }
    }

    /// Reads whose protocols a peer speaks from what identify reports: the version of the protocol family, and the
    /// protocols.
    pub fn home_of(&self, version: &str, protocols: &[StreamProtocol]) -> Home {
        let names = || protocols.iter().map(AsRef::as_ref).chain([version]);
        let prefixes = || names().filter_map(|name: &str| name.strip_prefix("/namestead/")?.split('/').next());
        if prefixes().any(|prefix| prefix == self.own) {
            return Home::Here;
        }
        match prefixes().next() {
            Some(prefix) => Home::OtherNetwork(self.network_of(prefix)),
            None => Home::OtherProgram,
        }
    }

    /// The network whose protocol names begin like this.
    fn network_of(&self, prefix: &str) -> Option<Network> {
        self.known.iter().find(|(_, known)| known == prefix).map(|(network, _)| *network)
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here => write!(f, "this network"),
            Self::OtherNetwork(Some(network)) => write!(f, "the network {network}"),
            Self::OtherNetwork(None) => write!(f, "another network or another version of this one"),
            Self::OtherProgram => write!(f, "another program"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: &str, protocols: &[&str], expected: Home) {
        let protocols: Vec<_> = protocols
            .iter()
            .map(|name| StreamProtocol::try_from_owned((*name).to_owned()).expect("begins with a slash"))
            .collect();
        assert_eq!(
            Homes::new(&Network::Local.params().chain_id()).home_of(version, &protocols),
            expected,
            "{version} {protocols:?}"
        );
    }

    #[test]
    fn who_is_who() {
        let name =
            |network: Network, kind: &str| format!("/namestead/{}/{kind}", chain_prefix(&network.params().chain_id()));
        let (own, other) = (name(Network::Local, "request/1"), name(Network::Test, "request/1"));
        check("", &["/ipfs/ping/1.0.0", &own], Home::Here);
        // One protocol of ours is enough, and so is the version: whoever serves only a part of them is at home here.
        check(&name(Network::Local, "1"), &["/ipfs/ping/1.0.0"], Home::Here);
        check("", &[&other, &own], Home::Here);
        check(&name(Network::Test, "1"), &[&other], Home::OtherNetwork(Some(Network::Test)));
        check("", &["/namestead/00000000/request/1"], Home::OtherNetwork(None));
        check("ipfs/0.1.0", &["/ipfs/kad/1.0.0", "/ipfs/id/1.0.0"], Home::OtherProgram);
        check("", &[], Home::OtherProgram);
    }
}

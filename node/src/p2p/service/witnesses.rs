//! How many independent networks agree with this node's chain.
//!
//! Behind a proxy, a container's network or Tor everybody who comes seems to be at home. So only peers that this node
//! chose are taken for what their address says; whoever comes by itself counts as its group.

use std::collections::BTreeSet;

use ledger::params::Network;

use crate::{
    p2p::{netgroup::Netgroup, service::entry::Purpose},
    sync::WITNESSES,
};

use super::state::Service;

/// A peer that agrees with our chain.
struct Agreeing {
    group: Netgroup,
    purpose: Purpose,
    is_configured: bool,
}

impl Service {
    /// Networks of the peers that agree with our chain. One that the operator has named, or that this node chose at home,
    /// is worth as much as two others; on one machine or LAN everybody is at home.
    pub(super) fn witnesses(&self) -> usize {
        let agreeing = self.sync.agreeing().filter_map(|peer| {
            let entry = self.connected.get(peer)?;
            let is_configured = self.dialing.configured.names(peer);
            Some(Agreeing { group: Netgroup::of(&entry.address), purpose: entry.purpose, is_configured })
        });
        count(self.params.network, agreeing)
    }
}

fn count(network: Network, agreeing: impl Iterator<Item = Agreeing>) -> usize {
    let mut groups = BTreeSet::new();
    for peer in agreeing {
        let is_known_home = network == Network::Local || peer.purpose == Purpose::Chosen;
        if peer.is_configured || (peer.group.is_exempt() && is_known_home) {
            return WITNESSES.max(groups.len());
        }
        groups.insert(peer.group);
    }
    groups.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(network: Network, agreeing: &[(Netgroup, Purpose)]) -> usize {
        let peers = agreeing.iter().map(|(group, purpose)| (*group, *purpose));
        count(network, peers.map(|(group, purpose)| Agreeing { group, purpose, is_configured: false }))
    }

    #[test]
    fn whoever_comes_by_itself_is_one_network_even_at_home() {
        let (home, far) = (Netgroup::Home, Netgroup::V4([20, 1]));
        let stranger = (home, Purpose::Shared);
        assert_eq!(counted(Network::Main, &[stranger]), 1);
        assert_eq!(counted(Network::Main, &[stranger; 10]), 1, "all of them seem to be in one place");
        assert_eq!(counted(Network::Main, &[(home, Purpose::Feeler)]), 1);
        assert_eq!(counted(Network::Main, &[stranger, (far, Purpose::Chosen)]), 2);
        assert_eq!(counted(Network::Main, &[(home, Purpose::Chosen)]), WITNESSES);
        assert_eq!(counted(Network::Local, &[stranger]), WITNESSES);
    }

    #[test]
    fn whom_the_operator_names_is_enough() {
        let named = Agreeing { group: Netgroup::V4([20, 1]), purpose: Purpose::Shared, is_configured: true };
        assert_eq!(count(Network::Main, [named].into_iter()), WITNESSES);
        assert_eq!(counted(Network::Main, &[(Netgroup::V4([20, 1]), Purpose::Chosen)]), 1, "any other is one network");
    }
}

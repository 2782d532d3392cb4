//! Dials that a stranger has asked for, and where they may go: never to this machine, its local network, or itself.
//!
//! A peer that asks to be dialled back, or that comes through a relay, names the addresses. From inside a firewall this node
//! reaches hosts that the peer does not; so no private address is dialled for it, nor a public one at which this node itself
//! listens: with IPv6 its neighbours have addresses of the same network.

use std::{
    collections::{BTreeSet, HashSet},
    task::Poll,
};

use libp2p::{
    Multiaddr,
    swarm::{ConnectionId, FromSwarm, ToSwarm},
};

use super::netgroup::{Scope, Site};

/// Dials that were asked for and not made yet. They are made at once, so there are hardly ever two.
const MAX_ASKED: usize = 64;
/// Own hosts remembered. A machine has fewer.
const MAX_OWN: usize = 64;

/// What libp2p's behaviour is about to dial because somebody asked for it.
#[derive(Debug, Default)]
pub struct AskedDials {
    scope: Scope,
    asked: HashSet<ConnectionId>,
    own: BTreeSet<Site>,
}

impl AskedDials {
    /// For a network of this kind.
    pub fn new(scope: Scope) -> Self {
        Self { scope, ..Self::default() }
    }

    /// To be shown whatever the swarm tells: where this node listens and is reached.
    pub fn saw(&mut self, event: &FromSwarm<'_>) {
        let address = match event {
            FromSwarm::NewListenAddr(event) => event.addr,
            FromSwarm::ExternalAddrConfirmed(event) => event.addr,
            _ => return,
        };
        if self.own.len() < MAX_OWN {
            self.own.extend(Site::of(address));
        }
    }

    /// To be shown what the behaviour wants: its dials are those that were asked for.
    pub fn note<E, I>(&mut self, event: &Poll<ToSwarm<E, I>>) {
        if let Poll::Ready(ToSwarm::Dial { opts }) = event {
            if self.asked.len() >= MAX_ASKED {
                self.asked.clear();
            }
            self.asked.insert(opts.connection_id());
        }
    }

    /// Whether this dial was asked for. It is made now.
    pub fn take(&mut self, id: ConnectionId) -> bool {
        self.asked.remove(&id)
    }

    /// Whether an address is of the kind that this network has.
    pub fn is_in_scope(&self, address: &Multiaddr) -> bool {
        self.scope.includes(address)
    }

    /// Whether an address may be dialled for a stranger.
    pub fn may_go_to(&self, address: &Multiaddr) -> bool {
        let is_own = || Site::of(address).is_some_and(|site| self.own.contains(&site));
        self.scope.includes(address) && (self.scope == Scope::Anywhere || !is_own())
    }
}

#[cfg(test)]
impl AskedDials {
    /// A stranger has asked for this dial.
    pub fn ask(&mut self, id: ConnectionId) {
        self.asked.insert(id);
    }
}

#[cfg(test)]
mod tests {
    use libp2p::{core::transport::ListenerId, swarm::NewListenAddr};

    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("an address")
    }

    #[test]
    fn neither_home_nor_itself_nor_neighbours_are_dialled() {
        let mut dials = AskedDials::default();
        for own in ["/ip4/198.51.100.7/tcp/9353", "/ip6/2001:db8:1:2::7/tcp/9353"] {
            let event = NewListenAddr { listener_id: ListenerId::next(), addr: &address(own) };
            dials.saw(&FromSwarm::NewListenAddr(event));
        }
        for (text, expected) in [
            ("/ip4/198.51.100.8/tcp/9353", true),
            ("/ip6/2001:db8:1:3::7/udp/9353/quic-v1", true),
            // Its own router, and hosts of its own network.
            ("/ip4/198.51.100.7/tcp/80", false),
            ("/ip6/2001:db8:1:2::99/tcp/22", false),
            ("/ip4/127.0.0.1/tcp/9353", false),
            ("/ip4/192.168.1.1/tcp/80", false),
            ("/ip4/169.254.169.254/tcp/80", false),
            ("/ip4/0.0.0.0/tcp/9353", false),
            ("/ip6/::1/tcp/9353", false),
            ("/ip6/fd00::1/tcp/9353", false),
            ("/ip6/::ffff:127.0.0.1/tcp/9353", false),
            // Private addresses behind a translation: NAT64, and 6to4.
            ("/ip6/64:ff9b::c0a8:101/tcp/80", false),
            ("/ip6/64:ff9b:1::c0a8:101/tcp/80", false),
            ("/ip6/2002:c0a8:101::1/tcp/80", false),
            ("/ip6/64:ff9b::c633:6409/tcp/80", true),
            ("/dns4/localhost/tcp/9353", false),
        ] {
            assert_eq!(dials.may_go_to(&address(text)), expected, "{text}");
        }
        assert!(AskedDials::new(Scope::Anywhere).may_go_to(&address("/ip4/127.0.0.1/tcp/1")));
    }

    #[test]
    fn a_dial_is_asked_for_once() {
        let (mut dials, id) = (AskedDials::default(), ConnectionId::new_unchecked(7));
        assert!(!dials.take(id));
        dials.ask(id);
        assert!(dials.take(id) && !dials.take(id));
    }
}

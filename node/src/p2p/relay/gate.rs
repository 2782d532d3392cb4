//! Which relayed addresses this node dials: those of the configuration, and no others.
//!
//! Whoever answers kad's questions names addresses, and libp2p dials what it is told. A relayed address among them would
//! have this node open circuits through whatever relay a stranger names, through its own as well. So the transport itself
//! refuses what this node did not choose.

use std::{
    collections::BTreeSet,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId, Transport,
    core::transport::{DialOpts, ListenerId, TransportError, TransportEvent},
    multiaddr::Protocol,
};
use parking_lot::Mutex;

/// Through which relay to whom.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Circuit {
    /// The relay.
    pub relay: PeerId,
    /// The peer behind it.
    pub target: PeerId,
}

impl Circuit {
    /// What `ADDRESS/p2p/RELAY/p2p-circuit/p2p/TARGET` names, if it is of this form: one relay, with an address.
    pub fn of(address: &Multiaddr) -> Option<Self> {
        let parts: Vec<_> = address.iter().collect();
        let [before @ .., Protocol::P2p(relay), Protocol::P2pCircuit, Protocol::P2p(target)] = parts.as_slice() else {
            return None;
        };
        let is_plain = |part: &Protocol<'_>| !matches!(part, Protocol::P2p(_) | Protocol::P2pCircuit);
        let is_whole = !before.is_empty() && before.iter().all(is_plain) && relay != target;
        is_whole.then_some(Self { relay: *relay, target: *target })
    }
}

/// The circuits that may be dialled. Cheap to clone; all clones are the same list.
#[derive(Clone, Debug, Default)]
pub struct Allowed(Arc<Mutex<BTreeSet<Circuit>>>);

impl Allowed {
    /// From now on those of these addresses that are relayed, unless they lead through `local` or to it.
    pub fn set<'a>(&self, local: PeerId, addresses: impl IntoIterator<Item = &'a Multiaddr>) {
        let circuits = addresses.into_iter().filter_map(Circuit::of);
        *self.0.lock() = circuits.filter(|circuit| circuit.relay != local && circuit.target != local).collect();
    }

    /// Whether the address may be dialled.
    pub fn allows(&self, address: &Multiaddr) -> bool {
        Circuit::of(address).is_some_and(|circuit| self.0.lock().contains(&circuit))
    }
}

/// A relay's transport that dials what is allowed only.
pub struct Gate<T> {
    inner: T,
    allowed: Allowed,
}

impl<T> Gate<T> {
    /// Puts a gate in front of a transport.
    pub fn new(inner: T, allowed: Allowed) -> Self {
        Self { inner, allowed }
    }
}

impl<T: Transport + Unpin> Transport for Gate<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<Self::Error>> {
        if !self.allowed.allows(&address) {
            return Err(TransportError::MultiaddrNotSupported(address));
        }
        self.inner.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(relay: PeerId, target: PeerId) -> Multiaddr {
        format!("/ip4/198.51.100.7/tcp/1/p2p/{relay}/p2p-circuit/p2p/{target}").parse().expect("an address")
    }

    #[test]
    fn only_whole_circuits_through_one_relay_are_any() {
        let (relay, target) = (PeerId::random(), PeerId::random());
        assert_eq!(Circuit::of(&address(relay, target)), Some(Circuit { relay, target }));
        for other in [
            format!("/ip4/198.51.100.7/tcp/1/p2p/{target}"),
            format!("/ip4/198.51.100.7/tcp/1/p2p/{relay}/p2p-circuit"),
            format!("/ip4/198.51.100.7/tcp/1/p2p-circuit/p2p/{target}"),
            format!("/p2p/{relay}/p2p-circuit/p2p/{target}"),
            format!("/ip4/198.51.100.7/tcp/1/p2p/{relay}/p2p-circuit/p2p/{relay}"),
            format!("/ip4/198.51.100.7/tcp/1/p2p/{relay}/p2p-circuit/p2p/{relay}/p2p-circuit/p2p/{target}"),
            format!("/p2p/{target}"),
        ] {
            assert_eq!(Circuit::of(&other.parse().expect("an address")), None, "{other}");
        }
    }

    #[test]
    fn what_strangers_name_is_not_dialled_and_neither_is_a_way_through_oneself() {
        let (local, relay, target) = (PeerId::random(), PeerId::random(), PeerId::random());
        let allowed = Allowed::default();
        let chosen = [address(relay, target), address(local, target), address(relay, local)];
        assert!(!allowed.allows(&chosen[0]));
        allowed.set(local, &chosen);
        assert_eq!(chosen.each_ref().map(|address| allowed.allows(address)), [true, false, false]);
        assert!(!allowed.allows(&address(PeerId::random(), target)), "another relay");
        assert!(!allowed.allows(&address(relay, PeerId::random())), "another peer");
        allowed.set(local, []);
        assert!(!allowed.allows(&chosen[0]), "no longer configured");
    }
}

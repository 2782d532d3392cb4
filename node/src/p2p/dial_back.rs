//! Dialling back on request, so that others learn whether they can be reached (AutoNAT version 2); and asking others for
//! the same about the addresses at which this node listens.
//!
//! A peer that asks names the address, so this is the one dial whose target a stranger chooses. libp2p makes it costly to
//! name addresses of others; where dials may go is for [`asked_dials`](super::asked_dials) to say.

use std::task::{Context, Poll};

use libp2p::{
    Multiaddr, PeerId,
    autonat::v2::server,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm,
    },
};

use super::asked_dials::AskedDials;

/// Why an address is not dialled back.
#[derive(Debug, thiserror::Error)]
#[error("only public addresses are dialled on request")]
pub struct NotPublic;

/// AutoNAT's server with a guard.
#[derive(Default)]
pub struct DialBack {
    inner: server::Behaviour,
    asked: AskedDials,
    /// Own addresses that others are still to be asked about.
    offered: Vec<Multiaddr>,
}

impl DialBack {
    /// Has others asked whether they reach this node there, as soon as one is connected. AutoNAT asks about candidates
    /// alone, and libp2p takes none that counts as confirmed: so what is public as it stands is to be offered first.
    pub fn offer(&mut self, address: Multiaddr) {
        self.offered.push(address);
    }

    fn guard(&mut self, id: ConnectionId, addresses: &[Multiaddr]) -> Result<(), ConnectionDenied> {
        if self.asked.take(id) && !addresses.iter().all(|address| self.asked.may_go_to(address)) {
            return Err(ConnectionDenied::new(NotPublic));
        }
        Ok(())
    }
}

impl NetworkBehaviour for DialBack {
    type ConnectionHandler = <server::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = <server::Behaviour as NetworkBehaviour>::ToSwarm;

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.guard(id, addresses)?;
        self.inner.handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.asked.saw(&event);
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(address) = self.offered.pop() {
            return Poll::Ready(ToSwarm::NewExternalAddrCandidate(address));
        }
        let event = self.inner.poll(cx);
        self.asked.note(&event);
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, is_allowed: bool) {
        let (mut guard, id) = (DialBack::default(), ConnectionId::new_unchecked(7));
        guard.asked.ask(id);
        let addresses = [address.parse().expect("an address")];
        assert_eq!(guard.guard(id, &addresses).is_ok(), is_allowed, "{address}");
        assert!(guard.guard(id, &addresses).is_ok(), "dials of this node's own are not its business");
    }

    /// Once each, before anything else.
    #[test]
    fn own_addresses_are_offered() {
        let (mut behaviour, mut cx) = (DialBack::default(), Context::from_waker(std::task::Waker::noop()));
        let own: Multiaddr = "/ip4/198.51.100.7/tcp/9353".parse().expect("an address");
        behaviour.offer(own.clone());
        let offered = behaviour.poll(&mut cx);
        assert!(matches!(offered, Poll::Ready(ToSwarm::NewExternalAddrCandidate(address)) if address == own));
        assert!(behaviour.poll(&mut cx).is_pending());
    }

    #[test]
    fn nothing_at_home_is_dialled_for_strangers() {
        check("/ip4/198.51.100.7/tcp/9353", true);
        check("/ip6/2001:db8::1/udp/9353/quic-v1", true);
        for home in ["/ip4/127.0.0.1/tcp/9353", "/ip6/fd00::1/tcp/9353", "/dns4/localhost/tcp/9353"] {
            check(home, false);
        }
    }
}

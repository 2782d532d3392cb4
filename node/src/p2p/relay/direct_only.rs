//! A behaviour that never sees relayed connections: for everything that a relay's few bytes are too good for.

use std::{
    collections::HashMap,
    ops::{Deref, DerefMut},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished, derive_prelude::Either, dummy,
    },
};

use crate::p2p::netgroup::is_relayed;

/// `B` on direct connections only.
pub struct DirectOnly<B> {
    inner: B,
    /// Direct connections of each peer, oldest first.
    direct: HashMap<PeerId, Vec<ConnectionId>>,
}

impl<B> DirectOnly<B> {
    /// Hides relayed connections from a behaviour.
    pub fn new(inner: B) -> Self {
        Self { inner, direct: HashMap::new() }
    }

    fn opened(&mut self, peer: PeerId, id: ConnectionId) -> usize {
        let lines = self.direct.entry(peer).or_default();
        lines.push(id);
        lines.len() - 1
    }

    fn closed(&mut self, peer: PeerId, id: ConnectionId) -> usize {
        let Some(lines) = self.direct.get_mut(&peer) else { return 0 };
        lines.retain(|line| *line != id);
        let left = lines.len();
        if left == 0 {
            self.direct.remove(&peer);
        }
        left
    }
}

impl<B> Deref for DirectOnly<B> {
    type Target = B;

    fn deref(&self) -> &B {
        &self.inner
    }
}

impl<B> DerefMut for DirectOnly<B> {
    fn deref_mut(&mut self) -> &mut B {
        &mut self.inner
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for DirectOnly<B> {
    type ConnectionHandler = Either<B::ConnectionHandler, dummy::ConnectionHandler>;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        match is_relayed(local) {
            true => Ok(()),
            false => self.inner.handle_pending_inbound_connection(id, local, remote),
        }
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if is_relayed(local) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        self.inner.handle_established_inbound_connection(id, peer, local, remote).map(Either::Left)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if is_relayed(address) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        self.inner.handle_established_outbound_connection(id, peer, address, role, port_use).map(Either::Left)
    }

    /// Relayed addresses are none that anybody is asked about, or that make this node one that others can reach.
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) if event.endpoint.is_relayed() => {}
            FromSwarm::ConnectionEstablished(event) => {
                let other_established = self.opened(event.peer_id, event.connection_id);
                let event = ConnectionEstablished { other_established, ..event };
                self.inner.on_swarm_event(FromSwarm::ConnectionEstablished(event));
            }
            FromSwarm::ConnectionClosed(event) if event.endpoint.is_relayed() => {}
            FromSwarm::ConnectionClosed(event) => {
                let remaining_established = self.closed(event.peer_id, event.connection_id);
                let event = ConnectionClosed { remaining_established, ..event };
                self.inner.on_swarm_event(FromSwarm::ConnectionClosed(event));
            }
            FromSwarm::AddressChange(event) if event.new.is_relayed() => {}
            FromSwarm::NewExternalAddrCandidate(event) if is_relayed(event.addr) => {}
            FromSwarm::ExternalAddrConfirmed(event) if is_relayed(event.addr) => {}
            FromSwarm::ExternalAddrExpired(event) if is_relayed(event.addr) => {}
            other => self.inner.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {
            Either::Left(event) => self.inner.on_connection_handler_event(peer, id, event),
            Either::Right(never) => match never {},
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            return match self.inner.poll(cx) {
                // "Any" of its connections: libp2p would choose among the relayed ones too.
                Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::Any, event }) => {
                    let Some(id) = self.direct.get(&peer_id).and_then(|lines| lines.first()) else { continue };
                    let (handler, event) = (NotifyHandler::One(*id), Either::Left(event));
                    Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler, event })
                }
                Poll::Ready(event) => Poll::Ready(event.map_in(Either::Left)),
                Poll::Pending => Poll::Pending,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the hidden behaviour is told of how many other connections there are.
    #[test]
    fn relayed_connections_are_not_counted() {
        let (mut seen, peer) = (DirectOnly::new(dummy::Behaviour), PeerId::random());
        let id = ConnectionId::new_unchecked;
        assert_eq!(seen.opened(peer, id(1)), 0);
        assert_eq!(seen.opened(peer, id(2)), 1);
        assert_eq!(seen.closed(peer, id(9)), 2, "a connection that was never shown");
        assert_eq!(seen.closed(peer, id(1)), 1);
        assert_eq!(seen.closed(peer, id(2)), 0);
        assert!(seen.direct.is_empty());
    }

    #[test]
    fn nothing_is_spoken_on_a_relayed_connection() {
        let mut seen = DirectOnly::new(libp2p::ping::Behaviour::default());
        let (id, peer) = (ConnectionId::new_unchecked(1), PeerId::random());
        let direct: Multiaddr = "/ip4/198.51.100.7/tcp/1".parse().expect("an address");
        let through: Multiaddr = format!("{direct}/p2p/{}/p2p-circuit", PeerId::random()).parse().expect("an address");
        let came: Multiaddr = format!("/p2p/{peer}").parse().expect("an address");
        let handler = seen.handle_established_inbound_connection(id, peer, &through, &came).expect("not refused");
        assert!(handler.is_right());
        let handler = seen.handle_established_inbound_connection(id, peer, &direct, &direct).expect("not refused");
        assert!(handler.is_left());
        let (role, port) = (Endpoint::Dialer, PortUse::Reuse);
        let dialled = through.with_p2p(peer).expect("an address");
        let handler = seen.handle_established_outbound_connection(id, peer, &dialled, role, port);
        assert!(handler.expect("not refused").is_right());
        let handler = seen.handle_established_outbound_connection(id, peer, &direct, role, port);
        assert!(handler.expect("not refused").is_left());
    }
}

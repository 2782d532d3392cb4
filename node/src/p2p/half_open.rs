//! Connections that strangers are opening and that have not shown yet who they are: a bounded number, and no address group
//! may hold so many that others find no place.
//!
//! libp2p cannot end a connection in this state, so the places are divided beforehand: a group may have half of those that
//! the others leave, and at least one while there is any. One group gets half of all, a second a quarter, and so on: it
//! takes seven groups to fill them, and each such connection ends after ten seconds.
//!
//! Over TCP nobody gets here under another's address. A first datagram of QUIC may come from any, so QUIC has places of its
//! own: who fills those with made-up addresses keeps nobody from coming over TCP.

use std::{
    collections::HashMap,
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm, dummy,
    },
};

use super::netgroup::Netgroup;

/// Half-open connections at a time, over TCP and as many over QUIC.
pub const MAX_HALF_OPEN: usize = 64;
/// And through relays.
const MAX_RELAYED: usize = 8;

/// Why a connection is refused before anything is known of it.
#[derive(Debug, thiserror::Error)]
#[error("too many half-open connections from there")]
pub struct TooManyHalfOpen;

/// Counts half-open inbound connections and refuses what is too much.
#[derive(Debug, Default)]
pub struct HalfOpen(HashMap<ConnectionId, Opening>);

/// Where a connection comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Opening {
    group: Netgroup,
    carrier: Carrier,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Carrier {
    Tcp,
    Quic,
    /// Who comes through a relay shows no address at all.
    Relay,
}

impl Carrier {
    fn places(self) -> usize {
        match self {
            Self::Tcp | Self::Quic => MAX_HALF_OPEN,
            Self::Relay => MAX_RELAYED,
        }
    }
}

impl Opening {
    fn of(remote: &Multiaddr) -> Self {
        let carrier = match Netgroup::of(remote) {
            Netgroup::Relayed => Carrier::Relay,
            _ if remote.iter().any(|part| part == Protocol::QuicV1) => Carrier::Quic,
            _ => Carrier::Tcp,
        };
        Self { group: Netgroup::of(remote), carrier }
    }
}

impl HalfOpen {
    fn admits(&self, opening: Opening) -> bool {
        let beside = || self.0.values().filter(|other| other.carrier == opening.carrier);
        let (all, of_group) = (beside().count(), beside().filter(|other| other.group == opening.group).count());
        let places = opening.carrier.places();
        let share = match opening.carrier {
            Carrier::Tcp | Carrier::Quic => ((places - (all - of_group)) / 2).max(1),
            // They are one group.
            Carrier::Relay => places,
        };
        all < places && of_group < share
    }
}

impl NetworkBehaviour for HalfOpen {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let opening = Opening::of(remote);
        if !self.admits(opening) {
            return Err(ConnectionDenied::new(TooManyHalfOpen));
        }
        self.0.insert(id, opening);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0.remove(&id);
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ListenFailure(failure) = event {
            self.0.remove(&failure.connection_id);
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_groups_leave_room_for_others() {
        let (mut half_open, mut number) = (HalfOpen::default(), 0);
        let mut open = |half_open: &mut HalfOpen, group: u8| {
            let remote = format!("/ip4/20.{group}.0.1/tcp/{}", 1_024 + number).parse().expect("an address");
            number += 1;
            let id = ConnectionId::new_unchecked(number);
            half_open.handle_pending_inbound_connection(id, &remote, &remote).is_ok().then_some(id)
        };
        let mut held = Vec::new();
        for (group, share) in [(1, 32), (2, 16), (3, 8), (4, 4), (5, 2), (6, 1)] {
            let taken: Vec<_> = (0..200).filter_map(|_| open(&mut half_open, group)).collect();
            assert_eq!(taken.len(), share, "group {group}");
            held.extend(taken);
        }
        let newcomer = open(&mut half_open, 7).expect("six groups leave a place");
        assert!(open(&mut half_open, 8).is_none(), "but it is the last");
        let address: Multiaddr = "/ip4/20.7.0.1/tcp/1".parse().expect("an address");
        half_open
            .handle_established_inbound_connection(newcomer, PeerId::random(), &address, &address)
            .expect("it has shown who it is");
        assert!(open(&mut half_open, 8).is_some());
        assert_eq!(half_open.0.len(), MAX_HALF_OPEN);
        let quic = "/ip4/20.9.0.1/udp/1/quic-v1".parse().expect("an address");
        let id = ConnectionId::new_unchecked(0);
        assert!(half_open.handle_pending_inbound_connection(id, &quic, &quic).is_ok(), "QUIC has places of its own");
        let mut through_relays = (0..20).map(|number| {
            let remote = format!("/p2p/{}", PeerId::random()).parse().expect("an address");
            half_open
                .handle_pending_inbound_connection(ConnectionId::new_unchecked(9_000 + number), &quic, &remote)
                .is_ok()
        });
        assert!(through_relays.by_ref().take(MAX_RELAYED).all(|is_let_in| is_let_in), "and so have relays");
        assert!(through_relays.all(|is_let_in| !is_let_in));
    }
}

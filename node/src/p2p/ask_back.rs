//! Asking others whether they reach this node (AutoNAT version 2's client), and asking them anew.
//!
//! libp2p asks about each address once in its life, and about whatever anybody says that he sees. Here a check can begin
//! afresh: what was found before is forgotten, and peers that this node dials from then on are asked. Only public addresses
//! are asked about: that a private one cannot be dialled from outside says nothing.

use std::{
    collections::{HashSet, VecDeque},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    autonat::v2::client,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NewExternalAddrCandidate, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};

use super::netgroup::Scope;

/// Own addresses remembered, those named last. libp2p asks about ten at a time.
const MAX_ADDRESSES: usize = 10;

/// AutoNAT's client, with a memory that ends.
#[derive(Default)]
pub struct AskBack {
    inner: client::Behaviour,
    scope: Scope,
    /// Connections since the check began: the others belong to checks that are over, and what they say is not heard.
    asked: HashSet<ConnectionId>,
    /// Oldest first.
    addresses: VecDeque<Multiaddr>,
}

impl AskBack {
    /// Begins a check afresh. Peers that this node dials from now on will be asked.
    pub fn renew(&mut self) {
        (self.inner, self.asked) = (client::Behaviour::default(), HashSet::new());
        for addr in &self.addresses {
            self.inner.on_swarm_event(FromSwarm::NewExternalAddrCandidate(NewExternalAddrCandidate { addr }));
        }
    }

    /// Whether there is any address to ask about.
    pub fn has_addresses(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// Returns whether it is an address to ask about.
    fn note(&mut self, address: &Multiaddr) -> bool {
        if !self.scope.includes(address) {
            return false;
        }
        self.addresses.retain(|other| other != address);
        if self.addresses.len() == MAX_ADDRESSES {
            self.addresses.pop_front();
        }
        self.addresses.push_back(address.clone());
        true
    }
}

impl NetworkBehaviour for AskBack {
    type ConnectionHandler = <client::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = <client::Behaviour as NetworkBehaviour>::ToSwarm;

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
        match event {
            FromSwarm::NewExternalAddrCandidate(event) if !self.note(event.addr) => {}
            FromSwarm::ConnectionEstablished(event) => {
                self.asked.insert(event.connection_id);
                self.inner.on_swarm_event(FromSwarm::ConnectionEstablished(event));
            }
            FromSwarm::ConnectionClosed(event) if !self.asked.remove(&event.connection_id) => {}
            other => self.inner.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        if self.asked.contains(&id) {
            self.inner.on_connection_handler_event(peer, id, event);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::StreamExt;
    use libp2p::{
        Swarm,
        autonat::v2::server,
        identify,
        identity::Keypair,
        swarm::{SwarmEvent, behaviour::toggle::Toggle},
    };

    use super::*;
    use crate::p2p::behaviour::build;

    /// One that asks, or one that is asked.
    #[derive(NetworkBehaviour)]
    struct Speaker {
        identify: identify::Behaviour,
        asking: Toggle<AskBack>,
        asked: Toggle<server::Behaviour>,
    }

    async fn speaker(asking: Option<AskBack>) -> (Swarm<Speaker>, Multiaddr) {
        let key = Keypair::generate_ed25519();
        let identify = identify::Behaviour::new(identify::Config::new("/test/1".to_owned(), key.public()));
        let asked = asking.is_none().then(server::Behaviour::default);
        let behaviour = Speaker { identify, asking: asking.into(), asked: asked.into() };
        let mut swarm = build(key, behaviour, Duration::from_secs(60)).expect("a swarm");
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("an address")).expect("it listens");
        loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                return (swarm, address);
            }
        }
    }

    /// Runs both until the one that asks has an answer.
    async fn answer(asking: &mut Swarm<Speaker>, asked: &mut Swarm<Speaker>) -> bool {
        let search = async {
            loop {
                tokio::select! {
                    event = asking.select_next_some() => {
                        if let SwarmEvent::Behaviour(SpeakerEvent::Asking(event)) = event {
                            return event.result.is_ok();
                        }
                    }
                    _ = asked.select_next_some() => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(40), search).await.expect("an answer in time")
    }

    /// The same address is asked about again, with a new connection, after a check has begun afresh.
    #[tokio::test]
    async fn a_new_check_asks_again() {
        let (mut asked, address) = speaker(None).await;
        let (mut asking, own) = speaker(Some(AskBack { scope: Scope::Anywhere, ..AskBack::default() })).await;
        let peer = *asked.local_peer_id();
        for round in 0..2 {
            asking.dial(address.clone()).expect("it is dialled");
            assert!(answer(&mut asking, &mut asked).await, "round {round}");
            assert!(asking.external_addresses().any(|address| *address == own));
            asking.behaviour_mut().asking.as_mut().expect("it asks").renew();
            asking.disconnect_peer_id(peer).expect("it was connected");
        }
    }

    #[test]
    fn only_public_addresses_are_asked_about_and_few() {
        let mut asking = AskBack::default();
        for private in ["/ip4/192.168.1.2/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip6/fd00::1/udp/1/quic-v1"] {
            assert!(!asking.note(&private.parse().expect("an address")), "{private}");
        }
        assert!(!asking.has_addresses());
        for port in 1..=100 {
            assert!(asking.note(&format!("/ip4/198.51.100.7/tcp/{port}").parse().expect("an address")));
        }
        assert_eq!(asking.addresses.len(), MAX_ADDRESSES);
        asking.renew();
        assert!(asking.has_addresses(), "they outlive a check");
    }
}

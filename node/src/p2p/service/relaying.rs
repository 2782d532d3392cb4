//! Relays: being one while others reach this node, having some while nobody does, and turning what comes through them
//! into direct connections (protocol §10).
//!
//! Who is met through a relay is no connected peer: he holds no place, no questions are asked and none are answered, he is
//! neither outbound nor a witness, and his address says nothing of where he is. He becomes one by a direct connection.

use std::time::{Duration, Instant};

use libp2p::{
    Multiaddr, PeerId,
    core::{ConnectedPoint, transport::ListenerId},
    identify,
    multiaddr::Protocol,
    relay,
    swarm::dial_opts::{DialOpts, PeerCondition},
};

use crate::{
    p2p::{
        config::When,
        dial_failure::DialFailure,
        netgroup::{Netgroup, is_relayed, without_peer},
        reachability::Reachable,
        service::entry::Purpose,
        standing::{Home, Standing},
        stats::{count, set},
    },
    sync::Direction,
};

use super::{
    entry::{Connected, DialId},
    relayed::RelayedLine,
    state::Service,
};

/// A relayed connection of which nothing has come in this time is closed: three rounds of hole punching take less.
const UPGRADE_DEADLINE: Duration = Duration::from_secs(30);
/// And one that a direct connection has replaced after this time, so that the other end has seen that too.
const REPLACED: Duration = Duration::from_secs(2);
/// A peer is asked to be our relay when it has been here for so long: by then it knows that this is a node.
const SETTLED: Duration = Duration::from_secs(3);
/// Addresses of a peer met through a relay that are tried directly.
const MAX_TRIED: usize = 4;
/// Longest agent string kept.
const MAX_AGENT: usize = 64;

/// Connections through relays.
impl Service {
    pub(super) fn relayed_opened(&mut self, peer: PeerId, id: DialId, endpoint: &ConnectedPoint) {
        count(&self.stats.connections_opened_total);
        let direction = match endpoint {
            ConnectedPoint::Dialer { .. } => Direction::Outbound,
            ConnectedPoint::Listener { .. } => Direction::Inbound,
        };
        if direction == Direction::Outbound {
            // Whom a dial was for is known by its peer id here: only configured peers are dialled through relays.
            self.dial_succeeded(id, peer);
        }
        let line = RelayedLine {
            peer,
            direction,
            address: whole_address(endpoint, peer),
            since: Instant::now(),
            direct_since: None,
            agent: String::new(),
            ping: None,
            closing: None,
        };
        tracing::debug!(%peer, address = %line.address, "met through a relay");
        if self.relayed.opened(id, line) {
            self.close_relayed(id, DialFailure::FullHere);
        }
    }

    fn close_relayed(&mut self, id: DialId, why: DialFailure) {
        if let Some(line) = self.relayed.lines.get_mut(&id) {
            line.closing.get_or_insert(why);
            self.swarm.close_connection(id);
        }
    }

    pub(super) fn relayed_closed(&mut self, peer: PeerId, id: DialId) {
        count(&self.stats.connections_closed_total);
        let Some(line) = self.relayed.lines.remove(&id) else { return };
        if self.connected.contains_key(&peer) {
            return count(&self.stats.relayed_upgraded_total);
        }
        count(&self.stats.relayed_failed_total);
        if line.direction == Direction::Outbound {
            let (why, lasted) =
                (line.closing.unwrap_or(DialFailure::NotDirect), line.since.elapsed().as_millis() as u64);
            self.configured_ended(&peer, &why, lasted);
        }
    }

    /// A peer met through a relay says who it is. This node is the one behind the relay if the peer came: then it may be
    /// that the peer can be dialled, which is the easiest way to a direct connection.
    pub(super) fn relayed_identified(&mut self, peer: PeerId, id: DialId, info: &identify::Info) {
        let home = self.homes.home_of(&info.protocol_version, &info.protocols);
        let Some(line) = self.relayed.lines.get_mut(&id) else { return };
        let is_first = line.agent.is_empty();
        line.agent = info.agent_version.chars().filter(|c| !c.is_control()).take(MAX_AGENT).collect();
        if home != Home::Here {
            count(&self.stats.foreign_peers_total);
            return self.close_relayed(id, DialFailure::NotHere { home, ours: self.params.network });
        }
        if line.direction == Direction::Inbound && is_first && !self.connected.contains_key(&peer) {
            self.dial_directly(peer, &info.listen_addrs);
        }
    }

    fn dial_directly(&mut self, peer: PeerId, addresses: &[Multiaddr]) {
        let punch = &mut self.swarm.behaviour_mut().punch;
        let addresses: Vec<_> =
            addresses.iter().filter(|address| punch.may_go_to(address)).take(MAX_TRIED).cloned().collect();
        if addresses.is_empty() || !punch.may_dial(&addresses, Instant::now()) {
            return;
        }
        let options = DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(addresses).build();
        // If it fails, hole punching is left.
        let _ = self.swarm.dial(options);
    }

    fn close_useless_lines(&mut self) {
        let mut done = Vec::new();
        for (id, line) in &mut self.relayed.lines {
            if self.connected.contains_key(&line.peer) {
                let since = *line.direct_since.get_or_insert_with(Instant::now);
                done.extend((since.elapsed() >= REPLACED).then_some((*id, DialFailure::Lost)));
            } else if line.since.elapsed() >= UPGRADE_DEADLINE {
                done.push((*id, DialFailure::NotDirect));
            }
        }
        done.into_iter().for_each(|(id, why)| self.close_relayed(id, why));
    }
}

/// Relays that lead others here.
impl Service {
    /// Called twice a second.
    pub(super) fn look_after_relays(&mut self) {
        self.close_useless_lines();
        self.serve_or_not();
        let is_needed = match self.config.relay_client {
            When::Auto => self.reachable() == Reachable::No,
            When::On => true,
            When::Off => false,
        };
        if is_needed {
            self.ask_for_relay();
        } else {
            for listener in self.relayed.reserving.give_up() {
                self.swarm.remove_listener(listener);
            }
        }
        set(&self.stats.relays, self.relayed.reserving.accepted_count());
        set(&self.stats.relayed_connections, self.relayed.lines.len());
        set(&self.stats.relay_reservations, self.relayed.serving.reserved());
        set(&self.stats.relay_circuits, self.relayed.circuits);
    }

    fn ask_for_relay(&mut self) {
        let now = self.now();
        let is_relay = |entry: &Connected| {
            let is_own_choice = entry.purpose == Purpose::Chosen && entry.direction == Direction::Outbound;
            let is_here =
                entry.standing == Standing::Node && entry.let_go.is_none() && entry.since.elapsed() >= SETTLED;
            entry.offers_relay && is_own_choice && is_here
        };
        let relays = self.connected.iter().filter(|(_, entry)| is_relay(entry));
        let offers = relays.map(|(peer, entry)| (*peer, Netgroup::of(&entry.address)));
        let Some((peer, group)) = self.relayed.reserving.next(now, offers) else { return };
        let Some(entry) = self.connected.get(&peer) else { return };
        let through = without_peer(&entry.address).with(Protocol::P2p(peer)).with(Protocol::P2pCircuit);
        match self.swarm.listen_on(through) {
            Ok(listener) => self.relayed.reserving.asked(peer, group, listener),
            Err(error) => tracing::debug!(%peer, %error, "cannot ask for a relay"),
        }
    }

    pub(super) fn relay_answered(&mut self, event: &relay::client::Event) {
        match event {
            relay::client::Event::ReservationReqAccepted { relay_peer_id, renewal, .. } => {
                if !renewal {
                    tracing::info!(relay = %relay_peer_id, "others are led here by a relay");
                }
                self.relayed.reserving.accepted(relay_peer_id);
            }
            relay::client::Event::OutboundCircuitEstablished { .. }
            | relay::client::Event::InboundCircuitEstablished { .. } => {}
        }
    }

    /// A relay says where it leads others here. What it says is told to others, so it must be somewhere.
    pub(super) fn relay_named_address(&mut self, listener: ListenerId, address: &Multiaddr) {
        let before: Multiaddr = address.iter().take_while(|part| *part != Protocol::P2pCircuit).collect();
        let is_too_much = self.relayed.reserving.named_address(listener);
        if !is_too_much && self.is_plausible(&before) {
            return;
        }
        let now = self.now();
        tracing::debug!(%address, "a relay names addresses that are none");
        if self.relayed.reserving.spoiled(now, listener) {
            self.swarm.remove_listener(listener);
        }
    }

    /// A listener ended. Returns whether it was at a relay.
    pub(super) fn relay_ended(&mut self, listener: ListenerId) -> bool {
        let now = self.now();
        self.relayed.reserving.ended(now, listener)
    }
}

/// Being a relay.
impl Service {
    fn serve_or_not(&mut self) {
        let is_wanted = match self.config.relay {
            When::Auto => self.reachable() == Reachable::Yes,
            When::On => true,
            When::Off => false,
        };
        // Else there is nothing to tell others of where they are led.
        let has_address = self.swarm.external_addresses().any(|address| !is_relayed(address));
        let serves = is_wanted && has_address;
        if serves != self.relayed.serves
            && let Some(relay) = self.swarm.behaviour_mut().relay.as_mut()
        {
            relay.set_status(Some(if serves { relay::Status::Enable } else { relay::Status::Disable }));
            self.relayed.serves = serves;
            tracing::info!(serves, "a relay for nodes that nobody can reach");
        }
    }

    pub(super) fn served_as_relay(&mut self, event: relay::Event) {
        #[allow(deprecated)] // Until libp2p takes them away, failures are told by these alone.
        match event {
            relay::Event::ReservationReqAccepted { .. } => count(&self.stats.relay_reservations_total),
            relay::Event::ReservationTimedOut { src_peer_id } => self.relayed.serving.ended(&src_peer_id),
            // Told of each connection that ends, with a reservation or without; what counts is that its peer has gone.
            relay::Event::ReservationClosed { .. } => {}
            // libp2p keeps it, though nobody was told of it: it ends with its peer.
            relay::Event::ReservationReqAcceptFailed { .. } => {}
            relay::Event::ReservationReqDenied { .. } | relay::Event::CircuitReqDenied { .. } => {
                count(&self.stats.relay_refused_total);
            }
            relay::Event::CircuitReqAccepted { .. } => {
                count(&self.stats.relay_circuits_total);
                self.relayed.circuits += 1;
            }
            relay::Event::CircuitClosed { error, .. } => {
                tracing::debug!(?error, "a circuit ended");
                self.relayed.circuits = self.relayed.circuits.saturating_sub(1);
            }
            relay::Event::ReservationReqDenyFailed { .. }
            | relay::Event::CircuitReqDenyFailed { .. }
            | relay::Event::CircuitReqOutboundConnectFailed { .. }
            | relay::Event::CircuitReqAcceptFailed { .. }
            | relay::Event::StatusChanged { .. } => {}
        }
    }
}

/// Through which relay to whom. libp2p tells of who comes by his id alone.
fn whole_address(endpoint: &ConnectedPoint, peer: PeerId) -> Multiaddr {
    match endpoint {
        ConnectedPoint::Dialer { address, .. } => address.clone(),
        ConnectedPoint::Listener { local_addr, .. } => without_peer(local_addr).with(Protocol::P2p(peer)),
    }
}

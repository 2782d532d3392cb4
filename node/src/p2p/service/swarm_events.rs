//! What libp2p reports, turned into what the rest understands.

use libp2p::{
    Multiaddr, PeerId, autonat,
    core::ConnectedPoint,
    gossipsub, kad, mdns, ping,
    request_response::{self, OutboundFailure, OutboundRequestId, ResponseChannel},
    swarm::{ListenError, SwarmEvent},
    upnp,
};

use crate::{
    p2p::{
        behaviour::BehaviourEvent,
        limits::Admission,
        message::{Refusal, Request, Response, Status},
        netgroup::{Netgroup, is_dialable, is_relayed},
        stats::count,
    },
    sync::{Claim, Failure, Input, Offence, Question, Relay},
};
use ledger::params::Network;

use super::{
    entry::DialId,
    job::Ticket,
    state::{Asked, Event, Service, unix_now},
};

impl Service {
    pub(super) fn swarm_event(&mut self, event: Event) {
        match event {
            SwarmEvent::Behaviour(event) => self.behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } if endpoint.is_relayed() => {
                self.relayed_opened(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.connection_opened(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, endpoint, num_established, .. } => {
                self.connection_closed(peer_id, connection_id, &endpoint, num_established);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.dial_failed(connection_id, &error);
            }
            SwarmEvent::IncomingConnectionError { error, send_back_addr, .. } => {
                self.inbound_failed(&error, &send_back_addr);
            }
            SwarmEvent::NewListenAddr { listener_id, address } if is_relayed(&address) => {
                self.relay_named_address(listener_id, &address);
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.listeners.settled(listener_id);
                self.listening(address);
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } if self.relay_ended(listener_id) => {
                tracing::debug!(?reason, "a relay leads others here no more");
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                self.listeners.settled(listener_id);
                if let Err(error) = reason {
                    tracing::warn!(%error, "a listener closed");
                }
            }
            SwarmEvent::NewExternalAddrCandidate { address } => self.own_candidate(address),
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener has a problem"),
            // libp2p may add events in any release; the others carry nothing that we act upon.
            _ => {}
        }
    }

    /// Relayed connections are counted apart, and libp2p counts them all.
    fn connection_closed(&mut self, peer: PeerId, id: DialId, endpoint: &ConnectedPoint, left: u32) {
        if endpoint.is_relayed() {
            return self.relayed_closed(peer, id);
        }
        if self.relayed.lines_of(&peer) >= left as usize {
            self.peer_left(peer);
        } else {
            self.line_closed(&peer, id);
        }
    }

    fn behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(event) => self.identified(event),
            BehaviourEvent::Ping(ping::Event { peer, connection, result: Ok(time) }) => {
                self.ping_answered(&peer, connection, time);
            }
            BehaviourEvent::Ping(ping::Event { peer, connection, result: Err(failure) }) => {
                self.ping_failed(peer, connection, &failure);
            }
            BehaviourEvent::Kad(event) => self.kad_event(event),
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                found.into_iter().for_each(|(peer, address)| self.hear_of(peer, &address, Netgroup::Home));
            }
            BehaviourEvent::Mdns(mdns::Event::Expired(_)) => {}
            BehaviourEvent::Autonat(event) => self.dialled_back(&event),
            BehaviourEvent::DialBack(event) => {
                tracing::debug!(client = %event.client, address = %event.tested_addr, "dialled back on request");
            }
            BehaviourEvent::Upnp(event) => router_answered(&event),
            BehaviourEvent::Relay(event) => self.served_as_relay(event),
            BehaviourEvent::RelayClient(event) => self.relay_answered(&event),
            BehaviourEvent::Punch(event) => {
                let (peer, is_direct) = (event.remote_peer_id, event.result.is_ok());
                tracing::debug!(%peer, is_direct, "a direct connection was tried after a relayed one");
            }
            BehaviourEvent::Gossip(event) => self.gossip_event(event),
            BehaviourEvent::Requests(event) => self.request_event(event),
            BehaviourEvent::HalfOpen(never)
            | BehaviourEvent::Limits(never)
            | BehaviourEvent::Memory(never)
            | BehaviourEvent::Blocked(never) => match never {},
        }
    }

    /// A peer was asked to dial back.
    fn dialled_back(&mut self, event: &autonat::v2::client::Event) {
        let (now, group) = (self.now(), self.group_of(&event.server));
        match &event.result {
            Ok(()) => self.reachability.reached(now, group),
            Err(_) => self.reachability.not_reached(now, group),
        }
        let (server, address, reached) = (&event.server, &event.tested_addr, event.result.is_ok());
        tracing::debug!(%server, %address, reached, "a peer was asked to dial back");
    }

    fn inbound_failed(&mut self, error: &ListenError, from: &Multiaddr) {
        count(&self.stats.inbound_failures_total);
        tracing::debug!(%error, "an inbound connection failed");
        let now = self.now();
        match error {
            ListenError::LocalPeerId { .. } => self.clones.came(now, from),
            ListenError::Transport(_) | ListenError::Aborted => self.clones.came_unclear(now),
            ListenError::WrongPeerId { .. } | ListenError::Denied { .. } => {}
        }
    }

    fn listening(&mut self, address: Multiaddr) {
        tracing::info!(%address, "listening");
        if is_dialable(&address) && !Netgroup::of(&address).is_exempt() {
            self.offer_address(address);
        }
    }

    /// Tells others of an address that is public as it stands, and has them asked whether they reach it.
    pub(super) fn offer_address(&mut self, address: Multiaddr) {
        match self.swarm.behaviour_mut().dial_back.as_mut() {
            // What comes of it is `own_candidate`.
            Some(dial_back) => dial_back.offer(address),
            None => self.swarm.add_external_address(address),
        }
    }

    /// AutoNAT has taken note of an address. It counts as ours at once if it is public as it stands: whether anybody gets
    /// through to it is another question.
    fn own_candidate(&mut self, address: Multiaddr) {
        let is_configured = self.config.external.contains(&address);
        if is_relayed(&address) {
            return;
        }
        if is_configured || self.swarm.listeners().any(|own| *own == address) && !Netgroup::of(&address).is_exempt() {
            self.swarm.add_external_address(address);
        }
    }

    /// On the public network a private address says nothing to anybody else.
    pub(super) fn is_plausible(&self, address: &Multiaddr) -> bool {
        is_dialable(address) && (self.params.network != Network::Main || !Netgroup::of(address).is_exempt())
    }

    pub(super) fn hear_of(&mut self, peer: PeerId, address: &Multiaddr, source: Netgroup) {
        if self.is_plausible(address) && peer != *self.swarm.local_peer_id() {
            self.dialing.book.hear(peer, address, source);
        }
    }

    fn kad_event(&mut self, event: kad::Event) {
        match event {
            kad::Event::RoutablePeer { peer, address } | kad::Event::PendingRoutablePeer { peer, address } => {
                // It does not say who told.
                self.hear_of(peer, &address, Netgroup::Unknown);
            }
            // Queries, routing changes and other people's records, which nobody keeps.
            _ => {}
        }
    }

    fn gossip_event(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let ticket = Ticket { message: message_id, from: propagation_source };
                self.gossip_message(ticket, message);
            }
            gossipsub::Event::Subscribed { .. } => self.somebody_listens(),
            gossipsub::Event::SlowPeer { peer_id, .. } => tracing::debug!(peer = %peer_id, "too slow for gossip"),
            gossipsub::Event::Unsubscribed { .. } | gossipsub::Event::GossipsubNotSupported { .. } => {}
        }
    }

    /// Every path from here ends in exactly one verdict.
    fn gossip_message(&mut self, ticket: Ticket, message: gossipsub::Message) {
        count(&self.stats.gossip_received_total);
        let Some(kind) = self.topics.kind(&message.topic) else {
            return self.verdict_on(&ticket, Relay::Ignore);
        };
        if message.data.len() > kind.max_bytes() {
            self.verdict_on(&ticket, Relay::Reject);
            return self.offence(ticket.from, Offence::Malformed);
        }
        let now = self.now();
        if !self.limits.admit_gossip(now, &ticket.from) {
            return self.verdict_on(&ticket, Relay::Ignore);
        }
        self.judge_gossip(kind, ticket, message.data);
    }

    fn request_event(&mut self, event: request_response::Event<Request, Response>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                request_response::Message::Request { request, channel, .. } => self.asked_by(peer, request, channel),
                request_response::Message::Response { request_id, response } => self.answered(request_id, response),
            },
            request_response::Event::OutboundFailure { request_id, error, .. } => self.unanswered(request_id, &error),
            // The peer hung up or was too slow to listen; libp2p has let go of it already.
            request_response::Event::InboundFailure { .. } | request_response::Event::ResponseSent { .. } => {}
        }
    }

    fn asked_by(&mut self, peer: PeerId, request: Request, channel: ResponseChannel<Response>) {
        let now = self.now();
        match self.limits.admit(now, &peer, &request) {
            Admission::Serve => {}
            Admission::Refuse => return self.respond(peer, channel, Response::Refused(Refusal::Busy)),
            Admission::Flood => {
                self.respond(peer, channel, Response::Refused(Refusal::Busy));
                return self.offence(peer, Offence::Flood);
            }
        }
        match request {
            Request::Status(status) => {
                let answer = Response::Status(self.own_status());
                self.respond(peer, channel, answer);
                // A client tells what it asks about, and follows nothing: only what a node says counts.
                if self.is_node(&peer) || status.chain_id != self.chain_id {
                    self.status_told(peer, status);
                }
            }
            Request::Addresses => {
                let answer = self.addresses_to_share();
                self.respond(peer, channel, answer);
            }
            Request::Bodies(_) | Request::Parts { .. } => {
                if let Some((request, channel)) = self.park(peer, request, channel) {
                    self.serve(peer, request, channel);
                }
            }
            Request::Headers { .. } | Request::Transactions(_) | Request::Proof { .. } | Request::Start(_) => {
                self.serve(peer, request, channel)
            }
        }
    }

    fn status_told(&mut self, peer: PeerId, status: Status) {
        if status.chain_id != self.chain_id {
            return self.offence(peer, Offence::OtherChain);
        }
        let claim = Claim { height: status.height, hash: status.hash, work: status.work };
        let clock_offset_s = (status.time.min(i64::MAX as u64) as i64).saturating_sub(unix_now() as i64);
        self.feed(Input::Status { peer, claim, lowest_body: status.lowest_body, clock_offset_s });
        if self.connected.get(&peer).is_some_and(|entry| !entry.pool_seen) {
            self.ask_for_pool(peer);
        }
    }

    fn answered(&mut self, id: OutboundRequestId, response: Response) {
        let Some((peer, asked)) = self.asked.remove(&id) else { return };
        match (asked, response) {
            (Asked::Sync(Question::Status), Response::Status(status)) => {
                if status.chain_id == self.chain_id {
                    self.peer_accepted(peer);
                }
                self.status_told(peer, status);
            }
            (Asked::Sync(Question::Headers), Response::Headers(batch)) => {
                self.feed(Input::Headers { peer, headers: batch.0 });
            }
            (Asked::Sync(Question::Bodies(batch)), Response::Bodies(bodies)) => {
                self.decode_bodies(peer, batch, bodies);
            }
            (Asked::Addresses, Response::Addresses(addresses)) => self.addresses_came(&peer, addresses),
            (Asked::Sync(question), Response::Refused(reason)) => {
                let why = match reason {
                    Refusal::Busy => Failure::Busy,
                    Refusal::Unsupported => Failure::Unsupported,
                };
                self.feed(Input::Failed { peer, question, why });
            }
            (Asked::Pool, Response::Transactions(transactions)) => self.take_pool(peer, transactions),
            (Asked::Parts(hash), Response::Parts(parts)) => self.parts_came(peer, hash, parts),
            (Asked::Parts(hash), Response::Refused(_)) => self.leave_to_sync(hash),
            (Asked::Addresses | Asked::Pool, Response::Refused(_)) => {}
            // An answer to another question than was asked.
            (Asked::Sync(question), _) => self.feed(Input::Failed { peer, question, why: Failure::Malformed }),
            (Asked::Parts(hash), _) => {
                self.offence(peer, Offence::Malformed);
                self.leave_to_sync(hash);
            }
            (Asked::Addresses | Asked::Pool, _) => self.offence(peer, Offence::Malformed),
        }
    }

    fn unanswered(&mut self, id: OutboundRequestId, error: &OutboundFailure) {
        count(&self.stats.requests_failed_total);
        let Some((peer, asked)) = self.asked.remove(&id) else { return };
        let why = match error {
            OutboundFailure::Timeout => Failure::Timeout,
            OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => Failure::Closed,
            OutboundFailure::UnsupportedProtocols => Failure::Unsupported,
            OutboundFailure::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => Failure::Malformed,
            OutboundFailure::Io(_) => Failure::Closed,
        };
        if why == Failure::Unsupported {
            self.peer_serves_nothing(peer);
        }
        match asked {
            Asked::Sync(question) => self.feed(Input::Failed { peer, question, why }),
            Asked::Parts(hash) => self.leave_to_sync(hash),
            Asked::Addresses | Asked::Pool => {}
        }
    }
}

/// What the router says to the wish that it should forward a port.
fn router_answered(event: &upnp::Event) {
    match event {
        upnp::Event::NewExternalAddr { external_addr, .. } => {
            tracing::info!(address = %external_addr, "the router forwards a port");
        }
        upnp::Event::ExpiredExternalAddr { external_addr, .. } => {
            tracing::info!(address = %external_addr, "the router forwards a port no more");
        }
        upnp::Event::GatewayNotFound => tracing::info!("no router that forwards ports on request (UPnP)"),
        upnp::Event::NonRoutableGateway => {
            tracing::info!("the router that forwards ports (UPnP) has no public address itself");
        }
    }
}

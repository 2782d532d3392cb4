//! What libp2p reports, turned into what the rest understands.

use libp2p::{
    Multiaddr, PeerId,
    core::ConnectedPoint,
    gossipsub, identify, kad, mdns, ping,
    request_response::{self, OutboundFailure, OutboundRequestId, ResponseChannel},
    swarm::SwarmEvent,
};

use crate::{
    p2p::{
        behaviour::{BehaviourEvent, kad_protocol},
        limits::Admission,
        message::{Refusal, Request, Response, Status},
        netgroup::{Netgroup, is_dialable},
        stats::count,
    },
    sync::{Claim, Direction, Failure, Input, Offence, Question, Relay},
};
use ledger::params::Network;

use super::{Asked, DialId, Event, Service, jobs::Ticket, unix_now};

/// Addresses taken from one peer's description of itself.
const MAX_IDENTIFY_ADDRESSES: usize = 8;
/// Longest agent string kept.
const MAX_AGENT: usize = 64;

impl Service {
    pub(super) fn swarm_event(&mut self, event: Event) {
        match event {
            SwarmEvent::Behaviour(event) => self.behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, num_established, .. } => {
                self.connection_opened(peer_id, connection_id, &endpoint, num_established.get());
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => self.peer_left(peer_id),
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.dial_failed(connection_id, &error);
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                count(&self.stats.inbound_failures_total);
                tracing::debug!(%error, "an inbound connection failed");
            }
            SwarmEvent::NewListenAddr { address, .. } => self.listening(address),
            SwarmEvent::ListenerClosed { reason: Err(error), .. } | SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener has a problem");
            }
            // libp2p may add events in any release; the others carry nothing that we act upon.
            _ => {}
        }
    }

    fn behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(event) => self.identified(event),
            BehaviourEvent::Ping(ping::Event { peer, result: Ok(time), .. }) => {
                if let Some(entry) = self.connected.get_mut(&peer) {
                    entry.ping = Some(time);
                }
            }
            BehaviourEvent::Ping(ping::Event { result: Err(_), .. }) => {}
            BehaviourEvent::Kad(event) => self.kad_event(event),
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                found.into_iter().for_each(|(peer, address)| self.hear_of(peer, &address, Netgroup::Home));
            }
            BehaviourEvent::Mdns(mdns::Event::Expired(_)) => {}
            BehaviourEvent::Gossip(event) => self.gossip_event(event),
            BehaviourEvent::Requests(event) => self.request_event(event),
            BehaviourEvent::Limits(never) | BehaviourEvent::Memory(never) | BehaviourEvent::Blocked(never) => {
                match never {}
            }
        }
    }

    fn connection_opened(&mut self, peer: PeerId, id: DialId, endpoint: &ConnectedPoint, count_now: u32) {
        count(&self.stats.connections_opened_total);
        let address = endpoint.get_remote_address().clone();
        let direction = if endpoint.is_dialer() { Direction::Outbound } else { Direction::Inbound };
        if direction == Direction::Outbound {
            self.dial_succeeded(id, peer, &address);
        } else if self.bans.refuse(&address, self.connected.values().map(|entry| &entry.address)) {
            self.disconnect(peer);
            return;
        }
        if count_now == 1 {
            self.peer_came(peer, direction, address);
        }
    }

    fn peer_left(&mut self, peer: PeerId) {
        count(&self.stats.connections_closed_total);
        let now = self.now();
        self.limits.remove(now, &peer);
        if let Some(entry) = self.connected.remove(&peer) {
            self.connection_lost(&peer, entry.direction);
            self.feed(Input::Disconnected { peer });
        }
    }

    fn listening(&mut self, address: Multiaddr) {
        tracing::info!(%address, "listening");
        // An address that is public as it stands needs no confirmation from outside.
        if is_dialable(&address) && !Netgroup::of(&address).is_exempt() {
            self.swarm.add_external_address(address);
        }
    }

    fn identified(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        if let Some(entry) = self.connected.get_mut(&peer_id) {
            entry.agent = info.agent_version.chars().filter(|c| !c.is_control()).take(MAX_AGENT).collect();
        }
        let speaks_kad = info.protocols.contains(&kad_protocol(self.params));
        let source = self.group_of(&peer_id);
        for address in info.listen_addrs.iter().filter(|a| is_dialable(a)).take(MAX_IDENTIFY_ADDRESSES) {
            self.hear_of(peer_id, address, source);
            if speaks_kad && self.is_plausible(address) {
                self.swarm.behaviour_mut().kad.add_address(&peer_id, address.clone());
            }
        }
    }

    /// On the public network a private address says nothing to anybody else.
    fn is_plausible(&self, address: &Multiaddr) -> bool {
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
                self.status_told(peer, status);
            }
            Request::Addresses => {
                let answer = self.addresses_to_share();
                self.respond(peer, channel, answer);
            }
            Request::Headers { .. }
            | Request::Bodies(_)
            | Request::Transactions(_)
            | Request::Proof { .. }
            | Request::Start(_) => {
                self.serve(peer, request, channel);
            }
        }
    }

    fn status_told(&mut self, peer: PeerId, status: Status) {
        if status.chain_id != self.params.chain_id() {
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
            (Asked::Sync(Question::Status), Response::Status(status)) => self.status_told(peer, status),
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
            (Asked::Addresses | Asked::Pool, Response::Refused(_)) => {}
            // An answer to another question than was asked.
            (Asked::Sync(question), _) => self.feed(Input::Failed { peer, question, why: Failure::Malformed }),
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
        match asked {
            Asked::Sync(question) => self.feed(Input::Failed { peer, question, why }),
            Asked::Addresses | Asked::Pool => {}
        }
    }
}

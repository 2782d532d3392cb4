//! Who is connected: from the first connection to a peer to the last, what it turns out to be, and who has to go.
//!
//! A connection makes no peer. A peer counts once it has answered for this network; what turns out to belong elsewhere is
//! let go, with the reason in the debug log and a counter.

use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId, core::ConnectedPoint, identify, ping, relay::HOP_PROTOCOL_NAME};

use crate::{
    p2p::{
        dial_failure::DialFailure,
        handle::Route,
        netgroup::{Netgroup, is_dialable},
        places::{self, Inbound},
        standing::{Home, Standing},
        stats::count,
    },
    sync::{Direction, Input},
};

use super::{
    dials::Target,
    entry::{Connected, DialId, Ended, Line, Purpose},
    state::Service,
};

/// Addresses taken from one peer's description of itself.
const MAX_IDENTIFY_ADDRESSES: usize = 8;
/// Longest agent string kept.
const MAX_AGENT: usize = 64;
/// How long an outbound peer may take to tell its status before its place goes to another one.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);
/// How long a feeler stays that is asked whether it reaches this node: libp2p asks every five seconds.
const FEELER_STAY: Duration = Duration::from_secs(25);

impl Service {
    pub(super) fn connection_opened(&mut self, peer: PeerId, id: DialId, endpoint: &ConnectedPoint) {
        count(&self.stats.connections_opened_total);
        let address = endpoint.get_remote_address().clone();
        let route = if self.relayed.was_met(&peer) { Route::Punched } else { Route::Direct };
        let (direction, purpose) = match endpoint {
            ConnectedPoint::Dialer { .. } => {
                let is_wanted = route == Route::Punched && self.dialing.configured.names(&peer);
                let other = if is_wanted { Purpose::Chosen } else { Purpose::Shared };
                let target = self.dial_succeeded(id, peer);
                (Direction::Outbound, target.map_or(other, Target::purpose))
            }
            // A configured peer keeps its place, whoever dialled.
            ConnectedPoint::Listener { .. } if self.dialing.configured.names(&peer) => {
                (Direction::Inbound, Purpose::Chosen)
            }
            ConnectedPoint::Listener { .. } => (Direction::Inbound, Purpose::Shared),
        };
        // It came by itself, or asked over a relay to be dialled.
        let is_its_wish = direction == Direction::Inbound || route == Route::Punched;
        let is_refused = purpose == Purpose::Shared
            && is_its_wish
            && self.bans.refuse(&address, self.connected.values().map(|entry| &entry.address));
        match self.connected.get_mut(&peer) {
            Some(first) => {
                let is_news = purpose == Purpose::Chosen && first.purpose != Purpose::Chosen;
                // Places are counted by peers and libp2p's limits by connections, so one peer must not hold more of them
                // than it needs. Who dials back on request (AutoNAT) was dialled by this node, so that connection has the
                // other direction too.
                let surplus = first.second_line(id, direction);
                if is_news {
                    (first.purpose, first.direction) = (Purpose::Chosen, direction);
                    (first.address, first.route) = (address, route);
                }
                if let Some(surplus) = surplus {
                    self.swarm.close_connection(surplus);
                }
                if is_news {
                    self.chosen_later(peer);
                }
            }
            None if is_refused => drop(self.swarm.close_connection(id)),
            None => self.peer_came(peer, Line::new(id, direction), purpose, (address, route)),
        }
    }

    /// A connected peer holds a place of this node's choice from here on.
    pub(super) fn chosen_later(&mut self, peer: PeerId) {
        self.feed(Input::Chosen { peer });
        self.take_its_word(peer);
        if self.is_node(&peer) {
            self.dial_was_worth_it(peer);
        }
    }

    fn peer_came(&mut self, peer: PeerId, line: Line, purpose: Purpose, (address, route): (Multiaddr, Route)) {
        self.arrivals += 1;
        let direction = line.direction;
        let entry = Connected {
            lines: vec![line],
            direction,
            purpose,
            standing: Standing::New,
            route,
            since: Instant::now(),
            serial: self.arrivals,
            agent: String::new(),
            ping: None,
            last_block: None,
            sees_us_at: None,
            offers_relay: false,
            pool_seen: false,
            let_go: None,
            address,
        };
        let (now, group) = (self.now(), Netgroup::of(&entry.address));
        self.connected.insert(peer, entry);
        self.limits.add(now, peer, group);
        // Peers that others led this node to are no more its own choice than those that came by themselves.
        let direction = if purpose == Purpose::Chosen { Direction::Outbound } else { Direction::Inbound };
        self.feed(Input::Connected { peer, direction });
        self.make_place();
    }

    /// One of several connections to a peer ended.
    pub(super) fn line_closed(&mut self, peer: &PeerId, id: DialId) {
        if let Some(entry) = self.connected.get_mut(peer) {
            entry.lines.retain(|line| line.id != id);
        }
    }

    pub(super) fn ping_answered(&mut self, peer: &PeerId, id: DialId, time: Duration) {
        if let Some(line) = self.relayed.lines.get_mut(&id) {
            line.ping = Some(time);
            return;
        }
        let Some(entry) = self.connected.get_mut(peer) else { return };
        entry.ping = Some(time);
        entry.lines.iter_mut().filter(|line| line.id == id).for_each(|line| line.heard = Instant::now());
    }

    /// Pings were not answered: libp2p tells of the second in a row, after 20 seconds each. A line that has fallen silent
    /// must not be kept: a router has forgotten it, or a machine has lost its power.
    pub(super) fn ping_failed(&mut self, peer: PeerId, id: DialId, failure: &ping::Failure) {
        match failure {
            ping::Failure::Timeout => {
                tracing::debug!(%peer, "a connection has fallen silent");
                self.swarm.close_connection(id);
            }
            // The other end is there, and does not speak it, or the stream broke: then so will the connection.
            ping::Failure::Unsupported | ping::Failure::Other { .. } => {}
        }
    }

    /// If more peers share places than there are, one gives way.
    fn make_place(&mut self) {
        let sharing = self.connected.iter().filter(|(_, entry)| entry.purpose == Purpose::Shared);
        let here: Vec<_> = sharing
            .filter(|(_, entry)| entry.let_go.is_none())
            .map(|(peer, entry)| Inbound {
                peer: *peer,
                group: Netgroup::of(&entry.address),
                serial: entry.serial,
                last_block: entry.last_block,
            })
            .collect();
        if here.len() > self.config.max_peers as usize
            && let Some(peer) = places::gives_way(self.dialing.book.secret(), &here)
        {
            count(&self.stats.inbound_evicted_total);
            self.let_go(peer, DialFailure::FullHere);
        }
    }

    /// A peer was the first to bring a block that has connected: it is worth its place.
    pub(super) fn brought_block(&mut self, peer: PeerId, number: u64) {
        if let Some(entry) = self.connected.get_mut(&peer) {
            entry.last_block = Some(number);
        }
    }

    /// Closes the connections to a peer, for a reason.
    pub(super) fn let_go(&mut self, peer: PeerId, why: DialFailure) {
        tracing::debug!(%peer, code = why.code(), %why, "a peer is let go");
        if let Some(entry) = self.connected.get_mut(&peer) {
            entry.let_go.get_or_insert(why);
        }
        // An error means that it is not connected, which is what we want.
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    pub(super) fn peer_left(&mut self, peer: PeerId) {
        count(&self.stats.connections_closed_total);
        let now = self.now();
        self.limits.remove(now, &peer);
        self.relayed.serving.gone(&peer);
        self.swarm.behaviour_mut().punch.gone(&peer);
        let Some(entry) = self.connected.remove(&peer) else { return };
        let lasted = entry.since.elapsed();
        let why = entry.let_go.unwrap_or(match entry.standing {
            Standing::Node => DialFailure::Lost,
            Standing::New | Standing::Client if lasted < ANSWER_DEADLINE => DialFailure::ClosedAtOnce,
            Standing::New | Standing::Client => DialFailure::Silent,
        });
        let ended = Ended { direction: entry.direction, purpose: entry.purpose, standing: entry.standing, why };
        self.connection_ended(&peer, &ended, lasted.as_millis() as u64);
        self.feed(Input::Disconnected { peer });
    }
}

/// What a peer turns out to be.
impl Service {
    /// It answered for this network's chain.
    pub(super) fn peer_accepted(&mut self, peer: PeerId) {
        let Some(entry) = self.connected.get_mut(&peer) else { return };
        if entry.standing == Standing::Node || entry.let_go.is_some() {
            return;
        }
        entry.standing = Standing::Node;
        let (purpose, direction, group) = (entry.purpose, entry.direction, Netgroup::of(&entry.address));
        // Who was asked over a relay to come did not find the way by itself.
        let by_itself = direction == Direction::Inbound && entry.route == Route::Direct;
        let now = self.now();
        self.relayed.serving.is_node(peer);
        if by_itself {
            self.reachability.reached(now, group);
        }
        self.dial_was_worth_it(peer);
        match purpose {
            Purpose::Chosen => self.ask_for_addresses(peer),
            // It stays for a moment to be asked whether it reaches this node (`let_go_of_feelers`).
            Purpose::Feeler if self.reachability.is_checking(now) => {}
            Purpose::Feeler => self.let_go(peer, DialFailure::FullHere),
            Purpose::Shared => {}
        }
    }

    /// Whether it has answered for this network.
    pub(super) fn is_node(&self, peer: &PeerId) -> bool {
        self.connected.get(peer).is_some_and(|entry| entry.standing == Standing::Node)
    }

    /// It does not serve this network's questions: a light client, or somebody who will say so when identify speaks.
    pub(super) fn peer_serves_nothing(&mut self, peer: PeerId) {
        let Some(entry) = self.connected.get_mut(&peer) else { return };
        if entry.direction == Direction::Inbound && entry.standing == Standing::New {
            entry.standing = Standing::Client;
        }
    }

    pub(super) fn identified(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, connection_id, info } = event else { return };
        if self.relayed.is_line(connection_id) {
            return self.relayed_identified(peer_id, connection_id, &info);
        }
        let Some(entry) = self.connected.get_mut(&peer_id) else { return };
        entry.agent = info.agent_version.chars().filter(|c| !c.is_control()).take(MAX_AGENT).collect();
        let home = self.homes.home_of(&info.protocol_version, &info.protocols);
        if home != Home::Here && entry.standing != Standing::Node {
            count(&self.stats.foreign_peers_total);
            return self.let_go(peer_id, DialFailure::NotHere { home, ours: self.params.network });
        }
        entry.offers_relay = info.protocols.contains(&HOP_PROTOCOL_NAME);
        entry.sees_us_at = Some(info.observed_addr);
        self.take_its_word(peer_id);
        let speaks_kad = info.protocols.contains(&self.kad_protocol);
        let source = self.group_of(&peer_id);
        for address in info.listen_addrs.iter().filter(|a| is_dialable(a)).take(MAX_IDENTIFY_ADDRESSES) {
            self.hear_of(peer_id, address, source);
            if speaks_kad && self.is_plausible(address) {
                self.swarm.behaviour_mut().kad.add_address(&peer_id, address.clone());
            }
        }
    }

    /// Where this node is seen, it believes those that it has chosen itself, and not those that strangers led it to.
    fn take_its_word(&mut self, peer: PeerId) {
        let Some(entry) = self.connected.get(&peer) else { return };
        let is_own_choice = entry.purpose == Purpose::Chosen && entry.direction == Direction::Outbound;
        if let Some(address) = entry.sees_us_at.as_ref().filter(|_| is_own_choice && entry.route == Route::Direct) {
            self.swarm.behaviour_mut().punch.seen_at(peer, Netgroup::of(&entry.address), address);
        }
    }

    /// Feelers that were kept to be asked something.
    pub(super) fn let_go_of_feelers(&mut self) {
        let is_over = |entry: &Connected| entry.purpose == Purpose::Feeler && entry.since.elapsed() > FEELER_STAY;
        let over = self.connected.iter().filter(|(_, entry)| is_over(entry) && entry.let_go.is_none());
        let over: Vec<_> = over.map(|(peer, _)| *peer).collect();
        over.into_iter().for_each(|peer| self.let_go(peer, DialFailure::FullHere));
    }

    /// Outbound peers that do not answer give up their places.
    pub(super) fn let_go_of_silent_peers(&mut self) {
        let is_silent = |entry: &Connected| {
            let is_own_dial = entry.direction == Direction::Outbound;
            is_own_dial && entry.standing == Standing::New && entry.since.elapsed() > ANSWER_DEADLINE
        };
        let silent = self.connected.iter().filter(|(_, entry)| is_silent(entry) && entry.let_go.is_none());
        let silent: Vec<_> = silent.map(|(peer, _)| *peer).collect();
        silent.into_iter().for_each(|peer| self.let_go(peer, DialFailure::Silent));
    }

    /// Peers that hold one of the outbound places.
    pub(super) fn chosen(&self) -> impl Iterator<Item = (&PeerId, &Connected)> {
        self.connected.iter().filter(|(_, entry)| entry.purpose == Purpose::Chosen && entry.let_go.is_none())
    }

    /// Whom to come back to first after a restart: the chosen peers, those that have been here longest first.
    pub(super) fn anchors(&self) -> Vec<PeerId> {
        let mut nodes: Vec<_> = self.chosen().filter(|(_, entry)| entry.standing == Standing::Node).collect();
        nodes.sort_by_key(|(_, entry)| entry.serial);
        nodes.into_iter().map(|(peer, _)| *peer).collect()
    }
}

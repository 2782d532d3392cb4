//! Whom to connect to: configured peers always, then the address book until enough outbound peers are connected, and now
//! and then a feeler, so that the book knows who is there.

use std::collections::BTreeSet;

use libp2p::{
    Multiaddr, PeerId,
    swarm::{DialError, dial_opts::DialOpts},
};
use rand::seq::IndexedRandom;
use tokio::task::spawn_blocking;

use crate::{
    p2p::{
        clone_watch::met_identity,
        configured::{Attempt, ConfiguredState, Notice},
        dial_failure::DialFailure,
        handle::{Route, Surroundings},
        message::{MAX_ADDRESS_BYTES, MAX_ADDRESSES, Request, Response},
        netgroup::{Netgroup, is_relayed, peer_of, without_peer},
        reachability::Reachable,
        standing::Standing,
        stats::{count, set},
    },
    sync::Direction,
};

use super::{
    dials::{AGAIN_MS, Target, write_atomically},
    entry::{Connected, DialId, Ended, Purpose},
    job::{Done, Pending},
    state::{Asked, Service, unix_now},
};

/// Dials under way: more would only compete for the same line.
const MAX_DIALS: usize = 4;
/// The book is written every five minutes (in half seconds) and at the end.
const SAVE_EVERY: u64 = 600;
/// Time between feelers, in half seconds: a full book is tried through in three days.
const FEELER_EVERY: u64 = 240;
/// Longest time between two peers that are dialled again: it doubles while nothing is learnt.
const LONGEST_AGAIN_MS: u64 = 7_200_000;
/// When the first one goes out: the outbound places come first.
const FIRST_FEELER: u64 = 20;

/// Whom to dial.
impl Service {
    /// Called twice a second.
    pub(super) fn dial_more(&mut self) {
        self.dialing.rounds += 1;
        if self.dialing.rounds.is_multiple_of(SAVE_EVERY) {
            self.save_book();
        }
        self.dial_configured();
        self.dial_from_book();
        if self.dialing.rounds % FEELER_EVERY == FIRST_FEELER {
            self.dial_feeler();
        }
    }

    fn dial_configured(&mut self) {
        let now = self.now();
        let connected = &self.connected;
        for attempt in self.dialing.configured.due(now, MAX_DIALS, |peer| connected.contains_key(peer)) {
            self.dial_attempt(attempt);
        }
    }

    fn dial_attempt(&mut self, attempt: Attempt) {
        let target = Target::Configured(attempt.index);
        let is_relayed = is_relayed(&attempt.address);
        let leads_back = is_relayed && attempt.expected.as_ref() == Some(self.swarm.local_peer_id());
        if leads_back || self.is_own(&attempt.address) {
            return self.configured_failed(attempt.index, DialFailure::OwnAddress);
        }
        if is_relayed && !attempt.expected.is_some_and(|peer| self.relayed.may_dial(&attempt.address, peer)) {
            return self.configured_failed(attempt.index, DialFailure::BadAddress);
        }
        // Who expects himself is told what answers there.
        let expected = attempt.expected.filter(|peer| peer != self.swarm.local_peer_id());
        // From the port that this node listens on, a dial to itself would connect the socket with itself, and end in noise.
        let options = match expected {
            Some(peer) => DialOpts::peer_id(peer).addresses(vec![attempt.address]).allocate_new_port().build(),
            None => DialOpts::unknown_peer_id().address(attempt.address).allocate_new_port().build(),
        };
        self.dial(options, target);
    }

    fn dial_from_book(&mut self) {
        let now = self.now();
        let mut taken: BTreeSet<_> = self.chosen().map(|(_, entry)| Netgroup::of(&entry.address)).collect();
        taken.extend(self.dialing.dials.values().filter_map(|target| match target {
            Target::Book(_, group) => Some(*group),
            Target::Feeler(_) | Target::Configured(_) => None,
        }));
        let mut busy = self.busy();
        let wanted = (self.config.outbound as usize).saturating_sub(self.chosen().count());
        for _ in self.dialing.dials.len()..MAX_DIALS.min(wanted) {
            let next = self.dialing.book.next_to_dial(now, &mut self.rng, &busy, &taken);
            let Some((peer, addresses)) = next else { return };
            busy.insert(peer);
            let group = addresses.first().map_or(Netgroup::Unknown, Netgroup::of);
            taken.insert(group);
            self.dial(DialOpts::peer_id(peer).addresses(addresses).build(), Target::Book(peer, group));
        }
    }

    fn dial_feeler(&mut self) {
        let (now, busy) = (self.now(), self.busy());
        let book = &self.dialing.book;
        let feeler = book.next_feeler(now, &mut self.rng, &busy);
        // Whom to ask whether he reaches this node need not be unknown.
        let is_checking = self.reachability.is_checking(now);
        let feeler =
            feeler.or_else(|| book.next_to_dial(now, &mut self.rng, &busy, &BTreeSet::new()).filter(|_| is_checking));
        if let Some((peer, addresses)) = feeler {
            count(&self.stats.feelers_total);
            self.dial(DialOpts::peer_id(peer).addresses(addresses).build(), Target::Feeler(peer));
        } else if is_checking {
            self.dial_again();
        }
    }

    /// Nobody else is there to be asked: one of the peers that this node dialled is dialled again, because libp2p asks
    /// new connections. In a small network this is the only way to learn whether others still reach this node.
    fn dial_again(&mut self) {
        let now = self.now();
        if self.dialing.last_again.is_some_and(|at| now.since(at) < self.dialing.again_pause_ms) {
            return;
        }
        let is_settled = |entry: &Connected| {
            let is_own = entry.direction == Direction::Outbound && entry.route == Route::Direct;
            is_own && entry.standing == Standing::Node && entry.since.elapsed().as_millis() as u64 >= AGAIN_MS
        };
        let settled: Vec<_> = self.chosen().filter(|(_, entry)| is_settled(entry)).map(|(peer, _)| *peer).collect();
        // Not the only one: it may be the only one that there is, and what it tells is worth more.
        if settled.len() < 2 {
            return;
        }
        if let Some(peer) = settled.choose(&mut self.rng).copied() {
            self.dialing.last_again = Some(now);
            // As long as nothing comes of it, less and less often.
            self.dialing.again_pause_ms = (2 * self.dialing.again_pause_ms).min(LONGEST_AGAIN_MS);
            self.let_go(peer, DialFailure::Lost);
        }
    }

    /// Has others asked anew whether they reach this node, when that is about to be forgotten.
    pub(super) fn check_reachability(&mut self) {
        let now = self.now();
        if self.reachability.state(now) != Reachable::Unknown {
            self.dialing.again_pause_ms = AGAIN_MS;
        }
        let Some(asking) = self.swarm.behaviour_mut().autonat.as_mut() else { return };
        if asking.has_addresses() && self.reachability.begins_check(now) {
            asking.renew();
            tracing::debug!("others are asked anew whether they reach this node");
        }
    }

    /// Peers that are connected or being dialled, and this node itself.
    fn busy(&self) -> BTreeSet<PeerId> {
        let dialled = self.dialing.dials.values().filter_map(|target| target.book_peer());
        self.connected.keys().copied().chain([*self.swarm.local_peer_id()]).chain(dialled).collect()
    }

    fn dial(&mut self, options: DialOpts, target: Target) {
        let id = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => drop(self.dialing.dials.insert(id, target)),
            Err(error) => self.target_failed(target, &error),
        }
    }

    /// The configuration lists these peers now.
    pub(super) fn set_peers(&mut self, addresses: &[Multiaddr]) {
        self.dialing.configured.set(addresses);
        self.relayed.configure(addresses);
        let named = |peer: &PeerId| self.dialing.configured.names(peer);
        let here: Vec<_> = self.connected.keys().filter(|peer| named(peer)).copied().collect();
        for peer in here {
            let Some(entry) = self.connected.get_mut(&peer) else { continue };
            if std::mem::replace(&mut entry.purpose, Purpose::Chosen) != Purpose::Chosen {
                self.chosen_later(peer);
            } else if self.is_node(&peer) {
                self.dialing.configured.accepted(&peer).into_iter().for_each(tell);
            }
        }
    }

    /// Whether this node listens at the address, or others reach it there.
    pub(super) fn is_own(&self, address: &Multiaddr) -> bool {
        // What follows the relay's address decides, and that is a peer's id.
        if is_relayed(address) {
            return false;
        }
        let address = without_peer(address);
        let mut own = self.swarm.listeners().chain(self.swarm.external_addresses());
        own.any(|other| without_peer(other) == address)
    }
}

/// What became of dials.
impl Service {
    /// A connection that this node opened is up. Returns what it is for: none of ours, if libp2p opened it by itself.
    pub(super) fn dial_succeeded(&mut self, id: DialId, peer: PeerId) -> Option<Target> {
        let target = self.dialing.dials.remove(&id)?;
        if let Target::Configured(index) = target {
            self.dialing.configured.opened(index, peer);
            if self.is_node(&peer) {
                let notices = self.dialing.configured.accepted(&peer);
                notices.into_iter().for_each(tell);
            }
        }
        Some(target)
    }

    pub(super) fn dial_failed(&mut self, id: DialId, error: &DialError) {
        count(&self.stats.dial_failures_total);
        if let Some(target) = self.dialing.dials.remove(&id) {
            self.target_failed(target, error);
        }
    }

    fn target_failed(&mut self, target: Target, error: &DialError) {
        let now = self.now();
        let failure = DialFailure::of(error, |address| self.is_own(address));
        if let Some(address) = met_identity(error, self.swarm.local_peer_id()) {
            if self.is_own(address) {
                self.clones.dialled_own(now, address);
            } else {
                self.clones.dialled(now, address);
            }
        }
        // Somebody else dials the peer at this moment, or it has just connected.
        let is_done_already = matches!(error, DialError::DialPeerConditionFalse(_));
        match target {
            Target::Configured(index) if is_done_already => self.dialing.configured.postponed(now, index),
            Target::Configured(index) => self.configured_failed(index, failure),
            Target::Book(..) | Target::Feeler(_) if is_done_already => {}
            Target::Book(peer, _) | Target::Feeler(peer) => {
                tracing::debug!(%peer, why = failure.code(), "dial failed");
                self.dialing.book.failed(now, &peer, &mut self.rng);
            }
        }
    }

    fn configured_failed(&mut self, index: usize, failure: DialFailure) {
        let now = self.now();
        let notice = self.dialing.configured.failed(now, &mut self.rng, index, failure);
        notice.into_iter().for_each(tell);
    }

    /// A configured peer that was connected or met through a relay for `lasted_ms` has gone.
    pub(super) fn configured_ended(&mut self, peer: &PeerId, why: &DialFailure, lasted_ms: u64) {
        let now = self.now();
        let notices = self.dialing.configured.ended(now, &mut self.rng, peer, why, lasted_ms);
        notices.into_iter().for_each(tell);
    }

    /// A peer that this node was connected to for `lasted_ms` has gone.
    pub(super) fn connection_ended(&mut self, peer: &PeerId, ended: &Ended, lasted_ms: u64) {
        let now = self.now();
        self.configured_ended(peer, &ended.why, lasted_ms);
        // A feeler is let go of by this node as soon as it has answered.
        let is_feeler = ended.purpose == Purpose::Feeler && ended.standing == Standing::Node;
        if !is_feeler && (ended.standing != Standing::Node || lasted_ms < STAYED_MS) {
            // Else it would be dialled for each question that kad has, whichever side turned the other away, and without
            // a pause.
            self.swarm.behaviour_mut().kad.remove_peer(peer);
        }
        let book = &mut self.dialing.book;
        if ended.direction == Direction::Inbound {
            return;
        }
        match (ended.standing, &ended.why) {
            // It belongs elsewhere: of no use to this node or to those it would tell.
            (_, DialFailure::NotHere { .. }) => book.forget(peer),
            (Standing::Node, _) if ended.purpose == Purpose::Feeler => book.stayed(peer),
            (Standing::Node, _) => {
                if lasted_ms >= STAYED_MS {
                    book.stayed(peer);
                }
                book.failed(now, peer, &mut self.rng);
            }
            (Standing::New | Standing::Client, _) => book.failed(now, peer, &mut self.rng),
        }
    }

    /// A peer has answered for this network: only now is it reached.
    pub(super) fn dial_was_worth_it(&mut self, peer: PeerId) {
        let notices = self.dialing.configured.accepted(&peer);
        notices.into_iter().for_each(tell);
        let is_known_way = |entry: &&Connected| entry.direction == Direction::Outbound && entry.route == Route::Direct;
        if let Some(entry) = self.connected.get(&peer).filter(is_known_way) {
            self.dialing.book.reached(unix_now(), peer, &entry.address);
        }
    }

    pub(super) fn surroundings(&self) -> Surroundings {
        Surroundings {
            configured: self.dialing.configured.report(),
            identity_copy: self.clones.copy().cloned(),
            reachable: self.reachable(),
        }
    }

    /// Whether others can reach this node. Where it listens nowhere and others are sent nowhere, nobody needs to try.
    pub(super) fn reachable(&self) -> Reachable {
        let mut own = self.swarm.listeners().filter(|address| !is_relayed(address));
        if own.next().is_none() && self.config.listen.is_empty() && self.config.external.is_empty() {
            return Reachable::No;
        }
        self.reachability.state(self.now())
    }
}

/// A connection that lasted this long was of use.
const STAYED_MS: u64 = 60_000;

/// Says in the log what an operator should know of a configured peer.
fn tell(notice: Notice) {
    match notice {
        Notice::Failing { address, failure, failures } => {
            tracing::warn!(%address, code = failure.code(), why = %failure, failures, "a configured peer is not reached");
        }
        Notice::Reached { address } => tracing::info!(%address, "a configured peer is reached now"),
    }
}

/// Addresses.
impl Service {
    /// Asks a peer that we chose ourselves for others.
    pub(super) fn ask_for_addresses(&mut self, peer: PeerId) {
        self.ask(peer, Asked::Addresses, Request::Addresses);
    }

    /// A peer told of others; each address ends in the id of whom it leads to.
    pub(super) fn addresses_came(&mut self, teller: &PeerId, addresses: Vec<Vec<u8>>) {
        let source = self.group_of(teller);
        for address in addresses.into_iter().filter_map(|bytes| Multiaddr::try_from(bytes).ok()) {
            if let Some(peer) = peer_of(&address) {
                self.hear_of(peer, &address, source);
            }
        }
    }

    pub(super) fn group_of(&self, peer: &PeerId) -> Netgroup {
        self.connected.get(peer).map_or(Netgroup::Unknown, |entry| Netgroup::of(&entry.address))
    }

    pub(super) fn addresses_to_share(&mut self) -> Response {
        let shared = self.dialing.book.to_share(unix_now(), &mut self.rng, MAX_ADDRESSES);
        let bytes = shared.into_iter().map(|address| address.to_vec());
        Response::Addresses(bytes.filter(|bytes| bytes.len() <= MAX_ADDRESS_BYTES).collect())
    }

    fn save_book(&mut self) {
        let now = unix_now();
        // Who is connected is there now, however long ago the connection began.
        let is_known_way = |entry: &Connected| entry.standing == Standing::Node && entry.route == Route::Direct;
        let here: Vec<_> = self.chosen().filter(|(_, entry)| is_known_way(entry)).collect();
        let here: Vec<_> = here.into_iter().map(|(peer, entry)| (*peer, entry.address.clone())).collect();
        here.into_iter().for_each(|(peer, address)| self.dialing.book.reached(now, peer, &address));
        let anchors = self.anchors();
        self.dialing.book.set_anchors(anchors);
        let (file, text) = (self.dialing.file.clone(), self.dialing.book.to_text());
        self.spawn_job(Pending::Save, async move {
            if let Ok(Err(error)) = spawn_blocking(move || write_atomically(&file, &text)).await {
                tracing::warn!(%error, "the address book could not be written");
            }
            Done::Saved
        });
    }

    pub(super) fn update_levels(&mut self) {
        let nodes = |direction: Direction| {
            let nodes = self.connected.values().filter(|entry| entry.standing == Standing::Node);
            nodes.filter(|entry| entry.direction == direction).count()
        };
        set(&self.stats.peers_outbound, nodes(Direction::Outbound));
        set(&self.stats.peers_inbound, nodes(Direction::Inbound));
        let clients = self.connected.values().filter(|entry| entry.standing == Standing::Client).count();
        set(&self.stats.clients, clients);
        let report = self.dialing.configured.report();
        let failing = report.iter().filter(|peer| peer.state == ConfiguredState::Failing).count();
        set(&self.stats.configured_failing, failing);
        set(&self.stats.identity_copied, usize::from(self.clones.copy().is_some()));
        let reachable = self.reachable();
        set(&self.stats.reachable_unknown, usize::from(reachable == Reachable::Unknown));
        set(&self.stats.reachable_yes, usize::from(reachable == Reachable::Yes));
        set(&self.stats.reachable_no, usize::from(reachable == Reachable::No));
        set(&self.stats.known_peers, self.dialing.book.len());
        set(&self.stats.banned_peers, self.bans.len());
        set(&self.stats.jobs, self.pending.len());
    }
}

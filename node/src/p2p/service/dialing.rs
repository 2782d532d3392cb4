//! Whom to connect to: configured peers always, then the address book until enough outbound peers are connected.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    time::Instant,
};

use libp2p::{
    Multiaddr, PeerId,
    swarm::{DialError, dial_opts::DialOpts},
};
use tokio::task::spawn_blocking;

use crate::{
    p2p::{
        Config,
        address_book::AddressBook,
        message::{MAX_ADDRESS_BYTES, MAX_ADDRESSES, Request, Response},
        netgroup::{Netgroup, peer_of, without_peer},
        stats::{count, set},
    },
    sync::{Direction, Input},
};

use super::{
    Asked, Connected, DialId, Service,
    jobs::{Done, Pending},
    unix_now,
};

const FILE: &str = "peers.txt";
/// Dials under way: more would only compete for the same line.
const MAX_DIALS: usize = 4;
/// The book is written every five minutes (in half seconds) and at the end.
const SAVE_EVERY: u64 = 600;
/// A configured address without peer id is tried again after this, doubling up to a minute.
const FIRST_RETRY_S: u64 = 1;
const LONGEST_RETRY_S: u64 = 60;

/// Dialling state.
pub struct Dialing {
    pub book: AddressBook,
    file: PathBuf,
    /// Configured addresses that do not say whom they lead to.
    nameless: Vec<Nameless>,
    dials: HashMap<DialId, Target>,
    rounds: u64,
}

struct Nameless {
    address: Multiaddr,
    peer: Option<PeerId>,
    next_try: u64,
    failures: u32,
}

enum Target {
    Peer(PeerId),
    Nameless(usize),
    Once,
}

impl Dialing {
    pub fn new(config: &Config, data_dir: &Path, local: &PeerId) -> Self {
        let file = data_dir.join(FILE);
        // No file yet, or an unreadable one: the book fills again by itself.
        let mut book = std::fs::read_to_string(&file).map(|text| AddressBook::from_text(&text)).unwrap_or_default();
        let mut nameless = Vec::new();
        for address in &config.peers {
            match peer_of(address) {
                Some(peer) if peer == *local => {}
                Some(peer) => book.configure(peer, address),
                None => nameless.push(Nameless { address: address.clone(), peer: None, next_try: 0, failures: 0 }),
            }
        }
        Self { book, file, nameless, dials: HashMap::new(), rounds: 0 }
    }

    /// Whether a configured address without an identity led to this peer.
    pub fn is_named(&self, peer: &PeerId) -> bool {
        self.nameless.iter().any(|entry| entry.peer.as_ref() == Some(peer))
    }

    /// Writes the book, remembering whom to dial first after a restart.
    pub async fn save(&mut self, outbound: BTreeSet<PeerId>) {
        self.book.set_anchors(outbound);
        let (file, text) = (self.file.clone(), self.book.to_text());
        // The book is a convenience: if it cannot be written, the node goes on and says so.
        if let Ok(Err(error)) = spawn_blocking(move || write_atomically(&file, &text)).await {
            tracing::warn!(%error, "the address book could not be written");
        }
    }
}

fn write_atomically(file: &Path, text: &str) -> std::io::Result<()> {
    let temporary = file.with_extension("tmp");
    std::fs::write(&temporary, text)?;
    std::fs::rename(temporary, file)
}

impl Service {
    /// Called twice a second.
    pub(super) fn dial_more(&mut self) {
        self.dialing.rounds += 1;
        if self.dialing.rounds.is_multiple_of(SAVE_EVERY) {
            self.save_book();
        }
        self.dial_nameless();
        self.dial_from_book();
    }

    fn dial_nameless(&mut self) {
        let now = unix_now();
        for index in 0..self.dialing.nameless.len() {
            let entry = &self.dialing.nameless[index];
            let connected = entry.peer.is_some_and(|peer| self.connected.contains_key(&peer));
            let dialling = self.dialing.dials.values().any(|t| matches!(t, Target::Nameless(i) if *i == index));
            if !connected && !dialling && entry.next_try <= now {
                let options = DialOpts::unknown_peer_id().address(entry.address.clone()).build();
                self.dial(options, Target::Nameless(index));
            }
        }
    }

    fn dial_from_book(&mut self) {
        let now = unix_now();
        let mut taken: BTreeSet<_> = self.outbound_groups().collect();
        let mut busy: BTreeSet<_> = self.connected.keys().copied().chain([*self.swarm.local_peer_id()]).collect();
        busy.extend(self.dialing.dials.values().filter_map(|target| match target {
            Target::Peer(peer) => Some(*peer),
            Target::Nameless(_) | Target::Once => None,
        }));
        let enough = self.outbound_peers().count() >= self.config.outbound as usize;
        while self.dialing.dials.len() < MAX_DIALS {
            let next = self.dialing.book.next_to_dial(now, &mut self.rng, &busy, &taken);
            let Some((peer, addresses)) = next else { return };
            // Configured peers come first, so once another one comes up there is none left.
            if enough && !self.dialing.book.is_configured(&peer) {
                return;
            }
            busy.insert(peer);
            taken.extend(addresses.first().map(Netgroup::of));
            self.dial(DialOpts::peer_id(peer).addresses(addresses).build(), Target::Peer(peer));
        }
    }

    fn outbound_groups(&self) -> impl Iterator<Item = Netgroup> {
        let outbound = self.connected.values().filter(|entry| entry.direction == Direction::Outbound);
        outbound.map(|entry| Netgroup::of(&entry.address))
    }

    /// Dials on an operator's wish.
    pub(super) fn dial_once(&mut self, address: Multiaddr) {
        let options = match peer_of(&address) {
            Some(peer) => DialOpts::peer_id(peer).addresses(vec![without_peer(&address)]).build(),
            None => DialOpts::unknown_peer_id().address(address).build(),
        };
        self.dial(options, Target::Once);
    }

    fn dial(&mut self, options: DialOpts, target: Target) {
        let id = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => drop(self.dialing.dials.insert(id, target)),
            Err(error) => self.target_failed(target, &error),
        }
    }

    /// A connection that this node opened is up.
    pub(super) fn dial_succeeded(&mut self, id: DialId, peer: PeerId, address: &Multiaddr) {
        match self.dialing.dials.remove(&id) {
            Some(Target::Nameless(index)) => {
                let entry = &mut self.dialing.nameless[index];
                (entry.peer, entry.failures, entry.next_try) = (Some(peer), 0, 0);
            }
            Some(Target::Peer(_) | Target::Once) | None => {}
        }
        self.dialing.book.reached(unix_now(), peer, address);
    }

    pub(super) fn dial_failed(&mut self, id: DialId, error: &DialError) {
        count(&self.stats.dial_failures_total);
        if let Some(target) = self.dialing.dials.remove(&id) {
            self.target_failed(target, error);
        }
    }

    fn target_failed(&mut self, target: Target, error: &DialError) {
        let now = unix_now();
        match target {
            Target::Peer(peer) => self.dialing.book.failed(now, &peer, &mut self.rng),
            Target::Nameless(index) => {
                let entry = &mut self.dialing.nameless[index];
                entry.failures += 1;
                let wait = (FIRST_RETRY_S << entry.failures.min(10)).min(LONGEST_RETRY_S);
                let is_self = matches!(error, DialError::LocalPeerId { .. });
                entry.next_try = if is_self { u64::MAX } else { now + wait };
            }
            Target::Once => tracing::info!(%error, "could not connect"),
        }
    }

    /// The last connection to a peer ended: come back to it if it was ours.
    pub(super) fn connection_lost(&mut self, peer: &PeerId, direction: Direction) {
        if direction == Direction::Outbound {
            self.dialing.book.failed(unix_now(), peer, &mut self.rng);
        }
        for entry in self.dialing.nameless.iter_mut().filter(|entry| entry.peer == Some(*peer)) {
            entry.next_try = unix_now() + FIRST_RETRY_S;
        }
    }

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

    pub(super) fn lift_bans(&mut self) {
        let now = self.now();
        for peer in self.bans.lift(now) {
            self.swarm.behaviour_mut().blocked.unblock_peer(peer);
        }
    }

    fn save_book(&mut self) {
        self.dialing.book.set_anchors(self.outbound_peers().collect::<Vec<_>>());
        let (file, text) = (self.dialing.file.clone(), self.dialing.book.to_text());
        self.spawn_job(Pending::Save, async move {
            if let Ok(Err(error)) = spawn_blocking(move || write_atomically(&file, &text)).await {
                tracing::warn!(%error, "the address book could not be written");
            }
            Done::Saved
        });
    }

    pub(super) fn update_levels(&mut self) {
        let outbound = self.outbound_peers().count();
        set(&self.stats.peers_outbound, outbound);
        set(&self.stats.peers_inbound, self.connected.len() - outbound);
        set(&self.stats.known_peers, self.dialing.book.len());
        set(&self.stats.banned_peers, self.bans.len());
        set(&self.stats.jobs, self.pending.len());
    }

    /// Notes a new peer; a second connection to the same one changes nothing.
    pub(super) fn peer_came(&mut self, peer: PeerId, direction: Direction, address: Multiaddr) {
        let group = Netgroup::of(&address);
        let (agent, since) = (String::new(), Instant::now());
        let entry = Connected { direction, address, since, agent, ping: None, pool_seen: false };
        self.connected.insert(peer, entry);
        let now = self.now();
        self.limits.add(now, peer, group);
        self.feed(Input::Connected { peer, direction });
        if direction == Direction::Outbound {
            self.ask_for_addresses(peer);
        }
    }
}

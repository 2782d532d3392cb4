//! What the network task remembers of relays and of what comes through them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, PeerId};

use crate::{
    p2p::{
        dial_failure::DialFailure,
        handle::{PeerInfo, Route},
        relay::{gate::Allowed, reserving::Reserving, serving::Limits},
    },
    sync::Direction,
};

use super::entry::DialId;

/// Relayed connections at a time, of both directions.
pub const MAX_RELAYED: usize = 8;
/// A direct connection that comes within this time after a relayed one is taken to be the result of it: three rounds of
/// hole punching with ten seconds each, and as much again for two nodes that see things in different order.
const MET_LATELY: Duration = Duration::from_secs(120);
/// Peers remembered because they were met through a relay lately.
const MAX_MET: usize = 64;

/// A relayed connection.
#[derive(Debug)]
pub struct RelayedLine {
    pub peer: PeerId,
    pub direction: Direction,
    pub address: Multiaddr,
    pub since: Instant,
    /// Since when there is a direct one too.
    pub direct_since: Option<Instant>,
    pub agent: String,
    pub ping: Option<Duration>,
    /// Why this node closes it, once it does.
    pub closing: Option<DialFailure>,
}

/// All of it.
pub struct Relayed {
    local: PeerId,
    allowed: Allowed,
    pub(super) serving: Limits,
    pub(super) reserving: Reserving,
    /// Whether this node is a relay now.
    pub(super) serves: bool,
    /// Circuits of others now.
    pub(super) circuits: usize,
    pub(super) lines: BTreeMap<DialId, RelayedLine>,
    met: VecDeque<(PeerId, Instant)>,
}

impl Relayed {
    /// For the node with this identity and these configured peers.
    pub fn new(local: PeerId, allowed: Allowed, serving: Limits, configured: &[Multiaddr]) -> Self {
        allowed.set(local, configured);
        let (reserving, lines, met) = (Reserving::default(), BTreeMap::new(), VecDeque::new());
        Self { local, allowed, serving, reserving, serves: false, circuits: 0, lines, met }
    }

    /// The configuration lists these peers now.
    pub fn configure(&self, addresses: &[Multiaddr]) {
        self.allowed.set(self.local, addresses);
    }

    /// Whether the configuration wants this peer dialled there.
    pub fn may_dial(&self, address: &Multiaddr, peer: PeerId) -> bool {
        address.clone().with_p2p(peer).is_ok_and(|address| self.allowed.allows(&address))
    }

    /// A relayed connection came up. Returns whether there are too many.
    pub fn opened(&mut self, id: DialId, line: RelayedLine) -> bool {
        self.met.retain(|(peer, at)| *peer != line.peer && at.elapsed() < MET_LATELY);
        if self.met.len() == MAX_MET {
            self.met.pop_front();
        }
        self.met.push_back((line.peer, line.since));
        self.lines.insert(id, line);
        self.lines.len() > MAX_RELAYED
    }

    /// Whether the peer is met through a relay, or was lately.
    pub fn was_met(&self, peer: &PeerId) -> bool {
        self.lines_of(peer) > 0 || self.met.iter().any(|(other, at)| other == peer && at.elapsed() < MET_LATELY)
    }

    /// Relayed connections to a peer.
    pub fn lines_of(&self, peer: &PeerId) -> usize {
        self.lines.values().filter(|line| line.peer == *peer).count()
    }

    /// Whether a connection is relayed.
    pub fn is_line(&self, id: DialId) -> bool {
        self.lines.contains_key(&id)
    }

    /// Who is met through a relay.
    pub fn peers(&self) -> impl Iterator<Item = PeerInfo> {
        self.lines.values().filter(|line| line.closing.is_none()).map(|line| PeerInfo {
            peer: line.peer,
            address: line.address.clone(),
            direction: line.direction,
            route: Route::Relayed,
            agent: line.agent.clone(),
            height: None,
            ping: line.ping,
            connected_for: line.since.elapsed(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(peer: PeerId, since: Instant) -> RelayedLine {
        RelayedLine {
            peer,
            direction: Direction::Inbound,
            address: Multiaddr::empty(),
            since,
            direct_since: None,
            agent: String::new(),
            ping: None,
            closing: None,
        }
    }

    #[test]
    fn relayed_connections_are_few_and_remembered_for_a_while() {
        let id = DialId::new_unchecked;
        let mut relayed = Relayed::new(PeerId::random(), Allowed::default(), Limits::default(), &[]);
        let too_many = (0..10).filter(|number| relayed.opened(id(*number), line(PeerId::random(), Instant::now())));
        assert_eq!(too_many.count(), 2);
        let peer = PeerId::random();
        relayed.opened(id(20), line(peer, Instant::now()));
        relayed.lines.remove(&id(20));
        assert!(relayed.was_met(&peer) && !relayed.was_met(&PeerId::random()));
        let long_ago = Instant::now().checked_sub(MET_LATELY).expect("the machine runs for longer");
        relayed.met.iter_mut().for_each(|(_, at)| *at = long_ago);
        assert!(!relayed.was_met(&peer));
        for number in 100..1_000 {
            relayed.opened(id(number), line(PeerId::random(), Instant::now()));
            relayed.lines.remove(&id(number));
        }
        assert_eq!(relayed.met.len(), MAX_MET);
    }
}

//! What the network task remembers of a connected peer.

use std::time::{Duration, Instant};

use libp2p::{Multiaddr, swarm::ConnectionId};

use crate::{
    p2p::{dial_failure::DialFailure, handle::Route, standing::Standing},
    sync::Direction,
};

/// A healthy line answers a ping every 15 seconds. One that has not for so long gives way to another one of the same side:
/// its peer comes anew because it knows that the old one is dead.
const SILENT: Duration = Duration::from_secs(35);

/// Tells one dial, and the connection that it leads to, from another.
pub type DialId = ConnectionId;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// This node chose the peer; the connection holds one of its outbound places.
    Chosen,
    /// This node wants to know whether the peer is there, and no more.
    Feeler,
    /// The peer came by itself, or libp2p opened the connection to find others. It holds one of the places that have to
    /// be shared.
    Shared,
}

/// One of the connections to a peer.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub id: DialId,
    pub direction: Direction,
    /// When it opened, or a ping was answered last.
    pub heard: Instant,
}

impl Line {
    /// One that has just opened.
    pub fn new(id: DialId, direction: Direction) -> Self {
        Self { id, direction, heard: Instant::now() }
    }
}

/// One connected peer.
pub struct Connected {
    /// Its connections: hardly ever more than one that each side has opened.
    pub lines: Vec<Line>,
    /// Who opened the connection by which it came or, if this node chose it later, the one that chose it.
    pub direction: Direction,
    pub purpose: Purpose,
    pub standing: Standing,
    /// Never relayed: who is met through a relay is no connected peer.
    pub route: Route,
    pub address: Multiaddr,
    pub since: Instant,
    /// Its number in the order of arrival.
    pub serial: u64,
    pub agent: String,
    pub ping: Option<Duration>,
    /// Number of the last new block that it brought.
    pub last_block: Option<u64>,
    /// Where it sees this node, as it says.
    pub sees_us_at: Option<Multiaddr>,
    /// Whether it is a relay for others.
    pub offers_relay: bool,
    /// Whether its mempool was looked into since it came.
    pub pool_seen: bool,
    /// Why this node lets it go, once it does.
    pub let_go: Option<DialFailure>,
}

impl Connected {
    /// A further connection came up. Returns which one has to go, if two are of the same side: the first one stays, since
    /// that side does not close it meanwhile, unless it has fallen silent. If both sides dialled at once, closing either
    /// could close both.
    pub fn second_line(&mut self, id: DialId, direction: Direction) -> Option<DialId> {
        let first = self.lines.iter().position(|line| line.direction == direction);
        match first.map(|index| self.lines[index]) {
            Some(line) if line.heard.elapsed() < SILENT => return Some(id),
            _ => {}
        }
        self.lines.push(Line::new(id, direction));
        first.map(|index| self.lines.remove(index).id)
    }
}

/// How a connection ended.
pub struct Ended {
    pub direction: Direction,
    pub purpose: Purpose,
    pub standing: Standing,
    pub why: DialFailure,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Connected {
        let (id, direction) = (DialId::new_unchecked(1), Direction::Inbound);
        Connected {
            lines: vec![Line::new(id, direction)],
            direction,
            purpose: Purpose::Shared,
            standing: Standing::New,
            route: Route::Direct,
            address: Multiaddr::empty(),
            since: Instant::now(),
            serial: 1,
            agent: String::new(),
            ping: None,
            last_block: None,
            sees_us_at: None,
            offers_relay: false,
            pool_seen: false,
            let_go: None,
        }
    }

    #[test]
    fn the_first_connection_of_a_side_stays_unless_it_has_fallen_silent() {
        let id = DialId::new_unchecked;
        let mut entry = peer();
        assert_eq!(entry.second_line(id(2), Direction::Inbound), Some(id(2)));
        assert_eq!(entry.second_line(id(3), Direction::Outbound), None, "both sides dialled");
        entry.lines[0].heard = Instant::now().checked_sub(SILENT).expect("the machine runs for longer");
        assert_eq!(entry.second_line(id(4), Direction::Inbound), Some(id(1)));
        assert_eq!(entry.second_line(id(5), Direction::Inbound), Some(id(5)));
        let left: Vec<_> = entry.lines.iter().map(|line| line.id).collect();
        assert_eq!(left, [id(3), id(4)]);
    }
}

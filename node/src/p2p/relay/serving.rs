//! What this node does for others as a relay, and the limits of it (circuit relay v2, protocol §10).
//!
//! A relay is there for hole punching and for nothing else. What a stranger can have for nothing, with as many identities
//! as he likes:
//!
//! - Reservations cost the memory of an entry. Only nodes of this network get one, one for each, two for an address group,
//!   [`MAX_RESERVATIONS`] in all; and whoever holds one holds a connection too, which is counted as ever.
//! - Circuits carry [`CIRCUIT_BYTES`] and what fills libp2p's two buffers, both directions together, for at most
//!   [`CIRCUIT_TIME`]: a handshake, identify and three rounds of hole punching. They begin at the rate that the slowest of
//!   three buckets allows: of the peer that opens them, of its address group, and of all. In all that is one every five
//!   seconds, so a relay passes on less than ten kilobytes a second however many ask, and for one group a tenth of that:
//!   it is of no use for anything else. Eight groups take all places if each holds one circuit all the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, PeerId, relay};
use parking_lot::Mutex;

use crate::p2p::netgroup::Netgroup;

use super::rate::{Buckets, Rate};

/// Reservations at a time.
pub const MAX_RESERVATIONS: usize = 32;
/// And of one address group.
const PER_GROUP: usize = 2;
/// A reservation has to be renewed within this time.
const RESERVATION_TIME: Duration = Duration::from_secs(3_600);
/// Circuits at a time.
pub const MAX_CIRCUITS: usize = 8;
/// Circuits at a time that one peer opens.
pub const MAX_CIRCUITS_OF_PEER: usize = 2;
/// Bytes over one circuit, both directions together.
pub const CIRCUIT_BYTES: u64 = 32 << 10;
/// The longest that a circuit stays.
pub const CIRCUIT_TIME: Duration = Duration::from_secs(60);

const RESERVE_PEER: Rate = Rate { burst: 4, interval: Duration::from_secs(600) };
const RESERVE_GROUP: Rate = Rate { burst: 8, interval: Duration::from_secs(300) };
const CIRCUIT_PEER: Rate = Rate { burst: 4, interval: Duration::from_secs(60) };
const CIRCUIT_GROUP: Rate = Rate { burst: 6, interval: Duration::from_secs(60) };
const CIRCUIT_ALL: Rate = Rate { burst: 16, interval: Duration::from_secs(5) };
/// Who has what of this relay.
#[derive(Debug)]
struct Shares {
    /// Connected peers that have answered for this network.
    nodes: BTreeSet<PeerId>,
    reserved: BTreeMap<PeerId, Netgroup>,
    reserve_peer: Buckets<PeerId>,
    reserve_group: Buckets<Netgroup>,
    circuit_peer: Buckets<PeerId>,
    circuit_group: Buckets<Netgroup>,
    circuit_all: Buckets<()>,
}

impl Shares {
    fn new() -> Self {
        Self {
            nodes: BTreeSet::new(),
            reserved: BTreeMap::new(),
            reserve_peer: Buckets::new(RESERVE_PEER),
            reserve_group: Buckets::new(RESERVE_GROUP),
            circuit_peer: Buckets::new(CIRCUIT_PEER),
            circuit_group: Buckets::new(CIRCUIT_GROUP),
            circuit_all: Buckets::new(CIRCUIT_ALL),
        }
    }

    /// A peer asks for a reservation, or to renew it; it has it if this says so.
    fn may_reserve(&mut self, peer: PeerId, group: Netgroup, now: Instant) -> bool {
        if !self.nodes.contains(&peer) {
            return false;
        }
        let is_in_rate = self.reserve_peer.is_open(&peer, now)
            && (group.is_exempt() || self.reserve_group.take(group, now))
            && self.reserve_peer.take(peer, now);
        if !is_in_rate {
            return false;
        }
        if !self.reserved.contains_key(&peer) {
            let of_group = self.reserved.values().filter(|other| **other == group).count();
            if self.reserved.len() >= MAX_RESERVATIONS || (!group.is_exempt() && of_group >= PER_GROUP) {
                return false;
            }
        }
        self.reserved.insert(peer, group);
        true
    }

    /// A peer asks for a circuit.
    fn may_connect(&mut self, peer: PeerId, group: Netgroup, now: Instant) -> bool {
        // A peer takes nothing from its group once it has had its own share, and a group's identities do not fill the buckets
        // of peers.
        self.circuit_peer.is_open(&peer, now)
            && (group.is_exempt() || self.circuit_group.take(group, now))
            && self.circuit_peer.take(peer, now)
            && self.circuit_all.take((), now)
    }
}

/// The relay's limits. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Limits(Arc<Mutex<Shares>>);

impl Default for Limits {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Shares::new())))
    }
}

impl Limits {
    /// A connected peer has answered for this network.
    pub fn is_node(&self, peer: PeerId) {
        self.0.lock().nodes.insert(peer);
    }

    /// A peer has gone, and with it what it had.
    pub fn gone(&self, peer: &PeerId) {
        let mut shares = self.0.lock();
        shares.nodes.remove(peer);
        shares.reserved.remove(peer);
    }

    /// A reservation ended.
    pub fn ended(&self, peer: &PeerId) {
        self.0.lock().reserved.remove(peer);
    }

    /// Reservations now.
    pub fn reserved(&self) -> usize {
        self.0.lock().reserved.len()
    }

    /// What libp2p's relay is told. It asks the limiters last, so what they allow is done.
    pub fn config(&self) -> relay::Config {
        let (reserve, connect) = (self.clone(), self.clone());
        relay::Config {
            // Counts those that a peer has already, and refuses if they are more.
            max_reservations_per_peer: 0,
            // It would refuse to renew when all are taken. The exact limit is `may_reserve`.
            max_reservations: 2 * MAX_RESERVATIONS,
            reservation_duration: RESERVATION_TIME,
            reservation_rate_limiters: vec![Box::new(move |peer: PeerId, address: &Multiaddr, now: Instant| {
                reserve.0.lock().may_reserve(peer, Netgroup::of(address), now)
            })],
            max_circuits: MAX_CIRCUITS,
            // As above.
            max_circuits_per_peer: MAX_CIRCUITS_OF_PEER - 1,
            max_circuit_duration: CIRCUIT_TIME,
            max_circuit_bytes: CIRCUIT_BYTES,
            circuit_src_rate_limiters: vec![Box::new(move |peer: PeerId, address: &Multiaddr, now: Instant| {
                connect.0.lock().may_connect(peer, Netgroup::of(address), now)
            })],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(index: u8) -> Netgroup {
        Netgroup::V4([20, index])
    }

    fn node(shares: &mut Shares) -> PeerId {
        let peer = PeerId::random();
        shares.nodes.insert(peer);
        peer
    }

    #[test]
    fn reservations_are_for_nodes_two_for_a_group_and_few_in_all() {
        let (mut shares, now) = (Shares::new(), Instant::now());
        assert!(!shares.may_reserve(PeerId::random(), group(1), now), "a stranger");
        let first = node(&mut shares);
        assert!(shares.may_reserve(first, group(1), now));
        assert!(shares.may_reserve(first, group(1), now), "renewed");
        let others: Vec<_> = (0..3).map(|_| node(&mut shares)).collect();
        let got = others.into_iter().filter(|peer| shares.may_reserve(*peer, group(1), now)).count();
        assert_eq!(got, 1, "two for a group");
        let got = (2..=200).filter(|index| {
            let peer = node(&mut shares);
            shares.may_reserve(peer, group(*index), now)
        });
        assert_eq!(got.count(), MAX_RESERVATIONS - 2);
        assert!(shares.may_reserve(first, group(1), now), "who is in may stay when all are taken");
    }

    #[test]
    fn coming_again_does_not_help() {
        let (limits, now) = (Limits::default(), Instant::now());
        let mut got = 0;
        for _ in 0..1_000 {
            let peer = PeerId::random();
            limits.is_node(peer);
            got += usize::from(limits.0.lock().may_reserve(peer, group(1), now));
            limits.gone(&peer);
        }
        assert_eq!(got, RESERVE_GROUP.burst as usize);
        assert_eq!(limits.reserved(), 0);
        assert!(limits.0.lock().nodes.is_empty());
    }

    /// An attacker with as many identities as he likes, in few groups, asks without end for an hour.
    #[test]
    fn circuits_pass_on_next_to_nothing() {
        let (mut shares, start) = (Shares::new(), Instant::now());
        let mut by_group = [0u32; 20];
        for second in 0..3_600 {
            for index in 0..20 {
                let now = start + Duration::from_secs(second);
                by_group[index as usize] += u32::from(shares.may_connect(PeerId::random(), group(index), now));
            }
        }
        let all: u32 = by_group.iter().sum();
        assert!((700..=16 + 720).contains(&all), "{all}");
        assert!(by_group.iter().all(|circuits| *circuits <= 6 + 60), "{by_group:?}");
        let rate = u64::from(all) * (CIRCUIT_BYTES + 2 * 8_192) / 3_600;
        assert!(rate < 10_240, "{rate} bytes a second");
    }

    /// As many identities of one group as there are buckets for peers: others get theirs.
    #[test]
    fn a_crowd_of_one_group_shuts_nobody_out() {
        let (mut shares, now) = (Shares::new(), Instant::now());
        let got = (0..5_000).filter(|_| shares.may_connect(PeerId::random(), group(1), now)).count();
        assert_eq!(got, CIRCUIT_GROUP.burst as usize);
        assert!(shares.may_connect(PeerId::random(), group(2), now));
        let got = (0..5_000).filter(|_| {
            let peer = node(&mut shares);
            shares.may_reserve(peer, group(1), now)
        });
        assert_eq!(got.count(), PER_GROUP);
        let peer = node(&mut shares);
        assert!(shares.may_reserve(peer, group(2), now));
    }

    #[test]
    fn one_peer_that_asks_all_the_time_leaves_its_group_the_rest() {
        let (mut shares, now, greedy) = (Shares::new(), Instant::now(), PeerId::random());
        let got = (0..1_000).filter(|_| shares.may_connect(greedy, group(1), now)).count() as u32;
        assert!(got == CIRCUIT_PEER.burst && got < CIRCUIT_GROUP.burst);
        assert!(shares.may_connect(PeerId::random(), group(1), now));
    }

    #[test]
    fn one_peer_and_one_group_have_their_share() {
        let (mut shares, now, peer) = (Shares::new(), Instant::now(), PeerId::random());
        let got = (0..100).filter(|_| shares.may_connect(peer, Netgroup::Home, now)).count();
        assert_eq!(got, CIRCUIT_PEER.burst as usize);
        assert!(shares.may_connect(peer, Netgroup::Home, now + CIRCUIT_PEER.interval), "and again after a minute");
        let got = (0..100).filter(|_| shares.may_connect(PeerId::random(), group(1), now)).count();
        assert_eq!(got, CIRCUIT_GROUP.burst as usize);
        assert!(shares.may_connect(PeerId::random(), group(2), now), "another group has its own");
    }
}

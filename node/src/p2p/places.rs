//! Inbound places: which peer gives way when more are connected than there are places (protocol §10).
//!
//! Sans-IO: the shell lets the newcomer in first, asks here, and closes the connection of the peer that is named.
//!
//! Guarantees: a peer of an address group that nobody else is in gets a place as long as few groups share the places;
//! whoever opens many connections from few groups pays for each new one with one of its own; peers that have been here
//! longest, and those that bring blocks, keep their places whatever the others do.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
};

use ledger::hash::{BlockHash, Hash, Tag, hash};

use super::netgroup::Netgroup;

/// Peers kept because they have been connected longest: an attacker who comes later cannot take their places.
const KEPT_LONGEST: usize = 4;
/// Peers kept because they brought a new block last: an attacker would have to be useful.
const KEPT_BLOCKS: usize = 4;
/// Groups whose oldest peer is kept. Which ones is secret, so nobody can choose addresses by it.
const KEPT_GROUPS: usize = 4;
/// Blocks remembered until both is known: who brought it, and that it connected.
const MAX_BLOCKS: usize = 64;

/// Random bytes that only this node knows.
pub type Secret = [u8; 32];

/// One inbound peer, as far as places are concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inbound<P> {
    /// The peer.
    pub peer: P,
    /// Its address group.
    pub group: Netgroup,
    /// Its number in the order of arrival: later peers have greater ones.
    pub serial: u64,
    /// Number of the last new block that it brought and which connected; later blocks have greater ones.
    pub last_block: Option<u64>,
}

/// The peer that gives way when there is one too many, the newcomer counted in: the newest of the largest group among
/// those that are not kept; the newest of all if everybody is kept. `None` only if nobody is here.
pub fn gives_way<P: Copy + Ord>(secret: &Secret, inbound: &[Inbound<P>]) -> Option<P> {
    let mut sizes: BTreeMap<Netgroup, usize> = BTreeMap::new();
    inbound.iter().for_each(|entry| *sizes.entry(entry.group).or_default() += 1);
    let kept = kept(secret, inbound);
    let may_go = |entry: &&Inbound<P>| !kept.contains(&entry.peer);
    let size = |entry: &Inbound<P>| sizes.get(&entry.group).copied().unwrap_or(0);
    let leaver = inbound.iter().filter(may_go).max_by_key(|entry| (size(entry), entry.serial));
    leaver.or_else(|| inbound.iter().max_by_key(|entry| entry.serial)).map(|entry| entry.peer)
}

fn kept<P: Copy + Ord>(secret: &Secret, inbound: &[Inbound<P>]) -> BTreeSet<P> {
    let mut by_age: Vec<_> = inbound.iter().collect();
    by_age.sort_by_key(|entry| entry.serial);
    let longest = by_age.iter().take(KEPT_LONGEST).map(|entry| entry.peer);
    let mut by_block: Vec<_> = inbound.iter().filter(|entry| entry.last_block.is_some()).collect();
    by_block.sort_by_key(|entry| Reverse(entry.last_block));
    let bringers = by_block.iter().take(KEPT_BLOCKS).map(|entry| entry.peer);
    let mut oldest_by_group = BTreeMap::new();
    for entry in &by_age {
        oldest_by_group.entry(entry.group).or_insert(entry.peer);
    }
    let by_rank: BTreeMap<_, _> =
        oldest_by_group.into_iter().map(|(group, oldest)| (rank(secret, group), oldest)).collect();
    let of_groups = by_rank.values().take(KEPT_GROUPS).copied();
    longest.chain(bringers).chain(of_groups).collect()
}

/// `H("gid", secret ‖ group)`: an order of groups that nobody else knows.
fn rank(secret: &Secret, group: Netgroup) -> Hash {
    hash(Tag::GossipId, &[secret, &group.to_bytes()])
}

/// Finds out which peers bring new blocks. That a block was brought and that it connected are told apart and in either
/// order, so a few of both are remembered.
#[derive(Debug)]
pub struct BlockBringers<P> {
    brought: VecDeque<(BlockHash, P)>,
    connected: VecDeque<BlockHash>,
    blocks: u64,
}

impl<P> Default for BlockBringers<P> {
    fn default() -> Self {
        Self { brought: VecDeque::new(), connected: VecDeque::new(), blocks: 0 }
    }
}

impl<P: Copy> BlockBringers<P> {
    /// A peer was the first to bring this block, and it is valid. Returns the block's number if it has connected.
    pub fn brought(&mut self, hash: BlockHash, peer: P) -> Option<u64> {
        if let Some(at) = self.connected.iter().position(|other| *other == hash) {
            self.connected.remove(at);
            return Some(self.next());
        }
        push_bounded(&mut self.brought, (hash, peer));
        None
    }

    /// A block became part of the best chain. Returns who brought it, if that is known, and its number.
    pub fn connected(&mut self, hash: BlockHash) -> Option<(P, u64)> {
        if let Some(at) = self.brought.iter().position(|(other, _)| *other == hash) {
            let (_, peer) = self.brought.remove(at)?;
            return Some((peer, self.next()));
        }
        push_bounded(&mut self.connected, hash);
        None
    }

    fn next(&mut self) -> u64 {
        self.blocks += 1;
        self.blocks
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == MAX_BLOCKS {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

    use super::*;

    const PLACES: usize = 64;

    fn secret(rng: &mut StdRng) -> Secret {
        rng.random()
    }

    fn inbound(peer: u32, group: [u8; 2], serial: u64) -> Inbound<u32> {
        Inbound { peer, group: Netgroup::V4(group), serial, last_block: None }
    }

    /// The places as the shell keeps them.
    struct Places {
        secret: Secret,
        here: Vec<Inbound<u32>>,
        serial: u64,
        size: usize,
    }

    impl Places {
        fn new(secret: Secret, size: usize) -> Self {
            Self { secret, here: Vec::new(), serial: 0, size }
        }

        /// Lets a peer in and says whether it is still here afterwards.
        fn arrive(&mut self, peer: u32, group: Netgroup) -> bool {
            self.serial += 1;
            self.here.push(Inbound { peer, group, serial: self.serial, last_block: None });
            if self.here.len() > self.size {
                let leaver = gives_way(&self.secret, &self.here).expect("somebody is here");
                self.here.retain(|entry| entry.peer != leaver);
            }
            self.holds(peer)
        }

        fn holds(&self, peer: u32) -> bool {
            self.here.iter().any(|entry| entry.peer == peer)
        }
    }

    /// Protocol §12: eight hosts in one to eight groups hold every place, some of them useful; a newcomer of a new group
    /// gets in, in 1,000 tries of 1,000.
    #[test]
    fn a_newcomer_of_a_new_group_gets_in() {
        for seed in 0..1_000 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut places = Places::new(secret(&mut rng), PLACES);
            let groups = rng.random_range(1..=8u8);
            let mut hosts: Vec<u8> = (0..PLACES).map(|index| (index % 8) as u8 % groups).collect();
            hosts.shuffle(&mut rng);
            for (peer, host) in hosts.into_iter().enumerate() {
                places.arrive(peer as u32, Netgroup::V4([20, host]));
            }
            for entry in &mut places.here {
                entry.last_block = rng.random_bool(0.5).then(|| rng.random_range(0..100));
            }
            assert!(places.arrive(9_999, Netgroup::V4([80, 1])), "seed {seed}");
            assert_eq!(places.here.len(), PLACES);
        }
    }

    /// Eight hosts come back without end; honest peers, each in a group of its own, never lose their places, and ever
    /// more of them get in.
    #[test]
    fn a_flood_displaces_only_itself() {
        for seed in 0..10 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut places = Places::new(secret(&mut rng), PLACES);
            let mut honest = Vec::new();
            for round in 0..400u32 {
                for _ in 0..8 {
                    let host = rng.random_range(0..8);
                    places.arrive(10_000 + rng.random_range(0..u32::MAX / 2), Netgroup::V4([20, host]));
                }
                if round % 10 == 0 {
                    let peer = round / 10;
                    assert!(places.arrive(peer, Netgroup::V4([80, peer as u8])), "seed {seed}, newcomer {peer}");
                    honest.push(peer);
                }
                assert!(honest.iter().all(|peer| places.holds(*peer)), "seed {seed}, round {round}");
            }
            assert_eq!(honest.len(), 40);
        }
    }

    /// Honest peers behind the attacker's own address group: those that were here first, and those that bring blocks,
    /// stay.
    #[test]
    fn old_and_useful_peers_stay_even_in_the_attackers_group() {
        for seed in 0..20 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut places = Places::new(secret(&mut rng), PLACES);
            let shared = Netgroup::V4([20, 1]);
            for peer in 0..8 {
                places.arrive(peer, shared);
            }
            for peer in 4..8 {
                places.here[peer].last_block = Some(peer as u64);
            }
            for index in 0..1_000 {
                places.arrive(10_000 + index, shared);
            }
            assert!((0..8).all(|peer| places.holds(peer)), "seed {seed}");
        }
    }

    #[test]
    fn the_newest_of_the_largest_group_gives_way() {
        let secret = [7; 32];
        // Kept: 0–3 by age, and the oldest of the four groups, which are 0, 10, 20 and 40.
        let mut here: Vec<_> = (0..10).map(|n| inbound(n, [1, 1], u64::from(n))).collect();
        here.extend((10..16).map(|n| inbound(n, [2, 2], u64::from(n))));
        here.extend((20..24).map(|n| inbound(n, [3, 3], u64::from(n))));
        here.push(inbound(40, [4, 4], 40));
        assert_eq!(gives_way(&secret, &here), Some(9));
        here[9].last_block = Some(1);
        assert_eq!(gives_way(&secret, &here), Some(8), "the one that brought a block is kept");
        here.retain(|entry| entry.peer < 4 || entry.peer >= 10);
        assert_eq!(gives_way(&secret, &here), Some(15), "now the second group is the largest");
    }

    #[test]
    fn if_all_are_kept_the_newcomer_gives_way() {
        let here: Vec<_> = (0..4).map(|n| inbound(n, [n as u8, 1], u64::from(n))).collect();
        assert_eq!(gives_way(&[1; 32], &here), Some(3));
        assert_eq!(gives_way::<u32>(&[1; 32], &[]), None);
    }

    #[test]
    fn a_bringer_is_known_whichever_is_told_first() {
        let mut bringers = BlockBringers::default();
        let hash = |n: u8| BlockHash([n; 32]);
        assert_eq!(bringers.brought(hash(1), 'a'), None);
        assert_eq!(bringers.connected(hash(1)), Some(('a', 1)));
        assert_eq!(bringers.connected(hash(2)), None);
        assert_eq!(bringers.brought(hash(2), 'b'), Some(2));
        assert_eq!(bringers.connected(hash(1)), None, "each block counts once");
        for n in 0..200 {
            bringers.brought(hash(n), 'c');
        }
        assert_eq!(bringers.brought.len(), MAX_BLOCKS);
    }
}

//! The tree of headers in memory: who is whose child, how much work is behind each, and what is known about it.
//!
//! For: finding ancestors, the best header, what may become the tip, and which bodies are wanted, without the
//! database. Not for: header contents, which stay on disk.
//!
//! Cost: 80 bytes per header, some 30 for finding it by hash, 8 for the two chains. A year of main network is 35 MB.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    hash::{BuildHasherDefault, Hasher},
};

use ledger::{block::Header, hash::BlockHash, price::Prices};

use crate::headers::thinned;

/// A header's place in the index. Headers are never taken out, so it stays good.
pub(super) type Id = u32;

/// No header.
const NONE: Id = u32::MAX;

/// What is known about a header, as bits. The first four are kept on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Status(u8);

impl Status {
    /// Its body is stored, or was until it was pruned.
    pub(super) const BODY: u8 = 1;
    /// It was connected once, so it breaks no rule.
    pub(super) const VALID: u8 = 2;
    /// Its body breaks a rule.
    pub(super) const INVALID: u8 = 4;
    /// It arrived within two hours of its time.
    pub(super) const LIVE: u8 = 8;
    /// An ancestor's body breaks a rule. Follows from the tree, so it is not kept.
    const DOOMED: u8 = 16;
    /// Its body and those of all ancestors are there. Follows from the tree, so it is not kept.
    const LINKED: u8 = 32;
    const KEPT: u8 = Self::BODY | Self::VALID | Self::INVALID | Self::LIVE;

    /// From a row of the database.
    pub(super) fn from_row(bits: u8) -> Self {
        Self(bits & Self::KEPT)
    }

    /// For a row of the database.
    pub(super) fn to_row(self) -> u8 {
        self.0 & Self::KEPT
    }

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    fn set(&mut self, bit: u8) {
        self.0 |= bit;
    }

    fn clear(&mut self, bit: u8) {
        self.0 &= !bit;
    }
}

#[derive(Clone, Copy, Debug)]
struct Node {
    hash: BlockHash,
    work: u128,
    parent: Id,
    first_child: Id,
    next_sibling: Id,
    height: u32,
    prices: Prices,
    /// When its last missing body came, counted; 0 before. Of equal work, the lower one is preferred.
    completed: u32,
    status: Status,
}

/// Block hashes are uniform already; hashing them again would be waste.
#[derive(Default)]
pub(super) struct Uniform(u64);

impl Hasher for Uniform {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

/// Finds headers by the first eight bytes of their hash; of two with the same eight bytes (which takes 2^32 headers to
/// expect) the second goes to the next place.
#[derive(Default)]
struct ByHash(HashMap<u64, Id, BuildHasherDefault<Uniform>>);

impl ByHash {
    fn places(hash: &BlockHash) -> impl Iterator<Item = u64> {
        let first = u64::from_le_bytes(hash.0[..8].try_into().expect("eight of 32 bytes"));
        (0..).map(move |offset| first.wrapping_add(offset))
    }

    fn get(&self, hash: &BlockHash, nodes: &[Node]) -> Option<Id> {
        let found = Self::places(hash).map_while(|place| self.0.get(&place).copied());
        found.into_iter().find(|id| nodes[*id as usize].hash == *hash)
    }

    fn insert(&mut self, hash: &BlockHash, id: Id) {
        let free = Self::places(hash).find(|place| !self.0.contains_key(place));
        self.0.insert(free.expect("there are more places than headers"), id);
    }
}

/// The tree of headers.
pub(super) struct Index {
    nodes: Vec<Node>,
    by_hash: ByHash,
    /// The connected chain, by height.
    active: Vec<Id>,
    /// The chain of the best header, by height.
    best: Vec<Id>,
    /// Headers that became complete so far.
    completions: u32,
    /// Headers that could become the tip: all bodies there, no broken rule known, more work than the tip.
    candidates: BTreeSet<Rank>,
    /// Such headers that fork choice refused when it last looked.
    refused: BTreeSet<Rank>,
}

/// Refused candidates that are remembered, the heaviest ones. One is enough for each branch that anybody follows.
const MAX_REFUSED: usize = 64;

/// The order of candidates: more work first, then whose last body was here first (protocol §7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Rank {
    work: u128,
    completed: Reverse<u32>,
    id: Id,
}

/// What the index is told of a header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) hash: BlockHash,
    pub(super) prev: BlockHash,
    pub(super) height: u32,
    pub(super) work: u128,
    pub(super) prices: Prices,
    pub(super) status: Status,
}

impl Entry {
    /// A header with this hash, the work of its chain, and the bits kept on disk of what is known about it.
    pub(super) fn of(header: &Header, hash: BlockHash, work: u128, status: u8) -> Self {
        let (prev, height, prices) = (header.core.prev, header.core.height, Prices::from(&header.ext));
        Self { hash, prev, height, work, prices, status: Status::from_row(status) }
    }
}

impl Index {
    /// A tree of the genesis alone, connected.
    pub(super) fn new(genesis: Entry) -> Self {
        let mut index = Self {
            nodes: Vec::new(),
            by_hash: ByHash::default(),
            active: vec![0],
            best: vec![0],
            completions: 0,
            candidates: BTreeSet::new(),
            refused: BTreeSet::new(),
        };
        index.push(genesis, NONE);
        index.nodes[0].status.set(Status::BODY | Status::VALID | Status::LINKED);
        index
    }

    /// Adds a header whose parent is there; `None` if the parent is not. One that continues the best header becomes it;
    /// of any other the caller says so with [`consider`](Self::consider), or [`find_best`](Self::find_best) at the end.
    pub(super) fn insert(&mut self, entry: Entry) -> Option<Id> {
        let parent = self.find(&entry.prev)?;
        let id = self.push(entry, parent);
        let above = self.nodes[parent as usize].status;
        if above.has(Status::DOOMED) || above.has(Status::INVALID) {
            self.nodes[id as usize].status.set(Status::DOOMED);
        }
        if above.has(Status::LINKED) && entry.status.has(Status::BODY) {
            self.link(id);
        }
        if parent == self.best() {
            self.consider(id);
        }
        Some(id)
    }

    fn push(&mut self, entry: Entry, parent: Id) -> Id {
        let id = self.nodes.len() as Id;
        let Entry { hash, height, work, prices, status, .. } = entry;
        let (first_child, next_sibling) = (NONE, NONE);
        let mut node = Node { hash, work, parent, first_child, next_sibling, height, prices, completed: 0, status };
        if let Some(above) = self.nodes.get_mut(parent as usize) {
            node.next_sibling = above.first_child;
            above.first_child = id;
        }
        self.nodes.push(node);
        self.by_hash.insert(&hash, id);
        id
    }

    /// How many headers there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The header with this hash.
    pub(super) fn find(&self, hash: &BlockHash) -> Option<Id> {
        self.by_hash.get(hash, &self.nodes)
    }

    pub(super) fn hash(&self, id: Id) -> BlockHash {
        self.nodes[id as usize].hash
    }

    pub(super) fn height(&self, id: Id) -> u32 {
        self.nodes[id as usize].height
    }

    pub(super) fn work(&self, id: Id) -> u128 {
        self.nodes[id as usize].work
    }

    pub(super) fn prices(&self, id: Id) -> Prices {
        self.nodes[id as usize].prices
    }

    pub(super) fn status(&self, id: Id) -> Status {
        self.nodes[id as usize].status
    }

    /// The parent; `None` for genesis.
    pub(super) fn parent(&self, id: Id) -> Option<Id> {
        let parent = self.nodes[id as usize].parent;
        (parent != NONE).then_some(parent)
    }

    pub(super) fn has_body(&self, id: Id) -> bool {
        self.status(id).has(Status::BODY)
    }

    /// Whether it or an ancestor breaks a rule.
    pub(super) fn is_invalid(&self, id: Id) -> bool {
        self.status(id).has(Status::INVALID) || self.status(id).has(Status::DOOMED)
    }

    pub(super) fn is_live(&self, id: Id) -> bool {
        self.status(id).has(Status::LIVE)
    }

    pub(super) fn is_active(&self, id: Id) -> bool {
        self.active.get(self.height(id) as usize) == Some(&id)
    }

    pub(super) fn set_live(&mut self, id: Id) {
        self.nodes[id as usize].status.set(Status::LIVE);
    }

    /// The connected chain's block at `height`.
    pub(super) fn active_at(&self, height: u32) -> Option<Id> {
        self.active.get(height as usize).copied()
    }

    /// The tip.
    pub(super) fn tip(&self) -> Id {
        *self.active.last().expect("genesis is always connected")
    }

    /// The best header.
    pub(super) fn best(&self) -> Id {
        *self.best.last().expect("genesis is always there")
    }

    /// The ancestor of `id` at `height`, `id` itself included.
    pub(super) fn ancestor(&self, id: Id, height: u32) -> Option<Id> {
        let mut at = id;
        while self.height(at) > height {
            for chain in [&self.active, &self.best] {
                if chain.get(self.height(at) as usize) == Some(&at) {
                    return chain.get(height as usize).copied();
                }
            }
            at = self.parent(at)?;
        }
        (self.height(at) == height).then_some(at)
    }

    /// The block by which `id` leaves the connected chain; `None` if it is on it.
    pub(super) fn branch_root(&self, id: Id) -> Option<Id> {
        self.ancestor(id, self.height(self.fork_point(id)) + 1)
    }

    /// The last block of the connected chain that is an ancestor of `id` or `id` itself.
    pub(super) fn fork_point(&self, id: Id) -> Id {
        let mut at = id;
        loop {
            if self.is_active(at) {
                return at;
            }
            if self.is_best(at) {
                return self.active[self.best_fork() as usize];
            }
            at = self.parent(at).expect("genesis is connected, so the walk ends there at the latest");
        }
    }

    fn is_best(&self, id: Id) -> bool {
        self.best.get(self.height(id) as usize) == Some(&id)
    }

    /// Height of the last block that the best header chain shares with the connected one.
    fn best_fork(&self) -> u32 {
        let (mut shared, mut parted) = (0, self.active.len().min(self.best.len()));
        while parted - shared > 1 {
            let middle = (shared + parted) / 2;
            if self.active[middle] == self.best[middle] { shared = middle } else { parted = middle }
        }
        shared as u32
    }

    /// Blocks from just above the connected chain up to `id`, lowest first.
    pub(super) fn branch(&self, id: Id) -> Vec<Id> {
        let mut branch = Vec::new();
        let mut at = id;
        while !self.is_active(at) {
            branch.push(at);
            at = self.parent(at).expect("genesis is connected, so the walk ends there at the latest");
        }
        branch.reverse();
        branch
    }

    /// Notes that the body is stored.
    pub(super) fn add_body(&mut self, id: Id) {
        self.nodes[id as usize].status.set(Status::BODY);
        if self.parent(id).is_some_and(|parent| self.status(parent).has(Status::LINKED)) {
            self.link(id);
        }
    }

    /// Notes that the body is not stored after all.
    pub(super) fn lose_body(&mut self, id: Id) {
        self.nodes[id as usize].status.clear(Status::BODY);
        self.for_subtree(id, |index, at| {
            index.drop_candidate(at);
            index.nodes[at as usize].status.clear(Status::LINKED);
        });
    }

    /// `id` has all bodies below it, and its own: so have those children whose bodies were waiting for it.
    fn link(&mut self, id: Id) {
        let mut stack = vec![id];
        while let Some(at) = stack.pop() {
            let node = &mut self.nodes[at as usize];
            if !node.status.has(Status::BODY) || node.status.has(Status::LINKED) {
                continue;
            }
            node.status.set(Status::LINKED);
            self.completions += 1;
            node.completed = self.completions;
            self.offer(at);
            stack.extend(self.children(at));
        }
    }

    fn offer(&mut self, id: Id) {
        if !self.is_invalid(id) && self.work(id) > self.work(self.tip()) {
            self.candidates.insert(self.rank(id));
        }
    }

    fn rank(&self, id: Id) -> Rank {
        Rank { work: self.work(id), completed: Reverse(self.nodes[id as usize].completed), id }
    }

    /// Whether its body and those of all ancestors are there.
    pub(super) fn is_complete(&self, id: Id) -> bool {
        self.status(id).has(Status::LINKED)
    }

    /// The best header that could become the tip.
    pub(super) fn candidate(&self) -> Option<Id> {
        self.candidates.last().map(|rank| rank.id)
    }

    /// Does not offer `id` any more. Its descendants are offered when they come.
    pub(super) fn drop_candidate(&mut self, id: Id) {
        let rank = self.rank(id);
        self.candidates.remove(&rank);
        self.refused.remove(&rank);
    }

    /// Sets a candidate aside that fork choice refuses.
    pub(super) fn refuse(&mut self, id: Id) {
        let rank = self.rank(id);
        self.candidates.remove(&rank);
        self.refused.insert(rank);
        if self.refused.len() > MAX_REFUSED {
            self.refused.pop_first();
        }
    }

    /// Offers a refused candidate again.
    pub(super) fn offer_again(&mut self, id: Id) {
        self.drop_candidate(id);
        self.offer(id);
    }

    /// Refused candidates with more work than `work`, heaviest first.
    pub(super) fn refused_above(&self, work: u128) -> impl Iterator<Item = Id> {
        self.refused.iter().rev().take_while(move |rank| rank.work > work).map(|rank| rank.id)
    }

    /// The lowest ancestor of `id`, or `id`, above the connected chain that has more work than `work`.
    pub(super) fn lowest_above(&self, id: Id, work: u128) -> Option<Id> {
        let mut lowest = None;
        let mut at = id;
        while self.work(at) > work && !self.is_active(at) {
            lowest = Some(at);
            at = self.parent(at)?;
        }
        lowest
    }

    /// Makes a child of the tip the tip.
    pub(super) fn connect(&mut self, id: Id) {
        debug_assert_eq!(self.parent(id), Some(self.tip()));
        self.active.push(id);
        let node = &mut self.nodes[id as usize];
        node.status.set(Status::BODY | Status::VALID | Status::LINKED);
        let work = node.work;
        for set in [&mut self.candidates, &mut self.refused] {
            while set.first().is_some_and(|rank| rank.work <= work) {
                set.pop_first();
            }
        }
    }

    /// Makes the tip's parent the tip. The old tip is on offer again.
    pub(super) fn disconnect(&mut self) {
        let old = self.active.pop().expect("only called above genesis");
        self.offer(old);
    }

    /// Restores the connected chain from the database: `hashes` by height, genesis first.
    pub(super) fn restore_active(&mut self, ids: Vec<Id>) {
        self.active = ids;
        for at in 0..self.active.len() {
            self.nodes[self.active[at] as usize].status.set(Status::BODY | Status::VALID);
            self.link(self.active[at]);
        }
        let work = self.work(self.tip());
        self.candidates.retain(|rank| rank.work > work);
    }

    /// Notes that the body of `id` breaks a rule. Returns every header that can be used no more.
    pub(super) fn mark_invalid(&mut self, id: Id) -> Vec<Id> {
        self.nodes[id as usize].status.set(Status::INVALID);
        let mut doomed = Vec::new();
        self.for_subtree(id, |index, at| {
            index.nodes[at as usize].status.set(Status::DOOMED);
            index.drop_candidate(at);
            doomed.push(at);
        });
        self.nodes[id as usize].status.clear(Status::DOOMED);
        if self.is_best(id) {
            self.find_best();
        }
        doomed
    }

    fn for_subtree(&mut self, id: Id, mut visit: impl FnMut(&mut Self, Id)) {
        let mut stack = vec![id];
        while let Some(at) = stack.pop() {
            visit(self, at);
            stack.extend(self.children(at));
        }
    }

    fn children(&self, id: Id) -> Vec<Id> {
        let linked = |id: Id| (id != NONE).then_some(id);
        let first = linked(self.nodes[id as usize].first_child);
        std::iter::successors(first, |at| linked(self.nodes[*at as usize].next_sibling)).collect()
    }

    /// Makes `id` the best header if it has more work and nothing is known against it.
    pub(super) fn consider(&mut self, id: Id) {
        if !self.is_invalid(id) && self.work(id) > self.work(self.best()) {
            self.set_best(id);
        }
    }

    /// Looks for the best header among all: at the start, and after one was found invalid, which is rare.
    pub(super) fn find_best(&mut self) {
        let valid = (0..self.nodes.len() as Id).filter(|id| !self.is_invalid(*id));
        let best = valid.max_by_key(|id| (self.work(*id), Reverse(*id))).expect("genesis is valid");
        // Of two with equal work, the one that is followed already.
        self.set_best(if self.work(best) > self.work(self.tip()) { best } else { self.tip() });
    }

    fn set_best(&mut self, id: Id) {
        let (mut at, mut path) = (id, Vec::new());
        while self.best.get(self.height(at) as usize) != Some(&at) {
            path.push(at);
            at = self.parent(at).expect("both chains start at genesis");
        }
        self.best.truncate(self.height(at) as usize + 1);
        self.best.extend(path.into_iter().rev());
    }

    /// The first `max` blocks without a body on the way from the connected chain up to `id`, lowest first, and the
    /// last block before them.
    pub(super) fn missing(&self, id: Id, max: usize) -> (Id, Vec<Id>) {
        let (mut at, mut beside) = (id, Vec::new());
        while !self.is_active(at) && !self.is_best(at) {
            beside.push(at);
            at = self.parent(at).expect("genesis is connected, so the walk ends there at the latest");
        }
        let fork = self.fork_point(at);
        let (first, last) = (self.height(fork) as usize + 1, self.height(at) as usize);
        let on_best = self.best.get(first..=last).unwrap_or_default();
        let (mut base, mut missing) = (fork, Vec::new());
        for id in on_best.iter().chain(beside.iter().rev()) {
            if !self.has_body(*id) {
                missing.push(*id);
            } else if missing.is_empty() {
                base = *id;
            }
            if missing.len() == max {
                break;
            }
        }
        (base, missing)
    }

    /// Hashes that show where another chain leaves ours: of the connected chain the last ten, then ever further apart,
    /// genesis last, and in the same way of what the best header chain has above it. Highest first, so that the first
    /// one that somebody else has on its chain is the best place to go on from, whichever of the two it follows.
    pub(super) fn locator(&self) -> Vec<BlockHash> {
        let above = self.best_fork();
        let ours = thinned(self.active.len() as u32 - 1, 0).map(|height| self.active[height as usize]);
        let headers = thinned(self.best.len() as u32 - 1, above + 1).map(|height| self.best[height as usize]);
        let mut ids: Vec<Id> = ours.chain(headers).collect();
        ids.sort_by_key(|id| Reverse(self.height(*id)));
        let genesis = ids.pop();
        ids.truncate(MAX_LOCATOR - 1);
        ids.into_iter().chain(genesis).map(|id| self.hash(id)).collect()
    }
}

/// Most hashes in a locator of ours: a question has room for 64, and one more may go before them.
const MAX_LOCATOR: usize = 60;

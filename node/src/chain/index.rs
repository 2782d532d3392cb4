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

use ledger::{hash::BlockHash, price::Prices};

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
    /// It is on a branch that fork choice refuses to switch to. Follows from the tip, so it is not kept.
    const REFUSED: u8 = 64;
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
    /// Every body of `best` below this height is stored.
    wanted_from: u32,
    /// The most work of a header that fork choice refuses; zero if there is none.
    refused_work: u128,
    /// Headers that could become the tip: all bodies there, no broken rule known, more work than the tip.
    candidates: BTreeSet<(u128, Reverse<Id>)>,
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

impl Index {
    /// A tree of the genesis alone, connected.
    pub(super) fn new(genesis: Entry) -> Self {
        let mut index = Self {
            nodes: Vec::new(),
            by_hash: ByHash::default(),
            active: vec![0],
            best: vec![0],
            wanted_from: 1,
            refused_work: 0,
            candidates: BTreeSet::new(),
        };
        index.push(genesis, NONE);
        index.nodes[0].status.set(Status::BODY | Status::VALID | Status::LINKED);
        index
    }

    /// Adds a header whose parent is there; `None` if the parent is not. One that continues the best header becomes it;
    /// of any other that [`may_be_best`](Self::may_be_best) the caller decides.
    pub(super) fn insert(&mut self, entry: Entry) -> Option<Id> {
        let parent = self.find(&entry.prev)?;
        let id = self.push(entry, parent);
        let above = self.nodes[parent as usize].status;
        if above.has(Status::DOOMED) || above.has(Status::INVALID) {
            self.nodes[id as usize].status.set(Status::DOOMED);
        }
        if above.has(Status::REFUSED) {
            self.set_refused(id);
        }
        if above.has(Status::LINKED) && entry.status.has(Status::BODY) {
            self.link(id);
        }
        if parent == self.best() && self.may_be_best(id) {
            self.set_best(id);
        }
        Some(id)
    }

    fn push(&mut self, entry: Entry, parent: Id) -> Id {
        let id = self.nodes.len() as Id;
        let Entry { hash, height, work, prices, status, .. } = entry;
        let mut node = Node { hash, work, parent, first_child: NONE, next_sibling: NONE, height, prices, status };
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

    /// The best header chain's block at `height`.
    pub(super) fn best_at(&self, height: u32) -> Option<Id> {
        self.best.get(height as usize).copied()
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

    /// Whether two headers leave the connected chain by the same block.
    pub(super) fn shares_branch(&self, id: Id, other: Id) -> bool {
        let first = |id| self.branch(id).first().copied();
        first(id).is_some_and(|block| first(other) == Some(block))
    }

    /// The last block of the connected chain that is an ancestor of `id` or `id` itself.
    pub(super) fn fork_point(&self, id: Id) -> Id {
        let mut at = id;
        while !self.is_active(at) {
            at = self.parent(at).expect("genesis is connected, so the walk ends there at the latest");
        }
        at
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
            index.nodes[at as usize].status.clear(Status::LINKED);
            index.candidates.remove(&(index.work(at), Reverse(at)));
        });
        self.wanted_from = self.wanted_from.min(self.height(id));
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
            self.offer(at);
            stack.extend(self.children(at));
        }
    }

    fn offer(&mut self, id: Id) {
        if !self.is_invalid(id) && self.work(id) > self.work(self.tip()) {
            self.candidates.insert((self.work(id), Reverse(id)));
        }
    }

    /// The best header that could become the tip.
    pub(super) fn candidate(&self) -> Option<Id> {
        self.candidates.last().map(|(_, Reverse(id))| *id)
    }

    /// Does not offer `id` any more. Its descendants are offered when they come.
    pub(super) fn drop_candidate(&mut self, id: Id) {
        self.candidates.remove(&(self.work(id), Reverse(id)));
    }

    /// Makes a child of the tip the tip.
    pub(super) fn connect(&mut self, id: Id) {
        debug_assert_eq!(self.parent(id), Some(self.tip()));
        self.active.push(id);
        let node = &mut self.nodes[id as usize];
        node.status.set(Status::BODY | Status::VALID | Status::LINKED);
        let work = node.work;
        while self.candidates.first().is_some_and(|(other, _)| *other <= work) {
            self.candidates.pop_first();
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
        self.candidates.retain(|(other, _)| *other > work);
        self.wanted_from = self.wanted_from.min(self.active.len() as u32);
    }

    /// Notes that the body of `id` breaks a rule. Returns every header that can be used no more.
    pub(super) fn mark_invalid(&mut self, id: Id) -> Vec<Id> {
        self.nodes[id as usize].status.set(Status::INVALID);
        let mut doomed = Vec::new();
        self.for_subtree(id, |index, at| {
            index.nodes[at as usize].status.set(Status::DOOMED);
            index.candidates.remove(&(index.work(at), Reverse(at)));
            doomed.push(at);
        });
        self.nodes[id as usize].status.clear(Status::DOOMED);
        if self.is_refused(id) {
            self.recount_refused();
        }
        if self.best.get(self.height(id) as usize) == Some(&id) {
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

    /// Whether it has more work than the best header and nothing is known against it, but perhaps the branch it is on.
    pub(super) fn may_be_best(&self, id: Id) -> bool {
        !self.is_invalid(id) && self.work(id) > self.work(self.best())
    }

    /// Whether fork choice refuses its branch.
    pub(super) fn is_refused(&self, id: Id) -> bool {
        self.status(id).has(Status::REFUSED)
    }

    /// The most work of a header that fork choice refuses; zero if there is none.
    pub(super) fn refused_work(&self) -> u128 {
        self.refused_work
    }

    /// Notes that fork choice refuses the branch that `id` is on, with all that grows on it.
    pub(super) fn refuse_branch(&mut self, id: Id) {
        let Some(first) = self.branch(id).first().copied() else { return };
        self.for_subtree(first, Self::set_refused);
        if self.is_refused(self.best()) {
            self.find_best();
        }
    }

    /// Makes `id` the best header, whatever was said of its branch.
    pub(super) fn follow(&mut self, id: Id) {
        if self.is_refused(id) {
            let first = self.branch(id).first().copied().unwrap_or(id);
            self.for_subtree(first, |index, at| index.nodes[at as usize].status.clear(Status::REFUSED));
            self.recount_refused();
        }
        self.set_best(id);
    }

    fn recount_refused(&mut self) {
        let refused = (0..self.nodes.len() as Id).filter(|id| self.is_refused(*id) && !self.is_invalid(*id));
        self.refused_work = refused.map(|id| self.work(id)).max().unwrap_or(0);
    }

    fn set_refused(&mut self, id: Id) {
        self.nodes[id as usize].status.set(Status::REFUSED);
        self.refused_work = self.refused_work.max(self.work(id));
    }

    /// Looks for the best header among all: at the start, and after one was found invalid or refused, which is rare.
    pub(super) fn find_best(&mut self) {
        let valid = (0..self.nodes.len() as Id).filter(|id| !self.is_invalid(*id) && !self.is_refused(*id));
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
        let shared = self.height(at) + 1;
        self.best.truncate(shared as usize);
        self.best.extend(path.into_iter().rev());
        self.wanted_from = self.wanted_from.min(shared);
    }

    /// Up to `max` blocks of the best header chain without a body, lowest first.
    pub(super) fn wanted(&mut self, max: usize) -> Vec<Id> {
        while self.best.get(self.wanted_from as usize).is_some_and(|id| self.has_body(*id)) {
            self.wanted_from += 1;
        }
        let above = self.best.get(self.wanted_from as usize..).unwrap_or_default();
        above.iter().copied().filter(|id| !self.has_body(*id)).take(max).collect()
    }

    /// Hashes of the best header chain: the last ten, then ever further apart, genesis last.
    pub(super) fn locator(&self) -> Vec<BlockHash> {
        let (mut hashes, mut step, mut height) = (Vec::new(), 1, self.best.len() - 1);
        while height > 0 {
            hashes.push(self.hash(self.best[height]));
            if hashes.len() >= 10 {
                step *= 2;
            }
            height = height.saturating_sub(step);
        }
        hashes.push(self.hash(self.best[0]));
        hashes
    }
}

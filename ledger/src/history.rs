//! The header MMR: one hash over all headers before a block, with the work they took (protocol §8.1).
//!
//! For: the `history_root` of every header ([`Peaks`]), and proofs to light clients that some headers, with so much
//! work before each of them, are in it ([`MmrProof`]). Not for: checking the headers themselves, nor for keeping nodes;
//! a store keeps those that [`Peaks::append`] returns and hands them back when asked for a [`Position`].
//!
//! A node at `(level, index)` covers the leaves `index << level` up to the next node of its level. Its place and its
//! content never change, so after a reorganisation a store only overwrites what is behind the fork.
//!
//! Guarantees: sums of work are checked, never wrapped; a proof has one form for given leaves, and hash and work of
//! every node in it are bound by the root.

use crate::{
    codec::{self, Decode, DecodeError, Encode, Reader, Writer},
    hash::{BlockHash, Hash, Tag, hash},
};

/// Most peaks, and most levels, of an MMR over `u32` many leaves.
const MAX_PEAKS: usize = 32;

/// What the MMR commits to for one header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The block.
    pub block_hash: BlockHash,
    /// Its height, which is also the leaf's position.
    pub height: u32,
    /// Its time, in Unix seconds.
    pub time: u64,
    /// Its clipped time, in seconds (§3.3).
    pub vtime: u32,
    /// Its compact target.
    pub bits: u32,
    /// The work that `bits` stands for. Whoever checks a proof derives it from `bits`.
    pub work: u128,
}

impl Leaf {
    /// The node at level 0.
    pub fn node(&self) -> Node {
        let fields = [
            self.block_hash.as_ref(),
            &self.height.to_le_bytes(),
            &self.time.to_le_bytes(),
            &self.vtime.to_le_bytes(),
            &self.bits.to_le_bytes(),
        ];
        Node { hash: hash(Tag::MmrLeaf, &fields), work: self.work }
    }
}

/// A subtree: its hash and the work of all its leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// `H("mmr-leaf", …)` or `H("mmr-node", …)`.
    pub hash: Hash,
    /// The sum over its leaves.
    pub work: u128,
}

impl Node {
    fn parent(left: &Self, right: &Self) -> Result<Self, HistoryError> {
        let work = left.work.checked_add(right.work).ok_or(HistoryError::WorkOverflow)?;
        let (left_work, right_work) = (left.work.to_le_bytes(), right.work.to_le_bytes());
        let fields = [left.hash.as_ref(), &left_work, right.hash.as_ref(), &right_work];
        Ok(Self { hash: hash(Tag::MmrNode, &fields), work })
    }
}

impl Encode for Node {
    fn encode(&self, w: &mut Writer) {
        w.raw(self.hash.as_ref()).u128(self.work);
    }
}

impl Decode for Node {
    const MAX_BYTES: usize = 48;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { hash: r.hash("hash")?, work: r.u128("work")? })
    }
}

/// Where a node stands: the leaves from `index << level` on, `1 << level` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// 0 for leaves, at most 31.
    pub level: u8,
    /// Counted from the left within the level.
    pub index: u32,
}

impl Position {
    /// The database key, big-endian so that each level lies in order.
    pub fn to_bytes(&self) -> [u8; 5] {
        let [a, b, c, d] = self.index.to_be_bytes();
        [self.level, a, b, c, d]
    }

    fn children(&self) -> (Self, Self) {
        let (level, index) = (self.level - 1, self.index * 2);
        (Self { level, index }, Self { level, index: index + 1 })
    }

    /// Splits ascending `leaves` into those below this node and those behind it; none may be before it.
    fn split<'a, T>(&self, leaves: &'a [T], height: impl Fn(&T) -> u32) -> (&'a [T], &'a [T]) {
        let end = (u64::from(self.index) + 1) << self.level;
        leaves.split_at(leaves.partition_point(|leaf| u64::from(height(leaf)) < end))
    }
}

/// Why something is not a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// A leaf was appended out of turn.
    #[error("a header of height {got} cannot follow {expected} others")]
    WrongHeight {
        /// The leaf's height.
        got: u32,
        /// Leaves there already.
        expected: u32,
    },
    /// No more leaves fit.
    #[error("the history is full")]
    Full,
    /// Only reachable with forged work.
    #[error("the sum of work overflows")]
    WorkOverflow,
    /// The leaves to be proved are not strictly ascending, or not all inside.
    #[error("the leaves are not strictly ascending and below {0}")]
    BadLeaves(u32),
    /// A proof has too few or too many nodes for its leaves.
    #[error("the proof does not have the nodes that these leaves need")]
    WrongLength,
    /// A proof leads to another root.
    #[error("the proof leads to {got}, expected {expected}")]
    WrongRoot {
        /// The root it leads to.
        got: Hash,
        /// The root it should lead to.
        expected: Hash,
    },
}

/// The peaks of an MMR: all that is needed to append to it and to compute its root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peaks {
    count: u32,
    /// Left to right, so the highest first; one per set bit of `count`.
    peaks: Vec<Node>,
}

impl Peaks {
    /// No leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many leaves there are: the height of the block whose `history_root` this is.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Appends the next header; returns the nodes that came into being, the leaf first, for a store to keep.
    pub fn append(&mut self, leaf: &Leaf) -> Result<Vec<(Position, Node)>, HistoryError> {
        if leaf.height != self.count {
            return Err(HistoryError::WrongHeight { got: leaf.height, expected: self.count });
        }
        let count = self.count.checked_add(1).ok_or(HistoryError::Full)?;
        let merges = self.count.trailing_ones() as usize;
        let mut position = Position { level: 0, index: self.count };
        let mut created = vec![(position, leaf.node())];
        let mut node = leaf.node();
        for left in self.peaks.iter().rev().take(merges) {
            node = Node::parent(left, &node)?;
            position = Position { level: position.level + 1, index: position.index / 2 };
            created.push((position, node));
        }
        // Nothing has been changed up to here, so an error leaves the peaks as they were.
        self.peaks.truncate(self.peaks.len() - merges);
        self.peaks.push(node);
        self.count = count;
        Ok(created)
    }

    /// `history_root` over the leaves so far.
    pub fn root(&self) -> Result<Hash, HistoryError> {
        Ok(root_of(self.count, bag(&self.peaks)?))
    }

    /// The work of all leaves so far.
    pub fn work(&self) -> Result<u128, HistoryError> {
        Ok(bag(&self.peaks)?.map_or(0, |node| node.work))
    }

    /// `count:u32 ‖ (hash[32] ‖ work:u128)` for each peak, left to right.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The inverse of [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes)
    }
}

impl Encode for Peaks {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.count);
        self.peaks.iter().for_each(|peak| peak.encode(w));
    }
}

impl Decode for Peaks {
    const MAX_BYTES: usize = 4 + MAX_PEAKS * Node::MAX_BYTES;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = r.u32("count")?;
        let peaks = (0..count.count_ones()).map(|_| r.get()).collect::<Result<_, _>>()?;
        Ok(Self { count, peaks })
    }
}

/// Where the peaks of an MMR over `count` leaves stand, left to right.
pub fn peak_positions(count: u32) -> impl Iterator<Item = Position> {
    let levels = (0..u32::BITS as u8).rev().filter(move |level| count >> level & 1 == 1);
    levels.map(move |level| Position { level, index: (count >> level) - 1 })
}

/// The peaks as they were after `count` leaves, from stored nodes.
pub fn peaks_at<E>(count: u32, mut get: impl FnMut(Position) -> Result<Node, E>) -> Result<Peaks, E> {
    Ok(Peaks { count, peaks: peak_positions(count).map(&mut get).collect::<Result<_, _>>()? })
}

/// Folds peaks from the rightmost leftward: `acc = parent(next peak to the left, acc)`.
fn bag(peaks: &[Node]) -> Result<Option<Node>, HistoryError> {
    let Some((last, others)) = peaks.split_last() else { return Ok(None) };
    others.iter().rev().try_fold(*last, |acc, peak| Node::parent(peak, &acc)).map(Some)
}

fn root_of(count: u32, acc: Option<Node>) -> Hash {
    match acc {
        None => hash(Tag::MmrRoot, &[&0u32.to_le_bytes()]),
        Some(acc) => hash(Tag::MmrRoot, &[&count.to_le_bytes(), acc.hash.as_ref(), &acc.work.to_le_bytes()]),
    }
}

/// A proof that some leaves are in an MMR, and of how much work lies before each and in all.
///
/// Its nodes are the subtrees without any of the leaves, left to right, each as high as can be; all peaks to the right
/// of the last leaf are bagged into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MmrProof {
    nodes: Vec<Node>,
}

/// What a verified [`MmrProof`] says about work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedWork {
    /// For each leaf, the work of all leaves before it.
    pub before: Vec<u128>,
    /// The work of all leaves.
    pub total: u128,
}

impl MmrProof {
    /// Most leaves that one proof may be about: FlyClient's samples and parents, with room to spare (§8.2).
    pub const MAX_LEAVES: usize = 1024;

    /// Proves the leaves with these strictly ascending `heights` to be among the first `count`, from stored nodes.
    pub fn new<E: From<HistoryError>>(
        count: u32,
        heights: &[u32],
        mut get: impl FnMut(Position) -> Result<Node, E>,
    ) -> Result<Self, E> {
        check_leaves(count, heights.iter().copied())?;
        let (mut nodes, mut rest, mut right) = (Vec::new(), heights, Vec::new());
        for peak in peak_positions(count) {
            if rest.is_empty() {
                right.push(get(peak)?);
            } else {
                let (below, behind) = peak.split(rest, |height| *height);
                collect(peak, below, &mut get, &mut nodes)?;
                rest = behind;
            }
        }
        nodes.extend(bag(&right)?);
        Ok(Self { nodes })
    }

    /// Checks that `leaves`, strictly ascending by height, are among the first `count` under `root`.
    pub fn verify(&self, root: Hash, count: u32, leaves: &[Leaf]) -> Result<ProvedWork, HistoryError> {
        check_leaves(count, leaves.iter().map(|leaf| leaf.height))?;
        let mut fold = Fold { nodes: self.nodes.iter(), passed: 0, before: Vec::with_capacity(leaves.len()) };
        let (mut peaks, mut rest) = (Vec::with_capacity(MAX_PEAKS), leaves);
        for peak in peak_positions(count) {
            let (below, behind) = peak.split(rest, |leaf| leaf.height);
            if rest.is_empty() {
                peaks.push(fold.next()?);
                break;
            }
            peaks.push(fold.node(peak, below)?);
            rest = behind;
        }
        if fold.nodes.next().is_some() {
            return Err(HistoryError::WrongLength);
        }
        let acc = bag(&peaks)?;
        let got = root_of(count, acc);
        if got != root {
            return Err(HistoryError::WrongRoot { got, expected: root });
        }
        Ok(ProvedWork { before: fold.before, total: acc.map_or(0, |node| node.work) })
    }

    /// `count:u16 ‖ (hash[32] ‖ work:u128)` for each node.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The inverse of [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes)
    }
}

impl Encode for MmrProof {
    fn encode(&self, w: &mut Writer) {
        w.u16(u16::try_from(self.nodes.len()).expect("1,024 leaves need at most 32 nodes each, by its constructors"));
        self.nodes.iter().for_each(|node| node.encode(w));
    }
}

impl Decode for MmrProof {
    const MAX_BYTES: usize = 2 + Self::MAX_LEAVES * MAX_PEAKS * Node::MAX_BYTES;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = r.u16("count")?;
        // Collected through `Result`, which reserves nothing up front: an early end costs no more than was sent.
        Ok(Self { nodes: (0..count).map(|_| r.get()).collect::<Result<_, _>>()? })
    }
}

fn check_leaves(count: u32, mut heights: impl ExactSizeIterator<Item = u32>) -> Result<(), HistoryError> {
    let few = heights.len() <= MmrProof::MAX_LEAVES;
    let mut least = 0;
    let ascending = heights.all(|height| {
        let follows = u64::from(height) >= least && height < count;
        least = u64::from(height) + 1;
        follows
    });
    if few && ascending { Ok(()) } else { Err(HistoryError::BadLeaves(count)) }
}

/// Adds the nodes below `at` that a proof of `heights`, all below `at`, needs.
fn collect<E>(
    at: Position,
    heights: &[u32],
    get: &mut impl FnMut(Position) -> Result<Node, E>,
    nodes: &mut Vec<Node>,
) -> Result<(), E> {
    if heights.is_empty() {
        nodes.push(get(at)?);
    } else if at.level > 0 {
        let (left, right) = at.children();
        let (to_left, to_right) = left.split(heights, |height| *height);
        collect(left, to_left, get, nodes)?;
        collect(right, to_right, get, nodes)?;
    }
    Ok(())
}

/// Rebuilds peaks from leaves and proof nodes, left to right, adding up the work passed on the way.
struct Fold<'a> {
    nodes: std::slice::Iter<'a, Node>,
    passed: u128,
    before: Vec<u128>,
}

impl Fold<'_> {
    fn next(&mut self) -> Result<Node, HistoryError> {
        let node = *self.nodes.next().ok_or(HistoryError::WrongLength)?;
        self.pass(node)
    }

    fn pass(&mut self, node: Node) -> Result<Node, HistoryError> {
        self.passed = self.passed.checked_add(node.work).ok_or(HistoryError::WorkOverflow)?;
        Ok(node)
    }

    fn node(&mut self, at: Position, leaves: &[Leaf]) -> Result<Node, HistoryError> {
        match leaves {
            [] => self.next(),
            [leaf, ..] if at.level == 0 => {
                self.before.push(self.passed);
                self.pass(leaf.node())
            }
            _ => {
                let (left, right) = at.children();
                let (to_left, to_right) = left.split(leaves, |leaf| leaf.height);
                Node::parent(&self.node(left, to_left)?, &self.node(right, to_right)?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn leaf(height: u32) -> Leaf {
        let block_hash = BlockHash(hash(Tag::Header, &[&height.to_le_bytes()]).0);
        let (time, vtime) = (1_000 + 120 * u64::from(height), 120 * height);
        Leaf { block_hash, height, time, vtime, bits: 0x1e40_0000 + height, work: 1 << 20 | u128::from(height) }
    }

    fn grow(count: u32) -> (Peaks, BTreeMap<Position, Node>) {
        let (mut peaks, mut stored) = (Peaks::new(), BTreeMap::new());
        (0..count).for_each(|height| stored.extend(peaks.append(&leaf(height)).unwrap()));
        (peaks, stored)
    }

    fn prove(count: u32, heights: &[u32], stored: &BTreeMap<Position, Node>) -> MmrProof {
        MmrProof::new(count, heights, |at| Ok::<_, HistoryError>(stored[&at])).unwrap()
    }

    fn holds(bytes: &[u8], root: Hash, count: u32, leaves: &[Leaf]) -> bool {
        MmrProof::from_bytes(bytes).is_ok_and(|proof| proof.verify(root, count, leaves).is_ok())
    }

    #[test]
    fn seven_leaves_by_hand() {
        let n: Vec<Node> = (0..7).map(|height| leaf(height).node()).collect();
        let p = |left: Node, right: Node| Node::parent(&left, &right).unwrap();
        let four = p(p(n[0], n[1]), p(n[2], n[3]));
        let acc = p(four, p(p(n[4], n[5]), n[6]));
        let root = [&7u32.to_le_bytes()[..], acc.hash.as_ref(), &acc.work.to_le_bytes()].concat();
        let (peaks, _) = grow(7);
        assert_eq!(peaks.root(), Ok(hash(Tag::MmrRoot, &[&root])));
        assert_eq!(peaks.work(), Ok((0..7).map(|height| leaf(height).work).sum()));
        assert_eq!(Peaks::new().root(), Ok(hash(Tag::MmrRoot, &[&[0; 4]])));
        let parent = [&n[0].hash.0[..], &n[0].work.to_le_bytes(), &n[1].hash.0, &n[1].work.to_le_bytes()].concat();
        assert_eq!(p(n[0], n[1]).hash, hash(Tag::MmrNode, &[&parent]), "left, its work, right, its work");
    }

    #[test]
    fn peaks_come_back_from_stored_nodes_and_from_bytes() {
        let (_, stored) = grow(130);
        let mut peaks = Peaks::new();
        for count in 0..130 {
            assert_eq!(peaks_at(count, |at| Ok::<_, HistoryError>(stored[&at])).unwrap(), peaks);
            let bytes = peaks.to_bytes();
            assert_eq!(Peaks::from_bytes(&bytes), Ok(peaks.clone()));
            assert!((0..bytes.len()).all(|end| Peaks::from_bytes(&bytes[..end]).is_err()));
            peaks.append(&leaf(count)).unwrap();
        }
    }

    #[test]
    fn every_leaf_of_every_size_is_proved_with_the_work_before_it() {
        for count in 1..70 {
            let (peaks, stored) = grow(count);
            let (root, total) = (peaks.root().unwrap(), peaks.work().unwrap());
            for height in 0..count {
                let proof = prove(count, &[height], &stored);
                let before = (0..height).map(|height| leaf(height).work).sum();
                let proved = proof.verify(root, count, &[leaf(height)]);
                assert_eq!(proved, Ok(ProvedWork { before: vec![before], total }), "{height} of {count}");
                assert!(proof.nodes.len() <= MAX_PEAKS);
                let elsewhere = Leaf { height: (height + 1) % count, ..leaf(height) };
                assert!(count == 1 || proof.verify(root, count, &[elsewhere]).is_err());
                let eased = Leaf { work: leaf(height).work + 1, ..leaf(height) };
                assert!(proof.verify(root, count, &[eased]).is_err());
            }
        }
    }

    #[test]
    fn any_set_of_leaves_is_proved_at_once() {
        for count in 0..11u32 {
            let (peaks, stored) = grow(count);
            for set in 0..1u32 << count {
                let heights: Vec<u32> = (0..count).filter(|height| set >> height & 1 == 1).collect();
                let leaves: Vec<Leaf> = heights.iter().map(|height| leaf(*height)).collect();
                let proved = prove(count, &heights, &stored).verify(peaks.root().unwrap(), count, &leaves).unwrap();
                let before = |height: &u32| (0..*height).map(|height| leaf(height).work).sum();
                assert_eq!(proved.before, heights.iter().map(before).collect::<Vec<u128>>());
                assert_eq!(proved.total, peaks.work().unwrap());
            }
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_breaks_a_proof() {
        for (count, heights) in [(1, &[0][..]), (2, &[1]), (7, &[0, 5]), (7, &[]), (100, &[3, 64, 97]), (64, &[63])] {
            let (peaks, stored) = grow(count);
            let (root, leaves) = (peaks.root().unwrap(), heights.iter().map(|h| leaf(*h)).collect::<Vec<_>>());
            let bytes = prove(count, heights, &stored).to_bytes();
            assert!(holds(&bytes, root, count, &leaves));
            assert!(!holds(&bytes, root, count + 1, &leaves) && !holds(&bytes, root, count - 1, &leaves));
            assert!((0..bytes.len()).all(|end| !holds(&bytes[..end], root, count, &leaves)));
            assert!(!holds(&[&bytes[..], &[0]].concat(), root, count, &leaves));
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(!holds(&flipped, root, count, &leaves), "bit {bit} of {heights:?} in {count}");
            }
        }
    }

    #[test]
    fn too_few_and_too_many_nodes_are_refused() {
        let (peaks, stored) = grow(7);
        let mut proof = prove(7, &[2], &stored);
        let check = |proof: &MmrProof| proof.verify(peaks.root().unwrap(), 7, &[leaf(2)]);
        proof.nodes.push(proof.nodes[0]);
        assert_eq!(check(&proof), Err(HistoryError::WrongLength));
        proof.nodes.truncate(2);
        assert_eq!(check(&proof), Err(HistoryError::WrongLength));
    }

    #[test]
    fn bad_leaves_are_refused() {
        let (peaks, stored) = grow(5);
        let root = peaks.root().unwrap();
        for bad in [&[5][..], &[1, 1], &[2, 1], &[u32::MAX]] {
            let made = MmrProof::new(5, bad, |at| Ok::<_, HistoryError>(stored[&at]));
            assert_eq!(made, Err(HistoryError::BadLeaves(5)), "{bad:?}");
            let leaves: Vec<Leaf> = bad.iter().map(|height| Leaf { height: *height, ..leaf(0) }).collect();
            assert_eq!(MmrProof { nodes: vec![] }.verify(root, 5, &leaves), Err(HistoryError::BadLeaves(5)));
        }
    }

    #[test]
    fn a_refused_leaf_changes_nothing() {
        let (mut peaks, _) = grow(3);
        let before = peaks.clone();
        assert_eq!(peaks.append(&leaf(4)), Err(HistoryError::WrongHeight { got: 4, expected: 3 }));
        assert_eq!(peaks.append(&Leaf { work: u128::MAX, ..leaf(3) }), Err(HistoryError::WorkOverflow));
        assert_eq!(peaks, before);
    }

    #[test]
    fn the_largest_history_has_thirty_two_peaks() {
        let highest: Vec<_> = peak_positions(u32::MAX).collect();
        assert_eq!(highest.len(), MAX_PEAKS);
        assert_eq!(highest[0], Position { level: 31, index: 0 });
        assert_eq!(highest[31], Position { level: 0, index: u32::MAX - 1 });
    }
}

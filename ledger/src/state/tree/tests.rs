//! The tree against its definition: roots by naive recursion over the sorted set, on random and on adversarial keys.

use std::collections::BTreeMap;

use super::{
    node::{bit, node_hash},
    *,
};
use crate::{
    codec::DecodeError,
    hash::{Hash, Key, Tag, hash},
};

/// Key to value; the tree under test holds the hashes of these values.
type Names = BTreeMap<Key, Vec<u8>>;

/// SplitMix64: the tests draw the same numbers every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn key(&mut self) -> Key {
        hash(Tag::Key, &[&self.next().to_le_bytes()]).into_other()
    }

    /// A key that shares a random number of leading bits, up to 255, with one of `others`.
    fn neighbour(&mut self, others: &[Key]) -> Key {
        if others.is_empty() || self.below(4) == 0 {
            return self.key();
        }
        let near = others[self.below(others.len())];
        // Long shared prefixes are the rare case among random keys, so they are drawn more often here.
        let shared = if self.below(2) == 0 { 240 + self.below(16) } else { self.below(256) };
        diverging(near, self.key(), shared)
    }
}

/// The first `shared` bits of `near`, then its opposite bit, then the bits of `rest`.
fn diverging(near: Key, rest: Key, shared: usize) -> Key {
    let mut key = rest;
    for d in 0..=shared {
        let mask = 0x80 >> (d % 8);
        let same = near.0[d / 8] & mask;
        key.0[d / 8] = key.0[d / 8] & !mask | if d == shared { same ^ mask } else { same };
    }
    key
}

/// §5.2, word for word.
fn reference(names: &[(&Key, &Vec<u8>)], depth: usize) -> Hash {
    match names {
        [] => Hash::ZERO,
        [(key, value)] => leaf_hash(key, &value_hash(value)),
        _ => {
            let (left, right): (Vec<_>, Vec<_>) = names.iter().partition(|(key, _)| bit(key, depth) == 0);
            node_hash(&reference(&left, depth + 1), &reference(&right, depth + 1))
        }
    }
}

fn reference_root(names: &Names) -> Hash {
    reference(&names.iter().collect::<Vec<_>>(), 0)
}

fn changes(to: &BTreeMap<Key, Option<Vec<u8>>>) -> Vec<(Key, Option<Hash>)> {
    to.iter().map(|(key, value)| (*key, value.as_deref().map(value_hash))).collect()
}

fn tree_of(names: &Names) -> MemoryPages {
    let mut pages = MemoryPages::new();
    pages.change(&names.iter().map(|(key, value)| (*key, Some(value_hash(value)))).collect::<Vec<_>>()).unwrap();
    pages
}

fn random_names(random: &mut Random, count: usize) -> Names {
    let mut keys = Vec::new();
    for _ in 0..count {
        keys.push(random.neighbour(&keys));
    }
    keys.into_iter().map(|key| (key, random.next().to_le_bytes()[..random.below(9)].to_vec())).collect()
}

/// Inserts, overwrites and deletes (absent keys too).
fn random_batch(random: &mut Random, names: &Names) -> BTreeMap<Key, Option<Vec<u8>>> {
    let mut keys: Vec<Key> = names.keys().copied().collect();
    let bias = random.below(5);
    (0..random.below(12))
        .map(|_| {
            let old = !keys.is_empty() && random.below(5) >= bias;
            let key = if old { keys[random.below(keys.len())] } else { random.neighbour(&keys) };
            keys.push(key);
            let value = (random.below(5) >= 4 - bias.min(3)).then(|| random.next().to_le_bytes().to_vec());
            (key, value)
        })
        .collect()
}

fn write(names: &mut Names, batch: BTreeMap<Key, Option<Vec<u8>>>) {
    for (key, value) in batch {
        match value {
            Some(value) => names.insert(key, value),
            None => names.remove(&key),
        };
    }
}

#[test]
fn random_batches_match_the_definition_and_can_be_undone() {
    for seed in 0..60 {
        let random = &mut Random(seed);
        let (mut names, mut pages) = (Names::new(), MemoryPages::new());
        for _ in 0..40 {
            let batch = random_batch(random, &names);
            let undo = batch.keys().map(|key| (*key, names.get(key).cloned())).collect();
            let before = pages.clone();

            pages.change(&changes(&batch)).unwrap();
            write(&mut names, batch);
            assert_eq!(pages.root(), reference_root(&names), "seed {seed}");
            assert_eq!(pages, tree_of(&names), "pages depend on the set only, seed {seed}");

            let mut undone = pages.clone();
            undone.change(&changes(&undo)).unwrap();
            assert_eq!(undone, before, "seed {seed}");
        }
        let all: Vec<_> = names.keys().map(|key| (*key, None)).collect();
        pages.change(&all).unwrap();
        assert_eq!(pages, MemoryPages::new(), "nothing is left behind, seed {seed}");
    }
}

#[test]
fn the_longest_shared_prefix_fills_sixty_four_pages() {
    let (a, mut b) = (Key([0x5a; 32]), Key([0x5a; 32]));
    b.0[31] ^= 1;
    let names = Names::from([(a, vec![1]), (b, vec![2])]);
    let mut pages = tree_of(&names);
    assert_eq!(pages.pages().len(), 64);
    assert_eq!(pages.root(), reference_root(&names));
    let proof = prove(&pages, pages.root(), &b).unwrap().into_proof(Some(&[2])).unwrap();
    assert_eq!(proof.to_bytes().len(), 2 + 32 + 32 + 1 + 2 + 1, "255 empty siblings cost one bit each");
    pages.change(&[(b, None)]).unwrap();
    assert_eq!(pages.pages().len(), 1, "the other leaf floats to the top");
    assert_eq!(pages.root(), leaf_hash(&a, &value_hash(&[1])));
}

#[test]
fn a_delta_holds_changed_pages_only_and_each_once() {
    let random = &mut Random(7);
    let names = random_names(random, 300);
    let pages = tree_of(&names);
    let same: Vec<_> = names.iter().map(|(key, value)| (*key, Some(value_hash(value)))).collect();
    let absent = [(random.key(), None)];
    for nothing in [&same[..], &absent, &[]] {
        assert_eq!(update(&pages, pages.root(), nothing).unwrap(), TreeDelta { root: pages.root(), pages: vec![] });
    }
    let touched: Vec<_> = names.keys().map(|key| (*key, Some(Hash([9; 32])))).collect();
    let mut paths: Vec<_> = update(&pages, pages.root(), &touched).unwrap().pages.into_iter().map(|(p, _)| p).collect();
    assert_eq!(paths.len(), pages.pages().len());
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), pages.pages().len());
}

#[test]
fn unsorted_or_repeated_changes_are_refused() {
    let (a, b) = (Key([1; 32]), Key([2; 32]));
    for bad in [[(b, None), (a, None)], [(a, None), (a, None)]] {
        assert_eq!(MemoryPages::new().change(&bad), Err(TreeError::Unsorted));
    }
}

/// Serves `pages`, except for one page that is another one, or none.
struct Damaged<'a>(&'a MemoryPages, PagePath, Option<Page>);

impl PageSource for Damaged<'_> {
    type Error = std::convert::Infallible;

    fn page(&self, path: &PagePath) -> Result<Option<Page>, Self::Error> {
        if *path == self.1 { Ok(self.2.clone()) } else { self.0.page(path) }
    }
}

#[test]
fn missing_and_stale_pages_are_errors() {
    let random = &mut Random(3);
    let names = random_names(random, 60);
    let pages = tree_of(&names);
    let changed: Vec<_> = names.keys().map(|key| (*key, Some(Hash([7; 32])))).collect();
    let mut newer = pages.clone();
    newer.change(&changed).unwrap();
    for (path, stale) in newer.pages() {
        let lost = Damaged(&pages, *path, None);
        assert_eq!(update(&lost, pages.root(), &changed), Err(TreeError::Missing(*path)));
        let stale = Damaged(&pages, *path, Some(stale.clone()));
        let error = update(&stale, pages.root(), &changed).unwrap_err();
        assert!(matches!(error, TreeError::Stale { path: at, .. } if at == *path), "{error}");
        let below = names.keys().find(|key| path.contains(key)).unwrap();
        assert_eq!(prove(&stale, pages.root(), below).unwrap_err(), error);
    }
    let empty = update(&pages, Hash::ZERO, &changed).unwrap_err();
    assert_eq!(empty, TreeError::Stale { path: PagePath::ROOT, expected: Hash::ZERO });
}

#[test]
fn a_leaf_from_elsewhere_is_an_error() {
    let names = random_names(&mut Random(4), 40);
    let pages = tree_of(&names);
    // The same page with one bit of its first leaf's key changed: the mark does not notice, the walk does.
    for (path, page) in pages.pages().filter(|(_, page)| page.as_bytes()[..4] != [0; 4]) {
        let leaves = u32::from_le_bytes(page.as_bytes()[..4].try_into().unwrap());
        let inner = u32::from_le_bytes(page.as_bytes()[4..8].try_into().unwrap());
        let before = inner & ((1 << leaves.trailing_zeros()) - 1);
        let mut bytes = page.as_bytes().to_vec();
        let first_bit_of_the_page = path.depth();
        bytes[16 + 32 * before.count_ones() as usize + first_bit_of_the_page / 8] ^=
            0x80 >> (first_bit_of_the_page % 8);
        let damaged = Damaged(&pages, *path, Some(Page::from_bytes(&bytes).unwrap()));
        let all: Vec<_> = names.keys().map(|key| (*key, None)).collect();
        let expected = match path.depth() {
            0 => TreeError::Stale { path: *path, expected: pages.root() },
            _ => TreeError::Misplaced(*path),
        };
        let got = update(&damaged, pages.root(), &all).unwrap_err();
        assert!(got == expected || got == TreeError::Misplaced(*path), "{got}");
    }
}

#[test]
fn page_bytes_round_trip_and_damage_never_panics() {
    let pages = tree_of(&random_names(&mut Random(11), 120));
    for (_, page) in pages.pages() {
        let bytes = page.as_bytes();
        assert!(bytes.len() <= Page::MAX_BYTES);
        assert_eq!(Page::from_bytes(bytes).as_ref(), Ok(page));
        for end in 0..bytes.len() {
            assert!(Page::from_bytes(&bytes[..end]).is_err());
        }
        assert!(Page::from_bytes(&[bytes, &[0]].concat()).is_err());
        for flipped in flips(&bytes[..8]) {
            assert!(
                Page::from_bytes(&[&flipped, &bytes[8..]].concat()).is_err(),
                "a bitmap bit changes length or shape"
            );
        }
    }
    assert!(Page::from_bytes(&[0; 16]).is_err(), "an empty page is never stored");
}

/// Every copy of `bytes` with one bit changed.
fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}

/// The proof bytes for `key`, checked to prove what `names` says.
fn proof_of(pages: &MemoryPages, names: &Names, key: &Key) -> Vec<u8> {
    let value = names.get(key).map(|value| &value[..]);
    let bytes = prove(pages, pages.root(), key).unwrap().into_proof(value).unwrap().to_bytes();
    assert_eq!(Proof::parse(&bytes).unwrap().verify(pages.root(), key), Ok(value));
    bytes
}

fn proves_anything(bytes: &[u8], root: Hash, key: &Key) -> bool {
    Proof::parse(bytes).is_ok_and(|proof| proof.verify(root, key).is_ok())
}

/// Keys that are in the tree, keys beside them at every depth, and one from nowhere.
fn interesting_keys(random: &mut Random, names: &Names) -> Vec<Key> {
    let present: Vec<Key> = names.keys().copied().collect();
    let beside: Vec<Key> = (0..3).map(|_| random.neighbour(&present)).collect();
    let sample: Vec<Key> = (0..present.len().min(3)).map(|_| present[random.below(present.len())]).collect();
    [sample, beside, vec![random.key()]].concat()
}

#[test]
fn every_flipped_bit_and_every_cut_breaks_a_proof() {
    for seed in 0..16 {
        let random = &mut Random(1000 + seed);
        let count = [0, 1, 2, 3, 5, 9, 30, 100][seed as usize % 8];
        let names = random_names(random, count);
        let (pages, root) = (tree_of(&names), reference_root(&names));
        for key in interesting_keys(random, &names) {
            let bytes = proof_of(&pages, &names, &key);
            for flipped in flips(&bytes) {
                assert!(!proves_anything(&flipped, root, &key), "seed {seed} {key}");
            }
            assert!((0..bytes.len()).all(|end| !proves_anything(&bytes[..end], root, &key)), "seed {seed}");
            assert!(!proves_anything(&[&bytes[..], &[0]].concat(), root, &key), "seed {seed}");
            for other in flips(root.as_ref()).step_by(8) {
                assert!(!proves_anything(&bytes, Hash(other.try_into().unwrap()), &key), "seed {seed}");
            }
        }
    }
}

#[test]
fn a_proof_for_one_key_proves_nothing_about_a_present_one() {
    for seed in 0..40 {
        let random = &mut Random(2000 + seed);
        let names = random_names(random, 40);
        let pages = tree_of(&names);
        let keys = interesting_keys(random, &names);
        for asked in names.keys() {
            for other in keys.iter().filter(|other| *other != asked) {
                let bytes = proof_of(&pages, &names, other);
                assert!(!proves_anything(&bytes, pages.root(), asked), "seed {seed}");
            }
        }
    }
}

#[test]
fn proofs_by_hand() {
    let (here, there) = (Key([0; 32]), Key([0xff; 32]));
    let leaf = leaf_hash(&here, &value_hash(b"v"));
    let check = |bytes: &[u8], root, key: &Key| Proof::parse(bytes).unwrap().verify(root, key).map(|v| v.is_some());

    assert_eq!(check(&[0, 0, 0], Hash::ZERO, &here), Ok(false), "nothing is in the empty tree");
    assert_eq!(check(&[0, 0, 2, 1, 0, b'v'], leaf, &here), Ok(true), "a lone leaf is the root");
    let absent = [&[0, 0, 1], &here.0[..], value_hash(b"v").as_ref()].concat();
    assert_eq!(check(&absent, leaf, &there), Ok(false), "and proves that no other key is there");
    assert_eq!(check(&absent, leaf, &here), Err(ProofError::SameKey));
    let one_deep = [&[1, 0, 0x80], &[5; 32][..], &[1], &here.0, &[6; 32]].concat();
    assert_eq!(check(&one_deep, leaf, &there), Err(ProofError::OffPath { shared: 0, depth: 1 }));
}

#[test]
fn other_spellings_are_refused() {
    let sibling = [5u8; 32];
    let ends = DecodeError::Ends;
    let invalid = DecodeError::Invalid;
    for (why, error, bad) in [
        ("deeper than a key is long", invalid("depth"), [&[1, 1][..], &[0x80; 33], &[0]].concat()),
        ("an unused bitmap bit", invalid("bitmap"), [&[1, 0, 0xc0][..], &sibling, &[0]].concat()),
        ("the lowest sibling is empty", invalid("bitmap"), [&[2, 0, 0x80][..], &sibling, &[0]].concat()),
        ("a sibling said to be there is zeros", invalid("sibling"), [&[1, 0, 0x80][..], &[0; 32], &[0]].concat()),
        ("an unknown kind", invalid("kind"), vec![0, 0, 3]),
        ("a value longer than the proof", ends("value"), vec![0, 0, 2, 2, 0, 1]),
        ("something follows", DecodeError::Trailing(1), vec![0, 0, 0, 0]),
        ("nothing at all", ends("depth"), vec![]),
    ] {
        assert_eq!(Proof::parse(&bad), Err(error), "{why}");
    }
}

#[test]
fn a_value_the_tree_does_not_know_makes_no_proof() {
    let names = Names::from([(Key([1; 32]), vec![1])]);
    let pages = tree_of(&names);
    let path = |key| prove(&pages, pages.root(), &Key(key)).unwrap();
    assert_eq!(path([1; 32]).into_proof(Some(&[2])), Err(ValueMismatch));
    assert_eq!(path([1; 32]).into_proof(None), Err(ValueMismatch));
    assert_eq!(path([2; 32]).into_proof(Some(&[1])), Err(ValueMismatch));
}

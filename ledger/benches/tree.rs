//! What the state tree costs at a million names, on one core: `cargo bench -p ledger --bench tree`.
//!
//! For: the figures that protocol §5.2 and docs/operations quote. One line per figure, with its target where there is
//! one. Not for: a database; pages come from memory, once as they are and once encoded and decoded on every access,
//! which is what a store adds on top of its own reading.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a benchmark reads the clock and prints")]

use std::{
    collections::BTreeMap,
    hint::black_box,
    time::{Duration, Instant},
};

use ledger::{
    codec::DecodeError,
    hash::{Hash, Key, Tag, hash},
    state::tree::{MemoryPages, Page, PagePath, PageSource, Proof, TreeDelta, prove, update, value_hash},
};

const NAMES: u64 = 1_000_000;
const BLOCKS: u64 = 100;
const PER_BLOCK: u64 = 500;
const PROOFS: u64 = 20_000;
const VALUE_BYTES: usize = 200;

fn main() {
    print_hash();
    let started = Instant::now();
    let mut memory = MemoryPages::new();
    memory.change(&sorted((0..NAMES).map(|name| (key(name), 0)))).expect("memory does not fail");
    println!("built from nothing in one batch: {:.2} s for {NAMES} names", started.elapsed().as_secs_f64());

    let mut encoded = EncodedPages::from(&memory);
    print_storage(&encoded);
    let source = |pages: &MemoryPages, root, changes: &[_]| update(pages, root, changes).expect("memory does not fail");
    print_updates("pages in memory", &mut memory, source, MemoryPages::apply);
    let source = |pages: &EncodedPages, root, changes: &[_]| update(pages, root, changes).expect("pages are sound");
    print_updates("pages encoded  ", &mut encoded, source, EncodedPages::apply);
    assert_eq!(memory.root(), encoded.root, "both sources saw the same blocks");

    let blocks = BLOCKS * PER_BLOCK;
    println!("after {blocks} updates: root {}", memory.root());
    print_proofs("presence", &memory, (0..PROOFS).map(|n| key(random(n) % NAMES)), true);
    print_proofs("absence ", &memory, (0..PROOFS).map(|n| key(NAMES + n)), false);
}

/// The yardstick: an update costs some twenty of these per name, so a busy or slow machine shows here first.
fn print_hash() {
    let (started, rounds) = (Instant::now(), 1_000_000);
    let chained = (0..rounds).fold(Hash::ZERO, |last, _| hash(Tag::Node, &[last.as_ref(), last.as_ref()]));
    black_box(chained);
    println!("one node hash: {:.0} ns", started.elapsed().as_secs_f64() * 1e9 / f64::from(rounds));
}

/// Runs the same blocks over one kind of store: hashing the values, sorting, updating and taking over the new pages.
fn print_updates<P: HasRoot>(
    label: &str,
    pages: &mut P,
    run: impl Fn(&P, Hash, &[(Key, Option<Hash>)]) -> TreeDelta,
    apply: impl Fn(&mut P, TreeDelta),
) {
    let (mut hashing, mut updating, mut applying, mut touched) = (Duration::ZERO, Duration::ZERO, Duration::ZERO, 0);
    for block in 1..=BLOCKS {
        let names = (0..PER_BLOCK).map(|n| (key(random(block << 32 | n) % NAMES), block));
        let names: Vec<_> = names.collect();
        let started = Instant::now();
        let changes = sorted(names.into_iter());
        hashing += started.elapsed();

        let started = Instant::now();
        let delta = run(pages, pages.root(), &changes);
        updating += started.elapsed();
        touched += delta.pages.len();

        let started = Instant::now();
        apply(pages, delta);
        applying += started.elapsed();
    }
    let count = (BLOCKS * PER_BLOCK) as f64;
    let rate = |time: Duration| count / time.as_secs_f64();
    println!("{label}: {:>9.0} names/s values and tree (target 100000)", rate(hashing + updating));
    println!("{label}: {:>9.0} names/s tree only", rate(updating));
    println!("{label}: {:>9.0} names/s with the new pages written back", rate(hashing + updating + applying));
    println!("{label}: {:>9.2} pages per name", touched as f64 / count);
}

fn print_proofs(label: &str, pages: &MemoryPages, keys: impl Iterator<Item = Key>, present: bool) {
    let keys: Vec<_> = keys.collect();
    let values: BTreeMap<Hash, Vec<u8>> = if present { all_values() } else { BTreeMap::new() };
    let started = Instant::now();
    let paths: Vec<_> = keys.iter().map(|key| prove(pages, pages.root(), key).expect("memory does not fail")).collect();
    let proving = started.elapsed();
    let proofs: Vec<Vec<u8>> = paths.into_iter().map(|path| with_value(path, &values)).collect();

    let started = Instant::now();
    for (key, bytes) in keys.iter().zip(&proofs) {
        let proof = Proof::parse(bytes).expect("made above");
        let value = proof.verify(pages.root(), key).expect("made above");
        assert_eq!(black_box(value).is_some(), present);
    }
    let checking = started.elapsed();

    let sizes = proofs.iter().map(Vec::len);
    let (most, sum) = (sizes.clone().max().unwrap_or(0), sizes.sum::<usize>());
    let each = |time: Duration| time.as_secs_f64() * 1e6 / PROOFS as f64;
    println!("{label}: {} bytes mean, {most} max (target 1200)", sum / proofs.len());
    println!("{label}: {:.1} us to prove, {:.1} us to parse and verify (target 20)", each(proving), each(checking));
}

fn with_value(path: ledger::state::tree::Path, values: &BTreeMap<Hash, Vec<u8>>) -> Vec<u8> {
    use ledger::state::tree::PathEnd;
    let value = match path.end {
        PathEnd::ThisLeaf { value_hash } => Some(&values[&value_hash][..]),
        PathEnd::Empty | PathEnd::OtherLeaf { .. } => None,
    };
    path.into_proof(value).expect("the value is the one with that hash").to_bytes()
}

/// Every value any name ever had, by its hash.
fn all_values() -> BTreeMap<Hash, Vec<u8>> {
    (0..=BLOCKS).map(value).map(|value| (value_hash(&value), value.to_vec())).collect()
}

fn print_storage(pages: &EncodedPages) {
    let bytes: usize = pages.pages.values().map(|page| page.len()).sum();
    let keys: usize = pages.pages.keys().map(|path| path.to_bytes().len()).sum();
    let largest = pages.pages.values().map(|page| page.len()).max().unwrap_or(0);
    println!(
        "stored: {} pages, {:.1} MB and {:.1} MB of keys",
        pages.pages.len(),
        bytes as f64 / 1e6,
        keys as f64 / 1e6
    );
    println!("stored: {} bytes per page on average, {largest} largest", bytes / pages.pages.len());
}

/// Hashes the values and sorts by key, as applying a block would. A name drawn twice keeps its first value.
fn sorted(names: impl Iterator<Item = (Key, u64)>) -> Vec<(Key, Option<Hash>)> {
    let mut changes: Vec<_> = names.map(|(key, version)| (key, Some(value_hash(&value(version))))).collect();
    changes.sort_unstable();
    changes.dedup_by_key(|change| change.0);
    changes
}

fn key(name: u64) -> Key {
    hash(Tag::Key, &[&name.to_le_bytes()]).into_other()
}

fn value(version: u64) -> [u8; VALUE_BYTES] {
    [version as u8; VALUE_BYTES]
}

/// SplitMix64, so that every run does the same work.
fn random(n: u64) -> u64 {
    let z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

trait HasRoot {
    fn root(&self) -> Hash;
}

impl HasRoot for MemoryPages {
    fn root(&self) -> Hash {
        self.root()
    }
}

/// Pages as a database keeps them.
struct EncodedPages {
    root: Hash,
    pages: BTreeMap<PagePath, Box<[u8]>>,
}

impl EncodedPages {
    fn from(memory: &MemoryPages) -> Self {
        let pages = memory.pages().map(|(path, page)| (*path, page.as_bytes().into())).collect();
        Self { root: memory.root(), pages }
    }

    fn apply(&mut self, delta: TreeDelta) {
        self.root = delta.root;
        for (path, page) in delta.pages {
            match page {
                Some(page) => self.pages.insert(path, page.as_bytes().into()),
                None => self.pages.remove(&path),
            };
        }
    }
}

impl HasRoot for EncodedPages {
    fn root(&self) -> Hash {
        self.root
    }
}

impl PageSource for EncodedPages {
    type Error = DecodeError;

    fn page(&self, path: &PagePath) -> Result<Option<Page>, DecodeError> {
        self.pages.get(path).map(|bytes| Page::from_bytes(bytes)).transpose()
    }
}

//! Restarts at bad moments: whatever was on disk when the process ended, the node comes up at one block's state, and
//! that is a block it had.
//!
//! A crash is played by copying the files while the database is open, and a torn log by cutting it off at any byte.
//! Killing the real daemon is done elsewhere; here every cut can be tried.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use ledger::{
    block::Block,
    hash::BlockHash,
    params::Params,
    testing::{TestChain, name, records, tiny_params},
};
use node::{
    chain::{Arrival, BlockOutcome, ChainCore, ChainOptions, verify},
    store::{Store, StoreError},
};

/// A time after every block.
const LATE: u64 = 4_000_000_000;

fn params() -> &'static Params {
    tiny_params()
}

fn open(path: &Path) -> Result<ChainCore, StoreError> {
    ChainCore::open(Store::open(path, params())?, params(), ChainOptions::single_threaded())
}

/// A chain of blocks with commits and reveals, and the hash at each height.
fn chain(count: u32, seed: u64) -> TestChain {
    let mut chain = TestChain::new(params());
    extend(&mut chain, count, seed);
    chain
}

fn extend(chain: &mut TestChain, count: u32, seed: u64) {
    for _ in 0..count {
        let (maker, next) = (chain.maker(), chain.height() + 1);
        let named = |height: u32| name(&format!("name-{seed}-{height}"));
        let mut transactions = vec![maker.commit(&named(next), seed)];
        if let Some(height) = next.checked_sub(params().maturity).filter(|height| *height > 0) {
            let reveal = maker.reveal(&named(height), seed, records("hello"));
            transactions.extend(chain.judge(std::slice::from_ref(&reveal)).is_ok().then_some(reveal));
        }
        let block = chain.build(transactions).expect("valid");
        chain.connect(&block).expect("valid");
    }
}

fn feed<'a>(core: &mut ChainCore, blocks: impl IntoIterator<Item = &'a Block>) {
    for block in blocks {
        let report = core.accept_block(Arc::new(block.clone()), LATE, Arrival::Sync).expect("the disk works");
        assert!(matches!(report.outcome, BlockOutcome::Connected { .. } | BlockOutcome::Stored), "{report:?}");
    }
}

fn hash_at(chain: &TestChain, height: u32) -> BlockHash {
    chain.context_at(height).expect("not above the tip").hash()
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).expect("creates");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copies");
    }
}

fn logs(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).expect("lists").map(|entry| entry.expect("lists").path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect()
}

/// The database is at a block of `chain`, and everything in it follows from that chain.
fn assert_is_at_a_block_of(path: &Path, chain: &TestChain) -> u32 {
    let core = open(path).expect("opens");
    let tip = core.tip();
    assert_eq!(tip.hash, hash_at(chain, tip.height));
    let report = verify(core.store(), params()).expect("verifies");
    assert_eq!((report.height, report.blocks), (tip.height, tip.height));
    tip.height
}

#[test]
fn killed_between_any_two_blocks() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (live, crashed) = (dir.path().join("live"), dir.path().join("crashed"));
    let chain = chain(40, 1);
    let mut core = open(&live).expect("opens");
    for block in chain.blocks() {
        feed(&mut core, [block]);
        copy(&live, &crashed);
        assert_eq!(assert_is_at_a_block_of(&crashed, &chain), block.header.core.height);
    }
}

#[test]
fn killed_in_the_middle_of_a_reorganisation() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (live, crashed) = (dir.path().join("live"), dir.path().join("crashed"));
    let shared = chain(8, 1);
    let (mut ours, mut theirs) = (shared.clone(), shared);
    extend(&mut ours, 6, 2);
    extend(&mut theirs, 8, 3);
    let mut core = open(&live).expect("opens");
    feed(&mut core, ours.blocks());
    let before = logs(&live).iter().map(|log| fs::metadata(log).expect("is there").len()).sum::<u64>();
    feed(&mut core, theirs.blocks().skip(8));
    assert_eq!(core.tip().hash, theirs.tip().hash());
    copy(&live, &crashed);
    let [log] = &logs(&crashed)[..] else { panic!("one log for so few blocks") };
    let whole = fs::read(log).expect("reads");
    // Everything that the switch wrote, cut off at many places. Whatever step that leaves, opening goes on from there to
    // the better of the two chains, as far as its bodies had been written.
    let mut seen = std::collections::BTreeSet::new();
    for cut in (before as usize..whole.len()).step_by(797).chain([whole.len()]) {
        copy(&live, &crashed);
        fs::write(log, &whole[..cut]).expect("writes");
        let core = open(&crashed).expect("opens");
        let tip = core.tip();
        let is_ours = tip.hash == ours.tip().hash();
        // Of two chains with equal work the one that the state is on stays.
        let is_theirs = tip.height >= 14 && tip.hash == hash_at(&theirs, tip.height);
        assert!(is_ours || is_theirs, "height {}", tip.height);
        verify(core.store(), params()).expect("verifies");
        seen.insert((tip.height, is_ours));
    }
    assert!(seen.contains(&(14, true)) && seen.contains(&(16, false)), "the cuts met both chains: {seen:?}");
}

#[test]
fn a_log_torn_at_any_byte() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (live, crashed) = (dir.path().join("live"), dir.path().join("crashed"));
    let chain = chain(12, 1);
    let mut core = open(&live).expect("opens");
    feed(&mut core, chain.blocks());
    copy(&live, &crashed);
    let [log] = &logs(&crashed)[..] else { panic!("one log for so few blocks") };
    let whole = fs::read(log).expect("reads");
    let mut heights = Vec::new();
    for cut in (0..=whole.len()).step_by(617).chain([whole.len() - 1, whole.len()]) {
        copy(&live, &crashed);
        fs::write(log, &whole[..cut]).expect("writes");
        heights.push(assert_is_at_a_block_of(&crashed, &chain));
    }
    assert!(heights.is_sorted(), "more log never means less chain: {heights:?}");
    assert_eq!((heights[0], heights[heights.len() - 1]), (0, 12));
}

#[test]
fn what_was_lost_is_taken_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (live, crashed) = (dir.path().join("live"), dir.path().join("crashed"));
    let chain = chain(20, 1);
    let mut core = open(&live).expect("opens");
    feed(&mut core, chain.blocks());
    copy(&live, &crashed);
    let [log] = &logs(&crashed)[..] else { panic!("one log for so few blocks") };
    let whole = fs::read(log).expect("reads");
    fs::write(log, &whole[..whole.len() / 2]).expect("writes");
    let mut core = open(&crashed).expect("opens");
    let height = core.tip().height;
    assert!(height > 2 && height < 18);
    feed(&mut core, chain.blocks().skip(height as usize));
    assert_eq!(core.tip().hash, chain.tip().hash());
    verify(core.store(), params()).expect("verifies");
}

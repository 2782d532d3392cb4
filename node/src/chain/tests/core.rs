//! The core: connecting, taking back, choosing, refusing.

use std::{ops::ControlFlow, sync::Arc};

use ledger::{
    block::{Block, Header},
    hash::{BlockHash, Hash},
    rules::Violation,
    state::tree::Proof,
    testing::{TestChain, name, owner},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use super::*;
use crate::{
    chain::{
        Alarm, Arrival, BlockOutcome, ChainCore, ChainEvent, ChainOptions, ChainReader, HeadersOutcome, Retention,
        verify,
    },
    mempool::MempoolView,
    store::{Durability, Rows, Store, Table},
};

fn blocks(chain: &TestChain) -> Vec<Block> {
    chain.blocks().cloned().collect()
}

fn headers(chain: &TestChain) -> Vec<Header> {
    chain.blocks().map(|block| block.header).collect()
}

fn offer(core: &mut ChainCore, block: &Block) -> BlockOutcome {
    core.accept_block(Arc::new(block.clone()), LATE, Arrival::Sync).expect("memory does not fail").outcome
}

/// Bodies missing on the way to the best header, as synchronisation is told when somebody claims that.
fn wanted(core: &mut ChainCore, max: usize) -> Vec<(u32, BlockHash)> {
    let best = core.best_header().1;
    let view = core.view(&[best], max).expect("memory does not fail");
    view.branches.into_iter().flat_map(|branch| branch.missing).take(max).collect()
}

#[test]
fn a_long_life_ends_where_the_model_ends() {
    let mut chain = TestChain::new(params());
    grow(&mut chain, 120, 1);
    let mut core = fresh();
    feed(&mut core, &blocks(&chain));
    assert_same(&core, &chain);
    let report = verify(core.store(), params()).expect("verifies");
    assert_eq!((report.height, report.blocks, report.entries), (120, 120, chain.leaves().len() as u64));
}

#[test]
fn taking_back_leaves_no_trace() {
    let mut shared = TestChain::new(params());
    grow(&mut shared, 90, 1);
    let (mut ours, mut theirs) = (shared.clone(), shared.clone());
    grow(&mut ours, 40, 2);
    grow(&mut theirs, 41, 3);

    let mut core = fresh();
    feed(&mut core, &blocks(&ours));
    assert_same(&core, &ours);
    feed(&mut core, &blocks(&theirs)[90..]);
    assert_same(&core, &theirs);
    assert_eq!(core.stats().snapshot().reorg_depth_max, 40);

    let mut straight = fresh();
    feed(&mut straight, &blocks(&theirs));
    assert_eq!(dump(core.store()), dump(straight.store()));
    verify(core.store(), params()).expect("verifies");
}

#[test]
fn thousands_of_blocks_there_and_back() {
    let mut shared = TestChain::new(params());
    grow(&mut shared, 30, 1);
    let (mut a, mut b) = (shared.clone(), shared);
    grow_sparsely(&mut a, 2_200, 2);
    grow_sparsely(&mut b, 2_201, 3);
    let mut core = fresh();
    feed(&mut core, &blocks(&a));
    // Its first blocks alone would have too little work to be kept.
    core.accept_headers(&headers(&b), LATE).expect("memory does not fail");
    feed(&mut core, &blocks(&b)[30..]);
    assert_same(&core, &b);
    grow(&mut a, 2, 2);
    feed(&mut core, &blocks(&a)[2_230..]);
    assert_same(&core, &a);
    let stats = core.stats().snapshot();
    assert_eq!((stats.reorgs, stats.reorg_depth_max), (2, 2_201));
    let mut straight = fresh();
    feed(&mut straight, &blocks(&a));
    assert_eq!(dump(core.store()), dump(straight.store()));
}

/// Several branches, their blocks in any order and some twice: the heaviest wins, and nothing shows how it came.
#[test]
fn any_order_of_any_tree_ends_at_the_heaviest_branch() {
    for seed in 0..12 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut branches = vec![TestChain::new(params())];
        grow(&mut branches[0], 12, 1);
        for n in 0..4 {
            let from = branches[rng.random_range(0..branches.len())].clone();
            let mut branch = TestChain::new(params());
            let fork = rng.random_range(0..=from.height()) as usize;
            from.blocks().take(fork).for_each(|block| drop(branch.connect(block).expect("valid")));
            grow(&mut branch, rng.random_range(1..10), 100 + n);
            branches.push(branch);
        }
        let mut all: Vec<Block> = branches.iter().flat_map(blocks).collect();
        all.shuffle(&mut rng);
        let mut core = fresh();
        while !all.is_empty() {
            all.retain(|block| match offer(&mut core, block) {
                BlockOutcome::UnknownParent => true,
                BlockOutcome::Connected { .. } | BlockOutcome::Stored | BlockOutcome::Known => false,
                other => panic!("{other:?}"),
            });
        }
        let most = branches.iter().map(|branch| branch.tip().total_work()).max();
        assert_eq!(Some(core.tip().total_work), most, "seed {seed}");
        let winner = branches.iter().find(|branch| branch.tip().hash() == core.tip().hash).expect("one of them");
        assert_same(&core, winner);
        let mut straight = fresh();
        feed(&mut straight, &blocks(winner));
        assert_eq!(dump(core.store()), dump(straight.store()), "seed {seed}");
        verify(core.store(), params()).expect("verifies");
    }
}

#[test]
fn events_tell_the_whole_story() {
    let mut shared = TestChain::new(params());
    grow(&mut shared, 10, 1);
    let (mut ours, mut theirs) = (shared.clone(), shared);
    grow(&mut ours, 2, 2);
    grow(&mut theirs, 3, 3);
    let mut core = fresh();
    feed(&mut core, &blocks(&ours));
    let told = core.take_events();
    assert_eq!(told.len(), 12);
    feed(&mut core, &blocks(&theirs)[10..]);
    let heights: Vec<_> = core
        .take_events()
        .iter()
        .map(|event| match event {
            ChainEvent::Connected(connected) => i64::from(connected.tip.height),
            ChainEvent::Disconnected(gone) => -i64::from(gone.height),
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    assert_eq!(heights, [-12, -11, 11, 12, 13]);
}

#[test]
fn equal_work_stays_with_the_first_seen() {
    let mut shared = TestChain::new(params());
    grow(&mut shared, 5, 1);
    let (mut first, mut second) = (shared.clone(), shared);
    grow(&mut first, 1, 2);
    grow(&mut second, 1, 3);
    let mut core = fresh();
    feed(&mut core, &blocks(&first));
    assert_eq!(offer(&mut core, &blocks(&second)[5]), BlockOutcome::Stored);
    assert_same(&core, &first);
}

#[test]
fn bodies_may_come_in_any_order() {
    let mut chain = TestChain::new(params());
    grow(&mut chain, 60, 1);
    let mut core = fresh();
    let report = core.accept_headers(&headers(&chain), LATE).expect("memory does not fail");
    assert_eq!((report.accepted, report.outcome, report.best.0), (60, HeadersOutcome::Ok, 60));
    assert_eq!(wanted(&mut core, 3).iter().map(|wanted| wanted.0).collect::<Vec<_>>(), [1, 2, 3]);
    for block in blocks(&chain).iter().rev() {
        assert_eq!(core.tip().height, 0);
        feed(&mut core, [block]);
    }
    assert_same(&core, &chain);
    assert_eq!(wanted(&mut core, 3), []);
}

#[test]
fn a_body_without_a_known_parent_is_refused() {
    let mut chain = TestChain::new(params());
    grow(&mut chain, 3, 1);
    let mut core = fresh();
    assert_eq!(offer(&mut core, &blocks(&chain)[2]), BlockOutcome::UnknownParent);
    let report = core.accept_headers(&headers(&chain)[1..], LATE).expect("memory does not fail");
    assert_eq!(report.outcome, HeadersOutcome::UnknownParent(blocks(&chain)[0].hash()));
}

/// A block with valid work whose state root is wrong.
fn with_wrong_state(chain: &TestChain) -> Block {
    let mut block = chain.build(Vec::new()).expect("valid");
    block.header.ext.state_root = Hash([9; 32]);
    block.header = chain.seal(block.header);
    block
}

#[test]
fn an_invalid_body_under_valid_work_changes_nothing_and_is_not_asked_for_again() {
    let mut chain = TestChain::new(params());
    grow(&mut chain, 12, 1);
    let bad = with_wrong_state(&chain);
    let mut core = fresh();
    feed(&mut core, &blocks(&chain));
    let before = dump(core.store());
    core.accept_headers(&[bad.header], LATE).expect("memory does not fail");
    assert_eq!(wanted(&mut core, 9), [(13, bad.hash())]);
    assert!(matches!(offer(&mut core, &bad), BlockOutcome::Invalid(Violation::StateRoot(_))));
    assert_eq!(dump(core.store()), before);
    assert_eq!(wanted(&mut core, 9), []);
    assert_eq!(offer(&mut core, &bad), BlockOutcome::Invalid(Violation::KnownInvalid { hash: bad.hash() }));
    let report = core.accept_headers(&[bad.header], LATE).expect("memory does not fail");
    assert_eq!(report.outcome, HeadersOutcome::Invalid(Violation::KnownInvalid { hash: bad.hash() }));

    let mut child = bad.clone();
    child.header.core.prev = bad.hash();
    child.header.core.height += 1;
    child.header = chain.seal(child.header);
    let report = core.accept_headers(&[child.header], LATE).expect("memory does not fail");
    assert_eq!(report.outcome, HeadersOutcome::InvalidParent(bad.hash()));
}

#[test]
fn a_heavier_branch_with_a_rotten_middle_is_left_again() {
    let mut shared = TestChain::new(params());
    grow(&mut shared, 20, 1);
    let (mut honest, mut rotten) = (shared.clone(), shared);
    grow(&mut honest, 5, 2);
    grow(&mut rotten, 3, 3);
    let mut core = fresh();
    feed(&mut core, &blocks(&honest));
    // Headers of the branch: three right blocks, a wrong one, and enough on top of it to be the best.
    let mut branch = blocks(&rotten)[20..].to_vec();
    branch.push(with_wrong_state(&rotten));
    extend_blindly(&rotten, &mut branch, 4);
    core.accept_headers(&branch.iter().map(|block| block.header).collect::<Vec<_>>(), LATE).expect("no failure");
    assert_eq!(core.best_header().0, 28);
    for block in branch.iter().rev() {
        core.accept_block(Arc::new(block.clone()), LATE, Arrival::Sync).expect("memory does not fail");
    }
    assert_same(&core, &honest);
    assert_eq!(core.best_header().0, 25);
    assert_eq!(wanted(&mut core, 9), []);
    verify(core.store(), params()).expect("verifies");
}

/// Adds empty blocks on the last of `branch` whose headers are right, whatever their state.
fn extend_blindly(chain: &TestChain, branch: &mut Vec<Block>, count: usize) {
    use ledger::{
        history::Peaks,
        rules::{
            block::{Content, assemble},
            header::HeaderContext,
        },
    };
    let mut peaks = Peaks::new();
    let mut parent = HeaderContext::genesis(params());
    let all: Vec<Header> = headers(chain).into_iter().take(20).chain(branch.iter().map(|block| block.header)).collect();
    for header in all {
        peaks.clone_from(parent.peaks());
        parent = HeaderContext::stored(header, parent.total_work(), &peaks);
    }
    for _ in 0..count {
        let time = parent.header().core.time + 2;
        let ext = parent.header().ext;
        let header = assemble(params(), &parent, time, &Content::of([]), ext.name_count, ext.state_root, Hash::ZERO);
        let header = chain.seal(header);
        peaks.clone_from(parent.peaks());
        parent = HeaderContext::stored(header, parent.total_work(), &peaks);
        branch.push(Block { header, transactions: Vec::new() });
    }
}

#[test]
fn another_body_than_the_headers_does_not_condemn_the_header() {
    let mut chain = TestChain::new(params());
    grow(&mut chain, 8, 1);
    let mut core = fresh();
    let all = blocks(&chain);
    feed(&mut core, &all[..7]);
    let mut swapped = all[7].clone();
    swapped.transactions = all[6].transactions.clone();
    assert!(matches!(offer(&mut core, &swapped), BlockOutcome::WrongBody(_)));
    swapped.transactions = all[7].transactions.iter().rev().cloned().collect();
    assert!(matches!(offer(&mut core, &swapped), BlockOutcome::WrongBody(_)), "the right ones in the wrong order");
    assert_eq!(wanted(&mut core, 9), [(8, all[7].hash())]);
    assert_eq!(offer(&mut core, &all[7]), BlockOutcome::Connected { reorg_depth: 0 });
}

#[test]
fn headers_from_the_future_are_deferred() {
    let chain = TestChain::new(params());
    let block = chain.build_at(LATE + 1_000, Vec::new()).expect("valid");
    let mut core = fresh();
    let until = LATE + 1_000 - u64::from(params().future_limit);
    assert_eq!(offer(&mut core, &block), BlockOutcome::Deferred { until });
    let taken = core.accept_block(Arc::new(block), until, Arrival::Sync).expect("memory does not fail");
    assert_eq!(taken.outcome, BlockOutcome::Connected { reorg_depth: 0 });
}

#[test]
fn locators_find_the_fork() {
    let mut shared = TestChain::new(params());
    grow(&mut shared, 50, 1);
    let (mut ours, mut theirs) = (shared.clone(), shared);
    grow(&mut ours, 5, 2);
    grow(&mut theirs, 9, 3);
    let (mut a, mut b) = (fresh(), fresh());
    feed(&mut a, &blocks(&ours));
    feed(&mut b, &blocks(&theirs));
    let locator = a.locator();
    let found = b.headers_after(&locator, 2_000).expect("memory does not fail");
    assert!(found.len() >= 9 && found.last() == headers(&theirs).last());
    assert_eq!(a.accept_headers(&found, LATE).expect("memory does not fail").accepted, 9);
    assert_eq!(b.headers_after(&[BlockHash([1; 32])], 3).expect("memory does not fail"), headers(&theirs)[..3]);
    let reader = ChainReader::new(b.store().clone(), params(), MempoolView::default());
    assert_eq!(reader.headers_after(&locator, 2_000).expect("memory does not fail"), found);
}

#[test]
fn proofs_and_indexes_agree_with_the_model() {
    let mut chain = TestChain::new(params());
    grow(&mut chain, 70, 1);
    let mut core = fresh();
    feed(&mut core, &blocks(&chain));
    let reader = ChainReader::new(core.store().clone(), params(), MempoolView::default());
    for (key, leaf) in chain.leaves() {
        let proof = reader.prove(key).expect("proves");
        let parsed = Proof::parse(&proof.bytes).expect("parses");
        let value = parsed.verify(chain.root(), key).expect("verifies");
        assert_eq!(value, Some(&ledger::codec::encode(leaf)[..]));
    }
    let absent = name("nobody-has-this").key();
    let proof = reader.prove(&absent).expect("proves");
    assert_eq!(Proof::parse(&proof.bytes).expect("parses").verify(chain.root(), &absent), Ok(None));

    let mut expected: Vec<_> =
        chain.leaves().values().filter_map(|leaf| leaf.as_name()).map(|state| state.name.clone()).collect();
    expected.sort();
    let names = |states: Vec<ledger::state::NameState>| states.into_iter().map(|s| s.name).collect::<Vec<_>>();
    assert_eq!(names(reader.search("", None, 1_000).expect("searches")), expected);
    assert_eq!(names(reader.names_of_owner(&owner(1), None, 1_000).expect("searches")), expected);
    assert_eq!(
        names(reader.search("name-1-4", Some(&name("name-1-41")), 3).expect("searches"))[0].as_str(),
        "name-1-42"
    );
    for shares in [1, 2, 3, 7] {
        let mut walked = vec![Vec::new(); shares];
        let visit = |names: &mut Vec<_>, state: ledger::state::NameState| {
            names.push(state.name);
            ControlFlow::Continue(())
        };
        let tip = reader.for_each_name(&mut walked, visit).expect("walks");
        let mut walked = walked.concat();
        walked.sort();
        assert_eq!((walked, tip.height), (expected.clone(), 70));
    }
    let mut counts = [0; 2];
    let first = |count: &mut usize, _| {
        *count += 1;
        ControlFlow::Break(())
    };
    reader.for_each_name(&mut counts, first).expect("walks");
    assert_eq!(counts, [1, 1], "who has seen enough is not shown more");
    let history = reader.history(&expected[0], u32::MAX, 100).expect("reads");
    assert!(!history.is_empty() && history.is_sorted_by(|a, b| a.height > b.height));
    let first = &blocks(&chain)[3].transactions[0];
    assert!(reader.transaction(&first.txid()).expect("reads").is_some());
}

#[test]
fn a_node_reopens_at_every_height_where_it_was() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut chain = TestChain::new(params());
    let mut grown = TestChain::new(params());
    grow(&mut grown, 30, 1);
    for block in blocks(&grown) {
        let store = Store::open(dir.path(), params()).expect("opens");
        let mut core = ChainCore::open(store, params(), ChainOptions::single_threaded()).expect("opens");
        assert_same(&core, &chain);
        feed(&mut core, [&block]);
        chain.connect(&block).expect("valid");
    }
    let store = Store::open(dir.path(), params()).expect("opens");
    let core = ChainCore::open(store, params(), ChainOptions::single_threaded()).expect("opens");
    assert_same(&core, &grown);
}

#[test]
fn headers_and_side_branches_survive_reopening() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut shared = TestChain::new(params());
    grow(&mut shared, 10, 1);
    let (mut ours, mut theirs) = (shared.clone(), shared);
    grow(&mut ours, 3, 2);
    grow(&mut theirs, 6, 3);
    let open = || {
        let store = Store::open(dir.path(), params()).expect("opens");
        ChainCore::open(store, params(), ChainOptions::single_threaded()).expect("opens")
    };
    let bad = with_wrong_state(&ours);
    {
        let mut core = open();
        feed(&mut core, &blocks(&ours));
        core.accept_headers(&headers(&theirs), LATE).expect("no failure");
        assert!(matches!(offer(&mut core, &bad), BlockOutcome::Invalid(_)));
    }
    let mut core = open();
    assert_eq!((core.tip().height, core.best_header().0), (13, 16));
    assert_eq!(wanted(&mut core, 99).len(), 6);
    assert!(matches!(offer(&mut core, &bad), BlockOutcome::Invalid(Violation::KnownInvalid { .. })));
    feed(&mut core, &blocks(&theirs)[10..]);
    assert_same(&core, &theirs);
    drop(core);
    assert_same(&open(), &theirs);
}

#[test]
fn a_state_that_does_not_fit_the_tip_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut chain = TestChain::new(params());
    grow(&mut chain, 12, 1);
    let store = Store::open(dir.path(), params()).expect("opens");
    let mut core = ChainCore::open(store.clone(), params(), ChainOptions::single_threaded()).expect("opens");
    feed(&mut core, &blocks(&chain));
    drop(core);
    let mut batch = store.batch();
    batch.delete(Table::Tree, b"/");
    batch.write(Durability::Synced).expect("writes");
    let error = ChainCore::open(store, params(), ChainOptions::single_threaded()).err().expect("refused");
    assert!(error.to_string().contains("namestead db verify"), "{error}");
}

/// The state is one block behind the tip record: the block is taken back at the start, and nothing of it stays in the
/// indexes either.
#[test]
fn a_block_taken_back_at_the_start_leaves_no_trace() {
    let mut chain = TestChain::new(params());
    grow(&mut chain, 30, 1);
    let store = Store::in_memory(params()).expect("memory opens");
    let open = || ChainCore::open(store.clone(), params(), ChainOptions::single_threaded()).expect("opens");
    let all = blocks(&chain);
    let last = &all[29];
    assert!(!last.transactions.is_empty());
    feed(&mut open(), &all[..29]);
    let (expected, pages) = (dump(&store), tree_rows(&store));
    feed(&mut open(), [last]);
    let mut batch = store.batch();
    tree_rows(&store).iter().for_each(|(key, _)| batch.delete(Table::Tree, key));
    pages.iter().for_each(|(key, value)| batch.put(Table::Tree, key, value));
    // So that it is not connected again at once.
    let mut row = store.header_row(&last.hash()).expect("reads").expect("there");
    row.status |= crate::chain::index::Status::INVALID;
    batch.put(Table::Headers, last.hash(), ledger::codec::encode(&row));
    batch.write(Durability::Synced).expect("writes");
    assert_eq!(open().tip().height, 29);
    assert_eq!(dump(&store), expected);
}

fn tree_rows(store: &Store) -> Vec<(Vec<u8>, Vec<u8>)> {
    dump(store).into_iter().filter(|(table, ..)| *table == Table::Tree).map(|(_, key, value)| (key, value)).collect()
}

#[test]
fn damage_in_an_entry_is_found_by_verify() {
    let mut chain = TestChain::new(params());
    grow(&mut chain, 20, 1);
    let mut core = fresh();
    feed(&mut core, &blocks(&chain));
    let (key, leaf) = chain.leaves().iter().find(|(_, leaf)| leaf.as_name().is_some()).expect("there are names");
    let mut state = leaf.as_name().expect("a name").clone();
    state.seq += 1;
    let mut batch = core.store().batch();
    batch.put(Table::Names, key, ledger::codec::encode(&ledger::state::Leaf::Name(state)));
    batch.write(Durability::Buffered).expect("writes");
    assert!(verify(core.store(), params()).is_err());
}

#[test]
fn old_bodies_go_and_what_is_left_still_verifies() {
    let mut shared = TestChain::new(params());
    grow(&mut shared, 40, 1);
    let (mut ours, mut theirs) = (shared.clone(), shared);
    grow(&mut ours, 12, 2);
    grow(&mut theirs, 13, 3);
    let store = Store::in_memory(params()).expect("memory opens");
    let options = ChainOptions { retention: Retention::Last(10), ..ChainOptions::single_threaded() };
    let mut core = ChainCore::open(store.clone(), params(), options).expect("opens");
    feed(&mut core, &blocks(&ours));
    assert_same(&core, &ours);
    let reader = ChainReader::new(store.clone(), params(), MempoolView::default());
    assert_eq!(reader.block_at(42).expect("reads"), None);
    assert_eq!(reader.block_at(43).expect("reads").as_ref(), blocks(&ours).get(42));
    assert_eq!(reader.block_at(0).expect("reads").map(|genesis| genesis.header), Some(params().genesis()));
    let report = verify(&store, params()).expect("verifies");
    assert_eq!((report.height, report.headers, report.blocks), (52, 52, 10));
    assert!(report.entries > 0);

    // The other chain forks off below what can be taken back: it is refused, with an alarm, and nothing breaks.
    core.take_events();
    feed(&mut core, &blocks(&theirs)[40..]);
    assert_same(&core, &ours);
    assert!(core.take_events().iter().any(|event| matches!(event, ChainEvent::Alarm(Alarm::BelowUndo { .. }))));
    drop(core);
    assert_same(&ChainCore::open(store, params(), options).expect("opens"), &ours);
}

#[test]
fn a_node_that_stops_keeping_everything_prunes_from_below() {
    let mut shared = TestChain::new(params());
    grow(&mut shared, 60, 1);
    let (mut ours, mut deep) = (shared.clone(), shared);
    grow(&mut ours, 20, 2);
    let mut shallow = ours.clone();
    grow(&mut ours, 20, 3);
    let store = Store::in_memory(params()).expect("memory opens");
    let open = |retention| {
        let options = ChainOptions { retention, ..ChainOptions::single_threaded() };
        ChainCore::open(store.clone(), params(), options).expect("opens")
    };
    feed(&mut open(Retention::Archive), &blocks(&ours));
    let mut core = open(Retention::Last(10));
    grow(&mut ours, 1, 3);
    feed(&mut core, &blocks(&ours)[100..]);
    let reader = ChainReader::new(store.clone(), params(), MempoolView::default());
    assert_eq!((reader.block_at(64).expect("reads"), reader.block_at(65).expect("reads").is_some()), (None, true));
    // Below that, nothing can be taken back, and above it, everything, without a hole.
    grow(&mut deep, 42, 4);
    feed(&mut core, &blocks(&deep)[60..]);
    assert_same(&core, &ours);
    grow(&mut shallow, 23, 5);
    feed(&mut core, &blocks(&shallow)[80..]);
    assert_same(&core, &shallow);
    assert_eq!(verify(&store, params()).map(|report| report.height), Ok(103));
    drop(core);
    assert_same(&open(Retention::Last(10)), &shallow);
}

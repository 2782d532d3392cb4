//! Fork choice: what is followed, what is refused and for how long, what is asked for and what is not even kept.

use std::sync::Arc;

use ledger::{
    block::Block,
    hash::BlockHash,
    params::Params,
    testing::{TestChain, params_with},
};

use super::*;
use crate::{
    chain::{AdoptRefusal, Alarm, Arrival, BlockOutcome, ChainCore, ChainEvent, ChainOptions, HeadersOutcome, Sight},
    store::{Direction, Read, Store, Table},
};

/// Free up to 10 live blocks, then a lead of 20 that fades in 30.
fn steep() -> &'static Params {
    params_with(|p| (p.free_reorg, p.deep_lead, p.lead_fades) = (10, 20, 30))
}

fn open(store: Store, params: &'static Params) -> ChainCore {
    ChainCore::open(store, params, ChainOptions::single_threaded()).expect("opens")
}

fn empty(chain: &mut TestChain, count: u32, gap: u64) {
    for _ in 0..count {
        let block = chain.build_at(chain.tip().header().core.time + gap, Vec::new()).expect("valid");
        chain.connect(&block).expect("valid");
    }
}

fn give(core: &mut ChainCore, block: &Block, now: u64, arrival: Arrival) -> BlockOutcome {
    core.accept_block(Arc::new(block.clone()), now, arrival).expect("memory does not fail").outcome
}

/// Blocks from `from` on, each as if it came at its time.
fn give_live(core: &mut ChainCore, chain: &TestChain, from: u32) {
    for block in chain.blocks().skip(from as usize) {
        give(core, block, block.header.core.time, Arrival::Live);
    }
}

fn give_old(core: &mut ChainCore, chain: &TestChain, from: u32) {
    for block in chain.blocks().skip(from as usize) {
        give(core, block, LATE, Arrival::Sync);
    }
}

fn alarms(core: &mut ChainCore) -> Vec<Alarm> {
    let alarm = |event| if let ChainEvent::Alarm(alarm) = event { Some(alarm) } else { None };
    core.take_events().into_iter().filter_map(alarm).collect()
}

/// Two chains that leave each other at genesis; the second is heavier by `ahead` blocks of the same weight.
fn parted(params: &'static Params, ours: u32, ahead: u32) -> (TestChain, TestChain) {
    let (mut first, mut second) = (TestChain::new(params), TestChain::new(params));
    empty(&mut first, ours, 2);
    empty(&mut second, 1, 3);
    empty(&mut second, ours + ahead - 1, 2);
    (first, second)
}

#[test]
fn a_live_day_is_not_given_up_without_a_great_lead() {
    let (mut ours, mut theirs) = parted(steep(), 12, 8);
    let mut core = open(Store::in_memory(steep()).expect("memory opens"), steep());
    give_live(&mut core, &ours, 0);
    core.take_events();
    give_old(&mut core, &theirs, 0);
    assert_eq!(core.tip().hash, ours.tip().hash());
    assert!(matches!(alarms(&mut core)[..], [Alarm::DeepFork { fork_height: 0, .. }]), "told once");
    // Nothing of it is wanted, and it does not stand in the way of our own next block.
    let view = core.view(&[theirs.tip().hash()], 9).expect("memory does not fail");
    assert_eq!((view.claims[0].1, view.branches.len(), view.is_refusing), (Sight::Settled, 0, true));
    empty(&mut ours, 1, 2);
    give_live(&mut core, &ours, 12);
    assert_eq!(core.tip().hash, ours.tip().hash());
    // It grows: the operator knows already. Its new bodies are asked for like those of any heavier branch.
    empty(&mut theirs, 5, 2);
    let headers: Vec<_> = theirs.blocks().map(|block| block.header).collect();
    core.accept_headers(&headers, LATE).expect("memory does not fail");
    let view = core.view(&[theirs.tip().hash()], 9).expect("memory does not fail");
    assert_eq!(view.branches[0].missing.len(), 5);
    give_old(&mut core, &theirs, 20);
    assert_eq!((core.tip().hash, alarms(&mut core)), (ours.tip().hash(), vec![]));
    // An operator decides otherwise.
    let target = theirs.tip().hash();
    assert_eq!(core.adopt_fork(&target).expect("memory does not fail"), Ok(13));
    assert_eq!(core.tip().hash, target);
    // There is no way back to less work, and none to what is not there.
    let mut adopt = |hash| core.adopt_fork(&hash).expect("memory does not fail");
    assert_eq!(adopt(target), Err(AdoptRefusal::Active));
    assert_eq!(adopt(ours.tip().hash()), Err(AdoptRefusal::NotHeavier));
    assert_eq!(adopt(BlockHash([7; 32])), Err(AdoptRefusal::Unknown));
    empty(&mut ours, 60, 1);
    let headers: Vec<_> = ours.blocks().map(|block| block.header).collect();
    core.accept_headers(&headers, LATE).expect("memory does not fail");
    assert_eq!(core.adopt_fork(&ours.tip().hash()).expect("memory does not fail"), Err(AdoptRefusal::Incomplete));
}

#[test]
fn a_great_lead_is_followed_with_an_alarm() {
    let (ours, theirs) = parted(steep(), 12, 26);
    let mut core = open(Store::in_memory(steep()).expect("memory opens"), steep());
    give_live(&mut core, &ours, 0);
    core.take_events();
    // In this order the candidate is complete with its last body, and jumps ahead by all of it.
    let blocks: Vec<_> = theirs.blocks().collect();
    let headers: Vec<_> = blocks.iter().map(|block| block.header).collect();
    core.accept_headers(&headers, LATE).expect("memory does not fail");
    for block in blocks.iter().rev() {
        give(&mut core, block, LATE, Arrival::Sync);
    }
    assert_eq!(core.tip().hash, theirs.tip().hash());
    assert!(matches!(alarms(&mut core)[..], [Alarm::DeepReorg { fork_height: 0, depth: 12 }]));
}

/// The depth is counted when the last body is here: headers shown early buy nothing.
#[test]
fn headers_shown_early_do_not_buy_a_deep_reorganisation() {
    let (mut ours, theirs) = parted(steep(), 10, 8);
    let mut core = open(Store::in_memory(steep()).expect("memory opens"), steep());
    give_live(&mut core, &ours, 0);
    let headers: Vec<_> = theirs.blocks().map(|block| block.header).collect();
    core.accept_headers(&headers, LATE).expect("memory does not fail");
    empty(&mut ours, 1, 2);
    give_live(&mut core, &ours, 10);
    give_old(&mut core, &theirs, 0);
    assert_eq!(core.tip().hash, ours.tip().hash(), "eleven live blocks by now");
}

/// The lead fades with each of our blocks while the other side is heavier, over restarts, and then it is followed.
#[test]
fn the_lead_fades_while_the_other_side_is_heavier() {
    for restart in [false, true] {
        let p = steep();
        let (mut ours, mut theirs) = parted(p, 12, 3);
        let mut core = open(Store::in_memory(p).expect("memory opens"), p);
        give_live(&mut core, &ours, 0);
        give_old(&mut core, &theirs, 0);
        let mut counted = 0;
        while core.tip().hash == ours.tip().hash() && counted < 60 {
            counted += 1;
            let at = (ours.height(), theirs.height());
            empty(&mut theirs, 1, 2);
            give_old(&mut core, &theirs, at.1);
            empty(&mut ours, 1, 2);
            give_live(&mut core, &ours, at.0);
            if restart {
                core = open(core.store().clone(), p);
            }
        }
        // 3 ahead of 20·(1 − k/30): from k = 26 on (20 − 17.33 = 2.67), or 25 in the step in which they are 4 ahead.
        assert!((24..=26).contains(&counted), "restart {restart}: {counted}");
        assert_eq!(core.tip().hash, theirs.tip().hash());
    }
}

/// A branch that is here with all bodies, and lighter, for as long as you like: nothing is counted for it.
#[test]
fn a_stub_shown_early_buys_nothing() {
    let p = steep();
    let mut core = open(Store::in_memory(p).expect("memory opens"), p);
    let mut ours = TestChain::new(p);
    let mut theirs = TestChain::new(p);
    empty(&mut ours, 12, 2);
    empty(&mut theirs, 1, 3);
    empty(&mut theirs, 9, 2);
    give_live(&mut core, &ours, 0);
    give_old(&mut core, &theirs, 0);
    for _ in 0..100 {
        let at = (ours.height(), theirs.height());
        empty(&mut ours, 1, 2);
        give_live(&mut core, &ours, at.0);
        empty(&mut theirs, 1, 2);
        give_old(&mut core, &theirs, at.1);
    }
    // Heavier now, by less than the full lead: refused as if it had come today.
    let at = theirs.height();
    empty(&mut theirs, 18, 2);
    give_old(&mut core, &theirs, at);
    assert!(core.tip().total_work < theirs.tip().total_work());
    assert_eq!(core.tip().hash, ours.tip().hash());
}

/// Of equal work, the one whose last body was here first, not the one whose header was.
#[test]
fn equal_work_goes_to_the_first_complete_one() {
    let (first, second) = parted(params(), 5, 0);
    let [early, late] = [&first, &second].map(|chain| chain.blocks().map(|b| b.header).collect::<Vec<_>>());
    for (headers_first, bodies_first) in [(&early, &second), (&late, &first)] {
        let other = if bodies_first.tip().hash() == first.tip().hash() { &second } else { &first };
        let mut core = fresh();
        core.accept_headers(headers_first, LATE).expect("memory does not fail");
        give_old(&mut core, bodies_first, 0);
        give_old(&mut core, other, 0);
        assert_eq!(core.tip().total_work, other.tip().total_work());
        assert_eq!(core.tip().hash, bodies_first.tip().hash());
    }
}

/// Every heavier branch that is claimed is shown with its missing bodies, whichever header is the best.
#[test]
fn every_heavier_branch_is_wanted() {
    let mut shared = TestChain::new(params());
    grow(&mut shared, 10, 1);
    let (mut light, mut heavy) = (shared.clone(), shared.clone());
    grow(&mut light, 2, 2);
    grow(&mut heavy, 7, 3);
    let mut core = fresh();
    give_old(&mut core, &shared, 0);
    for chain in [&heavy, &light] {
        let headers: Vec<_> = chain.blocks().map(|block| block.header).collect();
        core.accept_headers(&headers, LATE).expect("memory does not fail");
    }
    let middle = heavy.blocks().nth(13).expect("there").hash();
    let unknown = BlockHash([7; 32]);
    let claims = [light.tip().hash(), heavy.tip().hash(), middle, shared.tip().hash(), unknown];
    let view = core.view(&claims, 1_024).expect("memory does not fail");
    let lengths: Vec<_> = view.branches.iter().map(|branch| (branch.end.hash, branch.missing.len())).collect();
    assert_eq!(lengths, [(heavy.tip().hash(), 7), (light.tip().hash(), 2)]);
    let sights: Vec<_> = view.claims.iter().map(|(_, sight)| *sight).collect();
    let wanted = |branch, height| Sight::Wanted { branch, height };
    assert_eq!(sights, [wanted(1, 12), wanted(0, 17), wanted(0, 14), Sight::Settled, Sight::Unknown]);
    // The locator leads on from both chains.
    let locator = core.locator();
    assert!(locator.contains(&shared.tip().hash()) && locator.contains(&heavy.tip().hash()));
    give_old(&mut core, &light, 10);
    assert_eq!(core.tip().hash, light.tip().hash());
}

#[test]
fn bodies_below_what_can_be_taken_back_are_not_wanted() {
    let (ours, theirs) = parted(params(), 30, 3);
    let options = ChainOptions { retention: crate::chain::Retention::Last(10), ..ChainOptions::single_threaded() };
    let store = Store::in_memory(params()).expect("memory opens");
    let mut core = ChainCore::open(store, params(), options).expect("opens");
    give_old(&mut core, &ours, 0);
    assert_eq!(core.tip().lowest_body, 21);
    core.take_events();
    let headers: Vec<_> = theirs.blocks().map(|block| block.header).collect();
    core.accept_headers(&headers, LATE).expect("memory does not fail");
    for _ in 0..3 {
        let view = core.view(&[theirs.tip().hash()], 9).expect("memory does not fail");
        assert_eq!((view.claims[0].1, view.branches), (Sight::Settled, vec![]));
    }
    assert!(matches!(alarms(&mut core)[..], [Alarm::BelowUndo { fork_height: 0, .. }]));
}

#[test]
fn what_is_announced_is_taken_near_the_tip_only() {
    let (ours, mut theirs) = parted(params(), 200, 0);
    let mut core = fresh();
    give_old(&mut core, &ours, 0);
    // A fork at genesis with some 60 blocks less of work than allowed, then one that is near enough.
    let mut far = TestChain::new(params());
    theirs.blocks().take(40).for_each(|block| drop(far.connect(block).expect("valid")));
    give_old(&mut core, &far, 0);
    let next = theirs.blocks().nth(40).expect("there").clone();
    assert_eq!(give(&mut core, &next, LATE, Arrival::Announced), BlockOutcome::FarFromTip);
    let report = core.accept_announced(&next.header, LATE).expect("memory does not fail");
    assert_eq!((report.outcome, core.knows_header(&next.hash())), (HeadersOutcome::FarFromTip, false));
    assert_eq!(give(&mut core, &next, LATE, Arrival::Sync), BlockOutcome::Stored, "asked for, it is taken");
    give_old(&mut core, &theirs, 41);
    empty(&mut theirs, 1, 2);
    let last = theirs.blocks().last().expect("there").clone();
    assert!(!matches!(give(&mut core, &last, LATE, Arrival::Announced), BlockOutcome::FarFromTip));
}

/// Headers and bodies in the database.
fn stored_rows(core: &ChainCore) -> usize {
    let mut rows = 0;
    for table in [Table::Headers, Table::Bodies] {
        let count = &mut |_: &[u8], _: &[u8]| {
            rows += 1;
            Ok(std::ops::ControlFlow::Continue(()))
        };
        core.store().scan(table, (&[], &[]), Direction::Up, count).expect("memory does not fail");
    }
    rows
}

/// Old branches of little work are not stored, asked for or not.
#[test]
fn headers_of_little_work_are_not_stored() {
    let p = params();
    let mut ours = TestChain::new(p);
    for _ in 0..2_300 {
        ours.extend(Vec::new()).expect("valid");
    }
    let mut core = fresh();
    give_old(&mut core, &ours, 0);
    let (mut side, before) = (TestChain::new(p), core.header_count());
    empty(&mut side, 1, 3);
    empty(&mut side, 60, 2);
    let headers: Vec<_> = side.blocks().map(|block| block.header).collect();
    let report = core.accept_headers(&headers, LATE).expect("memory does not fail");
    assert_eq!((report.accepted, report.outcome), (0, HeadersOutcome::LowWork));
    for block in side.blocks() {
        for arrival in [Arrival::Announced, Arrival::Live, Arrival::Sync] {
            let outcome = give(&mut core, block, LATE, arrival);
            let refused = [BlockOutcome::LowWork, BlockOutcome::FarFromTip, BlockOutcome::UnknownParent];
            assert!(refused.contains(&outcome), "{outcome:?}");
        }
    }
    assert_eq!(core.header_count(), before);
    // However many, and each another: nothing of a flood is kept, in memory or on disk.
    let rows = stored_rows(&core);
    let mut sibling = side.blocks().next().expect("there").clone();
    for n in 0u32..100_000 {
        sibling.header.core.share_commit.0[..4].copy_from_slice(&n.to_le_bytes());
        sibling.header = side.seal(sibling.header);
        let arrival = if n % 2 == 0 { Arrival::Announced } else { Arrival::Sync };
        let outcome = give(&mut core, &sibling, LATE, arrival);
        assert!(matches!(outcome, BlockOutcome::LowWork | BlockOutcome::FarFromTip), "{outcome:?}");
    }
    assert_eq!((core.header_count(), stored_rows(&core)), (before, rows));
    // What would not be kept costs no proof. A rule that shows without one is broken all the same.
    let mut forged = headers.clone();
    forged[60].core.nonce = u64::MAX;
    let mut judge = |headers: &[_]| core.accept_headers(headers, LATE).expect("memory does not fail").outcome;
    assert_eq!(judge(&forged), HeadersOutcome::LowWork);
    forged[60].core.bits ^= 1;
    assert!(matches!(judge(&forged), HeadersOutcome::Invalid(_)));
    assert_eq!(core.header_count(), before);
}

/// Whoever forks off a little below the tip and puts the time of now into the first block makes use of stall relief.
#[test]
fn eased_forks_are_not_stored() {
    let p = params();
    let mut ours = TestChain::new(p);
    (0..1_999).for_each(|_| drop(ours.extend(Vec::new()).expect("valid")));
    let mut side = ours.clone();
    (0..100).for_each(|_| drop(ours.extend(Vec::new()).expect("valid")));
    let mut core = fresh();
    give_old(&mut core, &ours, 0);
    let (before, rows) = (core.header_count(), stored_rows(&core));
    let first = side.build_at(ours.tip().header().core.time, Vec::new()).expect("valid");
    let mut sibling = first.clone();
    for n in 0u32..100_000 {
        sibling.header.core.share_commit.0[..4].copy_from_slice(&n.to_le_bytes());
        sibling.header = side.seal(sibling.header);
        let (arrival, refused) = match n % 2 {
            0 => (Arrival::Announced, BlockOutcome::FarFromTip),
            _ => (Arrival::Sync, BlockOutcome::LowWork),
        };
        assert_eq!(give(&mut core, &sibling, LATE, arrival), refused);
    }
    // Not even to be kept until its time comes, nor behind as many known headers as make an answer full.
    let early = first.header.core.time - u64::from(p.future_limit) - 5;
    let report = core.accept_headers(&[first.header], early).expect("memory does not fail");
    assert_eq!(report.outcome, HeadersOutcome::LowWork);
    let mut full: Vec<_> = ours.blocks().take(1_999).map(|block| block.header).collect();
    full.push(first.header);
    side.connect(&first).expect("valid");
    empty(&mut side, 1, 2);
    let second = *side.tip().header();
    for (headers, outcome) in [(&full[..], HeadersOutcome::Walked), (&[second], HeadersOutcome::LowWork)] {
        for _ in 0..2 {
            assert_eq!(core.accept_headers(headers, LATE).expect("memory does not fail").outcome, outcome);
        }
    }
    assert_eq!((core.header_count(), stored_rows(&core)), (before, rows));
    // A chain that is heavier in the end is taken with all its blocks.
    while side.tip().total_work() <= ours.tip().total_work() {
        empty(&mut side, 1, 1);
    }
    let headers: Vec<_> = side.blocks().skip(1_999).map(|block| block.header).collect();
    let report = core.accept_headers(&headers, LATE).expect("memory does not fail");
    assert_eq!((report.outcome, report.accepted), (HeadersOutcome::Ok, headers.len()));
}

/// After a real stall two miners find an easy block at the same time: both are told to everybody, and so is what follows.
#[test]
fn honest_rivals_after_a_stall_are_stored() {
    let mut ours = TestChain::new(params());
    empty(&mut ours, 200, 2);
    let mut theirs = ours.clone();
    empty(&mut ours, 1, 200);
    empty(&mut theirs, 1, 205);
    let mut core = fresh();
    give_old(&mut core, &ours, 0);
    let announce = |core: &mut ChainCore, chain: &TestChain| {
        give(core, chain.blocks().last().expect("there"), LATE, Arrival::Announced)
    };
    assert_eq!(announce(&mut core, &theirs), BlockOutcome::Stored);
    empty(&mut theirs, 1, 2);
    assert!(matches!(announce(&mut core, &theirs), BlockOutcome::Connected { .. }));
    empty(&mut ours, 1, 3);
    assert_eq!(announce(&mut core, &ours), BlockOutcome::Stored);
}

/// A partition of any length heals by request: a chain whose first headers have too little work is walked to where it
/// has enough, and then stored; not a header of it before, and no other chain in its stead.
#[test]
fn a_long_parted_chain_is_walked_twice() {
    let p = params();
    let (mut ours, mut theirs) = (TestChain::new(p), TestChain::new(p));
    empty(&mut theirs, 1, 3);
    for _ in 0..5_000 {
        ours.extend(Vec::new()).expect("valid");
        theirs.extend(Vec::new()).expect("valid");
    }
    let mut core = fresh();
    give_old(&mut core, &ours, 0);
    let headers: Vec<_> = theirs.blocks().map(|block| block.header).collect();
    let batches: Vec<_> = headers.chunks(2_000).collect();
    let before = core.header_count();
    let judge = |core: &mut ChainCore, batch: &[_]| core.accept_headers(batch, LATE).expect("no failure").outcome;
    assert_eq!(judge(&mut core, batches[0]), HeadersOutcome::Walked);
    assert_eq!(core.header_count(), before);
    assert_eq!(judge(&mut core, batches[0]), HeadersOutcome::Walked, "from two peers at once");
    let again = core.accept_headers(batches[0], p.genesis_time).expect("no failure").outcome;
    assert_eq!(again, HeadersOutcome::Walked, "not looked at again, or its time would not have come");
    assert_eq!(judge(&mut core, batches[1]), HeadersOutcome::WalkedEnough);
    assert_eq!(core.header_count(), before);
    // Another chain in its stead is walked like any.
    let mut other = TestChain::new(p);
    empty(&mut other, 1, 4);
    for _ in 0..1_999 {
        other.extend(Vec::new()).expect("valid");
    }
    let others: Vec<_> = other.blocks().map(|block| block.header).collect();
    assert_eq!(judge(&mut core, &others), HeadersOutcome::Walked);
    assert_eq!(core.header_count(), before);
    for batch in &batches {
        assert_eq!(judge(&mut core, batch), HeadersOutcome::Ok);
    }
    assert_eq!(core.header_count(), before + 5_001);
    assert_eq!(core.best_header().1, theirs.tip().hash());
}

/// Headers of the future: of those without work nothing is kept by anybody, and it is their sender's fault.
#[test]
fn headers_of_the_future_need_work() {
    let chain = TestChain::new(params());
    let mut core = fresh();
    let now = params().genesis_time;
    let ahead = |s: u64| chain.build_at(now + u64::from(params().future_limit) + s, Vec::new()).expect("valid").header;
    let judge =
        |core: &mut ChainCore, header| core.accept_headers(&[header], now).expect("memory does not fail").outcome;
    assert_eq!(judge(&mut core, ahead(100)), HeadersOutcome::Deferred { until: now + 100 });
    let mut junk = ahead(100);
    junk.core.nonce = u64::MAX;
    assert!(matches!(judge(&mut core, junk), HeadersOutcome::Invalid(_)));
    let mut far = ahead(100_000);
    far.core.nonce = u64::MAX;
    assert_eq!(judge(&mut core, far), HeadersOutcome::Deferred { until: now + 100_000 }, "not looked at");
}

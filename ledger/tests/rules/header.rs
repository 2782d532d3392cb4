//! Header rules (protocol §3.4).

use ledger::{
    block::Header,
    pow::{Scratch, from_compact},
    rules::{
        Violation,
        header::{self, HeaderError},
    },
    testing::{TestChain, params_with, tiny_params},
};

use crate::{Case, Outcome, case};

pub const CASES: &[Case] = &[
    case("version", "another format version", || changed(|h| h.core.version += 1), || changed(|_| {})),
    case("version", "a cheaper algorithm", || changed(|h| h.core.version &= 0x00ff_ffff), || changed(|_| {})),
    case("parent", "another block", || changed(|h| h.core.prev.0[31] ^= 1), || changed(|_| {})),
    case("height", "one too high", || changed(|h| h.core.height += 1), || changed(|_| {})),
    case("height", "the parent's own", || changed(|h| h.core.height -= 1), || changed(|_| {})),
    case("too_soon", "a second under MIN_GAP", || changed(|h| h.core.time -= 2), || timed(1)),
    case("vtime", "one too many", || changed(|h| h.core.vtime += 1), || changed(|_| {})),
    case("vtime", "the gap is not clipped", || stale(|h| h.core.vtime += 1), || stale(|_| {})),
    case("bits", "one step easier", || changed(|h| h.core.bits += 1), || changed(|_| {})),
    case("bits", "one step harder", || changed(|h| h.core.bits -= 1), || changed(|_| {})),
    case("bits", "relief a second too early", relief_too_early, || timed(21)),
    case("price_bytes", "one too high", || changed(|h| h.ext.price_bytes += 1), || changed(|_| {})),
    case("price_commit", "one too low", || changed(|h| h.ext.price_commit -= 1), || changed(|_| {})),
    case("history_root", "another history", || changed(|h| h.ext.history_root.0[31] ^= 1), || changed(|_| {})),
    case("header_work", "a value just above the target", || worked(1), || worked(0)),
];

fn three_blocks() -> TestChain {
    let mut chain = TestChain::new(tiny_params());
    chain.mine_empty(3);
    chain
}

fn judge(chain: &TestChain, header: &Header, now: u64) -> Result<(), HeaderError> {
    let (params, scratch) = (chain.params(), &mut Scratch::default());
    header::check(params, &chain.chain_id(), header, chain.tip(), now, scratch).map(drop)
}

fn now_or_never(result: Result<(), HeaderError>) -> Outcome {
    result.map_err(|error| match error {
        HeaderError::Violation(violation) => violation,
        HeaderError::Deferred { until } => panic!("deferred until {until}"),
    })
}

/// The next header of a short chain, changed and made consistent again. Its nonce is 0, which meets any target.
fn changed(change: fn(&mut Header)) -> Outcome {
    let chain = three_blocks();
    let mut header = chain.build(vec![])?.header;
    change(&mut header);
    header.core.ext_root = header.ext.root();
    now_or_never(judge(&chain, &header, header.core.time))
}

/// A valid header this many seconds after its parent.
fn timed(gap: u64) -> Outcome {
    let chain = three_blocks();
    let header = chain.build_at(chain.tip().header().core.time + gap, vec![])?.header;
    now_or_never(judge(&chain, &header, header.core.time))
}

/// A header a second after the longest gap that the clock counts.
fn stale(change: fn(&mut Header)) -> Outcome {
    let chain = three_blocks();
    let gap = u64::from(chain.params().gap_clip) + 1;
    let mut header = chain.build_at(chain.tip().header().core.time + gap, vec![])?.header;
    change(&mut header);
    now_or_never(judge(&chain, &header, header.core.time))
}

/// A header with the bits of one that comes a second later, when relief has begun.
fn relief_too_early() -> Outcome {
    let chain = three_blocks();
    let start = chain.tip().header().core.time + u64::from(chain.params().relief_start);
    let [mut header, eased] = [start, start + 1].map(|time| chain.build_at(time, vec![]).expect("empty").header);
    assert_ne!(header.core.bits, eased.core.bits);
    header.core.bits = eased.core.bits;
    now_or_never(judge(&chain, &header, header.core.time))
}

/// A header whose work value is the largest that meets the target, plus so many steps of the simulated value.
fn worked(steps_above: u64) -> Outcome {
    let chain = three_blocks();
    let mut header = chain.build(vec![])?.header;
    let target = from_compact(header.core.bits).expect("from the rules");
    header.core.nonce = (target >> 192).low_u64() + steps_above;
    now_or_never(judge(&chain, &header, header.core.time))
}

#[test]
fn a_header_from_the_future_is_deferred_and_not_invalid() {
    let chain = three_blocks();
    let header = chain.build(vec![]).unwrap().header;
    let earliest = header.core.time - u64::from(chain.params().future_limit);
    assert_eq!(judge(&chain, &header, earliest), Ok(()));
    assert_eq!(judge(&chain, &header, earliest - 1), Err(HeaderError::Deferred { until: earliest }));
}

#[test]
fn block_one_has_the_genesis_target_and_no_relief() {
    let chain = TestChain::new(tiny_params());
    let genesis = chain.tip().header().core;
    for gap in [1, 2, 20, 21, 100_000] {
        let core = chain.build_at(genesis.time + gap, vec![]).unwrap().header.core;
        assert_eq!((core.bits, core.vtime), (genesis.bits, 0), "{gap}");
    }
}

#[test]
fn bits_that_are_no_target_are_never_met() {
    let chain = three_blocks();
    let mut core = chain.build(vec![]).unwrap().header.core;
    for bits in [0, 0x2080_0000, 0x0100_0000, 0xff7f_ffff] {
        core.bits = bits;
        let met = header::work_meets_target(chain.params(), &chain.chain_id(), &core, &mut Scratch::default());
        assert_eq!(met, Err(Violation::HeaderWork), "{bits:08x}");
    }
}

#[test]
fn children_can_be_linked_before_the_parent_is_proved() {
    let params = params_with(|_| {});
    let mut chain = TestChain::new(params);
    let genesis = chain.tip().clone();
    chain.mine_empty(2);
    let headers: Vec<Header> = chain.blocks().map(|block| block.header).collect();
    let now = headers[1].core.time;
    let first = header::link(params, &headers[0], &genesis, now).unwrap();
    let second = header::link(params, &headers[1], first.unproved(), now).unwrap();
    let proved = second.prove(params, &chain.chain_id(), &mut Scratch::default()).unwrap();
    assert_eq!((proved.hash(), proved.total_work()), (chain.tip().hash(), chain.tip().total_work()));
}

//! Chains with all kinds of transactions, and ways to compare databases.

use std::{ops::ControlFlow, sync::Arc};

use ledger::{
    block::Block,
    params::Params,
    testing::{TestChain, name, owner, records, tiny_params},
    transaction::{Body, RevokeMode, Transaction},
};

use crate::{
    chain::{Arrival, BlockOutcome, ChainCore, ChainOptions},
    store::{Direction, Read, Store, TABLES, Table},
};

/// A time after every block of these tests.
pub const LATE: u64 = 4_000_000_000;

pub fn params() -> &'static Params {
    tiny_params()
}

pub fn fresh() -> ChainCore {
    let store = Store::in_memory(params()).expect("memory opens");
    ChainCore::open(store, params(), ChainOptions::single_threaded()).expect("an empty database opens")
}

/// Adds `count` blocks with commits, reveals, updates, transfers, cancellations, renewals, revocations and expiries.
pub fn grow(chain: &mut TestChain, count: u32, seed: u64) {
    for _ in 0..count {
        let block = chain.build(transactions(chain, seed)).expect("the transactions are valid together");
        chain.connect(&block).expect("the block is valid");
    }
}

/// Adds `count` blocks, most of them empty.
pub fn grow_sparsely(chain: &mut TestChain, count: u32, seed: u64) {
    for n in 0..count {
        if n % 40 < 5 {
            grow(chain, 1, seed);
        } else {
            let block = chain.build(Vec::new()).expect("an empty block is valid");
            chain.connect(&block).expect("the block is valid");
        }
    }
}

fn transactions(chain: &TestChain, seed: u64) -> Vec<Transaction> {
    let (p, next) = (chain.params(), chain.height() + 1);
    let named = |height: u32| name(&format!("name-{seed}-{height}"));
    let maker = chain.maker();
    let mut all = vec![maker.commit(&named(next), seed)];
    if let Some(height) = next.checked_sub(p.maturity).filter(|height| *height > 0) {
        let reveal = maker.reveal(&named(height), seed, records("hello"));
        all.extend(chain.judge(std::slice::from_ref(&reveal)).is_ok().then_some(reveal));
    }
    for height in next.saturating_sub(70).max(1)..next {
        let target = named(height);
        let Some(state) = chain.state(&target) else { continue };
        let seq = state.seq + 1;
        let body = match (next + 5 * height) % 23 {
            0 => Body::Update { name: target, seq, operator: Some(owner(seed + 1)), records: Some(records("again")) },
            1 => Body::Transfer { name: target, seq, owner: owner(seed), operator: owner(seed + 2) },
            2 => Body::Cancel { name: target, seq },
            3 => Body::Renew { name: target, expires_at: state.expires_at },
            4 if height % 3 == 0 => Body::Revoke { name: target, seq, mode: RevokeMode::Release },
            _ => continue,
        };
        let change = maker.make(body, seed);
        all.extend(chain.judge(std::slice::from_ref(&change)).is_ok().then_some(change));
    }
    all
}

/// Hands blocks over; all must be taken.
pub fn feed<'a>(core: &mut ChainCore, blocks: impl IntoIterator<Item = &'a Block>) {
    for block in blocks {
        let report = core.accept_block(Arc::new(block.clone()), LATE, Arrival::Sync).expect("memory does not fail");
        assert!(
            matches!(report.outcome, BlockOutcome::Connected { .. } | BlockOutcome::Stored),
            "{:?} at height {}",
            report.outcome,
            block.header.core.height
        );
    }
}

/// Everything that follows from the active chain alone, whatever way it came about.
pub fn dump(store: &Store) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    for spec in &TABLES {
        if matches!(spec.table, Table::Headers | Table::Bodies | Table::Mmr) {
            continue;
        }
        store
            .scan(spec.table, (&[], &[]), Direction::Up, &mut |key, value| {
                rows.push((spec.table, key.to_vec(), value.to_vec()));
                Ok(ControlFlow::Continue(()))
            })
            .expect("memory does not fail");
    }
    rows
}

/// The core's tip and state are those of the model.
pub fn assert_same(core: &ChainCore, chain: &TestChain) {
    let tip = core.tip();
    assert_eq!((tip.height, tip.hash, tip.total_work), (chain.height(), chain.tip().hash(), chain.tip().total_work()));
    assert_eq!(tip.state_root, chain.root());
    let mut leaves = 0;
    for table in [Table::Names, Table::Commits] {
        core.store()
            .scan(table, (&[], &[]), Direction::Up, &mut |key, value| {
                let expected = chain.leaves().get(&ledger::hash::Key(key.try_into().expect("32 bytes")));
                assert_eq!(expected.map(ledger::codec::encode).as_deref(), Some(value));
                leaves += 1;
                Ok(ControlFlow::Continue(()))
            })
            .expect("memory does not fail");
    }
    assert_eq!(leaves, chain.leaves().len());
}

//! REVEALs are anchored at genesis, however high the chain is: blocks with them, and one that stands there twice.

use std::sync::Arc;

use ledger::{
    block::Block,
    hash::{Hash, TxId},
    key::{Witness, sighash},
    record::Records,
    rules::{
        Violation,
        block::{Content, assemble},
    },
    testing::{TestChain, key, name, policy, records},
    transaction::{Anchor, Transaction, txid},
};

use super::*;
use crate::{
    chain::{Arrival, BlockOutcome, ChainCore, ChainOptions, verify},
    store::{Rows, Store, Table},
};

/// A chain whose last block reveals a name, with several anchor windows of blocks below it.
fn revealed_high() -> TestChain {
    let mut chain = TestChain::new(params());
    chain.mine_empty(4 * params().anchor_window);
    chain.reveal(&name("alice"), 1, records("hello"));
    chain
}

#[test]
fn a_reveal_far_above_the_anchor_window_connects_and_verifies() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let open = || {
        let store = Store::open(dir.path(), params()).expect("opens");
        ChainCore::open(store, params(), ChainOptions::single_threaded()).expect("opens")
    };
    let mut chain = revealed_high();
    feed(&mut open(), chain.blocks());
    let mut core = open();
    assert_same(&core, &chain);
    assert_eq!(verify(core.store(), params()).expect("verifies").height, chain.height());
    let tip = chain.blocks().len();
    grow(&mut chain, 3, 2);
    feed(&mut core, chain.blocks().skip(tip));
    assert_same(&core, &chain);
}

/// A block on the tip with a REVEAL that states another anchor than genesis.
fn block_with_anchor(chain: &TestChain, height: u32) -> Block {
    let body = chain.maker().reveal_body(&name("mallory"), 9, Records::empty());
    let digest = sighash(&chain.chain_id(), &chain.tip().hash(), &txid(height, &body));
    let witness = Witness::sign(policy(9), &[&key(9)], &digest);
    let anchor = Anchor { height, ..Anchor::to_block(height, &chain.tip().hash()) };
    let transactions = vec![Transaction::new(anchor, body, None, witness).expect("complete")];
    let time = chain.tip().header().core.time + u64::from(params().block_interval);
    let content = Content::of(&transactions);
    let header = assemble(params(), chain.tip(), time, &content, 0, chain.root(), Hash::ZERO);
    Block { header: chain.seal(header), transactions }
}

/// Even an anchor above the block, which cannot be looked up, condemns the block and nothing else.
#[test]
fn a_block_whose_reveal_states_another_anchor_is_refused_and_the_node_goes_on() {
    let mut chain = revealed_high();
    let tip = chain.height();
    for height in [1, tip, tip + 1, tip + 2, u32::MAX] {
        let mut core = fresh();
        feed(&mut core, chain.blocks());
        let report = core.accept_block(Arc::new(block_with_anchor(&chain, height)), LATE, Arrival::Live);
        let outcome = report.expect("the store is whole").outcome;
        assert_eq!(outcome, BlockOutcome::Invalid(Violation::RevealAnchor { height }));
        let next = chain.build(Vec::new()).expect("an empty block is valid");
        feed(&mut core, [&next]);
    }
    chain.mine_empty(1);
}

/// A name whose owner lets it go and takes it again with the same words: the same REVEAL, for a commit paid anew.
fn revealed_twice() -> (TestChain, u32, TxId) {
    let mut chain = revealed_high();
    let first = chain.height();
    let reveal = chain.blocks().next_back().expect("the reveal's").transactions[0].txid();
    let free = chain.state(&name("alice")).expect("registered").release_height(params());
    chain.mine_until(free);
    chain.reveal(&name("alice"), 1, records("hello"));
    assert_eq!(chain.blocks().next_back().expect("the reveal's").transactions[0].txid(), reveal);
    (chain, first, reveal)
}

#[test]
fn an_id_that_stands_twice_is_found_at_every_place_and_forgotten_place_by_place() {
    let (chain, first, reveal) = revealed_twice();
    let second = chain.height();
    let mut core = fresh();
    feed(&mut core, chain.blocks());
    assert_eq!(core.store().transaction_places(&reveal), Ok(vec![(first, 0), (second, 0)]));
    assert_eq!(core.store().transaction_place(&reveal), Ok(Some((second, 0))));

    // A heavier branch takes the second one back.
    let mut other = chain.clone();
    other.disconnect();
    grow(&mut other, 2, 7);
    feed(&mut core, other.blocks().skip(chain.blocks().len() - 1));
    assert_eq!(core.store().transaction_places(&reveal), Ok(vec![(first, 0)]));

    // And one from below the first takes both.
    let mut other = TestChain::new(params());
    chain.blocks().take(first as usize - 1).for_each(|block| drop(other.connect(block).expect("valid")));
    grow(&mut other, second - first + 4, 8);
    feed(&mut core, other.blocks().skip(first as usize - 1));
    assert_same(&core, &other);
    assert_eq!(core.store().transaction_places(&reveal), Ok(vec![]));
}

/// A place above the block that is connected can only be left over from a block whose body was gone.
#[test]
fn places_left_over_from_lost_bodies_are_dropped() {
    let (chain, first, reveal) = revealed_twice();
    let mut core = fresh();
    let blocks: Vec<Block> = chain.blocks().cloned().collect();
    feed(&mut core, &blocks[..blocks.len() - 1]);
    let mut batch = core.store().batch();
    let places = [(first, 0), (chain.height(), 5), (chain.height() + 9, 0)];
    batch.put(Table::Transactions, reveal, crate::store::places_row(&places));
    batch.write(crate::store::Durability::Buffered).expect("memory does not fail");
    feed(&mut core, &blocks[blocks.len() - 1..]);
    assert_eq!(core.store().transaction_places(&reveal), Ok(vec![(first, 0), (chain.height(), 0)]));
}

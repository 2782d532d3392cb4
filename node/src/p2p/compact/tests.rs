//! Blocks told by short ids, put together again, and what cannot be.

use std::sync::LazyLock;

use ledger::{
    codec::{decode, encode},
    hash::to_hex,
    testing::{TestChain, name, tiny_params},
};
use rand::{Rng, SeedableRng};

use super::*;

/// A block of twelve commits, made once: their work takes a while in a debug build.
static BLOCK: LazyLock<Block> = LazyLock::new(|| {
    let mut chain = TestChain::new(tiny_params());
    chain.mine_empty(3);
    let commit = |owner: u64| chain.maker().commit(&name(&format!("compact-{owner}")), owner);
    chain.build((1..=12).map(commit).collect()).expect("valid")
});

fn all() -> impl Iterator<Item = (WitnessTxId, &'static Transaction)> {
    BLOCK.transactions.iter().map(|tx| (tx.wtxid(), tx))
}

fn at(indexes: &[usize]) -> impl Iterator<Item = (WitnessTxId, &'static Transaction)> {
    indexes.iter().map(|index| &BLOCK.transactions[*index]).map(|tx| (tx.wtxid(), tx))
}

fn compact(rare: &[usize]) -> CompactBlock {
    let rare: Vec<_> = at(rare).map(|(wtxid, _)| wtxid).collect();
    CompactBlock::new(&BLOCK, 7, |wtxid| rare.contains(wtxid))
}

#[test]
fn whoever_has_all_transactions_has_the_block() {
    let sent = compact(&[]);
    assert_eq!(encode(&sent).len(), 248 + 8 + 2 + 12 * 6 + 2);
    assert_eq!(sent.rebuild(all()).next(), Next::Judge(BLOCK.clone()));
    let empty = Block { transactions: Vec::new(), ..BLOCK.clone() };
    assert_eq!(CompactBlock::new(&empty, 1, |_| false).rebuild(all()).next(), Next::Judge(empty));
}

#[test]
fn what_is_prefilled_needs_no_candidate() {
    for rare in [&[0][..], &[11], &[0, 1, 5, 11], &[3, 4]] {
        let sent: CompactBlock = decode(&encode(&compact(rare))).expect("canonical");
        let others: Vec<_> = (0..12).filter(|index| !rare.contains(index)).collect();
        assert_eq!(sent.rebuild(at(&others)).next(), Next::Judge(BLOCK.clone()), "{rare:?}");
    }
    assert_eq!(CompactBlock::whole(&BLOCK).rebuild(at(&[])).next(), Next::Judge(BLOCK.clone()));
}

#[test]
fn what_is_missing_is_asked_for_and_half_of_it_is_too_much() {
    let Next::Ask(rebuild, missing) = compact(&[2]).rebuild(at(&[0, 1, 3, 4, 6, 8])).next() else { panic!("asks") };
    assert_eq!(missing, [5, 7, 9, 10, 11]);
    let answer = |indexes: &[usize]| at(indexes).map(|(_, tx)| tx.clone()).collect::<Vec<_>>();
    assert_eq!(rebuild.clone().fill(answer(&[5, 7, 9, 10, 11])), Some(BLOCK.clone()));
    assert_eq!(rebuild.clone().fill(answer(&[5, 7, 9, 10])), None);
    assert_eq!(rebuild.fill(answer(&[5, 7, 9, 10, 11, 0])), None);
    assert!(matches!(compact(&[]).rebuild(at(&[0, 1, 2, 3, 4, 5])).next(), Next::Ask(_, _)));
    assert_eq!(compact(&[]).rebuild(at(&[0, 1, 2, 3, 4])).next(), Next::Fetch(BLOCK.header));
}

/// Two entries with one id: neither is filled, whatever candidates there are, and both are asked for.
#[test]
fn an_id_that_stands_twice_stands_for_nothing() {
    let mut sent = compact(&[]);
    sent.entries[4] = sent.entries[3].clone();
    let Next::Ask(_, missing) = sent.rebuild(all()).next() else { panic!("asks") };
    assert_eq!(missing, [3, 4]);
}

/// Two candidates with one id, which nobody can find in the time that there is: the test names the second by force.
#[test]
fn two_candidates_for_one_id_are_none() {
    let (first, again) = (BLOCK.transactions[0].wtxid(), BLOCK.transactions[0].wtxid());
    let same = all().chain([(again, &BLOCK.transactions[0])]);
    assert!(matches!(compact(&[]).rebuild(same).next(), Next::Judge(_)), "one transaction twice is one");
    let (mut sent, other) = (compact(&[]), WitnessTxId([9; 32]));
    let ids = ShortIds::new(&BLOCK.hash(), 7);
    // An entry that means neither of two candidates would be filled with the first; with both it stays open.
    sent.entries[1] = Entry::Id(ids.of(&other));
    let one = all().chain([(other, &BLOCK.transactions[0])]);
    assert!(matches!(sent.clone().rebuild(one).next(), Next::Judge(_)));
    let mut clash = sent;
    clash.entries[0] = Entry::Id(ids.of(&other));
    let one = all().chain([(other, &BLOCK.transactions[0])]);
    assert!(matches!(clash.rebuild(one).next(), Next::Ask(_, missing) if missing == [0, 1]));
    assert_ne!(ids.of(&first), ids.of(&other));
}

#[test]
fn a_whole_block_that_is_not_the_headers_shows() {
    assert!(CompactBlock::whole(&BLOCK).may_be_right());
    assert!(compact(&[]).may_be_right() && CompactBlock::without_body(BLOCK.header, 3).may_be_right());
    let mut short = BLOCK.clone();
    short.transactions.pop();
    assert!(!CompactBlock::whole(&short).may_be_right());
    assert!(!CompactBlock::without_body(BLOCK.header, 0).may_be_right());
}

#[test]
fn ids_change_with_the_block_and_the_salt() {
    let (wtxid, block) = (WitnessTxId([1; 32]), BLOCK.hash());
    let id = |block: &BlockHash, salt| ShortIds::new(block, salt).of(&wtxid);
    assert_ne!(id(&block, 1), id(&block, 2));
    assert_ne!(id(&block, 1), id(&BlockHash([2; 32]), 1));
}

/// The reference vector of SipHash-2-4, and one of ours: other programs must come to the same ids.
#[test]
fn ids_are_those_of_siphash() {
    let mut hasher = SipHasher24::new_with_key(&std::array::from_fn(|index| index as u8));
    hasher.write(&std::array::from_fn::<u8, 15, _>(|index| index as u8));
    assert_eq!(hasher.finish(), 0xa129_ca61_49be_45e5);
    let ShortId(id) = ShortIds::new(&BlockHash([1; 32]), 0x0807_0605_0403_0201).of(&WitnessTxId([2; 32]));
    assert_eq!(to_hex(&id), "17b47416e83a");
}

#[test]
fn a_prefilled_part_is_capped() {
    let big = Block { transactions: vec![BLOCK.transactions[0].clone(); 2_048], ..BLOCK.clone() };
    let bytes = encode(&CompactBlock::new(&big, 1, |_| true));
    assert!(bytes.len() <= MAX_COMPACT_BYTES, "{}", bytes.len());
    assert!(decode::<CompactBlock>(&bytes).is_ok());
    let bytes = encode(&CompactBlock::whole(&big));
    assert!(decode::<CompactBlock>(&bytes).is_err(), "{} bytes are too many", bytes.len());
}

#[test]
fn every_cut_and_every_wrong_index_is_noticed() {
    let bytes = encode(&compact(&[0, 5]));
    assert_eq!(decode::<CompactBlock>(&bytes), Ok(compact(&[0, 5])));
    (0..bytes.len()).for_each(|cut| assert!(decode::<CompactBlock>(&bytes[..cut]).is_err()));
    let first_index = 248 + 8 + 2 + 10 * 6 + 2;
    for index in [1u16, 5, 12, 2_048, u16::MAX] {
        let mut wrong = bytes.clone();
        wrong[first_index..first_index + 2].copy_from_slice(&index.to_le_bytes());
        // Index 1 is a place too, and another block.
        assert_eq!(decode::<CompactBlock>(&wrong).is_ok(), index == 1, "{index}");
    }
    let mut many = bytes;
    many[256..258].copy_from_slice(&2_049u16.to_le_bytes());
    assert!(decode::<CompactBlock>(&many).is_err());
}

/// Random damage: never a panic, and whatever still decodes is spelled canonically and can be put together or asked for.
#[test]
fn damaged_messages_are_refused_or_canonical() {
    let mut rng = rand::rngs::StdRng::seed_from_u64(10);
    let originals = [encode(&compact(&[])), encode(&compact(&[0, 3, 11])), encode(&CompactBlock::whole(&BLOCK))];
    for round in 0..5_000 {
        let mut bytes = originals[round % 3].clone();
        for _ in 0..rng.random_range(1..4) {
            // Mostly behind the header, where the counts are.
            let at = rng.random_range(if round % 8 == 0 { 0 } else { 248 }..bytes.len());
            bytes[at] = rng.random();
        }
        bytes.truncate(rng.random_range(248..=bytes.len()));
        if let Ok(compact) = decode::<CompactBlock>(&bytes) {
            assert_eq!(encode(&compact), bytes);
            compact.may_be_right();
            compact.rebuild(all()).next();
        }
    }
}

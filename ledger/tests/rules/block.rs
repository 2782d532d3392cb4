//! Rules for a body against its header (protocol §4.6, §6).

use ledger::{
    block::{Block, Header},
    codec::{decode, encode},
    hash::{Hash, PolicyHash},
    key::Witness,
    params::{MAX_BLOCK_BYTES, MAX_BLOCK_TRANSACTIONS},
    record::{Record, Records},
    rules::{
        Violation,
        block::{BLOCK_OVERHEAD_BYTES, Content, check_body, results_match},
    },
    testing::{TestChain, key, name, owner, policy, tiny_params},
    transaction::{Anchor, Body, Share, Transaction},
};

use crate::{Case, Outcome, case};

pub const CASES: &[Case] = &[
    case("block_bytes", "a byte too many", || sized(MAX_BLOCK_BYTES + 1), || sized(MAX_BLOCK_BYTES)),
    case("block_transactions", "one too many", || counted(MAX_BLOCK_TRANSACTIONS + 1), one_fewer_is_only_too_long),
    case("transaction_order", "two swapped", || ordered(|txs| txs.swap(0, 1)), || ordered(|_| {})),
    case("transaction_order", "one twice", || ordered(|txs| txs.insert(0, txs[0].clone())), || ordered(|_| {})),
    case("block_claims", "one too many", || committed_sorted(claims(5)), || committed_sorted(claims(4))),
    case("block_rolls", "one too many", || committed_sorted(rolls(2)), || committed_sorted(rolls(1))),
    case("weight", "a byte too many", || body(|h| h.ext.weight += 1), || body(|_| {})),
    case("commit_count", "one too few", || body(|h| h.ext.commit_count -= 1), || body(|_| {})),
    case("tx_root", "another root", || body(|h| h.ext.tx_root.0[0] ^= 1), || body(|_| {})),
    case("witness_root", "another root", || body(|h| h.ext.witness_root.0[0] ^= 1), || body(|_| {})),
    case("name_count", "one too many", || results(|h| h.ext.name_count += 1), || results(|_| {})),
    case("state_root", "another root", || results(|h| h.ext.state_root.0[0] ^= 1), || results(|_| {})),
];

/// A valid block of two commits, and its chain.
fn two_commits() -> (TestChain, Block) {
    let mut chain = TestChain::new(tiny_params());
    chain.mine_empty(1);
    let maker = chain.maker();
    let block = chain.build(["alice", "bob"].map(|text| maker.commit(&name(text), 1)).to_vec()).expect("valid");
    (chain, block)
}

fn body(change: fn(&mut Header)) -> Outcome {
    let (_, mut block) = two_commits();
    change(&mut block.header);
    check_body(&block.header, &block.transactions)
}

fn results(change: fn(&mut Header)) -> Outcome {
    let (chain, mut block) = two_commits();
    change(&mut block.header);
    let delta = chain.judge(&block.transactions)?;
    results_match(&block.header, &delta, chain.root_after(&delta))
}

/// A header that commits to just these transactions, however they are ordered and whatever they weigh.
fn committed(transactions: &[Transaction]) -> Outcome {
    let mut header = tiny_params().genesis();
    let Content { tx_root, witness_root, weight, commit_count } = Content::of(transactions);
    header.ext = ledger::block::HeaderExt { tx_root, witness_root, weight, commit_count, ..header.ext };
    check_body(&header, transactions)
}

fn committed_sorted(mut transactions: Vec<Transaction>) -> Outcome {
    transactions.sort_by_key(Transaction::txid);
    committed(&transactions)
}

/// So many transactions of the right shape, told apart by their anchors.
fn claims(count: u32) -> Vec<Transaction> {
    let body = Body::Claim {
        name: name("locked"),
        target: "locked.example".to_owned(),
        owner: owner(1),
        operator: PolicyHash::ZERO,
        records: Records::empty(),
        proof: vec![],
    };
    let witness = Witness::sign(policy(1), &[&key(1)], &Hash::ZERO);
    let claim =
        |height| Transaction::new(Anchor { height, tag: [0; 8] }, body.clone(), Some(no_share()), witness.clone());
    (0..count).map(|height| claim(height).expect("complete")).collect()
}

fn rolls(count: u32) -> Vec<Transaction> {
    let roll =
        |height| Transaction::new(Anchor { height, tag: [0; 8] }, Body::Roll { proof: vec![] }, Some(no_share()), None);
    (0..count).map(|height| roll(height).expect("complete")).collect()
}

fn ordered(change: fn(&mut Vec<Transaction>)) -> Outcome {
    let (_, mut block) = two_commits();
    change(&mut block.transactions);
    committed(&block.transactions)
}

fn no_share() -> Share {
    Share::of(&tiny_params().genesis().core)
}

/// A transaction that has the right shape and one record of `rdata` bytes.
fn update(seq: u64, rdata: usize) -> Transaction {
    let record = |fill| Record { sub: vec![], rtype: 16, ttl: 60, rdata: vec![fill; rdata] };
    let records = Records::new(vec![record(0)]).expect("fits");
    let body = Body::Update { name: name("n"), seq, operator: None, records: Some(records) };
    let witness = Witness::sign(policy(1), &[&key(1)], &Hash::ZERO);
    Transaction::new(Anchor { height: 0, tag: [0; 8] }, body, Some(no_share()), witness).expect("complete")
}

/// A block of exactly so many bytes.
fn sized(bytes: usize) -> Outcome {
    let (least, most) = (update(0, 0).byte_len(), update(0, 500).byte_len());
    let mut left = bytes - BLOCK_OVERHEAD_BYTES;
    let mut transactions = Vec::new();
    for seq in 0.. {
        let next = if left >= most + least { most } else { left.min(most) };
        transactions.push(update(seq, next - least));
        left -= next;
        if left == 0 {
            break;
        }
        if left < least {
            // Shorten the last one, so that there is room for another.
            transactions.pop();
            transactions.push(update(seq, next - least - (least - left)));
            left = least;
        }
    }
    transactions.sort_by_key(Transaction::txid);
    let header = tiny_params().genesis();
    assert_eq!(encode(&Block { header, transactions: transactions.clone() }).len(), bytes);
    committed(&transactions)
}

fn commits(count: usize) -> Vec<Transaction> {
    let body = |n: usize| Body::Commit {
        class: 0,
        commit_hash: ledger::hash::hash(ledger::hash::Tag::Commit, &[&n.to_le_bytes()]).into_other(),
    };
    let anchor = Anchor { height: 0, tag: [0; 8] };
    let mut txs: Vec<_> =
        (0..count).map(|n| Transaction::new(anchor, body(n), Some(no_share()), None).expect("complete")).collect();
    txs.sort_by_key(Transaction::txid);
    txs
}

fn counted(count: usize) -> Outcome {
    committed(&commits(count))
}

/// No transaction is short enough for the greatest number to fit: then the length is what is wrong.
fn one_fewer_is_only_too_long() -> Outcome {
    match counted(MAX_BLOCK_TRANSACTIONS) {
        Err(Violation::BlockBytes { .. }) => Ok(()),
        other => other,
    }
}

#[test]
fn a_mangled_body_is_never_held_against_its_header() {
    let (_, block) = two_commits();
    let mangle: [fn(&mut Vec<Transaction>); 5] = [
        |txs| txs.swap(0, 1),
        |txs| txs.push(txs[1].clone()),
        |txs| drop(txs.pop()),
        |txs| txs.clear(),
        |txs| *txs = commits(MAX_BLOCK_TRANSACTIONS + 1),
    ];
    for change in mangle {
        let mut transactions = block.transactions.clone();
        change(&mut transactions);
        let violation = check_body(&block.header, &transactions).unwrap_err();
        assert!(violation.is_of_the_body_only(), "{violation}");
    }
}

#[test]
fn a_body_that_the_header_commits_to_is_held_against_it() {
    let mut broken = Vec::new();
    broken.push(sized(MAX_BLOCK_BYTES + 1));
    broken.push(ordered(|txs| txs.swap(0, 1)));
    broken.push(body(|h| h.ext.weight += 1));
    for outcome in broken {
        assert!(!outcome.unwrap_err().is_of_the_body_only());
    }
}

#[test]
fn a_block_of_too_many_bytes_or_transactions_does_not_decode() {
    let header = tiny_params().genesis();
    let most = (MAX_BLOCK_BYTES - BLOCK_OVERHEAD_BYTES) / commits(1)[0].byte_len();
    let block = Block { header, transactions: commits(most) };
    assert_eq!(decode(&encode(&block)), Ok(block));
    let block = Block { header, transactions: commits(most + 1) };
    assert!(decode::<Block>(&encode(&block)).is_err());
}

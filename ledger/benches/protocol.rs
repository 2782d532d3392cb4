//! What judging costs on one core: `cargo bench -p ledger --bench protocol`.
//!
//! For: the figures that the protocol and docs/performance.md quote: decoding, ids, signatures, work, and applying a
//! block. One line per figure, with its target where there is one; the best of five runs, so that a busy machine shows
//! less.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a benchmark reads the clock and prints")]

use std::{
    collections::BTreeMap,
    hint::black_box,
    time::{Duration, Instant},
};

use ledger::{
    block::{Block, HeaderBatch},
    codec::{decode, encode},
    hash::{BlockHash, Hash, Tag, hash},
    key::{Witness, sighash},
    params::Network,
    pow::{Algorithm, Scratch, pow_value},
    record::Records,
    rules::apply::{apply, touched_keys},
    rules::{block::check_body, header},
    state::Leaf,
    state::delta::{Delta, Loaded},
    testing::{TestChain, key, name, params_with, policy, records},
    transaction::{Body, Transaction},
};

const CHANGES: u32 = 500;

fn main() {
    let chain = registered_names();
    let updates = updates(&chain);
    decoding(&chain, &updates[0]);
    signatures();
    work();
    blocks(&chain, updates);
    headers(&chain);
}

/// The shortest time of five runs, per round.
fn time(rounds: u32, mut run: impl FnMut()) -> Duration {
    let once = |run: &mut dyn FnMut()| {
        let started = Instant::now();
        (0..rounds).for_each(|_| run());
        started.elapsed() / rounds
    };
    (0..5).map(|_| once(&mut run)).min().expect("five runs")
}

fn say(what: &str, time: Duration, target: &str) {
    println!("{what:<58} {:>10.3} µs  {target}", time.as_secs_f64() * 1e6);
}

/// A chain with some hundred names, each of an owner of its own.
fn registered_names() -> TestChain {
    let mut chain = TestChain::new(params_with(|p| (p.term, p.grace, p.commit_ttl) = (9_000, 9_000, 16)));
    let names: Vec<_> = (0..CHANGES).map(|n| name(&format!("name-number-{n}"))).collect();
    let maker = chain.maker();
    chain.mine(names.iter().zip(1..).map(|(name, seed)| maker.commit(name, seed)).collect()).expect("new");
    chain.mine_empty(1);
    let maker = chain.maker();
    let reveals = names.iter().zip(1..).map(|(name, seed)| maker.reveal(name, seed, Records::empty())).collect();
    chain.mine(reveals).expect("free");
    chain.mine_empty(chain.params().contest);
    chain
}

fn updates(chain: &TestChain) -> Vec<Transaction> {
    let maker = chain.maker();
    let body = |n| Body::Update {
        name: name(&format!("name-number-{n}")),
        seq: 2,
        operator: None,
        records: Some(records("forty-five bytes of text, to make up a record")),
    };
    (0..CHANGES).map(|n| maker.make(body(n), u64::from(n) + 1)).collect()
}

fn decoding(chain: &TestChain, update: &Transaction) {
    let bytes = encode(update);
    let label = format!("transaction of {} bytes: decode, canonical check", bytes.len());
    say(&label, time(20_000, || drop(black_box(decode::<Transaction>(black_box(&bytes))))), "target 1");
    say("the same: encode", time(20_000, || drop(black_box(encode(black_box(update))))), "");
    say("the same: txid", time(20_000, || _ = black_box(black_box(update).txid())), "");
    say("the same: wtxid", time(20_000, || _ = black_box(black_box(update).wtxid())), "");
    let commit = encode(&chain.maker().commit(&name("some-name"), 1));
    let label = format!("commit of {} bytes: decode, canonical check", commit.len());
    say(&label, time(20_000, || drop(black_box(decode::<Transaction>(black_box(&commit))))), "target 1");
    let leaf = encode(chain.leaves().values().next().expect("names"));
    say("state entry: decode, canonical check", time(20_000, || drop(black_box(decode::<Leaf>(&leaf)))), "");
    let message = [0; 64];
    say("tagged hash of 64 bytes", time(20_000, || _ = black_box(hash(Tag::Node, &[black_box(&message)]))), "");
}

fn signatures() {
    let (secret, digest) = (key(1), sighash(&Hash([1; 32]), &BlockHash([2; 32]), &Hash([3; 32]).into_other()));
    let signature = secret.sign(&digest);
    let public = secret.public();
    say("ECDSA: sign", time(500, || _ = black_box(secret.sign(black_box(&digest)))), "");
    say("ECDSA: verify", time(500, || assert!(public.verifies(black_box(&digest), &signature))), "");
    let witness = Witness::sign(policy(1), &[&secret], &digest).expect("one key");
    say(
        "witness of one key: verify and name the signer",
        time(500, || {
            assert!(witness.verifies(black_box(&digest)));
            black_box(witness.signer());
        }),
        "",
    );
}

fn work() {
    let mut core = Network::Main.params().genesis().core;
    let (chain_id, mut scratch) = (Hash([7; 32]), Scratch::default());
    for (label, algorithm, rounds, target) in [
        ("work: SHA3", Algorithm::Sha3, 20_000, ""),
        ("work: Argon2d over 1 MiB", Algorithm::Argon2d, 200, "target 330, with AVX2 210"),
    ] {
        let took = time(rounds, || {
            core.nonce += 1;
            black_box(pow_value(algorithm, &chain_id, &core, &mut scratch));
        });
        say(label, took, target);
    }
}

fn blocks(chain: &TestChain, updates: Vec<Transaction>) {
    let per = |took: Duration| took / CHANGES;
    let block = chain.build(updates).expect("valid");
    let bytes = encode(&block);
    let label = format!("block of {CHANGES} updates, {} bytes; per transaction: decode", bytes.len());
    say(&label, per(time(20, || drop(black_box(decode::<Block>(&bytes))))), "");
    say(
        "  … roots, order and counts against the header",
        per(time(20, || {
            check_body(&block.header, &block.transactions).expect("valid");
        })),
        "",
    );
    let checked: Vec<_> = block.transactions.iter().map(|tx| chain.check(tx.clone()).expect("valid")).collect();
    say(
        "  … work and signature",
        per(time(2, || {
            block.transactions.iter().for_each(|tx| drop(black_box(chain.check(tx.clone()))));
        })),
        "",
    );
    let keys = touched_keys(&block.transactions, &chain.chain_id());
    say(
        "  … keys to load",
        per(time(20, || drop(black_box(touched_keys(&block.transactions, &chain.chain_id()))))),
        "",
    );
    let leaves: BTreeMap<_, _> = keys.into_iter().map(|key| (key, chain.leaves().get(&key).cloned())).collect();
    let loaded = Loaded { leaves, due: vec![] };
    let (params, chain_id, height) = (chain.params(), chain.chain_id(), chain.height() + 1);
    let run =
        || -> Delta { apply(params, &chain_id, chain, height, u64::from(CHANGES), &checked, &loaded).expect("valid") };
    say("  … apply", per(time(20, || drop(black_box(run())))), "");
    let delta = run();
    say("  … state tree, pages in memory and copied", per(time(20, || _ = black_box(chain.root_after(&delta)))), "");
}

fn headers(chain: &TestChain) {
    let headers: Vec<_> = chain.blocks().map(|block| block.header).collect();
    let bytes = encode(&HeaderBatch(headers.clone()));
    let per = |took: Duration| took / headers.len() as u32;
    say(
        "header in a batch: decode, canonical check",
        per(time(500, || drop(black_box(decode::<HeaderBatch>(&bytes))))),
        "",
    );
    let (header, parent) = (headers[headers.len() - 1], chain.context_at(chain.height() - 1).expect("below the tip"));
    let now = header.core.time;
    say(
        "header: every rule but work",
        time(2_000, || {
            drop(black_box(header::link(chain.params(), &header, parent, now).expect("valid")));
        }),
        "",
    );
}

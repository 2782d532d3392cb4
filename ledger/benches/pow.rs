//! The two ways of computing Argon2d on one core: equal bytes, and how much faster the one for AVX2 is.
//!
//! `cargo bench -p ledger --bench pow` compares 2,000 inputs and times both in turn;
//! `cargo bench -p ledger --bench pow -- 100000` compares so many. It fails at the first difference.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a benchmark reads its arguments and the clock"
)]

use std::{
    env,
    hint::black_box,
    time::{Duration, Instant},
};

use ledger::{
    block::HeaderCore,
    hash::{Hash, Tag, hash},
    params::Network,
    pow::{Algorithm, Scratch, pow_value},
};

/// Rounds of both ways in turn, and evaluations in each: the best round counts, so that a busy machine shows less.
const ROUNDS: u32 = 15;
const EVALUATIONS: u32 = 400;

fn main() {
    // `cargo bench` hands on `--bench`.
    let inputs = env::args().skip(1).find(|argument| argument != "--bench");
    let inputs: u32 = inputs.map_or(2_000, |count| count.parse().expect("a number of inputs to compare"));
    if !Scratch::default().is_accelerated() {
        println!("this processor has no AVX2: there is only one way");
        return;
    }
    compare(inputs);
    speed();
}

/// An arbitrary input: every byte of the header and of the chain id is pseudo-random.
fn input(number: u32) -> (HeaderCore, Hash) {
    let mut core = Network::Main.params().genesis().core;
    let draw = hash(Tag::Node, &[&number.to_le_bytes()]);
    core.nonce = u64::from_le_bytes(*draw.0.first_chunk().expect("eight of 32 bytes"));
    (core, hash(Tag::Leaf, &[&number.to_le_bytes()]))
}

fn compare(inputs: u32) {
    let (mut accelerated, mut portable) = (Scratch::default(), Scratch::portable());
    for number in 0..inputs {
        let (core, chain_id) = input(number);
        let ours = pow_value(Algorithm::Argon2d, &chain_id, &core, &mut accelerated);
        let judge = pow_value(Algorithm::Argon2d, &chain_id, &core, &mut portable);
        assert_eq!(ours, judge, "input {number}: {core:?} on chain {chain_id:?}");
    }
    println!("{inputs} inputs: equal values");
}

fn speed() {
    let (core, chain_id) = input(0);
    let round = |scratch: &mut Scratch, core: &mut HeaderCore| {
        let started = Instant::now();
        for _ in 0..EVALUATIONS {
            core.nonce = core.nonce.wrapping_add(1);
            black_box(pow_value(Algorithm::Argon2d, &chain_id, core, scratch));
        }
        started.elapsed() / EVALUATIONS
    };
    let (mut accelerated, mut portable) = (Scratch::default(), Scratch::portable());
    let mut best = [Duration::MAX; 2];
    let mut core = core;
    for _ in 0..ROUNDS {
        best[0] = best[0].min(round(&mut portable, &mut core));
        best[1] = best[1].min(round(&mut accelerated, &mut core));
    }
    for (label, took) in ["the argon2 crate", "our fill for AVX2"].into_iter().zip(best) {
        let rate = 1.0 / took.as_secs_f64();
        println!("{label:<20} {:>8.1} µs {rate:>8.0} evaluations/s", took.as_secs_f64() * 1e6);
    }
    println!("ratio {:.2}", best[0].as_secs_f64() / best[1].as_secs_f64());
}

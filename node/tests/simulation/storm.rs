//! Storms: everything at once, drawn from a seed. Then peace, in which all invariants must hold.
//!
//! `SIMULATION_SEED` runs one seed again. `SIMULATION_SEEDS` says how many to run (default 1,000), `SIMULATION_FROM` which is
//! the first: `scripts/soak` runs them by the hundred thousand.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use ledger::testing::name;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    SECOND,
    players::Role,
    world::{World, honest_node_hours},
};

const FIRST_SEED: u64 = 1_000;
const SEEDS: u64 = 1_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seeds() -> Range<u64> {
    match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let from = number("SIMULATION_FROM").unwrap_or(FIRST_SEED);
            from..from + number("SIMULATION_SEEDS").unwrap_or(SEEDS)
        }
    }
}

/// Runs the seeds on all processors. Each world has its own thread and shares nothing with others.
pub fn run_all() {
    let seeds = seeds();
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            if catch_unwind(AssertUnwindSafe(|| storm(seed))).is_err() {
                failed.lock().expect("nobody panics with the lock").push(seed);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    // A failing world names the test by its thread.
    let test = thread::current().name().unwrap_or("storms_end_in_agreement").to_owned();
    thread::scope(|scope| {
        for _ in 0..threads {
            thread::Builder::new().name(test.clone()).spawn_scoped(scope, work).expect("a thread starts");
        }
    });
    let failed = failed.into_inner().expect("nobody panicked with the lock");
    let (count, hours) = (seeds.end - seeds.start, honest_node_hours());
    println!("{count} seeds from {}: {} failed; {hours} honest node-hours", seeds.start, failed.len());
    assert!(failed.is_empty(), "these seeds failed: {failed:?}");
}

fn storm(seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let honest = dice.random_range(3..7);
    let mut roles = vec![Role::Honest; honest];
    roles.extend((0..dice.random_range(0..honest)).map(|_| Role::HOSTILE[dice.random_range(0..Role::HOSTILE.len())]));
    println!("seed {seed}: {roles:?}");
    let mut world = World::new(seed, &roles);
    world.set_loss_percent(dice.random_range(0..15));
    world.set_latency(5, dice.random_range(10..1_500));
    world.set_clock_offset(0, dice.random_range(-8..8));
    world.let_players_act();
    for round in 0..dice.random_range(1..4u64) {
        world.run_for(dice.random_range(5..30) * SECOND);
        let wanted = name(&format!("storm-{round}"));
        world.register(dice.random_range(0..honest), &wanted, 1 + round);
        if dice.random() {
            world.register(dice.random_range(0..honest), &wanted, 101 + round);
        }
        world.partition(dice.random_range(1..honest));
        world.run_for(dice.random_range(1..60) * SECOND);
        if dice.random() {
            world.crash(dice.random_range(0..honest));
        }
        world.heal();
    }
    world.join(Role::Honest);
    world.set_loss_percent(0);
    world.set_latency(5, 100);
    world.run_for(10 * SECOND);
    world.settle_within(60 * SECOND);
    world.check_invariants();
}

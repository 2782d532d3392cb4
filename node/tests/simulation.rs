//! Whole networks in one thread: real chains and real synchronisation over a simulated network, with the invariants of
//! the protocol (§12) checked. Same seed, same trace.

#[path = "simulation/host.rs"]
mod host;
#[path = "simulation/world.rs"]
mod world;

use host::Role;
use ledger::{hash::Hash, testing::name};
use rand::{Rng, SeedableRng, rngs::StdRng};
use world::World;

/// Virtual milliseconds.
const SECOND: u64 = 1_000;
/// Any heal: one tip within two block intervals and ten seconds (of two-second blocks).
const HEAL: u64 = 14 * SECOND;

#[test]
fn honest_nodes_agree_and_stay_synced() {
    let mut world = World::new(1, &[Role::Honest; 8]);
    world.run_for(120 * SECOND);
    world.settle(HEAL);
    world.check_agreement();
    assert!(world.height() > 30, "blocks were made: {}", world.height());
    assert!(world.honest().all(|host| host.is_synced()));
    world.check_honest_are_blameless();
}

#[test]
fn loss_and_delay_do_not_split_or_ban() {
    let mut world = World::new(2, &[Role::Honest; 8]);
    world.set_loss_percent(5);
    world.set_latency(20, 400);
    world.run_for(180 * SECOND);
    world.settle(2 * HEAL);
    world.check_agreement();
    world.check_honest_are_blameless();
}

#[test]
fn a_partition_heals_to_one_tip() {
    let mut world = World::new(3, &[Role::Honest; 10]);
    world.run_for(30 * SECOND);
    world.partition(5);
    world.run_for(90 * SECOND);
    assert_ne!(world.host(0).tip().hash, world.host(9).tip().hash, "the sides went apart");
    world.heal();
    world.settle(HEAL);
    world.check_agreement();
    assert!(world.deepest_reorg() >= 5, "one side gave way: {}", world.deepest_reorg());
    world.check_honest_are_blameless();
}

/// The same name registered on both sides: whatever side survives, the owner is that of the earliest commit there.
fn contested(seed: u64, split_s: u64) {
    let mut world = World::new(seed, &[Role::Honest; 6]);
    world.run_for(30 * SECOND);
    world.partition(3);
    let contested = name("contested");
    world.register(0, &contested, 1);
    world.register(5, &contested, 2);
    world.run_for(split_s * SECOND);
    world.heal();
    world.settle(HEAL);
    world.run_for(60 * SECOND);
    world.settle(HEAL);
    world.check_agreement();
    world.check_earliest_commit_owns(&contested, &[1, 2]);
}

#[test]
fn a_name_registered_on_both_sides_has_one_owner() {
    for (seed, split_s) in [(10, 10), (11, 20), (12, 40), (13, 60), (14, 80)] {
        contested(seed, split_s);
    }
}

#[test]
fn a_late_joiner_catches_up() {
    let mut world = World::new(4, &[Role::Honest; 5]);
    world.run_for(400 * SECOND);
    let late = world.join(Role::Honest);
    assert!(!world.host(late).is_synced());
    world.run_for(20 * SECOND);
    world.settle(HEAL);
    world.check_agreement();
    assert!(world.host(late).is_synced());
    world.check_honest_are_blameless();
}

#[test]
fn stallers_cost_seconds_not_the_sync() {
    let roles = [Role::Honest, Role::Staller, Role::Staller, Role::Staller, Role::Staller];
    let mut world = World::new(5, &roles);
    world.run_for(400 * SECOND);
    world.stop_mining();
    let late = world.join(Role::Honest);
    world.run_for(30 * SECOND);
    assert_eq!(world.host(late).tip().hash, world.host(0).tip().hash);
}

#[test]
fn liars_are_banned_and_the_chain_arrives() {
    let roles = [
        Role::Honest,
        Role::Honest,
        Role::WrongBodies,
        Role::WrongBodies,
        Role::WorthlessHeaders,
        Role::WorthlessHeaders,
        Role::Boaster,
    ];
    let mut world = World::new(6, &roles);
    // So many blocks that every peer is asked for some.
    world.run_for(600 * SECOND);
    world.stop_mining();
    let late = world.join(Role::Honest);
    world.run_for(120 * SECOND);
    assert_eq!(world.host(late).tip().hash, world.host(0).tip().hash);
    world.check_agreement();
    world.check_honest_are_blameless();
    let sight = |peer| (world.host(peer).role, world.host(peer).tip().height, world.host(late).sync.claim_of(&peer));
    let sights: Vec<_> = (0..late).map(sight).collect();
    assert!(world.bans_of(Role::WrongBodies) > 0, "wrong bodies were noticed: {sights:?}");
    assert!(world.bans_of(Role::WorthlessHeaders) > 0, "worthless headers were noticed");
    assert!(world.host(late).is_synced(), "and an empty claim delays for a while only");
}

/// Headers seven ahead, whose bodies nobody gives, again and again: the network goes on as if they were not there.
#[test]
fn withheld_blocks_stop_nobody() {
    let mut roles = [Role::Honest; 8];
    (roles[6], roles[7]) = (Role::Withholder, Role::Withholder);
    let mut world = World::new(20, &roles);
    world.run_for(60 * SECOND);
    assert!(world.honest().all(|host| host.is_synced()));
    let before = world.height();
    for _ in 0..12 {
        world.withhold(6, 7);
        world.run_for(5 * SECOND);
        world.withhold(7, 8);
        for _ in 0..5 {
            world.run_for(SECOND);
            let verdicts: Vec<_> = world.honest().map(|host| host.sync.verdict()).collect();
            assert!(verdicts.iter().all(|verdict| verdict.is_synced()), "still synced: {verdicts:#?}");
        }
    }
    assert!(world.height() > before + 30, "still mining: {} blocks", world.height() - before);
    world.settle(HEAL);
    world.check_agreement();
    world.check_honest_are_blameless();
}

/// A node that is restarted beside liars of every kind calls itself synced within five minutes, whoever dialled whom.
#[test]
fn liars_keep_nobody_unsynced() {
    for liars in [1, 20] {
        let kinds = [Role::Boaster, Role::BusyBoaster, Role::SilentBoaster];
        let mut roles = vec![Role::Honest; 3];
        roles.extend((0..liars).map(|n| kinds[n % kinds.len()]));
        let mut world = World::new(21, &roles);
        world.run_for(60 * SECOND);
        let restarted = world.join(Role::Honest);
        let mut waited = 0;
        while !world.host(restarted).is_synced() && waited < 300 {
            world.run_for(SECOND);
            waited += 1;
        }
        assert!(world.host(restarted).is_synced(), "beside {liars}: {:?}", world.host(restarted).sync.verdict());
        assert!(world.honest().all(|host| host.is_synced()));
        world.check_honest_are_blameless();
    }
}

/// Blocks that only some nodes can know to be invalid, and their children, a hundred times: nobody bans anybody for them.
#[test]
fn what_only_some_know_to_be_invalid_parts_nobody() {
    let mut roles = [Role::Honest; 7];
    roles[6] = Role::Poisoner;
    let mut world = World::new(22, &roles);
    world.run_for(30 * SECOND);
    for round in 0..100 {
        let first: Vec<_> = (0..6).filter(|host| (host + round) % 2 == 0).collect();
        world.poison(6, &first, 1_500);
        world.run_for(4 * SECOND);
    }
    world.settle(HEAL);
    world.check_agreement();
    world.check_honest_are_blameless();
    assert_eq!(world.all_bans(), 0, "not even of whoever made them, which nobody can know");
}

#[test]
fn clocks_that_are_off_defer_and_do_not_split() {
    let mut world = World::new(7, &[Role::Honest; 6]);
    for index in 0..2 {
        world.set_clock_offset(index, 9);
    }
    world.set_clock_offset(2, -9);
    world.run_for(120 * SECOND);
    world.settle(2 * HEAL);
    world.check_agreement();
    world.check_honest_are_blameless();
}

/// A whole run in one hash.
fn trace(seed: u64) -> Hash {
    let mut world = World::new(seed, &[Role::Honest, Role::Honest, Role::Honest, Role::Staller, Role::WrongBodies]);
    world.set_loss_percent(2);
    world.run_for(30 * SECOND);
    world.register(0, &name("traced"), 1);
    world.partition(2);
    world.run_for(30 * SECOND);
    world.heal();
    world.run_for(30 * SECOND);
    world.trace()
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    assert_eq!(trace(99), trace(99));
    assert_ne!(trace(99), trace(98));
}

#[test]
fn many_seeds_keep_the_invariants() {
    for seed in 100..112 {
        let mut world = World::new(seed, &[Role::Honest; 6]);
        world.set_loss_percent(seed % 7);
        world.set_latency(5, 50 + 40 * (seed % 9));
        world.run_for(20 * SECOND);
        world.register(seed as usize % 6, &name("seeded"), seed);
        world.partition(1 + seed as usize % 5);
        world.run_for((10 + seed % 50) * SECOND);
        world.heal();
        world.settle(3 * HEAL);
        world.check_agreement();
        world.check_honest_are_blameless();
    }
}

/// The seeds that the storm runs: one if `SIMULATION_SEED` names it, as many as `SIMULATION_SEEDS` says, or a handful.
fn storm_seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1_000..1_000 + number("SIMULATION_SEEDS").unwrap_or(8),
    }
}

/// Everything at once, drawn from the seed: bad nodes, loss, partitions, wrong clocks, a late joiner. Then peace.
#[test]
fn storms_end_in_agreement() {
    for seed in storm_seeds() {
        let mut dice = StdRng::seed_from_u64(seed);
        let honest = dice.random_range(3..7);
        let bad = [
            Role::Staller,
            Role::WrongBodies,
            Role::WorthlessHeaders,
            Role::Boaster,
            Role::BusyBoaster,
            Role::SilentBoaster,
        ];
        let mut roles = vec![Role::Honest; honest];
        roles.extend((0..dice.random_range(0..honest)).map(|_| bad[dice.random_range(0..bad.len())]));
        println!("seed {seed}: {roles:?}");
        let mut world = World::new(seed, &roles);
        world.set_loss_percent(dice.random_range(0..15));
        world.set_latency(5, dice.random_range(10..1_500));
        world.set_clock_offset(0, dice.random_range(-8..8));
        for round in 0..dice.random_range(1..4u64) {
            world.run_for(dice.random_range(5..30) * SECOND);
            world.register(dice.random_range(0..honest), &name(&format!("storm-{round}")), 1 + round);
            world.partition(dice.random_range(1..honest));
            world.run_for(dice.random_range(1..60) * SECOND);
            world.heal();
        }
        world.join(Role::Honest);
        world.set_loss_percent(0);
        world.set_latency(5, 100);
        world.run_for(20 * SECOND);
        world.settle(60 * SECOND);
        world.check_agreement();
        world.check_honest_are_blameless();
    }
}

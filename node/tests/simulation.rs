//! Whole networks in one thread: real chains, mempools, builders and synchronisation over a simulated network, with the
//! invariants of the protocol (§12) checked. Same seed, same trace.
//!
//! Who plays is listed in `players`, what must hold in `checks`, and a thousand networks drawn from seeds are in `storm`.

#[path = "simulation/checks.rs"]
mod checks;
#[path = "simulation/desk.rs"]
mod desk;
#[path = "simulation/host.rs"]
mod host;
#[path = "simulation/players.rs"]
mod players;
#[path = "simulation/registration.rs"]
mod registration;
#[path = "simulation/storm.rs"]
mod storm;
#[path = "simulation/world.rs"]
mod world;

use ledger::{
    hash::Hash,
    testing::{name, params_with},
};
use players::Role;
use world::{Setup, World};

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
    world.check_invariants();
    let owner = world.host(0).model.state(&contested).map(|state| state.owner);
    assert!(owner.is_some(), "somebody has the name");
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

/// More than 2,160 average blocks of work ahead of it, nobody keeps a byte of what a flooder with little work announces, or shows when asked.
#[test]
fn old_cheap_branches_leave_nothing_behind() {
    let setup = Setup { status_interval_ms: 10_000, tick_ms: 1_000, ..Setup::small(30) };
    let mut world = World::with(setup, &[Role::Honest; 3]);
    world.run_for(9_000 * SECOND);
    world.join(Role::LowWork);
    world.let_players_act();
    world.run_for(100 * SECOND);
    assert!(world.low_work.len() > 90);
    for host in world.honest() {
        let kept: Vec<_> = world.low_work.iter().filter(|hash| host.core.knows_header(hash)).collect();
        assert!(kept.is_empty(), "{} of {} are kept", kept.len(), world.low_work.len());
        assert!(host.is_synced());
    }
    world.settle(HEAL);
    world.check_agreement();
    world.check_honest_are_blameless();
}

/// Two spammers send paid junk all the while; whoever registers beside them is registered within ten blocks of the commit
/// and the reveal each.
#[test]
fn spam_does_not_prevent_a_registration() {
    let mut roles = [Role::Honest; 5];
    (roles[3], roles[4]) = (Role::Spammer, Role::Spammer);
    let mut world = World::new(31, &roles);
    world.run_for(20 * SECOND);
    world.let_players_act();
    world.run_for(60 * SECOND);
    assert!(world.honest().all(|host| host.model.leaves().len() > 100), "the spam is there");
    let wanted = name("wanted");
    world.register(0, &wanted, 1);
    world.run_for(40 * SECOND);
    world.settle(HEAL);
    world.check_invariants();
    assert!(world.honest().all(|host| host.model.state(&wanted).is_some()), "registered beside spam");
}

/// A third of the work keeps its blocks to itself as long as that pays.
#[test]
fn a_selfish_miner_splits_nobody() {
    for seed in 40..44 {
        let mut roles = [Role::Honest; 6];
        (roles[4], roles[5]) = (Role::Selfish, Role::Selfish);
        let mut world = World::new(seed, &roles);
        world.run_for(200 * SECOND);
        world.settle(HEAL);
        world.check_invariants();
        assert!(world.deepest_reorg() > 0, "it has taken blocks back");
    }
}

/// All inbound places are one attacker's, who shows an old chain; two chosen peers are enough.
#[test]
fn hostile_inbound_peers_do_not_cut_off_whoever_chose_two_others() {
    let mut world = World::new(50, &[Role::Honest; 4]);
    let victim = world.join_to(Role::Honest, &[0, 1]);
    for _ in 0..30 {
        world.join_to(Role::Eclipser, &[victim]);
    }
    world.run_for(120 * SECOND);
    assert!(world.host(victim).is_synced(), "{:?}", world.host(victim).sync.verdict());
    assert!(world.height() > 30);
    world.settle(HEAL);
    world.check_invariants();
}

/// Processes die at any time, on all sides; nothing is lost and nobody is blamed.
#[test]
fn crashes_lose_nothing() {
    for seed in 60..64 {
        let mut world = World::new(seed, &[Role::Honest; 5]);
        world.run_for(20 * SECOND);
        world.register(0, &name("kept"), 1);
        for round in 0..12 {
            world.run_for(3 * SECOND);
            world.crash((round + seed as usize) % 5);
        }
        world.run_for(20 * SECOND);
        world.settle(HEAL);
        world.check_invariants();
        assert!(world.honest().all(|host| host.model.state(&name("kept")).is_some() && host.is_synced()));
    }
}

/// Two in five clocks are five minutes off, both ways: those of them whose peers are right say so and stop mining, nobody is
/// blamed, and when the clocks are right again all are on one tip.
#[test]
fn clocks_five_minutes_off_split_nobody_for_good() {
    let mut world = World::new(70, &[Role::Honest; 10]);
    for (host, offset) in [(6, 300), (7, 300), (8, -300), (9, -300)] {
        world.set_clock_offset(host, offset);
    }
    world.run_for(120 * SECOND);
    world.check_honest_are_blameless();
    assert!((6..10).all(|host| world.host(host).clock_alarms > 0), "the alarm is raised");
    assert!((0..6).all(|host| world.host(host).clock_alarms == 0), "and by nobody else");
    (6..10).for_each(|host| world.set_clock_offset(host, 0));
    world.run_for(30 * SECOND);
    world.settle(HEAL);
    world.check_invariants();
}

/// Fifty nodes in a sparse network; the constants of fork choice are a thirtieth of main's, so a day is 24 blocks.
fn fifty(seed: u64) -> World {
    let params = params_with(|params| {
        (params.free_reorg, params.deep_lead, params.lead_fades) = (24, 72, 168);
        (params.term, params.renew_window) = (4_000, 200);
    });
    let setup = Setup { params, degree: 8, status_interval_ms: 10_000, tick_ms: 1_000, ..Setup::small(seed) };
    World::with(setup, &[Role::Honest; 50])
}

/// Up to a day apart: one tip five blocks after the network is whole again.
#[test]
fn fifty_nodes_heal_after_a_day() {
    let mut world = fifty(80);
    world.run_for(20 * SECOND);
    world.register(0, &name("day"), 1);
    world.partition_at_random(0.5);
    // The network's blocks are drawn for all hosts, so that each half makes half of them: 24 in all.
    world.run_for(48 * SECOND);
    world.heal();
    world.run_for(10 * SECOND);
    world.settle(HEAL);
    world.check_invariants();
    assert!(world.deepest_reorg() >= 5, "the halves went apart: {}", world.deepest_reorg());
}

/// Five days apart, at 50 to 50: each half refuses the other's deep branch at first, until the lead that is asked for has
/// faded; then all are on one tip and stay there.
#[test]
fn fifty_nodes_heal_after_five_days() {
    let mut world = fifty(81);
    world.run_for(20 * SECOND);
    world.partition(25);
    world.run_for(240 * SECOND);
    world.heal();
    world.run_for(20 * SECOND);
    assert_ne!(world.tips().len(), 1, "deeper than free: neither half follows at once");
    // 168 counted blocks on one side; both sides find blocks, so at most twice that many in all.
    let mut waited = 0;
    while world.tips().len() > 1 && waited < 700 {
        world.run_for(10 * SECOND);
        waited += 10;
    }
    world.run_for(20 * SECOND);
    world.settle(HEAL);
    world.check_invariants();
    println!("one tip {waited} s after the healing, reorganisation of {} blocks", world.deepest_reorg());
    let before: Vec<_> = (0..50).map(|host| world.host(host).core.stats().snapshot().reorg_depth_max).collect();
    world.run_for(60 * SECOND);
    let after: Vec<_> = (0..50).map(|host| world.host(host).core.stats().snapshot().reorg_depth_max).collect();
    assert_eq!(before, after, "nobody goes back");
}

#[test]
fn storms_end_in_agreement() {
    storm::run_all();
}

//! The states, with both clocks in hand.

use ledger::{hash::BlockHash, params::Network, price::Prices};

use super::*;

const START_S: u64 = 1_800_000_000;
const SILENCE_S: u64 = 2_400;
const DOUBT_MS: u64 = 90_000;

/// A node's judge, its clocks, and the facts that it is shown.
struct World {
    judge: Judge,
    now: Moment,
    tip: Tip,
    verdict: Verdict,
}

impl World {
    fn new(company: Company) -> Self {
        let tip = Tip {
            height: 1_000,
            hash: BlockHash::default(),
            time: START_S,
            total_work: 1_000,
            prices: Prices { bytes: 256, commit: 256 },
            name_count: 0,
            state_root: Default::default(),
            best_header: 1_000,
            lowest_body: 0,
        };
        Self {
            judge: Judge::new(Rules { silence_s: SILENCE_S, doubt_ms: DOUBT_MS, company }),
            now: Moment { monotonic_ms: 5_000, unix_ms: START_S * 1_000 },
            tip,
            verdict: Verdict { synced: true, target_height: 1_000, peers: 8, witnesses: 5, ..Verdict::default() },
        }
    }

    fn judged(&mut self) -> Health {
        self.judge.judge(self.now, &self.tip, &self.verdict)
    }

    /// Lets time pass, with a look every second as the node does it, and gives the last one.
    fn pass(&mut self, seconds: u64) -> State {
        for _ in 0..seconds {
            self.now.monotonic_ms += 1_000;
            self.now.unix_ms += 1_000;
            self.judged();
        }
        self.judged().state
    }

    /// The machine sleeps: nothing runs, and the monotonic clock stands still.
    fn sleep(&mut self, seconds: u64) {
        self.now.unix_ms += seconds * 1_000;
    }

    fn block(&mut self) {
        self.tip.height += 1;
        self.tip.total_work += 1;
        self.tip.time = self.now.unix_ms / 1_000;
        self.verdict.target_height = self.tip.height;
    }

    fn check(&mut self, expected: State) {
        let health = self.judged();
        assert_eq!(health.state, expected, "{health:?}");
        assert_eq!(health.unsynced_because(self.now.unix_ms / 1_000).is_none(), expected.is_synced());
    }
}

#[test]
fn a_node_in_company_is_fresh() {
    let mut world = World::new(Company::Needed);
    for _ in 0..100 {
        world.check(State::Fresh);
        world.pass(120);
        world.block();
    }
}

#[test]
fn what_is_not_connected_yet_is_syncing() {
    let mut world = World::new(Company::Needed);
    world.verdict = Verdict { synced: false, target_height: 5_000, peers: 3, ..world.verdict };
    world.check(State::Syncing);
    assert_eq!(world.judged().unsynced_because(START_S).as_deref(), Some("at height 1000 of 5000"));
    world.verdict.peers = 0;
    assert_eq!(world.judged().unsynced_because(START_S).as_deref(), Some("no peer has told its height yet"));
}

/// All peers stand still, as processes that were stopped do: they are connected and say nothing.
#[test]
fn a_node_whose_peers_are_frozen_for_forty_blocks_is_not_synced() {
    let mut world = World::new(Company::Needed);
    assert_eq!(world.pass(60), State::Fresh);
    world.verdict.witnesses = 0;
    assert_eq!(world.pass(SILENCE_S - 60), State::Fresh, "as long as the network may be silent");
    assert_eq!(world.pass(1), State::Offline);
    assert_eq!(world.pass(40 * 120), State::Offline);
    let why = world.judged().unsynced_because(world.now.unix_ms / 1_000).expect("not synced");
    assert_eq!(why, "the newest block is 120 minutes old, and no peer answers that knows of no newer one");
    world.verdict.witnesses = 1;
    world.check(State::Offline);
    world.verdict.witnesses = WITNESSES;
    world.check(State::Quiet);
    world.block();
    world.check(State::Fresh);
}

/// A miner that is cut off finds blocks itself: its tip is young, but nobody shares it.
#[test]
fn a_young_tip_that_nobody_shares_is_not_fresh_for_ever() {
    let mut world = World::new(Company::Needed);
    world.check(State::Fresh);
    world.verdict.witnesses = 0;
    for _ in 0..SILENCE_S / 120 {
        world.pass(120);
        world.block();
        world.check(State::Fresh);
    }
    world.pass(120);
    world.block();
    world.check(State::Offline);
    world.verdict.witnesses = 1;
    world.check(State::Fresh);
}

#[test]
fn a_tip_that_nobody_ever_shared_is_not_fresh() {
    let mut world = World::new(Company::Needed);
    world.verdict.witnesses = 0;
    world.check(State::Offline);
}

#[test]
fn a_silent_network_is_quiet_and_goes_on() {
    let mut world = World::new(Company::Needed);
    assert_eq!(world.pass(SILENCE_S), State::Fresh);
    assert_eq!(world.pass(1), State::Quiet);
    assert_eq!(world.pass(8 * 3_600), State::Quiet);
    world.block();
    world.check(State::Fresh);
}

/// The peers seem to have agreed seconds ago: the monotonic clock has stood still.
#[test]
fn a_laptop_after_a_week_asleep_is_not_synced() {
    let mut world = World::new(Company::Needed);
    assert_eq!(world.pass(60), State::Fresh);
    world.sleep(7 * 86_400);
    world.check(State::Offline);
    assert_eq!(world.pass(DOUBT_MS / 1_000 - 1), State::Offline);
    // What is heard by now was said after waking up.
    assert_eq!(world.pass(1), State::Quiet);
    world.verdict = Verdict { synced: false, target_height: 6_040, ..world.verdict };
    world.check(State::Syncing);
}

#[test]
fn a_nap_within_the_silence_changes_nothing() {
    let mut world = World::new(Company::Needed);
    assert_eq!(world.pass(60), State::Fresh);
    world.sleep(600);
    world.check(State::Fresh);
}

#[test]
fn the_first_node_of_a_network_expects_nobody() {
    let mut world = World::new(Company::Solo);
    (world.verdict.peers, world.verdict.witnesses) = (0, 0);
    world.check(State::Fresh);
    assert_eq!(world.pass(SILENCE_S + 1), State::Quiet);
    world.sleep(7 * 86_400);
    world.check(State::Quiet);
}

/// Five networks say that our clock is an hour ahead, or behind: the age is measured by theirs.
#[test]
fn a_wrong_clock_that_peers_put_right_changes_no_state() {
    for offset_s in [-3_600, 3_600] {
        let mut world = World::new(Company::Needed);
        world.now.unix_ms = world.now.unix_ms.saturating_add_signed(-offset_s * 1_000);
        world.verdict.clock_offset_s = Some(offset_s);
        world.check(State::Fresh);
        assert_eq!(world.judged().tip_age_s(world.now.unix_ms / 1_000), 0);
        world.verdict.witnesses = 0;
        assert_eq!(world.pass(SILENCE_S + 1), State::Offline);
    }
}

/// At boot the clock may be put right by years: peers are heard again before they are believed.
#[test]
fn a_clock_that_is_set_casts_doubt_on_what_was_said_before() {
    for seconds in [-86_400_i64, 86_400] {
        let mut world = World::new(Company::Needed);
        world.tip.time -= SILENCE_S + 90_000;
        assert_eq!(world.pass(10), State::Quiet);
        world.now.unix_ms = world.now.unix_ms.saturating_add_signed(seconds * 1_000);
        world.check(State::Offline);
        assert_eq!(world.pass(DOUBT_MS / 1_000), State::Quiet);
    }
}

#[test]
fn a_heavier_chain_that_is_not_followed_makes_ours_suspect() {
    let mut world = World::new(Company::Needed);
    world.check(State::Fresh);
    world.verdict.is_refusing = true;
    world.check(State::Suspect);
    world.verdict.is_refusing = false;
    world.check(State::Fresh);
}

#[test]
fn every_network_has_a_silence() {
    for network in [Network::Main, Network::Test, Network::Local] {
        let rules = Rules::of(network.params(), Company::Needed);
        assert!(rules.silence_s >= 8 * u64::from(network.params().block_interval), "{network}: {rules:?}");
        assert!(rules.doubt_ms >= 3_000, "{network}: {rules:?}");
    }
}

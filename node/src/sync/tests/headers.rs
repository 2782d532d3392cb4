//! Questions for headers, and claims that are shown or come to nothing.

use super::*;

fn header_locator(out: &[Output<u32>]) -> Option<Vec<BlockHash>> {
    out.iter().find_map(|o| match o {
        Output::AskHeaders { locator, .. } => Some(locator.clone()),
        _ => None,
    })
}

#[test]
fn headers_are_asked_of_the_best_claim() {
    let mut bench = Bench::alone(0);
    assert!(!asks_headers_of(&bench.meet(1, 0), 1), "no more work than ours");
    assert!(asks_headers_of(&bench.meet(2, 50), 2));
}

/// How a peer keeps its claim from being shown.
#[derive(Clone, Copy, Debug)]
enum Evasion {
    Empty,
    Busy,
    Silent,
    Old,
    Dangling,
    Unsupported,
    Leaves,
    /// Claims yet another block before anybody has seen that the answer was empty.
    Moves,
    /// A header of next week.
    Future,
    /// Full answers of what is known, each one header further up.
    Crawls,
    /// One new header per answer, on a branch that never gets anywhere.
    Drips,
}

const EVASIONS: [Evasion; 11] = [
    Evasion::Empty,
    Evasion::Busy,
    Evasion::Silent,
    Evasion::Old,
    Evasion::Dangling,
    Evasion::Unsupported,
    Evasion::Leaves,
    Evasion::Moves,
    Evasion::Future,
    Evasion::Crawls,
    Evasion::Drips,
];

impl Bench {
    fn evade(&mut self, peer: u32, direction: Direction, evasion: Evasion) {
        let fail = |why| Input::Failed { peer, question: Question::Headers, why };
        match evasion {
            Evasion::Empty => drop(self.give(Input::Headers { peer, headers: Vec::new() })),
            Evasion::Busy => drop(self.give(fail(Failure::Busy))),
            Evasion::Unsupported => drop(self.give(fail(Failure::Unsupported))),
            Evasion::Silent => {}
            Evasion::Old => drop(self.answer_headers(peer, 1..=1, Judged::Known)),
            Evasion::Dangling => {
                drop(self.answer_headers(peer, 150..=151, Judged::UnknownParent(BlockHash::ZERO)));
            }
            Evasion::Leaves => {
                self.give(Input::Disconnected { peer });
                self.connect(peer, direction);
            }
            Evasion::Moves => {
                self.answers_views = false;
                self.give(Input::Headers { peer, headers: Vec::new() });
                let mut hash = BlockHash([peer as u8; 32]);
                hash.0[..8].copy_from_slice(&self.rng.next_u64().to_le_bytes());
                self.claims_at(peer, Point { height: 190, hash, work: u128::MAX / 2 });
                self.answers_views = true;
                let view = self.view();
                self.give(Input::View(view));
            }
            Evasion::Future => {
                let until = UNIX + self.now.0 / 1_000 + 7 * 86_400;
                drop(self.answer_headers(peer, 1..=1, Judged::Deferred { until }));
            }
            Evasion::Crawls => {
                if self.blocks.len() < 5_000 {
                    let more = blocks(self.hash(199), 200..5_000, 0);
                    self.blocks.extend(more);
                }
                let from = 1 + self.crawled % 3_000;
                self.crawled += 1;
                drop(self.answer_headers(peer, from..=from + 1_999, Judged::Known));
            }
            Evasion::Drips => drop(self.answer_headers(peer, 1..=1, Judged::Accepted)),
        }
    }

    /// Lets `liars` claim the moon, again and again, and evade; until `end`, or until the node is synced. Returns when
    /// whom it asked.
    fn besieged(&mut self, liars: &[(u32, Direction, Evasion)], end: u64) -> Vec<(u64, u32)> {
        self.besieged_until(liars, |bench| bench.now.0 >= end || bench.is_synced())
    }

    fn besieged_until(
        &mut self,
        liars: &[(u32, Direction, Evasion)],
        is_over: impl Fn(&Self) -> bool,
    ) -> Vec<(u64, u32)> {
        let (mut asked, mut silent, mut honest) = (Vec::new(), Vec::new(), Vec::new());
        while !is_over(self) {
            for (at, peer) in std::mem::take(&mut self.asked_headers) {
                let Some((liar, direction, evasion)) = liars.iter().find(|(liar, ..)| *liar == peer) else {
                    honest.push((at, peer));
                    continue;
                };
                asked.push((at, peer));
                match evasion {
                    Evasion::Silent => silent.push((at + 35_000, peer)),
                    evasion => self.evade(*liar, *direction, *evasion),
                }
            }
            self.now = Millis(self.now.0 + 250);
            self.tick();
            let (over, open): (Vec<_>, Vec<_>) = silent.into_iter().partition(|(until, _)| *until <= self.now.0);
            silent = open;
            for (_, peer) in over {
                self.give(Input::Failed { peer, question: Question::Headers, why: Failure::Timeout });
            }
            let claim_now = self.now.0.is_multiple_of(1_000);
            for (liar, ..) in liars.iter().filter(|_| claim_now) {
                let hash = BlockHash([*liar as u8; 32]);
                self.claims_at(*liar, Point { height: 190, hash, work: u128::MAX / 2 });
            }
        }
        self.asked_headers.extend(honest);
        asked
    }
}

#[test]
fn one_liar_does_not_keep_a_restarted_node_unsynced() {
    for evasion in EVASIONS {
        for direction in [Direction::Outbound, Direction::Inbound] {
            let mut bench = Bench::among(5, 1..=2);
            bench.connect(9, direction);
            let hash = BlockHash([9; 32]);
            bench.claims_at(9, Point { height: 190, hash, work: u128::MAX / 2 });
            bench.claims(1, 5);
            bench.claims(2, 5);
            assert_eq!(bench.is_synced(), direction == Direction::Inbound, "a claim delays if it is of our own choice");
            bench.besieged(&[(9, direction, evasion)], 300 * SECOND);
            assert!(bench.is_synced(), "{evasion:?} {direction:?}");
            assert!(!bench.sync.is_banned(bench.now, &9), "being busy, slow or behind is no offence");
        }
    }
}

#[test]
fn twenty_liars_do_not_keep_a_restarted_node_unsynced() {
    let mut bench = Bench::among(5, 1..=2);
    let place = |n: u32| if n.is_multiple_of(2) { Direction::Outbound } else { Direction::Inbound };
    let liars: Vec<_> = (0..20).map(|n| (10 + n, place(n / 2), EVASIONS[n as usize % EVASIONS.len()])).collect();
    for (liar, direction, _) in &liars {
        bench.connect(*liar, *direction);
        bench.claims_at(*liar, Point { height: 190, hash: BlockHash([*liar as u8; 32]), work: u128::MAX / 2 });
    }
    bench.claims(1, 5);
    bench.claims(2, 5);
    assert!(!bench.is_synced());
    bench.besieged(&liars, 300 * SECOND);
    assert!(bench.is_synced(), "after {:?}", bench.now);
}

#[test]
fn a_dropped_claim_does_not_come_back_for_ten_minutes() {
    let mut bench = Bench::among(5, 1..=2);
    bench.give(Input::ChainMoved);
    bench.connect(9, Direction::Inbound);
    let liars = [(9, Direction::Inbound, Evasion::Empty)];
    let mut asked = bench.besieged_until(&liars, |bench| bench.now.0 >= 60 * SECOND);
    let dropped = asked.last().expect("asked").0;
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 10_000), "{asked:?}");
    asked = bench.besieged_until(&liars, |bench| bench.now.0 >= dropped + 599 * SECOND);
    assert!(asked.is_empty(), "not even by many new statuses: {asked:?}");
    bench.evade(9, Direction::Inbound, Evasion::Leaves);
    asked = bench.besieged_until(&liars, |bench| bench.now.0 >= dropped + 640 * SECOND);
    assert!(asked.first().is_some_and(|(at, _)| *at >= dropped + 600 * SECOND), "nor by coming back: {asked:?}");
}

#[test]
fn liars_do_not_hide_an_honest_claim() {
    for direction in [Direction::Outbound, Direction::Inbound] {
        let mut bench = Bench::alone(5);
        let liars: Vec<_> = (10..30).map(|liar| (liar, direction, Evasion::Silent)).collect();
        for (liar, ..) in &liars {
            bench.connect(*liar, direction);
            let claim = Point { height: 190, hash: BlockHash([*liar as u8; 32]), work: u128::MAX / 2 };
            bench.claims_at(*liar, claim);
        }
        bench.connect(1, Direction::Outbound);
        bench.claims(1, 40);
        bench.besieged(&liars, 120 * SECOND);
        let asked = &bench.asked_headers;
        assert!(asked.iter().any(|(_, peer)| *peer == 1), "{direction:?}: {asked:?}");
    }
}

/// A heavier chain of headers without bodies is there; a lighter one, heavier than the tip, is asked for all the same.
#[test]
fn withheld_headers_do_not_hide_other_claims() {
    let mut bench = Bench::among(5, 1..=2);
    bench.withhold(6..13);
    let end = bench.view().branches[0].end;
    bench.claims_at(2, end);
    let out = bench.claims(1, 6);
    assert!(asks_headers_of(&out, 1), "its claim has less work than the best header");
    bench.answer_headers(1, 6..=6, Judged::Accepted);
    assert_eq!(bench.sync.sight(&bench.hash(6)), Some(Sight::Wanted { branch: 1, height: 6 }));
}

/// Two peers are asked the same; whose answer is second has told nothing new, and has kept its word.
#[test]
fn a_twin_answer_costs_nothing() {
    let mut bench = Bench::among(0, 1..=2);
    for height in 1..=20 {
        bench.claims(1, height);
        bench.claims(2, height);
        bench.answer_headers(1, height..=height, Judged::Accepted);
        let out = bench.answer_headers(2, height..=height, Judged::Known);
        assert!(!asks_headers_of(&out, 1) && !asks_headers_of(&out, 2), "the same question again");
        bench.now = Millis(bench.now.0 + 11_000);
        assert!(!bench.sync.trust.is_dropped(bench.now, &2));
    }
}

/// What a peer claims after it was asked cannot be in its answer.
#[test]
fn a_claim_that_rose_meanwhile_is_not_in_vain() {
    let mut bench = Bench::among(0, 1..=1);
    for height in (1..=40).step_by(2) {
        bench.now = Millis(bench.now.0 + 11_000);
        bench.claims(1, height);
        bench.claims(1, height + 1);
        bench.best = height; // From somebody else.
        let out = bench.answer_headers(1, height..=height, Judged::Known);
        assert!(asks_headers_of(&out, 1), "there is more at {height}");
        bench.answer_headers(1, height + 1..=height + 1, Judged::Accepted);
    }
    assert!(!bench.sync.trust.is_dropped(bench.now, &1));
}

#[test]
fn headers_from_the_future_make_the_peer_rest_and_cost_nothing() {
    let mut bench = Bench::among(0, 1..=1);
    assert!(asks_headers_of(&bench.claims(1, 50), 1));
    for round in 0..20u64 {
        let unix = UNIX + 100 + round;
        bench.answer_headers(1, 1..=1, Judged::Deferred { until: unix });
        // They are judged again in time, and by then they have come from somebody else.
        let out = bench.give(Input::Tick { unix_now: unix });
        let again = out.iter().find_map(|o| match o {
            Output::SubmitHeaders { source, headers } => Some((*source, headers.clone())),
            _ => None,
        });
        let (source, headers) = again.expect("what waited is judged again");
        let out = bench.give(Input::HeadersJudged { source, headers, judged: Judged::Known });
        assert!(!is_ban(&out) && !asks_headers_of(&out, 1), "asked at once for the same");
        bench.now = Millis(bench.now.0 + 999);
        assert!(!asks_headers_of(&bench.give(Input::Tick { unix_now: unix }), 1));
        bench.now = Millis(bench.now.0 + 1);
        assert!(asks_headers_of(&bench.give(Input::Tick { unix_now: unix }), 1));
    }
}

/// A peer on a branch that is longer than one answer, while another chain of headers stands at a height that it reaches
/// in the end.
fn bench_beside_a_long_branch() -> Bench {
    let mut bench = Bench::among(0, 1..=1);
    let more = blocks(bench.hash(199), 200..5_000, 0);
    bench.blocks.extend(more);
    bench.withhold(1..4_401);
    bench.answers_views = false;
    bench.give(Input::ChainMoved);
    bench.look();
    bench.claims(1, 4_500);
    let out = bench.look();
    assert!(asks_headers_of(&out, 1));
    bench
}

impl Bench {
    /// The chain is looked at; its best header is at least the one beside.
    fn look(&mut self) -> Vec<Output<u32>> {
        let mut view = self.view();
        view.header_height = view.header_height.max(4_400);
        self.give(Input::View(view))
    }
}

#[test]
fn a_branch_longer_than_an_answer_is_walked_to_its_end() {
    let mut bench = bench_beside_a_long_branch();
    for (heights, judged) in [(1..=2_000, Judged::Known), (2_001..=4_000, Judged::Accepted)] {
        let end = bench.hash(*heights.end());
        bench.answer_headers(1, heights, judged);
        let locator = header_locator(&bench.look()).expect("asked for the rest");
        assert_eq!(locator, [end, bench.hash(0)]);
    }
    bench.answer_headers(1, 4_001..=4_500, Judged::Accepted);
    assert!(!asks_headers_of(&bench.look(), 1));
    bench.claims(1, 4_501);
    assert_eq!(header_locator(&bench.look()), Some(vec![bench.hash(0)]), "where the chains are left");
}

/// A long chain that is known is followed where it is asked for, and not told again and again.
#[test]
fn full_answers_without_news_are_bounded() {
    let mut bench = Bench::among(5, 1..=1);
    let more = blocks(bench.hash(199), 200..21_000, 0);
    bench.blocks.extend(more);
    bench.claims_at(1, Point { height: 190, hash: BlockHash([9; 32]), work: u128::MAX / 2 });
    for answer in 0..8 {
        assert_eq!(bench.asked_headers.len(), answer + 1, "it is asked on, without a rest");
        let from = answer as u32 * 2_000 + 1;
        bench.answer_headers(1, from..=from + 1_999, Judged::Known);
    }
    assert_eq!(bench.sync.trust.strikes(&1), 1);
    assert_eq!(bench.asked_headers.len(), 8);
}

/// What was walked is told once in order; from elsewhere it leads nowhere.
#[test]
fn a_walked_answer_again_is_in_vain() {
    let mut bench = bench_beside_a_long_branch();
    bench.answer_headers(1, 1..=2_000, Judged::Walked);
    assert_eq!(header_locator(&bench.look()).expect("asked on")[0], bench.hash(2_000));
    bench.answer_headers(1, 1..=2_000, Judged::Walked);
    bench.look();
    assert_eq!(bench.sync.trust.strikes(&1), 1);
}

/// A claim of what everybody knows, made for one question, does not clear the record.
#[test]
fn only_what_was_unknown_is_shown() {
    let mut bench = Bench::among(5, 1..=1);
    bench.claims_at(1, Point { height: 190, hash: BlockHash([9; 32]), work: u128::MAX / 2 });
    bench.evade(1, Direction::Outbound, Evasion::Empty);
    assert_eq!(bench.sync.trust.strikes(&1), 1);
    bench.pass(11 * SECOND);
    bench.evade(1, Direction::Outbound, Evasion::Empty);
    let hash = bench.hash(3);
    bench.claims_at(1, Point { height: 190, hash, work: u128::MAX / 2 });
    bench.pass(11 * SECOND);
    let judged = Judged::UnknownParent(BlockHash::ZERO);
    let headers = vec![bench.blocks[150].header];
    let out = bench.give(Input::HeadersJudged { source: Source::Gossip(1), headers, judged });
    assert!(asks_headers_of(&out, 1));
    bench.evade(1, Direction::Outbound, Evasion::Empty);
    assert_eq!(bench.sync.trust.strikes(&1), 2);
}

#[test]
fn the_same_full_answer_again_is_in_vain() {
    let mut bench = bench_beside_a_long_branch();
    bench.answer_headers(1, 1..=2_000, Judged::Known);
    assert!(asks_headers_of(&bench.look(), 1));
    let mut rounds = 0;
    while !bench.sync.trust.is_dropped(bench.now, &1) && rounds < 9 {
        rounds += 1;
        bench.answer_headers(1, 1..=2_000, Judged::Known);
        bench.look();
        bench.now = Millis(bench.now.0 + 10_000);
        bench.tick();
    }
    assert!(bench.sync.trust.is_dropped(bench.now, &1));
}

/// A slow answer is an answer, and nobody is asked twice meanwhile.
#[test]
fn an_overdue_answer_is_used() {
    let mut bench = Bench::among(0, 1..=3);
    (1..=3).for_each(|peer| drop(bench.claims(peer, 50)));
    assert!(bench.pass(6 * SECOND).iter().any(|o| matches!(o, Output::AskHeaders { .. })), "the third one");
    let out = bench.pass(30 * SECOND);
    assert!(!out.iter().any(|o| matches!(o, Output::AskHeaders { .. })), "all three owe an answer");
    let headers = vec![bench.blocks[1].header];
    let out = bench.give(Input::Headers { peer: 1, headers });
    assert!(out.iter().any(|o| matches!(o, Output::SubmitHeaders { source: Source::Answer(1), .. })));
}

/// A claim that was dropped counts again as soon as anybody shows it.
#[test]
fn what_is_shown_needs_no_trust() {
    let mut bench = Bench::alone(5);
    bench.connect(9, Direction::Outbound);
    for _ in 0..3 {
        bench.sync.trust.question_in_vain(bench.now, 9);
        bench.now = Millis(bench.now.0 + 10_000);
    }
    assert!(!asks_headers_of(&bench.claims(9, 8), 9));
    bench.best = 8;
    let out = bench.give(Input::ChainMoved);
    assert!(asked_bodies(&out).iter().any(|(peer, ..)| *peer == 9), "it is asked for the bodies: {out:?}");
}

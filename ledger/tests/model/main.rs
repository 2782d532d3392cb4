//! The rules of names once more, written from the text of the protocol without a look at `rules` and `state`, on plain
//! maps; and random histories that both have to judge alike, down to the bytes of every entry and the root.
//!
//! A history is a list of small numbers. What they mean depends on the state that they meet, so that most steps are
//! near a rule: a sequence number one too high, a block just before a height that matters, yesterday's owner.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod history;
mod reference;

use std::{cell::RefCell, collections::BTreeMap};

use history::{Step, any_history, run};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

proptest! {
    #![proptest_config(Config { cases: 16, ..Config::default() })]

    #[test]
    fn ledger_and_reference_agree(history in any_history(120)) {
        run(&history, &mut BTreeMap::new())?;
    }
}

/// What the fixed histories below must have met, or this file tests less than it says.
const MUST_MEET: [&str; 30] = [
    "COMMIT",
    "REVEAL",
    "UPDATE",
    "TRANSFER",
    "CANCEL",
    "RENEW",
    "REVOKE",
    "disconnect",
    "deleted name",
    "deleted commit",
    "won contest",
    "took released name",
    "matured transfer",
    "operator signed",
    "burnt after a release",
    "whole block",
    "key_touched_twice",
    "commit_missing",
    "commit_spent",
    "commit_unripe",
    "name_taken",
    "later_commit",
    "commit_before_release",
    "name_missing",
    "wrong_status",
    "not_authorised",
    "sequence",
    "no_pending_transfer",
    "renewal_early",
    "renewal_term",
];

#[test]
fn fixed_histories_agree_and_meet_every_rule() {
    let met = RefCell::new(BTreeMap::new());
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&any_history(160), |history: Vec<Step>| run(&history, &mut met.borrow_mut()));
    assert_eq!(result.map_err(|error| error.to_string()), Ok(()));
    let met = met.into_inner();
    let rare: Vec<_> = MUST_MEET.iter().filter(|what| met.get(**what).is_none_or(|times| *times < 3)).collect();
    assert!(rare.is_empty(), "met less than three times: {rare:?}; met: {met:?}");
}

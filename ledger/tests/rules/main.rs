//! For every rule the smallest input that breaks it, and the neighbour that just does not.
//!
//! The list of violations is the list of rules; [`every_violation_has_a_case`] reads it from the source and fails when
//! a rule has no case here.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod block;
mod change;
mod header;
mod reveal;
mod transaction;

use ledger::rules::Violation;

/// What judging an input gives.
type Outcome = Result<(), Violation>;

/// A rule, an input that breaks it, and one that is as near as can be and does not.
struct Case {
    code: &'static str,
    what: &'static str,
    broken: fn() -> Outcome,
    neighbour: fn() -> Outcome,
}

const fn case(code: &'static str, what: &'static str, broken: fn() -> Outcome, neighbour: fn() -> Outcome) -> Case {
    Case { code, what, broken, neighbour }
}

fn cases() -> impl Iterator<Item = Case> {
    [header::CASES, block::CASES, transaction::CASES, reveal::CASES, change::CASES]
        .into_iter()
        .flatten()
        .map(|Case { code, what, broken, neighbour }| Case { code, what, broken: *broken, neighbour: *neighbour })
}

#[test]
fn each_rule_is_broken_by_its_input_and_kept_by_the_neighbour() {
    let mut wrong = Vec::new();
    for Case { code, what, broken, neighbour } in cases() {
        match broken() {
            Err(violation) if violation.code() == code => {}
            other => wrong.push(format!("{code} ({what}): {other:?}")),
        }
        if let Err(violation) = neighbour() {
            wrong.push(format!("the neighbour of {code} ({what}): {violation}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Violations that no function of this package raises.
const RAISED_BY_THE_SHELL: [&str; 1] = ["known_invalid"];

/// Every `=> "code",` in the source of [`Violation::code`].
fn all_codes() -> Vec<&'static str> {
    let source = include_str!("../../src/rules/violation.rs");
    let codes: Vec<&str> = source
        .lines()
        .filter_map(|line| line.trim().strip_suffix("\",")?.split_once("=> \"").map(|(_, c)| c))
        .collect();
    assert!(codes.len() > 40, "the source of Violation::code was rearranged: adapt this test");
    codes
}

#[test]
fn every_violation_has_a_case() {
    let covered: Vec<&str> = cases().map(|case| case.code).chain(RAISED_BY_THE_SHELL).collect();
    let missing: Vec<&str> = all_codes().into_iter().filter(|code| !covered.contains(code)).collect();
    assert_eq!(missing, Vec::<&str>::new(), "rules without a case");
}

#[test]
fn codes_are_unique_and_in_snake_case() {
    let mut codes = all_codes();
    assert!(codes.iter().all(|code| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
    codes.sort_unstable();
    assert!(codes.is_sorted_by(|a, b| a < b));
}

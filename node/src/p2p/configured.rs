//! The peers of the configuration: which of them are reached, why the others are not, when to try again, and when to say
//! so in the log.
//!
//! Sans-IO: the shell dials and reports; times are monotonic. A peer is reached once it has answered for this network,
//! not when a connection is up.
//!
//! Guarantees: every configured address is tried for ever, with pauses that grow to [`LONGEST_PAUSE_MS`], or to
//! [`LASTING_PAUSE_MS`] where only a change of configuration can help; each failure is told once and then rarely.

use std::collections::BTreeSet;

use libp2p::{Multiaddr, PeerId};
use rand::{Rng, RngCore};

use crate::sync::Millis;

use super::{
    dial_failure::DialFailure,
    netgroup::{peer_of, without_peer},
};

/// Pause after the first failure; it doubles with each further one.
const FIRST_PAUSE_MS: u64 = 2_000;
/// Longest pause between attempts.
pub const LONGEST_PAUSE_MS: u64 = 60_000;
/// Longest pause if somebody has to change a configuration first.
pub const LASTING_PAUSE_MS: u64 = 600_000;
/// A connection that lasted this long was a success, and its end is a first failure again.
const STAYED_MS: u64 = 60_000;
/// Failures in a row before a passing trouble is told: two nodes that start together miss each other once.
const TELL_AFTER: u32 = 2;
/// Pause between two reports of the same trouble; it doubles with each report.
const FIRST_SILENCE_MS: u64 = 600_000;
const LONGEST_SILENCE_MS: u64 = 86_400_000;
/// Least pause between reports of different troubles of one peer.
const LEAST_SILENCE_MS: u64 = 60_000;

/// How it stands with a configured peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfiguredState {
    /// It is connected and has answered.
    Connected,
    /// It is being tried for the first time.
    Trying,
    /// It was tried and not reached.
    Failing,
}

/// A configured peer and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfiguredPeer {
    /// The address as configured.
    pub address: Multiaddr,
    /// How it stands.
    pub state: ConfiguredState,
    /// Why it is not reached, if it was tried.
    pub failure: Option<DialFailure>,
    /// Failures in a row.
    pub failures: u32,
}

/// Something for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// A configured peer is not reached.
    Failing {
        /// Its address.
        address: Multiaddr,
        /// Why.
        failure: DialFailure,
        /// How often in a row.
        failures: u32,
    },
    /// A configured peer whose failure was told is reached now.
    Reached {
        /// Its address.
        address: Multiaddr,
    },
}

/// An address to dial.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Its number, for [`Configured::failed`] and [`Configured::opened`]; it stays when the configuration changes.
    pub index: usize,
    /// Without peer id.
    pub address: Multiaddr,
    /// Whom it must lead to, if the configuration says.
    pub expected: Option<PeerId>,
}

/// All configured peers.
#[derive(Debug, Default)]
pub struct Configured {
    /// In the order of the configuration.
    entries: Vec<Entry>,
    /// Entries there ever were.
    numbered: usize,
}

#[derive(Debug)]
struct Entry {
    number: usize,
    address: Multiaddr,
    /// Whom the configuration names.
    expected: Option<PeerId>,
    /// Who answered there last.
    met: Option<PeerId>,
    stage: Stage,
    failure: Option<DialFailure>,
    failures: u32,
    next_try: Millis,
    told: Option<Told>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Idle,
    Dialling,
    /// The connection is up.
    Open,
    /// And the peer has answered.
    Accepted,
}

/// What was last said about an entry.
#[derive(Clone, Copy, Debug)]
struct Told {
    code: &'static str,
    at: Millis,
    silence_ms: u64,
    /// Whether it was told since that the peer is reached after all.
    reached: bool,
}

impl Configured {
    /// The peers at these addresses, with or without a final peer id. An address that is listed twice counts once.
    pub fn new<'a>(addresses: impl IntoIterator<Item = &'a Multiaddr>) -> Self {
        let mut configured = Self::default();
        configured.set(addresses);
        configured
    }

    /// The configuration lists these now. What is known of addresses that stay is kept.
    pub fn set<'a>(&mut self, addresses: impl IntoIterator<Item = &'a Multiaddr>) {
        let mut old = std::mem::take(&mut self.entries);
        for address in addresses {
            if self.entries.iter().any(|entry| entry.address == *address) {
                continue;
            }
            let entry = match old.iter().position(|entry| entry.address == *address) {
                Some(index) => old.swap_remove(index),
                None => {
                    self.numbered += 1;
                    Entry::new(self.numbered - 1, address.clone())
                }
            };
            self.entries.push(entry);
        }
    }

    fn entry(&mut self, number: usize) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.number == number)
    }

    /// What to dial now, at most `max` addresses; they count as being dialled from here on.
    pub fn due(&mut self, now: Millis, max: usize, is_connected: impl Fn(&PeerId) -> bool) -> Vec<Attempt> {
        // Of several addresses of one peer, one is tried at a time.
        let mut tried: BTreeSet<PeerId> =
            self.entries.iter().filter(|entry| entry.stage != Stage::Idle).filter_map(Entry::peer).collect();
        let mut due: Vec<Attempt> = Vec::new();
        for entry in &mut self.entries {
            let leads_there = entry.peer().is_some_and(|peer| is_connected(&peer) || tried.contains(&peer));
            if entry.stage == Stage::Idle && entry.next_try <= now && !leads_there && due.len() < max {
                entry.stage = Stage::Dialling;
                tried.extend(entry.peer());
                due.push(Attempt {
                    index: entry.number,
                    address: without_peer(&entry.address),
                    expected: entry.expected,
                });
            }
        }
        due
    }

    /// Whether the peer is known to be one of these.
    pub fn names(&self, peer: &PeerId) -> bool {
        self.entries.iter().any(|entry| entry.peer() == Some(*peer))
    }

    /// The dial was not made after all, for a reason that is nobody's failure.
    pub fn postponed(&mut self, now: Millis, index: usize) {
        if let Some(entry) = self.entry(index).filter(|entry| entry.stage == Stage::Dialling) {
            (entry.stage, entry.next_try) = (Stage::Idle, now.after(FIRST_PAUSE_MS));
        }
    }

    /// A dial led to a connection with this peer, who has still to answer.
    pub fn opened(&mut self, index: usize, peer: PeerId) {
        if let Some(entry) = self.entry(index) {
            (entry.stage, entry.met) = (Stage::Open, Some(peer));
        }
    }

    /// A peer has answered for this network.
    pub fn accepted(&mut self, peer: &PeerId) -> Vec<Notice> {
        let mut notices = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| entry.peer() == Some(*peer)) {
            (entry.stage, entry.failure) = (Stage::Accepted, None);
            if let Some(told) = entry.told.as_mut().filter(|told| !told.reached) {
                told.reached = true;
                notices.push(Notice::Reached { address: entry.address.clone() });
            }
        }
        notices
    }

    /// A dial failed. That is of no interest if the peer has connected by itself meanwhile.
    pub fn failed(&mut self, now: Millis, rng: &mut dyn RngCore, index: usize, why: DialFailure) -> Option<Notice> {
        self.entry(index).filter(|entry| entry.stage != Stage::Accepted)?.fail(now, rng, why)
    }

    /// The last connection to a peer ended after this time.
    pub fn ended(
        &mut self,
        now: Millis,
        rng: &mut dyn RngCore,
        peer: &PeerId,
        why: &DialFailure,
        lasted_ms: u64,
    ) -> Vec<Notice> {
        let touched = self
            .entries
            .iter_mut()
            .filter(|entry| entry.peer() == Some(*peer) && matches!(entry.stage, Stage::Open | Stage::Accepted));
        let mut notices = Vec::new();
        for entry in touched {
            if entry.stage == Stage::Accepted && lasted_ms >= STAYED_MS {
                (entry.failures, entry.told) = (0, None);
            }
            notices.extend(entry.fail(now, rng, why.clone()));
        }
        notices
    }

    /// How it stands with each, in the order of the configuration.
    pub fn report(&self) -> Vec<ConfiguredPeer> {
        self.entries.iter().map(Entry::report).collect()
    }
}

impl Entry {
    fn new(number: usize, address: Multiaddr) -> Self {
        Self {
            number,
            expected: peer_of(&address),
            address,
            met: None,
            stage: Stage::Idle,
            failure: None,
            failures: 0,
            next_try: Millis(0),
            told: None,
        }
    }

    fn peer(&self) -> Option<PeerId> {
        self.expected.or(self.met)
    }

    fn fail(&mut self, now: Millis, rng: &mut dyn RngCore, why: DialFailure) -> Option<Notice> {
        self.stage = Stage::Idle;
        self.failures += 1;
        let longest = if why.is_lasting() { LASTING_PAUSE_MS } else { LONGEST_PAUSE_MS };
        let pause = (FIRST_PAUSE_MS << (self.failures - 1).min(16)).min(longest);
        // A quarter of jitter, so that a restarted network does not dial in step.
        self.next_try = now.after(pause + rng.random_range(0..=pause / 4));
        self.failure = Some(why.clone());
        self.tell(now, why)
    }

    fn tell(&mut self, now: Millis, failure: DialFailure) -> Option<Notice> {
        if self.failures < TELL_AFTER && !failure.is_lasting() {
            return None;
        }
        let code = failure.code();
        let silence_ms = match self.told {
            None => FIRST_SILENCE_MS,
            Some(told) if told.code == code && now.since(told.at) < told.silence_ms => return None,
            Some(told) if now.since(told.at) < LEAST_SILENCE_MS => return None,
            Some(told) => (told.silence_ms * 2).min(LONGEST_SILENCE_MS),
        };
        self.told = Some(Told { code, at: now, silence_ms, reached: false });
        Some(Notice::Failing { address: self.address.clone(), failure, failures: self.failures })
    }

    fn report(&self) -> ConfiguredPeer {
        let state = match (self.stage, &self.failure) {
            (Stage::Accepted, _) => ConfiguredState::Connected,
            (Stage::Idle | Stage::Dialling | Stage::Open, Some(_)) => ConfiguredState::Failing,
            (Stage::Idle | Stage::Dialling | Stage::Open, None) => ConfiguredState::Trying,
        };
        let (address, failure, failures) = (self.address.clone(), self.failure.clone(), self.failures);
        ConfiguredPeer { address, state, failure, failures }
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn rng() -> StdRng {
        StdRng::seed_from_u64(3)
    }

    fn one(address: &str) -> Configured {
        Configured::new([&address.parse().expect("an address")])
    }

    fn nobody(_: &PeerId) -> bool {
        false
    }

    /// Fails at once whenever it is due, for a day; returns when it was dialled, in seconds, and how often it was told.
    fn a_day_of(failure: &DialFailure) -> (Vec<u64>, usize) {
        let (mut configured, mut rng) = (one("/ip4/192.0.2.1/tcp/1"), rng());
        let (mut dials, mut told) = (Vec::new(), 0);
        for second in 0..86_400 {
            let now = Millis(second * 1_000);
            for attempt in configured.due(now, 4, nobody) {
                dials.push(second);
                told += usize::from(configured.failed(now, &mut rng, attempt.index, failure.clone()).is_some());
            }
        }
        (dials, told)
    }

    #[test]
    fn pauses_grow_and_the_log_stays_calm() {
        let (dials, told) = a_day_of(&DialFailure::Refused);
        assert!(dials[1] <= 3 && dials[2] <= 10, "{:?}", &dials[..3]);
        let steady = 86_400_000 / LONGEST_PAUSE_MS as usize;
        assert!((steady * 3 / 4..=steady + 10).contains(&dials.len()), "{}", dials.len());
        assert!((5..=9).contains(&told), "{told}");
        let (dials, told) = a_day_of(&DialFailure::OwnAddress);
        assert!((100..=160).contains(&dials.len()), "{}", dials.len());
        assert!((5..=9).contains(&told), "{told}");
    }

    #[test]
    fn a_passing_trouble_is_told_at_the_second_time_and_a_lasting_one_at_once() {
        let (mut configured, mut rng) = (one("/ip4/192.0.2.1/tcp/1"), rng());
        assert_eq!(configured.failed(Millis(0), &mut rng, 0, DialFailure::Refused), None);
        let notice = configured.failed(Millis(5_000), &mut rng, 0, DialFailure::Refused);
        assert!(matches!(notice, Some(Notice::Failing { failure: DialFailure::Refused, failures: 2, .. })));
        assert_eq!(configured.failed(Millis(9_000), &mut rng, 0, DialFailure::NoAnswer), None, "not so soon");
        let notice = configured.failed(Millis(70_000), &mut rng, 0, DialFailure::NoAnswer);
        assert!(notice.is_some(), "but a new trouble need not wait for long");
        let mut other = one("/ip4/192.0.2.1/tcp/1");
        assert!(other.failed(Millis(0), &mut rng, 0, DialFailure::OwnAddress).is_some());
    }

    #[test]
    fn connected_is_not_accepted() {
        let (mut configured, mut rng, peer) = (one("/ip4/192.0.2.1/tcp/1"), rng(), PeerId::random());
        let mut now = Millis(0);
        for failures in 1..=10 {
            assert_eq!(configured.due(now, 4, nobody).len(), 1);
            configured.opened(0, peer);
            assert_ne!(configured.report()[0].state, ConfiguredState::Connected);
            configured.ended(now, &mut rng, &peer, &DialFailure::ClosedAtOnce, 10);
            assert_eq!(configured.report()[0].failures, failures);
            assert!(configured.due(now.after(1_000), 4, nobody).is_empty(), "no storm");
            now = now.after(2 * LONGEST_PAUSE_MS);
        }
    }

    #[test]
    fn a_peer_that_accepts_and_leaves_at_once_backs_off_too() {
        let (mut configured, mut rng, peer) = (one("/ip4/192.0.2.1/tcp/1"), rng(), PeerId::random());
        let mut notices = Vec::new();
        for failures in 1..=10 {
            configured.opened(0, peer);
            notices.extend(configured.accepted(&peer));
            assert_eq!(configured.report()[0].state, ConfiguredState::Connected);
            notices.extend(configured.ended(Millis(0), &mut rng, &peer, &DialFailure::Lost, 500));
            assert_eq!(configured.report()[0].failures, failures);
        }
        assert!(matches!(notices[..], [Notice::Failing { .. }, Notice::Reached { .. }]), "{notices:?}");
        configured.opened(0, peer);
        configured.accepted(&peer);
        configured.ended(Millis(0), &mut rng, &peer, &DialFailure::Lost, STAYED_MS);
        assert_eq!(configured.report()[0].failures, 1, "it had stayed");
    }

    #[test]
    fn several_addresses_of_one_peer_are_tried_one_at_a_time() {
        let peer = PeerId::random();
        let address = |port: u16| format!("/ip4/192.0.2.1/tcp/{port}/p2p/{peer}").parse().expect("an address");
        let addresses: [Multiaddr; 3] = [address(1), address(2), address(1)];
        let mut configured = Configured::new(&addresses);
        assert_eq!(configured.report().len(), 2, "the same address twice is one");
        assert_eq!(configured.due(Millis(0), 4, nobody).len(), 1);
        assert_eq!(configured.due(Millis(0), 4, |_| true).len(), 0, "it is connected already");
        configured.accepted(&peer);
        assert!(configured.report().iter().all(|peer| peer.state == ConfiguredState::Connected));
    }

    /// A changed configuration: what stays keeps its state and its number, whatever else comes and goes.
    #[test]
    fn what_stays_in_the_configuration_is_not_tried_anew() {
        let address = |port: u16| -> Multiaddr { format!("/ip4/192.0.2.1/tcp/{port}").parse().expect("an address") };
        let (mut configured, mut rng) = (Configured::new(&[address(1), address(2)]), rng());
        let tried = configured.due(Millis(0), 4, nobody);
        configured.failed(Millis(0), &mut rng, tried[1].index, DialFailure::Refused);
        configured.set(&[address(3), address(2)]);
        let report = configured.report();
        assert_eq!(report.iter().map(|peer| peer.failures).collect::<Vec<_>>(), [0, 1]);
        let new = configured.due(Millis(0), 4, nobody);
        assert_eq!(new.iter().map(|attempt| attempt.address.clone()).collect::<Vec<_>>(), [address(3)]);
        configured.failed(Millis(0), &mut rng, tried[0].index, DialFailure::Refused);
        assert_eq!(configured.report()[0].failures, 0, "what became of an address that is gone is nobody's");
    }
}

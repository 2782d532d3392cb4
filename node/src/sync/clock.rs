//! Whether this machine's clock is right, and whether the machine slept.

use super::{
    event::{Direction, Millis, PeerKey},
    peers::Peers,
};

/// Outbound peers that must agree before the clock is doubted (protocol §3.4).
const CLOCK_QUORUM: usize = 5;
/// Median offset that raises the alarm.
const CLOCK_LIMIT_S: u64 = 60;

/// Watches our clock against those of the outbound peers: inbound ones may all be one attacker.
#[derive(Debug, Default)]
pub(super) struct ClockWatch {
    pub(super) offset_s: Option<i64>,
    pub(super) alarmed: bool,
}

impl ClockWatch {
    /// Looks again; `Some` when the alarm is raised (with the offset) or ends.
    pub fn update<P: PeerKey>(&mut self, peers: &Peers<P>) -> Option<Option<i64>> {
        let outbound = peers.iter().filter(|(_, peer)| peer.direction == Direction::Outbound);
        let mut offsets: Vec<_> = outbound.filter_map(|(_, peer)| peer.clock_offset_s).collect();
        offsets.sort_unstable();
        self.offset_s = (offsets.len() >= CLOCK_QUORUM).then(|| offsets[offsets.len() / 2]);
        let alarmed = self.offset_s.is_some_and(|offset| offset.unsigned_abs() > CLOCK_LIMIT_S);
        let changed = alarmed != self.alarmed;
        self.alarmed = alarmed;
        changed.then_some(if alarmed { self.offset_s } else { None })
    }
}

/// Notices that the machine slept: the wall clock went on, and the clock for waits did not.
#[derive(Debug, Default)]
pub(super) struct SleepWatch(Option<(Millis, u64)>);

/// A jump of the wall clock that is taken for a sleep.
const SLEPT_S: u64 = 60;

impl SleepWatch {
    /// Whether more time has passed on the wall than in this process, by a minute or more, since the last look.
    pub fn slept(&mut self, now: Millis, unix_now: u64) -> bool {
        let Some((then, unix_then)) = self.0.replace((now, unix_now)) else { return false };
        unix_now.saturating_sub(unix_then) > now.since(then) / 1_000 + SLEPT_S
    }
}

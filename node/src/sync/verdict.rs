//! Whether the chain here is the one the others have, and whether our clock is right.

use super::{Company, Config, Direction, PeerKey, Peers, View};

/// Blocks that a synced node may be behind before it stops calling itself synced: news travel, and a node that answers
/// questions must not waver with every block.
const SLACK: u32 = 6;
/// Outbound peers that must agree before the clock is doubted (protocol §3.4).
const CLOCK_QUORUM: usize = 5;
/// Median offset that raises the alarm.
const CLOCK_LIMIT_S: u64 = 60;

/// What [`Sync::verdict`](super::Sync::verdict) says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// Whether the tip is, as far as anybody told, the end of the best chain.
    pub synced: bool,
    /// Height that this node is trying to reach.
    pub target_height: u32,
    /// Height of the best header.
    pub header_height: u32,
    /// Peers that told their status.
    pub peers: usize,
    /// How many independent peers agree, see [`Sync::agreeing`](super::Sync::agreeing). Filled in by the shell, which knows
    /// their networks.
    pub witnesses: usize,
    /// Median offset of the outbound peers' clocks, in seconds, when enough of them told theirs.
    pub clock_offset_s: Option<i64>,
    /// Whether that offset is too large to mine.
    pub clock_alarm: bool,
}

impl Verdict {
    /// Whether the tip is, as far as anybody told, the end of the best chain.
    pub fn is_synced(&self) -> bool {
        self.synced
    }
}

pub(super) fn judge<P: PeerKey>(
    config: Config,
    view: &View,
    peers: &Peers<P>,
    clock: &ClockWatch,
    was_synced: bool,
) -> Verdict {
    let claims: Vec<_> = peers.iter().filter_map(|(_, peer)| peer.claim).collect();
    let ahead = claims.iter().filter(|claim| claim.work > view.best_header.work).map(|claim| claim.height).max();
    let header_height = view.best_header.height.max(view.tip.height);
    let target_height = ahead.unwrap_or(0).max(header_height);
    let company = config.company == Company::Solo || !claims.is_empty();
    // A claim costs nothing, so it can keep a node from calling itself synced, but only proven headers can undo it.
    let synced = if was_synced {
        header_height - view.tip.height <= SLACK
    } else {
        target_height - view.tip.height <= 1 && company && !view.locator.is_empty()
    };
    Verdict {
        synced,
        target_height,
        header_height,
        peers: claims.len(),
        witnesses: 0,
        clock_offset_s: clock.offset_s,
        clock_alarm: clock.alarmed,
    }
}

/// Watches our clock against those of the outbound peers: inbound ones may all be one attacker.
#[derive(Debug, Default)]
pub(super) struct ClockWatch {
    offset_s: Option<i64>,
    alarmed: bool,
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

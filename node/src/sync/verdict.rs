//! Whether the chain here is, as far as peers have shown, the one the others have (protocol §7, "headers are not blocks"),
//! and who agrees. What that is worth now is for [`health`](crate::health) to say.
//!
//! Claims delay the first `synced` only, and only those of peers that this node chose itself. Once synced, no claim and no
//! header ends it: only a heavier branch whose bodies come.

use super::{
    bodies::Coming,
    config::Company,
    event::{Direction, PeerKey, Sight},
    peers::Peer,
    state::Sync,
};

/// Blocks that a synced node may be behind before it stops calling itself synced: news travel, and a node that answers
/// questions must not waver with every block.
const SLACK: u32 = 6;
/// Netgroups whose agreement explains an old tip (one alone may be one operator).
pub const WITNESSES: usize = 2;

/// What [`Sync::verdict`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// Whether the tip is, as far as any peer has shown, the end of the best chain.
    pub synced: bool,
    /// Height that this node is trying to reach.
    pub target_height: u32,
    /// Height of the best header.
    pub header_height: u32,
    /// Peers that told their status.
    pub peers: usize,
    /// How many independent peers agree, see [`Sync::agreeing`]. Filled in by the shell, which knows their networks.
    pub witnesses: usize,
    /// Whether a heavier chain is here that fork choice refuses to follow.
    pub is_refusing: bool,
    /// The lowest body that is needed and that no connected peer keeps: one with the whole history is looked for.
    pub missing_body: Option<u32>,
    /// Median offset of the outbound peers' clocks, in seconds, when enough of them told theirs.
    pub clock_offset_s: Option<i64>,
    /// Whether that offset is too large to mine.
    pub clock_alarm: bool,
}

impl Verdict {
    /// Whether the tip is, as far as anybody showed, the end of the best chain.
    pub fn is_synced(&self) -> bool {
        self.synced
    }
}

impl<P: PeerKey> Sync<P> {
    /// Whether the chain here is the one the others have.
    pub fn verdict(&self) -> Verdict {
        let tip = self.view.tip;
        let coming = self.bodies.coming(self.now).filter(|branch| branch.end.work > tip.work);
        // Bodies that came a moment ago are none that come, if every claimant was asked for the next one in vain since.
        let coming = coming.filter(|branch| !self.is_withheld(branch.lane));
        // A branch that does not go on from the tip replaces some of it, whether or not it ends higher.
        let goal_of = |Coming { end, base, .. }| {
            if base == tip.hash { end.height } else { end.height.max(tip.height.saturating_add(SLACK + 1)) }
        };
        let coming = coming.map(goal_of).max().unwrap_or(tip.height).max(tip.height);
        let ahead = self.heights_ahead().max().unwrap_or(tip.height);
        let goal = if self.has_been_synced { coming } else { coming.max(ahead) };
        let peers = self.peers.iter().filter(|(_, peer)| peer.claim.is_some()).count();
        let slack = if self.was_synced { SLACK } else { 1 };
        let is_alone = self.config.company == Company::Needed && peers == 0;
        let has_begun = !self.view.locator.is_empty() && (self.was_synced || !is_alone);
        Verdict {
            synced: has_begun && goal.saturating_sub(tip.height) <= slack,
            target_height: goal.max(tip.height),
            header_height: self.view.header_height.max(tip.height),
            peers,
            witnesses: 0,
            is_refusing: self.view.is_refusing,
            missing_body: self.archive.missing(),
            clock_offset_s: self.clock.offset_s,
            clock_alarm: self.clock.alarmed,
        }
    }

    /// Heights that outbound peers claim beyond the tip, and have not been shown to claim in vain.
    fn heights_ahead(&self) -> impl Iterator<Item = u32> {
        let next = self.view.tip.height.saturating_add(1);
        let chosen = self.peers.iter().filter(|(_, peer)| peer.direction == Direction::Outbound);
        chosen.filter_map(move |(key, peer)| {
            let claim = peer.claim.filter(|claim| claim.work > self.view.tip.work)?;
            match self.sight(&claim.hash) {
                // Not looked up yet, or not shown yet.
                None | Some(Sight::Unknown) => (!self.trust.is_dropped(self.now, key)).then_some(claim.height),
                Some(Sight::Wanted { branch, height }) => (!self.is_withheld(branch)).then_some(height),
                Some(Sight::Settled | Sight::Invalid) => None,
            }
            // Of a heavier chain that is not higher it is not known how far it is; it is not just one block of news.
            .map(|height| if height == next { height } else { height.max(next + 1) })
        })
    }

    /// Peers that say, and said lately, that there is no heavier chain than ours: those that this node chose itself, for
    /// whoever comes by itself says what it likes. In a network that is too small for that, any peers.
    pub fn agreeing(&self) -> impl Iterator<Item = &P> {
        let is_chosen = |peer: &Peer| peer.direction == Direction::Outbound;
        let chosen = self.peers.iter().filter(|(_, peer)| is_chosen(peer) && peer.claim.is_some()).count();
        let any = chosen < WITNESSES;
        self.peers.iter().filter(move |(_, peer)| (any || is_chosen(peer)) && self.agrees(peer)).map(|(key, _)| key)
    }

    fn agrees(&self, peer: &Peer) -> bool {
        let told_lately = peer.told_at.is_some_and(|at| self.now.since(at) <= self.config.told_for_ms());
        let Some(claim) = peer.claim.filter(|_| told_lately) else { return false };
        claim.work <= self.view.tip.work || self.sight(&claim.hash) == Some(Sight::Settled)
    }
}

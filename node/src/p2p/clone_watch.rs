//! Notices another node that runs with this node's identity: a data directory that was copied, a cloned disk image.
//!
//! Two nodes with one identity take each other's places: their peers see one peer whose connections come and go. libp2p
//! refuses a connection to oneself, and that is the sign; but a node also meets itself, under a configured address or
//! through a router. Then both ends of the connection are here, and both fail. Sans-IO.
//!
//! Guarantees: an own address alone never raises the alarm; a copy that is dialled does, and one that dials this node does
//! unless it hangs up before this node has read who it is; the alarm ends by itself when no copy was met for a day.

use libp2p::{Multiaddr, PeerId, swarm::DialError};

use crate::sync::Millis;

/// The two ends of a connection to oneself fail within this time.
const SAME_MS: u64 = 3_000;
/// A copy that was not met again for this time is taken to be stopped.
const FORGET_MS: u64 = 24 * 3_600_000;
/// Ends remembered; each is decided after [`SAME_MS`].
const MAX_ENDS: usize = 32;

/// One failed end of a connection to this node's own identity.
#[derive(Clone, Debug)]
struct End {
    at: Millis,
    address: Multiaddr,
    kind: Kind,
    decided: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// This node dialled and met its own identity.
    Dialled,
    /// Somebody dialled this node and showed its identity.
    Came,
}

/// What was seen lately, and what follows.
#[derive(Debug, Default)]
pub struct CloneWatch {
    ends: Vec<End>,
    /// When a connection last failed before it had shown who it is: perhaps the other end of an own dial.
    last_unclear: Option<Millis>,
    /// Where a copy was met last, and when.
    copy: Option<(Millis, Multiaddr)>,
}

impl CloneWatch {
    /// This node dialled an address that is not known to be its own, and met its own identity.
    pub fn dialled(&mut self, now: Millis, address: &Multiaddr) {
        self.note(now, address, Kind::Dialled);
    }

    /// This node dialled an address of its own. The other end fails too, and that means nothing.
    pub fn dialled_own(&mut self, now: Millis, address: &Multiaddr) {
        self.note(now, address, Kind::Dialled);
        self.ends.iter_mut().rev().take(1).for_each(|end| end.decided = true);
    }

    /// A connection from this address failed, because it showed this node's identity.
    pub fn came(&mut self, now: Millis, address: &Multiaddr) {
        self.note(now, address, Kind::Came);
    }

    /// A connection from somewhere failed before it had shown who it is.
    pub fn came_unclear(&mut self, now: Millis) {
        self.last_unclear = Some(now);
    }

    /// Time passed. Returns the address of a copy when one is noticed for the first time, or again after it was forgotten.
    pub fn tick(&mut self, now: Millis) -> Option<Multiaddr> {
        let ripe = |end: &&End| !end.decided && now.since(end.at) >= SAME_MS;
        let copy = self.ends.iter().filter(ripe).find(|end| !self.has_other_end(end)).map(|end| end.address.clone());
        for end in self.ends.iter_mut().filter(|end| now.since(end.at) >= SAME_MS) {
            end.decided = true;
        }
        self.ends.retain(|end| now.since(end.at) < 2 * SAME_MS);
        let before = self.copy.take().filter(|(at, _)| now.since(*at) < FORGET_MS);
        let news = copy.clone().filter(|_| before.is_none());
        self.copy = copy.map(|address| (now, address)).or(before);
        news
    }

    /// Where a copy was met last, if one was met within the last day.
    pub fn copy(&self) -> Option<&Multiaddr> {
        self.copy.as_ref().map(|(_, address)| address)
    }

    /// Whether both ends of the connection may be here.
    fn has_other_end(&self, end: &End) -> bool {
        let is_near = |at: Millis| at.since(end.at).max(end.at.since(at)) < SAME_MS;
        let unclear = self.last_unclear.is_some_and(|at| at.after(SAME_MS) > end.at);
        let is_paired = self.ends.iter().any(|other| other.kind != end.kind && is_near(other.at));
        is_paired || (end.kind == Kind::Dialled && unclear)
    }

    fn note(&mut self, at: Millis, address: &Multiaddr, kind: Kind) {
        if self.ends.len() < MAX_ENDS {
            self.ends.push(End { at, address: address.clone(), kind, decided: false });
        }
    }
}

/// Where a dial met the identity `own`, if it did. Whoever expected another peer there is told of a wrong one.
pub fn met_identity<'a>(error: &'a DialError, own: &PeerId) -> Option<&'a Multiaddr> {
    match error {
        DialError::LocalPeerId { address } => Some(address),
        DialError::WrongPeerId { obtained, address } if obtained == own => Some(address),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/192.0.2.1/tcp/{port}").parse().expect("an address")
    }

    /// Lets ten seconds pass and says which copy is noticed.
    fn noticed(watch: &mut CloneWatch) -> Option<Multiaddr> {
        (0..100).find_map(|tenth| watch.tick(Millis(1_000 + tenth * 100)))
    }

    #[test]
    fn a_copy_that_is_dialled_or_dials_is_noticed_once() {
        let mut watch = CloneWatch::default();
        watch.dialled(Millis(1_000), &address(1));
        assert_eq!(noticed(&mut watch), Some(address(1)));
        watch.came(Millis(20_000), &address(2));
        assert_eq!((0..100).find_map(|tenth| watch.tick(Millis(20_000 + tenth * 100))), None, "it was told");
        assert_eq!(watch.copy(), Some(&address(2)));
        let mut watch = CloneWatch::default();
        watch.came(Millis(1_000), &address(3));
        assert_eq!(noticed(&mut watch), Some(address(3)));
    }

    #[test]
    fn a_copy_that_is_gone_for_a_day_is_forgotten() {
        let mut watch = CloneWatch::default();
        watch.came(Millis(0), &address(1));
        assert_eq!(watch.tick(Millis(SAME_MS)), Some(address(1)));
        let again = FORGET_MS;
        watch.came(Millis(again), &address(1));
        assert_eq!(watch.tick(Millis(again + SAME_MS - 1)), None);
        assert_eq!(watch.copy(), Some(&address(1)), "not a day yet");
        let mut other = CloneWatch::default();
        other.came(Millis(0), &address(1));
        other.tick(Millis(SAME_MS));
        other.came(Millis(again - SAME_MS), &address(1));
        assert_eq!(other.tick(Millis(again)), None, "it was told");
        assert_eq!(other.tick(Millis(again + SAME_MS)), None);
        assert_eq!(other.copy(), Some(&address(1)), "the day begins anew with each meeting");
        other.tick(Millis(again + FORGET_MS));
        assert_eq!(other.copy(), None);
        other.came(Millis(3 * FORGET_MS), &address(2));
        assert_eq!(other.tick(Millis(3 * FORGET_MS + SAME_MS)), Some(address(2)), "a new one is told again");
    }

    #[test]
    fn a_dial_for_somebody_else_that_ends_here_meets_this_identity_too() {
        let (own, address) = (PeerId::random(), address(1));
        let met = |error: &DialError| met_identity(error, &own).cloned();
        assert_eq!(met(&DialError::LocalPeerId { address: address.clone() }), Some(address.clone()));
        assert_eq!(met(&DialError::WrongPeerId { obtained: own, address: address.clone() }), Some(address.clone()));
        assert_eq!(met(&DialError::WrongPeerId { obtained: PeerId::random(), address }), None);
        assert_eq!(met(&DialError::Aborted), None);
    }

    #[test]
    fn meeting_oneself_is_no_copy() {
        for other_end in [900, 1_100] {
            let mut watch = CloneWatch::default();
            watch.dialled(Millis(1_000), &address(1));
            watch.came(Millis(other_end), &address(2));
            assert_eq!(noticed(&mut watch), None, "shown at {other_end}");
            let mut watch = CloneWatch::default();
            watch.came_unclear(Millis(other_end));
            watch.dialled(Millis(1_000), &address(1));
            assert_eq!(noticed(&mut watch), None, "unclear at {other_end}");
        }
        let mut watch = CloneWatch::default();
        watch.dialled_own(Millis(1_000), &address(1));
        assert_eq!(noticed(&mut watch), None, "an own address needs no second end");
        assert_eq!(watch.copy(), None);
    }

    #[test]
    fn a_flood_of_connections_is_not_remembered() {
        let mut watch = CloneWatch::default();
        (0..1_000).for_each(|_| watch.came(Millis(0), &address(1)));
        assert_eq!(watch.ends.len(), MAX_ENDS);
    }
}
